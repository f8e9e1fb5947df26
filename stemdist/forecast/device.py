"""Where a computation runs."""

from __future__ import annotations

from collections.abc import Callable

import torch

from stemdist.errors import InputError

_AVAILABLE: dict[str, Callable[[], bool]] = {
    "cpu": lambda: True,
    "cuda": torch.cuda.is_available,
    "mps": torch.backends.mps.is_available,
}


def check_device(name: str | torch.device) -> torch.device:
    """Return the device called ``name``, or raise if it is unknown or not there.

    Raises
    ------
    InputError
        Listing the devices of this machine.

    Examples
    --------
    >>> check_device("cpu")
    device(type='cpu')
    """
    present = ", ".join(kind for kind, available in _AVAILABLE.items() if available())
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"unknown device {str(name)!r}: this machine has {present}") from None
    if not _AVAILABLE.get(device.type, lambda: True)():
        raise InputError(
            f"device {str(name)!r} is not available to this build of torch: this machine has "
            f"{present}"
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device {str(name)!r} is not there: this machine has {torch.cuda.device_count()} "
            "CUDA device(s), numbered from 0"
        )
    return device
