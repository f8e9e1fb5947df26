"""Say what is wrong with the archives in a folder: a file too many, or one that is missing.

    python .ci/archives.py dist

A wheel holds the package, with the catalogue in it, and its metadata; a source archive holds what
git tracks.
"""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[1]
CATALOGUE = ("datasets", "graphs")
CACHES = {"__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis"}


def expected(root: Path) -> set[str]:
    """Return the names of all files that a wheel of a checkout holds, but for its metadata."""
    places = {"stemdist": "stemdist", **{name: f"stemdist/catalogue/{name}" for name in CATALOGUE}}
    return {
        f"{place}/{path.relative_to(root / folder).as_posix()}"
        for folder, place in places.items()
        for path in (root / folder).rglob("*")
        if path.is_file() and not CACHES & set(path.parts)
    }


def faults_of_wheel(names: set[str], root: Path = ROOT) -> list[str]:
    """Return what is wrong with the names of files in a wheel."""
    own = {name for name in names if not PurePosixPath(name).parts[0].endswith(".dist-info")}
    wanted = expected(root)
    missing = [f"the wheel lacks {name}" for name in sorted(wanted - own)]
    return missing + [f"the wheel should not hold {name}" for name in sorted(own - wanted)]


def faults_of_source(names: set[str], root: Path = ROOT) -> list[str]:
    """Return what is wrong with the names of files in a source archive."""
    own = {str(PurePosixPath(*PurePosixPath(name).parts[1:])) for name in names}
    needed = ["pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "constraints.txt"]
    needed += [
        path.relative_to(root).as_posix()
        for folder in (*CATALOGUE, "tests", "stemdist")
        for path in (root / folder).rglob("*")
        if path.is_file() and not CACHES & set(path.parts)
    ]
    missing = [f"the source archive lacks {name}" for name in sorted(set(needed) - own)]
    cached = sorted(name for name in own if CACHES & set(PurePosixPath(name).parts))
    return missing + [f"the source archive should not hold {name}" for name in cached]


def main(folder: Path) -> int:
    """Check one wheel and one source archive."""
    (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        faults = faults_of_wheel(set(archive.namelist()))
    with tarfile.open(source) as tar:
        faults += faults_of_source({each.name for each in tar if each.isfile()})
    print("\n".join(faults) or f"{wheel.name} and {source.name} hold what they should")
    return len(faults) > 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
