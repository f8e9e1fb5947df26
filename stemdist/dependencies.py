"""Optional libraries, imported where they are needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from stemdist.errors import MissingDependencyError


def require(module: str, extra: str, what: str) -> Any:
    """Import an optional library, or say which extra installs it."""
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingDependencyError(
            f'{what} needs {module}, which is not installed: pip install "stemdist[{extra}]"'
        ) from error
