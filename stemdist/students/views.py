"""Aspects of two outputs that are compared: values, spectrum, trend, ...

Shapes: the leading axes are windows B and locations N, or those of images with h x w cells; L is
the last axis (steps of the horizon, columns of features, or D channels of an image).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from stemdist.errors import InputError, check_count, unknown_name
from stemdist.students.bins import Bins
from stemdist.students.spectral_views import Bands, LogAmplitudes, Spectrum
from stemdist.students.view import View


class Values(View):
    """The values themselves.

    Examples
    --------
    >>> Values()(torch.tensor([1.0, 2.0]))
    (tensor([1., 2.]),)
    """

    keeps_steps = True
    of = frozenset({"forecast", "features", "tokens", "latent", "bottleneck"})

    def forward(self, values: Tensor) -> tuple[Tensor, ...]:
        """Return the values."""
        return (values,)


class Scales(View):
    """The values and their averages over 2, 4, 8 ... neighbours on the last axis.

    Ni et al., *TimeDistill*, KDD 2026, section 4 (multi-scale distillation): the mean over the
    scales is taken.

    Parameters
    ----------
    scales : int
        Number of scales, the original included; fewer where the axis is too short.

    Examples
    --------
    >>> [part.tolist() for part in Scales(scales=2)(torch.tensor([1.0, 3.0, 5.0, 9.0]))]
    [[1.0, 3.0, 5.0, 9.0], [2.0, 7.0]]
    """

    def __init__(self, scales: int = 4) -> None:
        super().__init__()
        self.scales = check_count("scales", scales)

    @property
    def weights(self) -> tuple[float, ...]:
        """Equal weights."""
        return (1 / self.scales,) * self.scales

    def forward(self, values: Tensor) -> tuple[Tensor, ...]:
        """Return (..., L), (..., L // 2), (..., L // 4) ..."""
        parts = [values]
        for _ in range(self.scales - 1):
            finer = parts[-1]
            if finer.shape[-1] < 2:
                parts.append(finer)
                continue
            even = finer[..., : finer.shape[-1] // 2 * 2]
            parts.append(even.unflatten(-1, (-1, 2)).mean(-1))  # type: ignore[no-untyped-call]
        return tuple(parts)


class Differences(View):
    """Changes from one step to the next (DistilTS, ICASSP 2026)."""

    of = frozenset({"forecast"})

    def forward(self, values: Tensor) -> tuple[Tensor, ...]:
        """Return (..., L - 1)."""
        if values.shape[-1] < 2:
            raise InputError("one step has no differences: forecast at least 2 steps ahead")
        return (values.diff(dim=-1),)


class Trend(View):
    """Every so many steps, and the last one (DistilTS, ICASSP 2026).

    Parameters
    ----------
    stride : int
        Steps from one that counts to the next.

    Examples
    --------
    >>> Trend(stride=2)(torch.tensor([1.0, 2.0, 3.0, 4.0]))[0].tolist()
    [1.0, 3.0, 4.0]
    """

    keeps_steps = True
    of = frozenset({"forecast"})

    def __init__(self, stride: int = 6) -> None:
        super().__init__()
        self.stride = check_count("stride", stride)

    def steps(self, horizon: int) -> Tensor:
        """Return the steps that count."""
        last = torch.tensor([horizon - 1])
        return torch.cat([torch.arange(0, horizon - 1, self.stride), last])

    def forward(self, values: Tensor) -> tuple[Tensor, ...]:
        """Return (..., steps that count)."""
        return (values[..., self.steps(values.shape[-1]).to(values.device)],)


class Attention(View):
    """The energy of the features: a vector over locations, tokens or cells.

    Zagoruyko & Komodakis, *Paying More Attention to Attention*, ICLR 2017, section 3.1: sums of
    squares over the columns, normalised, here to a mean square of 1, so that the mean squared
    difference is the squared distance of unit vectors. No projection is needed, whatever the
    columns.
    """

    per_location = False
    of = frozenset({"features", "tokens", "latent"})

    def check_positions(self, student: torch.Size, teacher: torch.Size) -> None:
        """Raise :class:`InputError` unless both have as many tokens."""
        if student[:-1] != teacher[:-1]:
            raise InputError(
                f"the student has {student[-2]} tokens per location, the teacher {teacher[-2]}: "
                "give both the same patches, or compare 'distances' or 'angles'"
            )

    def forward(self, values: Tensor) -> tuple[Tensor, ...]:
        """Return (B, positions)."""
        energy = values.square().mean(-1).flatten(1)
        if energy.shape[1] < 2:
            raise InputError(
                "attention is compared between locations or tokens, and there is one only: "
                "compare features by their values"
            )
        return (functional.normalize(energy, dim=1) * math.sqrt(energy.shape[1]),)


class Distances(View):
    """Distances between the features of windows and locations, over their mean.

    Park et al., *Relational Knowledge Distillation*, CVPR 2019, section 3.2.1 (RKD-D). No
    projection is needed, whatever the columns.

    Parameters
    ----------
    samples : int
        Windows and locations compared with one another, evenly spaced among all.
    """

    per_location = False
    of = frozenset({"features", "tokens"})

    def __init__(self, samples: int = 64) -> None:
        super().__init__()
        self.samples = check_count("samples", samples, minimum=2)

    def forward(self, values: Tensor) -> tuple[Tensor, ...]:
        """Return (pairs,)."""
        distances = functional.pdist(some_rows(values, self.samples))
        return (distances / distances.mean().clamp_min(1e-12),)


class Angles(View):
    """Cosines of the angles that three samples make in feature space.

    Park et al., *Relational Knowledge Distillation*, CVPR 2019, section 3.2.2 (RKD-A).

    Parameters
    ----------
    samples : int
        Windows and locations of which triples are made, evenly spaced among all.
    """

    per_location = False
    of = frozenset({"features", "tokens"})

    def __init__(self, samples: int = 24) -> None:
        super().__init__()
        self.samples = check_count("samples", samples, minimum=3)

    def forward(self, values: Tensor) -> tuple[Tensor, ...]:
        """Return (samples, samples, samples)."""
        rows = some_rows(values, self.samples)
        towards = functional.normalize(rows[None] - rows[:, None], dim=-1)  # (S, S, C)
        return (towards @ towards.mT,)


def some_rows(values: Tensor, at_most: int) -> Tensor:
    """Return evenly spaced (window, location) samples of (B, N, ...) as rows."""
    rows = values.flatten(0, 1).flatten(1)
    if len(rows) < 2:
        raise InputError(
            "relations are between samples, and there is one only: train on more windows per update"
        )
    count = min(at_most, len(rows))
    return rows[torch.linspace(0, len(rows) - 1, count).round().long()]


VIEWS: dict[str, type[View]] = {
    "amplitudes": LogAmplitudes,
    "angles": Angles,
    "attention": Attention,
    "bands": Bands,
    "bins": Bins,
    "differences": Differences,
    "distances": Distances,
    "scales": Scales,
    "spectrum": Spectrum,
    "trend": Trend,
    "values": Values,
}


def make_view(name: str, options: Mapping[str, Any]) -> View:
    """Build a view by name, or raise with the choices."""
    if name not in VIEWS:
        raise unknown_name("view", name, VIEWS)
    try:
        return VIEWS[name](**options)
    except TypeError as error:
        raise InputError(f"view {name!r} with options {dict(options)}: {error}") from error
