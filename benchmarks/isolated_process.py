"""Run measurements in separate processes, so that their time and memory are not shared.

Shapes: B windows, N locations.
"""

from __future__ import annotations

import multiprocessing
import platform
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch

from stemdist.profiling import keep_freed_memory


class Alone:
    """A fresh process that runs one call after another; imported modules stay loaded.

    ``with Alone(threads) as process: process(function, *arguments)``.
    """

    def __init__(self, threads: int, *, keep_memory: bool = False) -> None:
        self._pool = ProcessPoolExecutor(
            max_workers=1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=prepare,
            initargs=(threads, keep_memory),
        )

    def __enter__(self) -> Alone:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def __call__(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return ``function(*arguments)``, computed in the process."""
        return self._pool.submit(function, *arguments).result()


def prepare(threads: int, keep_memory: bool) -> None:
    """Set the number of threads and, if wanted, let glibc keep freed memory."""
    torch.set_num_threads(threads)
    if keep_memory:
        keep_freed_memory()


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Return the seconds and the processor seconds of ``work()``."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def peak_gib() -> float:
    """Return the most memory this process has held, in GiB."""
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def hardware(threads: int) -> str:
    """Return one line with the processor, threads and versions."""
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as lines:
            name = next(line.split(":")[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        pass  # not Linux: the name above will do
    return (
        f"{name}, {threads} thread(s), torch {torch.__version__}, Python "
        f"{platform.python_version()}"
    )
