"""The command line: ``stemdist COMMAND ...``.

Only the chosen command is imported, so that ``stemdist --help`` answers at once.
"""

from __future__ import annotations

import difflib
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import NoReturn, TextIO

from stemdist.cli.answer import Ended, Result, warnings_heard, without_json, written_as_json
from stemdist.cli.failures import (
    EXIT_INTERRUPTED,
    EXIT_PIPE_CLOSED,
    printable,
    said_of,
)
from stemdist.errors import StemdistError
from stemdist.profiling import keep_freed_memory


@dataclass(frozen=True, kw_only=True)
class Command:
    """One subcommand.

    Parameters
    ----------
    target : str
        ``"module:function"``; the function's signature and docstring make the parser.
    summary : str
        One line for ``stemdist --help``.
    resumes : bool
        Whether the same command, run again after it was stopped, goes on where it was.
    """

    target: str
    summary: str
    resumes: bool = False

    def function(self) -> Callable[..., Result]:
        """Import the command."""
        module, _, attribute = self.target.partition(":")
        found: Callable[..., Result] = getattr(import_module(module), attribute)
        return found

    def run(self, name: str, argv: Sequence[str]) -> Result:
        """Import the command, parse ``argv`` and run it."""
        from stemdist.cli.arguments import call

        return call(self.function(), f"stemdist {name}", argv)


COMMANDS = {
    "info": Command(
        target="stemdist.cli.info:info",
        summary="show what is in a data file and how it would be used",
    ),
    "distill": Command(
        target="stemdist.cli.distill:distill",
        summary="distil a data file into a tiny training set",
        resumes=True,
    ),
    "train": Command(
        target="stemdist.cli.train:train",
        summary="train a forecaster on a distilled set or on a data file",
        resumes=True,
    ),
    "tune": Command(
        target="stemdist.cli.tune:tune",
        summary="search for a forecaster and its hyper-parameters on a distilled set",
        resumes=True,
    ),
    "teach": Command(
        target="stemdist.cli.teach:teach",
        summary="train a small student on the outputs of large teachers",
        resumes=True,
    ),
    "predict": Command(
        target="stemdist.cli.predict:predict",
        summary="forecast a data file with a trained forecaster",
    ),
    "deploy": Command(
        target="stemdist.cli.deploy:deploy",
        summary="write a trained forecaster as one ONNX or torch.export file",
    ),
    "evaluate": Command(
        target="stemdist.cli.evaluate:evaluate",
        summary="evaluate a distilled set, or trained forecasters, on real data",
        resumes=True,
    ),
    "compare": Command(
        target="stemdist.cli.compare:compare",
        summary="compare forecasters on a data file: errors, seconds, memory",
        resumes=True,
    ),
    "benchmark": Command(
        target="stemdist.cli.benchmark:benchmark",
        summary="compare ways of distilling: methods x ratios x data x forecasters x seeds",
        resumes=True,
    ),
    "plot": Command(
        target="stemdist.cli.plot:plot",
        summary="draw a distilled set or a comparison",
    ),
    "card": Command(
        target="stemdist.cli.card:card",
        summary="write the card of a distilled set, for whoever gets it",
    ),
    "publish": Command(
        target="stemdist.cli.publish:publish",
        summary="publish a distilled set and its card on the Hugging Face hub",
    ),
    "leaderboard check": Command(
        target="stemdist.cli.leaderboard:check",
        summary="check files of results for the leaderboard",
    ),
    "leaderboard build": Command(
        target="stemdist.cli.leaderboard:build",
        summary="build the page of the leaderboard from files of results",
    ),
    "completion": Command(
        target="stemdist.cli.completion:completion",
        summary="print the script by which a shell completes commands and options",
    ),
    "catalogue list": Command(
        target="stemdist.cli.catalogue:list_recipes", summary="list the known data sets"
    ),
    "catalogue show": Command(
        target="stemdist.cli.catalogue:show", summary="show one data set: source, licence, settings"
    ),
    "catalogue fetch": Command(
        target="stemdist.cli.catalogue:fetch_files", summary="download the files of a data set"
    ),
    "export": Command(
        target="stemdist.cli.export:export",
        summary="write windows for public research code, or a distilled set as a table",
    ),
    "simulate": Command(
        target="stemdist.cli.simulate:simulate", summary="write simulated data to a file"
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program name; those of the process by default.

    Returns
    -------
    int
        0 when all went well, 2 for an error the user can act on (one line on standard error),
        1 for a fault of stemdist itself, 130 when interrupted, 141 when the reader of the
        output went away. With ``--json``, one JSON object is all of the standard output.

    Examples
    --------
    >>> main(["catalogue", "show", "los-lop"])
    2
    """
    # Threads that wait by spinning slow each other down many times over on a busy machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if argv is None:  # this process is the command, so its settings are ours to choose
        keep_freed_memory()
        _end_cleanly()
    as_json, arguments = without_json(sys.argv[1:] if argv is None else argv)
    out = sys.stdout
    try:
        return _answer(arguments, Printable(out)) if as_json else _say(arguments, Printable(out))
    finally:
        if argv is None and out is not None:
            _close(out)


class Printable(io.TextIOBase):
    """Passes text on to a stream, with control characters of foreign names spelled out."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text; nothing where standard output is closed."""
        return len(text) if self._stream is None else self._stream.write(printable(text))

    def flush(self) -> None:
        """Write what is waiting."""
        if self._stream is not None:
            self._stream.flush()

    def fileno(self) -> int:
        """Return the number of the stream's file."""
        return -1 if self._stream is None else self._stream.fileno()

    def isatty(self) -> bool:
        """Say whether the stream is a terminal."""
        return self._stream is not None and self._stream.isatty()


class Stopped(KeyboardInterrupt):
    """A signal that ends the process as Ctrl-C does, with its own exit status."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def _end_cleanly() -> None:
    """Let a terminated or hung up process clean up behind itself, as an interrupted one does."""

    def stop(number: int, _: object) -> NoReturn:
        raise Stopped(number)

    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), stop)


def _close(stream: TextIO) -> None:
    """Flush for the last time, so that Python has nothing to complain of at its end."""
    try:
        stream.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _say(arguments: list[str], out: Printable) -> int:
    """Run a command that prints for people, and return its exit status."""
    with redirect_stdout(out):
        return _run(arguments).status


def _answer(arguments: list[str], out: Printable) -> int:
    """Run a command, print one JSON object, and return the exit status."""
    began, text = perf_counter(), io.StringIO()
    with warnings_heard() as warnings, redirect_stdout(text):
        ended = _run(arguments)
    answer = ended.answer(text.getvalue(), warnings, perf_counter() - began)
    try:
        out.write(written_as_json(answer))
        out.flush()
    except BrokenPipeError:
        return EXIT_PIPE_CLOSED
    except OSError as error:
        return _report_error(error, debug="--debug" in arguments).status
    return ended.status


def _run(arguments: list[str]) -> Ended:
    """Run a command and return how it ended."""
    name, result = "", None
    try:
        Path.cwd()  # libraries end the process where it is gone
        name, rest = _split_command(arguments)
        result = _dispatch(name, rest)
        sys.stdout.flush()
        if result is not None and result.failure is not None:
            raise result.failure
    except SystemExit as stop:  # argparse ends --help and --print-config this way
        return Ended(command=name, status=stop.code if isinstance(stop.code, int) else 0)
    except KeyboardInterrupt as stop:
        resumes = name in COMMANDS and COMMANDS[name].resumes
        note = "run the same command again to continue" if resumes else "nothing was written"
        status = 128 + stop.number if isinstance(stop, Stopped) else EXIT_INTERRUPTED
        return _report(f"interrupted: {note}", status, name, "Interrupted")
    except BrokenPipeError:
        return Ended(command=name, status=EXIT_PIPE_CLOSED)
    except Exception as error:
        return _report_error(error, "--debug" in arguments, name, result)
    return Ended(command=name, status=0, result=result)


def _split_command(arguments: list[str]) -> tuple[str, list[str]]:
    """Return the command's name (empty if there is none) and its arguments.

    Switches may stand before the command: ``stemdist --quiet info DATA``.
    """
    place = next((i for i, text in enumerate(arguments) if not text.startswith("-")), None)
    if place is None:
        return "", arguments
    before, after = arguments[:place], arguments[place:]
    for length in (2, 1):
        name = " ".join(after[:length])
        if name in COMMANDS:
            return name, [*after[length:], *before]
    group = [name for name in COMMANDS if name.startswith(f"{after[0]} ")]
    if group:
        _unknown_action(after, group)
    raise _unknown_command(after[0])


def _unknown_action(words: list[str], group: list[str]) -> NoReturn:
    choices = " | ".join(name.split()[1] for name in group)
    if len(words) > 1 and words[1] in ("-h", "--help"):
        lines = (f"  stemdist {name:18} {COMMANDS[name].summary}" for name in group)
        print(f"usage: stemdist {words[0]} {{{choices.replace(' | ', ',')}}} ...\n")
        print("\n".join(lines))
        raise SystemExit(0)
    close = difflib.get_close_matches(words[1], choices.split(" | "), n=1) if words[1:] else []
    question = f": did you mean 'stemdist {words[0]} {close[0]}'?" if close else ""
    raise StemdistError(f"'stemdist {words[0]}' needs one of {choices}{question}")


def _unknown_command(name: str) -> StemdistError:
    choices = list(dict.fromkeys(command.split()[0] for command in COMMANDS))
    close = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    question = f" did you mean {close[0]!r}?" if close else ""
    return StemdistError(f"unknown command {name!r}:{question} Choose from: {', '.join(choices)}")


def _dispatch(name: str, arguments: list[str]) -> Result | None:
    if name:
        return COMMANDS[name].run(name, arguments)
    if "--version" in arguments:
        print(f"stemdist {version('stemdist')}")
    elif not arguments or "-h" in arguments or "--help" in arguments:
        print(_overview())
    else:
        raise StemdistError(f"unknown option {arguments[0]!r} without a command: see stemdist -h")
    return None


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = (f"  {name:{width}} {command.summary}" for name, command in COMMANDS.items())
    listing = "\n".join(lines)
    return f"""usage: stemdist COMMAND ... [--json] [--quiet] [--verbose] [--debug]
       stemdist COMMAND --help | stemdist --version

Distil spatio-temporal data sets along time and space: a NetCDF, Zarr, GRIB or CSV file in, a
tiny training set out, on which forecasters train in seconds.

commands:
{listing}

example:
  stemdist distill traffic-sim
  stemdist train traffic-sim.distilled.nc --forecaster mlp -o traffic-mlp
  stemdist predict traffic-mlp traffic-sim -o forecast.nc"""


def _report_error(
    error: Exception, debug: bool, name: str = "", result: Result | None = None
) -> Ended:
    if debug:
        traceback.print_exception(error)
    return _report(*said_of(error, debug=debug), name, type(error).__name__, result)


def _report(
    message: str, status: int, name: str, error: str, result: Result | None = None
) -> Ended:
    with suppress(OSError, ValueError):  # standard error may be full or closed
        print(f"stemdist: {printable(message)}", file=sys.stderr)
    message = message.removeprefix("error: ")
    return Ended(command=name, status=status, result=result, error=error, message=message)
