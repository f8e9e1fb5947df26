"""Open anything as one canonical series; split, scale and window it; simulate it."""

from lazy_loader import attach_stub

# Two functions have the names of the modules they are in, and must not be mistaken for these.
from stemdist.data.fetch import fetch as fetch
from stemdist.data.simulate.base import simulate as simulate

# The names of __init__.pyi, each imported when it is first used.
__getattr__, __dir__, __all__ = attach_stub(__name__, __file__)
