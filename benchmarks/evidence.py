"""Ten real data sets: the default method over full data, at equal updates and converged.

Run with ``STEMDIST_DATA`` naming the folder with the data::

    python benchmarks/evidence.py --output evidence --jobs 2       # most of a day on two cores
    python benchmarks/evidence.py --output evidence --data taxi,paris --forecasters linear,mlp

Forecasters train for 600 updates of 32 windows (equal), and for 600, 2,000 and 5,000 as long as
validation improves (converged), at 32 random locations in every update; the validation part chooses
the learning rate and the number of updates. Printed are the excess over full data by data set and
ratio, verdicts, and the seconds of distilling; ``evidence.md`` in the output folder has the same. A
killed run resumes when it is started again; a larger one reuses finished results.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from headline_table import joined

import stemdist
from stemdist.evaluate import Benchmark, BenchmarkSettings, benchmark
from stemdist.evaluate.comparison.budgets import updates_text
from stemdist.files import atomic_path
from stemdist.forecast import ForecastTask, settings_for
from stemdist.profiling import keep_freed_memory

DATA: dict[str, tuple[str, dict[str, Any]]] = {
    "los-loop": ("los_speed.csv", {"recipe": "los-loop"}),
    "era5-uk": ("era5-2mt-2019-03-uk.nc", {}),
    "melbourne": ("melbourne_scats_2006_flow.nc", {}),
    "taxi": ("nyc_taxi_od_pairs_2018.nc", {}),
    "paris": ("paris_bike_counters_2020.nc", {}),
    "beijing": ("beijing_air_quality_2013_2017.nc", {"variables": ["PM2_5"]}),
    "pjm": ("pjm_load_2013_2018.nc", {}),
    "ncep": ("ncep_slp_2001_2010.nc", {}),
    "sst": ("pacific_sst_1970_2003.nc", {}),
    "ireland": ("ireland_wind_1961_1978.nc", {}),
}
BUILT_IN = ("traffic-sim", "weather-sim")
METHODS = ("default", "start")
VARIANTS: dict[str, dict[str, Any]] = {
    "start": {"method": "kmeans", "labels": "expert"},
    "random-own": {"method": "random", "labels": "expert"},
    "gru-expert": {"method": "default", "experts": ("mlp", "gru")},
}
UNTOUCHED = ("paris", "beijing", "sst")
GROUPS = {
    "looked at": tuple(name for name in (*DATA, *BUILT_IN) if name not in UNTOUCHED),
    "never looked at": UNTOUCHED,
}
"""Data sets by whether they were looked at while the recipe was changed."""
TITLES = {"equal": "for equal updates", "converged": "until they have converged"}
RANDOM = "random windows + expert labels"
INTRODUCTION = """# Results on real data

Made by `python benchmarks/evidence.py`; distillations of each set: {seeds}. The forecasters
{forecasters} are trained for {updates}, at 32 random
locations in an update; the validation part chooses the learning rate and the number of updates.
Numbers are the mean excess of the relative RMSE on the test part over the converged full data, in
per cent; negative is better. `!` marks what is worse than a baseline without training. `start` are
the real windows with soft labels from which `default` begins.
"""


def task_of(name: str) -> ForecastTask:
    """Return a data set as a user gets it without options."""
    file, options = DATA.get(name, (name, {}))
    source = Path(os.environ["STEMDIST_DATA"]) / file if name in DATA else name
    series = stemdist.open_series(source, **options)
    return ForecastTask.from_series(series, settings_for(series))


def run(chosen: argparse.Namespace) -> Benchmark:
    """Run the grid, one data set after another."""
    settings = protocol(
        chosen,
        methods=tuple(chosen.methods.split(",")),
        variants=VARIANTS,
        references=tuple(chosen.references.split(",")),
        ratios=tuple(chosen.ratios.split(",")),
    )
    parts = []
    for name in chosen.data.split(","):
        found = compared(name, task_of(name), settings, chosen)
        print("\n".join(found.verdicts()), flush=True)
        parts.append(found)
    return joined(parts)


def protocol(chosen: argparse.Namespace, **grid: Any) -> BenchmarkSettings:
    """Return how forecasters are trained and tested, the same for every method, with a grid."""
    return BenchmarkSettings(
        forecasters=tuple(chosen.forecasters.split(",")),
        seeds=chosen.seeds,
        budget=chosen.budget,
        locations_per_update=32,
        test_windows=500,
        **grid,
    )


def compared(
    name: str, task: ForecastTask, settings: BenchmarkSettings, chosen: argparse.Namespace
) -> Benchmark:
    """Run the grid of one data set; the results of all are in one folder."""
    runs = Path(chosen.output) / "runs"
    return benchmark({name: task}, settings, results=runs, n_jobs=chosen.jobs, progress=None)


def page(found: Benchmark) -> str:
    """Return the results as a page: excess in per cent over the converged full data."""
    used = found.facts["settings"]
    names = ", ".join(used["forecasters"])
    head = INTRODUCTION.format(updates=updates_text(used), forecasters=names, seeds=used["seeds"])
    parts = [head, *(_table(found, budget) for budget in reversed(found.budgets))]
    ours = f"the set of {METHODS[0]} is"  # a sentence per method would say the same many times
    verdicts = "\n".join(f"- {text}" for text in found.verdicts() if ours in text)
    return "\n".join([*parts, "## In words", "", verdicts, ""])


def _table(found: Benchmark, budget: str) -> str:
    """Return a row for each data set, group by group, with the means of the groups."""
    excess = found.excess(by=("data",), budget=budget).reset_index()
    names = dict.fromkeys(zip(excess["ratio"], excess["method"], strict=True))
    columns = sorted(names, key=lambda name: (name[0] != "", -float(name[0].split("x")[0] or 1)))
    lines = [
        f"## Trained {TITLES[budget]}",
        "",
        _row("data", [_heading(*each) for each in columns]),
    ]
    lines.append("|---" * (1 + len(columns)) + "|")
    for title, group in GROUPS.items():
        own = excess[excess["data"].isin(group)]
        if own.empty:
            continue
        for data in own["data"].unique():
            rows = own[own["data"] == data].set_index(["ratio", "method"])
            cells = [_cell(rows.loc[each]) if each in rows.index else "" for each in columns]
            lines.append(_row(data, cells))
        mean = 100 * own.groupby(["ratio", "method"])["mean"].mean()
        worst = 100 * own.groupby(["ratio", "method"])["mean"].max()
        for what, values in ((f"mean, {title}", mean), (f"worst, {title}", worst)):
            cells = [f"**{values[each]:+.1f}**" if each in values else "" for each in columns]
            lines.append(_row(f"**{what}**", cells))
    return "\n".join([*lines, "", _wins(excess), ""])


def _row(name: str, cells: list[str]) -> str:
    return f"| {name} | " + " | ".join(cells) + " |"


def _heading(ratio: str, method: str) -> str:
    return f"{percent(ratio)} {method}".strip()


def percent(ratio: str) -> str:
    """Return a ratio of time and space in per cent, of which there may be none."""
    return " x ".join(f"{100 * float(share):g} %" for share in ratio.split("x") if share)


def _cell(row: pd.Series) -> str:
    """Return an excess with its interval; ! marks what a baseline without training beats."""
    spread = "" if pd.isna(row["half_width"]) else f" ± {100 * row['half_width']:.1f}"
    return f"{100 * row['mean']:+.1f}{spread}" + (" !" if row["over_untrained"] > 1 else "")


def _wins(excess: pd.DataFrame) -> str:
    """Say on how many data sets the default is better than random windows with its labels."""
    wide = excess.pivot_table(index=["ratio", "data"], columns="method", values="mean")
    if RANDOM not in wide or "default" not in wide:
        return ""
    gain = (wide[RANDOM] - wide["default"]).dropna()
    said = [
        f"{_heading(ratio, '')}: better on {(own > 0).sum()} of {len(own)}, "
        f"by {100 * own.mean():.1f} points on the mean"
        for ratio, own in gain.groupby(level="ratio", sort=False)
    ]
    return f"`default` against {RANDOM}: " + "; ".join(reversed(said)) + "."


def parser() -> argparse.ArgumentParser:
    """Return the options of a run."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--output", default="evidence", help="folder of results")
    options.add_argument("--data", default=",".join([*DATA, *BUILT_IN]))
    options.add_argument("--methods", default=",".join(METHODS))
    options.add_argument("--references", default="full,pruned,random,random-expert")
    options.add_argument("--ratios", default="0.1x0.1,0.025x0.1,0.01x0.1")
    options.add_argument("--forecasters", default="linear,mlp,gru")
    options.add_argument("--budget", default="both", help="equal, converged or both")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--jobs", type=int, default=2)
    return options


def main() -> None:
    """Run the methods and print the tables."""
    chosen = parser().parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    found = run(chosen)
    found.write(Path(chosen.output))
    text = page(found)
    with atomic_path(Path(chosen.output) / "evidence.md") as path:
        path.write_text(text, encoding="utf-8")
    print(text)
    print(found.costs())


if __name__ == "__main__":
    main()
