"""Files of results are checked line by line, and a page is made of those without a fault."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from pathlib import Path

import jsonschema
import pytest

from stemdist.cli import main
from stemdist.evaluate.leaderboard.board import boards_of, markdown_of
from stemdist.evaluate.leaderboard.check import check_files

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = json.loads((ROOT / "docs/schemas/leaderboard-1.json").read_text())
OWN = sorted((ROOT / "benchmarks" / "leaderboard").glob("*.json"))

PROTOCOL = {
    "budget": "equal",
    "updates": [600],
    "batch_windows": 32,
    "learning_rates": [0.005, 0.001],
    "forecasters": ["linear", "mlp"],
    "held_out": 0.0,
}


def result(forecaster, distilled, full=(0.5, 0.5), data="traffic-sim", ratio="0.1x0.1"):
    excess = (sum(distilled) / len(distilled)) / (sum(full) / len(full)) - 1
    return {
        "data": data,
        "task": "ab" * 32,
        "ratio": ratio,
        "forecaster": forecaster,
        "seeds": list(range(len(distilled))),
        "relative_rmse": {"distilled": list(distilled), "full": list(full), "untrained": 0.56},
        "excess": round(excess, 6),
    }


def entry(method="invented", **changes):
    return {
        "schema": 1,
        "method": method,
        "description": "windows drawn with dice",
        "how": "by hand",
        "authors": "A. Stranger",
        "link": "https://example.org/paper",
        "protocol": PROTOCOL,
        "results": [result("linear", (0.55, 0.57)), result("mlp", (0.51, 0.53))],
        **changes,
    }


def written(folder, name, content):
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
    return path


def faults_of(*paths):
    return [str(fault) for fault in check_files(paths)[1]]


def test_a_good_file_has_no_fault(tmp_path):
    good = entry()
    jsonschema.validate(good, SCHEMA)
    path = written(tmp_path, "good.json", good)
    assert check_files([path]) == ([good], [])
    assert faults_of(written(tmp_path, "tabs.json", json.dumps(good, indent="\t"))) == []


def changed(place, value):
    """A file in which one value is another one; DELETED removes it."""
    content = deepcopy(entry())
    inside = content
    for key in place[:-1]:
        inside = inside[key]
    if value is DELETED:
        del inside[place[-1]]
    else:
        inside[place[-1]] = value
    return content


DELETED = object()
ERRORS = ("results", 1, "relative_rmse")


@pytest.mark.parametrize(
    ("place", "value", "text"),
    [
        (("method",), DELETED, "method is missing"),
        ((*ERRORS, "untrained"), DELETED, "results[1].relative_rmse.untrained is missing"),
        (("schema",), 2, "schema is 2: it must be 1, the version"),
        (("method",), "a b", 'method is "a b": it must be letters'),
        (("metod",), "x", "metod is no field of this form: did you mean 'method'?"),
        (("link",), "ftp://x", 'link is "ftp://x": it must be an http(s) address'),
        (("protocol", "updates"), [], "protocol.updates is []: it must be a list of at least"),
        (("protocol", "updates"), [6, 6], "protocol.updates has 6 twice"),
        (("protocol", "held_out"), 1.5, "protocol.held_out is 1.5: it must be a share"),
        ((*ERRORS, "full"), [0.5, float("nan")], "relative_rmse.full[1] is NaN: it must be a"),
        ((*ERRORS, "distilled", 1), -0.5, "distilled[1] is -0.5: it must be a number above 0"),
        ((*ERRORS, "distilled", 1), "0.5", 'distilled[1] is "0.5": it must be a number above 0'),
        ((*ERRORS, "full"), 0.5, "relative_rmse.full is 0.5: it must be a list"),
        (ERRORS, [1], "results[1].relative_rmse is [1]: it must be an object in braces"),
        (("results", 1, "excess"), float("inf"), "results[1].excess is Infinity"),
        (("results", 1, "ratio"), "0.10x0.1", 'ratio is "0.10x0.1": it must be shares'),
        (("results", 1, "ratio"), "10%", 'ratio is "10%": it must be shares'),
        (("results", 1, "task"), "abc", "results[1].task"),
        (("results", 1, "seeds"), [0, 0], "results[1].seeds has 0 twice"),
        (("results", 1, "data"), "trafic-sim", "unknown data set 'trafic-sim': did you mean 'tr"),
        (("results", 1, "data"), "mars", "unknown data set 'mars': `stemdist catalogue list`"),
        (("results", 1, "excess"), 0.05, "the excess is 0.05, but that of the errors is 0.0400"),
        (("results", 1, "seeds"), [0, 1, 2], "there are 2 errors for 3 seeds"),
        (("results", 1, "forecaster"), "gru", "the forecaster 'gru' is not among protocol"),
        (("results", 1, "forecaster"), "linear", "has a result already: results[0]"),
    ],
)
def test_what_is_wrong_is_shown_with_its_line(tmp_path, place, value, text):
    path = written(tmp_path, "bad.json", changed(place, value))
    found = faults_of(path)
    fault = next(fault for fault in found if text in fault)
    number = int(fault.removeprefix(f"{path}:").partition(":")[0])
    shown = path.read_text().splitlines()[number - 1]
    if value is DELETED or "already" in text:  # the line of the object
        assert shown.rstrip().endswith("{")
    elif not isinstance(value, list):
        assert json.dumps(value) in shown


def test_the_line_is_exact(tmp_path):
    content = json.dumps(changed((*ERRORS, "untrained"), -1), indent=1)
    path = written(tmp_path, "bad.json", content)
    (number,) = (i for i, line in enumerate(content.splitlines(), 1) if '"untrained": -1' in line)
    (fault,) = faults_of(path)
    assert fault.startswith(f"{path}:{number}: results[1].relative_rmse.untrained is -1")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ('{\n"schema": 1,\n"method" "x"}', ":3: this is not JSON: Expecting ':' delimiter"),
        ("", ":1: this is not JSON"),
        ("[1]", ":1: the file is [1]: it must be an object in braces"),
        ('{"schema": 1,\n"schema": 1}', ":2: schema is given twice"),
        ("[" * 100000, "nested too deeply"),
    ],
)
def test_what_is_no_such_file(tmp_path, content, text):
    assert any(text in fault for fault in faults_of(written(tmp_path, "x.json", content)))


def test_all_faults_are_shown_in_order(tmp_path):
    content = changed((*ERRORS, "full"), [-1, float("nan")])
    content["how"] = ""
    found = faults_of(written(tmp_path, "bad.json", content))
    lines = [int(re.search(r"json:(\d+):", fault)[1]) for fault in found]
    assert len(found) == 3
    assert lines == sorted(lines)


def test_a_missing_forecaster_is_named(tmp_path):
    path = written(tmp_path, "x.json", entry(results=[result("linear", (0.55, 0.57))]))
    assert any("traffic-sim, 0.1x0.1 has no result for mlp" in fault for fault in faults_of(path))


def test_files_are_checked_together(tmp_path):
    one = written(tmp_path, "one.json", entry())
    again = written(tmp_path, "again.json", entry())
    (fault,) = faults_of(one, again)
    assert fault == f"{again}:3: 'invented' has results with this protocol already, in {one}"
    other = entry("other")
    for each in other["results"]:
        each["task"] = "cd" * 32
    found = faults_of(one, written(tmp_path, "other.json", other))
    assert len(found) == 2
    assert "the task of traffic-sim is another one than in" in found[0]
    longer = entry(protocol={**PROTOCOL, "updates": [2000]})
    assert faults_of(one, written(tmp_path, "longer.json", longer)) == []


def test_a_second_method_joins_by_one_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "results"
    folder.mkdir()
    written(folder, "good.json", entry("good", results=[
        result("linear", (0.49, 0.49)), result("mlp", (0.51, 0.51)),
        result("linear", (0.6, 0.6), ratio="0.01x0.1"),
        result("mlp", (0.6, 0.6), ratio="0.01x0.1"),
    ]))  # fmt: skip
    assert main(["leaderboard", "build", "results", "-o", "board.md"]) == 0
    before = (tmp_path / "board.md").read_text()
    assert "invented" not in before

    written(folder, "invented.json", entry())
    assert main(["leaderboard", "build", "results", "-o", "board.md"]) == 0
    lines = (tmp_path / "board.md").read_text().splitlines()
    table = [line for line in lines if line.startswith("| ")][:3]
    assert table == [
        "| method | mean | traffic-sim, 0.1x0.1 | traffic-sim, 0.01x0.1 | seeds |",
        "| good | +10.0 | +0.0 | +20.0 ! | 2 |",
        "| invented | - | +8.0 | - | 2 |",
    ]
    assert "| invented | windows drawn with dice | by hand | A. Stranger | https:" in "\n".join(
        lines
    )

    assert main(["leaderboard", "build", "results", "-o", "board.html"]) == 0
    html = (tmp_path / "board.html").read_text()
    assert "invented" in html
    assert re.findall(r'(?:src|href)="https?:', html) == []
    written(folder, "broken.json", "{")
    assert main(["leaderboard", "build", "results", "-o", "board.md"]) == 2
    assert "broken.json:1: this is not JSON" in capsys.readouterr().err
    assert (tmp_path / "board.md").read_text().splitlines() == lines


def test_a_benchmark_writes_a_file_without_a_fault(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STEMDIST_CACHE", str(tmp_path / "cache"))
    line = (
        "benchmark weather-sim --methods random --references full --ratios 0.05x0.1 --seeds 2 "
        "--forecasters linear --updates 4 --learning-rates 0.005 --submit random.json"
    )
    assert main(line.split()) == 0
    ((found,), faults) = check_files(["random.json"])
    assert faults == []
    jsonschema.validate(found, SCHEMA)
    assert found["description"] == "--method random of stemdist"
    assert found["results"][0]["seeds"] == [0, 1]
    capsys.readouterr()
    assert main(line.split()) == 0  # its own file is replaced, with the same content
    assert check_files(["random.json"])[0] == [found]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ("traffic-sim", "a submission is of one method"),
        ("traffic-sim --methods default --shares 1.0,0.5", "leave out --shares"),
        ("traffic-sim --methods default --references random", "add full to --references"),
        ("mine.nc --methods default", "data sets of the catalogue, not mine"),
    ],
)
def test_what_cannot_be_submitted_is_refused_before_work(
    options, text, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main([*f"benchmark {options} --submit x.json".split()]) == 2
    assert text in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_foreign_texts_cannot_write_the_page(tmp_path):
    text = markdown_of([entry(description="a | b <script>\n# c")])
    assert "<script>" not in text
    assert "\n# c" not in text


def test_a_protocol_has_a_table_of_its_own():
    held = {**PROTOCOL, "held_out": 0.2, "budget": "converged", "updates": [600, 2000]}
    boards = boards_of([entry(protocol=held), entry("a"), entry("b")])
    assert [len(board.entries) for board in boards] == [2, 1]
    assert boards[1].title == (
        "linear, mlp: trained until converged, 600 or 2,000 updates of 32 windows, "
        "20 % of the locations held out"
    )


def test_the_commands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    written(tmp_path, "good.json", entry())
    written(tmp_path, "bad.json", changed(("excess",), 1))
    assert main(["leaderboard", "check", "good.json"]) == 0
    assert "invented  2 results" in capsys.readouterr().out
    assert main(["leaderboard", "check", "good.json", "bad.json"]) == 2
    printed = capsys.readouterr()
    assert "bad.json:" in printed.out
    assert "1 fault in 2 files, the first: bad.json:" in printed.err
    assert main(["leaderboard", "check", "no.json"]) == 2
    assert "cannot read 'no.json'" in capsys.readouterr().err
    assert main(["leaderboard", "build", str(tmp_path / "empty"), "-o", "b.md"]) == 2
    assert "there is no .json file of results" in capsys.readouterr().err


def test_the_projects_own_results():
    assert OWN
    entries, faults = check_files(OWN)
    assert faults == []
    for each in entries:
        jsonschema.validate(each, SCHEMA)
    page = (ROOT / "docs" / "leaderboard.md").read_text(encoding="utf-8")
    build = "stemdist leaderboard build benchmarks/leaderboard -o board.md"
    assert markdown_of(entries).strip() in page, f"copy what `{build}` writes"
