from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge

from stemdist.data.windows import TensorWindows
from stemdist.distill import DistillationProblem, make_synthesizer
from stemdist.distill.parametrisation import encode
from stemdist.distill.synthesizer import SyntheticState
from stemdist.distill.synthesizers.kernel_ridge import KernelRidge
from stemdist.distill.synthesizers.moments import ClosedForm
from stemdist.distill.synthesizers.ridge import ridge_answers
from stemdist.errors import InputError
from stemdist.forecast import FORECASTERS, TrainingSettings, make_forecaster, shape_of
from stemdist.forecast.forecasters import mtgnn
from stemdist.forecast.hidden_states import penultimate_features

LINEAR = {"surrogates": "linear", "final_surrogates": ""}
MLP = {"surrogates": "mlp", "final_surrogates": ""}
SMALL = {
    "iterations": 3,
    "patience": 3,
    "steps": 3,
    "networks": 2,
    "longest": 3,
    "batch_windows": 8,
}


@pytest.fixture(scope="module")
def problem(make_problem) -> DistillationProblem:
    return make_problem(labels="observed")


@pytest.fixture(scope="module")
def labelled(make_problem) -> DistillationProblem:
    """Real batches are at the real locations, labelled by experts."""
    return make_problem(labels="expert")


def generator(seed=0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def samples(n, columns, seed=0):
    draws = generator(seed)
    features = torch.randn(n, columns, generator=draws).double()
    targets = torch.randn(n, 2, generator=draws).double()
    return features, targets, torch.randn(4, columns, generator=draws).double()


def synthetic_of(problem, synthesizer) -> SyntheticState:
    parametrisation = encode(problem)
    return SyntheticState(parametrisation, synthesizer.optimizer(parametrisation.tensors))


@pytest.mark.parametrize("n", [3, 5, 6, 20])
@pytest.mark.parametrize("masked", [False, True])
def test_equals_scikit_learn_whichever_system_is_smaller(n, masked):
    features, targets, queries = samples(n, 5)
    share = torch.rand(n, 1, generator=generator(1)).double().expand(n, 2).clone() + 0.1
    if masked:
        share[0, 1] = 0.0
    found = ridge_answers(features, targets, share, queries, 0.1)
    one = np.ones((n, 1))
    for column in range(2):
        design = np.concatenate([features.numpy(), one], axis=1)
        weight = share[:, column].numpy()
        alpha = 0.1 * (weight[:, None] * design**2).sum() / n
        model = Ridge(alpha=alpha, fit_intercept=False)
        model.fit(design, targets[:, column].numpy(), sample_weight=weight)
        expected = model.predict(np.concatenate([queries.numpy(), one[:1].repeat(4, 0)], axis=1))
        np.testing.assert_allclose(found[:, column].numpy(), expected, rtol=1e-8)


@pytest.mark.parametrize("n", [3, 9])
@pytest.mark.parametrize("masked", [False, True])
def test_gradient_agrees_with_finite_differences(n, masked):
    features, targets, queries = samples(n, 4)
    share = torch.ones(n, 2).double()
    share[0, 0] = 0.0 if masked else 1.0
    inputs = (features.requires_grad_(), targets.requires_grad_())
    assert torch.autograd.gradcheck(
        lambda f, t: ridge_answers(f, t, share, queries, 1e-2), inputs, eps=1e-6
    )


def test_limits_of_the_ridge():
    features, targets, _ = samples(4, 6)
    ones = torch.ones(4, 2).double()
    torch.testing.assert_close(ridge_answers(features, targets, ones, features, 1e-12), targets)
    assert ridge_answers(features, targets, ones, features, 1e9).abs().max() < 1e-6


def suitable_forecasters() -> list[str]:
    """Return those of any locations that end in a linear layer."""
    others = ("binned-rnn", "dlinear", "module", "hf-patchtst", "hf-patchtsmixer")
    names = [name for name in FORECASTERS.names() if name not in others]
    return [name for name in names if not FORECASTERS.get(name).needs_grid]


@pytest.mark.parametrize("name", suitable_forecasters())
def test_features_belong_to_their_window(problem, name, monkeypatch):
    monkeypatch.setattr(mtgnn, "_PART_ROWS", 2 * problem.start.n_locations)  # two windows at once
    torch.manual_seed(0)
    forecaster = make_forecaster(name, **shape_of(problem.start)).eval()
    x, profile = problem.start.x[:3], problem.start.profile
    moved = x.clone()
    moved[1] += torch.randn(x[1].shape)
    with torch.no_grad():
        before, after = (
            penultimate_features(forecaster, inputs, problem.graph, profile)
            for inputs in (x, moved)
        )
    assert before.shape[:2] == (3, problem.start.n_locations)
    assert torch.allclose(before[[0, 2]], after[[0, 2]], atol=1e-5)
    assert (before[1] - after[1]).abs().amax(1).min() > 1e-4  # at every location


def test_features_of_a_step_by_step_decoder(problem):
    forecaster = make_forecaster("dcrnn", **shape_of(problem.start)).eval()
    start = problem.start
    features = penultimate_features(forecaster, start.x, problem.graph, start.profile)
    steps = features.unflatten(2, (start.horizon, -1))  # (B, N, L_out, H)
    forecast = forecaster.head(steps)[..., 0].transpose(1, 2)
    expected = forecaster(start.x, problem.graph, start.profile)
    torch.testing.assert_close(forecast, expected)


def toy(problem) -> DistillationProblem:
    """A linear relation in many real windows; the synthetic targets start at 0."""
    draws = generator()
    x = torch.randn(80, 6, 4, problem.start.n_features, generator=draws)
    y = 2 * x[:, -3:, :, 0] - 1
    weight = problem.start.weight
    real = TensorWindows(x=x, y=y, mask=torch.ones_like(y), weight=weight)
    x = torch.randn(20, *x.shape[1:], generator=draws)
    y = torch.zeros(20, 3, 4)
    start = TensorWindows(x=x, y=y, mask=torch.ones_like(y), weight=weight)
    return replace(problem, real=real, start=start, n_learned=x.shape[3], answer=None)


def test_synthetic_windows_that_are_right_have_no_error(problem):
    case = toy(problem)
    start = replace(case.start, y=2 * case.start.x[:, -3:, :, 0] - 1)
    case = replace(case, start=start)
    synthesizer = KernelRidge(**LINEAR, ridge=1e-9)
    forecaster = make_forecaster("linear", **shape_of(start))
    synthetic = synthetic_of(case, synthesizer)
    error = synthesizer._error(case, synthetic, forecaster, generator())
    assert error.item() == pytest.approx(0.0, abs=1e-8)


@pytest.mark.parametrize("surrogate", ["linear", "mlp"])
def test_the_error_falls(problem, surrogate):
    case = toy(problem)
    synthesizer = KernelRidge(
        surrogates=surrogate,
        final_surrogates="",
        steps=60,
        networks=3,
        updates=2,
        longest=100,
        learning_rate=0.05,
        batch_windows=16,
        ridge=1e-3,
    )
    synthetic = synthetic_of(case, synthesizer)
    synthesizer.prepare(case, seed=0, cache=None)
    first = synthesizer._error(case, synthetic, synthesizer.pool_[0].forecaster, generator())
    synthesizer.improve(case, synthetic, generator())
    last = synthesizer._error(case, synthetic, synthesizer.pool_[0].forecaster, generator())
    assert last < 0.5 * first


def test_families_take_turns_in_the_pool(problem):
    synthesizer = KernelRidge(**SMALL, surrogates="mlp,linear", final_surrogates=())
    synthesizer.fit(problem, seed=0)
    names = [type(network.forecaster).__name__ for network in synthesizer.pool_]
    assert names == ["MLPForecaster", "LinearForecaster"]  # also after some gave way to fresh ones


JOINED = {
    **SMALL,
    "iterations": 2,
    "final_iterations": 2,
    "surrogates": "linear",
    "final_surrogates": "mlp,gru",
}


@pytest.fixture(scope="module")
def alone(labelled) -> KernelRidge:
    """A first round without a last one."""
    return KernelRidge(**{**JOINED, **LINEAR}).fit(labelled, seed=1)


@pytest.fixture(scope="module")
def joined(labelled) -> KernelRidge:
    """Both rounds."""
    return KernelRidge(**JOINED).fit(labelled, seed=1)


@pytest.fixture(scope="module")
def joined_few(few) -> KernelRidge:
    """Both rounds, of windows that learn their calendar."""
    return KernelRidge(**JOINED).fit(few, seed=1)


def test_families_join_in_a_last_round(labelled, alone, joined):
    whole = joined
    assert all("round" not in row for row in alone.history_)
    assert [row["round"] for row in whole.history_] == [1, 1, 1, 2, 2, 2]
    assert [row["iteration"] for row in whole.history_] == [0, 1, 2, 2, 3, 4]
    assert whole.history_[1:3] == [{**row, "round": 1} for row in alone.history_[1:]]
    last, judged = whole.later_stage(replace(labelled, start=alone.windows_))
    assert (last.surrogates, last.steps, last.iterations) == (("linear", "mlp", "gru"), 9, 2)
    assert (last.average, whole.average) == (whole.final_average, 0.998)  # a longer memory
    assert (whole.networks, last.networks) == (2, 3)  # a place in the pool for each family
    assert (judged.judges, judged.judge_seeds) == (("linear", "mlp", "gru"), 1)
    errors = [row["validation"] for row in whole.history_[3:]]
    assert replace(judged, start=alone.windows_).score(alone.windows_) == errors[0]
    assert whole.best_ == min(errors) == judged.score(whole.windows_)


def test_a_last_round_that_helps_nobody_is_left_out(labelled, alone):
    spoilt = KernelRidge(**JOINED)
    spoilt.later_stage = lambda problem: (  # type: ignore[method-assign]
        KernelRidge(
            **{
                **SMALL,
                "iterations": 1,
                "surrogates": "mlp",
                "final_surrogates": "",
                "learning_rate": 10.0,
            }
        ),
        replace(labelled, start=alone.windows_),
    )
    spoilt.fit(labelled, seed=1)
    assert spoilt.history_[-1]["validation"] > spoilt.history_[-2]["validation"] == spoilt.best_
    assert torch.equal(spoilt.windows_.x, alone.windows_.x)


def test_there_is_no_last_round_without_a_first(labelled):
    synthesizer = KernelRidge(**{**JOINED, "iterations": 0}).fit(labelled)
    assert len(synthesizer.history_) == 1
    assert torch.equal(synthesizer.windows_.x, labelled.start.x)


@pytest.mark.parametrize(("beyond", "rounds"), [(0, 2), (1, 1)])
def test_large_sets_have_no_last_round(labelled, beyond, rounds):
    n_samples = len(labelled.start) * labelled.start.n_locations
    options = {**JOINED, "iterations": 1, "final_samples": n_samples - beyond}
    history = KernelRidge(**options).fit(labelled).history_
    assert len({row.get("round", 1) for row in history}) == rounds


@pytest.fixture(scope="module")
def few(make_problem) -> DistillationProblem:
    """Two windows, no more than the dimensions of the calendar, which they learn."""
    problem = make_problem(
        labels="expert",
        time_ratio=0.01,
        window_times="shared",
        space_ratio=1.0,
        clusters=None,
        judging=TrainingSettings(updates=40),
    )
    assert problem.n_learned > problem.n_series
    return problem


def test_windows_that_learn_their_calendar_start_from_their_closed_form(few, joined_few):
    closed = ClosedForm().fit(few, seed=1)
    assert closed.best_ < closed.history_[0]["validation"]
    still = KernelRidge(
        **{
            **SMALL,
            "iterations": 1,
            "surrogates": "linear",
            "final_surrogates": "",
            "learning_rate": 1e-9,
        }
    )
    still.fit(few, seed=1)
    torch.testing.assert_close(still.windows_.x, closed.windows_.x)
    assert repr(still.history_[:2]) == repr(closed.history_)
    assert [row["iteration"] for row in still.history_] == [0, 1, 2]
    rounds = joined_few
    assert repr([row["validation"] for row in rounds.history_[:2]]) == repr(
        [row["validation"] for row in closed.history_]
    )
    assert [row["iteration"] for row in rounds.history_] == [0, 1, 2, 3, 3, 4, 5]
    assert [row["round"] for row in rounds.history_] == [1, 1, 1, 1, 2, 2, 2]


def test_a_closed_form_that_validation_refuses_is_no_start(few, monkeypatch):
    monkeypatch.setattr(ClosedForm, "improve", spoil)
    fitted = KernelRidge(**SMALL, **LINEAR).fit(few, seed=1)
    alone = KernelRidge(**SMALL, **LINEAR, closed_form=False).fit(few, seed=1)
    assert torch.equal(fitted.windows_.x, alone.windows_.x)
    assert len(fitted.history_) == len(alone.history_) + 1


def spoil(self, problem, synthetic, generator) -> float:
    with torch.no_grad():
        synthetic.tensors[1].fill_(100.0)
    return 0.0


@pytest.mark.parametrize(
    "changes",
    [
        {"time_ratio": 0.1},  # the calendar is fixed
        {"parametrisation": "spectral"},  # not every number is free
        {"synthesizer_options": {"iterations": 0}},
    ],
)
def test_other_windows_start_as_they_are(make_problem, changes, monkeypatch):
    monkeypatch.setattr(ClosedForm, "improve", None)
    few = make_problem(**{"labels": "expert", "time_ratio": 0.01, **changes})
    options = {**SMALL, "iterations": 1, **LINEAR}
    fitted = KernelRidge(**{**options, **changes.get("synthesizer_options", {})}).fit(few)
    assert len(fitted.history_) == fitted.iterations + 1


@pytest.mark.parametrize(("steps_before", "windows"), [(1, "many"), (8, "few"), (20, "many")])
def test_a_last_round_continues_exactly(
    labelled, few, joined, joined_few, tmp_path, monkeypatch, steps_before, windows
):
    labelled, whole = (few, joined_few) if windows == "few" else (labelled, joined)
    state, match, calls = tmp_path / "run.state", KernelRidge._match, []

    def stops(self, *args):
        calls.append(1)
        if len(calls) > steps_before:
            raise KeyboardInterrupt
        return match(self, *args)

    monkeypatch.setattr(KernelRidge, "_match", stops)
    with pytest.raises(KeyboardInterrupt):  # in the first round, and twice in the last
        KernelRidge(**JOINED).fit(labelled, seed=1, state=state)
    monkeypatch.setattr(KernelRidge, "_match", match)
    for _ in range(2):  # the second time all is done
        again = KernelRidge(**JOINED).fit(labelled, seed=1, state=state)
        assert repr(again.history_) == repr(whole.history_)
        assert torch.equal(again.windows_.x, whole.windows_.x)
        assert torch.equal(again.windows_.y, whole.windows_.y)
    assert again.earlier_seconds_ > 0


def test_masks_and_weights_of_synthetic_samples(problem):
    case = toy(problem)
    mask = case.start.mask.clone()
    mask[0, 1], mask[:, :, 2] = 0.0, 0.0
    case = replace(case, start=replace(case.start, mask=mask))
    synthesizer = KernelRidge(**LINEAR)
    forecaster = make_forecaster("linear", **shape_of(case.start))
    values = []
    for fill in (0.0, 1e3):
        y = torch.where(mask > 0, case.start.x[:, :3, :, 0], fill)
        case = replace(case, start=replace(case.start, y=y))
        synthetic = synthetic_of(case, synthesizer)
        error = synthesizer._error(case, synthetic, forecaster, generator())
        x, y = torch.autograd.grad(error, synthetic.tensors)
        assert y[mask == 0].abs().max() == 0
        assert x[:, :, 2].abs().max() == 0  # no target, so no sample
        values.append(error.item())
    assert values[0] == values[1]
    heavy = replace(case.start, weight=case.start.weight * torch.tensor([1.0, 5, 1, 1]))
    other = replace(case, start=heavy)
    synthetic = synthetic_of(other, synthesizer)
    assert synthesizer._error(other, synthetic, forecaster, generator()).item() != values[0]


def test_a_part_of_the_synthetic_samples(problem):
    synthesizer = KernelRidge(synthetic_samples=6)
    forecaster = make_forecaster("linear", **shape_of(problem.start))
    synthetic = synthetic_of(problem, synthesizer)
    error = synthesizer._error(problem, synthetic, forecaster, generator())
    moved = (torch.autograd.grad(error, synthetic.tensors)[0] != 0).any(dim=3).any(dim=1)
    assert moved.sum() == len(problem.start.weight)  # one window at all clusters
    assert moved.any(dim=1).sum() == 1


def test_networks_age_and_are_replaced(problem):
    synthesizer = KernelRidge(steps=4, networks=1, updates=2, longest=4, batch_windows=4)
    synthetic = synthetic_of(problem, synthesizer)
    synthesizer.prepare(problem, seed=0, cache=None)
    network = synthesizer.pool_[0]
    network.lifetime = 8
    before = [p.detach().clone() for p in network.forecaster.parameters()]
    synthesizer.steps = 3
    synthesizer.improve(problem, synthetic, generator())
    assert (synthesizer.pool_[0] is network, network.age) == (True, 6)
    after = list(network.forecaster.parameters())
    assert not any(torch.equal(*pair) for pair in zip(before[:2], after[:2], strict=True))
    synthesizer.steps = 1
    synthesizer.improve(problem, synthetic, generator())
    assert network.age == 8
    assert synthesizer.pool_[0] is not network
    assert synthesizer.pool_[0].age == 0
    assert 1 <= synthesizer.pool_[0].lifetime <= 4


def test_networks_whose_features_are_the_inputs_age_without_training(problem):
    synthesizer = KernelRidge(
        steps=8,
        networks=2,
        updates=2,
        longest=9,
        batch_windows=4,
        surrogates="mlp,linear",
        final_surrogates="",
    )
    synthetic = synthetic_of(problem, synthesizer)
    synthesizer.prepare(problem, seed=0, cache=None)
    for network in synthesizer.pool_:
        network.lifetime = 100  # none gives way
    before = [
        [p.detach().clone() for p in network.forecaster.parameters()]
        for network in synthesizer.pool_
    ]
    synthesizer.improve(problem, synthetic, generator())
    ages = [network.age for network in synthesizer.pool_]
    assert sum(ages) == 16
    assert min(ages) > 0
    moved = [
        any(not torch.equal(*pair) for pair in zip(old, now.forecaster.parameters(), strict=True))
        for old, now in zip(before, synthesizer.pool_, strict=True)
    ]
    assert moved == [True, False]
    weights = torch.nn.utils.parameters_to_vector(synthesizer.pool_[1].forecaster.parameters())
    x, graph, profile = problem.start.x, problem.graph, problem.start.profile
    linear = synthesizer.pool_[1].forecaster
    features = penultimate_features(linear, x, graph, profile)
    torch.nn.utils.vector_to_parameters(weights + 1.0, linear.parameters())
    assert torch.equal(penultimate_features(linear, x, graph, profile), features)


def test_same_seed_same_result_and_exact_resume(labelled, tmp_path):
    def fitted(seed, state=None, **changes):
        options = {**SMALL, "final_surrogates": "", **changes}
        return KernelRidge(**options).fit(labelled, seed=seed, state=state)

    whole, other = fitted(3), fitted(4, iterations=1)
    assert other.history_[1]["loss"] != whole.history_[1]["loss"]
    state = tmp_path / "run.state"
    fitted(3, state, iterations=2)
    resumed = fitted(3, state)
    assert repr(resumed.history_) == repr(whole.history_)  # losses of starts are NaN
    assert torch.equal(resumed.windows_.x, whole.windows_.x)
    assert torch.equal(resumed.windows_.y, whole.windows_.y)


def test_a_network_that_went_astray_is_replaced(problem):
    synthesizer = KernelRidge(steps=1, networks=1, batch_windows=4)
    synthetic = synthetic_of(problem, synthesizer)
    synthesizer.prepare(problem, seed=0, cache=None)
    lost = synthesizer.pool_[0]
    with torch.no_grad():
        next(lost.forecaster.parameters()).fill_(float("nan"))
    before = synthetic.tensors[0].detach().clone()
    assert synthesizer.improve(problem, synthetic, generator()) == float("inf")
    assert torch.equal(synthetic.tensors[0].detach(), before)
    assert synthesizer.pool_[0] is not lost


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"networks": 0}, "networks is 0: it must be a whole number of at least 1"),
        ({"iterations": -1}, "iterations is -1"),
        ({"final_iterations": 0}, "final_iterations is 0: it must be a whole number of at least 1"),
        ({"final_samples": 0}, "final_samples is 0: it must be a whole number of at least 1"),
        ({"ridge": 0.0}, r"ridge is 0.0: it must be above 0"),
        ({"relabel": -1.0}, "relabel is -1.0: it must be a share"),
        ({"average": 1.0}, "average is 1.0: it must be at least 0 and below 1"),
        ({"final_average": -0.5}, "final_average is -0.5: it must be at least 0 and below 1"),
        ({"tolerance": -0.1}, "tolerance is -0.1: it must be at least 0 and below 1"),
        ({"patience": 0}, "patience is 0: it must be a whole number of at least 1"),
        (
            {"surrogates": "mpl"},
            "unknown forecaster 'mpl': did you mean 'mlp'",
        ),
        ({"final_surrogates": "mpl"}, "unknown forecaster 'mpl': did you mean 'mlp'"),
        (
            {"surrogates": "unet"},
            "'unet' cannot be a surrogate: it needs a regular grid",
        ),
    ],
)
def test_parameters_are_checked(options, message):
    with pytest.raises(InputError, match=message):
        make_synthesizer("kernel-ridge", **options).optimizer([torch.zeros(1, requires_grad=True)])


@pytest.mark.parametrize("surrogate", [("dlinear", ""), ("linear", "gru,dlinear")])
def test_a_surrogate_without_a_last_layer_is_refused_at_once(problem, surrogate, monkeypatch):
    monkeypatch.setattr(KernelRidge, "improve", None)
    with pytest.raises(InputError, match="does not end in a linear layer shared by all"):
        KernelRidge(surrogates=surrogate[0], final_surrogates=surrogate[1]).fit(problem)
