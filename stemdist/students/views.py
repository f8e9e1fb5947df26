"""What of two answers is compared: the values themselves, their spectrum, their trend, ...

Shapes: the leading axes are windows B and locations N, or those of images with h x w cells; L is
the last axis (steps of the horizon, columns of features, or D channels of an image).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from stemdist.errors import InputError, check_count, unknown_name


class View(nn.Module, ABC):
    """One way to look at values; applied to the student's and the teacher's alike.

    A subclass takes its options in ``__init__``. It returns one or several parts of the values,
    and :attr:`weights` says how much each part counts.
    """

    distribution: ClassVar[bool] = False
    """True if parts are log probabilities along the last axis."""
    keeps_steps: ClassVar[bool] = False
    """True if the last axis of a part still is steps of the horizon, see :meth:`steps`."""
    per_location: ClassVar[bool] = True
    """True if the first two axes of a part still are windows and locations."""
    of: ClassVar[frozenset[str]] = frozenset({"forecast", "features", "tokens", "latent"})
    """What it can look at."""

    @property
    def weights(self) -> tuple[float, ...]:
        """Weight of each part; their sum is the weight of the view."""
        return (1.0,)

    def steps(self, horizon: int) -> Tensor:
        """Return which steps of the horizon the last axis of a part holds."""
        return torch.arange(horizon)

    @abstractmethod
    def forward(self, values: Tensor) -> tuple[Tensor, ...]:
        """Return the parts of values (B, N, ..., L), or of images (B, h, w, D)."""


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


def amplitudes(values: Tensor) -> Tensor:
    """Return the amplitudes (..., L // 2) of the frequencies of the last axis, without the mean.

    The transform is orthonormal: amplitudes of noise do not grow with the length, and a softmax
    of them says the same of short and of long horizons. Without that, the spectrum of 96 steps is
    all but one frequency, and its divergence drowns every other term.

    Examples
    --------
    >>> amplitudes(torch.tensor([1.0, -1.0, 1.0, -1.0])).round().tolist()
    [0.0, 2.0]
    """
    if values.shape[-1] < 2:
        raise InputError(
            f"a spectrum of {values.shape[-1]} step has no frequencies: forecast at least 2 steps "
            "ahead, or leave the term out"
        )
    waves: Tensor = torch.fft.rfft(values, dim=-1, norm="ortho")[..., 1:]
    # the floor under the root gives it a finite slope at 0
    size: Tensor = (waves.real**2 + waves.imag**2 + 1e-12).sqrt()
    return size


class Spectrum(View):
    """How the amplitude is shared among the frequencies of the last axis: a distribution.

    Ni et al., *TimeDistill*, KDD 2026, section 4 (multi-period distillation): softmax of the
    amplitudes of the Fourier transform without the constant term.

    Parameters
    ----------
    temperature : float
        By which amplitudes are divided.
    """

    distribution = True

    def __init__(self, temperature: float = 0.5) -> None:
        super().__init__()
        self.temperature = check_positive("temperature", temperature)

    def forward(self, values: Tensor) -> tuple[Tensor, ...]:
        """Return log probabilities (..., L // 2)."""
        return (functional.log_softmax(amplitudes(values) / self.temperature, dim=-1),)


class LogAmplitudes(View):
    """Logarithms of the amplitudes of the frequencies of the last axis (DistilTS, ICASSP 2026).

    Parameters
    ----------
    floor : float
        Added to amplitudes, so that silent frequencies do not dominate.
    """

    def __init__(self, floor: float = 0.1) -> None:
        super().__init__()
        self.floor = check_positive("floor", floor)

    def forward(self, values: Tensor) -> tuple[Tensor, ...]:
        """Return (..., L // 2)."""
        return ((amplitudes(values) + self.floor).log(),)


class Differences(View):
    """Changes from one step to the next (DistilTS, ICASSP 2026)."""

    of = frozenset({"forecast"})

    def forward(self, values: Tensor) -> tuple[Tensor, ...]:
        """Return (..., L - 1)."""
        if values.shape[-1] < 2:
            raise InputError("one step has no differences: forecast at least 2 steps ahead")
        return (values.diff(dim=-1),)


class Trend(View):
    """Every so many steps (DistilTS, ICASSP 2026).

    Parameters
    ----------
    stride : int
        Steps from one that counts to the next.

    Examples
    --------
    >>> Trend(stride=2)(torch.tensor([1.0, 2.0, 3.0]))[0].tolist()
    [1.0, 3.0]
    """

    keeps_steps = True
    of = frozenset({"forecast"})

    def __init__(self, stride: int = 6) -> None:
        super().__init__()
        self.stride = check_count("stride", stride)

    def steps(self, horizon: int) -> Tensor:
        """Return the steps that count."""
        return torch.arange(horizon)[:: self.stride]

    def forward(self, values: Tensor) -> tuple[Tensor, ...]:
        """Return (..., steps that count)."""
        return (values[..., :: self.stride],)


class Attention(View):
    """Where the energy of the features is: a vector over locations, tokens or cells.

    Zagoruyko & Komodakis, *Paying More Attention to Attention*, ICLR 2017, section 3.1: sums of
    squares over the columns, normalised, here to a mean square of 1, so that the mean squared
    difference is the squared distance of unit vectors. No projection is needed, whatever the
    columns.
    """

    per_location = False
    of = frozenset({"features", "tokens", "latent"})

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


class Bands(View):
    """High and low spatial frequencies of images, apart.

    *Spectral decoupled knowledge distillation* (SDKD), ICCV 2025, arXiv:2507.02939: a radial
    mask of the 2-D Fourier transform.

    Parameters
    ----------
    cutoff : float
        Lowest frequency of the high band, as a share of the highest that the cells resolve.
    low : float
        Weight of the low band, that of the high one being 1.

    Examples
    --------
    >>> high, low = Bands()(torch.full((1, 8, 8, 1), 3.0))
    >>> high.abs().max().item() < 1e-6, low.mean().item()
    (True, 3.0)
    """

    of = frozenset({"latent"})

    def __init__(self, cutoff: float = 0.25, low: float = 1.0) -> None:
        super().__init__()
        if not 0 < cutoff < 1:
            raise InputError(f"cutoff is {cutoff}: give a share of the highest frequency, e.g. .25")
        self.cutoff, self.low = cutoff, check_positive("low", low)

    @property
    def weights(self) -> tuple[float, ...]:
        """1 for the high band, and the weight of the low one."""
        return (1.0, self.low)

    def forward(self, values: Tensor) -> tuple[Tensor, ...]:
        """Return the high and the low part of images (B, h, w, D), each as an image."""
        high, low = split_bands(values.movedim(-1, 1), self.cutoff)
        return high.movedim(1, -1), low.movedim(1, -1)


def split_bands(images: Tensor, cutoff: float) -> tuple[Tensor, Tensor]:
    """Return the high and the low spatial frequencies of images (..., h, w); their sum is both.

    Parameters
    ----------
    images : Tensor
        (..., h, w), taken as periodic.
    cutoff : float
        Radius of the low band, as a share of the highest frequency of an axis (1/2 per cell).
    """
    height, width = images.shape[-2:]
    rows = torch.fft.fftfreq(height, device=images.device)[:, None]
    columns = torch.fft.rfftfreq(width, device=images.device)[None]
    inside = (rows**2 + columns**2).sqrt() < cutoff / 2
    waves = torch.fft.rfft2(images)
    low = torch.fft.irfft2(waves * inside, s=(height, width))
    return images - low, low


class Bins(View):
    """Values as shares of the bins whose centres they lie between: a distribution.

    The student's scores of the bins are softmaxed; a teacher's value is shared between the two
    nearest centres in proportion (two-hot; Imani & White, *Improving Regression Performance with
    Distributional Losses*, ICML 2018), and smoothed by the temperature.

    Parameters
    ----------
    centres : tuple of float
        Ascending centres in scaled units; those of the student.
    temperature : float
        By which the student's scores are divided.
    smoothing : float
        Share of the probability that is spread evenly over all bins, in [0, 1).
    """

    distribution = True
    of = frozenset({"logits"})

    centres: Tensor

    def __init__(
        self, centres: tuple[float, ...] = (), temperature: float = 1.0, smoothing: float = 0.0
    ) -> None:
        super().__init__()
        if not 0 <= smoothing < 1:
            raise InputError(f"smoothing is {smoothing}: give a share of at least 0 and below 1")
        self.temperature = check_positive("temperature", temperature)
        self.smoothing = smoothing
        self.register_buffer("centres", torch.tensor(centres), persistent=False)

    def forward(self, values: Tensor) -> tuple[Tensor, ...]:
        """Return log probabilities (..., bins) of scores (..., bins)."""
        return (functional.log_softmax(values / self.temperature, dim=-1),)

    def of_values(self, values: Tensor) -> Tensor:
        """Return log probabilities (..., bins) of a teacher's values (...)."""
        shares = two_hot(values, self.centres)
        even = self.smoothing / len(self.centres)
        return ((1 - self.smoothing) * shares + even).clamp_min(1e-12).log()


def two_hot(values: Tensor, centres: Tensor) -> Tensor:
    """Return shares (..., bins) of the two nearest centres, whose expectation is the value.

    Values beyond the outermost centres belong to these.

    Examples
    --------
    >>> two_hot(torch.tensor([0.25, 9.0]), torch.tensor([0.0, 1.0, 2.0])).tolist()
    [[0.75, 0.25, 0.0], [0.0, 0.0, 1.0]]
    """
    last = len(centres) - 1
    above = torch.bucketize(values.contiguous(), centres).clamp(1, last)
    left, right = centres[above - 1], centres[above]
    share = ((values - left) / (right - left)).clamp(0, 1)
    shares = values.new_zeros(*values.shape, last + 1)
    shares.scatter_(-1, (above - 1).unsqueeze(-1), (1 - share).unsqueeze(-1))
    return shares.scatter(-1, above.unsqueeze(-1), share.unsqueeze(-1))


def some_rows(values: Tensor, at_most: int) -> Tensor:
    """Return evenly spaced (window, location) samples of (B, N, ...) as rows."""
    rows = values.flatten(0, 1).flatten(1)
    if len(rows) < 2:
        raise InputError(
            "relations are between samples, and there is one only: train on more windows per update"
        )
    count = min(at_most, len(rows))
    return rows[torch.linspace(0, len(rows) - 1, count).round().long()]


def check_positive(name: str, value: float) -> float:
    """Return ``value`` if it is a number above 0, else raise :class:`InputError`."""
    if not (isinstance(value, int | float) and math.isfinite(value) and value > 0):
        raise InputError(f"{name} is {value!r}: it must be a number above 0")
    return float(value)


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
