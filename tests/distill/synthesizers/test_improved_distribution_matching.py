from dataclasses import replace

import pytest
import torch

from stemdist.data.windows import TensorWindows
from stemdist.distill import DistillationProblem, make_synthesizer
from stemdist.distill.parametrisation import encode
from stemdist.distill.synthesizer import SyntheticState
from stemdist.distill.synthesizers.distribution_matching import joined_sequence, mean_distance
from stemdist.distill.synthesizers.improved_distribution_matching import (
    ImprovedDistributionMatching,
    expanded_parts,
    explained_share,
    features_with_targets,
)
from stemdist.errors import InputError
from stemdist.forecast import Forecaster, make_forecaster, shape_of
from stemdist.forecast.hidden_states import penultimate_features

SMALL = {"iterations": 3, "steps": 3, "networks": 2, "longest": 6, "updates": 2, "batch_windows": 8}


@pytest.fixture(scope="module")
def problem(make_problem) -> DistillationProblem:
    return make_problem(labels="observed")


@pytest.fixture(scope="module")
def labelled(make_problem) -> DistillationProblem:
    """Real batches are at the real locations, labelled by experts."""
    return make_problem(labels="expert")


def generator(seed=0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def windows(x: torch.Tensor, y: torch.Tensor, weight=None, mask=None) -> TensorWindows:
    weight = torch.ones(x.shape[2]) if weight is None else weight
    return TensorWindows(x=x, y=y, mask=torch.ones_like(y) if mask is None else mask, weight=weight)


def toy(problem, real: TensorWindows, start: TensorWindows) -> DistillationProblem:
    return replace(problem, real=real, start=start, n_learned=real.n_features, answer=None)


def synthetic_of(problem, synthesizer) -> SyntheticState:
    parametrisation = encode(problem)
    return SyntheticState(parametrisation, synthesizer.optimizer(parametrisation.tensors))


def error_of(case: DistillationProblem, forecaster: Forecaster, **options) -> torch.Tensor:
    synthesizer = ImprovedDistributionMatching(**options)
    return synthesizer._error(case, synthetic_of(case, synthesizer), forecaster, generator())


def linear_map(case: DistillationProblem, slope: float, constant: float) -> Forecaster:
    """A forecaster of one step from one step."""
    forecaster = make_forecaster("linear", **shape_of(case.start)).eval()
    forecaster.head.assign(torch.tensor([[slope]]), torch.tensor([constant]))
    return forecaster


def test_a_ramp_in_two_parts():
    ramp = torch.arange(8.0).view(1, 1, 8)
    parts = expanded_parts(ramp, 2)
    assert parts.shape == (2, 1, 1, 8)
    torch.testing.assert_close(parts[0, 0, 0], torch.linspace(0, 3, 8))
    torch.testing.assert_close(parts[1, 0, 0], torch.linspace(4, 7, 8))


def test_parts_of_unequal_length_and_by_feature():
    sequences = torch.stack([torch.arange(5.0), 7 - 2 * torch.arange(5.0)])[None]
    first, second = expanded_parts(sequences, 2)  # of three steps and of two
    torch.testing.assert_close(first[0], torch.tensor([[0, 0.5, 1, 1.5, 2], [7, 6, 5, 4, 3]]))
    torch.testing.assert_close(
        second[0], torch.tensor([[3, 3.25, 3.5, 3.75, 4], [1, 0.5, 0, -0.5, -1]])
    )


def test_one_part_is_the_sequence():
    sequences = torch.randn(3, 2, 7, generator=generator())
    assert torch.equal(expanded_parts(sequences, 1)[0], sequences)


def test_expansion_is_differentiable():
    sequences = torch.randn(2, 2, 7, generator=generator()).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: expanded_parts(s, 3), sequences)


def test_products_with_labels_are_means_by_class():
    features = torch.randn(6, 3, generator=generator())
    classes = torch.tensor([0, 0, 1, 0, 1, 1])
    labels = torch.nn.functional.one_hot(classes).float()
    means = features_with_targets(features, labels).mean(0)
    frequency, products = means[3:5], means[5:].view(3, 2)
    for number in range(2):
        expected = features[classes == number].mean(0)
        torch.testing.assert_close(products[:, number] / frequency[number], expected)


def test_the_explained_share_counts_what_is_observed_by_its_weight():
    y, weight = torch.tensor([[[0.0, 4.0, 1e3]]]), torch.tensor([1.0, 3.0, 1.0])
    seen = windows(torch.zeros(1, 1, 3, 1), y, weight, torch.tensor([[[1.0, 1, 0]]]))
    # mean 3, variance (9 + 3 * 1) / 4 = 3, error (0 + 3 * 1) / 4 = 0.75
    share = explained_share(torch.tensor([[[0.0, 5.0, 0.0]]]), seen)
    assert share.item() == pytest.approx(0.75)


def test_the_views_of_a_window_by_hand(problem):
    ramp = torch.arange(9.0)
    x = torch.stack([ramp[:6], 10 * ramp[:6]], dim=1).view(1, 6, 1, 2)
    seen = windows(x, ramp[6:].view(1, 3, 1))
    case = toy(problem, seen, seen)
    synthesizer = ImprovedDistributionMatching(parts=2)
    forecaster = make_forecaster("linear", **shape_of(seen)).eval()
    sequence = torch.stack([ramp, torch.cat([10 * ramp[:6], torch.full((3,), 50.0)])])[None]
    assert torch.equal(joined_sequence(x, seen.y[:, :, 0], 1, held=True), sequence)
    described, forecast = synthesizer._described(forecaster, sequence, seen, case.graph)
    # Five steps and four, on nine; the first six of nine are inputs.
    first, second = torch.linspace(0, 4, 9), torch.linspace(5, 8, 9)
    held = torch.full((9,), 50.0)
    views = [(ramp, sequence[0, 1]), (first, 10 * first), (second, held)]
    expected = torch.stack([torch.stack(view, dim=1)[:6] for view in views])[:, :, None]
    features = penultimate_features(forecaster, expected, case.graph, seen.profile)[:, 0]
    targets = torch.stack([view[0][6:] for view in views])
    torch.testing.assert_close(described, features_with_targets(features, targets))
    torch.testing.assert_close(forecast, forecaster(x, case.graph, seen.profile))


def hand(problem) -> DistillationProblem:
    """One step in, one out. Real (0, 1) and (2, 3), synthetic (1, 2) and (3, 2)."""
    real = windows(torch.tensor([0.0, 2]).view(1, 1, 2, 1), torch.tensor([1.0, 3]).view(1, 1, 2))
    start = windows(torch.tensor([1.0, 3]).view(1, 1, 2, 1), torch.tensor([2.0, 2]).view(1, 1, 2))
    return toy(problem, real, start)


@pytest.mark.parametrize(
    ("slope", "constant", "weight", "expected"),
    [
        # Means of x, y and x * y: real 1, 2 and 3, variances 1, 1 and 9; synthetic 2, 2 and 4.
        (1.0, 1.0, 0.0, (1 + 0 + 1 / 9) / 3),
        # Forecasts of the real targets are exact; those of the synthetic ones are 2 and 4.
        (1.0, 1.0, 0.5, (1 + 0 + 1 / 9) / 3 + 0.5 * 1.0 * 2.0),
        # 1.5 and 2.5 leave a quarter of the variance, the synthetic ones are 2 and 3.
        (0.5, 1.5, 0.5, (1 + 0 + 1 / 9) / 3 + 0.5 * 0.75 * 0.5),
        # A forecaster that explains nothing has no say.
        (0.0, 2.5, 0.5, (1 + 0 + 1 / 9) / 3),
    ],
)
def test_whole_windows_by_hand(problem, slope, constant, weight, expected):
    case = hand(problem)
    forecaster = linear_map(case, slope, constant)
    error = error_of(case, forecaster, parts=1, error_weight=weight)
    assert error.item() == pytest.approx(expected, rel=1e-5)


def test_features_that_hardly_vary_have_no_unit_of_their_own():
    real = torch.tensor([[0.0, 0.0], [2.0, 1e-6]])  # variances 1 and 2.5e-13
    synthetic, half = torch.tensor([[1.0, 0.1]]), torch.tensor([0.5, 0.5])
    own = mean_distance(real, synthetic, half, torch.ones(1))
    assert own.item() > 1e9
    common = mean_distance(real, synthetic, half, torch.ones(1), least=0.5)
    assert common.item() == pytest.approx(0.1**2 / 0.25 / 2, rel=1e-3)


@pytest.mark.parametrize("surrogate", ["linear", "mlp"])
def test_the_same_samples_have_no_distance(problem, surrogate):
    features = problem.start.n_features
    x = torch.randn(1, 6, 4, features, generator=generator())
    same = windows(x, torch.randn(1, 3, 4, generator=generator(1)), torch.tensor([0.4, 0.6, 1, 2]))
    forecaster = make_forecaster(surrogate, **shape_of(same)).eval()
    case = toy(problem, same, same)
    assert error_of(case, forecaster, error_weight=0.0).item() == pytest.approx(0.0, abs=1e-6)
    other = windows(same.x, same.y)  # the same samples with other weights
    case = toy(problem, other, same)
    assert error_of(case, forecaster, error_weight=0.0).item() > 1e-4


def test_missing_targets_have_no_influence(problem):
    x = torch.randn(5, 6, 2, 1, generator=generator())
    y, mask = torch.randn(5, 3, 2, generator=generator(1)), torch.ones(5, 3, 2)
    mask[0, 1], mask[3, 0, 1] = 0.0, 0.0
    values = []
    for fill in (0.0, 1e3):
        spoilt = windows(x, torch.where(mask > 0, y, fill), mask=mask)
        case = toy(problem, spoilt, spoilt)
        synthesizer = ImprovedDistributionMatching(batch_windows=8)
        synthetic = synthetic_of(case, synthesizer)
        forecaster = make_forecaster("mlp", **shape_of(spoilt)).eval()
        torch.nn.utils.vector_to_parameters(
            torch.linspace(-0.3, 0.3, sum(p.numel() for p in forecaster.parameters())),
            forecaster.parameters(),
        )
        value = synthesizer._error(case, synthetic, forecaster, generator())
        values.append(value.item())
        gradient = torch.autograd.grad(value, synthetic.tensors)[1]
        assert gradient[mask == 0].abs().max() == 0
        assert gradient[mask > 0].abs().max() > 0
    assert values[0] == values[1]


def related(problem) -> DistillationProblem:
    """A linear relation in many real windows, to be found by targets that start at 0."""
    x = 1 + torch.randn(60, 6, 4, 1, generator=generator())
    real = windows(x, 2 * x[:, -3:, :, 0] - 1)
    x = torch.randn(6, 6, 4, 1, generator=generator(1))
    return toy(problem, real, windows(x, torch.zeros(6, 3, 4)))


def misfit(synthetic: SyntheticState) -> float:
    x, y = (tensor.detach() for tensor in synthetic.windows())
    return (y - (2 * x[:, -3:, :, 0] - 1)).square().mean().item()


@pytest.mark.parametrize(
    ("surrogate", "trained_on"), [("linear", "real"), ("mlp", "real"), ("linear", "synthetic")]
)
def test_windows_get_the_relation_of_the_real_ones(problem, surrogate, trained_on):
    case = related(problem)
    synthesizer = ImprovedDistributionMatching(
        surrogates=surrogate, steps=60, networks=2, learning_rate=0.05, trained_on=trained_on
    )
    synthetic = synthetic_of(case, synthesizer)
    synthesizer.prepare(case, seed=0, cache=None)
    forecaster = make_forecaster("linear", **shape_of(case.start)).eval()
    error = synthesizer._error(case, synthetic, forecaster, generator())
    before = misfit(synthetic)
    synthesizer.improve(case, synthetic, generator())
    assert synthesizer._error(case, synthetic, forecaster, generator()) < 0.6 * error
    if trained_on == "real":  # others have no relation but that of the synthetic windows
        assert misfit(synthetic) < 0.4 * before
    assert synthetic.windows()[0].mean().item() == pytest.approx(1.0, abs=0.4)


def test_lessons_are_real_windows_or_synthetic_ones(problem):
    case = related(problem)
    for trained_on, size in (("real", 7), ("synthetic", 6)):
        synthesizer = ImprovedDistributionMatching(
            surrogates="linear", networks=1, updates=3, batch_windows=7, trained_on=trained_on
        )
        synthetic = synthetic_of(case, synthesizer)
        synthesizer.prepare(case, seed=0, cache=None)
        (network,) = synthesizer.pool_
        lessons = [seen for seen, _ in synthesizer._lessons(case, synthetic, network, generator())]
        assert [len(seen) for seen in lessons] == [size] * 3
        equal = torch.equal(lessons[0].x, lessons[1].x)
        assert equal == (trained_on == "synthetic")  # real ones are drawn for every update


def test_linear_networks_train_too(problem):
    case = related(problem)
    synthesizer = ImprovedDistributionMatching(
        surrogates="linear", networks=1, steps=40, updates=5, surrogate_learning_rate=0.05
    )
    synthetic = synthetic_of(case, synthesizer)
    synthesizer.prepare(case, seed=0, cache=None)
    (network,) = synthesizer.pool_
    network.lifetime = 1000
    batch, graph = synthesizer._real_batch(case, network.forecaster, generator())

    def skill() -> float:
        with torch.no_grad():
            forecast = network.forecaster(batch.x, graph, batch.profile)
        return explained_share(forecast, batch).item()

    assert skill() < 0.5
    synthesizer.improve(case, synthetic, generator())
    assert (synthesizer.pool_[0] is network, network.age) == (True, 200)
    assert skill() > 0.95


@pytest.mark.parametrize("surrogate", ["gru", "mtgnn", "patchtst"])
def test_forecasters_of_many_kinds_are_surrogates(labelled, surrogate):
    synthesizer = ImprovedDistributionMatching(
        **SMALL, surrogates=surrogate, synthetic_samples=6, trained_on="synthetic"
    )
    synthetic = synthetic_of(labelled, synthesizer)
    synthesizer.prepare(labelled, seed=0, cache=None)
    before = [tensor.detach().clone() for tensor in synthetic.tensors]
    assert synthesizer.improve(labelled, synthetic, generator()) > 0
    for old, new in zip(before, synthetic.tensors, strict=True):
        assert not torch.equal(old, new)


def test_same_seed_same_result_and_exact_resume(labelled, tmp_path):
    def fitted(seed, state=None, **changes):
        options = {**SMALL, **changes}
        return ImprovedDistributionMatching(**options).fit(labelled, seed=seed, state=state)

    whole, other = fitted(3), fitted(4, iterations=1)
    assert other.history_[1]["loss"] != whole.history_[1]["loss"]
    state = tmp_path / "run.state"
    fitted(3, state, iterations=2)
    resumed = fitted(3, state)
    assert repr(resumed.history_) == repr(whole.history_)  # losses of starts are NaN
    assert torch.equal(resumed.windows_.x, whole.windows_.x)
    assert torch.equal(resumed.windows_.y, whole.windows_.y)
    for one, two in zip(resumed.pool_, whole.pool_, strict=True):
        assert (one.age, one.lifetime) == (two.age, two.lifetime)
        pairs = zip(one.forecaster.parameters(), two.forecaster.parameters(), strict=True)
        assert all(torch.equal(*pair) for pair in pairs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parts": 0}, "parts is 0: it must be a whole number of at least 1"),
        ({"error_weight": -1.0}, "error_weight is -1.0: it must be at least 0"),
        ({"error_weight": float("nan")}, "error_weight is nan: it must be at least 0"),
        ({"trained_on": "reel"}, "unknown trained_on 'reel': did you mean 'real'"),
        ({"networks": 0}, "networks is 0: it must be a whole number of at least 1"),
        ({"iterations": -1}, "iterations is -1"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0: it must be above 0"),
        ({"surrogates": ""}, "surrogates is empty: name at least one forecaster"),
        ({"surrogates": "unet"}, "'unet' cannot be a surrogate: it needs a regular grid"),
        ({"relabel": 2.0}, "relabel is 2.0: it must be a share"),
    ],
)
def test_parameters_are_checked(options, message):
    with pytest.raises(InputError, match=message):
        make_synthesizer("improved-distribution-matching", **options).optimizer(
            [torch.zeros(1, requires_grad=True)]
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"parts": 5}, "parts is 5: a window of 9 steps, inputs and targets, has at most 4 parts"),
        ({"surrogates": "dlinear"}, "does not end in a linear layer shared by all"),
    ],
)
def test_what_does_not_suit_the_data_is_refused_at_once(problem, options, message, monkeypatch):
    monkeypatch.setattr(ImprovedDistributionMatching, "improve", None)
    with pytest.raises(InputError, match=message):
        ImprovedDistributionMatching(**options).fit(problem)
