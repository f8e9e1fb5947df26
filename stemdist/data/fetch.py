"""Downloading the files that the catalogues name, once, each checked by its SHA-256."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from stemdist.data.catalogue import dataset_recipe, graph_recipe
from stemdist.data.recipe import Source
from stemdist.errors import InputError, OutputError, StemdistError
from stemdist.progress import bar

if TYPE_CHECKING:
    import requests

CACHE_VARIABLE = "STEMDIST_CACHE"

_TIMEOUT_SECONDS = 30
_CHUNK_BYTES = 1 << 16


class DownloadError(StemdistError, OSError):
    """A file could not be downloaded, or its SHA-256 is not the one in the catalogue."""


def cache_folder() -> Path:
    """Return the folder that downloads go to: ``STEMDIST_CACHE``, else the user's cache.

    Examples
    --------
    >>> cache_folder().is_absolute()
    True
    """
    import pooch

    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen or pooch.os_cache("stemdist")).expanduser().absolute()


def fetch(name: str, folder: str | Path | None = None, progress: bool | None = None) -> Path:
    """Download the file of a catalogued data set, and that of its graph, unless already there.

    A file already in ``folder`` with the right SHA-256 is not downloaded again, so fetching
    works offline from then on. A download appears under its name only when it is complete.

    Parameters
    ----------
    name : str
        A data set in the catalogue.
    folder : str or Path, optional
        Where to put the files; by default :func:`cache_folder`.
    progress : bool, optional
        Show a bar, or nothing; None shows it on a terminal or in a notebook, and else logs lines.

    Returns
    -------
    Path
        The data set's file; the graph's file, where it has one, lies beside it.

    Raises
    ------
    InputError
        If there is no such data set, it is simulated, or the user must bring the file; the
        message then says how.
    DownloadError
        If the server cannot be reached or the file has another SHA-256.
    OutputError
        If the file cannot be written.
    """
    recipe = dataset_recipe(name)
    if recipe.kind == "simulator":
        raise InputError(
            f"{name!r} is simulated: nothing needs fetching, use the name itself, "
            f"e.g. stemdist distill {name}"
        )
    if recipe.source is None:
        raise InputError(
            f"{name!r} cannot be downloaded automatically. {(recipe.instructions or '').strip()}"
        )
    target = cache_folder() if folder is None else Path(folder).expanduser().absolute()
    path = _download(recipe.source, target, progress)
    graph = graph_recipe(recipe.graph)
    if graph.source is not None:
        _download(graph.source, target, progress)
    return path


def _download(source: Source, folder: Path, progress: bool | None) -> Path:
    """Download one file; pooch checks a temporary file, then moves it to the target."""
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")  # its INFO lines would break up our progress bars
    place = folder / source.file_name
    try:
        return Path(
            pooch.retrieve(
                source.url,
                known_hash=f"sha256:{source.sha256}",
                fname=source.file_name,
                path=folder,
                downloader=lambda url, part, _: _transfer(url, part, progress),
            )
        )
    except requests.RequestException as error:
        raise DownloadError(
            f"cannot download {source.url}: {reason_of(error)}. Check the connection and try "
            f"again, or get the file another way and save it as {place}"
        ) from error
    except ValueError as error:
        raise DownloadError(
            f"{source.url} sent something other than the file with SHA-256 {source.sha256}. "
            f"Nothing was kept. Try again; if it happens again, the file has changed at its "
            f"source: save the right one as {place}"
        ) from error
    except OSError as error:
        raise OutputError(
            f"cannot write {place} ({source.size_bytes / 1e6:.1f} MB): "
            f"{error.strerror or error}. Nothing was kept there; free some space, or choose "
            f"another folder with {CACHE_VARIABLE}"
        ) from error


def _transfer(url: str, part: str, progress: bool | None) -> None:
    """Download ``url`` to the file ``part``; pooch's own downloader leaves sockets open."""
    with requested(url) as response:
        response.raise_for_status()
        write_body(response, Path(part), progress)


def requested(url: str, **headers: str) -> requests.Response:
    """Ask for a file; its content is read later."""
    import requests

    # Compressed transfers would make the progress bar's total meaningless.
    headers = {"Accept-Encoding": "identity", **headers}
    return requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_SECONDS)


def write_body(response: requests.Response, part: Path, progress: bool | None) -> None:
    """Write the content of an answer to a file, and show progress as :func:`bar` does."""
    size = response.headers.get("Content-Length")
    with (
        part.open("wb") as stream,
        bar(
            title=PurePosixPath(urlsplit(response.url).path).name,
            total=None if size is None else int(size),
            unit="B",
            progress=progress,
        ) as shown,
    ):
        for chunk in response.iter_content(_CHUNK_BYTES):
            stream.write(chunk)
            shown.update(len(chunk))


def reason_of(error: requests.RequestException) -> str:
    """Return in a few words why a download failed."""
    import requests

    if error.response is not None:
        return f"the server answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.Timeout):
        return "the server did not answer in time"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection broke off before the end of the file"
    return "the server cannot be reached"
