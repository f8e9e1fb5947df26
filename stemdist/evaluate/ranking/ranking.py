"""Ranking: what a small training set says about configurations, beside what the full data say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from stemdist.distill import DistilledSet
from stemdist.distill.real_windows import check_fit
from stemdist.errors import InputError
from stemdist.evaluate.comparison.protocol import results_folder
from stemdist.evaluate.comparison.tables import aligned
from stemdist.evaluate.comparison.training_data import REFERENCES
from stemdist.evaluate.ranking.runs import RankingRuns, Row
from stemdist.evaluate.ranking.scores import agreement
from stemdist.evaluate.ranking.settings import RankingSettings
from stemdist.files import atomic_path, write_json
from stemdist.forecast import ForecastTask

FULL, DISTILLED, SHORT = "full", "distilled", "short"
SHORT_TITLE = "full data, short trainings of equal cost"


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Errors of the same configurations after training on several sets.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per method and configuration: ``method``, ``configuration`` (its number),
        ``forecaster`` and its hyper-parameters, ``updates``, ``rmse`` on validation in scaled
        units, ``seconds``.
    made_seconds : mapping
        Time of making the training data, by method.
    settings : mapping
        How it was made.
    distilled_hash : str
        ``content_hash`` of the distilled set.
    """

    table: pd.DataFrame
    made_seconds: Mapping[str, float]
    settings: Mapping[str, Any]
    distilled_hash: str = ""

    @property
    def scores(self) -> pd.DataFrame:
        """Agreement with the order of the full data, and cost, by method.

        ``spearman``, ``kendall``, both within the truly best, ``regret`` (see
        :func:`~stemdist.evaluate.ranking.scores.agreement`), ``seconds`` of all trainings and of
        making the data, and ``share`` of what the trainings on the full data took.
        """
        errors = self.table.pivot(index="configuration", columns="method", values="rmse")
        spent = self.table.groupby("method")["seconds"].sum()
        rows = {}
        for method in dict.fromkeys(self.table["method"]):
            if method != FULL:
                seconds = spent[method] + self.made_seconds.get(method, 0.0)
                scores = agreement(list(errors[FULL]), list(errors[method]), self.top)
                rows[method] = scores | {"seconds": seconds, "share": seconds / spent[FULL]}
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("method")

    @property
    def top(self) -> int:
        """Size of the group of truly best configurations."""
        return min(int(self.settings["top"]), self.table["configuration"].nunique())

    @property
    def sentence(self) -> str:
        """What was found, in words."""
        scores = self.scores
        own = scores.loc[DISTILLED]
        said = (
            f"The distilled set orders {self.table['configuration'].nunique()} configurations as "
            f"the full data do with a rank correlation of {own['spearman']:.2f} "
            f"({own['spearman_top']:.2f} within the best {self.top}). The best configuration on "
            f"it is {100 * own['regret']:.1f} % worse on the full data than the best one there. "
            f"It took {100 * own['share']:.0f} % of the time, distilling included."
        )
        others = scores.drop(index=DISTILLED)
        better = others.index[others["spearman"] > own["spearman"]]
        if not len(better):
            return said
        names = " and ".join(title_of(name) for name in better)
        return f"{said} Higher rank correlations had: {names}."

    def write(self, folder: str | Path) -> list[Path]:
        """Write ``ranking.csv`` and ``ranking.json``, atomically."""
        folder = Path(folder)
        with atomic_path(folder / "ranking.csv") as part:
            self.table.to_csv(part, index=False)
        scores = {
            method: {name: _or_none(value) for name, value in row.items()}
            for method, row in self.scores.to_dict("index").items()
        }
        facts = {
            "settings": dict(self.settings),
            "distilled_hash": self.distilled_hash,
            "scores": scores,
            "in words": self.sentence,
        }
        write_json(folder / "ranking.json", facts)
        return [folder / "ranking.csv", folder / "ranking.json"]

    @property
    def rows(self) -> list[list[str]]:
        """The scores as a table of texts, the names of the columns first."""
        rows = [["trained on", "Spearman", f"within the best {self.top}", "regret", "time"]]
        for method, row in self.scores.iterrows():
            shares = f"{100 * row['regret']:.1f} %", f"{100 * row['share']:.0f} %"
            correlations = f"{row['spearman']:.2f}", f"{row['spearman_top']:.2f}"
            rows.append([title_of(str(method)), *correlations, *shares])
        return rows

    def __str__(self) -> str:
        return f"{aligned(self.rows)}\n\n{self.sentence}"


def rank(
    distilled: DistilledSet,
    task: ForecastTask,
    settings: RankingSettings | None = None,
    *,
    results: str | Path | None = None,
    experts: str | Path | None = None,
    n_jobs: int | None = None,
    device: str = "cpu",
    progress: bool | None = False,
) -> Ranking:
    """Train configurations on the full data and on a distilled set, and compare their order.

    Each configuration is trained on the full data, on the set, on other sets of its size, and on
    the full data again for as few updates as make that as expensive as the set with its
    distillation. All are scored on real validation windows; the test part is not read.

    Parameters
    ----------
    distilled : DistilledSet
        The set under test.
    task : ForecastTask
        The real data it was distilled from, prepared with ``distilled.settings``.
    settings : RankingSettings, optional
        Defaults are used without it.
    results : str or Path, optional
        Folder for one file per training, so that an interrupted ranking can be resumed.
    experts : str or Path, optional
        Folder of trained experts, for references with their labels.
    n_jobs : int, optional
        Trainings at the same time; by default what ``joblib.parallel_config`` says, or one.
    device : str
        Where to train.
    progress : bool, optional
        Show bars; None shows them on a terminal only.

    Raises
    ------
    InputError
        If the set does not fit the task, the task has no validation part, or no configuration
        could be trained.

    Examples
    --------
    >>> from stemdist.data import canonical_series, simulate
    >>> from stemdist.distill import DistillSettings, distill
    >>> from stemdist.forecast import TrainingSettings
    >>> series = canonical_series(simulate("weather-sim", days=8, n_lat=4, n_lon=4))
    >>> task = ForecastTask.from_series(series)
    >>> quick = DistillSettings(
    ...     labels="observed", synthesizer="selection", judging=TrainingSettings(updates=5)
    ... )
    >>> few = RankingSettings(
    ...     forecasters=("linear",), configurations=3, references=(), updates=4, full_updates=8
    ... )
    >>> list(rank(distill(task, quick), task, few).scores.index)
    ['distilled', 'short']
    """
    settings = settings or RankingSettings()
    check_fit(distilled, task)
    if "validation" not in task.windows:
        raise InputError(
            "configurations are ranked on the validation part, and the data have none: give a "
            "longer series, or another split"
        )
    with results_folder(results) as folder:
        runs = RankingRuns(
            task=task,
            distilled=distilled,
            settings=settings,
            folder=folder / "ranking",
            experts=None if experts is None else Path(experts),
            n_jobs=n_jobs,
            device=device,
            progress=progress,
        )
        return _ranked(runs)


def _ranked(runs: RankingRuns) -> Ranking:
    settings, drawn = runs.settings, runs.settings.drawn()
    rows = {FULL: runs.train(FULL, drawn, settings.full_updates)}
    if all(math.isinf(row["rmse"]) for row in rows[FULL]):
        raise InputError(
            f"no configuration could be trained on the full data: {rows[FULL][0]['failure']}"
        )
    for name in dict.fromkeys((DISTILLED, *settings.references)):
        rows[name] = runs.train(name, drawn, settings.updates)
    made = {name: runs.made_seconds(name) for name in rows}
    rows[SHORT] = runs.train(FULL, drawn, equal_updates(rows, made, settings))
    made[SHORT] = 0.0
    places = range(len(drawn))
    table = [
        {"method": method, "configuration": place, **_columns(row)}
        | {**drawn[place].options, **drawn[place].training}
        for method, own in rows.items()
        for place, row in zip(places, own, strict=True)
    ]
    return Ranking(
        table=pd.DataFrame(table),
        made_seconds=made,
        settings=settings.to_json(),
        distilled_hash="" if runs.distilled is None else runs.distilled.content_hash,
    )


def equal_updates(
    rows: Mapping[str, list[Row]], made: Mapping[str, float], settings: RankingSettings
) -> int:
    """Return the updates on the full data that cost what the distilled set and its trainings do."""
    full = math.fsum(row["seconds"] for row in rows[FULL])
    own = math.fsum(row["seconds"] for row in rows[DISTILLED]) + made[DISTILLED]
    wanted = round(settings.full_updates * own / full)
    return min(max(wanted, settings.updates), settings.full_updates)


def title_of(method: str) -> str:
    """Return the name of a method in tables."""
    return SHORT_TITLE if method == SHORT else REFERENCES.get(method).title


def _columns(row: Row) -> Row:
    return {name: row[name] for name in ("forecaster", "updates", "rmse", "seconds")}


def _or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None
