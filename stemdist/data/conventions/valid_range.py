"""Values outside the range a file declares as valid are missing."""

from __future__ import annotations

import numpy as np
import xarray as xr

_NAMES = ("valid_min", "valid_max", "valid_range")


def valid_bounds(array: xr.DataArray) -> tuple[float, float]:
    """Return the lowest and highest valid value, in the unit of the unpacked values.

    The attributes ``valid_min``, ``valid_max`` and ``valid_range`` of a packed variable are
    stated in packed numbers (NetCDF users' guide, attribute conventions).

    Examples
    --------
    >>> valid_bounds(xr.DataArray([1.0], attrs={"valid_min": 0.0}))
    (0.0, inf)
    """
    attrs = array.attrs
    pair = np.ravel(attrs.get("valid_range", (-np.inf, np.inf)))
    low, high = attrs.get("valid_min", pair[0]), attrs.get("valid_max", pair[-1])
    try:
        bounds = [float(np.ravel(low)[0]), float(np.ravel(high)[0])]
    except (TypeError, ValueError):  # text
        return -np.inf, np.inf
    stored = np.dtype(array.encoding.get("dtype", array.dtype))
    scale = array.encoding.get("scale_factor", 1.0)
    offset = array.encoding.get("add_offset", 0.0)
    if stored.kind in "iu" and array.dtype.kind == "f":
        bounds = sorted(bound * scale + offset for bound in bounds)
    return bounds[0], bounds[1]


def without_invalid(array: xr.DataArray) -> xr.DataArray:
    """Return values outside the valid range as missing, and the attributes that said so gone."""
    low, high = valid_bounds(array)
    if np.isfinite(low) or np.isfinite(high):
        array = array.where((array >= low) & (array <= high))  # keeps the attributes
    array.attrs = {k: v for k, v in array.attrs.items() if k not in _NAMES}
    return array
