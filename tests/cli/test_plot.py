import sys
from pathlib import Path

import pandas as pd
import pytest

PNG = b"\x89PNG\r\n\x1a\n"


def write_table(folder):
    Path(folder).mkdir()
    rows = [("full", "mlp", 0, 0.4), ("distilled", "mlp", 0, 0.5), ("persistence", "", 0, 0.6)]
    names = ["method", "forecaster", "seed", "relative_rmse"]
    pd.DataFrame(rows, columns=names).to_csv(f"{folder}/table.csv", index=False)


def test_a_distilled_set_becomes_a_picture(run, made):
    outcome = run(f"plot {made}/w.distilled.nc")
    assert outcome.status == 0
    assert "written  w.distilled.png" in outcome.out
    assert Path("w.distilled.png").read_bytes().startswith(PNG)


def test_real_windows_are_drawn_beside_on_request(run, made):
    assert run(f"plot {made}/w.distilled.nc -o alone.png").status == 0
    outcome = run(f"plot {made}/w.distilled.nc --data {made}/w.nc -o beside.png")
    assert outcome.status == 0
    assert "next" not in outcome.out
    headers = [Path(name).read_bytes()[16:20] for name in ("alone.png", "beside.png")]
    widths = [int.from_bytes(width, "big") for width in headers]
    assert widths == [1600, 2100]


def test_the_way_to_real_windows_is_suggested(run, made):
    outcome = run(f"plot {made}/w.distilled.nc")
    assert "--data" in outcome.out.partition("next")[2]


@pytest.mark.parametrize("source", ["w.evaluation", "w.evaluation/table.csv"])
def test_a_comparison_becomes_a_picture(source, run):
    write_table("w.evaluation")
    assert run(f"plot {source}").status == 0
    assert Path("w.evaluation.png").read_bytes().startswith(PNG)


CASES = [
    ("plot w.distilled.nc", "there is no distilled file 'w.distilled.nc'"),
    ("plot results", "`stemdist evaluate` writes it at its end"),
    ("plot w.csv", "there is no table 'w.csv'"),
    ("plot w.csv -o w.bmp", "'w.bmp' must end in .png or .svg or .pdf, e.g. w.png"),
    ("plot w.csv --data w.nc", "--data is for a distilled set, and 'w.csv' is a comparison"),
    ("plot w.csv --start 2020-01-01", "--start: no use here, because the data of a comparison"),
    ("plot w.distilled.nc --variables a", "--variable: no use here, because the distilled set"),
    ("plot w.csv --metric rmsee", "unknown error 'rmsee': did you mean 'rmse'?"),
]


@pytest.mark.parametrize(("line", "message"), CASES)
def test_what_cannot_be_drawn_is_one_clear_line(line, message, run):
    Path("results").mkdir()
    outcome = run(line)
    assert outcome.status == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert [path.name for path in Path().iterdir()] == ["results"]


def test_without_matplotlib(run, monkeypatch):
    write_table("results")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    outcome = run("plot results")
    assert outcome.status == 2
    assert 'pip install "stemdist[report]"' in outcome.err
