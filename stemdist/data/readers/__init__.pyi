from .base import (
    READERS,
    Reader,
    ReaderOptions,
    detect_reader,
    read,
)
from .windows_npz import write_windows

__all__ = ["READERS", "Reader", "ReaderOptions", "detect_reader", "read", "write_windows"]
