from dataclasses import replace

import pytest
import torch

from stemdist.data.windows import TensorWindows
from stemdist.distill import (
    DistillationProblem,
    DistillSettings,
    distill,
    make_synthesizer,
    pipeline,
    starting_point,
)
from stemdist.distill.methods import METHODS
from stemdist.distill.parametrisation import PARAMETRISATIONS, encode
from stemdist.distill.parametrisations.series import SeriesCuts
from stemdist.distill.parametrisations.spectral import SpectralWindows, spatial_modes
from stemdist.distill.ratios import stored_bytes
from stemdist.errors import InputError
from stemdist.forecast import TrainingSettings

OPTIONS = {"iterations": 3, "steps": 2, "epochs": 1, "batch_windows": 16, "learning_rate": 0.01}


@pytest.fixture(scope="module")
def cut(quick) -> DistillSettings:
    return replace(
        quick,
        time_ratio=0.2,
        labels="observed",
        selection="contiguous",
        judges=("linear",),
        judging=TrainingSettings(updates=5),
    )


def problem_of(task, settings) -> DistillationProblem:
    return pipeline.problem_of(task, settings, starting_point(task, settings))


@pytest.fixture(scope="module")
def problem(task, cut) -> DistillationProblem:
    return replace(problem_of(task, cut), within=None)  # tests give it values of their own


def by_hand(problem, x, y, mask=None, *, targets=1) -> DistillationProblem:
    """Return the problem with a start of (M_S, L_in, K, F) and (M_S, C * L_out, K)."""
    start = TensorWindows(
        x=x,
        y=y,
        mask=torch.ones_like(y) if mask is None else mask,
        weight=torch.ones(x.shape[2]),
        targets=targets,
    )
    return replace(problem, start=start, real=start, n_series=x.shape[3], n_learned=x.shape[3])


def cuts(series, starts, length):
    return torch.stack([series[begin : begin + length] for begin in starts])


def test_series_gives_back_the_observed_windows(problem):
    x, y = SeriesCuts(problem).windows()
    start = problem.start
    assert (start.mask == 0).any()
    assert torch.equal(x, start.x[..., : problem.n_series])
    assert torch.allclose(y, start.y, atol=1e-6)


def test_numbers_of_a_series_by_hand(problem):
    # 3 windows with starts 0, 1, 2 and 2 with starts 20, 22, of 4 + 2 steps, at 5 clusters
    series = torch.arange(200.0).reshape(40, 5)
    starts = (0, 1, 2, 20, 22)
    x, y = cuts(series, starts, 4)[..., None], cuts(series[4:], starts, 2)
    made = SeriesCuts(by_hand(problem, x, y))
    assert made.n_numbers == (8 + 8) * 5  # steps 0-7 and 20-27
    assert torch.equal(made.windows()[0], x)
    assert torch.equal(made.windows()[1], y)
    # a second feature needs the input steps only: 0-5 and 20-25
    wider = SeriesCuts(by_hand(problem, torch.cat([x, -x], -1), y))
    assert wider.n_numbers == made.n_numbers + (6 + 6) * 5
    assert torch.equal(wider.windows()[0], torch.cat([x, -x], -1))


def test_two_targets_share_the_series(problem):
    series = torch.arange(60.0).reshape(10, 3, 2)  # (T, K, C)
    x = cuts(series, (0, 1, 2), 4)
    y = cuts(series[4:], (0, 1, 2), 2).permute(0, 3, 1, 2).flatten(1, 2)
    made = SeriesCuts(by_hand(problem, x, y, targets=2))
    assert made.n_numbers == 8 * 3 * 2
    assert torch.equal(made.windows()[1], y)


def test_overlapping_targets_are_averaged_by_hand(problem):
    # windows 0 and 1 read the steps 0-3 and 1-4: x (0, 1) and (1, 2), y (2, 3) and (3, 4)
    series = torch.arange(5.0)[:, None]
    x, y = cuts(series, (0, 1), 2)[..., None], cuts(series[2:], (0, 1), 2)
    made = SeriesCuts(by_hand(problem, x, y))
    made.relabel(torch.tensor([[10.0, 20.0], [30.0, 40.0]])[..., None])
    assert made.tensors[0].flatten().tolist() == [0, 1, 10, 25, 40]
    x, y = (part.squeeze().tolist() for part in made.windows())
    assert x == [[0, 1], [1, 10]]
    assert y == [[10, 25], [25, 40]]


def test_targets_that_do_not_count_are_not_written(problem):
    series = torch.arange(5.0)[:, None]
    x, y = cuts(series, (0, 1), 2)[..., None], cuts(series[2:], (0, 1), 2)
    mask = torch.tensor([[1.0, 1.0], [0.0, 0.0]])[..., None]
    made = SeriesCuts(by_hand(problem, x, y * mask, mask))
    made.relabel(torch.tensor([[10.0, 20.0], [30.0, 40.0]])[..., None])
    assert made.tensors[0].flatten().tolist() == [0, 1, 10, 20, 0]
    assert made.windows()[1].squeeze().tolist() == [[10, 20], [0, 0]]


def test_series_needs_windows_that_overlap(problem, task, cut):
    x = torch.arange(3.0)[:, None, None, None].expand(3, 4, 5, 1)
    with pytest.raises(InputError, match="no two of the 3 selected ones do: choose them with"):
        SeriesCuts(by_hand(problem, x, torch.zeros(3, 2, 5)))
    with pytest.raises(InputError, match="'series' needs selection='contiguous'"):
        replace(cut, selection="kmeans", parametrisation="series")


def test_gradients_reach_every_number(problem):
    for made in (SeriesCuts(problem), SpectralWindows(problem)):
        x, y = made.windows()
        gradients = torch.autograd.grad((x**2).sum() + ((y + 1) ** 2).sum(), made.tensors)
        assert all((gradient != 0).float().mean() > 0.9 for gradient in gradients)


def test_spectral_round_trip_at_share_one(problem):
    made = SpectralWindows(problem, time_share=1.0, space_share=1.0)
    x, y = made.windows()
    assert torch.allclose(x, problem.start.x[..., : problem.n_series], atol=1e-5)
    assert torch.allclose(y, problem.start.y, atol=1e-5)


def test_numbers_of_a_spectrum_by_hand(problem):
    # 27 windows of 6 + 3 steps at 4 clusters, 2 learned features: 3 and 2 cosines, 2 modes
    made = SpectralWindows(problem, time_share=0.5, space_share=0.5)
    assert problem.start.y.shape == (27, 3, 4)
    assert made.n_numbers == 27 * 3 * 2 * 2 + 27 * 2 * 2 + 2 * 4 * 2


def test_slow_and_wide_windows_need_one_number(problem):
    generator = torch.Generator().manual_seed(0)
    level, pattern = (torch.randn(shape, generator=generator) for shape in ((9, 1, 1), (5,)))
    x = (level * pattern).expand(9, 6, 5)[..., None]
    made = SpectralWindows(by_hand(problem, x, x[:, :3, :, 0]), time_share=0.2, space_share=0.2)
    assert made.tensors[0].shape == (9, 1, 1, 1)
    assert torch.allclose(made.windows()[0], x, atol=1e-5)
    assert torch.allclose(made.windows()[1], x[:, :3, :, 0], atol=1e-5)


def test_relabelling_a_spectrum_projects(problem):
    full = replace(problem, start=replace(problem.start, mask=torch.ones_like(problem.start.mask)))
    made = SpectralWindows(full)
    y = torch.randn(problem.start.y.shape, generator=torch.Generator().manual_seed(0))
    made.relabel(y)
    projected = made.windows()[1].detach()
    squares = (projected**2).sum() + ((y - projected) ** 2).sum()
    assert squares.item() == pytest.approx((y**2).sum().item(), rel=1e-4)
    made.relabel(projected)
    assert torch.allclose(made.windows()[1], projected, atol=1e-5)


def test_targets_that_do_not_count_do_not_pull(problem):
    made = SpectralWindows(problem, time_share=0.4, space_share=0.3)
    before = made.windows()[1].detach()
    made.relabel(torch.where(problem.start.mask > 0, made._targets().detach(), 100.0))
    assert torch.allclose(made.windows()[1], before, atol=1e-5)


def test_modes_are_orthonormal_and_ordered(problem):
    modes = spatial_modes(problem.real, 2, 4)
    assert torch.allclose(modes.mT @ modes, torch.eye(4).expand(2, 4, 4), atol=1e-5)
    last = problem.real.inputs(torch.arange(len(problem.real)))[:, -1, :, :2]
    power = torch.einsum("mkf,fkq->mfq", last, modes).square().sum(0)
    assert (power.diff(dim=1) <= 1e-3).all()


@pytest.mark.parametrize("share", [0, 1.5])
def test_wrong_share(cut, share):
    with pytest.raises(InputError, match=f"space_share is {share}: it must be a share above 0"):
        replace(cut, parametrisation="spectral", parametrisation_options={"space_share": share})


@pytest.mark.parametrize("name", PARAMETRISATIONS.names())
@pytest.mark.parametrize("labels", ["observed", "incremental", "expert"])
def test_every_parametrisation_distils(task, cut, name, labels):
    settings = replace(
        cut,
        labels=labels,
        expert_seeds=1,
        extra_experts=0,
        parametrisation=name,
        synthesizer_options={
            **cut.synthesizer_options,
            "iterations": 1,
            "surrogates": "linear",
            "final_surrogates": "",
        },
    )
    distilled = distill(task, settings)
    assert torch.isfinite(distilled.windows.x).all()
    problem = problem_of(task, settings)
    stored = stored_bytes(distilled.windows, task.settings, encode(problem).n_numbers)
    series_bytes = 4 * 144 * 12
    assert distilled.record["ratios"]["byte_ratio"] == pytest.approx(stored / series_bytes)
    assert distilled.record["stored_numbers"] == encode(problem).n_numbers


def test_the_start_is_what_the_parametrisation_can_write(task, cut):
    settings = replace(
        cut,
        parametrisation="spectral",
        parametrisation_options={"time_share": 0.34, "space_share": 0.5},
        synthesizer="selection",
        synthesizer_options={},
    )
    distilled = distill(task, settings)
    x, _ = encode(problem_of(task, settings)).windows()
    assert torch.equal(distilled.windows.x[..., :2], x)
    # 2 of 6 cosines and 1 of 3, 2 of 4 modes; 2 calendar features at 27 x 6 steps
    numbers = 27 * 2 * 2 * 2 + 27 * 1 * 2 + 2 * 4 * 2 + 2 * 27 * 6
    assert distilled.record["ratios"]["byte_ratio"] == pytest.approx(numbers / (144 * 12))


@pytest.mark.parametrize("name", ["series", "spectral"])
def test_continues_exactly_where_it_was_stopped(task, cut, tmp_path, monkeypatch, name):
    problem = problem_of(task, replace(cut, labels="incremental", expert_seeds=1))
    problem = replace(problem, parametrisation=name)
    whole = make_synthesizer("gradient-matching", **OPTIONS).fit(problem, seed=5)
    state = tmp_path / "run.state"
    first = make_synthesizer("gradient-matching", **OPTIONS)
    improve, calls = type(first).improve, []

    def stops(self, *args):
        calls.append(1)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return improve(self, *args)

    monkeypatch.setattr(type(first), "improve", stops)
    with pytest.raises(KeyboardInterrupt):
        first.fit(problem, seed=5, state=state)
    monkeypatch.setattr(type(first), "improve", improve)
    again = make_synthesizer("gradient-matching", **OPTIONS).fit(problem, seed=5, state=state)
    assert again.history_[1:] == whole.history_[1:]
    assert torch.equal(again.windows_.x, whole.windows_.x)
    assert torch.equal(again.windows_.y, whole.windows_.y)
    assert whole.history_[1]["loss"] != whole.history_[3]["loss"]


@pytest.mark.parametrize("name", ["tensor", "series", "spectral"])
def test_a_last_round_starts_where_the_first_ended(task, cut, name):
    problem = problem_of(task, replace(cut, labels="expert", expert_seeds=1))  # no gaps
    problem = replace(problem, parametrisation=name)
    options = {
        "iterations": 2,
        "steps": 3,
        "networks": 2,
        "surrogates": "linear",
        "final_surrogates": "",
    }
    best = make_synthesizer("kernel-ridge", **options).fit(problem, seed=3).windows_
    again = replace(problem, start=best)
    x, y = encode(again).windows()
    torch.testing.assert_close(again.inputs(x), best.x, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(y, best.y, rtol=1e-5, atol=1e-5)
    assert encode(again).n_numbers == encode(problem).n_numbers


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_has_valid_settings(method):
    assert DistillSettings.from_json(DistillSettings.of(method).to_json()) == DistillSettings.of(
        method
    )


@pytest.mark.parametrize("method", ["random", "kmeans", "k-center", "herding", "craig"])
def test_coresets_are_real_windows(task, method):
    settings = DistillSettings.of(method, judging=TrainingSettings(updates=5), judge_seeds=1)
    distilled = distill(task, settings)
    assert distilled.y_kind == "observed"
    real = task.train.inputs(torch.arange(len(task.train)), distilled.medoids)
    apart = (real[None] - distilled.windows.x[:, None]).abs()  # the range is rounded
    found = (apart < 1e-6).flatten(2).all(2)
    assert torch.equal(found.sum(1), torch.ones(14, dtype=torch.int64))
    labelled = DistillSettings.of(method, labels="expert")
    assert (labelled.labels, labelled.synthesizer) == ("expert", "selection")


def test_condtsf_learns_a_series(task, quick):
    options = {"iterations": 1, "steps": 3, "trajectories": 1, "inner_steps": 3, "interval": 3}
    settings = DistillSettings.of(
        "condtsf",
        clusters=4,
        expert_seeds=1,
        extra_experts=0,
        expert_training=quick.expert_training,
        judging=TrainingSettings(updates=5),
        judge_seeds=1,
        synthesizer_options=options,
    )
    assert settings.synthesizer_options == {"relabel": 0.01, **options}
    problem = problem_of(task, settings)
    made = make_synthesizer("trajectory-matching", **settings.synthesizer_options)
    seen = []
    made._judge = lambda problem, candidate, *rest: seen.append(candidate)
    made.fit(problem, seed=0)
    x, before = (windows.x[..., : problem.n_series] for windows in (seen[0], problem.start))
    assert not torch.equal(x, before)
    joined = (before[1:, :-1] == before[:-1, 1:]).flatten(1).all(1)
    assert joined.sum() >= 14 - 3  # at most three segments
    assert torch.equal(x[1:, :-1][joined], x[:-1, 1:][joined])
