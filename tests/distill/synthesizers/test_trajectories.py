import itertools
from dataclasses import replace
from functools import partial

import joblib
import pytest
import torch

from stemdist.data.windows import TensorWindows
from stemdist.distill.synthesizers import trajectories as module
from stemdist.distill.synthesizers.inner_loop import Adam, FlatForecaster
from stemdist.distill.synthesizers.trajectories import (
    TrajectorySettings,
    content_hash,
    subsets_in_turn,
    train_trajectories,
)
from stemdist.errors import InputError
from stemdist.forecast import fresh_forecaster, weighted_mean
from stemdist.forecast.batches import batch_index
from stemdist.graph import subgraph, subset_weights

SETTINGS = TrajectorySettings(surrogate="linear", interval=3, intervals=2, batch_windows=8)
SMALL_MLP = {"surrogate": "mlp", "surrogate_options": {"hidden": 8, "depth": 1}}


def first(task, settings, **how):
    return train_trajectories(task.train, task.graph, settings, 1, **how)[0].states


def test_shape_and_start(task):
    states = first(task, SETTINGS, seed=3)
    forecaster = fresh_forecaster("linear", task.train, 3 * 1_000_003)
    assert states.shape == (3, 1, sum(w.numel() for w in forecaster.parameters()))
    assert torch.equal(states[0, 0], FlatForecaster(forecaster).vector())
    assert not torch.equal(states[1], states[2])


@pytest.mark.parametrize(
    ("name", "rate", "build"),
    [
        ("sgd", 0.1, torch.optim.SGD),
        ("momentum", 0.1, partial(torch.optim.SGD, momentum=0.9)),
        ("adam", 1e-3, partial(torch.optim.Adam, eps=1e-12)),
    ],
)
def test_the_path_is_that_of_torch_optim(task, name, rate, build, monkeypatch):
    # Steps of weights with hardly any gradient depend on where Adam's epsilon stands.
    monkeypatch.setitem(module.INNER_OPTIMIZERS, "adam", partial(Adam, epsilon=1e-12))
    settings = replace(SETTINGS, **SMALL_MLP, optimizer=name, learning_rate=rate)
    states = first(task, settings)
    forecaster = fresh_forecaster("mlp", task.train, 0, settings.surrogate_options)
    optimizer = build(forecaster.parameters(), lr=rate)
    for number in range(6):
        x, y, mask = task.train.batch(batch_index(len(task.train), 8, number, 0))
        forecast = forecaster(x, task.graph, task.train.profile)
        loss = weighted_mean((forecast - y) ** 2, mask, task.train.location_weight)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = FlatForecaster(forecaster).vector()
    assert (states[2, 0] - found).norm() < 1e-4 * (states[0, 0] - found).norm()
    assert states.shape[1] == {"sgd": 1, "momentum": 2, "adam": 3}[name]


def test_each_update_sees_one_subset(task):
    settings = replace(SETTINGS, **SMALL_MLP, subsets=3, interval=2, intervals=1)
    states = first(task, settings)
    generator = torch.Generator().manual_seed(0)
    order = torch.tensor_split(torch.randperm(task.n_locations, generator=generator), 3)
    forecaster = fresh_forecaster("mlp", task.train, 0, settings.surrogate_options)
    optimizer = torch.optim.SGD(forecaster.parameters(), lr=0.1)
    for number, subset in enumerate(order[:2]):
        x, y, mask = task.train.batch(batch_index(len(task.train), 8, number, 0), subset)
        forecast = forecaster(x, subgraph(task.graph, subset), task.train.profile[subset])
        weight = subset_weights(task.train.location_weight[subset])
        optimizer.zero_grad()
        weighted_mean((forecast - y) ** 2, mask, weight).backward()
        optimizer.step()
    assert torch.allclose(states[1, 0], FlatForecaster(forecaster).vector(), atol=1e-6)


def turns(task, n, seed=0, **changes):
    settings = replace(SETTINGS, **changes)
    generator = torch.Generator().manual_seed(seed)
    subsets = subsets_in_turn(task.graph, task.train.location_weight, settings, generator)
    return list(itertools.islice(subsets, n))


def test_subsets_take_turns(task):
    subsets = turns(task, 10, subsets=5)
    assert [len(subset.index) for subset in subsets] == 2 * [3, 3, 2, 2, 2]
    for round_ in (subsets[:5], subsets[5:]):
        assert torch.cat([subset.index for subset in round_]).sort().values.tolist() == list(
            range(12)
        )
    assert not torch.equal(subsets[0].index, subsets[5].index)
    assert all(subset.weight.mean() == pytest.approx(1.0) for subset in subsets)


def test_one_subset_is_the_whole_graph(task):
    (subset,) = turns(task, 1)
    values = torch.randn(2, 3, 12)
    assert subset.index is None
    assert subset.graph is task.graph
    assert subset.of(values) is values


def test_subsets_are_bounded_and_not_empty(task):
    assert {len(subset.index) for subset in turns(task, 6, clusters_per_update=4)} == {4}
    assert {len(subset.index) for subset in turns(task, 12, subsets=99)} == {1}


def test_flat_experts_take_another_path(task):
    plain, same, flat = (
        first(task, replace(SETTINGS, flatness=radius)) for radius in (0.0, 0.0, 0.05)
    )
    assert torch.equal(plain, same)
    assert torch.equal(plain[0], flat[0])
    assert 0 < (plain[1] - flat[1]).norm() < 0.5 * (plain[1] - plain[0]).norm()


def test_a_second_run_trains_nothing(task, tmp_path, monkeypatch):
    made = train_trajectories(task.train, task.graph, SETTINGS, 2, cache=tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    train, calls = module._train, []
    monkeypatch.setattr(module, "_train", lambda *args: calls.append(1) or train(*args))
    again = train_trajectories(task.train, task.graph, SETTINGS, 3, cache=tmp_path)
    assert len(calls) == 1  # the third alone
    assert [trajectory.cached for trajectory in again] == [True, True, False]
    for one, other in zip(made, again, strict=False):
        assert torch.equal(one.states, other.states)
        assert one.seconds == other.seconds > 0


@pytest.mark.parametrize(
    "changes",
    [{"learning_rate": 0.05}, {"optimizer": "momentum"}, {"subsets": 2}, {"flatness": 0.1}],
)
def test_other_settings_are_other_trajectories(task, tmp_path, changes):
    plain = first(task, SETTINGS, cache=tmp_path)
    other = first(task, replace(SETTINGS, **changes), cache=tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    assert not torch.equal(plain[-1, 0], other[-1, 0])


def test_other_seeds_are_other_trajectories(task, tmp_path):
    seeds = [first(task, SETTINGS, seed=seed, cache=tmp_path) for seed in (0, 1, 0)]
    assert torch.equal(seeds[0], seeds[2])
    assert not torch.equal(seeds[0], seeds[1])


def windows_of(task) -> TensorWindows:
    x, y, mask = task.train.batch(torch.arange(len(task.train)))
    return TensorWindows(x=x, y=y, mask=mask, weight=task.train.location_weight)


@pytest.mark.parametrize("name", ["x", "y", "weight"])
def test_a_single_other_number_is_not_mistaken(task, tmp_path, name):
    windows = windows_of(task)
    changed = getattr(windows, name).clone()
    changed[(-1,) * changed.dim()] += 1e-3
    for source in (windows, replace(windows, **{name: changed})):
        train_trajectories(source, task.graph, SETTINGS, 1, cache=tmp_path)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2


def test_the_graph_is_part_of_the_content(task):
    other = task.graph.clone()
    other.edge_weight = other.edge_weight * 2
    assert content_hash(task.train, task.graph) == content_hash(task.train, task.graph.clone())
    assert content_hash(task.train, task.graph) != content_hash(task.train, other)


def test_a_damaged_file_is_made_again(task, tmp_path, caplog):
    whole = first(task, SETTINGS, cache=tmp_path)
    (file,) = tmp_path.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:40])
    again = first(task, SETTINGS, cache=tmp_path)
    assert torch.equal(again, whole)
    assert f"trajectory {str(file)!r} is damaged" in caplog.text
    caplog.clear()
    assert torch.equal(first(task, SETTINGS, cache=tmp_path), whole)
    assert not caplog.text


def test_threads_change_nothing(task):
    alone = train_trajectories(task.train, task.graph, SETTINGS, 3)
    with joblib.parallel_config(backend="threading", n_jobs=2):
        together = train_trajectories(task.train, task.graph, SETTINGS, 3)
    for one, other in zip(alone, together, strict=True):
        assert torch.equal(one.states, other.states)


def test_a_diverging_expert_is_an_error(task):
    settings = replace(SETTINGS, learning_rate=1e30)
    with pytest.raises(
        InputError, match=r"of 'linear' is not finite after 3 updates of sgd: lower"
    ):
        first(task, settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizer": "sdg"}, "unknown inner optimizer 'sdg': did you mean 'sgd'"),
        ({"surrogate": "mtgn"}, "unknown forecaster 'mtgn'"),
        ({"surrogate": "unet"}, "'unet' cannot be a surrogate: it needs a regular grid"),
        ({"interval": 0}, "interval is 0: it must be a whole number of at least 1"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0: it must be a number above 0"),
        ({"flatness": -0.1}, "flatness is -0.1: it must be a number 0 or above"),
    ],
)
def test_settings_are_checked(changes, message):
    with pytest.raises(InputError, match=message):
        TrajectorySettings(**changes)
