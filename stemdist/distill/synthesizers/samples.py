"""Windows of single locations as samples.

Shapes: B windows, R target rows, N locations, n = B * N samples, L_in lookback, L_out horizon.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from stemdist.errors import InputError, check_ratio


def random_part(
    n_windows: int, n_locations: int, at_most: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw windows and locations that have at most ``at_most`` samples together.

    All locations are used if there are no more than ``at_most`` of them.

    Parameters
    ----------
    n_windows, n_locations : int
        Numbers to draw from.
    at_most : int
        Most samples (windows times locations), at least 1.
    generator : torch.Generator
        Source of the random draws.

    Returns
    -------
    windows, locations : Tensor
        Ascending numbers.

    Examples
    --------
    >>> windows, locations = random_part(9, 3, 7, torch.Generator().manual_seed(0))
    >>> len(windows), locations.tolist()
    (2, [0, 1, 2])
    """
    locations = torch.randperm(n_locations, generator=generator)[:at_most]
    windows = torch.randperm(n_windows, generator=generator)[: at_most // len(locations)]
    return windows.sort().values, locations.sort().values


def sample_rows(values: Tensor) -> Tensor:
    """Return one row (n, R) per window and location of (B, R, N), window by window.

    Examples
    --------
    >>> sample_rows(torch.tensor([[[1, 2], [3, 4]]])).tolist()
    [[1, 3], [2, 4]]
    """
    return values.transpose(1, 2).flatten(0, 1)


def check_rates(rates: Mapping[str, float], relabel: float) -> None:
    """Raise if a named rate is not above 0, or ``relabel`` is not a share.

    Raises
    ------
    InputError
        With the name and the wrong value.
    """
    for name, rate in rates.items():
        if not (math.isfinite(rate) and rate > 0):
            raise InputError(f"{name} is {rate!r}: it must be above 0")
    if relabel:
        check_ratio("relabel", relabel)


def names_of(given: Sequence[str] | str | None) -> tuple[str, ...]:
    """Return names given as a sequence, or as one string separated by commas; None has none.

    >>> names_of("mlp,linear"), names_of(["mlp"]), names_of(""), names_of(None)
    (('mlp', 'linear'), ('mlp',), (), ())
    """
    names = given.split(",") if isinstance(given, str) else given or ()
    return tuple(name.strip() for name in names if name.strip())
