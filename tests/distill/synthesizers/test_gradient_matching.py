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
from stemdist.distill.synthesizers.subsets import ClusterSubset, mean_profile
from stemdist.errors import InputError
from stemdist.forecast import make_forecaster

MODULE = "stemdist.distill.synthesizers.gradient_matching"


def test_distance_by_hand():
    real = [torch.tensor([[3.0, 4.0], [1.0, 0.0]]), torch.tensor([1.0, 2.0])]
    same = [2 * g for g in real]
    assert gradient_distance(real, same).item() == pytest.approx(0.0, abs=1e-5)
    # rows: cosine of (3, 4) and (4, 3) is 24 / 25; of (1, 0) and (-1, 0) is -1
    other = [torch.tensor([[4.0, 3.0], [-1.0, 0.0]]), torch.tensor([-5.0, 0.0])]
    assert gradient_distance(real, other).item() == pytest.approx(1 / 25 + 2, abs=1e-5)


def test_small_gradients_count_and_missing_ones_are_at_distance_one():
    small = [torch.tensor([[1e-3, 0.0], [0.0, 0.0]])]  # norms of product 1e-6, and of 0
    assert gradient_distance(small, small).item() == pytest.approx(1 + 0.01, abs=1e-3)


def test_rows_of_a_convolution():
    real = torch.zeros(1, 2, 1, 2)
    real[0, 0, 0, 0] = 1.0
    other = torch.zeros(1, 2, 1, 2)
    other[0, 1, 0, 1] = 3.0
    assert gradient_distance([real], [other]).item() == pytest.approx(1.0)


def test_one_dimensional_parameters_do_not_count():
    assert gradient_distance([torch.ones(3)], [-torch.ones(3)]).item() == 0.0


def published_rows(n_features: int = 1, steps: int = 12, layers: int = 3) -> dict[str, int]:
    """Rows of the published MTGNN's matrices, from the sizes in its public code."""
    left = [steps + 7 - 6 * (layer + 1) for layer in range(layers)]  # padded to 19 steps
    assert left == [13, 7, 1]
    return {
        "location encoders": 2 * (32 + 3 * 32 + 32 + 10),  # linear, attention in and out, linear
        "maps of the codes": 2 * 10,
        "first convolution": 32,
        "filters and gates": layers * 2 * 4 * 8,
        "skip convolutions": 64 + layers * 64 + 64,
        "mix-hop": layers * 2 * 32,
        "layer norms": layers * 2 * 32,  # weight and bias, one row per channel
        "last convolutions": 128 + steps,
    }


def test_rows_on_los_loop_are_those_of_the_published_code():
    surrogate = make_forecaster(
        "mtgnn", lookback=12, horizon=12, n_features=1, location_encoder="attention"
    )
    matched = [one for one in surrogate.parameters() if one.dim() > 1]
    assert sum(map(len, matched)) == sum(published_rows().values()) == 1428
    # where the gradients are unrelated, each row counts 1
    real = [torch.zeros_like(one) for one in matched]
    other = [torch.ones_like(one) for one in matched]
    assert gradient_distance(real, other).item() == pytest.approx(1428)
    norms = [p for name, p in surrogate.named_parameters() if ".norm." in name and p.dim() > 1]
    assert [tuple(one.shape) for one in norms] == [(32, t) for t in (13, 13, 7, 7, 1, 1)]


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
    matching._match(problem, synthetic, surrogate_of(problem), subset, torch.arange(8))
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
        matching._match(problem, synthetic, surrogate, subset, torch.arange(8)) for _ in range(30)
    ]
    assert values[-1] < 0.9 * values[0]


def recorded_runs(problem, monkeypatch, **options):
    """Return what every matching step and every training update of one iteration was given."""
    matching = GradientMatching(batch_windows=16, surrogate="linear", **options)
    parametrisation = encode(problem)
    synthetic = SyntheticState(parametrisation, matching.optimizer(parametrisation.tensors))
    events, cut = [], ClusterSubset.cut
    gradients = matching._gradients

    def of_match(surrogate, subset, batch, profile, **more):
        if not more:  # the real side
            whole = problem.real.batch(torch.arange(len(problem.real)), subset.index)[0]
            used = [int((whole == x).flatten(1).all(1).nonzero()[0]) for x in batch[0]]
            events.append(("match", sorted(subset.index.tolist()), used))
        return gradients(surrogate, subset, batch, profile, **more)

    def of_cut(graph, weight, index):
        events.append(("cut", index.tolist()))
        return cut(graph, weight, index)

    monkeypatch.setattr(matching, "_gradients", of_match)
    monkeypatch.setattr(ClusterSubset, "cut", of_cut)
    matching.improve(problem, synthetic, torch.Generator().manual_seed(0))
    return events


def test_all_subsets_of_a_step_share_one_real_batch(problem, monkeypatch):
    events = recorded_runs(problem, monkeypatch, steps=3, subsets=2, epochs=1)
    matches = [event[1:] for event in events if event[0] == "match"]
    assert len(matches) == 3 * 2
    used = []
    for (one, first), (other, second) in zip(matches[::2], matches[1::2], strict=True):
        assert first == second
        assert sorted(one + other) == list(range(problem.start.n_locations))
        used += first
    assert len(set(used)) == len(used) == 3 * 16  # no window twice before all were used


def test_every_epoch_splits_the_clusters_anew(problem, monkeypatch):
    epochs = 6
    events = recorded_runs(problem, monkeypatch, steps=2, subsets=2, epochs=epochs)
    cuts = [event[1] for event in events if event[0] == "cut"]
    assert len(cuts) == (2 + epochs) * 2  # of two matching steps and of one training
    whole = list(range(problem.start.n_locations))
    splits = [cuts[i] + cuts[i + 1] for i in range(0, len(cuts), 2)]
    assert all(sorted(split) == whole for split in splits)
    assert len({tuple(split) for split in splits}) > 2


def test_an_epoch_makes_one_update_of_all_windows_for_each_subset(problem, monkeypatch):
    seen = []
    monkeypatch.setattr(f"{MODULE}.mean_profile", lambda x: seen.append(len(x)) or mean_profile(x))
    recorded_runs(problem, monkeypatch, steps=2, subsets=2, epochs=3)
    # two matching steps and the training between them
    assert seen == [len(problem.start)] * (2 * 2 + 3 * 2)


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
        f"{MODULE}.gradient_distance",
        lambda real, found: sum(g.sum() for g in found) * float("nan"),
    )
    subset = ClusterSubset.cut(problem.graph, problem.start.weight, torch.tensor([0]))
    matching._match(problem, synthetic, surrogate_of(problem), subset, torch.arange(4))
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
