"""The leaderboard: one table per protocol, as Markdown and as one HTML file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from stemdist.dependencies import require
from stemdist.evaluate.comparison.verdict import WORSE_MARK
from stemdist.evaluate.grid.settings import ratio_pair
from stemdist.markdown import table_of, text_of
from stemdist.page.elements import Page, Paragraph, Rows, Section, Table

TITLE = "Leaderboard"
MARK = "made by stemdist leaderboard"

NOTE = (
    "Excess of the relative RMSE on the test part over that of the same forecasters trained on the "
    "full data, mean over forecasters and seeds, in per cent; negative is better. A ratio 0.1x0.05 "
    "keeps 10 % of the training windows and 5 % of the locations. "
    f"{WORSE_MARK}: worse than the best baseline without training."
)

Entry = Mapping[str, Any]
Key = tuple[str, str]
"""Data set and ratio."""


@dataclass(frozen=True)
class Board:
    """Results of methods with one protocol.

    Parameters
    ----------
    entries : sequence of dict
        Contents of checked files.
    """

    entries: Sequence[Entry]

    @property
    def title(self) -> str:
        """The protocol in a line."""
        protocol = self.entries[0]["protocol"]
        updates = " or ".join(f"{n:,}" for n in protocol["updates"])
        held = protocol["held_out"]
        where = f", {100 * held:g} % of the locations held out" if held else ""
        kind = "trained until converged" if protocol["budget"] == "converged" else "equal budget"
        return (
            f"{', '.join(protocol['forecasters'])}: {kind}, {updates} updates of "
            f"{protocol['batch_windows']} windows{where}"
        )

    @property
    def columns(self) -> list[Key]:
        """Data sets and ratios, by name, and from the largest ratio down."""
        keys = {(r["data"], r["ratio"]) for entry in self.entries for r in entry["results"]}
        return sorted(keys, key=lambda key: (key[0], -math.prod(ratio_pair(key[1]))))

    def rows(self) -> Rows:
        """Return the table, the lowest mean first; methods without every result follow."""
        columns = self.columns
        found = [(entry, _excesses(entry)) for entry in self.entries]
        means = {
            entry["method"]: fmean(own[key][0] for key in columns)
            if set(columns) <= set(own)
            else math.nan
            for entry, own in found
        }
        ordered = sorted(found, key=lambda each: _last_if_undefined(means[each[0]["method"]]))
        rows = [["method", "mean", *(f"{data}, {ratio}" for data, ratio in columns), "seeds"]]
        for entry, own in ordered:
            mean = means[entry["method"]]
            cells = ["-" if key not in own else _cell(*own[key]) for key in columns]
            shown = "-" if math.isnan(mean) else _per_cent(mean)
            rows.append([entry["method"], shown, *cells, _seeds(entry)])
        return rows

    def about(self) -> Rows:
        """Return what each method is, and by whom its results were made."""
        rows = [["method", "what it is", "results", "by", "more"]]
        for entry in sorted(self.entries, key=lambda each: str(each["method"])):
            by, link = entry.get("authors") or "-", entry.get("link") or "-"
            rows.append([entry["method"], entry["description"], entry["how"], by, link])
        return rows


def boards_of(entries: Sequence[Entry]) -> list[Board]:
    """Return a board for each protocol, the one with most entries first."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(json.dumps(entry["protocol"], sort_keys=True), []).append(entry)
    return [Board(own) for own in sorted(groups.values(), key=len, reverse=True)]


def _excesses(entry: Entry) -> dict[Key, tuple[float, bool]]:
    """Return the mean excess of each column, and whether a baseline is better."""
    found: dict[Key, list[Entry]] = {}
    for result in entry["results"]:
        found.setdefault((result["data"], result["ratio"]), []).append(result)
    return {key: (fmean(r["excess"] for r in own), _beaten(own)) for key, own in found.items()}


def _beaten(results: Sequence[Entry]) -> bool:
    errors = [result["relative_rmse"] for result in results]
    reached = fmean(fmean(each["distilled"]) for each in errors)
    return reached > min(float(each["untrained"]) for each in errors)


def _last_if_undefined(mean: float) -> tuple[bool, float]:
    return math.isnan(mean), mean


def _per_cent(share: float) -> str:
    return f"{100 * share:+.1f}"


def _cell(excess: float, beaten: bool) -> str:
    return f"{_per_cent(excess)} {WORSE_MARK}" if beaten else _per_cent(excess)


def _seeds(entry: Entry) -> str:
    counts = {len(result["seeds"]) for result in entry["results"]}
    return str(min(counts)) if len(counts) == 1 else f"{min(counts)} to {max(counts)}"


def markdown_of(entries: Sequence[Entry]) -> str:
    """Return the tables as Markdown, without a title of the page."""
    parts = [NOTE]
    for board in boards_of(entries):
        parts += [f"## {text_of(board.title)}", _table(board.rows()), _table(board.about())]
    return "\n\n".join(parts) + "\n"


def _table(rows: Rows) -> str:
    header, *rest = [[text_of(cell) for cell in row] for row in rows]
    return table_of(header, rest)


def page_of(entries: Sequence[Entry]) -> Page:
    """Return the tables as a page that needs no network.

    Raises
    ------
    MissingDependencyError
        If jinja2 is not installed.
    """
    require("jinja2", "report", "the page")
    sections = [
        Section(
            title=board.title,
            parts=[
                Paragraph(text=NOTE),
                Table(caption="Excess over the full data, in per cent", rows=board.rows()),
                Table(
                    caption="Methods",
                    rows=board.about(),
                    sentences=("what it is", "results", "by", "more"),
                ),
            ],
        )
        for board in boards_of(entries)
    ]
    count = f"{len(entries)} file{'s' if len(entries) != 1 else ''} of results"
    return Page(title=TITLE, lines=[f"{count}, {MARK} build"], sections=sections)
