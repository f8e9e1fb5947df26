from dataclasses import replace

import pytest
import torch

from stemdist.distill import DistillationProblem
from stemdist.distill.parametrisation import encode
from stemdist.distill.synthesizer import SyntheticState
from stemdist.distill.synthesizers.inner_loop import Adam, FlatForecaster, pull_back, train_inner
from stemdist.distill.synthesizers.network_pool import Network, NetworkPool, _Training
from stemdist.errors import InputError
from stemdist.forecast import fresh_forecaster, weighted_mean

QUICK = {
    "iterations": 2,
    "steps": 2,
    "inner_steps": 3,
    "batch_windows": 16,
    "batch_locations": 6,
    "synthetic_windows": 4,
}
POOLS = [{}, {"networks": 1, "renewal": 1.0, "longest": 5}]


@pytest.fixture(scope="module")
def problem(make_problem, quick) -> DistillationProblem:
    return make_problem(judging=replace(quick.judging, updates=2))


def test_gradient_is_that_of_unrolling_and_of_finite_differences(problem):
    """Of the error after three updates, with subsets of the clusters and of the windows."""
    problem = replace(
        problem,
        start=replace(
            problem.start,
            **{n: getattr(problem.start, n).double() for n in ("x", "y", "mask", "weight")},
        ),
    )
    synthesizer = NetworkPool(**QUICK, subsets=2, inner_learning_rate=0.01)
    synthesizer.prepare(problem, seed=0, cache=None)
    flat = FlatForecaster(fresh_forecaster("mlp", problem.start, 0))
    network = Network(family="mlp", state=Adam().start(flat.vector().double()), age=2)
    x, y = (part.detach().clone().requires_grad_() for part in encode(problem).windows())
    real_x, real_y, mask = (part.double() for part in problem.real.batch(torch.arange(5)))

    def error(x, y):
        training = _Training(synthesizer, problem, network, x, y, 3, torch.Generator())
        training.flat.forecaster.double()
        training.leaves = [x, y]
        state = network.state
        for number in range(3):
            state = training.update(state.requires_grad_(), number)
        forecast = training.flat(state[0], real_x, problem.graph, problem.real.profile.double())
        return weighted_mean((forecast - real_y) ** 2, mask, problem.start.weight), training

    value, training = error(x, y)
    expected = torch.autograd.grad(value, [x, y])
    states = train_inner(training.update, network.state.detach(), 3)
    last = states[-1].requires_grad_()
    forecast = training.flat(last[0], real_x, problem.graph, problem.real.profile.double())
    end = weighted_mean((forecast - real_y) ** 2, mask, problem.start.weight)
    (towards,) = torch.autograd.grad(end, last)
    _, ours = pull_back(training.update, states, towards, [x, y])
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
    direction = torch.randn_like(x)
    up, down = (error((x + s * direction).detach().requires_grad_(), y)[0] for s in (1e-6, -1e-6))
    slope = (up - down).item() / 2e-6
    assert (ours[0] * direction).sum().item() == pytest.approx(slope, rel=1e-3, abs=1e-9)


@pytest.mark.parametrize("pool", POOLS, ids=["pool", "rat-bptt"])
def test_error_on_real_windows_falls(problem, pool):
    """From windows whose targets say nothing, with targets alone to learn."""
    spoilt = replace(problem.start, y=torch.zeros_like(problem.start.y))
    options = {
        **QUICK,
        "iterations": 3,
        "steps": 6,
        "learning_rate": 0.1,
        "inner_steps": 5,
        **pool,
    }
    synthesizer = NetworkPool(**options)
    synthesizer.fit(replace(problem, start=spoilt), seed=3)
    losses = [row["loss"] for row in synthesizer.history_[1:]]
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("pool", POOLS, ids=["pool", "rat-bptt"])
def test_continues_exactly_where_it_was_stopped(problem, tmp_path, monkeypatch, pool):
    whole = NetworkPool(**QUICK, **pool).fit(problem, seed=5)
    improve, calls = NetworkPool.improve, []

    def stops(self, *arguments):
        calls.append(1)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return improve(self, *arguments)

    monkeypatch.setattr(NetworkPool, "improve", stops)
    with pytest.raises(KeyboardInterrupt):
        NetworkPool(**QUICK, **pool).fit(problem, seed=5, state=tmp_path / "state")
    monkeypatch.setattr(NetworkPool, "improve", improve)
    again = NetworkPool(**QUICK, **pool).fit(problem, seed=5, state=tmp_path / "state")
    assert again.history_[1:] == whole.history_[1:]
    assert torch.equal(again.windows_.x, whole.windows_.x)
    other = NetworkPool(**QUICK, **pool).fit(problem, seed=6)
    assert other.history_[1]["loss"] != whole.history_[1]["loss"]


def test_pool_ages_and_is_renewed(problem):
    pool = NetworkPool(**QUICK, networks=3, renewal=1.0, longest=0)
    pool.fit(problem, seed=0)
    assert [network.age for network in pool.pool_] == [0, 0]  # the last step's has gone
    lasting = NetworkPool(**QUICK, networks=2, renewal=1e-9, longest=0)
    lasting.fit(problem, seed=0)
    assert sum(network.age for network in lasting.pool_) == 2 * 2 * 3  # iterations, steps, updates
    old = NetworkPool(**QUICK, networks=6, renewal=1e-9, longest=50)
    old.fit(problem, seed=0)
    assert len({network.age for network in old.pool_}) > 3


def test_all_families_are_trained(problem):
    pool = NetworkPool(**QUICK, networks=8, surrogates="mlp,linear")
    pool.fit(problem, seed=0)
    assert {network.family for network in pool.pool_} == {"mlp", "linear"}


def test_a_network_that_went_astray_is_dropped(problem):
    pool = NetworkPool(**QUICK, networks=2, renewal=1e-9)
    pool.fit(replace(problem, judges=("linear",)), seed=0)
    network = pool.pool_[0]
    network.state = network.state * float("nan")
    pool._keep(network, torch.Generator())
    assert network not in pool.pool_


def test_learning_rate_falls(problem):
    pool = NetworkPool(**QUICK, learning_rate=0.1)
    parametrisation = encode(problem)
    synthetic = SyntheticState(parametrisation, pool.optimizer(parametrisation.tensors))
    pool.prepare(problem, seed=0, cache=None)
    rates = []
    for done in range(2):
        pool.history_ = [{}] * (done + 1)
        pool.improve(problem, synthetic, torch.Generator().manual_seed(0))
        rates.append(synthetic.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.1, 0.05])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"networks": 0}, "networks is 0: it must be a whole number of at least 1"),
        ({"renewal": 2.0}, "renewal is 2.0: it must be a share"),
        ({"surrogates": "mpl"}, "unknown forecaster 'mpl': did you mean 'mlp'"),
        ({"surrogates": "mlp,unet"}, "'unet' cannot be a surrogate: it needs a regular grid"),
        ({"longest": -1}, "longest is -1"),
        ({"inner_learning_rate": 0.0}, "inner_learning_rate is 0.0: it must be above"),
    ],
)
def test_parameters_are_checked(options, message):
    with pytest.raises(InputError, match=message):
        NetworkPool(**options).optimizer([torch.zeros(1, requires_grad=True)])
