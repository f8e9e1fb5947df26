"""The vorticity equation against exact solutions, conservation laws and a finer grid."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from stemdist.data.simulate.vorticity import VorticityEquation, random_modes
from stemdist.errors import InputError

DECAY = 8 * math.pi**2  # eigenvalue of -lap for waves (1, 1) on the unit square


def equation(**changes):
    settings = {"size": 16, "viscosity": 0.0, "dt": 0.01, "forcing": 0.0}
    return VorticityEquation(**{**settings, **changes})


def turns(size):
    """2 pi y (size, 1) and 2 pi x (size,)."""
    turn = 2 * math.pi * torch.arange(size, dtype=torch.float64) / size
    return turn[:, None], turn


def flows(size, count=3, scale=20.0):
    """Modes (count, size, K) of random flows whose vorticity is about 1."""
    return scale * torch.stack([random_modes(size, np.random.default_rng(i)) for i in range(count)])


def total(modes):
    """Sum over both halves of the modes, of which one is stored, (B,)."""
    twice = torch.full((modes.shape[-1],), 2.0, dtype=torch.float64)
    twice[0] = 1.0
    return (twice * modes.real).sum((-2, -1))


def energy_and_enstrophy(solver, modes):
    energy = solver.velocity(modes).square().mean((-2, -1)).sum(0) / 2
    return energy, total(modes.abs().square()) / 2


def test_a_taylor_green_vortex_decays_at_its_rate():
    solver = equation(size=32, viscosity=1e-3)
    y, x = turns(32)
    vortex = torch.cos(y) * torch.cos(x)
    later = solver.field(solver.advance(solver.modes(vortex[None]), n_steps=1000))[0]  # t = 10
    exact = math.exp(-DECAY * 1e-3 * 10) * vortex
    assert float((later - exact).abs().max()) < 1e-7


def test_velocity_of_the_taylor_green_vortex():
    # psi = w / (8 pi^2), u = d psi / dy and v = -d psi / dx: amplitudes 2 pi / (8 pi^2).
    y, x = turns(16)
    solver = equation()
    u, v = solver.velocity(solver.modes((torch.cos(y) * torch.cos(x))[None]))
    scale = 1 / (4 * math.pi)
    torch.testing.assert_close(u[0], -scale * torch.sin(y) * torch.cos(x))
    torch.testing.assert_close(v[0], scale * torch.cos(y) * torch.sin(x))


@pytest.mark.parametrize("viscosity", [0.0, 0.02])
def test_the_force_alone_drives_its_own_wave(viscosity):
    # Advection of one wave by itself is 0: dw/dt = f - 8 pi^2 nu w, from rest.
    solver = equation(viscosity=viscosity, forcing=0.1)
    modes = solver.advance(torch.zeros(1, 16, 9, dtype=torch.complex128), n_steps=200)  # t = 2
    rate = DECAY * viscosity
    grown = -math.expm1(-2 * rate) / rate if rate else 2.0
    y, x = turns(16)
    exact = 0.1 * grown * (torch.sin(x + y) + torch.cos(x + y))
    torch.testing.assert_close(solver.field(modes)[0], exact, rtol=0, atol=2e-5 * rate + 1e-15)


def test_advection_is_the_velocity_times_the_gradient():
    solver, modes = equation(size=24), flows(24)
    along_y = 2j * math.pi * torch.fft.fftfreq(24, 1 / 24, dtype=torch.float64)[:, None]
    along_x = 2j * math.pi * torch.fft.rfftfreq(24, 1 / 24, dtype=torch.float64)
    u, v = solver.velocity(modes)
    gradient_x, gradient_y = solver.field(along_x * modes), solver.field(along_y * modes)
    direct = solver.modes(-(u * gradient_x + v * gradient_y))
    torch.testing.assert_close(solver.tendency(modes), direct)
    assert float(direct.abs().max()) > 1e-3


@pytest.mark.parametrize(("size", "largest"), [(16, 5), (18, 5), (19, 6)])
def test_the_upper_third_is_removed(size, largest):
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal((1, size, size)))
    solver = equation(size=size, forcing=0.1)
    begun = solver.modes(noise)
    for modes in (
        begun,
        solver.tendency(begun),
        random_modes(size, np.random.default_rng(0))[None],
    ):
        along_y = np.abs(np.fft.fftfreq(size, 1 / size))
        filled = modes[0].abs().numpy() > 0
        assert along_y[filled.any(1)].max() == largest
        assert np.flatnonzero(filled.any(0)).max() == largest


def test_no_alias_reaches_the_modes_that_are_kept():
    # On a grid twice as fine every product is exact: the coarse grid must agree where it looks.
    coarse, fine = flows(16), torch.zeros(3, 32, 17, dtype=torch.complex128)
    fine[:, :8, :6], fine[:, -8:, :6] = coarse[:, :8, :6], coarse[:, -8:, :6]
    exact = equation(size=32).tendency(fine)
    found = equation(size=16).tendency(coarse)
    torch.testing.assert_close(found[:, :6, :6], exact[:, :6, :6])
    torch.testing.assert_close(found[:, -5:, :6], exact[:, -5:, :6])
    assert float(exact[:, 6:10].abs().max()) > 1e-3  # there was something to leave out


def test_advection_conserves_energy_and_enstrophy():
    solver, modes = equation(size=32), flows(32)
    rate = solver.tendency(modes)
    wave = torch.fft.fftfreq(32, 1 / 32, dtype=torch.float64)[:, None].square()
    wave = wave + torch.arange(17, dtype=torch.float64).square()
    stream = modes / wave.clamp(min=1.0)
    scale = float(rate.abs().max())
    assert float(total(modes.conj() * rate).abs().max()) < 1e-13 * scale
    assert float(total(stream.conj() * rate).abs().max()) < 1e-13 * scale
    before = energy_and_enstrophy(solver, modes)
    later = solver.advance(modes, n_steps=200)  # t = 2
    for old, new in zip(before, energy_and_enstrophy(solver, later), strict=True):
        torch.testing.assert_close(new, old, rtol=1e-8, atol=0)
    assert float((later - modes).abs().max()) > 0.01  # it did move


def test_viscosity_takes_energy_at_twice_the_enstrophy():
    # dE/dt = -2 nu Z without a force; the integral over time by Simpson's rule.
    solver, modes, records = equation(size=32, viscosity=5e-3), flows(32), []
    for _ in range(21):  # t = 0, 0.05, ..., 1
        records.append(energy_and_enstrophy(solver, modes))
        modes = solver.advance(modes, n_steps=5)
    energy, enstrophy = (torch.stack(part) for part in zip(*records, strict=True))
    weight = torch.tensor([1.0, *([4.0, 2.0] * 9), 4.0, 1.0], dtype=torch.float64) * 0.05 / 3
    lost = 2 * 5e-3 * (weight[:, None] * enstrophy).sum(0)
    torch.testing.assert_close(energy[0] - energy[-1], lost, rtol=1e-4, atol=0)
    assert float((lost / energy[0]).min()) > 0.1


def test_the_step_is_of_fourth_order_without_viscosity():
    modes = flows(16, scale=60.0)
    exact = equation(dt=0.0025).advance(modes, n_steps=400)
    error = [
        float((equation(dt=1 / n).advance(modes, n_steps=n) - exact).abs().max()) for n in (20, 40)
    ]
    assert error[0] > 1e-7  # far from round-off
    assert math.log2(error[0] / error[1]) == pytest.approx(4, abs=0.3)


def test_the_step_is_of_second_order_where_viscosity_rules():
    y, x = turns(8)
    error = []
    for n in (10, 20):  # t = 1
        solver = equation(size=8, viscosity=0.01, dt=1 / n)
        modes = solver.modes((torch.cos(y) * torch.cos(x))[None])
        later = solver.field(solver.advance(modes, n_steps=n))[0, 0, 0]
        error.append(abs(float(later) - math.exp(-DECAY * 0.01)))
    assert math.log2(error[0] / error[1]) == pytest.approx(2, abs=0.05)


def test_mean_vorticity_stays_zero():
    solver = equation(viscosity=1e-3, forcing=0.1)
    modes = solver.advance(flows(16), n_steps=100)
    assert (modes[:, 0, 0] == 0).all()
    assert float(solver.field(modes).mean((-2, -1)).abs().max()) < 1e-15


class TestRandomField:
    def test_each_mode_has_the_stated_variance(self):
        # 7^1.5 = 18.5203 times (4 pi^2 n + 49)^-2.5 for n = |k|^2 = 1, 2, 5, 8 whole waves.
        stated = {1: 2.5151e-4, 2: 9.9997e-5, 5: 1.9435e-5, 8: 7.2850e-6}
        rng = np.random.default_rng(0)
        drawn = torch.stack([random_modes(8, rng) for _ in range(4000)])
        power = drawn.abs().square().mean(0)  # (8, 5)
        for (k_y, k_x), waves in {
            (0, 1): 1,
            (1, 0): 1,
            (1, 1): 2,
            (-1, 1): 2,
            (2, 1): 5,
            (-1, 2): 5,
            (2, 2): 8,
        }.items():
            # The mean of 4000 exponential variables is within 5 / sqrt(4000) of theirs.
            assert float(power[k_y, k_x]) == pytest.approx(stated[waves], rel=0.08)
            mean_square = drawn[:, k_y, k_x].square().mean()  # no phase is preferred
            assert float(mean_square.abs()) < 0.08 * stated[waves]
        assert float(power[3:6].max()) == float(power[:, 3:].max()) == float(power[0, 0]) == 0

    def test_the_field_is_real_and_has_the_sum_of_the_variances(self):
        rng, solver = np.random.default_rng(1), equation(size=8)
        modes = torch.stack([random_modes(8, rng) for _ in range(4000)])
        fields = solver.field(modes)
        torch.testing.assert_close(solver.modes(fields), modes)
        # 4 modes each of n = 1, 2, 4, 8 and 8 of n = 5 fit into -2 ... 2; n = 4 has 3.0073e-5.
        total_variance = 4 * (2.5151e-4 + 9.9997e-5 + 3.0073e-5 + 7.2850e-6) + 8 * 1.9435e-5
        assert float(fields[:, 0, 0].var()) == pytest.approx(total_variance, rel=0.12)
        assert float(fields.square().mean()) == pytest.approx(total_variance, rel=0.05)

    def test_a_finer_grid_adds_detail_to_the_same_field(self):
        coarse, fine = (random_modes(size, np.random.default_rng(3)) for size in (16, 48))
        torch.testing.assert_close(coarse[:6, :6], fine[:6, :6], rtol=0, atol=0)
        torch.testing.assert_close(coarse[-5:, :6], fine[-5:, :6], rtol=0, atol=0)
        assert (fine[6:16] != 0).any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size": 2}, "size is 2: it must be a whole number of at least 4"),
        ({"viscosity": float("nan")}, "viscosity is nan: it must be a number of at least 0"),
        ({"forcing": -0.1}, "forcing is -0.1: it must be a number of at least 0"),
        ({"dt": -1.0}, "dt is -1.0: it must be a number above 0"),
    ],
)
def test_bad_settings_are_explained(changes, message):
    with pytest.raises(InputError, match=message):
        equation(**changes)
