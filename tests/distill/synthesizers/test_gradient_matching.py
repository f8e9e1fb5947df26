from dataclasses import replace

import pytest
import torch

from stemdist.distill import DistillationProblem
from stemdist.distill.parametrisation import encode
from stemdist.distill.synthesizer import SyntheticState
from stemdist.distill.synthesizers.gradient_matching import (
    GradientMatching,
    gradient_distance,
)
from stemdist.distill.synthesizers.subsets import ClusterSubset
from stemdist.errors import InputError
from stemdist.forecast import make_forecaster


def test_distance_by_hand():
    real = [torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([1.0, 2.0])]
    same = [2 * g for g in real]
    assert gradient_distance(real, same).item() == pytest.approx(0.0, abs=1e-5)
    # rows: cosine of (3, 4) and (4, 3) is 24 / 25; of (1, 0) and (-1, 0) is -1
    other = [torch.tensor([[4.0, 3.0], [-1.0, 0.0]]), torch.tensor([-5.0, 0.0])]
    assert gradient_distance(real, other).item() == pytest.approx(1 / 25 + 2, abs=1e-5)


def test_rows_of_a_convolution():
    real = torch.zeros(1, 2, 1, 2)
    real[0, 0, 0, 0] = 1.0
    other = torch.zeros(1, 2, 1, 2)
    other[0, 1, 0, 1] = 3.0
    assert gradient_distance([real], [other]).item() == pytest.approx(1.0)


def test_one_dimensional_parameters_do_not_count():
    assert gradient_distance([torch.ones(3)], [-torch.ones(3)]).item() == 0.0


@pytest.fixture(scope="module")
def problem(make_problem) -> DistillationProblem:
    return make_problem(labels="observed", judges=("mlp",))


def surrogate_of(problem, family="mlp"):
    torch.manual_seed(0)
    start = problem.start
    options = {"dropout": 0.0} if family == "mtgnn" else {}
    return make_forecaster(
        family,
        lookback=start.lookback,
        horizon=start.horizon,
        n_features=start.n_features,
        **options,
    )


def distance(problem, matching, surrogate, subset, x, y, real):
    here = subset.index
    profile = x[:, :, here].mean(0).transpose(0, 1).flatten(1)
    synthetic = (x[:, :, here], y[:, :, here], problem.start.mask[:, :, here])
    found = matching._gradients(surrogate, subset, synthetic, profile, create_graph=True)
    return gradient_distance(real, found)


@pytest.mark.parametrize("family", ["linear", "mlp", "mtgnn"])
def test_gradient_on_the_inputs_agrees_with_finite_differences(problem, family):
    matching, surrogate = GradientMatching(), surrogate_of(problem, family).double()
    here = torch.tensor([0, 2])
    doubled = replace(
        problem,
        start=replace(
            problem.start,
            **{n: getattr(problem.start, n).double() for n in ("x", "y", "mask", "weight")},
        ),
    )
    subset = ClusterSubset.cut(doubled.graph, doubled.start.weight, here)
    x, y = encode(doubled).windows()
    batch = [t.double() for t in problem.real.batch(torch.arange(5), here)]
    real = matching._gradients(surrogate, subset, batch, problem.real.profile[here].double())
    value = distance(doubled, matching, surrogate, subset, doubled.inputs(x), y, real)
    gradient = torch.autograd.grad(value, [x, y])
    direction = torch.randn_like(x)
    step = 1e-6
    with torch.no_grad():
        moved = [x + sign * step * direction for sign in (1, -1)]
    up, down = (
        distance(doubled, matching, surrogate, subset, doubled.inputs(m), y, real).item()
        for m in moved
    )
    expected = (up - down) / (2 * step)
    assert (gradient[0] * direction).sum().item() == pytest.approx(expected, rel=1e-4, abs=1e-7)
    assert gradient[1].abs().sum() > 0


def test_clusters_outside_the_part_do_not_move(problem):
    matching = GradientMatching(batch_windows=8)
    parametrisation = encode(problem)
    x, y = parametrisation.tensors
    synthetic = SyntheticState(parametrisation, torch.optim.SGD([x, y], lr=1.0))
    before = x.detach().clone()
    subset = ClusterSubset.cut(problem.graph, problem.start.weight, torch.tensor([1]))
    generator = torch.Generator().manual_seed(0)
    matching._match(problem, synthetic, surrogate_of(problem), subset, generator)
    moved = (x.detach() != before).flatten(0, 1).any(dim=(0, 2))
    assert moved.tolist() == [k == 1 for k in range(x.shape[2])]


def test_matching_lowers_the_distance(problem):
    matching, surrogate = GradientMatching(learning_rate=1e-2), surrogate_of(problem)
    subset = ClusterSubset.cut(
        problem.graph, problem.start.weight, torch.arange(problem.start.n_locations)
    )
    parametrisation = encode(problem)
    synthetic = SyntheticState(parametrisation, matching.optimizer(parametrisation.tensors))
    values = [
        matching._match(problem, synthetic, surrogate, subset, torch.Generator().manual_seed(0))
        for _ in range(30)
    ]
    assert values[-1] < 0.9 * values[0]


def test_masked_targets_have_no_influence(problem):
    matching, surrogate = GradientMatching(), surrogate_of(problem)
    subset = ClusterSubset.cut(problem.graph, problem.start.weight, torch.tensor([0, 1]))
    x, y, mask = problem.real.batch(torch.arange(40), subset.index)
    assert mask.min() == 0
    profile = problem.real.profile[subset.index]
    spoilt = torch.where(mask > 0, y, torch.full_like(y, 1e3))
    one = matching._gradients(surrogate, subset, (x, y, mask), profile)
    other = matching._gradients(surrogate, subset, (x, spoilt, mask), profile)
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a, b)


def test_a_step_that_is_not_finite_is_left_out(problem, monkeypatch):
    matching = GradientMatching(batch_windows=4)
    parametrisation = encode(problem)
    x, _ = parametrisation.tensors
    synthetic = SyntheticState(parametrisation, matching.optimizer(parametrisation.tensors))
    before = x.detach().clone()
    monkeypatch.setattr(
        "stemdist.distill.synthesizers.gradient_matching.gradient_distance",
        lambda real, found: sum(g.sum() for g in found) * float("nan"),
    )
    subset = ClusterSubset.cut(problem.graph, problem.start.weight, torch.tensor([0]))
    matching._match(problem, synthetic, surrogate_of(problem), subset, torch.Generator())
    assert torch.equal(x.detach(), before)
    assert synthetic.optimizer.param_groups[0]["lr"] == matching.learning_rate / 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps is 0: it must be a whole number of at least 1"),
        ({"iterations": -1}, "iterations is -1"),
        ({"learning_rate": float("nan")}, "learning_rate is nan: it must be above 0"),
    ],
)
def test_parameters_are_checked(options, message):
    with pytest.raises(InputError, match=message):
        GradientMatching(**options).optimizer([torch.zeros(1, requires_grad=True)])
