"""Distilled sets in data set repositories of the Hugging Face hub."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stemdist.data.downloads import failures_of, hub_reason
from stemdist.dependencies import require
from stemdist.distill import DistilledSet
from stemdist.errors import InputError, StemdistError
from stemdist.files import atomic_path
from stemdist.sharing.card import card_of
from stemdist.sharing.quality import Quality

CARD = "README.md"
"""Name of the card in a repository."""

_REPOSITORY = re.compile(r"[\w-][\w.-]{0,95}/[\w-][\w.-]{0,95}")


class PublishError(StemdistError, OSError):
    """A repository could not be written; nothing in it was changed."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """What is in a repository after publishing.

    Attributes
    ----------
    url : str
        Address of the repository for a browser.
    uploaded : tuple of str
        Files that were written; those that were there already are not.
    commit : str
        Hash of the new commit, or of the one that had everything.
    """

    url: str
    uploaded: tuple[str, ...]
    commit: str


def files_for(
    path: str | Path, repository: str, evaluation: str | Path | None = None
) -> dict[str, bytes]:
    """Return the files of a repository that shares a distilled set: its card, and the set.

    Parameters
    ----------
    path : str or Path
        The set, a NetCDF file.
    repository : str
        ``OWNER/NAME``.
    evaluation : str or Path, optional
        Folder of an evaluation of this very set.

    Raises
    ------
    InputError
        If the set cannot be read, or the repository's name cannot be one.
    """
    if not _REPOSITORY.fullmatch(repository):
        raise InputError(
            f"{repository!r} is no name of a repository: write OWNER/NAME, of letters, digits, "
            "dots, hyphens and underscores"
        )
    path = Path(path)
    if path.is_dir():
        raise InputError(
            f"{str(path)!r} is a Zarr store, and a repository holds one file: write it as NetCDF, "
            'stemdist.DistilledSet.load("a.zarr").save("a.nc")'
        )
    distilled = DistilledSet.load(path)
    quality = None if evaluation is None else Quality.read(evaluation, distilled)
    card = card_of(distilled, path.name, quality=quality, repository=repository)
    return {CARD: card.encode(), path.name: path.read_bytes()}


def publish(
    files: Mapping[str, bytes], repository: str, *, private: bool = False, replace: bool = False
) -> Published:
    """Write files to a data set repository of the hub, which is made if there is none.

    The token is that of the environment (``HF_TOKEN``) or of ``hf auth login``; the hub is that of
    ``HF_ENDPOINT``, if it is set.

    Parameters
    ----------
    files : mapping of str to bytes
        Contents by name, e.g. of :func:`files_for`.
    repository : str
        ``OWNER/NAME``.
    private : bool
        Make a new repository private; one that is there stays as it is.
    replace : bool
        Replace files of other content; without it they are left alone, and nothing is written.

    Raises
    ------
    InputError
        If a file of other content is there.
    PublishError
        If the hub refuses, or cannot be reached.
    MissingDependencyError
        If huggingface_hub is not installed.
    """
    hub = require("huggingface_hub", "hub", "publishing")
    api = hub.HfApi()
    try:
        url = api.create_repo(repository, repo_type="dataset", private=private, exist_ok=True)
        head = api.repo_info(repository, repo_type="dataset").sha
        there = _contents(hub, repository, set(files), head)
        _check_free(repository, files, there, replace)
        new = {name: content for name, content in files.items() if there.get(name) != content}
        if new:
            head = api.create_commit(
                repository,
                [hub.CommitOperationAdd(name, content) for name, content in new.items()],
                commit_message="Distilled set and its card, by stemdist",
                repo_type="dataset",
                parent_commit=head,
            ).oid
    except InputError:
        raise
    except failures_of(hub) as error:
        raise PublishError(f"cannot publish to {repository!r}: {hub_reason(error)}") from error
    return Published(url=str(url), uploaded=tuple(new), commit=str(head))


def _contents(hub: Any, repository: str, names: set[str], revision: str) -> dict[str, bytes]:
    """Return the contents of those files that the repository has at a revision."""
    listed = hub.HfApi().list_repo_files(repository, repo_type="dataset", revision=revision)
    how = {"repo_type": "dataset", "revision": revision}
    with tempfile.TemporaryDirectory() as folder:
        return {
            name: Path(hub.hf_hub_download(repository, name, cache_dir=folder, **how)).read_bytes()
            for name in names & set(listed)
        }


def _check_free(
    repository: str, files: Mapping[str, bytes], there: Mapping[str, bytes], replace: bool
) -> None:
    other = [name for name in files if name in there and there[name] != files[name]]
    if other and not replace:
        raise InputError(
            f"{repository!r} has {' and '.join(other)} with another content: publish to another "
            "repository, or replace what is there with --replace"
        )


def write_files(files: Mapping[str, bytes], folder: Path) -> list[Path]:
    """Write what would be uploaded to a folder, atomically, and return the files."""
    with atomic_path(folder) as part:
        part.mkdir()
        for name, content in files.items():
            (part / name).write_bytes(content)
    return [folder / name for name in files]
