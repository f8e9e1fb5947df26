"""Print the commands of README.md's shell block that need no extra, one on a line."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
NEEDS_EXTRA = {"plot"}
YOUR_FILE = "stemdist simulate weather-sim -o FILE.nc --settings days=20,n_lat=8,n_lon=10"


def lines() -> list[str]:
    """Return the commands, after one that makes the FILE.nc of which README.md speaks."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (block,) = (each for each in blocks if each.startswith("stemdist") and each.count("\n") > 5)
    commands = [line.split("  #")[0].strip() for line in block.splitlines()]
    return [YOUR_FILE, *(each for each in commands if each.split()[1] not in NEEDS_EXTRA)]


if __name__ == "__main__":
    print("\n".join(lines()))
