"""Which calendar features a series deserves: the rules, and a quick check on validation data.

Shapes: P = L_in * F inputs of a row, T steps, N locations, n calendar columns.
"""

from __future__ import annotations

import itertools
import logging
from dataclasses import replace

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from stemdist.data.calendar import AUTO, calendar_names, fitting_calendar
from stemdist.data.time_axis import step_seconds
from stemdist.data.windows import SeriesWindows, evenly_spaced
from stemdist.forecast.baselines import Climatology
from stemdist.forecast.closed_form import Moments, moments_of
from stemdist.forecast.task_settings import TaskSettings

log = logging.getLogger(__name__)

_ROWS = 40_000
_RIDGE = 1e-3
_GAIN = 0.001  # share of the squared error that a feature must save
_GAIN_OF_MEANS = 0.02  # the same where means tell it, which are noisier
_FEWEST_SEEN = 2  # steps of a slot, on average, from which its mean is taken
_PLACES = 256  # locations at which means are compared


def calendar_candidates(
    series: xr.Dataset, settings: TaskSettings, train_steps: int
) -> TaskSettings:
    """Return settings with the calendar features that fit a series, where they say ``auto``.

    Parameters
    ----------
    series : xarray.Dataset
        Canonical series.
    settings : TaskSettings
        Returned as they are unless their calendar is ``("auto",)``.
    train_steps : int
        Steps of the training part.
    """
    if settings.calendar != AUTO:
        return settings
    step = step_seconds(series)
    names = fitting_calendar(step, train_steps * step, str(series["time"].dt.calendar))
    return replace(settings, calendar=names)


def chosen_calendar(
    settings: TaskSettings, train: SeriesWindows, validation: SeriesWindows | None
) -> TaskSettings:
    """Return settings with those calendar features that lower the error of a simple forecast.

    The exact linear forecaster of every choice comes from one pass over evenly spaced training
    windows, and its error from one over validation windows (see
    :class:`~stemdist.forecast.closed_form.Moments`). What the calendar does may differ between
    locations, or depend on two of its features together, as mornings of working days do: a
    linear forecast cannot tell, and mean values of each location can. A feature is kept, too, if
    it makes these a better forecast.

    Parameters
    ----------
    settings : TaskSettings
        Their calendar names the candidates.
    train, validation : SeriesWindows
        With all candidates; without validation windows all candidates are kept.
    """
    if not settings.calendar or validation is None:
        return settings
    learned, tested = (_moments(part) for part in (train, validation))
    columns = _columns(settings, train)
    chosen: tuple[str, ...] = ()
    best = _error(learned, tested, _kept(columns, chosen))
    for name in settings.calendar:
        error = _error(learned, tested, _kept(columns, (*chosen, name)))
        if error < (1 - _GAIN) * best:
            chosen, best = (*chosen, name), error
    best = _error_of_means(train, validation, calendar_columns(settings, chosen))
    for name in (each for each in settings.calendar if each not in chosen):
        error = _error_of_means(train, validation, calendar_columns(settings, (*chosen, name)))
        if error < (1 - _GAIN_OF_MEANS) * best:
            chosen, best = (*chosen, name), error
    chosen = tuple(name for name in settings.calendar if name in chosen)
    log.info(
        "calendar features: %s (of %s; chosen by simple forecasts of the validation part)",
        ", ".join(chosen) or "none",
        ", ".join(settings.calendar),
    )
    return replace(settings, calendar=chosen)


def calendar_columns(settings: TaskSettings, kept: tuple[str, ...]) -> list[int]:
    """Return the columns of the calendar tensor of ``settings`` that the features kept have."""
    names = settings.calendar_names
    wanted = set(calendar_names(kept, settings.calendar_harmonics))
    return [column for column, name in enumerate(names) if name in wanted]


def _error_of_means(train: SeriesWindows, validation: SeriesWindows, columns: list[int]) -> float:
    """Return the mean squared error on validation steps of training means by location and slot.

    A slot is a combination of values of the calendar columns. Where slots are too many to be seen
    often enough, the error is infinite. Both parts are windows of one series.
    """
    slots = torch.zeros(len(train.values), dtype=torch.int64)
    if columns:
        rounded = train.calendar[:, columns].mul(1e4).round()
        _, slots = torch.unique(rounded, dim=0, return_inverse=True)
    learned, tested = (_target_steps(part) for part in (train, validation))
    if (int(slots.max()) + 1) * _FEWEST_SEEN > len(learned):
        return float("inf")
    steps, end = torch.cat([learned, tested]), len(learned)
    cells = steps[:, None], evenly_spaced(train.n_locations, _PLACES)
    values, seen = train.values[..., 0][cells].numpy(), train.observed[..., 0][cells].numpy()
    means = Climatology.fit(values, seen, slots=slots[steps].numpy(), end=end)
    errors = (values[end:] - means.at(np.arange(end, len(steps)))) ** 2
    return float((errors * seen[end:]).sum() / max(seen[end:].sum(), 1))


def _target_steps(windows: SeriesWindows) -> Tensor:
    """Return the steps of the series that are targets of some window, ascending."""
    first = windows.starts[:, None] + windows.lookback
    steps: Tensor = torch.unique(first + torch.arange(windows.horizon))
    return steps


def _moments(windows: SeriesWindows) -> Moments:
    at_most = max(8, _ROWS // windows.n_locations)
    return moments_of(windows.take(evenly_spaced(len(windows), at_most)))


def _columns(settings: TaskSettings, windows: SeriesWindows) -> dict[str, list[int]]:
    """Return the inputs (of P + 1, the last is the constant) of each feature, "" for the rest."""
    first = windows.values.shape[2]
    width = 2 * settings.calendar_harmonics
    found: dict[str, list[int]] = {"": [windows.lookback * windows.n_features]}
    spans = {name: first + width * i for i, name in enumerate(settings.calendar)}
    for lag, feature in itertools.product(range(windows.lookback), range(windows.n_features)):
        owner = next((n for n, b in spans.items() if b <= feature < b + width), "")
        found.setdefault(owner, []).append(lag * windows.n_features + feature)
    return found


def _kept(columns: dict[str, list[int]], names: tuple[str, ...]) -> Tensor:
    constant, *rest = columns[""]
    return torch.tensor([*sorted(rest + [c for n in names for c in columns[n]]), constant])


def _error(learned: Moments, tested: Moments, kept: Tensor) -> float:
    return tested.only(kept).squared_error(*learned.only(kept).solve(_RIDGE))
