"""Print the lowest release that pyproject.toml allows of each dependency, as constraints for pip.

Left out are what constraints.txt pins, and the extras that only development needs.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
OF_DEVELOPERS = {"lint", "coverage", "mutation", "dev"}


def floors() -> dict[str, str]:
    """Return the lowest release of each dependency, by its name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = set(re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    extras = project["optional-dependencies"]
    users = (each for extra in extras.keys() - OF_DEVELOPERS for each in extras[extra])
    asked = [*project["dependencies"], *users]
    found = (re.fullmatch(r"([\w.-]+)(?:\[.*\])?>=([\w.]+)", each) for each in asked)
    lowest = {match[1]: match[2] for match in filter(None, found)}
    return {name: lowest[name] for name in sorted(lowest.keys() - pinned)}


if __name__ == "__main__":
    for name, lowest in floors().items():
        print(f"{name}=={lowest}")
