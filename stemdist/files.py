"""Atomic writing of files: a full disk or a kill never leaves a partial result.

What is being written lies in a hidden folder beside its target, named after the process that
writes. Folders of processes that are no more are swept when another one writes there.
"""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import shutil
import socket
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from stemdist.errors import InputError, OutputError, StemdistError

PART = ".stemdist-part"
"""Ending of the hidden folders in which files are written before they replace their target."""

_HOST = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
_UMASK = os.umask(0o077)
os.umask(_UMASK)
_swept: set[Path] = set()


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``target`` that replaces it when the block succeeds.

    The temporary path does not exist yet; the block may create a file or a directory
    (a Zarr store) there. If the block fails, what was written is removed and ``target``
    stays as it was. Files get the mode that the umask allows.

    Raises
    ------
    OutputError
        If the folder cannot be written to, the disk is full, or any other ``OSError``.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> with atomic_path(folder / "a.txt") as path:
    ...     _ = path.write_text("whole")
    >>> (folder / "a.txt").read_text()
    'whole'
    """
    target = Path(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target.parent)
        name = f".{target.name[:60]}.{_HOST}-{os.getpid()}-{uuid.uuid4().hex[:8]}{PART}"
        scratch = target.parent / name
        scratch.mkdir(mode=0o700)
    except OSError as error:
        raise _output_error(target, error) from error
    part = scratch / target.name
    try:
        yield part
        _share(part)
        _replace(part, target, old=scratch / f"{target.name}.replaced")
    except StemdistError:  # raised on purpose: it says what it has to say
        raise
    except OSError as error:
        raise _output_error(target, error) from error
    except Exception as error:
        if any(mark in str(error) for mark in _FAILED_WRITES):
            raise _output_error(target, error) from error
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _share(part: Path) -> None:
    """Give what was written the mode that new files have; some libraries write private ones."""
    for path in (part, *part.rglob("*")) if part.is_dir() else (part,):
        if path.is_file():
            path.chmod(0o666 & ~_UMASK)


def _replace(part: Path, target: Path, old: Path) -> None:
    if target.is_dir() and part.is_dir():  # a rename cannot replace a full directory
        target.replace(old)
    try:
        part.replace(target)
    except OSError:
        if old.exists():
            old.replace(target)
        raise


def check_suffix(target: Path, suffixes: Iterable[str]) -> None:
    """Raise :class:`InputError` unless the name of an output ends with one of some suffixes."""
    if target.suffix not in suffixes:
        raise InputError(
            f"cannot tell the format of {str(target)!r} from its suffix {target.suffix!r}: name "
            f"it with one of {', '.join(suffixes)}"
        )


def sweep(folder: str | Path, *, again: bool = False) -> None:
    """Remove what dead processes left in a folder, once per process.

    Where one died between the two renames that replace a folder, the new content, which was
    complete then, takes its place.

    Parameters
    ----------
    folder : str or Path
        Only this folder, not those inside, is looked at.
    again : bool
        Look even if this process did so before.
    """
    folder = Path(folder).absolute()
    if folder in _swept and not again:
        return
    _swept.add(folder)
    with suppress(OSError):
        for scratch in folder.glob(f".*{PART}"):
            host, owner, _ = scratch.name.removesuffix(PART).rpartition(".")[2].split("-")
            if host == _HOST and not alive(int(owner)):
                for old in scratch.glob("*.replaced"):
                    _finish(folder / old.name.removesuffix(".replaced"), old)
                shutil.rmtree(scratch, ignore_errors=True)


def _finish(target: Path, old: Path) -> None:
    """Finish a replacement that was cut off between its two renames."""
    part = old.with_name(target.name)
    if not target.exists():
        (part if part.exists() else old).replace(target)


def alive(process: int) -> bool:
    """Say whether a process of this machine is there; on Windows, every one may be."""
    if sys.platform == "win32":  # where signal 0 is not a question but Ctrl+C
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


@contextmanager
def locked(path: str | Path, waiting: Callable[[], object] | None = None) -> Iterator[None]:
    """Let one process of this machine at a time make ``path``; the others wait.

    The lock is in the folder of temporary files, so that nothing is left beside ``path``; the
    end of a process, however it comes, frees it.

    Parameters
    ----------
    path : str or Path
        What is made.
    waiting : callable, optional
        Called once if another process has the lock.

    Raises
    ------
    OutputError
        If the folder of temporary files cannot be written to.
    """
    import filelock

    folder = Path(tempfile.gettempdir()) / f"stemdist-{getpass.getuser()}-locks"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        lock = filelock.FileLock(folder / f"{hash_of(str(Path(path).resolve()))}.lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            if waiting is not None:
                waiting()
            lock.acquire()
    except OSError as error:
        raise _output_error(folder, error) from error
    try:
        yield
    finally:
        lock.release()


def recovered(path: str | Path) -> Path:
    """Return a path, after finishing a replacement of it that was cut off, if there was one."""
    path = Path(path)
    if not path.exists() and path.parent.is_dir():
        sweep(path.parent, again=True)
    return path


# How netCDF4, torch and safetensors say that the system refused a write.
_FAILED_WRITES = ("NetCDF: ", "PytorchStreamWriter", "unexpected pos", "I/O error")


def _output_error(target: Path, error: Exception) -> OutputError:
    if isinstance(error, OSError):
        reason = error.strerror or str(error)
    else:
        reason = f"the disk may be full ({error})"
    return OutputError(
        f"cannot write {str(target)!r}: {reason}. Nothing was changed there; free some space, "
        "or choose a folder you may write to with -o/--output"
    )


def write_json(target: str | Path, content: Any, *, sort_keys: bool = True) -> None:
    """Write ``content`` as indented JSON, atomically."""
    with atomic_path(target) as path:
        path.write_text(json.dumps(content, indent=2, sort_keys=sort_keys) + "\n", encoding="utf-8")


def sha256_of_file(path: str | Path) -> str:
    """Return the SHA-256 of a file's content as hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hash_of(content: Any) -> str:
    """Return a short stable hash of a JSON-serialisable object (a cache key)."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
