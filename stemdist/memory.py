"""How much memory this process may use."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from pathlib import Path

from stemdist.errors import InputError
from stemdist.profiling import mapped_bytes

_MEMINFO = Path("/proc/meminfo")
_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)
_UNKNOWN = 4 * 2**30


def available_bytes() -> int:
    """Return the memory that can still be taken: of the machine, the container, the process.

    Where the system says nothing, 4 GiB.
    """
    limits = [_of_machine(), *(_of_container(*files) for files in _CGROUPS), _of_process()]
    known = [limit for limit in limits if limit is not None]
    return max(0, min(known)) if known else _UNKNOWN


def parse_bytes(text: str | int) -> int:
    """Return a size such as ``4GiB``, ``500 MB`` or a number of bytes, as bytes.

    Examples
    --------
    >>> parse_bytes("4GiB") == 4 * 2**30, parse_bytes("500 MB") == 500 * 10**6, parse_bytes(12)
    (True, True, 12)
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)(b?)\s*", str(text), re.IGNORECASE)
    if not found or (found[3] and not found[2]) or not float(found[1]) > 0:
        raise InputError(f"{text!r} is no size of memory: give one such as 4GiB or 500MB")
    power = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}[found[2].lower()]
    base = 1000 if found[4] and not found[3] and found[2] else 1024
    return int(float(found[1]) * base**power)


def _of_machine() -> int | None:
    with suppress(OSError, AttributeError):
        found = re.search(r"MemAvailable:\s+(\d+) kB", _MEMINFO.read_text())
        if found:
            return int(found[1]) * 1024
    return None


def _of_container(limit: str, used: str) -> int | None:
    with suppress(OSError, ValueError):
        return int(Path(limit).read_text()) - int(Path(used).read_text())
    return None


def _of_process() -> int | None:
    if sys.platform == "win32":
        return None
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else soft - mapped_bytes()
