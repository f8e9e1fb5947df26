"""What a block of work costs: seconds and peak memory."""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

SAMPLE_SECONDS = 0.01
_STATM = Path("/proc/self/statm")


@dataclass(kw_only=True)
class Cost:
    """Filled in when the block of :func:`measure` ends.

    Attributes
    ----------
    wall_seconds, cpu_seconds : float
        Elapsed time, and processor time of all threads of this process.
    peak_memory_bytes : int
        Highest resident memory of the whole process during the block, including memory that was
        in use before; 0 where the system does not report it.
    added_memory_bytes : int
        The same, minus the resident memory at the start of the block.
    peak_device_bytes : int
        Highest CUDA memory held by torch during the block; 0 on the CPU.
    """

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_bytes: int = 0
    added_memory_bytes: int = 0
    peak_device_bytes: int = 0


@contextmanager
def measure(device: str | torch.device = "cpu") -> Iterator[Cost]:
    """Measure the block; blocks may be nested and may run in several threads.

    Resident memory is read every 10 ms; a new maximum of the process is known exactly from the
    system's high-water mark, so only a shorter peak below an earlier maximum can be missed.
    Memory belongs to the process: blocks that run at the same time in threads see one another's.
    Without ``/proc`` (macOS) the peak is the high-water mark since the process began.

    Parameters
    ----------
    device : str or torch.device
        Where the block computes; CUDA memory is recorded for a CUDA device.

    Yields
    ------
    Cost
        Zero until the block ends, also when it ends by an error.

    Examples
    --------
    >>> with measure() as cost:
    ...     total = sum(range(1000))
    >>> cost.wall_seconds > 0
    True
    """
    cost = Cost()
    _return_freed_memory()
    on_cuda = str(device).startswith("cuda")
    if on_cuda:
        import torch  # loaded already where a device is used, and slow to load elsewhere

        torch.cuda.reset_peak_memory_stats(device)
    mark = _high_water_bytes()
    wall, cpu = time.perf_counter(), time.process_time()
    with _Sampler() as sampler:
        try:
            yield cost
        finally:
            cost.wall_seconds = time.perf_counter() - wall
            cost.cpu_seconds = time.process_time() - cpu
            after = _high_water_bytes()
            peak = max(sampler.peak(), after if after > mark or not _STATM.exists() else 0)
            cost.peak_memory_bytes = peak
            cost.added_memory_bytes = max(peak - (sampler.first or mark), 0)
            if on_cuda:
                cost.peak_device_bytes = torch.cuda.max_memory_allocated(device)


def keep_freed_memory() -> None:
    """Let the C library keep freed blocks instead of mapping large tensors afresh each time.

    Page faults take up to half of a training step of a large model otherwise. Does nothing
    where the C library is not glibc. It affects the whole process, so it is for a program to
    call, not for a library.
    """
    # pandas keeps text in pyarrow, whose own allocator would reserve 1 GiB of address space.
    if "pyarrow" in sys.modules:
        arrow: Any = sys.modules["pyarrow"]
        arrow.set_memory_pool(arrow.system_memory_pool())
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(-4, 0)  # M_MMAP_MAX: large blocks come from the heap, too
        mallopt(-1, -1)  # M_TRIM_THRESHOLD: the heap is not given back
        mallopt(-8, 2)  # M_ARENA_MAX: 16 threads would reserve 1 GiB of address space


def _return_freed_memory() -> None:
    """Give the system what earlier work freed, or it would hide what the block adds (glibc)."""
    with suppress(OSError, AttributeError, TypeError):  # other systems and C libraries
        ctypes.CDLL(None).malloc_trim(0)


def resident_bytes() -> int:
    """Return the resident memory of this process now; 0 where there is no ``/proc``."""
    return _pages(1)


def mapped_bytes() -> int:
    """Return the address space in use, which ``ulimit -v`` limits; 0 without ``/proc``."""
    return _pages(0)


def _pages(column: int) -> int:
    if sys.platform != "linux" or not _STATM.exists():
        return 0
    import resource

    return int(_STATM.read_text().split()[column]) * resource.getpagesize()


def _high_water_bytes() -> int:
    """Highest resident memory since the process began; 0 if not reported by the system."""
    if sys.platform == "win32":
        return 0
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class _Sampler(threading.Thread):
    """Reads the resident memory until the block ends."""

    def __init__(self) -> None:
        super().__init__(name="stemdist-memory", daemon=True)
        self.first = resident_bytes()
        self._highest = self.first
        self._done = threading.Event()

    def run(self) -> None:
        while not self._done.wait(SAMPLE_SECONDS):
            self._highest = max(self._highest, resident_bytes())

    def peak(self) -> int:
        return max(self._highest, resident_bytes())

    def __enter__(self) -> _Sampler:
        if self.first:
            self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        if self.first:
            self.join()
