"""Two-dimensional incompressible flow on a periodic square, in Fourier space.

Shapes: B flows, S grid points per side, K = S // 2 + 1 columns of modes, M drawn modes.
Fields are (B, S, S) with axes (flow, y, x); modes are (B, S, K) with axes (flow, k_y, k_x): the
Fourier coefficients themselves, so that the mode 0 is the mean and a grid twice as fine has the
same numbers. Length is in sides of the square, and nothing has a unit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stemdist.errors import InputError, check_count

# Fourth order in five stages that need to remember one slope (Carpenter & Kennedy 1994).
_KEPT_SLOPE = (
    0.0,
    -567301805773 / 1357537059087,
    -2404267990393 / 2016746695238,
    -3550918686646 / 2091501179385,
    -1275806237668 / 842570457699,
)
_SLOPE_WEIGHT = (
    1432997174477 / 9575080441755,
    5161836677717 / 13612068292357,
    1720146321549 / 2090206949498,
    3134564353537 / 4481467310338,
    2277821191437 / 14882151754819,
)
_STAGE_TIME = (
    0.0,
    1432997174477 / 9575080441755,
    2526269341429 / 6820363962896,
    2006345519317 / 3224310063776,
    2802321613138 / 2924317926251,
    1.0,
)


@dataclass(frozen=True, kw_only=True)
class VorticityEquation:
    r"""The vorticity equation with the forcing of Li et al. (2021), solved by a Galerkin method.

    .. math:: \partial_t\omega + \mathbf u\cdot\nabla\omega = \nu\nabla^2\omega
              + f\,(\sin 2\pi(x+y) + \cos 2\pi(x+y)),\quad
              \mathbf u = (\partial_y\psi, -\partial_x\psi),\quad -\nabla^2\psi = \omega .

    Only modes with ``|k_x|, |k_y| < S / 3`` are kept (the 2/3 rule): products of two of them are
    then free of aliases, so that advection alone conserves energy and enstrophy. It is
    computed as :math:`(\partial_{xx} - \partial_{yy})(uv) + \partial_{xy}(v^2 - u^2)`, which takes
    four transforms where :math:`\mathbf u\cdot\nabla\omega` takes five (Basdevant, *J. Comput.
    Phys.* 50, 1983). Advection and forcing move on by a Runge-Kutta method of fourth order
    (Carpenter & Kennedy, NASA TM-109112, 1994), viscosity by Crank-Nicolson within each stage
    (Canuto et al., *Spectral Methods: Evolution to Complex Geometries*, 2007): second order in
    ``dt``, with an error that shrinks with the viscosity and is fourth order without any.

    Parameters
    ----------
    size : int
        Grid points per side, S; at least 4.
    viscosity : float
        Kinematic viscosity nu, at least 0; its inverse is about the Reynolds number.
    dt : float
        Length of a time step, above 0.
    forcing : float
        Amplitude f of the forcing, at least 0.

    Raises
    ------
    InputError
        If a value is out of range.

    References
    ----------
    Li et al., *Fourier Neural Operator for Parametric Partial Differential Equations*, ICLR 2021,
    section 5.3 (arXiv 2010.08895): equation, forcing and initial field.

    Examples
    --------
    The Taylor-Green vortex keeps its shape and decays exponentially:

    >>> equation = VorticityEquation(size=16, viscosity=0.01, dt=0.01, forcing=0.0)
    >>> turn = 2 * math.pi * torch.arange(16, dtype=torch.float64) / 16
    >>> vortex = torch.cos(turn)[:, None] * torch.cos(turn)
    >>> later = equation.field(equation.advance(equation.modes(vortex[None]), n_steps=100))
    >>> bool(torch.allclose(later[0], math.exp(-0.08 * math.pi**2) * vortex))
    True
    """

    size: int
    viscosity: float
    dt: float
    forcing: float

    def __post_init__(self) -> None:
        check_count("size", self.size, minimum=4)
        for name in ("viscosity", "forcing"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"{name} is {value!r}: it must be a number of at least 0")
        if not (math.isfinite(self.dt) and self.dt > 0):
            raise InputError(f"dt is {self.dt!r}: it must be a number above 0, e.g. 0.01")

    def modes(self, field: Tensor) -> Tensor:
        """Return the modes (B, S, K), complex128, of a field (B, S, S); those kept only."""
        return _transform(field) * self._kept

    def field(self, modes: Tensor) -> Tensor:
        """Return the field (B, S, S), float64, that has the ``modes`` (B, S, K)."""
        field: Tensor = torch.fft.irfft2(modes, s=(self.size, self.size), norm="forward")
        return field

    def velocity(self, modes: Tensor) -> Tensor:
        """Return the velocity along x and y (2, B, S, S) of a vorticity with ``modes``."""
        return self.field(self._velocity * modes)

    def tendency(self, modes: Tensor) -> Tensor:
        """Return the rate of change (B, S, K) of ``modes`` by advection and forcing."""
        u, v = self.velocity(modes)  # each (B, S, S)
        products = torch.stack([u * v, (v - u) * (v + u)])  # (2, B, S, S)
        return self._push + (self._advection * _transform(products)).sum(0)  # (B, S, K)

    def advance(self, modes: Tensor, *, n_steps: int) -> Tensor:
        """Return the modes (B, S, K) after ``n_steps`` steps of length ``dt``."""
        for _ in range(n_steps):
            slope = torch.zeros_like(modes)
            for kept, decay, gain in self._stages:
                slope = self.tendency(modes) + kept * slope
                modes = decay * modes + gain * slope
        return modes

    @cached_property
    def _wavenumbers(self) -> tuple[Tensor, Tensor]:
        """Whole wavenumbers along y (S, 1) and x (1, K)."""
        per_side = 1 / self.size
        along_y = torch.fft.fftfreq(self.size, per_side, dtype=torch.float64)
        along_x = torch.fft.rfftfreq(self.size, per_side, dtype=torch.float64)
        return along_y[:, None], along_x[None]

    @cached_property
    def _kept(self) -> Tensor:
        """1 for the modes that are kept, 0 for the others, (S, K)."""
        along_y, along_x = self._wavenumbers
        inside = (3 * along_y.abs() < self.size) & (3 * along_x.abs() < self.size)
        return inside.double()

    @cached_property
    def _laplacian(self) -> Tensor:
        """The operator -lap, (S, K)."""
        along_y, along_x = self._wavenumbers
        return 4 * math.pi**2 * (along_y**2 + along_x**2)

    @cached_property
    def _velocity(self) -> Tensor:
        """From vorticity to the velocity along x and y, (2, 1, S, K)."""
        along_y, along_x = self._wavenumbers
        to_stream = self._kept / self._laplacian.clamp(min=1.0)  # the mean has no gradient
        turn = 2j * math.pi * to_stream
        return torch.stack([along_y * turn, -along_x * turn])[:, None]

    @cached_property
    def _advection(self) -> Tensor:
        """From the products uv and v^2 - u^2 to the rate of change, (2, 1, S, K)."""
        along_y, along_x = self._wavenumbers
        scale = 4 * math.pi**2 * self._kept
        return torch.stack([scale * (along_x**2 - along_y**2), scale * along_x * along_y])[:, None]

    @cached_property
    def _push(self) -> Tensor:
        """Modes of the forcing, (S, K): one wave, so one mode of the half that is stored."""
        modes = np.zeros((self.size, self.size // 2 + 1), dtype=np.complex128)
        modes[1, 1] = self.forcing * (1 - 1j) / 2  # cos is (1, 1) / 2 and sin is (-i, i) / 2
        return torch.from_numpy(modes)

    @cached_property
    def _stages(self) -> list[tuple[float, Tensor, Tensor]]:
        """Per stage the share of the last slope, and what becomes of modes and slope, (S, K)."""
        stages = []
        for stage, (kept, weight) in enumerate(zip(_KEPT_SLOPE, _SLOPE_WEIGHT, strict=True)):
            length = self.dt * (_STAGE_TIME[stage + 1] - _STAGE_TIME[stage])
            half = self.viscosity * self._laplacian * length / 2
            stages.append((kept, (1 - half) / (1 + half), self.dt * weight / (1 + half)))
        return stages


def random_modes(size: int, rng: np.random.Generator) -> Tensor:
    r"""Draw the initial vorticity of Li et al. (2021), a Gaussian random field.

    Its covariance is :math:`7^{3/2}(-\nabla^2 + 49 I)^{-5/2}`: the mode of wavenumber k has the
    mean square :math:`7^{3/2}(4\pi^2|k|^2 + 49)^{-5/2}`. The mean over the square is 0. The modes
    are drawn from large to small scales, so that a finer grid adds detail to the same field.

    Parameters
    ----------
    size : int
        Grid points per side, S; modes from a third of it on are 0, as in the equation.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    torch.Tensor
        (S, K) complex128 modes.

    Examples
    --------
    >>> coarse, fine = (random_modes(size, np.random.default_rng(0)) for size in (16, 32))
    >>> coarse.shape, bool((coarse[1, 2] == fine[1, 2]).all())
    (torch.Size([16, 9]), True)
    """
    along_y, along_x = _half_plane((size - 1) // 3)  # each (M,)
    pairs = rng.standard_normal((len(along_x), 2))
    mean_square = 7**1.5 * (4 * math.pi**2 * (along_x**2 + along_y**2) + 49) ** -2.5
    drawn = np.sqrt(mean_square / 2) * (pairs[:, 0] + 1j * pairs[:, 1])
    modes = np.zeros((size, size // 2 + 1), dtype=np.complex128)
    modes[along_y, along_x] = drawn
    mirrored = along_x == 0  # both halves of this column are stored: the field is real
    modes[-along_y[mirrored], 0] = drawn[mirrored].conj()
    return torch.from_numpy(modes)


def _half_plane(largest: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return k_y and k_x (M,) of one of each pair k, -k, by the larger of the two sizes."""
    side = np.arange(-largest, largest + 1)
    along_y, along_x = (part.ravel() for part in np.meshgrid(side, side, indexing="ij"))
    half = (along_x > 0) | ((along_x == 0) & (along_y > 0))
    along_y, along_x = along_y[half], along_x[half]
    order = np.lexsort((along_x, along_y, np.maximum(abs(along_x), abs(along_y))))
    return along_y[order], along_x[order]


def _transform(field: Tensor) -> Tensor:
    modes: Tensor = torch.fft.rfft2(field, norm="forward")
    return modes
