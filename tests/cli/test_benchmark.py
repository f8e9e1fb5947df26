"""``stemdist benchmark``: several files, options, results, and what happens when a job fails."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from cli_cases import Run, weather

FAST = json.dumps(
    {
        "expert_seeds": 1,
        "extra_experts": 0,
        "judge_seeds": 1,
        "judging": {"updates": 3},
        "expert_training": {"updates": 4},
        "experts": ["linear"],
        "judges": ["linear"],
        "synthesizer_options": {"iterations": 1, "steps": 1, "networks": 1},
    },
    separators=(",", ":"),
)
LINE = (
    "benchmark w.nc v.nc --methods default --surrogates linear --ratios 0.2x0.3 "
    "--forecasters linear --seeds 2 "
    f"--updates 4 --learning-rates 0.005 --lookback 4 --horizon 3 --distill {FAST}"
)


@pytest.fixture
def files(tmp_path: Path) -> None:
    for seed, name in enumerate(("w.nc", "v.nc")):
        (weather() + seed).to_netcdf(tmp_path / name)


def test_two_files_and_their_results(run: Run, files: None) -> None:
    outcome = run(f"{LINE} -o results --quiet")
    assert (outcome.status, outcome.err) == (0, "")
    for part in (
        "excess, by data set",
        "against random windows",
        "breaks even after",
        "excess.png",
    ):
        assert part in outcome.out
    table = pd.read_csv("results/table.csv", keep_default_na=False)
    assert set(table["data"]) == {"w", "v"}
    assert set(table["split"]) == {"100%"}
    assert {"default", "full data", "random windows"} <= set(table["method"])
    assert Path("results/excess.png").stat().st_size > 0
    assert "<h1>Benchmark: w, v</h1>" in Path("results/report.html").read_text()
    assert len(list(Path("results/sets").glob("*.nc"))) == 2 * (2 + 1)
    again = run(f"{LINE} -o results --quiet")
    assert again.out == outcome.out


def test_a_failure_is_an_error_at_the_end(
    run: Run, files: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stemdist.evaluate.grid import jobs

    def broken(*args: object) -> None:
        raise ValueError("no spectrum")

    monkeypatch.setattr(jobs, "fidelity", broken)
    outcome = run(f"{LINE} --seeds 1 --references full --quiet")
    assert outcome.status == 2
    assert "excess, mean over all" in outcome.out  # the references are there
    assert "2 failed" in outcome.out
    assert "2 of the benchmark's jobs failed, the first: w 100% 0.2x0.3: default" in outcome.err
    assert "no spectrum" in outcome.err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("benchmark", "needs DATA ..."),
        ("benchmark w.nc --seeds 2 w.nc", "two data sets are called 'w'"),
        ("benchmark w.nc --methods stemdst", "did you mean 'stemdist'"),
        ("benchmark w.nc --ratios 0.1", "give the shares of time and space"),
        ("benchmark w.nc --shares 0.5,2", "share is 2"),
        ("benchmark w.nc --metric correlation", "unknown error 'correlation'"),
        ("benchmark w.nc --hold-out 1", "above 0 and below 1"),
        ("benchmark w.nc --hold-out-pattern region", "no locations are held out"),
        ("benchmark no.nc", "there is no file 'no.nc'"),
    ],
)
def test_bad_input(line: str, message: str, run: Run, files: None) -> None:
    outcome = run(line)
    assert outcome.status == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
