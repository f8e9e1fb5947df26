"""``stemdist publish``: a distilled set and its card, to a repository of the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path

from stemdist.cli.answer import Result
from stemdist.cli.console import Console, print_fields, print_next
from stemdist.cli.outputs import output_folder
from stemdist.files import write_json
from stemdist.markers import MADE_BY, MARKER


def publish(
    distilled: str,
    repository: str,
    *,
    evaluation: str | None = None,
    private: bool = False,
    replace: bool = False,
    dry_run: str | None = None,
    console: Console,
) -> Result:
    """Publish a distilled set with its card in a data set repository of the Hugging Face hub.

    The repository is made if there is none. Files in it that have another content are left alone,
    and nothing is written, without --replace. The token is read from HF_TOKEN, or is that of
    `hf auth login`.

    Parameters
    ----------
    distilled : str
        A distilled set, .nc.
    repository : str
        Where: OWNER/NAME.
    evaluation : str, optional
        Folder that stemdist evaluate wrote for this very set, for the card.
    private : bool
        Make a new repository private.
    replace : bool
        Replace files of another content.
    dry_run : str, optional
        Folder to write what would be uploaded to, instead; no network is used.

    Examples
    --------
      stemdist publish uk.distilled.nc OWNER/uk-temperature --evaluation uk.evaluation
      stemdist publish uk.distilled.nc OWNER/uk-temperature --dry-run upload

    Needs pip install "stemdist[hub]"; --dry-run does not.
    """
    from stemdist.sharing.hub import files_for, write_files
    from stemdist.sharing.hub import publish as publish_files

    named = [distilled, *([evaluation] if evaluation else [])]
    folder = None
    if dry_run is not None:
        folder = output_folder(dry_run, *named, command="publish", force=console.force)
    files = files_for(distilled, repository, evaluation)
    _say_terms(distilled, console)
    sizes = {name: len(content) for name, content in files.items()}
    values = {"repository": repository, "address": f"hf://{repository}", "bytes": sizes}
    if folder is not None:
        written = write_files(files, folder)
        write_json(folder / MARKER, {MADE_BY: "stemdist publish"})
        print_fields(f"not published: {repository}", [("written", str(p)) for p in written])
        return Result(values={**values, "url": None, "uploaded": []}, written=[folder, *written])
    done = publish_files(files, repository, private=private, replace=replace)
    print_fields(
        f"published {distilled}",
        [
            ("repository", done.url),
            ("uploaded", ", ".join(done.uploaded) or "nothing: everything was there"),
            ("commit", done.commit),
        ],
    )
    print_next([f"stemdist train hf://{repository} --forecaster mlp"])
    values |= {"url": done.url, "uploaded": done.uploaded, "commit": done.commit}
    return Result(values=values)


def _say_terms(distilled: str, console: Console) -> None:
    """Remark on a licence that may not allow what is about to be done."""
    from stemdist.distill import DistilledSet
    from stemdist.sharing.licences import forbids_adaptations, licence_of

    licence = licence_of(DistilledSet.load(Path(distilled)).record)
    if not licence:
        console.note("no licence is recorded in the set: make sure that its source may be shared")
    elif forbids_adaptations(licence):
        console.note(
            f"the licence of the source, {licence}, allows unchanged copies only: sharing this set "
            "needs the owner's consent"
        )
