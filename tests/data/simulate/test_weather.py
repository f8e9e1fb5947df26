"""Advection, diffusion and the sun against analytic cases; realism of the weather."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stemdist.data.simulate import WeatherSimulation
from stemdist.data.simulate.weather import EARTH_RADIUS_M, SphericalGrid, Sun

METRES_PER_DEGREE = math.radians(1.0) * EARTH_RADIUS_M


def equator(n_lat=41, n_lon=81, spacing=0.1):
    """A grid so near the equator that it is flat to 1 part in 1000."""
    lat = (np.arange(n_lat) - n_lat // 2) * spacing
    return SphericalGrid(lat=lat, lon=np.arange(n_lon) * spacing)


def test_a_sine_mode_decays_at_its_rate():
    # With no flux through the edges cos(pi (i + 1/2) / n) is a mode with k = pi / (n dx).
    grid, kappa, seconds = equator(), 2e5, 3600.0
    n_lon, dx = len(grid.lon), 0.1 * METRES_PER_DEGREE
    mode = np.cos(math.pi * (np.arange(n_lon) + 0.5) / n_lon) * np.ones((len(grid.lat), 1))
    field = mode
    for _ in range(24):
        field = grid.diffuse(field, kappa, seconds)
    k = math.pi / (n_lon * dx)
    expected = math.exp(-kappa * k**2 * 24 * seconds)
    assert expected < 0.9
    assert field == pytest.approx(expected * mode, abs=1e-3 * expected)


def test_diffusion_keeps_the_mean_over_the_area():
    lat, lon = np.arange(30.0, 60.0), np.arange(0.0, 20.0)
    grid = SphericalGrid(lat=lat, lon=lon)
    field = np.random.default_rng(0).normal(size=(30, 20))
    area = np.cos(np.radians(lat))[:, None]
    after = grid.diffuse(field, 5e6, 86400.0)
    assert (after * area).sum() == pytest.approx((field * area).sum(), rel=1e-9)
    assert after.std() < field.std() / 2


def test_a_uniform_wind_carries_a_gaussian_along():
    grid = equator()
    rows, columns = np.indices((41, 81))

    def bump(row, column):
        return np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / (2 * 4.0**2))

    step = 0.1 * METRES_PER_DEGREE  # one grid spacing
    wind = step / 3600
    field, climate = bump(15.0, 25.0), np.zeros(41)
    for _ in range(20):  # 1.3 spacings east and 0.45 north per hour
        east, north = np.full((41, 81), 1.3 * wind), np.full((41, 81), 0.45 * wind)
        field = grid.advect(field, east, north, 3600.0, climate)
    assert np.abs(field - bump(15.0 + 9.0, 25.0 + 26.0)).max() < 0.01


def test_northerly_wind_brings_the_colder_climate_even_at_the_edge():
    grid = equator(n_lat=5, n_lon=5, spacing=1.0)
    climate = 280.0 - 2.0 * grid.lat
    south = np.full((5, 5), -0.5 * METRES_PER_DEGREE / 3600)  # from half a degree further north
    brought = grid.advect(np.zeros((5, 5)), np.zeros((5, 5)), south, 3600.0, climate)
    assert brought == pytest.approx(np.broadcast_to((climate - 1.0)[:, None], (5, 5)))


def test_the_sun_is_highest_at_local_noon():
    sun = Sun(lat=np.array([50.0]), lon=np.array([0.0, 90.0, -90.0]), start="2024-01-01")
    heights = np.array([sun.height_at(hour * 3600.0)[0] for hour in range(24)])
    assert heights.argmax(axis=0).tolist() == [12, 6, 18]
    assert heights.max(axis=0) == pytest.approx(math.cos(math.radians(40.0)))


@pytest.fixture(scope="module")
def weather():
    return WeatherSimulation(n_lat=12, n_lon=16, days=30).dataset()["t2m"]


def test_afternoons_are_warmer_than_early_mornings(weather):
    by_hour = weather.groupby("time.hour").mean(...)
    assert int(by_hour.argmax("hour")) in range(12, 18)
    assert int(by_hour.argmin("hour")) in range(2, 8)
    assert 2 < float(by_hour.max() - by_hour.min()) < 15


def test_weather_changes_from_day_to_day_over_large_areas(weather):
    daily = weather.resample(time="1D").mean()
    assert 2 < float(daily.std("time").mean()) < 9
    series = daily.values.reshape(30, 12, 16)
    next_door = [np.corrcoef(series[:, row, 3], series[:, row, 4])[0, 1] for row in range(12)]
    far = [np.corrcoef(series[:, row, 0], series[:, row, 15])[0, 1] for row in range(12)]
    assert np.mean(next_door) > 0.95
    assert np.mean(far) < 0.9


def test_temperatures_are_plausible_and_fall_polewards(weather):
    assert 230 < float(weather.min()) < float(weather.max()) < 325
    mean = weather.mean(("time", "lon"))
    assert float(mean[0]) > float(mean[-1])


def test_without_waves_only_the_day_is_left():
    calm = WeatherSimulation(n_lat=4, n_lon=5, days=10, synoptic=0.0, noise_kelvin=0.0)
    daily = calm.dataset()["t2m"].resample(time="1D").mean()
    assert float(daily.std("time").max()) < 0.3
