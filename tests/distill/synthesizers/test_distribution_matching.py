from dataclasses import replace

import pytest
import torch

from stemdist.data.windows import TensorWindows
from stemdist.distill import DistillationProblem, make_synthesizer
from stemdist.distill.parametrisation import encode
from stemdist.distill.synthesizer import SyntheticState
from stemdist.distill.synthesizers.distribution_matching import (
    DISTANCES,
    RandomNetwork,
    joined_sequence,
    mean_distance,
    rbf_distance,
)
from stemdist.errors import InputError

SMALL = {"iterations": 3, "steps": 2, "width": 8, "batch_windows": 16}


@pytest.fixture(scope="module")
def problem(make_problem) -> DistillationProblem:
    return make_problem(labels="observed")


@pytest.fixture(scope="module")
def labelled(make_problem) -> DistillationProblem:
    """Real batches are at the real locations, labelled by experts."""
    return make_problem(labels="expert")


def toy(problem, real: TensorWindows, start: TensorWindows) -> DistillationProblem:
    free = replace(problem, answer=None, within=None)  # of other values than the task's
    return replace(free, real=real, start=start, n_learned=real.n_features)


def windows(x: torch.Tensor, y: torch.Tensor, weight=None, mask=None) -> TensorWindows:
    weight = torch.ones(x.shape[2]) if weight is None else weight
    return TensorWindows(x=x, y=y, mask=torch.ones_like(y) if mask is None else mask, weight=weight)


def synthetic_of(problem, synthesizer) -> SyntheticState:
    parametrisation = encode(problem)
    return SyntheticState(parametrisation, synthesizer.optimizer(parametrisation.tensors))


def generator(seed=0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_rbf_distance_by_hand():
    # real 0 and 2: mean squared distance of pairs (0 + 4 + 4 + 0) / 4 = 2, one synthetic at 1
    real, synthetic = torch.tensor([[0.0], [2.0]]), torch.tensor([[1.0]])
    half, one = torch.tensor([0.5, 0.5]), torch.ones(1)
    h = torch.tensor([0.5, 2.0, 8.0])
    expected = 0.5 + 0.5 * torch.exp(-4 / h) + 1 - 2 * torch.exp(-1 / h)
    found = rbf_distance(real, synthetic, half, one)
    assert found.item() == pytest.approx(expected.mean().item(), rel=1e-5)


@pytest.mark.parametrize("name", DISTANCES)
def test_a_weight_of_two_is_a_sample_twice(name):
    real, synthetic = torch.randn(5, 3, generator=generator()), torch.randn(4, 3)
    share = torch.tensor([2.0, 1, 1, 1, 1]) / 6
    twice = torch.cat([real[:1], real])
    equal = torch.full((4,), 0.25)
    one = DISTANCES[name](real, synthetic, share, equal)
    other = DISTANCES[name](twice, synthetic, torch.full((6,), 1 / 6), equal)
    torch.testing.assert_close(one, other)
    one = DISTANCES[name](synthetic, real, equal, share)
    other = DISTANCES[name](synthetic, twice, equal, torch.full((6,), 1 / 6))
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", DISTANCES)
def test_gradient_agrees_with_finite_differences(name):
    network = RandomNetwork(
        n_features=2, n_steps=5, width=4, generator=generator(), dtype=torch.float64
    )
    x = torch.randn(3, 4, 2, 2, generator=generator(1)).double().requires_grad_()
    y = torch.randn(6, 1, generator=generator(2)).double().requires_grad_()
    real = network(torch.randn(7, 2, 5, generator=generator(3)).double())
    shares = torch.rand(7).double().softmax(0), torch.rand(6).double().softmax(0)

    def distance(x, y):
        return DISTANCES[name](real, network(joined_sequence(x, y, 1)), *shares)

    assert torch.autograd.gradcheck(distance, (x, y), eps=1e-7)


def test_targets_follow_their_own_feature():
    x = torch.arange(24.0).view(1, 2, 3, 4)
    y = torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]])  # 2 targets, 2 steps
    joined = joined_sequence(x, y, 2)
    assert joined.shape == (3, 4, 4)
    assert joined[1].tolist() == [[4, 16, 5, 6], [5, 17, 7, 8], [6, 18, 0, 0], [7, 19, 0, 0]]


@pytest.mark.parametrize("name", DISTANCES)
def test_the_same_samples_have_no_distance(problem, name):
    x, y = torch.randn(1, 6, 4, 2, generator=generator()), torch.randn(1, 3, 4)
    same = windows(x, y, weight=torch.tensor([0.4, 0.6, 1.0, 2.0]))
    matching = make_synthesizer("distribution-matching", distance=name)
    synthetic = synthetic_of(toy(problem, same, same), matching)
    found = matching._distance(toy(problem, same, same), synthetic, generator())
    assert found.item() == pytest.approx(0.0, abs=1e-6)
    other = windows(x, y)  # the same samples with other weights are another distribution
    found = matching._distance(toy(problem, other, same), synthetic, generator())
    assert found.item() > 1e-4


@pytest.mark.parametrize("name", DISTANCES)
def test_samples_move_to_where_the_real_ones_are(problem, name):
    x = 2 + torch.randn(40, 4, 2, 1, generator=generator())
    real = windows(x, -x[:, :2, :, 0])
    start = windows(torch.zeros(3, 4, 2, 1), torch.zeros(3, 2, 2))
    matching = make_synthesizer(
        "distribution-matching", distance=name, steps=120, learning_rate=0.05
    )
    case = toy(problem, real, start)
    synthetic = synthetic_of(case, matching)
    before = matching._distance(case, synthetic, generator()).item()
    matching.improve(case, synthetic, generator())
    after = matching._distance(case, synthetic, generator()).item()
    assert after < 0.3 * before
    found, y = synthetic.windows()
    assert found.mean().item() == pytest.approx(2.0, abs=0.3)
    assert y.mean().item() == pytest.approx(-2.0, abs=0.3)


def test_missing_targets_have_no_influence(problem):
    x = torch.randn(5, 4, 2, 1, generator=generator())
    y, mask = torch.randn(5, 2, 2, generator=generator(1)), torch.ones(5, 2, 2)
    mask[0, 1], mask[3, 0, 1] = 0.0, 0.0
    matching = make_synthesizer("distribution-matching", batch_windows=8)
    values = []
    for fill in (0.0, 1e3):
        spoilt = windows(x, torch.where(mask > 0, y, fill), mask=mask)
        case = toy(problem, spoilt, spoilt)
        synthetic = synthetic_of(case, matching)
        value = matching._distance(case, synthetic, generator())
        values.append(value.item())
        gradient = torch.autograd.grad(value, synthetic.tensors)[1]
        assert gradient[mask == 0].abs().max() == 0
        assert gradient[mask > 0].abs().max() > 0
    assert values[0] == values[1]


def test_a_gap_does_not_pull_the_targets_to_zero(problem):
    x = torch.zeros(60, 2, 1, 1)
    mask = (torch.rand(60, 2, 1, generator=generator()) < 0.5).float()
    real = windows(x, 3 * mask, mask=mask)  # 3 wherever observed
    start = windows(torch.zeros(8, 2, 1, 1), torch.zeros(8, 2, 1))
    matching = make_synthesizer(
        "distribution-matching", steps=200, learning_rate=0.05, distance="mean"
    )
    case = toy(problem, real, start)
    synthetic = synthetic_of(case, matching)
    matching.improve(case, synthetic, generator())
    assert synthetic.windows()[1].mean().item() == pytest.approx(3.0, abs=0.5)


def test_a_part_of_the_synthetic_samples(problem):
    matching = make_synthesizer("distribution-matching", **{**SMALL, "synthetic_samples": 3})
    synthetic = synthetic_of(problem, matching)
    value = matching._distance(problem, synthetic, generator())
    gradient = torch.autograd.grad(value, synthetic.tensors)[0]
    assert int((gradient != 0).any(dim=3).any(dim=1).sum()) == 3


def test_same_seed_same_result_and_exact_resume(labelled, tmp_path, monkeypatch):
    whole, again = (
        make_synthesizer("distribution-matching", **SMALL).fit(labelled, seed=3) for _ in range(2)
    )
    assert again.history_[1:] == whole.history_[1:]
    other = make_synthesizer("distribution-matching", **SMALL).fit(labelled, seed=4)
    assert other.history_[1]["loss"] != whole.history_[1]["loss"]
    state = tmp_path / "run.state"
    short = make_synthesizer("distribution-matching", **{**SMALL, "iterations": 2})
    short.fit(labelled, seed=3, state=state)
    resumed = make_synthesizer("distribution-matching", **SMALL).fit(labelled, seed=3, state=state)
    assert resumed.history_[1:] == whole.history_[1:]
    assert torch.equal(resumed.windows_.x, whole.windows_.x)


def test_a_step_that_is_not_finite_is_left_out(problem, monkeypatch):
    matching = make_synthesizer("distribution-matching", **SMALL)
    synthetic = synthetic_of(problem, matching)
    before = synthetic.tensors[0].detach().clone()
    monkeypatch.setitem(DISTANCES, "rbf", lambda *given: mean_distance(*given) * float("nan"))
    assert matching.improve(problem, synthetic, generator()) == float("inf")
    assert torch.equal(synthetic.tensors[0].detach(), before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps is 0: it must be a whole number of at least 1"),
        ({"iterations": -1}, "iterations is -1"),
        ({"learning_rate": float("nan")}, "learning_rate is nan: it must be above 0"),
        ({"relabel": 2.0}, "relabel is 2.0: it must be a share"),
        ({"distance": "rfb"}, "unknown distance 'rfb': did you mean 'rbf'"),
    ],
)
def test_parameters_are_checked(options, message):
    with pytest.raises(InputError, match=message):
        make_synthesizer("distribution-matching", **options).optimizer(
            [torch.zeros(1, requires_grad=True)]
        )
