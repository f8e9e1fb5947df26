"""What is forecast from what: one frozen description."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, get_args

import xarray as xr

from stemdist.data.calendar import calendar_names, check_calendar
from stemdist.data.split import Split
from stemdist.errors import InputError, check_count, check_distinct, unknown_name
from stemdist.graph import GraphSettings
from stemdist.types import Scaling


@dataclass(frozen=True, kw_only=True)
class TaskSettings:
    """What is forecast from what.

    Parameters
    ----------
    lookback, horizon : int
        Input steps L_in and output steps L_out of one window.
    split : Split
        Shares of the time axis for training, validation and test, or their numbers of steps.
    reach_back : bool
        Let validation and test windows begin up to a lookback before their part, so that only
        their targets lie in it, as in most published long-horizon results. By default windows
        do not cross the parts.
    scaling : {"global", "location"}
        Standardise every variable by its mean and standard deviation in the training part: those
        over all locations, or each location by its own.
    calendar : tuple of str
        Calendar features added to the inputs: ``time_of_day``, ``day_of_week``,
        ``day_of_year``. ``("auto",)`` chooses among those the training part is long enough for
        by a quick check on the validation part, when a task is made.
    calendar_harmonics : int
        Waves per calendar feature: with 4, the day is described to a quarter of its length.
    static : tuple of str
        Numeric per-location coordinates added to the inputs, e.g. ``("lat", "elevation")``.
    targets : tuple of str
        Variables that are forecast together; the first variable of the series by default.
    future : tuple of str
        Variables known ahead of time (prices, planned closures, another model's forecast):
        their values over the horizon are added to the inputs.
    neighbour_context : bool
        Add, behind the targets, their mean over each location's graph neighbours. It lets any
        forecaster use space, and a cluster keep its real neighbourhood.
    graph : GraphSettings
        How the graph between locations is made.
    """

    lookback: int = 12
    horizon: int = 12
    split: Split = field(default_factory=Split)
    reach_back: bool = False
    scaling: Scaling = "global"
    calendar: tuple[str, ...] = ()
    calendar_harmonics: int = 1
    static: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    future: tuple[str, ...] = ()
    neighbour_context: bool = True
    graph: GraphSettings = field(default_factory=GraphSettings)

    def __post_init__(self) -> None:
        check_count("lookback", self.lookback)
        check_count("horizon", self.horizon)
        check_count("calendar_harmonics", self.calendar_harmonics)
        if self.scaling not in get_args(Scaling):
            raise unknown_name("scaling", self.scaling, get_args(Scaling))
        object.__setattr__(self, "calendar", check_calendar(self.calendar))
        for name in ("static", "targets", "future"):
            object.__setattr__(self, name, check_distinct(name, getattr(self, name), minimum=0))
        both = sorted(set(self.targets) & set(self.future))
        if both:
            raise InputError(
                f"{', '.join(both)} cannot be forecast and known ahead of time at once: leave it "
                "out of the targets or of the future variables"
            )
        for name, kind in (("split", Split), ("graph", GraphSettings)):
            value = getattr(self, name)
            if not isinstance(value, kind):
                raise InputError(f"{name} is {value!r}: give a stemdist.{kind.__name__}(...)")

    @property
    def reach(self) -> int:
        """Steps by which validation and test windows may begin before their part."""
        return self.lookback if self.reach_back else 0

    @property
    def n_targets(self) -> int:
        """Number of targets C."""
        return max(1, len(self.targets))

    @property
    def variables(self) -> tuple[str, ...] | None:
        """Variables to open for these settings; None if the settings name no targets."""
        return (*self.targets, *self.future) if self.targets else None

    @property
    def calendar_names(self) -> tuple[str, ...]:
        """Names of the calendar columns of the inputs."""
        return calendar_names(self.calendar, self.calendar_harmonics)

    @property
    def future_leads(self) -> tuple[int, ...]:
        """Steps by which known future variables are moved so that lookbacks cover the horizon.

        Moved by L_out, the last L_out of L_in inputs are the horizon; where L_out > L_in,
        further copies, each moved L_in steps less, cover the rest.
        """
        return tuple(range(self.horizon, 0, -self.lookback)) if self.future else ()

    def ordered(self, series: xr.Dataset) -> xr.Dataset:
        """Return the series with the targets first.

        Raises
        ------
        InputError
            If a target or a future variable is not in the series.
        """
        names = [str(name) for name in series.data_vars]
        for kind in ("targets", "future"):
            for name in getattr(self, kind):
                if name not in names:
                    raise unknown_name(f"variable in {kind}", name, names)
        targets = self.targets or tuple(names[:1])
        both = sorted(set(targets) & set(self.future))
        if both:
            raise InputError(
                f"{', '.join(both)} is what is forecast, so it cannot be known ahead of time: "
                "name another future variable, or other targets"
            )
        return series[[*targets, *(name for name in names if name not in targets)]]

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain JSON types."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> TaskSettings:
        """Rebuild settings written by :meth:`to_json`."""
        parts = {"split": Split(**content["split"]), "graph": GraphSettings(**content["graph"])}
        return cls(**{**content, **parts})
