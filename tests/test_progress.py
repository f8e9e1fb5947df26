"""Progress: bars on a terminal and in notebooks, lines of a log elsewhere."""

import logging
import subprocess
import sys
import types

import dask
import pytest
from joblib import delayed

from stemdist import progress
from stemdist.data.survey import progress_bar
from stemdist.progress import Lines, bar
from stemdist.scheduling import results_of


@pytest.fixture
def said(caplog):
    """What is logged at INFO, as texts, with seconds left out."""
    caplog.set_level(logging.INFO, logger="stemdist.progress")

    def texts():
        return [record.getMessage().rpartition(" in ")[0] or record.getMessage()
                for record in caplog.records]  # fmt: skip

    return texts


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""
    now = types.SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now.seconds)
    return now


@pytest.fixture
def terminal(monkeypatch):
    """Standard error, as a terminal."""
    monkeypatch.setattr(progress, "on_terminal", lambda: True)


def test_a_stage_says_when_it_begins_and_ends(said):
    assert list(bar(range(3), "train", unit="update", progress=None)) == [0, 1, 2]
    assert said() == ["train: starting (3 updates)", "train: ended, 3 updates"]


def test_seconds_are_in_the_last_line(clock, caplog):
    caplog.set_level(logging.INFO, logger="stemdist.progress")
    with Lines(title="a", total=1, unit="run") as lines:
        clock.seconds = 2.25
        lines.update()
    with Lines(title="b", unit="run") as lines:
        clock.seconds += 90
    texts = [record.getMessage() for record in caplog.records]
    assert texts[1] == "a: ended, 1 run in 2.2 s"
    assert texts[3] == "b: ended, 0 runs in 1.5 min"


def test_at_most_two_lines_a_minute_while_it_goes_on(said, clock):
    with Lines(title="distill", total=200, unit="iteration") as lines:
        for _ in range(100):
            clock.seconds += 1
            lines.set_postfix(loss=f"{clock.seconds:.0f}")
            lines.update()
    assert said() == [
        "distill: starting (200 iterations)",
        "distill: 30 of 200 iterations after 30.0 s, loss 30",
        "distill: 60 of 200 iterations after 1.0 min, loss 60",
        "distill: 90 of 200 iterations after 1.5 min, loss 90",
        "distill: ended, 100 of 200 iterations",
    ]


def test_what_was_done_before_is_told_and_what_is_all_done_is_not(said):
    list(bar(range(1, 3), "train", 3, initial=1, unit="update", progress=None))
    list(bar([], "train", 3, initial=3, unit="update", progress=None))
    assert said() == ["train: starting (3 updates), 1 are done", "train: ended, 3 updates"]


def test_a_loop_that_is_left_says_how_far_it_came(said):
    for number in bar(range(9), "train", unit="update", progress=None):
        if number == 4:
            break
    assert said()[-1] == "train: ended, 4 of 9 updates"


def test_nothing_is_logged_without_progress_or_with_a_bar(said, terminal, capsys):
    list(bar(range(3), "train", unit="update", progress=False))
    assert capsys.readouterr().err == ""
    list(bar(range(3), "train", unit="update", progress=None))
    list(bar(range(3), "learn", unit="update", progress=True))
    shown = capsys.readouterr().err
    assert "train:" in shown
    assert "learn:" in shown
    assert said() == []


def test_a_bar_is_shown_on_request_without_a_terminal(said, capsys):
    list(bar(range(3), "train", unit="update", progress=True))
    assert "train:" in capsys.readouterr().err
    assert said() == []


def test_a_notebook_has_bars(monkeypatch, said, capsys):
    shell = types.SimpleNamespace(config={"IPKernelApp": {}})
    module = types.SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", module)
    assert progress.in_notebook()
    list(bar(range(3), "train", unit="update", progress=None))
    assert "train:" in capsys.readouterr().err
    assert said() == []
    monkeypatch.setattr(module, "get_ipython", lambda: None)
    assert not progress.in_notebook()


def test_passes_of_dask_and_jobs_are_stages(said):
    with progress_bar("statistics", None):
        assert dask.delayed(sum)([1, 2]).compute(scheduler="sync") == 3
    jobs = [delayed(abs)(-1), delayed(abs)(-2)]
    assert list(results_of(jobs, 1, "search", unit="run", progress=None)) == [1, 2]
    texts = said()
    assert texts[0].startswith("statistics: starting (")
    assert texts[1].startswith("statistics: ended, ")
    assert texts[2:] == ["search: starting (2 runs)", "search: ended, 2 runs"]


def test_megabytes():
    lines = Lines(title="a.zip", total=3_400_000, unit="B")
    assert lines.how_far == "0.0 of 3.4 MB"
    lines.update(1_250_000)
    assert lines.how_far == "1.2 of 3.4 MB"


NOTEBOOK = """
import sys, types
shell = types.SimpleNamespace(config={"IPKernelApp": {}})
sys.modules["IPython"] = types.SimpleNamespace(get_ipython=lambda: shell, __spec__=None)
sys.modules["ipykernel.zmqshell"] = types.ModuleType("zmqshell")
sys.modules["ipywidgets"] = None  # not installed
sys.modules["IPython.html"] = sys.modules["IPython.display"] = None
from stemdist.data.survey import progress_bar
from stemdist.progress import bar
progress_bar("statistics", None)
list(bar(range(3), "train", unit="update", progress=None))
"""


def test_a_notebook_without_widgets_has_bars_of_text_and_no_warning():
    def printed(program):
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stderr

    shown = printed(NOTEBOOK)
    assert "train:" in shown
    assert "Warning" not in shown
    warned = printed(NOTEBOOK.replace("from stemdist", "import tqdm.auto\nfrom stemdist", 1))
    assert "TqdmWarning: IProgress not found" in warned  # which tqdm says where it is not kept off
