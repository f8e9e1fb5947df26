import gc
import math
import weakref
from dataclasses import replace

import pytest
import torch

from stemdist.data.windows import TensorWindows
from stemdist.distill import DistillationProblem, DistillSettings
from stemdist.distill.parametrisation import encode
from stemdist.distill.synthesizer import SyntheticState
from stemdist.distill.synthesizers import trajectories as trajectories_module
from stemdist.distill.synthesizers.inner_loop import FlatForecaster
from stemdist.distill.synthesizers.inner_training import (
    InnerTraining,
    path_distance,
    shuffled_orders,
)
from stemdist.distill.synthesizers.spectra import (
    mean_amplitudes,
    source_amplitudes,
    spectrum_distance,
)
from stemdist.distill.synthesizers.trajectories import inner_optimizer
from stemdist.distill.synthesizers.trajectory_matching import TrajectoryMatching
from stemdist.errors import InputError
from stemdist.forecast import Forecaster, make_forecaster, weighted_mean
from stemdist.graph import subgraph

SMALL = {"surrogate_options": {"hidden": 6, "depth": 1}}
FAST = {
    **SMALL,
    "iterations": 3,
    "steps": 2,
    "trajectories": 2,
    "batch_windows": 8,
    "inner_steps": 3,
    "interval": 3,
    "last_start": 4,
}


@pytest.fixture(scope="module")
def problem(make_problem) -> DistillationProblem:
    return make_problem()


def prepared(problem, **options):
    """Return a synthesizer ready to match, and its synthetic."""
    matching = TrajectoryMatching(**{**FAST, **options})
    parametrisation = encode(problem)
    synthetic = SyntheticState(parametrisation, matching.optimizer(parametrisation.tensors))
    matching.prepare(problem, seed=0, cache=None)
    return matching, synthetic


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def inner_training_of(problem, optimizer="sgd", subsets=1, dtype=torch.float64, n_updates=4):
    """Return an inner training whose tensors are leaves, and an expert's states to match."""
    torch.manual_seed(0)
    start = problem.start
    forecaster = make_forecaster(
        "mlp",
        lookback=start.lookback,
        horizon=start.horizon,
        n_features=start.n_features,
        **SMALL["surrogate_options"],
    ).to(dtype)
    flat = FlatForecaster(forecaster.eval())
    maker = TrajectoryMatching(batch_windows=5, inner_steps=n_updates, subsets=subsets)
    maker.inner_optimizer, maker._flat = optimizer, flat
    x = start.x.to(dtype)
    profile = x.mean(0).transpose(0, 1).flatten(1)
    rate = torch.tensor(math.log(0.1), dtype=dtype)
    leaves = [t.clone().requires_grad_() for t in (x, start.y.to(dtype), profile, rate)]
    double = replace(
        problem, start=replace(start, mask=start.mask.to(dtype), weight=start.weight.to(dtype))
    )
    inner = maker._inner_training(double, leaves, 7, seeded())
    rows = inner_optimizer(optimizer)
    begin = rows.start(flat.vector())
    begin[1:] = 0.01 * torch.rand(begin[1:].shape, generator=seeded(), dtype=dtype)
    target = begin + 0.05 * torch.randn(begin.shape, generator=seeded(), dtype=dtype)
    group = torch.zeros(begin.shape[1], dtype=torch.int64)
    return inner, leaves, begin, target, group


def unrolled(inner, begin, target, optimizer):
    """Return the distance, written anew with one graph through all updates."""
    weights, velocity = begin[0], begin[1] if len(begin) > 1 else None
    square = begin[2] if len(begin) > 2 else None
    rate, first = inner.log_rate.exp(), weights
    for number, (order, subset) in enumerate(zip(inner.orders, inner.subsets, strict=True)):
        index = torch.arange(inner.windows.x.shape[2]) if subset.index is None else subset.index
        x, y, mask = (values[order][:, :, index] for values in inner.windows)
        weights = weights.requires_grad_() if not weights.requires_grad else weights
        forecast = inner.flat(weights, x, subset.graph, inner.profile[index])
        loss = weighted_mean((forecast - y) ** 2, mask, subset.weight)
        (gradient,) = torch.autograd.grad(loss, weights, create_graph=True)
        if optimizer == "sgd":
            weights = weights - rate * gradient
        elif optimizer == "momentum":
            velocity = 0.9 * velocity + gradient
            weights = weights - rate * velocity
        else:
            step = inner.earlier_updates + number + 1
            velocity = 0.9 * velocity + 0.1 * gradient
            square = 0.999 * square + 0.001 * gradient**2
            mean, spread = velocity / (1 - 0.9**step), square / (1 - 0.999**step)
            weights = weights - rate * mean / (spread + 1e-12).sqrt()
    left, path = ((weights - target[0]) ** 2).sum(), ((first - target[0]) ** 2).sum()
    return left / path


@pytest.mark.parametrize("subsets", [1, 2])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_gradient_is_that_of_plain_unrolling(problem, optimizer, subsets):
    inner, leaves, begin, target, group = inner_training_of(problem, optimizer, subsets)
    value, gradients = inner.matching(begin, target, group)
    distance = unrolled(inner, begin.clone(), target, optimizer)
    expected = torch.autograd.grad(distance, leaves)
    assert value == pytest.approx(distance.item(), rel=1e-9)
    for found, wanted in zip(gradients, expected, strict=True):
        assert wanted.norm() > 0
        assert (found - wanted).norm() < 1e-5 * wanted.norm()


def test_gradient_of_single_precision_too(problem):
    inner, leaves, begin, target, group = inner_training_of(problem, dtype=torch.float32)
    _, gradients = inner.matching(begin, target, group)
    expected = torch.autograd.grad(unrolled(inner, begin.clone(), target, "sgd"), leaves)
    for found, wanted in zip(gradients, expected, strict=True):
        assert (found - wanted).norm() < 1e-5 * wanted.norm()


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_gradient_agrees_with_finite_differences(problem, optimizer):
    inner, leaves, begin, target, group = inner_training_of(problem, optimizer, 2)
    _, gradients = inner.matching(begin, target, group)
    for leaf, gradient in zip(leaves, gradients, strict=True):
        direction = torch.randn(leaf.shape, generator=seeded(1), dtype=leaf.dtype)
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                leaf.add_(sign * 1e-6 * direction)
            values.append(inner.matching(begin, target, group)[0])
            with torch.no_grad():
                leaf.sub_(sign * 1e-6 * direction)
        expected = (values[0] - values[1]) / 2e-6
        assert (gradient * direction).sum().item() == pytest.approx(expected, rel=1e-4, abs=1e-9)


def most_numbers_kept_for_backward(inner, begin, target, group):
    """Return the most numbers that graphs held at any one time."""
    alive, most = [0], [0]

    class Holder:
        def __init__(self, tensor):
            self.tensor = tensor
            alive[0] += tensor.numel()
            most[0] = max(most[0], alive[0])
            weakref.finalize(self, self.release, tensor.numel())

        @staticmethod
        def release(count):
            alive[0] -= count

    with torch.autograd.graph.saved_tensors_hooks(Holder, lambda holder: holder.tensor):
        inner.matching(begin, target, group)
    gc.collect()
    return most[0]


def test_graphs_take_the_same_memory_for_any_number_of_updates(problem):
    few, many = (
        most_numbers_kept_for_backward(*(s, b, t, g))
        for s, _, b, t, g in (inner_training_of(problem, n_updates=n) for n in (3, 24))
    )
    assert 0 < many <= 1.05 * few


class Shared(Forecaster):
    """Uses one weight twice, under two names."""

    def __init__(self):
        super().__init__(lookback=2, horizon=2, n_features=1)
        self.first, self.second = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
        self.second.weight = self.first.weight

    def forward(self, x, graph, profile):
        return self.second(self.first(x[..., 0].transpose(1, 2))).transpose(1, 2)


def test_weights_that_modules_share_are_one_weight():
    forecaster, x = Shared(), torch.randn(3, 2, 4, 1, generator=seeded())
    flat = FlatForecaster(forecaster)
    vector = torch.arange(8.0)
    found = flat(vector, x, None, None)
    assert torch.equal(found, flat.load(vector)(x, None, None))


def own_problem(problem):
    """All real windows are the start, so surrogates can follow experts exactly."""
    index = torch.arange(0, len(problem.real), 10)
    x, y, mask = problem.real.batch(index)
    windows = TensorWindows(x=x, y=y, mask=mask, weight=problem.real.location_weight)
    return replace(problem, real=windows, start=windows, answer=None)


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam"])
def test_the_real_windows_lead_where_the_expert_went(problem, optimizer):
    own = own_problem(problem)
    matching, synthetic = prepared(
        own, batch_windows=99, inner_steps=6, inner_optimizer=optimizer, inner_learning_rate=0.02
    )
    assert matching._match(own, synthetic, seeded()) < 1e-8


def test_matching_finds_back_to_the_real_windows(problem):
    own = own_problem(problem)
    noise = 0.3 * torch.randn(own.start.y.shape, generator=seeded())
    spoilt = replace(own, start=replace(own.start, y=own.start.y + noise))
    matching, synthetic = prepared(
        spoilt,
        surrogate="linear",
        surrogate_options=None,
        batch_windows=99,
        inner_steps=6,
        last_start=0,
        rate_learning_rate=0.0,
        learning_rate=0.01,
    )
    values = [matching._match(spoilt, synthetic, seeded()) for _ in range(60)]
    assert values[0] > 1e-4
    assert values[-1] < 0.02 * values[0]
    assert matching.inner_learning_rate_ == pytest.approx(0.1)


def test_the_step_size_is_learned(problem):
    own = own_problem(problem)
    matching, synthetic = prepared(
        own, batch_windows=99, inner_steps=6, last_start=0, rate_learning_rate=0.05,
        learning_rate=1e-9,
    )  # fmt: skip
    matching.log_rate_.fill_(math.log(0.05))
    values = [matching._match(own, synthetic, seeded()) for _ in range(40)]
    assert values[-1] < 0.1 * values[0]
    assert matching.inner_learning_rate_ == pytest.approx(0.1, rel=0.2)


def starts(matching, problem, synthetic, n, monkeypatch):
    """Return the snapshots from which n surrogates start."""
    seen, make = [], TrajectoryMatching._inner_training

    def watched(self, problem, leaves, earlier, generator):
        seen.append(earlier // self.interval)
        return make(self, problem, leaves, earlier, generator)

    monkeypatch.setattr(TrajectoryMatching, "_inner_training", watched)
    generator = seeded()
    for _ in range(n):
        matching._match(problem, synthetic, generator)
    return seen


def test_starts_are_drawn_from_the_whole_range(problem, monkeypatch):
    matching, synthetic = prepared(problem, first_start=2, last_start=4)
    assert set(starts(matching, problem, synthetic, 30, monkeypatch)) == {2, 3, 4}


def test_the_range_widens(problem, monkeypatch):
    matching, synthetic = prepared(
        problem, iterations=4, steps=10, first_start=1, last_start=4, widening=0.75
    )
    assert matching.latest_start == 1
    seen = starts(matching, problem, synthetic, 80, monkeypatch)
    assert set(seen[:5]) == {1}
    assert max(seen[:15]) <= 2  # after 15 of 30 steps: 1 + 1.5
    assert matching.latest_start == 4
    assert set(seen[25:]) == {1, 2, 3, 4}


def test_targets_are_ahead_of_starts(problem, monkeypatch):
    matching, synthetic = prepared(problem, trajectories=1, first_start=3, last_start=3)
    path, seen, match = matching.trajectories_[0].states, [], InnerTraining.matching
    assert len(path) == 3 + 2 + 1
    monkeypatch.setattr(
        InnerTraining, "matching", lambda self, *args: seen.append(args) or match(self, *args)
    )
    matching._match(problem, synthetic, seeded())
    assert torch.equal(seen[0][0], path[3])
    assert torch.equal(seen[0][1], path[5])


def test_an_inner_training_that_diverges_shortens_its_steps_alone(problem):
    matching, synthetic = prepared(problem)
    matching.log_rate_.fill_(60.0)
    before = [tensor.detach().clone() for tensor in synthetic.tensors]
    value = matching._match(problem, synthetic, seeded())
    assert not math.isfinite(value)
    assert matching.log_rate_.item() == pytest.approx(60 - math.log(2))
    for tensor, kept in zip(synthetic.tensors, before, strict=True):
        assert torch.equal(tensor.detach(), kept)
    assert matching.improve(problem, synthetic, seeded()) == math.inf


def test_gradients_that_are_not_finite_move_nothing(problem, monkeypatch):
    matching, synthetic = prepared(problem)
    match = InnerTraining.matching

    def spoilt(self, *args):
        value, gradients = match(self, *args)
        gradients[0][0] = math.nan
        return value, gradients

    monkeypatch.setattr(InnerTraining, "matching", spoilt)
    before = [tensor.detach().clone() for tensor in synthetic.tensors]
    rate = matching.log_rate_.clone()
    matching._match(problem, synthetic, seeded())
    for tensor, kept in zip(synthetic.tensors, before, strict=True):
        assert torch.equal(tensor.detach(), kept)
    assert matching.log_rate_ == rate
    assert synthetic.optimizer.param_groups[0]["lr"] == matching.learning_rate / 2
    assert matching._rate_optimizer.param_groups[0]["lr"] == matching.rate_learning_rate / 2


@pytest.mark.parametrize("stop_after", [1, 2])
def test_continues_exactly_where_it_was_stopped(problem, tmp_path, monkeypatch, stop_after):
    options = {**FAST, "widening": 1.0, "subsets": 2, "inner_optimizer": "momentum"}
    whole = TrajectoryMatching(**options).fit(problem, seed=5)
    state, improve, calls = tmp_path / "run.state", TrajectoryMatching.improve, []

    def stops(self, *args):
        calls.append(1)
        if len(calls) > stop_after:
            raise KeyboardInterrupt
        return improve(self, *args)

    monkeypatch.setattr(TrajectoryMatching, "improve", stops)
    with pytest.raises(KeyboardInterrupt):
        TrajectoryMatching(**options).fit(problem, seed=5, state=state, cache=tmp_path)
    monkeypatch.setattr(TrajectoryMatching, "improve", improve)
    again = TrajectoryMatching(**options).fit(problem, seed=5, state=state, cache=tmp_path)
    assert again.history_[1:] == whole.history_[1:]
    assert torch.equal(again.windows_.x, whole.windows_.x)
    assert again.log_rate_ == whole.log_rate_ != math.log(0.1)
    assert again.steps_made_ == whole.steps_made_ == 6


def test_same_seed_same_result(problem):
    options = {**FAST, "iterations": 1}
    runs = [TrajectoryMatching(**options).fit(problem, seed=seed) for seed in (1, 1, 2)]
    assert runs[0].history_[1] == runs[1].history_[1]
    assert runs[0].history_[1]["loss"] != runs[2].history_[1]["loss"]


def test_a_second_run_trains_no_experts(problem, tmp_path, monkeypatch):
    options = {**FAST, "iterations": 1}
    first = TrajectoryMatching(**options).fit(problem, cache=tmp_path)

    def fail(*args):
        raise AssertionError("trained again")

    monkeypatch.setattr(trajectories_module, "_train", fail)
    again = TrajectoryMatching(**{**options, "learning_rate": 0.01}).fit(problem, cache=tmp_path)
    assert all(trajectory.cached for trajectory in again.trajectories_)
    assert torch.equal(first.trajectories_[1].states, again.trajectories_[1].states)


def test_labels_may_be_left_alone(problem):
    for learned in (True, False):
        matching, synthetic = prepared(problem, learn_labels=learned)
        matching._match(problem, synthetic, seeded())
        x, y = synthetic.tensors
        assert not torch.equal(x.detach(), problem.start.x[..., : problem.n_learned])
        assert torch.equal(y.detach(), problem.start.y) is not learned


def test_profiles_of_inner_trainings(problem, monkeypatch):
    seen, make = [], TrajectoryMatching._inner_training

    def watched(self, problem, leaves, *args):
        seen.append(leaves[2].detach())
        return make(self, problem, leaves, *args)

    monkeypatch.setattr(TrajectoryMatching, "_inner_training", watched)
    for synthetic in (True, False):
        matching, synthetic = prepared(problem, synthetic_profile=synthetic)
        matching._match(problem, synthetic, seeded())
    assert torch.allclose(seen[0], problem.start.x.mean(0).transpose(0, 1).flatten(1))
    assert torch.equal(seen[1], problem.real.profile)


def test_every_weight_tensor_is_a_group(problem):
    matching, _ = prepared(problem, normalise="group")
    sizes = [w.numel() for w in matching._flat.forecaster.parameters()]
    assert torch.bincount(matching._group).tolist() == sizes
    found, target, start = torch.randn(3, sum(sizes), generator=seeded()).unbind()
    split = zip(*(torch.split(v, sizes) for v in (found, target, start)), strict=True)
    expected = sum(((f - t) ** 2).sum() / ((s - t) ** 2).sum() for f, t, s in split) / len(sizes)
    assert path_distance(found, target, start, matching._group).item() == pytest.approx(
        expected.item(), rel=1e-5
    )


def test_orders_give_all_windows_their_turn():
    orders = shuffled_orders(10, 4, 5, seeded())
    assert [len(order) for order in orders] == [4] * 5
    drawn = torch.cat(orders)
    assert sorted(drawn[:10].tolist()) == sorted(drawn[10:].tolist()) == list(range(10))


@pytest.mark.parametrize(("family", "options"), [("gru", {"hidden": 4}), ("mtgnn", {"layers": 1})])
def test_other_surrogates(problem, family, options):
    matching, synthetic = prepared(
        problem, surrogate=family, surrogate_options=options, subsets=2, inner_steps=2
    )
    before = synthetic.tensors[0].detach().clone()
    assert math.isfinite(matching._match(problem, synthetic, seeded()))
    assert not torch.equal(synthetic.tensors[0].detach(), before)


def test_subsets_of_an_inner_training_have_their_own_graph(problem):
    inner, *_ = inner_training_of(problem, subsets=2)
    for subset in inner.subsets:
        expected = subgraph(problem.graph, subset.index)
        assert torch.equal(subset.graph.edge_index, expected.edge_index)


def test_spectrum_by_hand():
    # period 4 steps: past 1, 0 and future -1, 0 of target 0; target 1 is constant
    x = torch.tensor([[1.0, 5.0], [0.0, 5.0]]).view(1, 2, 1, 2)
    y = torch.tensor([-1.0, 0.0, 5.0, 5.0]).view(1, 4, 1)
    found = mean_amplitudes(x, y, 2)[..., 0]
    assert torch.allclose(found, torch.tensor([[0.0, 2.0, 0.0], [20.0, 0.0, 0.0]]), atol=1e-6)


def test_spectrum_of_many_windows(problem):
    x, y, _ = problem.real.batch(torch.arange(len(problem.real)))
    assert torch.allclose(source_amplitudes(problem.real), mean_amplitudes(x, y, 1), rtol=1e-4)


def test_matching_spectra_lowers_their_distance(problem):
    matching, synthetic = prepared(problem, frequency_weight=100.0)

    def distance():
        with torch.no_grad():
            x, y = synthetic.windows()
            found = mean_amplitudes(problem.inputs(x), y, 1)
            return spectrum_distance(matching._spectrum, found).item()

    before = distance()
    for _ in range(25):
        matching._match(problem, synthetic, seeded())
    assert distance() < 0.5 * before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps is 0: it must be a whole number of at least 1"),
        ({"last_start": 3, "first_start": 4}, "last_start is 3, before first_start 4"),
        ({"normalise": "groups"}, "unknown normalise 'groups': did you mean 'group'"),
        ({"widening": 1.5}, "widening is 1.5: it must be a share"),
        ({"relabel": -0.1}, "relabel is -0.1: it must be a share"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0: it must be a number above 0"),
        ({"frequency_weight": math.nan}, "frequency_weight is nan: it must be a number 0 or"),
        ({"inner_optimizer": "adm"}, "unknown inner optimizer 'adm': did you mean 'adam'"),
        ({"batch_windows": 0}, "batch_windows is 0"),
    ],
)
def test_parameters_are_checked(options, message):
    with pytest.raises(InputError, match=message):
        TrajectoryMatching(**options).optimizer([torch.zeros(1, requires_grad=True)])


@pytest.mark.parametrize("method", ["mtt", "tesla", "datm", "timedc"])
def test_published_methods(method):
    settings = DistillSettings.of(method, synthesizer_options={"iterations": 1})
    matching = TrajectoryMatching(**settings.synthesizer_options)
    assert settings.synthesizer == "trajectory-matching"
    assert matching.iterations == 1
    assert matching.subsets == 1
    matching.optimizer([torch.zeros(1, requires_grad=True)])


def test_seconds_of_cached_experts_count_once(problem, tmp_path):
    first = TrajectoryMatching(**FAST).fit(problem, cache=tmp_path)
    assert first.cached_seconds_ == 0.0
    state = tmp_path / "state"
    again = TrajectoryMatching(**FAST).fit(problem, cache=tmp_path, state=state)
    assert again.cached_seconds_ == pytest.approx(sum(p.seconds for p in first.trajectories_))
    continued = TrajectoryMatching(**FAST).fit(problem, cache=tmp_path, state=state)
    assert continued.cached_seconds_ == 0.0  # they are among the earlier seconds
