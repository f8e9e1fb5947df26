from dataclasses import replace

import pytest
import torch

from stemdist.distill import problem as module


def batches(problem, n=3):
    generator = torch.Generator().manual_seed(0)
    return [problem.real_batch(8, 5, generator) for _ in range(n)]


@pytest.mark.parametrize("labels", ["expert", "incremental"])
def test_answers_that_were_kept_are_those_that_are_asked_for(make_problem, monkeypatch, labels):
    problem = make_problem(labels=labels)
    kept = batches(problem)
    asked = []
    monkeypatch.setattr(module, "KEPT_ANSWERS", 0)
    other = replace(
        problem, answer=lambda windows: asked.append(len(windows)) or problem.answer(windows)
    )
    for (one, graph), (same, same_graph) in zip(kept, batches(other), strict=True):
        assert torch.equal(one.x, same.x)
        assert torch.allclose(one.y, same.y, atol=1e-5)
        assert one.mask.all()
        assert same.mask.all()
        assert torch.equal(one.profile, same.profile)
        assert torch.equal(graph.edge_index, same_graph.edge_index)
    assert asked == [8, 8, 8]  # windows of a batch, not the whole training part


def test_few_answers_are_asked_for_once(make_problem):
    problem = make_problem(labels="expert")
    asked = []
    once = replace(
        problem, answer=lambda windows: asked.append(len(windows)) or problem.answer(windows)
    )
    batches(once)
    assert asked == [len(problem.task.train)]


def test_without_experts_targets_are_observed(make_problem):
    problem = make_problem(labels="observed")
    for windows, _ in batches(problem):
        assert not windows.mask.all()  # the data have gaps
        assert (windows.y[windows.mask == 0] == 0).all()


def test_who_sees_each_location_alone_gets_the_same_windows_and_no_graph_between_them(make_problem):
    problem = make_problem(labels="expert")
    (batch, graph), (same, other) = (
        problem.real_batch(8, 5, torch.Generator().manual_seed(0), pointwise=pointwise)
        for pointwise in (False, True)
    )
    assert graph.num_nodes == 5
    assert other is problem.graph
    for name in ("x", "y", "mask", "weight", "profile"):
        assert torch.equal(getattr(batch, name), getattr(same, name))


@pytest.mark.parametrize("better", ["start", "result"])
def test_finalists_are_judged_longer_by_others(make_problem, monkeypatch, better):
    problem = replace(make_problem(), judge_seeds=9)
    result = replace(problem.start, x=problem.start.x + 1)
    trained = []

    def fit(family, windows, graph, training, device):
        trained.append((training.updates, training.batch_windows, training.seed))
        is_result = bool((windows.x != problem.start.x).any())
        return 2.0 - (is_result == (better == "result")), None

    monkeypatch.setattr(module, "fit_windows", fit)
    monkeypatch.setattr(module, "mean_error", lambda error, *rest, **more: error)
    kept, errors = problem.better_of_finalists(problem.start, result)
    assert torch.equal(kept.x, {"start": problem.start, "result": result}[better].x)
    assert errors[better] < errors["result" if better == "start" else "start"]
    usual, first = problem.judging, problem.judging.seed + 9  # those before it chose the result
    longer, wider = 16 * usual.updates, 2 * usual.batch_windows
    assert trained == [(longer, wider, first + i) for i in (0, 1)] * 2


def test_the_start_itself_is_not_judged_again(make_problem, monkeypatch):
    problem = make_problem()
    monkeypatch.setattr(module, "fit_windows", None)
    assert problem.better_of_finalists(problem.start, problem.start) == (problem.start, None)
