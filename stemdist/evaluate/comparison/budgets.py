"""How long forecasters train in a comparison: for equal updates, or until they have converged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from stemdist.errors import unknown_name

EQUAL, CONVERGED = "equal", "converged"
BUDGETS = {EQUAL: (EQUAL,), CONVERGED: (CONVERGED,), "both": (EQUAL, CONVERGED)}
"""Budgets of trainings that a choice of ``budget`` compares, the one of the headline last."""
FULL_TEXT = {EQUAL: "the full data at equal updates", CONVERGED: "the converged full data"}
"""The full data at each budget, in sentences."""
LEAST_GAIN = 0.005
"""Share by which a budget must lower the validation error for a longer one to be tried."""


def budgets_in(table: pd.DataFrame) -> tuple[str, ...]:
    """Return the budgets of the rows of a table; rows of earlier releases have equal updates.

    Examples
    --------
    >>> budgets_in(pd.DataFrame({"budget": ["equal", "converged", ""]}))
    ('equal', 'converged')
    """
    found = set(table["budget"]) if "budget" in table else set()
    return tuple(name for name in (EQUAL, CONVERGED) if name in found) or (EQUAL,)


def at_budget(table: pd.DataFrame, budget: str) -> pd.DataFrame:
    """Return the rows of one budget, and those of baselines, which have none.

    Examples
    --------
    >>> table = pd.DataFrame({"budget": ["equal", "converged", ""], "mae": [1.0, 2.0, 3.0]})
    >>> at_budget(table, "converged")["mae"].tolist()
    [2.0, 3.0]
    """
    return table[table["budget"].isin(["", budget])] if "budget" in table else table


class AtBudgets:
    """Results whose ``table`` has rows of one or several budgets."""

    table: pd.DataFrame

    @property
    def budgets(self) -> tuple[str, ...]:
        """The budgets of training: ``equal`` updates, ``converged``, or both."""
        return budgets_in(self.table)

    @property
    def headline(self) -> str:
        """The budget of the statistics: ``converged`` where there is one."""
        return self.budgets[-1]

    def _check_budget(self, budget: str) -> None:
        """Raise :class:`InputError` if no forecaster was trained with a budget."""
        if budget not in self.budgets:
            raise unknown_name("budget", budget, self.budgets)


def updates_text(settings: Mapping[str, Any]) -> str:
    """Return how long the forecasters of a comparison or benchmark train.

    Examples
    --------
    >>> updates_text({"updates": 600, "batch_windows": 32})
    '600 updates of 32 windows'
    >>> updates_text({"budget": "converged", "converged_updates": (600, 2000), "batch_windows": 32})
    '600 or 2000 updates (as many as help on validation) of 32 windows'
    """
    tried = " or ".join(map(str, settings.get("converged_updates", ())))
    texts = {
        EQUAL: f"{settings.get('updates')} updates",
        CONVERGED: f"{tried} updates (as many as help on validation)",
    }
    names = BUDGETS[settings.get("budget", EQUAL)]
    shown = [texts[name] if len(names) == 1 else f"{name}: {texts[name]}" for name in names]
    return f"{', '.join(shown)} of {settings['batch_windows']} windows"
