"""What is said of an error, and the exit status: whose fault it is, and what to do."""

from __future__ import annotations

import errno
from pathlib import Path

import yaml

from stemdist.errors import StemdistError

EXIT_BUG, EXIT_ERROR, EXIT_INTERRUPTED, EXIT_PIPE_CLOSED = 1, 2, 130, 141

EXIT_CODES = {
    0: "success",
    EXIT_BUG: "a fault of stemdist itself: please report it",
    EXIT_ERROR: "an option, a file or the machine is at fault; the message says what to do",
    129: "hung up (SIGHUP)",
    EXIT_INTERRUPTED: "interrupted with Ctrl-C",
    EXIT_PIPE_CLOSED: "whoever read the output went away (a closed pipe)",
    143: "terminated (SIGTERM)",
}
"""Every exit code with its meaning; a signal ends a command with 128 plus its number."""

ISSUES = "https://github.com/stemdist/stemdist/issues"

# How numpy, torch on a CPU and torch on a GPU say that memory is used up.
_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "Unable to allocate")

# How the NetCDF and HDF5 libraries begin what they say, whatever the type of the exception.
_DAMAGED = ("NetCDF: ", "HDF5", "HDF error")

_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota of the disk is used up",
    errno.EFBIG: "the file would be larger than allowed",
    errno.ENAMETOOLONG: "the name is too long",
    errno.EMFILE: "too many files are open",
}


_CONTROL = {*range(32), *range(127, 160)} - {ord("\n"), ord("\t")}
_SPELLED = {code: f"\\x{code:02x}" for code in _CONTROL}


def said_of(error: Exception, *, debug: bool = False) -> tuple[str, int]:
    """Return one line about an error, and the exit status.

    Examples
    --------
    >>> said_of(MemoryError())[1], said_of(KeyError("a"))[1]
    (2, 1)
    >>> said_of(OSError(28, "No space left on device"))[0]
    'error: the disk is full'
    """
    if isinstance(error, StemdistError):
        lines = (line.strip().removeprefix("- ") for line in str(error).splitlines())
        return f"error: {'; '.join(filter(None, lines))}", EXIT_ERROR
    if isinstance(error, MemoryError) or any(mark in str(error) for mark in _NO_MEMORY):
        return (
            "error: not enough memory: choose fewer variables or a smaller area and period "
            "(`stemdist info DATA` estimates what is needed)",
            EXIT_ERROR,
        )
    if isinstance(error, ValueError) and "embedded null" in str(error):
        return "error: a name that was given holds a NUL character, as no file can", EXIT_ERROR
    if isinstance(error, OverflowError):
        return f"error: a number that was given is too large ({one_line(error)})", EXIT_ERROR
    if any(mark in str(error) for mark in _DAMAGED):
        return f"error: a file cannot be read, and may be damaged: {one_line(error)}", EXIT_ERROR
    if isinstance(error, OSError):
        return f"error: {_of_system(error)}", EXIT_ERROR
    if isinstance(error, UnicodeError):
        return f"error: a text that was read is not UTF-8 ({error}): convert it", EXIT_ERROR
    if isinstance(error, yaml.YAMLError):
        return f"error: a YAML file cannot be read: {one_line(error)}", EXIT_ERROR
    hint = "" if debug else " Run it again with --debug to see the traceback."
    return (
        f"error: unexpected {type(error).__name__}: {one_line(error)}. This is a bug in stemdist: "
        f"please report it at {ISSUES}.{hint}",
        EXIT_BUG,
    )


def one_line(error: Exception) -> str:
    """Return the text of an error as one line."""
    return " ".join(str(error).split()) or "no message"


def _of_system(error: OSError) -> str:
    try:
        Path.cwd()
    except OSError:
        return "the working directory does not exist any more: change to another one"
    code = error.errno
    reason = _REASONS.get(code) if code is not None else None
    reason = reason or error.strerror or one_line(error)
    name = "" if error.filename is None else f"{error.filename!r}: "
    return f"{name}{reason}"


def printable(text: str) -> str:
    r"""Return a text whose control characters, other than line ends and tabs, are spelled out.

    Names, units and attributes of files are foreign, and could rewrite a terminal.

    Examples
    --------
    >>> printable("a\x1b[2Jb\n")
    'a\\x1b[2Jb\n'
    """
    if text.isprintable():
        return text
    return text.translate(_SPELLED)
