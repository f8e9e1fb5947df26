"""``stemdist tune``: from a set or a file to a configuration that ``train`` takes, and mistakes."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml

from stemdist.forecast import FittedForecaster

FEW = "--forecasters linear,mlp --trials 3 --updates 4 --final-updates 6 --quiet"


def test_from_a_set_to_the_winner_trained_on_everything(run, made):
    line = f"tune {made}/w.distilled.nc --data {made}/w.nc {FEW} --finalists 1 -o study"
    outcome = run(line)
    assert outcome.status == 0, outcome.err
    assert "trials      3" in outcome.out
    assert "after training on the full data" in outcome.out
    best = yaml.safe_load(Path("study/best.yaml").read_text())
    assert len(pd.read_csv("study/trials.csv")) == 3
    again = run(line)  # nothing is left to do
    assert yaml.safe_load(Path("study/best.yaml").read_text()) == best
    assert again.out.partition("time")[0] == outcome.out.partition("time")[0]
    assert run(f"train {made}/w.nc --from study -o final --quiet").status == 0
    fitted = FittedForecaster.load("final")
    assert fitted.name == best["forecaster"]
    assert fitted.record["updates"] == 6
    chosen = run(f"train {made}/w.nc --from study --updates 2 -o shorter --quiet")
    assert chosen.status == 0, chosen.err
    assert FittedForecaster.load("shorter").record["updates"] == 2


def test_a_file_is_distilled_first_and_only_once(run, made, monkeypatch):
    line = f"tune {made}/w.nc --lookback 4 --horizon 3 {FEW} --trials 1 -o study"
    assert run(line).status == 0

    def fail(*args, **kwargs):
        raise AssertionError("distilled again")

    monkeypatch.setattr("stemdist.distill.distill", fail)
    outcome = run(f"{line} --trials 2")
    assert outcome.status == 0, outcome.err
    assert len(pd.read_csv("study/trials.csv")) == 2


def test_a_study_is_not_held(run, made, monkeypatch):
    """The same command in another process works on the same study instead of waiting."""
    from stemdist import files

    held, locked = [], files.locked

    def noted(path, *args):
        held.append(Path(path).name)
        return locked(path, *args)

    monkeypatch.setattr("stemdist.cli.outputs.locked", noted)
    line = f"tune {made}/w.distilled.nc --data {made}/w.nc {FEW} -o study"
    assert run(line).status == 0
    assert held == []


def test_search_spaces_are_printed_and_read(run, made):
    printed = run("tune anything --forecasters linear,mlp --print-space")
    space = yaml.safe_load(printed.out)
    assert space["mlp"]["hidden"] == [16, 32, 64, 128, 256]
    space["mlp"]["hidden"] = [8]
    Path("space.yaml").write_text(yaml.safe_dump(space))
    line = f"tune {made}/w.distilled.nc --data {made}/w.nc {FEW} --space space.yaml -o study"
    outcome = run(line)
    assert outcome.status == 0, outcome.err
    table = pd.read_csv("study/trials.csv")
    assert set(table.query("forecaster == 'mlp'")["hidden"]) == {8}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("tune {made}/w.nc --data {made}/w.nc", "--data is for a distilled set"),
        ("tune {made}/w.distilled.nc --data {made}/w.nc --lookback 3", "--lookback: no use here"),
        ("tune {made}/w.nc --sampler tpee", "'tpee': did you mean 'tpe'"),
        ("tune {made}/w.nc --space none.yaml", "the search space 'none.yaml' cannot be read"),
        ("tune {made}/w.nc --time soon -o new", "'soon' is no time span"),
        ("train {made}/w.nc --from nowhere", "there is no best.yaml in 'nowhere': give the folder"),
        ("train {made}/w.nc --from", "--from needs a value"),
    ],
)
def test_mistakes_cost_nothing(run, made, line, message):
    outcome = run(line.format(made=made))
    assert outcome.status == 2
    assert message in outcome.err


def test_evaluate_ranks_configurations(run, made):
    line = (
        f"evaluate {made}/w.distilled.nc --data {made}/w.nc --forecasters linear --seeds 1 "
        "--references full,distilled --updates 4 --ranking --configurations 3 -o ranked --quiet"
    )
    outcome = run(line)
    assert outcome.status == 0, outcome.err
    assert "The distilled set orders 3 configurations" in outcome.out
    assert len(pd.read_csv("ranked/ranking.csv")) == 12  # of 4 methods
    assert "Order of configurations" in Path("ranked/report.html").read_text()
