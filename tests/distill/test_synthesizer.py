from dataclasses import replace

import pytest
import torch
from sklearn.base import clone

from stemdist.distill import (
    SYNTHESIZERS,
    DistillationProblem,
    Synthesizer,
    make_synthesizer,
)
from stemdist.errors import InputError

OPTIONS = {"iterations": 3, "steps": 2, "epochs": 1, "batch_windows": 16, "learning_rate": 0.01}


@pytest.fixture(scope="module")
def problem(make_problem) -> DistillationProblem:
    return make_problem()


class Spoil(Synthesizer):
    """Makes every iterate worse."""

    def __init__(self, iterations=2):
        self.iterations = iterations

    def optimizer(self, tensors):
        return torch.optim.SGD(tensors, lr=1.0)

    def improve(self, problem, synthetic, generator):
        with torch.no_grad():
            x = synthetic.tensors[0]
            x.copy_(5 * torch.randn(x.shape, generator=generator))
        return 1.0


def test_never_worse_than_the_start(problem):
    spoilt = Spoil().fit(replace(problem, answer=None))
    assert torch.equal(spoilt.windows_.x, problem.start.x)
    assert spoilt.best_ == spoilt.history_[0]["validation"]
    assert all(row["validation"] > spoilt.best_ for row in spoilt.history_[1:])


def test_fixed_features_stay(problem):
    result = make_synthesizer("gradient-matching", **OPTIONS)
    result.fit(replace(problem, start=problem.start), seed=1)
    fixed = problem.n_learned
    assert torch.equal(result.windows_.x[..., fixed:], problem.start.x[..., fixed:])


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_labels_follow_the_inputs_by_a_share(problem, share):
    spoilt = Spoil(iterations=1)
    spoilt.relabel = share
    seen = []
    spoilt._judge = lambda problem, candidate, iteration, loss: seen.append(candidate)
    spoilt.fit(problem, seed=1)
    expected = torch.lerp(problem.start.y, problem.answer(seen[0]), share)
    assert torch.allclose(seen[0].y, expected)


class Count(Spoil):
    """Adds 1 to every input in each of two steps of an iteration."""

    relabel = 0.0

    def improve(self, problem, synthetic, generator):
        down = [-torch.ones_like(tensor) for tensor in synthetic.tensors]
        down[1].zero_()
        assert all(synthetic.step(down) for _ in range(2))
        return 1.0


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_iterates_are_running_means(problem, share):
    counted, seen = Count(iterations=2), []
    counted.average, counted.relabel = 0.75, share
    counted._judge = lambda problem, candidate, iteration, loss: seen.append(candidate)
    counted.fit(problem, seed=1)
    start, n = problem.start, problem.n_learned
    # the mean of 1, of 1 and 2, ..., each new one with a quarter, begun at 0
    for candidate, mean in zip(seen, (0.6875, 1.94921875), strict=True):
        assert torch.allclose(candidate.x[..., :n], start.x[..., :n] + mean, atol=1e-5)
        expected = problem.answer(candidate) if share else start.y
        assert torch.allclose(candidate.y, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("patience", "errors", "made"),
    [
        (2, [5, 4, 6, 6, 1], 3),
        (3, [5, 4, 6, 6, 1], 4),
        (1, [5, 6, 1], 1),
        (2, [5.0, 4.9, 4.4, 4.3, 4.2, 1.0], 4),  # 4.9 is no tenth lower than 5, 4.4 is
        (None, [5, 6, 7, 8], 3),
    ],
)
def test_patience(problem, tmp_path, monkeypatch, patience, errors, made):
    scores = iter(errors)
    monkeypatch.setattr(type(problem), "score", lambda problem, candidate: next(scores))
    spoilt = Spoil(iterations=len(errors) - 1)
    spoilt.patience, spoilt.tolerance = patience, 0.1
    spoilt.fit(problem, state=tmp_path / "run.state")
    assert [row["validation"] for row in spoilt.history_] == errors[: made + 1]
    again = Spoil(iterations=len(errors) - 1)
    again.patience, again.tolerance = patience, 0.1
    again.fit(problem, state=tmp_path / "run.state")  # it is finished: nothing is judged again
    assert again.history_[1:] == spoilt.history_[1:]


@pytest.mark.parametrize("stop_after", [1, 2])
def test_continues_exactly_where_it_was_stopped(problem, tmp_path, monkeypatch, stop_after):
    whole = make_synthesizer("gradient-matching", **OPTIONS).fit(problem, seed=5)
    state = tmp_path / "run.state"
    first = make_synthesizer("gradient-matching", **OPTIONS)
    improve, calls = type(first).improve, []

    def stops(self, *args):
        calls.append(1)
        if len(calls) > stop_after:
            raise KeyboardInterrupt
        return improve(self, *args)

    monkeypatch.setattr(type(first), "improve", stops)
    with pytest.raises(KeyboardInterrupt):
        first.fit(problem, seed=5, state=state)
    monkeypatch.setattr(type(first), "improve", improve)
    again = make_synthesizer("gradient-matching", **OPTIONS).fit(problem, seed=5, state=state)
    assert again.history_[1:] == whole.history_[1:]
    assert torch.equal(again.windows_.x, whole.windows_.x)
    assert torch.equal(again.windows_.y, whole.windows_.y)
    assert again.earlier_seconds_ > 0
    assert whole.earlier_seconds_ == 0


def test_same_seed_same_result(problem):
    options = {**OPTIONS, "iterations": 1}
    runs = [
        make_synthesizer("gradient-matching", **options).fit(problem, seed=s) for s in (1, 1, 2)
    ]
    assert runs[0].history_[1] == runs[1].history_[1]
    assert runs[0].history_[1]["loss"] != runs[2].history_[1]["loss"]


@pytest.mark.parametrize("name", SYNTHESIZERS.names())
def test_habits_of_scikit_learn(name):
    synthesizer = make_synthesizer(name)
    assert clone(synthesizer).get_params() == synthesizer.get_params()


def test_unknown_names():
    with pytest.raises(InputError, match="unknown synthesizer 'gradient-match': did you mean"):
        make_synthesizer("gradient-match")
    with pytest.raises(InputError, match="unknown option of synthesizer 'gradient-matching' 'iter"):
        make_synthesizer("gradient-matching", iteration=3)
