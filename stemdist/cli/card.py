"""``stemdist card``: a distilled set in, its card out."""

from __future__ import annotations

from pathlib import Path

from stemdist.cli.answer import Result
from stemdist.cli.console import Console, print_fields, print_next, quoted
from stemdist.cli.outputs import output_file
from stemdist.files import atomic_path


def card(
    distilled: str,
    *,
    output: str | None = None,
    evaluation: str | None = None,
    console: Console,
) -> Result:
    """Write the card of a distilled set: what it is, where it comes from, how good it is.

    The card is Markdown in the form of the Hugging Face hub's dataset cards. Everything in it is
    read from the set, and from an evaluation of it; what is not recorded is said to be unknown.

    Parameters
    ----------
    distilled : str
        A distilled set.
    output : str, optional
        File to write, .md; by default the card is printed. A card of that name is replaced.
    evaluation : str, optional
        Folder that stemdist evaluate wrote for this very set, whose errors, excess and ranking
        scores go into the card.

    Examples
    --------
      stemdist card traffic-sim.distilled.nc
      stemdist card uk.distilled.nc --evaluation uk.evaluation -o README.md
    """
    from stemdist.distill import DistilledSet
    from stemdist.sharing import Quality, card_of

    named = [distilled, *([evaluation] if evaluation else [])]
    target = None
    if output is not None:
        target = output_file(output, (".md",), *named, command="card", force=console.force)
    stored = DistilledSet.load(distilled)
    quality = None if evaluation is None else Quality.read(evaluation, stored)
    text = card_of(stored, Path(distilled).name, quality=quality)
    if target is None:
        print(text, end="")
        return Result(values={"card": text})
    with atomic_path(target) as part:
        part.write_text(text, encoding="utf-8")
    print_fields(f"described {distilled}", [("written", str(target))])
    print_next([f"stemdist publish {quoted(distilled)} OWNER/NAME"])
    return Result(values={"card": text}, written=[target])
