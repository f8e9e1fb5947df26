"""The card of a distilled set: Markdown as the dataset cards of the Hugging Face hub.

Everything is taken from the set, and from an evaluation of it if there is one; what is not recorded
is said to be unknown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import yaml

from stemdist.data.conventions.attributes import ATTRIBUTION
from stemdist.display import share_text
from stemdist.distill import DistilledSet
from stemdist.markdown import UNKNOWN, fields_of, table_of, text_of
from stemdist.sharing.licences import forbids_adaptations, licence_keys, licence_of
from stemdist.sharing.quality import Quality

MARK = "<!-- made by stemdist card -->"

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (10**6, "100K<n<1M"))


def card_of(
    distilled: DistilledSet,
    file_name: str,
    *,
    quality: Quality | None = None,
    repository: str | None = None,
) -> str:
    """Return the card of a distilled set.

    Parameters
    ----------
    distilled : DistilledSet
        The set.
    file_name : str
        Name of its file, as others see it.
    quality : Quality, optional
        Results of an evaluation of this very set.
    repository : str, optional
        ``OWNER/NAME`` of the repository that holds it on the hub.

    Returns
    -------
    str
        YAML front matter and Markdown.

    Examples
    --------
    >>> import stemdist
    >>> raw = stemdist.data.simulate("weather-sim", days=8, n_lat=5, n_lon=6)
    >>> tiny = stemdist.distill_series(raw, labels="observed", synthesizer="selection")
    >>> card_of(tiny, "weather.nc").splitlines()[:2]
    ['---', 'license: cc0-1.0']
    """
    parts = [
        MARK,
        f"# {text_of(_title(distilled))}",
        _summary(distilled),
        "## Source",
        _source(distilled.record),
        "## What was kept, and what was learned",
        _contents(distilled),
        "## How good it is",
        _quality(file_name, quality, distilled.record),
        "## How to use it",
        _usage(distilled, file_name, repository),
    ]
    front = yaml.safe_dump(front_matter(distilled), sort_keys=False, allow_unicode=True)
    return f"---\n{front}---\n\n" + "\n\n".join(parts) + "\n"


def front_matter(distilled: DistilledSet) -> dict[str, Any]:
    """Return the keys of the card that the hub reads."""
    return {
        **licence_keys(licence_of(distilled.record)),
        "task_categories": ["time-series-forecasting"],
        "tags": ["stemdist", "dataset-distillation", "spatio-temporal", "time-series", "xarray"],
        "size_categories": [_size_category(distilled.n_windows)],
        "pretty_name": _title(distilled),
        "viewer": False,
    }


def _size_category(n: int) -> str:
    return next((name for limit, name in _SIZES if n < limit), "1M<n<10M")


def _title(distilled: DistilledSet) -> str:
    title = distilled.record.get("title") or ", ".join(distilled.variables)
    return f"{' '.join(str(title).split())}, distilled"


def _lower(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name.lower(): value for name, value in record.items()}


def _summary(distilled: DistilledSet) -> str:
    whole = distilled.record.get("training_windows", "an unknown number of")
    return (
        f"{distilled.n_windows} windows over {distilled.n_clusters} clusters of locations, in "
        f"place of {whole} windows at {len(distilled.locations)} locations. Forecasters trained on "
        f"them forecast all {len(distilled.locations)} locations. The set was made by "
        f"[stemdist](https://github.com/stemdist/stemdist) "
        f"{text_of(distilled.record.get('stemdist_version'))} and is one self-describing file."
    )


def _source(record: Mapping[str, Any]) -> str:
    own = _lower(record)
    licence = licence_of(record)
    others = {name: own[name] for name in ATTRIBUTION if own.get(name)}
    fields = {
        "made from": record.get("source_name"),
        "title": record.get("title"),
        "licence of the source": licence,
        "citation": others.get("citation") or others.get("references"),
        **{
            name: value
            for name, value in others.items()
            if name not in ("license", "licence", "citation")
        },
        "opened with": _pairs(record.get("opening")) or "no options",
        "steps": _parts(record.get("split_boundaries") or {}),
        "content hash": record.get("content_hash"),
    }
    return f"{fields_of(fields)}\n\n{_terms(licence)}"


def _terms(licence: str) -> str:
    """Say what is known of the terms on which the set may be shared."""
    if not licence:
        return "No licence was recorded: what the source allows is to be found out before use."
    said = "The licence is that of the source; no other terms for this set are recorded."
    if forbids_adaptations(licence):
        said += " It allows unchanged copies only: sharing this set needs the owner's consent."
    return said


def _parts(boundaries: Mapping[str, Any]) -> str:
    parts = boundaries.items()
    return ", ".join(f"{name} {begin} to {end - 1}" for name, (begin, end) in parts if end > begin)


def _pairs(values: Mapping[str, Any] | None) -> str:
    return ", ".join(f"{name} {value}" for name, value in (values or {}).items())


def _contents(distilled: DistilledSet) -> str:
    record, settings = distilled.record, distilled.settings
    own = record.get("settings") or {}
    ratios = record.get("ratios") or {}
    fields = {
        "contents": distilled.contents,
        "windows": f"{distilled.n_windows} of {record.get('training_windows', UNKNOWN)}",
        "clusters": f"{distilled.n_clusters} of {len(distilled.locations)} locations",
        "inputs": f"{settings.lookback} steps of {', '.join(distilled.feature_names)}",
        "targets": f"{settings.horizon} steps of {_targets(distilled)}, {distilled.y_kind}",
        "time step": _step(record.get("step") or {}),
        **{name.replace("_", " "): share_text(value) for name, value in ratios.items()},
        "windows chosen by": own.get("selection"),
        "locations clustered by": own.get("clustering"),
        "windows learned by": _learned(record, own),
        "soft labels of": _experts(record),
        "random seed": own.get("seed"),
        "validation error": _validation(record),
        "made in": _cost(record),
    }
    return fields_of(fields)


def _step(step: Mapping[str, Any]) -> str:
    return ", ".join(f"{size:g} {unit}" for unit, size in step.items())


def _targets(distilled: DistilledSet) -> str:
    names = distilled.feature_names[: distilled.settings.n_targets]
    return f"{', '.join(names)} ({distilled.units or 'no unit'})"


def _learned(record: Mapping[str, Any], own: Mapping[str, Any]) -> str:
    learned = record.get("learned")
    if learned is None:
        return UNKNOWN
    return str(own.get("synthesizer")) if learned else "nothing: they are real windows"


def _experts(record: Mapping[str, Any]) -> str:
    shares: Counter[str] = Counter()
    for expert in record.get("experts") or ():
        shares[expert["family"]] += expert["weight"]
    return ", ".join(f"{name} {share:.2f}" for name, share in shares.most_common()) or "none"


def _validation(record: Mapping[str, Any]) -> str:
    error = record.get("validation_error")
    return UNKNOWN if error is None else f"relative RMSE {float(error) ** 0.5:.4f}"


def _cost(record: Mapping[str, Any]) -> str:
    seconds, peak = record.get("seconds"), record.get("peak_memory_bytes")
    if seconds is None or peak is None:
        return UNKNOWN
    return f"{float(seconds):.3g} s with at most {float(peak) / 2**20:.0f} MiB"


def _quality(file_name: str, quality: Quality | None, record: Mapping[str, Any]) -> str:
    if quality is None:
        source = record.get("source_name") or "SOURCE"
        return (
            "Unknown: this card was made without an evaluation. With the source, make one, and a "
            "card with it, by\n\n```\n"
            f"stemdist evaluate {file_name} --data {_one_line(source)} -o evaluation\n"
            f"stemdist card {file_name} --evaluation evaluation\n```"
        )
    tables = [quality.error_rows(), quality.ranking_rows()]
    shown = [
        table_of(rows[0], [list(map(_cell, row)) for row in rows[1:]]) for rows in tables if rows
    ]
    return "\n\n".join([*map(text_of, quality.sentences()), *shown])


def _cell(text: str) -> str:
    """Return a cell, which may be empty."""
    return text_of(text) if text else ""


def _one_line(text: object) -> str:
    return " ".join(str(text).replace("`", "'").split())


def _usage(distilled: DistilledSet, file_name: str, repository: str | None) -> str:
    name = _one_line(file_name)
    place = name if repository is None else f"hf://{repository}/{name}"
    first = f'"{name}"'
    lines = []
    if repository is not None:
        lines = ["from huggingface_hub import hf_hub_download", ""]
        first = f'hf_hub_download("{repository}", "{name}", repo_type="dataset")'
    engine = ', engine="zarr"' if name.endswith(".zarr") else ""
    alone = "\n".join(
        [
            *lines,
            "import xarray as xr",
            "",
            f"tiny = xr.open_dataset({first}{engine})",
            'print(tiny["x"].dims, tiny["y"].dims)',
        ]
    )
    return "\n\n".join(
        [
            "With xarray alone (values are in physical units, missing ones NaN):",
            f"```python\n{alone}\n```",
            _variables(distilled),
            "With [stemdist](https://github.com/stemdist/stemdist), `pip install stemdist`:",
            f'```python\nimport stemdist\n\ntiny = stemdist.DistilledSet.load("{place}")\n'
            'forecaster = stemdist.train(tiny, "mlp")\n```',
            f"```\nstemdist train {place} --forecaster mlp -o forecaster\n```",
        ]
    )


def _variables(distilled: DistilledSet) -> str:
    dataset = distilled.to_xarray()
    shown = (
        "x",
        "y",
        "calendar",
        "calendar_of",
        "static",
        "cluster_weight",
        "cluster_of_location",
        "edge_source",
        "edge_target",
        "edge_weight",
    )
    rows = [
        [
            f"`{name}`",
            ", ".join(f"{dim} {size}" for dim, size in dataset[name].sizes.items()),
            text_of(dataset[name].attrs.get("long_name", "")),
        ]
        for name in shown
        if name in dataset and dataset[name].size
    ]
    return table_of(["variable", "dimensions", "content"], rows)
