"""Views of how values vary: frequencies in time and in space.

Shapes: the leading axes are windows B and locations N, or those of images with h x w cells; L is
the last axis (steps of the horizon, columns of features, or D channels of an image).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from stemdist.errors import InputError
from stemdist.students.view import View, check_positive

SHARE_FLOOR = 1e-8
"""Added to the share of each frequency, as in the published code of TimeDistill."""


def amplitudes(values: Tensor) -> Tensor:
    """Return the amplitudes (..., L // 2 + 1) of the frequencies of the last axis.

    The first is that of the constant. The transform is the plain one: amplitudes of noise grow
    with the square root of the length, those of a wave with the length.

    Examples
    --------
    >>> amplitudes(torch.tensor([1.0, -1.0, 1.0, -1.0])).round().tolist()
    [0.0, 0.0, 4.0]
    """
    if values.shape[-1] < 2:
        raise InputError(
            f"a spectrum of {values.shape[-1]} step has no frequencies: forecast at least 2 steps "
            "ahead, or leave the term out"
        )
    waves: Tensor = torch.fft.rfft(values, dim=-1)
    # the floor under the root gives it a finite slope at 0
    size: Tensor = (waves.real**2 + waves.imag**2 + 1e-12).sqrt()
    return size


class Spectrum(View):
    """How the amplitude is shared among the frequencies of the last axis: a distribution.

    Ni et al., *TimeDistill*, KDD 2026, section 4 (multi-period distillation): softmax of the
    amplitudes of the Fourier transform without the constant term. Every share is raised by
    ``SHARE_FLOOR``, which bounds its logarithm where nearly all of the amplitude is elsewhere.

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
        shares = functional.softmax(amplitudes(values)[..., 1:] / self.temperature, dim=-1)
        return ((shares + SHARE_FLOOR).log(),)


class LogAmplitudes(View):
    """Logarithms of the amplitudes of the frequencies of the last axis (DistilTS, ICASSP 2026).

    The constant is one of them: it tells the size of the level, though not its sign.

    Parameters
    ----------
    floor : float
        Lowest amplitude that is told from 0, 0.001 as in the published code.
    """

    def __init__(self, floor: float = 1e-3) -> None:
        super().__init__()
        self.floor = check_positive("floor", floor)

    def forward(self, values: Tensor) -> tuple[Tensor, ...]:
        """Return (..., L // 2 + 1)."""
        return (amplitudes(values).clamp_min(self.floor).log(),)


class Bands(View):
    """High and low spatial frequencies of images, separately.

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
            raise InputError(
                f"cutoff is {cutoff}: give a share of the highest frequency, e.g. 0.25"
            )
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
