import pytest
import torch

from stemdist.distill.synthesizers.inner_loop import (
    Adam,
    FlatForecaster,
    Sgd,
    descend,
    pull_back,
    train_inner,
)
from stemdist.forecast import make_forecaster


@pytest.fixture
def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))


def flat_loss(network, weights, x, y):
    names = dict(network.named_parameters())
    parts = weights.split([w.numel() for w in names.values()])
    given = {n: p.view_as(w) for (n, w), p in zip(names.items(), parts, strict=True)}
    return ((torch.func.functional_call(network, given, (x,)) - y) ** 2).mean()


OPTIMIZERS = [Sgd(), Sgd(momentum=0.9), Adam()]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["sgd", "momentum", "adam"])
def test_backward_pass_is_that_of_plain_unrolling(network, optimizer):
    network = network.double()
    x, y = torch.randn(5, 3).double().requires_grad_(), torch.randn(5, 1).double().requires_grad_()
    rate = torch.tensor(0.05, dtype=torch.double, requires_grad=True)
    start = torch.cat([w.detach().flatten() for w in network.parameters()])

    def update(state, number):
        return descend(lambda w: flat_loss(network, w, x, y), state, optimizer, rate, number)

    states = train_inner(update, optimizer.start(start), 6)
    assert all(not state.requires_grad for state in states)
    towards = torch.randn(optimizer.rows, len(start)).double()
    first, (on_x, on_y, on_rate) = pull_back(update, states, towards, [x, y, rate])

    begin = optimizer.start(start).requires_grad_()  # plain unrolling keeps every graph
    state = begin
    for number in range(6):
        state = update(state, number)
    expected = torch.autograd.grad((state * towards).sum(), [begin, x, y, rate])
    for one, other in zip((first, on_x, on_y, on_rate), expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
        assert other.abs().max() > 0


@pytest.mark.parametrize(
    ("optimizer", "torch_optimizer"),
    [
        (Sgd(), lambda p: torch.optim.SGD(p, lr=0.1)),
        (Sgd(momentum=0.8), lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.8)),
        (Adam(epsilon=1e-8), lambda p: torch.optim.Adam(p, lr=0.1)),
    ],
    ids=["sgd", "momentum", "adam"],
)
def test_steps_are_those_of_torch(network, optimizer, torch_optimizer):
    x, y = torch.randn(5, 3), torch.randn(5, 1)
    start = torch.cat([w.detach().flatten() for w in network.parameters()])

    def update(state, number):
        return descend(lambda w: flat_loss(network, w, x, y), state, optimizer, 0.1, number)

    ours = train_inner(update, optimizer.start(start), 4)[-1][0]
    theirs = torch_optimizer(network.parameters())
    for _ in range(4):
        theirs.zero_grad()
        ((network(x) - y) ** 2).mean().backward()
        theirs.step()
    expected = torch.cat([w.detach().flatten() for w in network.parameters()])
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_adam_has_a_gradient_where_the_loss_has_none():
    state = Adam().start(torch.ones(2)).requires_grad_()
    gradient = torch.zeros(2, requires_grad=True)
    moved = Adam().step(state, gradient, 0.1, 0)[0].sum()
    assert torch.isfinite(torch.autograd.grad(moved, gradient)[0]).all()


@pytest.mark.parametrize("family", ["mlp", "mtgnn", "gru"])
def test_flat_forecaster_is_the_forecaster(task, family):
    torch.manual_seed(0)
    train = task.train
    shape = {"lookback": train.lookback, "horizon": train.horizon, "n_features": train.n_features}
    forecaster = make_forecaster(family, **shape).eval()
    flat = FlatForecaster(forecaster)
    x = train.inputs(torch.arange(3))
    expected = forecaster(x, task.graph, train.profile)
    vector = flat.vector()
    torch.testing.assert_close(flat(vector, x, task.graph, train.profile), expected)
    assert sum(group.stop - group.start for group in flat.groups) == len(vector)
    moved = flat(vector + 0.1, x, task.graph, train.profile)
    torch.testing.assert_close(flat.load(vector + 0.1)(x, task.graph, train.profile), moved)
    assert not torch.allclose(moved, expected)
