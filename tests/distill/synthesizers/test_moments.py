from dataclasses import replace

import pytest
import torch

from stemdist.data.windows import TensorWindows
from stemdist.distill import DistillationProblem, distill, make_synthesizer, starting_point
from stemdist.distill.parametrisation import encode
from stemdist.distill.synthesizer import SyntheticState
from stemdist.distill.synthesizers.moments import matched_inputs, matched_targets
from stemdist.errors import InputError
from stemdist.forecast import ForecastTask
from stemdist.forecast.closed_form import fit_linear, moments_of


def windows(n=60, missing=0.0, fixed=0, seed=0) -> TensorWindows:
    """Correlated inputs of 4 clusters, a noisy linear target, and features that stay."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 5, 4, 1, generator=generator).cumsum(1) + 1
    y = 0.7 * x[:, -2:, :, 0] - 0.2 * x[:, :2, :, 0] + 3
    y = y + 0.3 * torch.randn(y.shape, generator=generator)
    phase = torch.rand(n, 1, 1, 1, generator=generator) * 6.28
    calendar = torch.sin(phase + torch.arange(5.0)[:, None, None]).expand(n, 5, 4, 1)
    y = y + calendar[:, :2, :, 0]
    mask = (torch.rand(y.shape, generator=generator) >= missing).float()
    return TensorWindows(
        x=torch.cat([x] + [calendar] * fixed, dim=-1),
        y=y * mask,
        mask=mask,
        weight=torch.tensor([0.4, 0.6, 1.0, 2.0]),
    )


def problem_of(task, quick, real, n_chosen) -> DistillationProblem:
    chosen = torch.arange(n_chosen) * 3
    start = replace(real, x=real.x[chosen], y=real.y[chosen], mask=real.mask[chosen])
    return DistillationProblem(
        task=task,
        real=real,
        graph=starting_point(task, replace(quick, labels="observed")).graph,
        start=start,
        judges=("linear",),
        judging=quick.judging,
        judge_seeds=1,
        n_series=1,
        n_learned=1,
    )


def improved(problem, seed=0, **options) -> tuple[TensorWindows, float]:
    synthesizer = make_synthesizer("closed-form", **options)
    parametrisation = encode(problem)
    synthetic = SyntheticState(parametrisation, synthesizer.optimizer(parametrisation.tensors))
    loss = synthesizer.improve(problem, synthetic, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        return problem.candidate(*synthetic.windows()), loss


def assert_same_forecaster(synthetic, real, ridge, atol=1e-5):
    found, wanted = fit_linear(synthetic, ridge).head, fit_linear(real, ridge).head
    torch.testing.assert_close(found.step_weight(), wanted.step_weight(), atol=atol, rtol=0)
    torch.testing.assert_close(found.bias, wanted.bias, atol=atol, rtol=0)


@pytest.mark.parametrize("ridge", [0.0, 1e-3, 0.5])
def test_every_ridge_solution_is_that_of_all_real_windows(task, quick, ridge):
    real = windows()
    synthetic, missed = improved(problem_of(task, quick, real, 3))  # 12 rows for 5 inputs
    assert missed == 0.0
    assert_same_forecaster(synthetic, real, ridge)


def test_mean_moments_are_equal(task, quick):
    real = windows()
    synthetic, _ = improved(problem_of(task, quick, real, 3))
    for name in ("gram", "_cross"):
        wanted, found = moments_of(real), moments_of(synthetic)
        count = [float(m.gram()[-1, -1]) for m in (wanted, found)]
        values = [getattr(m, name) for m in (wanted, found)]
        wanted, found = (v() if callable(v) else v for v in values)
        torch.testing.assert_close(found / count[1], wanted / count[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("ridge", [0.0, 1e-3])
@pytest.mark.parametrize(("missing", "fixed"), [(0.2, 0), (0.0, 1), (0.2, 1)])
def test_gaps_and_fixed_features_are_exact_at_the_ridge_given(task, quick, ridge, missing, fixed):
    real = windows(missing=missing, fixed=fixed)
    problem = problem_of(task, quick, real, 15)
    synthetic, missed = improved(problem, ridge=ridge)
    assert missed == 0.0
    assert torch.equal(synthetic.x[..., 1:], problem.start.x[..., 1:])
    if fixed:  # waves at five steps have two dimensions: weights are fixed up to what adds nothing
        found, wanted = (fit_linear(w, ridge) for w in (synthetic, real))
        inputs, profile = real.x, real.profile
        torch.testing.assert_close(
            found(inputs, problem.graph, profile),
            wanted(inputs, problem.graph, profile),
            atol=2e-4,
            rtol=0,
        )
    else:
        assert_same_forecaster(synthetic, real, ridge, atol=2e-5)


def test_few_rows_give_the_leading_principal_directions(task, quick):
    real = windows()
    synthetic, missed = improved(problem_of(task, quick, real, 1))  # 4 rows: 3 directions
    moments = moments_of(real)
    gram = moments.gram() / moments.gram()[-1, -1]
    mean = gram[-1, :-1]
    variance, directions = torch.linalg.eigh(gram[:-1, :-1] - torch.outer(mean, mean))
    assert missed == pytest.approx(float(variance[:2].sum() / variance.sum()), rel=1e-6)
    weight, _ = moments.solve(1e-3)
    leading = directions[:, 2:]
    expected = (weight @ leading @ leading.T).float()
    found = fit_linear(synthetic, 1e-3).head.step_weight()
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_one_row_is_the_mean(task, quick):
    real = windows()
    real = replace(
        real, x=real.x[:, :, :1], y=real.y[:, :, :1], mask=real.mask[:, :, :1], weight=torch.ones(1)
    )
    synthetic, missed = improved(problem_of(task, quick, real, 1))
    assert missed == 1.0
    torch.testing.assert_close(synthetic.x[0], real.x.mean(0), atol=1e-5, rtol=0)
    torch.testing.assert_close(synthetic.y[0], real.y.mean(0), atol=1e-4, rtol=0)


def test_windows_that_have_the_moments_stay(task, quick):
    real = windows()
    problem = problem_of(task, quick, real, 3)
    once, _ = improved(problem)
    again, _ = improved(replace(problem, start=once))
    torch.testing.assert_close(again.x, once.x, atol=1e-4, rtol=0)
    torch.testing.assert_close(again.y, once.y, atol=1e-4, rtol=0)


def test_repeated_windows_get_directions_of_their_own(task, quick):
    real = windows()
    problem = problem_of(task, quick, real, 3)
    same = replace(problem.start, x=torch.ones_like(problem.start.x))
    problem = replace(problem, start=same)
    synthetic, _ = improved(problem)
    assert_same_forecaster(synthetic, real, 1e-3)
    assert torch.equal(improved(problem)[0].x, synthetic.x)
    assert not torch.equal(improved(problem, seed=1)[0].x, synthetic.x)


def test_rows_without_a_weight_stay():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(6, 2, generator=generator).double()
    share = torch.tensor([1.0, 0, 2, 1, 1, 1]).double()
    gram = torch.diag(torch.tensor([4.0, 1.0, 1.0])).double()
    learned = torch.tensor([True, True])
    found, _ = matched_inputs(rows, gram, learned=learned, share=share, generator=generator)
    assert torch.equal(found[1], rows[1])
    design = torch.cat([found, torch.ones(6, 1).double()], dim=1)
    torch.testing.assert_close((design * share[:, None] / 6).T @ design, gram)
    with pytest.raises(InputError, match="no target of the chosen windows was observed"):
        matched_inputs(rows, gram, learned=learned, share=share * 0, generator=generator)


def test_a_step_that_the_chosen_windows_never_show_gets_the_forecast():
    rows, share = torch.tensor([[-1.0], [1.0]]).double(), torch.tensor([[1.0, 0], [1, 0]]).double()
    weight, bias = torch.tensor([[1.0], [3.0]]).double(), torch.tensor([0.0, 1.0]).double()
    targets = matched_targets(rows, share, weight, bias, ridge=1.0)
    torch.testing.assert_close(targets, torch.tensor([[-2.0, -2.0], [2.0, 4.0]]).double())


def test_through_distill(task, quick):
    task = ForecastTask.from_series(task.series, replace(task.settings, calendar=(), static=()))
    settings = replace(
        quick,
        labels="observed",
        judges=("linear",),
        judging=replace(quick.judging, updates=150, learning_rate=1e-2),
        synthesizer="closed-form",
        synthesizer_options={},
    )
    history = distill(task, settings).record["history"]
    assert [row["iteration"] for row in history] == [0, 1]
    assert history[1]["validation"] < history[0]["validation"]


def test_what_cannot_be_used(task, quick):
    with pytest.raises(InputError, match=r"ridge is -1: it must be a number of at least 0"):
        make_synthesizer("closed-form", ridge=-1).optimizer([torch.zeros(1, requires_grad=True)])
    problem = problem_of(task, quick, windows(), 3)
    other = replace(problem, parametrisation=OTHER)
    with pytest.raises(InputError, match="sets every number of the windows: use 'tensor'"):
        make_synthesizer("closed-form").prepare(other, seed=0, cache=None)


OTHER = "low-rank"


@pytest.fixture(autouse=True)
def other_parametrisation(monkeypatch):
    from stemdist.distill.parametrisation import PARAMETRISATIONS

    entry = "stemdist.distill.parametrisation:Parametrisation"
    monkeypatch.setitem(PARAMETRISATIONS._builtins, OTHER, entry)
