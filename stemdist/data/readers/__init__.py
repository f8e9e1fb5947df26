"""Readers: any supported file or folder in, one raw and lazy ``xarray.Dataset`` out.

A reader only opens. Choosing variables, stacking grids into locations, turning null values into
NaN and repairing the time axis are the same for every format and happen afterwards, once.
"""

from lazy_loader import attach_stub

# The names of __init__.pyi, each imported when it is first used.
__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
