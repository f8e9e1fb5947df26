"""Help: the usual options on two screens, all of them on request, choices listed."""

from __future__ import annotations

import pytest
from cli_cases import QUICK_DISTILL

COMMANDS = ("distill", "train", "teach", "evaluate", "compare", "benchmark")
SCREEN = 50


def help_of(run, line):
    outcome = run(line)
    assert outcome.status == 0
    return " ".join(outcome.out.split()), outcome.out.splitlines()


@pytest.fixture(autouse=True)
def terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_on_two_screens_and_help_all_has_more(run, command):
    usual, lines = help_of(run, f"{command} --help")
    assert len(lines) <= 2 * SCREEN
    assert f"more options: stemdist {command} --help-all" in usual
    everything, more = help_of(run, f"{command} --help-all")
    assert len(more) > len(lines)
    assert "more options" not in everything
    assert all(line in more for line in lines if line.strip().startswith("--"))


def test_choices_are_listed(run):
    text, _ = help_of(run, "distill --help-all")
    assert "--clustering NAME how locations are clustered; one of kmeans, minibatch, ward," in text
    assert "--effort NAME" in text
    assert "one of quick, default, thorough" in text
    assert "one of mse, mae, huber (default: mse)" in text  # quantiles cannot be labels
    assert "one of auto, grid, knn, distance, correlation, adjacency, or of a plug-in" in text


@pytest.mark.parametrize(
    "option",
    ["--judging.patience 3", "--judging.validate-every 5", "--expert-training.quantiles .5"],
)
def test_options_without_effect_are_gone(run, made, option):
    outcome = run(f"distill {made}/w.nc {option}")
    assert outcome.status == 2
    assert f"unknown option '{option.split()[0]}'" in outcome.err


def test_wrong_choice_is_answered_with_the_right_ones(run, made):
    outcome = run(f"distill {made}/w.nc --clustering kmean")
    assert outcome.status == 2
    assert "did you mean 'kmeans'" in outcome.err
    outcome = run(f"distill {made}/w.nc --method mtt --effort quick")
    assert "effort is 'quick', which the method 'mtt' does not have: choose default" in outcome.err


def test_quick_effort_keeps_real_windows(run, made):
    options = QUICK_DISTILL.replace("--synthesizer selection", "")
    outcome = run(f"distill {made}/w.nc --effort quick {options} -o quick.nc")
    assert outcome.status == 0
    assert "experts         mlp 1.00" in outcome.out
    assert "final check" not in outcome.out


def test_earlier_names_are_understood(run, made):
    line = f"evaluate {made}/w.distilled.nc --data {made}/w.nc --methods ful"
    outcome = run(line)
    assert outcome.status == 2
    assert "--methods is called --references now" in outcome.err
    assert "did you mean 'full'" in outcome.err
    outcome = run(f"teach --data {made}/w.nc --recipe hints")
    assert "--recipe hints is called --method hints now" in outcome.err
