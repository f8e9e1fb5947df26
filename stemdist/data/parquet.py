"""Tables written to Parquet files part by part, with attributes, all or nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stemdist.data.conventions.attributes import clean_attributes
from stemdist.dependencies import require
from stemdist.files import atomic_path
from stemdist.markers import MADE_BY

if TYPE_CHECKING:
    import pandas as pd


def write_parquet(
    target: str | Path,
    parts: Iterable[pd.DataFrame],
    attributes: Mapping[Any, Any],
) -> Path:
    """Write frames of the same columns below one another; their indices are left out.

    Parameters
    ----------
    target : str or Path
        The file.
    parts : iterable of pandas.DataFrame
        At least one; only one is in memory at a time.
    attributes : mapping
        What describes the table; ``pandas.read_parquet`` returns it as ``attrs``. Commands say
        there that they made it.

    Returns
    -------
    pathlib.Path
        ``target``.

    Raises
    ------
    MissingDependencyError
        If pyarrow is not installed.
    OutputError
        If it cannot be written; an existing file is left unchanged.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> part = pd.DataFrame({"step": [1, 2], "value": [0.5, 0.25]})
    >>> path = Path(tempfile.mkdtemp()) / "table.parquet"
    >>> stored = pd.read_parquet(write_parquet(path, [part, part], {"units": "K"}))
    >>> len(stored), stored.attrs
    (4, {'units': 'K'})
    """
    arrow = require("pyarrow", "parquet", f"writing {str(target)!r}")
    parquet = require("pyarrow.parquet", "parquet", f"writing {str(target)!r}")
    parts = iter(parts)
    first = arrow.Table.from_pandas(next(parts), preserve_index=False)
    described = {
        "PANDAS_ATTRS": json.dumps(clean_attributes(attributes)),
        # Words that stemdist.markers looks for.
        "description": f"made by {attributes.get(MADE_BY, 'stemdist')}",
    }
    schema = first.schema.with_metadata({**first.schema.metadata, **described})
    with atomic_path(target) as part, parquet.ParquetWriter(part, schema) as file:
        file.write_table(first.cast(schema))
        for later in parts:
            file.write_table(arrow.Table.from_pandas(later, schema=schema, preserve_index=False))
    return Path(target)
