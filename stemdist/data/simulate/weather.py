"""``weather-sim``: hourly 2 m temperature of a simulated region.

Shapes: Y latitudes, X longitudes (with a halo around the output grid), M waves.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import xarray as xr
from scipy.ndimage import gaussian_filter, map_coordinates

from stemdist.data.simulate.base import Array, ClockSimulation
from stemdist.data.simulate.variable import Variable
from stemdist.errors import InputError, check_count

Floats = npt.NDArray[np.float64]

EARTH_RADIUS_M = 6.371e6
EARTH_SPIN_PER_S = 7.292e-5
HALO = 6  # grid points simulated around the output, so that its edge has upstream weather
MEAN_TEMPERATURE_K = 285.0
GRADIENT_K_PER_DEGREE = 0.6  # cooling polewards of the climate
DIFFUSIVITY_M2_S = 5e4
SPIN_UP_DAYS = 8  # after which the initial state has no influence
RELAXATION_DAYS = 3.0  # relaxation time of the air mass temperature
ZONAL_WIND_M_S = 9.0
N_WAVES = 12
WAVE_DAYS = 3.0  # decorrelation time of a wave's amplitude
WAVE_WIND_M_S = 8.0  # root mean square wind of all waves together
LAPSE_K_PER_M = 0.0065
HEATING_K_PER_H = 4.0  # of clear land under an overhead sun
SURFACE_HOURS = 6.0  # relaxation time of the surface's excess temperature
SEA_SHARE = 0.15  # of the land's heating that the sea shows
SOLAR_DECLINATION_DEG = 10.0


@dataclass(frozen=True, kw_only=True)
class WeatherSimulation(ClockSimulation):
    r"""Temperature 2 m above ground on a regular latitude-longitude grid.

    Air mass temperature :math:`\theta` (reduced to sea level) is carried and mixed by the wind
    and relaxes to the climate :math:`\theta_c`, which cools polewards:

    .. math:: \partial_t\theta + \mathbf u\cdot\nabla\theta
              = \kappa\nabla^2\theta + (\theta_c - \theta)/\tau .

    The wind is a mean westerly U plus Rossby waves of a stream function, so it has no
    divergence. Their phases follow the dispersion relation :math:`\omega = U k - \beta k /
    (k^2 + l^2)` (Vallis, *Atmospheric and Oceanic Fluid Dynamics*, 2017, sec. 6.4) and their
    amplitudes are complex AR(1) processes: synoptic weather that does not repeat itself.
    The surface is warmer than its air mass by s,

    .. math:: \mathrm ds/\mathrm dt = h\,(1 - 0.7\,c)\,\max(0, \cos\zeta) - s/\tau_s ,

    with the sun's zenith angle :math:`\zeta` at local solar time, cloud cover c from the
    stream function (lows are cloudy) and heating h over land and sea. Output is
    :math:`\theta + s - \Gamma z` with the terrain height z. Advection is semi-Lagrangian with
    cubic interpolation (Staniforth & Cote, *Mon. Wea. Rev.* 119, 1991), diffusion explicit
    in stable sub-steps.

    Parameters
    ----------
    n_lat, n_lon : int
        Grid points of the output.
    spacing_degrees : float
        Grid spacing.
    centre_lat, centre_lon : float
        Middle of the grid, degrees north and east.
    synoptic : float
        Multiple of the waves' wind; 0 for the steady westerly alone.
    noise_kelvin : float
        Standard deviation of the error added to each value, K.

    Examples
    --------
    >>> series = WeatherSimulation(n_lat=4, n_lon=5, days=1).dataset()
    >>> series["t2m"].dims, series["t2m"].attrs["units"]
    (('time', 'lat', 'lon'), 'K')
    """

    title: ClassVar[str] = "Simulated weather (weather-sim)"
    source: ClassVar[str] = "stemdist weather-sim: advection-diffusion of temperature"

    days: int = 60
    step_minutes: int = 60
    n_lat: int = 24
    n_lon: int = 32
    spacing_degrees: float = 1.0
    centre_lat: float = 48.0
    centre_lon: float = 10.0
    synoptic: float = 1.0
    noise_kelvin: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_count("n_lat", self.n_lat, minimum=2)
        check_count("n_lon", self.n_lon, minimum=2)
        if not self.spacing_degrees > 0:
            raise InputError(f"spacing_degrees is {self.spacing_degrees!r}: it must be above 0")
        for name in ("synoptic", "noise_kelvin"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"{name} is {value!r}: it must be a number of at least 0")
        reach = abs(self.centre_lat) + self.spacing_degrees * (self.n_lat / 2 + HALO)
        if not reach <= 85:
            raise InputError(
                f"the grid reaches latitude {reach:.1f} with its halo of {HALO} points: keep it "
                "within 85 degrees by a smaller spacing_degrees, n_lat or centre_lat"
            )

    def variables(self) -> dict[str, Variable]:
        """Return ``t2m``, the temperature 2 m above ground (K)."""
        attrs = {
            "standard_name": "air_temperature",
            "long_name": "2 metre temperature",
            "units": "K",
            "cell_methods": "time: point",
        }
        return {"t2m": Variable(dims=("lat", "lon"), attrs=attrs)}

    def static(self) -> xr.Dataset:
        """Return the grid, the height of the terrain and the share of land."""
        lat, lon = (axis[HALO:-HALO] for axis in self._axes())
        height, land = (field[HALO:-HALO, HALO:-HALO] for field in self._terrain())
        return xr.Dataset(
            {
                "elevation": (
                    ("lat", "lon"),
                    height.astype(np.float32),
                    {"standard_name": "surface_altitude", "units": "m"},
                ),
                "land": (
                    ("lat", "lon"),
                    land.astype(np.float32),
                    {"standard_name": "land_area_fraction", "units": "1"},
                ),
            },
            coords={
                "lat": ("lat", lat, {"standard_name": "latitude", "units": "degrees_north"}),
                "lon": ("lon", lon, {"standard_name": "longitude", "units": "degrees_east"}),
            },
        )

    def _axes(self) -> tuple[Floats, Floats]:
        """Latitudes (Y,) and longitudes (X,) with the halo, degrees."""

        def axis(centre: float, count: int) -> Floats:
            number = np.arange(-HALO, count + HALO, dtype=np.float64)
            return centre + (number - (count - 1) / 2) * self.spacing_degrees

        return axis(self.centre_lat, self.n_lat), axis(self.centre_lon, self.n_lon)

    def _terrain(self) -> tuple[Floats, Floats]:
        """Height in m and share of land, (Y, X): a smooth random field, the sea where low."""
        shape = (self.n_lat + 2 * HALO, self.n_lon + 2 * HALO)
        rough = self.generator("terrain").standard_normal(shape)
        field = sum(
            width**1.5 * gaussian_filter(rough, width / self.spacing_degrees, mode="wrap")
            for width in (1.0, 2.0, 4.0)
        )
        field = (field - np.mean(field)) / (np.std(field) + 1e-12)
        land = 1 / (1 + np.exp(-8 * (field + 0.5)))
        return 600.0 * np.maximum(field + 0.5, 0.0), land

    def frames(self) -> Iterator[tuple[Array, ...]]:
        """Yield the temperature (n_lat, n_lon) of one step after the other, K."""
        lat, lon = self._axes()
        height, land = self._terrain()
        seconds, noise = self.step_minutes * 60.0, self.generator("noise")
        waves = _Waves(lat, lon, self.generator("waves"), self.synoptic)
        grid = SphericalGrid(lat=lat, lon=lon)
        climate = MEAN_TEMPERATURE_K - GRADIENT_K_PER_DEGREE * (np.abs(lat) - 45.0)
        sun = Sun(lat=lat, lon=lon, start=self.start)
        heating = HEATING_K_PER_H * (land + (1 - land) * SEA_SHARE)
        air = np.repeat(climate[:, None], len(lon), axis=1)
        surface = np.zeros_like(air)
        spin_up = round(SPIN_UP_DAYS * 86400 / seconds)
        for step in range(-spin_up, self.n_steps):
            if step >= 0:
                values = air + surface - LAPSE_K_PER_M * height
                values = values[HALO:-HALO, HALO:-HALO]
                yield (values + self.noise_kelvin * noise.standard_normal(values.shape),)
            wind, cloud = waves.advance(seconds)
            air = grid.advect(air - climate[:, None], *wind, seconds, climate)
            air = grid.diffuse(air, DIFFUSIVITY_M2_S, seconds)
            air += (climate[:, None] - air) * -math.expm1(-seconds / (RELAXATION_DAYS * 86400))
            sunlight = sun.height_at(step * seconds)
            gain = heating * (1 - 0.7 * cloud) * np.maximum(sunlight, 0.0)
            fading = math.exp(-seconds / 3600 / SURFACE_HOURS)
            surface = surface * fading + gain * SURFACE_HOURS * (1 - fading)


@dataclass(frozen=True, kw_only=True)
class Sun:
    """Height of the sun over a grid.

    Parameters
    ----------
    lat, lon : numpy.ndarray
        (Y,) and (X,) degrees.
    start : str
        Date and time (UTC) from which seconds count.
    """

    lat: Floats
    lon: Floats
    start: str

    def height_at(self, seconds: float) -> Floats:
        """Return the sine of the sun's height (Y, X), below 0 at night.

        Examples
        --------
        >>> noon = Sun(lat=np.array([10.0]), lon=np.array([0.0]), start="2024-01-01T12:00")
        >>> noon.height_at(0.0).round(3).tolist()
        [[1.0]]
        """
        start = np.datetime64(self.start, "s")
        midnight = start.astype("datetime64[D]")
        hours = float((start - midnight) / np.timedelta64(1, "h")) + seconds / 3600
        hour_angle = np.radians((hours - 12) * 15 + self.lon)  # local solar time
        lat, tilt = np.radians(self.lat)[:, None], math.radians(SOLAR_DECLINATION_DEG)
        tilted = np.cos(lat) * math.cos(tilt) * np.cos(hour_angle)
        height: Floats = np.sin(lat) * math.sin(tilt) + tilted
        return height


@dataclass(frozen=True, kw_only=True)
class SphericalGrid:
    """Advection and diffusion on a regional latitude-longitude grid.

    Parameters
    ----------
    lat, lon : numpy.ndarray
        (Y,) and (X,) degrees, evenly spaced.
    """

    lat: Floats
    lon: Floats

    @property
    def spacing_m(self) -> tuple[float, Floats]:
        """Distance of neighbours northwards, and eastwards (Y, 1), m."""
        per_degree = math.radians(1.0) * EARTH_RADIUS_M
        north = per_degree * float(self.lat[1] - self.lat[0])
        east = per_degree * (self.lon[1] - self.lon[0]) * np.cos(np.radians(self.lat))
        return north, east[:, None]

    def advect(
        self, anomaly: Floats, east: Floats, north: Floats, seconds: float, climate: Floats
    ) -> Floats:
        """Return the advected temperature (Y, X), semi-Lagrangian.

        Parameters
        ----------
        anomaly : numpy.ndarray
            (Y, X) deviation from the climate; beyond the edge it is that of the edge.
        east, north : numpy.ndarray
            (Y, X) wind, m/s.
        seconds : float
            Length of the step.
        climate : numpy.ndarray
            (Y,) climate at each latitude, linear beyond the edge.
        """
        dy, dx = self.spacing_m
        rows, columns = np.indices(anomaly.shape, dtype=np.float64)
        steps_north, steps_east = north * seconds / dy, east * seconds / dx
        half = [rows - steps_north / 2, columns - steps_east / 2]
        # Midpoint rule: the wind half way back along the path.
        steps_north = map_coordinates(steps_north, half, order=1, mode="nearest")
        steps_east = map_coordinates(steps_east, half, order=1, mode="nearest")
        origin = [rows - steps_north, columns - steps_east]
        moved = map_coordinates(anomaly, origin, order=3, mode="nearest")
        lat = self.lat[0] + origin[0] * (self.lat[1] - self.lat[0])
        slope = np.gradient(climate, self.lat)
        beyond = np.where(lat < self.lat[0], (lat - self.lat[0]) * slope[0], 0.0)
        beyond += np.where(lat > self.lat[-1], (lat - self.lat[-1]) * slope[-1], 0.0)
        brought: Floats = moved + np.interp(lat, self.lat, climate) + beyond
        return brought

    def diffuse(self, field: Floats, diffusivity_m2_s: float, seconds: float) -> Floats:
        """Return the field (Y, X) after diffusion with no flux through the edge.

        Explicit central differences, in sub-steps below the stability limit
        ``kappa dt (1/dx^2 + 1/dy^2) <= 1/2``; exact for the mean over the area.
        """
        dy, dx = self.spacing_m
        number = diffusivity_m2_s * seconds * float((1 / dx**2 + 1 / dy**2).max())
        n_sub = max(1, math.ceil(number / 0.25))
        rate = diffusivity_m2_s * seconds / n_sub
        width = np.cos(np.radians(self.lat))  # area of a row of the grid
        between = np.cos(np.radians((self.lat[1:] + self.lat[:-1]) / 2))[:, None]
        for _ in range(n_sub):
            flux_north = between * np.diff(field, axis=0)
            flux_east = np.diff(field, axis=1)
            change = np.diff(np.pad(flux_east, ((0, 0), (1, 1))), axis=1) / dx**2
            change += np.diff(np.pad(flux_north, ((1, 1), (0, 0))), axis=0) / (
                dy**2 * width[:, None]
            )
            field = field + rate * change
        return field


class _Waves:
    """Rossby waves of a stream function: amplitudes AR(1), phases by dispersion."""

    def __init__(self, lat: Floats, lon: Floats, rng: np.random.Generator, strength: float) -> None:
        self._rng = rng
        middle = math.radians(float(lat.mean()))
        wavelength = rng.uniform(1.5e6, 5e6, N_WAVES)
        heading = rng.uniform(-math.pi / 3, math.pi / 3, N_WAVES)
        total = 2 * math.pi / wavelength
        self._k, self._l = total * np.cos(heading), total * np.sin(heading)
        beta = 2 * EARTH_SPIN_PER_S * math.cos(middle) / EARTH_RADIUS_M
        self._omega = ZONAL_WIND_M_S * self._k - beta * self._k / total**2
        x = np.radians(lon - lon.mean()) * EARTH_RADIUS_M * math.cos(middle)
        y = np.radians(lat - lat.mean()) * EARTH_RADIUS_M
        self._x = np.exp(1j * np.outer(self._k, x))  # (M, X)
        self._y = np.exp(1j * np.outer(y, self._l))  # (Y, M)
        # A stream function of root mean square a has wind of root mean square a |k|.
        self._scale = strength * WAVE_WIND_M_S / (total * math.sqrt(N_WAVES / 2))
        self._amplitude = self._fresh()

    def _fresh(self) -> npt.NDArray[np.complex128]:
        real, imaginary = self._rng.standard_normal((2, N_WAVES)) / math.sqrt(2)
        return np.asarray(real + 1j * imaginary)

    def advance(self, seconds: float) -> tuple[tuple[Floats, Floats], Floats]:
        """Move on and return the wind east and north (Y, X), m/s, and the cloud cover."""
        memory = math.exp(-seconds / (WAVE_DAYS * 86400))
        turned = self._amplitude * memory * np.exp(-1j * self._omega * seconds)
        self._amplitude = turned + math.sqrt(1 - memory**2) * self._fresh()
        stream = self._amplitude * self._scale
        east = ZONAL_WIND_M_S - self._sum(1j * self._l * stream)  # u = -d psi / dy
        north = self._sum(1j * self._k * stream)  # v = d psi / dx
        spread = float(np.sqrt(0.5 * (self._scale**2).sum())) + 1e-12
        cloud = 1 / (1 + np.exp(2 * self._sum(stream) / spread))  # lows are cloudy
        return (east, north), cloud

    def _sum(self, coefficients: npt.NDArray[np.complex128]) -> Floats:
        return np.asarray(((self._y * coefficients) @ self._x).real)
