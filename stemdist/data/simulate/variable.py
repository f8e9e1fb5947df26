"""One simulated variable."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variable:
    """One simulated variable: the dims of a frame (without time) and its CF attributes."""

    dims: tuple[str, ...]
    attrs: dict[str, str]
