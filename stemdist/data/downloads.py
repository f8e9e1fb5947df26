"""Files on the web and on the Hugging Face hub: local copies that are whole and up to date."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from stemdist.data.fetch import DownloadError, cache_folder, reason_of, requested, write_body
from stemdist.dependencies import require
from stemdist.errors import InputError
from stemdist.files import atomic_path, hash_of, write_json

if TYPE_CHECKING:
    import requests

log = logging.getLogger(__name__)

_HUB = re.compile(
    r"hf://(?:datasets/)?(?P<owner>[\w.-]+)/(?P<name>[\w.-]+)"
    r"(?:@(?P<early>[^/@]+))?(?:/(?P<file>[^@]+))?(?:@(?P<late>[^@]+))?"
)
_FACTS = "download.json"
_VALIDATORS = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}
"""What a server says of a version of a file, and how it is asked for a newer one."""
_COPIES: ContextVar[dict[str, Path] | None] = ContextVar("copies", default=None)


@contextmanager
def requested_once() -> Iterator[None]:
    """Request every address once in the block: whatever reads it there has the same copy.

    Examples
    --------
    >>> with requested_once():  # doctest: +SKIP
    ...     local_copy("https://example.org/a.nc") == local_copy("https://example.org/a.nc")
    True
    """
    token = _COPIES.set({})
    try:
        yield
    finally:
        _COPIES.reset(token)


def is_downloaded(address: str) -> bool:
    """Say whether :func:`local_copy` takes an address.

    Examples
    --------
    >>> is_downloaded("https://example.org/a.nc"), is_downloaded("s3://bucket/a.nc")
    (True, False)
    """
    return address.startswith(("https://", "http://", "hf://"))


def local_copy(address: str) -> Path:
    """Return a local copy of a file, downloaded if there is none or it is not the newest.

    What is downloaded appears in the cache only when it is whole. Where the server cannot be
    reached, an earlier copy is used, with a warning.

    Parameters
    ----------
    address : str
        ``https://...``, or ``hf://OWNER/NAME[/FILE][@REVISION]``, a file in a data set
        repository of the Hugging Face hub; without FILE the one NetCDF file in it.

    Raises
    ------
    InputError
        If it is no such address, or the repository does not have one such file.
    DownloadError
        If the file cannot be downloaded.
    MissingDependencyError
        If ``hf://`` needs huggingface_hub.
    """
    copies = _COPIES.get()
    if copies is not None and address in copies:
        return copies[address]
    hub = address.startswith("hf://")
    found = HubFile.parse(address).local_copy() if hub else _web_copy(address)
    if copies is not None:
        copies[address] = found
    return found


def _web_copy(address: str) -> Path:
    import requests

    name = PurePosixPath(unquote(urlsplit(address).path)).name or "file"
    folder = cache_folder() / "addresses" / hash_of(address)
    target = folder / name
    known = _known(folder / _FACTS, target)
    asked = {_VALIDATORS[key]: known[key] for key in _VALIDATORS if key in known}
    try:
        with requested(address, **asked) as response:
            if response.status_code == requests.codes.not_modified and known:
                return target
            response.raise_for_status()
            _write(target, response, address)
            kept = {key: response.headers[key] for key in _VALIDATORS if key in response.headers}
    except requests.RequestException as error:
        if known and error.response is None:
            log.warning("%s: %s; the copy in the cache is used", address, reason_of(error))
            return target
        raise _failed(address, error) from error
    write_json(folder / _FACTS, {"address": address, "bytes": target.stat().st_size, **kept})
    return target


def _write(target: Path, response: requests.Response, address: str) -> None:
    """Write what a server sends, whole or not at all."""
    import requests

    with atomic_path(target) as part:
        try:
            write_body(response, part, progress=None)
        except requests.RequestException as error:  # an OSError, but not of the disk
            raise _failed(address, error) from error


def _failed(address: str, error: requests.RequestException) -> DownloadError:
    return DownloadError(
        f"cannot read {address!r}: {reason_of(error)}. Nothing was kept; check the address and the "
        "connection, or download it and give the file"
    )


def _known(facts: Path, target: Path) -> Mapping[str, Any]:
    """Return what is known of a copy that is whole; nothing if there is none."""
    with suppress(OSError, ValueError):
        found = json.loads(facts.read_text(encoding="utf-8"))
        if isinstance(found, dict) and found.get("bytes") == target.stat().st_size:
            return found
    return {}


@dataclass(frozen=True, kw_only=True)
class HubFile:
    """A file in a data set repository of the Hugging Face hub.

    Parameters
    ----------
    repository : str
        ``OWNER/NAME``.
    file : str, optional
        Its path there; by default the one NetCDF file.
    revision : str, optional
        Branch, tag or commit; the main branch by default.
    """

    repository: str
    file: str | None = None
    revision: str | None = None

    @classmethod
    def parse(cls, address: str) -> HubFile:
        """Read ``hf://OWNER/NAME[/FILE][@REVISION]``.

        Raises
        ------
        InputError
            If it is another text.

        Examples
        --------
        >>> HubFile.parse("hf://me/taxi/tiny.nc@v1")
        HubFile(repository='me/taxi', file='tiny.nc', revision='v1')
        >>> HubFile.parse("hf://datasets/me/taxi@v1/tiny.nc") == HubFile.parse("hf://me/taxi/tiny.nc@v1")
        True
        """
        match = _HUB.fullmatch(address)
        if match is None or (match["early"] and match["late"]):
            raise InputError(
                f"{address!r} is no address of the hub: write hf://OWNER/NAME, "
                "hf://OWNER/NAME/FILE or hf://OWNER/NAME/FILE@REVISION"
            )
        return cls(
            repository=f"{match['owner']}/{match['name']}",
            file=match["file"],
            revision=match["early"] or match["late"],
        )

    @property
    def address(self) -> str:
        """The address."""
        file = "" if self.file is None else f"/{self.file}"
        revision = "" if self.revision is None else f"@{self.revision}"
        return f"hf://{self.repository}{file}{revision}"

    def local_copy(self) -> Path:
        """Return the file in the cache, downloaded if it is not there."""
        hub = require("huggingface_hub", "hub", f"reading {self.address!r}")
        folder = cache_folder() / "hub"
        try:
            name = self.file or self._only_file(hub)
            return Path(
                hub.hf_hub_download(
                    self.repository,
                    name,
                    repo_type="dataset",
                    revision=self.revision,
                    cache_dir=folder,
                )
            )
        except InputError:
            raise
        except failures_of(hub) as error:
            raise DownloadError(
                f"cannot read {self.address!r}: {hub_reason(error)}. Nothing was kept"
            ) from error

    def _only_file(self, hub: Any) -> str:
        """Return the one NetCDF file of the repository, or the one distilled set among several."""
        api = hub.HfApi()
        names = api.list_repo_files(self.repository, repo_type="dataset", revision=self.revision)
        found = [name for name in names if name.endswith(".nc")]
        distilled = [name for name in found if name.endswith(".distilled.nc")]
        chosen = found if len(found) == 1 else distilled
        if len(chosen) == 1:
            return str(chosen[0])
        listing = ", ".join(found) or "none"
        raise InputError(
            f"{self.address!r} does not have one NetCDF file (there: {listing}): name it, "
            f"hf://{self.repository}/FILE"
        )


def failures_of(hub: Any) -> tuple[type[Exception], ...]:
    """Return what huggingface_hub raises where the hub refuses or cannot be reached."""
    return (OSError, ValueError, getattr(hub.errors, "HTTPError", OSError))


def hub_reason(error: Exception) -> str:
    """Return in a sentence why the hub did not do what it was asked for, and what to do."""
    from huggingface_hub import errors

    told = {
        errors.GatedRepoError: "its owner grants access on request: log in with `hf auth login`",
        errors.RepositoryNotFoundError: "there is no such repository, or it is private: check the "
        "name, and log in with `hf auth login`, or set HF_TOKEN",
        errors.RevisionNotFoundError: "there is no such revision",
        errors.LocalEntryNotFoundError: "the hub cannot be reached, and there is no copy in the "
        "cache: check the connection",
        errors.EntryNotFoundError: "there is no such file",
        errors.HFValidationError: "it is no name of a repository: write OWNER/NAME",
    }
    for kind, text in told.items():
        if isinstance(error, kind):
            return text
    response = getattr(error, "response", None)
    if response is not None:
        return f"the hub answered {response.status_code}: {_first_line(error)}"
    return _first_line(error)


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), "no message")
