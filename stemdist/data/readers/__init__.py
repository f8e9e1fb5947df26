"""Readers: any supported file or folder in, one raw and lazy ``xarray.Dataset`` out.

A reader only opens. Choosing variables, stacking grids into locations, turning null values into
NaN and repairing the time axis are the same for every format and happen afterwards, once.
"""

from __future__ import annotations

from stemdist.data.readers.base import (
    READERS,
    Reader,
    ReaderOptions,
    detect_reader,
    read,
)
from stemdist.data.readers.windows_npz import write_windows

__all__ = ["READERS", "Reader", "ReaderOptions", "detect_reader", "read", "write_windows"]
