"""Provenance of a report: settings, versions and data; and the meaning of fidelity scores."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from stemdist.evaluate.comparison.tables import digits
from stemdist.page.elements import Details, Part, Rows, Section, Table

LIBRARIES = ("torch", "numpy", "scikit-learn", "xarray")

LOOKS = {
    "spectrum_db": ["difference of log power spectra along time, root mean square (dB)", "0"],
    "autocorrelation": ["difference of autocorrelations up to half a window", "0"],
    "cross_correlation": ["difference of correlations between clusters", "0"],
    "wasserstein": ["distance W1 of marginal distributions (standard deviations)", "0"],
    "nearest_window": [
        "distance to the nearest real input window over that between real windows; 0 means copies",
        "-",
    ],
    "coverage": ["share of the groups of real input windows with a synthetic member", "1"],
}
"""Meaning and best value of each score of :func:`~stemdist.evaluate.comparison.fidelity`."""


def looks_like(value: float) -> str:
    """Return a score as text."""
    return "not defined" if math.isnan(value) else digits(value)


def config_section(facts: Mapping[str, Any], record: Mapping[str, Any] | None = None) -> Section:
    """Return the last section of a report: configuration and provenance.

    Parameters
    ----------
    facts : mapping
        Facts of an evaluation or a benchmark.
    record : mapping, optional
        Record of the distilled set under test.
    """
    rows: Rows = [["what", "value"], ["results made with stemdist", facts["stemdist_version"]]]
    rows += [[f"report made with {name}", version(name)] for name in ("stemdist", *LIBRARIES)]
    rows.append(["report made with Python", platform.python_version()])
    names = ("content_hash", "target", "units", "locations", "training_windows", "test_windows")
    rows += [[name.replace("_", " "), str(facts[name])] for name in names if name in facts]
    rows += [
        [f"{part} part (time steps)", f"{begin} to {end - 1}"]
        for part, (begin, end) in facts.get("split_boundaries", {}).items()
        if end > begin
    ]
    known = record or {}
    source = ("source_name", "title", "license", "citation")
    rows += [[name.replace("_", " "), str(known[name])] for name in source if known.get(name)]
    parts: list[Part] = [
        Table(caption="Provenance", rows=rows, sentences=("value",)),
        Details.json("Settings and facts (JSON)", dict(facts)),
    ]
    if known:
        parts.append(Details.json("Record of the distilled set (JSON)", dict(known)))
    return Section(title="Configuration and provenance", parts=parts)
