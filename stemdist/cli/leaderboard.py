"""``stemdist leaderboard check | build``: results of methods in one form, and their page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stemdist.cli.answer import Result
from stemdist.cli.console import Console, print_fields
from stemdist.cli.outputs import output_file
from stemdist.errors import InputError, StemdistError
from stemdist.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stemdist.evaluate.leaderboard.check import Fault


def check(files: list[str], *, console: Console) -> Result:
    """Check files of results for the leaderboard, each by itself and all together.

    What is wrong is shown with file and line: missing fields, numbers that cannot be, unknown data
    sets, an excess that is not that of the errors, and results that are there twice.

    Parameters
    ----------
    files : list of str
        Files that stemdist benchmark --submit wrote, or others of the same form.

    Examples
    --------
      stemdist leaderboard check benchmarks/leaderboard/default.json my-method.json
    """
    from stemdist.evaluate.leaderboard.check import check_files

    entries, faults = check_files(files)
    for fault in faults:
        print(fault)
    rows = [(e["method"], f"{len(e['results'])} results") for e in entries]
    if rows:
        print_fields("without a fault", rows)
    return Result(
        values={"files": len(files), "faults": faults, "methods": [name for name, _ in rows]},
        failure=_failure(faults, files),
    )


def build(folder: str, *, output: str = "leaderboard.html", console: Console) -> Result:
    """Build the page of the leaderboard from a folder of results.

    Parameters
    ----------
    folder : str
        Folder whose .json files are results; all of them are checked first.
    output : str
        File to write, .html or .md. A leaderboard of that name is replaced.

    Examples
    --------
      stemdist leaderboard build benchmarks/leaderboard -o leaderboard.html
      stemdist leaderboard build benchmarks/leaderboard -o leaderboard.md

    The HTML needs jinja2: pip install "stemdist[report]".
    """
    from stemdist.evaluate.leaderboard.board import MARK, TITLE, markdown_of, page_of
    from stemdist.evaluate.leaderboard.check import check_files

    target = output_file(
        output, (".html", ".md"), folder, command="leaderboard", force=console.force
    )
    files = sorted(str(path) for path in Path(folder).glob("*.json"))
    if not files:
        raise InputError(f"there is no .json file of results in {folder!r}")
    entries, faults = check_files(files)
    for fault in faults:
        print(fault)
    if failure := _failure(faults, files):
        raise failure
    if target.suffix == ".html":
        page_of(entries).write(target)
    else:
        with atomic_path(target) as part:
            page = f"# {TITLE}\n\n<!-- {MARK} build -->\n\n{markdown_of(entries)}"
            part.write_text(page, encoding="utf-8")
    print_fields("built", [("methods", str(len(entries))), ("written", str(target))])
    return Result(values={"methods": [entry["method"] for entry in entries]}, written=[target])


def _failure(faults: Sequence[Fault], files: Sequence[str]) -> StemdistError | None:
    if not faults:
        return None
    count, where = _counted(len(faults), "fault"), _counted(len(files), "file")
    return StemdistError(f"{count} in {where}, the first: {faults[0]}")


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" + "s" * (number != 1)
