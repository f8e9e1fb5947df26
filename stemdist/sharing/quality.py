"""What was measured of one distilled set: its evaluation and its ranking, if they are its own."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stemdist.distill import DistilledSet
from stemdist.errors import InputError
from stemdist.evaluate import Evaluation
from stemdist.evaluate.comparison.figures import method_title
from stemdist.evaluate.comparison.statistics import records
from stemdist.evaluate.ranking.ranking import title_of

_COLUMN = "relative_rmse"


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Results of `stemdist evaluate` for one distilled set.

    Parameters
    ----------
    evaluation : Evaluation
        Errors of forecasters trained on the set and on references.
    ranking : mapping, optional
        What ``ranking.json`` holds: how the set orders configurations.
    """

    evaluation: Evaluation
    ranking: Mapping[str, Any] | None = None

    @classmethod
    def read(cls, path: str | Path, distilled: DistilledSet) -> Quality:
        """Read the folder, or the ``all.json``, of an evaluation of this very set.

        Parameters
        ----------
        path : str or Path
            What `stemdist evaluate` wrote.
        distilled : DistilledSet
            The set, as it was read from its file.

        Raises
        ------
        InputError
            If there is no evaluation, or it is one of another set.
        """
        path = Path(path)
        file = path / "all.json" if path.is_dir() else path
        if not file.is_file():
            raise InputError(
                f"there is no evaluation {str(file)!r}: make one with `stemdist evaluate FILE "
                "--data SOURCE`, and name its folder"
            )
        evaluation = Evaluation.read_json(file)
        _check_own(evaluation.facts, distilled, file)
        ranking = file.with_name("ranking.json")
        if not ranking.is_file():
            return cls(evaluation=evaluation)
        content = json.loads(ranking.read_text(encoding="utf-8"))
        _check_own(content, distilled, ranking)
        return cls(evaluation=evaluation, ranking=content)

    def error_rows(self) -> list[list[str]]:
        """Return relative RMSE and excess by reference and forecaster, the header first."""
        evaluation = self.evaluation
        excess = {} if evaluation.excess().empty else records(evaluation.excess())
        rows = [["trained on", "forecaster", "relative RMSE", "excess over full data"]]
        for (method, forecaster), row in records(evaluation.summary(_COLUMN)).items():
            own = excess.get((method, forecaster), {}).get("mean", math.nan)
            shown = "" if math.isnan(own) or method == "full" else f"{100 * own:+.1f} %"
            what = method_title(method) if forecaster else "nothing"
            rows.append([what, forecaster or method, f"{row['mean']:.4f}", shown])
        return rows

    def sentences(self) -> list[str]:
        """Return what was found, in words, and how it was measured."""
        settings = self.evaluation.facts.get("settings", {})
        found = [self.evaluation.verdict(_COLUMN)]
        if self.ranking is not None:
            found.append(str(self.ranking["in words"]))
        found.append(
            f"Test part, {self.evaluation.facts.get('test_windows', 'unknown')} windows; mean of "
            f"{settings.get('seeds', 'unknown')} seeds. Relative RMSE is the root mean squared "
            "error over the standard deviation of the targets; the excess is the error over that "
            "on the full data, minus 1."
        )
        return [sentence for sentence in found if sentence]

    def ranking_rows(self) -> list[list[str]]:
        """Return the rank correlation of each reference with the full data, the header first."""
        if self.ranking is None:
            return []
        names = ("spearman", "kendall", "spearman_top")
        titles = ["Spearman", "Kendall", "Spearman within the best", "regret"]
        rows = [["configurations ordered by", *titles]]
        for method, scores in self.ranking["scores"].items():
            numbers = [scores.get(name) for name in names]
            shown = ["undefined" if each is None else f"{each:.2f}" for each in numbers]
            rows.append([title_of(method), *shown, f"{100 * scores['regret']:.1f} %"])
        return rows


def _check_own(facts: Mapping[str, Any], distilled: DistilledSet, file: Path) -> None:
    """Raise unless results are those of this very set."""
    found = facts.get("distilled_hash")
    if not found:
        raise InputError(
            f"{str(file)!r} does not say of which distilled set it is: evaluate the set again with "
            "`stemdist evaluate`"
        )
    if found != distilled.content_hash:
        raise InputError(
            f"{str(file)!r} is of another distilled set (content hash {found[:12]}..., this one "
            f"has {distilled.content_hash[:12]}...): evaluate this set with `stemdist evaluate`"
        )
