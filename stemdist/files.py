"""Atomic writing of files: a full disk or a kill never leaves a partial result."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stemdist.errors import OutputError


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``target`` that replaces it when the block succeeds.

    The temporary path does not exist yet; the block may create a file or a directory
    (a Zarr store) there. If the block fails, what was written is removed and ``target``
    stays as it was.

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
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise _output_error(target, error) from error
    part = scratch / target.name
    try:
        yield part
        _replace(part, target, old=scratch / f"{target.name}.replaced")
    except OutputError:
        raise
    except OSError as error:
        raise _output_error(target, error) from error
    except Exception as error:
        if any(mark in str(error) for mark in _FAILED_WRITES):
            raise _output_error(target, error) from error
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _replace(part: Path, target: Path, old: Path) -> None:
    if target.is_dir() and part.is_dir():  # a rename cannot replace a full directory
        target.replace(old)
    try:
        part.replace(target)
    except OSError:
        if old.exists():
            old.replace(target)
        raise


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


def write_json(target: str | Path, content: Any) -> None:
    """Write ``content`` as indented JSON, atomically."""
    with atomic_path(target) as path:
        path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def sha256_of_file(path: str | Path) -> str:
    """Return the SHA-256 of a file's content as hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hash_of(content: Any) -> str:
    """Return a short stable hash of a JSON-serialisable object (a cache key)."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
