"""A graph that the user brings: a matrix or a list of edges in a file.

Shapes: N locations, E edges. Row ``i``, column ``j`` of a matrix is the edge from ``i`` to ``j``.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp
import xarray as xr

from stemdist.errors import InputError
from stemdist.graph.edges import Edges

if TYPE_CHECKING:
    from stemdist.graph.settings import GraphSettings

_PICKLES = (".pkl", ".pickle")


def adjacency_edges(series: xr.Dataset, settings: GraphSettings) -> Edges:
    """Read the graph from ``settings.file``.

    A ``.csv`` holds the ``N x N`` matrix without a header, or edges by location id under the
    header ``source,target,weight``; an ``.npz`` holds a scipy sparse matrix or one dense array,
    an ``.npy`` a dense array. Entries of 0 are no edges.

    Raises
    ------
    InputError
        If the file cannot be read or does not fit the series.
    """
    path = Path(settings.file or "")
    if path.suffix.lower() in _PICKLES:
        raise InputError(
            f"{path} is a pickle, which can run any code when opened. If you trust it, convert "
            "it once in Python: import pickle, numpy; adjacency = pickle.load(open("
            f"'{path.name}', 'rb'), encoding='latin1')[-1]; "
            f"numpy.savez('{path.stem}.npz', adjacency=adjacency); then give the .npz"
        )
    if path.suffix.lower() not in _READERS:
        raise InputError(
            f"{path}: an adjacency is read from {', '.join(_READERS)}, not {path.suffix!r}"
        )
    if not path.is_file():
        raise InputError(f"there is no adjacency file {path}")
    return _READERS[path.suffix.lower()](path, series["location"].values)


def read_edge_list(path: Path, ids: npt.NDArray[np.generic], *, value: str) -> Edges:
    """Read the columns ``source``, ``target`` and ``value`` of a CSV, by location id.

    Raises
    ------
    InputError
        If a column is missing or an id is not a location of the series.
    """
    try:
        table = pd.read_csv(path, dtype={"source": str, "target": str}, skipinitialspace=True)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the edges in {path}: {error}") from error
    missing = [name for name in ("source", "target", value) if name not in table.columns]
    if missing:
        raise InputError(
            f"{path} has no column {', '.join(missing)}; it has {', '.join(map(str, table))}. "
            f"A list of edges has the header source,target,{value}"
        )
    number_of = pd.Series(np.arange(len(ids)), index=[str(one) for one in ids])
    ends = []
    for name in ("source", "target"):
        unknown = sorted(set(table[name].dropna()) - set(number_of.index))
        if unknown or table[name].isna().any():
            named = ", ".join(unknown[:5]) or "an empty id"
            raise InputError(
                f"{path}: {len(unknown) or 1} {name} ids are not locations of the series: {named}; "
                f"its ids look like {', '.join(number_of.index[:3])}"
            )
        ends.append(number_of[table[name]].to_numpy(dtype=np.int64))
    weight = pd.to_numeric(table[value], errors="coerce").to_numpy(dtype=np.float64)
    return Edges(ends[0], ends[1], weight)


def _read_csv(path: Path, ids: npt.NDArray[np.generic]) -> Edges:
    with open(path, encoding="utf-8-sig") as stream:
        first = stream.readline()
    if "source" in first or "target" in first:
        edges = read_edge_list(path, ids, value="weight")
        kept = edges.weight != 0
        return Edges(edges.source[kept], edges.target[kept], _checked(edges.weight[kept], path))
    try:
        matrix = pd.read_csv(path, header=None, dtype=np.float64).to_numpy()
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot read {path} as an N x N matrix of numbers without a header: {error}"
        ) from error
    return _from_matrix(matrix, path, len(ids))


def _read_numpy(path: Path, ids: npt.NDArray[np.generic]) -> Edges:
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return _from_matrix(content, path, len(ids))
        with content as archive:
            names = list(archive)
            if "format" in names:
                return _from_matrix(sp.load_npz(path), path, len(ids))
            if len(names) == 1:
                return _from_matrix(archive[names[0]], path, len(ids))
    except InputError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"cannot read the adjacency {path}: {error}") from error
    raise InputError(
        f"{path} holds the arrays {', '.join(names)}: save the adjacency alone, with "
        "numpy.savez(path, adjacency=...) or scipy.sparse.save_npz"
    )


def _from_matrix(matrix: npt.NDArray[np.float64] | sp.spmatrix, path: Path, size: int) -> Edges:
    if matrix.shape != (size, size):
        raise InputError(
            f"{path} has the shape {matrix.shape}, but the series has {size} locations: "
            f"the adjacency must be {size} x {size}, in the order of the locations"
        )
    sparse = sp.coo_array(matrix)
    sparse.sum_duplicates()
    kept = sparse.data != 0
    source, target = (ends.astype(np.int64)[kept] for ends in sparse.coords)
    return Edges(source, target, _checked(sparse.data[kept].astype(np.float64), path))


def _checked(weight: npt.NDArray[np.float64], path: Path) -> npt.NDArray[np.float64]:
    bad = ~(np.isfinite(weight) & (weight >= 0))
    if bad.any():
        raise InputError(
            f"{path} has {bad.sum()} weights that are negative or not numbers, the first is "
            f"{weight[bad][0]}: weights must be finite and at least 0"
        )
    return weight


_READERS: dict[str, Callable[[Path, npt.NDArray[np.generic]], Edges]] = {
    ".csv": _read_csv,
    ".npz": _read_numpy,
    ".npy": _read_numpy,
}
