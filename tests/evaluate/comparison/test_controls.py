from dataclasses import replace

import numpy as np
import pytest
import torch

from stemdist.distill.ratios import stored_bytes
from stemdist.errors import InputError
from stemdist.evaluate import REFERENCES, Budget, evaluate
from stemdist.evaluate.comparison import controls as module
from stemdist.evaluate.comparison.controls import coarse_sizes, coarsen, refine
from stemdist.evaluate.comparison.runs import ratios
from stemdist.evaluate.comparison.training_data import recorded_experts
from stemdist.forecast import predict_windows

CONTROLS = ("full-expert", "clustered", "clustered-expert", "compressed")


@pytest.fixture(scope="module")
def budget(task, distilled, experts_folder) -> Budget:
    return Budget(task=task, distilled=distilled, seed=0, cache=experts_folder / "experts")


def smaller(budget, n_numbers) -> Budget:
    """Return the budget with a set that says it stores so few numbers."""
    record = {**budget.given.record, "stored_numbers": n_numbers}
    return replace(budget, distilled=replace(budget.given, record=record))


def test_full_expert_is_answered_everywhere(budget):
    task, data = budget.task, REFERENCES.get("full-expert")().data(budget)
    assert (len(data.source), data.source.n_locations) == (len(task.train), 8)
    index = torch.tensor([0, 7, len(task.train) - 1])
    x, y, mask = data.source.batch(index)
    assert torch.equal(x, task.train.inputs(index))
    assert mask.all()
    (expert,) = recorded_experts(budget)
    expected = predict_windows(expert.forecaster, task.train, task.graph, index=index)
    assert torch.allclose(y, expected, atol=1e-6)
    assert data.recorded_seconds > 0
    # the series, and 3 answers per window and location
    steps = task.settings.split.boundaries(len(task.train.values))["train"][1]
    assert ratios(task, data)["byte_ratio"] == pytest.approx(1 + len(task.train) * 3 / steps)


def test_blocks_of_answers_do_not_matter(budget, monkeypatch):
    experts = recorded_experts(budget)
    whole = module.all_answers(experts, budget.task)
    monkeypatch.setattr(module, "BLOCK_WINDOWS", 7)
    assert torch.allclose(module.all_answers(experts, budget.task), whole, atol=1e-6)


def test_too_many_answers(budget, monkeypatch):
    monkeypatch.setattr(module, "ANSWER_LIMIT_BYTES", 2**10)
    with pytest.raises(
        InputError, match="leave the reference 'full-expert' out, or use 'clustered-e"
    ):
        REFERENCES.get("full-expert")().data(budget)


def test_pruned_is_the_full_data_with_another_loss(budget, small):
    data = REFERENCES.get("pruned")().data(budget)
    assert data.source is budget.task.train
    loss = data.objective(small.training(seed=0, learning_rate=1e-3))
    assert len(loss.losses) == len(budget.task.train)
    assert (loss.probability, loss.annealed) == (0.5, 0.125)
    few = replace(small, references=("full", "pruned"), forecasters=("linear",), options={})
    found = evaluate(None, budget.task, replace(few, updates=80))  # 20 epochs and more
    errors = found.table.set_index("method")["relative_rmse"]
    assert (errors["full"].to_numpy() != errors["pruned"].to_numpy()).any()
    assert "full data, pruned while training" in str(found)
    assert found.table.set_index("method").loc["pruned", "window_ratio"].eq(1).all()


def test_clustered_is_the_series_of_the_representatives(budget):
    task, data = budget.task, REFERENCES.get("clustered")().data(budget)
    index = torch.arange(5)
    expected = task.train.batch(index, budget.given.medoids)
    for mine, theirs in zip(data.source.batch(index), expected, strict=True):
        assert torch.equal(mine, theirs)
    assert len(data.source) == len(task.train)
    assert torch.equal(data.source.location_weight, budget.given.windows.weight)
    found = ratios(task, data)
    # target and neighbour mean at 3 of 8 locations, of one variable
    assert found["byte_ratio"] == pytest.approx(3 * 2 / 8)
    assert found["window_ratio"] == pytest.approx(3 / 8)


def test_clustered_expert_contains_the_selected_windows(budget):
    data = REFERENCES.get("clustered-expert")().data(budget)
    x, y, mask = data.source.batch(torch.arange(len(data.source)))
    start = budget.given.windows
    same = (start.x[:, None] == x[None]).all(4).all(2)  # (M_S, M, K): each has own windows
    window, place, cluster = same.nonzero(as_tuple=True)
    found = set(zip(window.tolist(), cluster.tolist(), strict=True))
    assert len(found) == len(start) * start.n_locations
    assert torch.allclose(y[place, :, cluster], start.y[window, :, cluster], atol=1e-5)
    assert mask.all()
    numbers = REFERENCES.get("clustered")().data(budget).stored_numbers + y.numel()
    assert data.stored_numbers == numbers


def test_room_for_everything_is_the_full_data(budget):
    task = budget.task
    data = REFERENCES.get("compressed")().data(smaller(budget, 10**7))
    index = torch.arange(len(task.train))
    for mine, theirs in zip(data.source.batch(index), task.train.batch(index), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-4)
    assert ratios(task, data)["byte_ratio"] == 1.0


@pytest.mark.parametrize("numbers", [1, 30, 200, 300])
def test_compressed_takes_no_more_bytes(budget, numbers):
    few = smaller(budget, numbers)
    data = REFERENCES.get("compressed")().data(few)
    allowed = stored_bytes(few.given.windows, few.given.settings, numbers) // 4
    steps = budget.task.settings.split.boundaries(len(budget.task.train.values))["train"][1]
    assert data.stored_numbers <= allowed
    assert ratios(budget.task, data)["byte_ratio"] == pytest.approx(
        data.stored_numbers / (steps * 8)
    )
    assert (len(data.source), data.source.n_locations) == (len(budget.task.train), 8)
    assert data.source.n_features == budget.task.train.n_features


def test_one_number_is_the_mean(budget):
    task = budget.task
    source = REFERENCES.get("compressed")().data(smaller(budget, 1)).source
    steps = len(source.values)
    observed = task.train.observed[:steps, :, 0]
    mean = task.train.values[:steps, :, 0][observed].mean()
    assert torch.allclose(source.values[..., 0], mean.expand(steps, 8), atol=1e-4)


def test_compressed_reads_the_training_part_only(budget, series, task_of):
    few = smaller(budget, 200)
    steps = few.task.settings.split.boundaries(series.sizes["time"])["train"][1]
    poisoned = series.compute().copy(deep=True)
    poisoned["speed"].values[steps:] = 1e6
    poisoned.attrs["opening"] = '{"accept": ["extremes"]}'
    other = REFERENCES.get("compressed")().data(replace(few, task=task_of(poisoned))).source
    assert torch.equal(REFERENCES.get("compressed")().data(few).source.values, other.values)


def test_coarse_sizes_fit():
    random = np.random.default_rng(0)
    for _ in range(200):
        steps, places, variables, clusters = (int(n) for n in random.integers(1, 40, 4))
        clusters = min(clusters, places)
        numbers = int(random.integers(variables, 2 * steps * places * variables))
        block, found = coarse_sizes((steps, places, variables), clusters, numbers)
        used = -(-steps // block) * found * variables
        assert used <= numbers
        assert 1 <= block <= steps
        assert 1 <= found <= places
        # one more cluster would not fit, unless there is none left
        assert found == places or used + -(-steps // block) * variables > numbers


def test_block_means_by_hand():
    nan = float("nan")
    # 5 steps in blocks of 2, 2, 1; locations 0 and 2 are one cluster
    values = torch.tensor(
        [[1.0, 0.0, 3.0], [5.0, nan, 7.0], [nan, 4.0, nan], [nan, 6.0, nan], [9.0, 8.0, 9.0]]
    )
    labels = torch.tensor([0, 1, 0])
    coarse = coarsen(values[..., None], labels, 2, block_steps=2)
    expected = torch.tensor([[4.0, 0.0], [nan, 5.0], [9.0, 8.0]])
    assert torch.equal(coarse[..., 0].nan_to_num(-1), expected.nan_to_num(-1))
    fine = refine(coarse, labels, block_steps=2, n_steps=5)
    # middles at 0.5, 2.5 and 4: step 1 is a quarter of the way, step 3 a third
    second = torch.tensor([0.0, 1.25, 3.75, 5 + 1.0, 8.0])
    assert torch.allclose(fine[:, 1, 0], second)
    assert torch.equal(fine[:, 0, 0].isnan(), torch.tensor([False, True, True, True, False]))
    assert torch.equal(fine[:, 0].nan_to_num(), fine[:, 2].nan_to_num())


def test_without_blocks_nothing_changes():
    values = torch.randn(7, 3, 2, generator=torch.Generator().manual_seed(0))
    values[3, 1] = float("nan")
    labels = torch.arange(3)
    again = refine(coarsen(values, labels, 3, 1), labels, 1, 7)
    assert torch.equal(again.nan_to_num(-9), values.nan_to_num(-9))


def test_controls_as_rows(budget, small, experts_folder, tmp_path):
    settings = replace(
        small,
        references=(*CONTROLS, "distilled"),
        forecasters=("linear",),
        seeds=1,
        learning_rates=(5e-3,),
        updates=2,
        options={},
    )
    few = smaller(budget, 150)
    found = evaluate(
        few.given, few.task, settings, results=tmp_path, experts=experts_folder / "experts"
    )
    table = found.table.set_index("method").loc[list(settings.references)]
    assert np.isfinite(table["relative_rmse"]).all()
    bytes_of = table["byte_ratio"]
    assert bytes_of["compressed"] <= bytes_of["distilled"] < 1 < bytes_of["full-expert"]
    assert bytes_of["clustered"] < bytes_of["clustered-expert"]
    assert "compressed series" in str(found)


def test_controls_need_a_record(budget):
    bare = replace(budget, distilled=replace(budget.given, record={}))
    for name in CONTROLS:
        with pytest.raises(InputError, match="does not record how it was made"):
            REFERENCES.get(name)().data(bare)
