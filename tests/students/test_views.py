"""Views: numbers derived by hand, and limits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stemdist.errors import InputError
from stemdist.students.bins import Bins, two_hot
from stemdist.students.spectral_views import (
    Bands,
    LogAmplitudes,
    Spectrum,
    amplitudes,
    split_bands,
)
from stemdist.students.views import (
    VIEWS,
    Angles,
    Attention,
    Differences,
    Distances,
    Scales,
    Trend,
    make_view,
    some_rows,
)


def test_scales_average_pairs_and_drop_an_odd_step():
    parts = Scales(scales=3)(torch.tensor([1.0, 3.0, 5.0, 7.0, 100.0]))
    assert [part.tolist() for part in parts] == [[1, 3, 5, 7, 100], [2, 6], [4]]


def test_scales_of_one_step_stay_what_they_are():
    assert [part.tolist() for part in Scales()(torch.tensor([2.0]))] == [[2.0]] * 4


def test_amplitudes_are_those_of_numpy():
    values = torch.randn(3, 24, dtype=torch.float64)
    expected = np.abs(np.fft.rfft(values.numpy(), axis=-1))
    np.testing.assert_allclose(amplitudes(values).numpy(), expected, atol=1e-6)
    moved = amplitudes(values + 5)[..., 1:]
    torch.testing.assert_close(moved, amplitudes(values)[..., 1:], atol=1e-6, rtol=0)


def test_log_amplitudes_include_the_level_and_end_at_the_floor():
    found = LogAmplitudes(floor=0.5)(torch.tensor([2.0, 2.0, 2.0, 2.0]))[0]
    assert found.tolist() == pytest.approx([math.log(8), math.log(0.5), math.log(0.5)])


@pytest.mark.parametrize(
    ("horizon", "steps"), [(12, [0, 6, 11]), (13, [0, 6, 12]), (3, [0, 2]), (1, [0])]
)
def test_trend_has_every_sixth_step_and_the_last_one(horizon, steps):
    assert Trend().steps(horizon).tolist() == steps
    assert Trend()(torch.arange(float(horizon)))[0].tolist() == steps


def test_spectrum_of_one_wave_by_hand():
    step = torch.arange(24.0)
    shares = Spectrum(temperature=0.5)(torch.sin(2 * math.pi * 3 * step / 24))[0].exp()
    assert shares.sum().item() == pytest.approx(1, abs=1e-5)
    assert shares.argmax() == 2  # frequency 3; the constant is left out
    assert shares[2].item() == pytest.approx(1, abs=1e-6)  # amplitude 12, odds of exp(24)
    assert shares[0].item() == pytest.approx(math.exp(-24) + 1e-8, rel=0.01)
    shares = Spectrum(temperature=12.0)(torch.sin(2 * math.pi * 3 * step / 24))[0].exp()
    assert shares[2].item() == pytest.approx(math.e / (math.e + 11), rel=1e-4)


def test_spectrum_has_a_finite_gradient_at_a_flat_forecast():
    flat = torch.zeros(8, requires_grad=True)
    Spectrum()(flat)[0].sum().backward()
    assert torch.isfinite(flat.grad).all()


@pytest.mark.parametrize("view", [Spectrum(), LogAmplitudes(), Differences()])
def test_one_step_is_refused_where_it_means_nothing(view):
    with pytest.raises(InputError, match="at least 2 steps"):
        view(torch.zeros(2, 3, 1, 1))


def test_attention_is_where_the_energy_is_whatever_the_columns():
    features = torch.zeros(1, 2, 5)
    features[0, 0] = 3.0
    assert Attention()(features)[0].tolist() == [[pytest.approx(math.sqrt(2)), 0.0]]
    wider = torch.cat([features, features], dim=-1)
    torch.testing.assert_close(Attention()(7 * wider)[0], Attention()(features)[0])
    with pytest.raises(InputError, match="there is one only"):
        Attention()(torch.ones(4, 1, 5))


def test_distances_do_not_change_by_rotation_shift_and_scale():
    rows = torch.randn(3, 4, 6, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q
    for view in (Distances(), Angles(samples=5)):
        one, other = view(rows)[0], view(4 * rows @ turn + 2)[0]
        torch.testing.assert_close(one, other)


def test_distances_by_hand():
    rows = torch.tensor([[[0.0], [3.0]], [[4.0], [0.0]]])  # distances 3, 4, 0, 1, 3, 4
    assert Distances()(rows)[0].tolist() == pytest.approx([x / 2.5 for x in (3, 4, 0, 1, 3, 4)])


def test_angles_by_hand():
    corner = torch.tensor([[[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]]])
    cosines = Angles()(corner)[0]
    assert cosines[0, 1, 2].item() == pytest.approx(0, abs=1e-7)  # a right angle at the origin
    assert cosines[1, 0, 2].item() == pytest.approx(1 / math.sqrt(5))


def test_relations_need_two_samples():
    with pytest.raises(InputError, match="there is one only"):
        some_rows(torch.zeros(1, 1, 3), 8)
    assert len(some_rows(torch.arange(12.0).view(3, 4, 1), 5)) == 5


def test_bands_split_waves_by_their_length():
    place = torch.arange(16.0) / 16
    slow, fast = (torch.cos(2 * math.pi * k * place).expand(16, 16) for k in (1, 6))
    high, low = split_bands(slow + fast, 0.25)  # 16 cells resolve 8 waves: the cut is at 2
    torch.testing.assert_close(low, slow, atol=1e-5, rtol=0)
    torch.testing.assert_close(high, fast, atol=1e-5, rtol=0)
    images = torch.randn(2, 7, 5, 3)
    parts = Bands(cutoff=0.5, low=2.0)(images)
    torch.testing.assert_close(sum(parts), images, atol=1e-5, rtol=0)
    assert Bands(low=2.0).weights == (1.0, 2.0)


@given(st.floats(-5, 5), st.lists(st.floats(-4, 4), min_size=2, max_size=6, unique=True))
def test_two_hot_expects_the_value(value, centres):
    centres = torch.tensor(sorted(centres), dtype=torch.float64)
    if (centres.diff() < 1e-6).any():
        return
    shares = two_hot(torch.tensor(value, dtype=torch.float64), centres)
    assert shares.sum().item() == pytest.approx(1)
    assert (shares > 0).sum() <= 2
    inside = min(max(value, centres[0].item()), centres[-1].item())
    assert (shares @ centres).item() == pytest.approx(inside, abs=1e-6)


def test_bins_smooth_and_cool():
    bins = Bins(centres=(0.0, 1.0), smoothing=0.5, temperature=2.0)
    assert bins.of_values(torch.tensor(1.0)).exp().tolist() == pytest.approx([0.25, 0.75])
    odds = bins(torch.tensor([0.0, 2.0]))[0].exp()
    assert (odds[1] / odds[0]).item() == pytest.approx(math.e)


def test_views_by_name():
    assert make_view("trend", {"stride": 3}).stride == 3
    with pytest.raises(InputError, match=r"did you mean 'spectrum'\? Choose from: amplitudes"):
        make_view("spectrun", {})
    with pytest.raises(InputError, match="unexpected keyword"):
        make_view("trend", {"step": 3})
    assert {"values", "scales", "bands"} <= set(VIEWS)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("spectrum", {"temperature": 0.0}, "temperature is 0.0: it must be a number above 0"),
        ("bands", {"cutoff": 1.5}, "cutoff is 1.5: give a share"),
        ("scales", {"scales": 0}, "scales is 0"),
        ("distances", {"samples": 1}, "samples is 1"),
        ("bins", {"smoothing": 1.0}, "smoothing is 1.0"),
    ],
)
def test_wrong_options(name, options, message):
    with pytest.raises(InputError, match=message):
        make_view(name, options)
