"""Windows of own times: every cluster has windows of its own."""

from dataclasses import replace

import pytest
import torch

from stemdist.data.windows import evenly_spaced, materialise_own
from stemdist.distill import DistilledSet, DistillSettings, distill, starting_point
from stemdist.distill.clusters import cluster_windows
from stemdist.distill.experts import mean_answer
from stemdist.distill.pipeline import has_own_times, problem_of
from stemdist.errors import InputError


@pytest.fixture(scope="module")
def selected(quick) -> DistillSettings:
    return replace(quick, experts=("linear",), synthesizer="selection", synthesizer_options={})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("experts")


@pytest.fixture(scope="module")
def start(task, selected, folder):
    return starting_point(task, selected, cache=folder)


def test_windows_at_each_location_are_those_asked_for(task):
    some = evenly_spaced(len(task.train), 5)
    index = torch.stack([some.roll(n) for n in range(task.n_locations)], 1)
    own = materialise_own(task.train, index)
    for place in (0, task.n_locations - 1):
        x, y, mask = task.train.batch(index[:, place], torch.tensor([place]))
        assert torch.equal(own.x[:, :, [place]], x)
        assert torch.equal(own.y[:, :, [place]], y)
        assert torch.equal(own.mask[:, :, [place]], mask)


def test_the_start_has_real_windows_with_the_labels_of_their_own_inputs(task, start):
    assert start.own_times
    real = cluster_windows(task.train, start.clusters)
    every = real.inputs(torch.arange(len(real)))  # (M, L_in, K, F)
    for cluster in range(start.windows.n_locations):
        apart = torch.cdist(
            start.windows.x[:, :, cluster].flatten(1), every[:, :, cluster].flatten(1)
        )
        assert apart.min(1).values.max() < 1e-2
    expected = mean_answer(start.experts, start.windows, graph=task.graph)
    assert torch.allclose(start.windows.y, expected, atol=1e-6)
    assert start.windows.pointwise
    assert (start.windows.mask == 1).all()


def test_times_differ_between_clusters_and_survive_a_file(task, selected, folder, tmp_path):
    made = distill(task, selected, experts=folder)
    again = DistilledSet.load(made.save(tmp_path / "own.nc"))
    torch.testing.assert_close(again.windows.x, made.windows.x, rtol=0, atol=1e-5)
    calendar = again.windows.x[..., task.n_series_features :]
    assert not torch.equal(calendar[:, :, 0], calendar[:, :, 1])
    shared = distill(task, replace(selected, window_times="shared"), experts=folder)
    calendar = shared.windows.x[..., task.n_series_features :]
    assert torch.equal(calendar[:, :, 0], calendar[:, :, 1])


@pytest.mark.parametrize(
    ("changes", "own"),
    [
        ({}, True),
        ({"labels": "observed"}, False),
        ({"labels": "mixed"}, False),
        ({"experts": ("stgcn",)}, False),  # its targets depend on all locations at one time
        ({"selection": "herding"}, False),
        ({"selection": "random"}, True),
        ({"parametrisation": "spectral"}, False),
        ({"labels": "observed", "window_times": "own"}, True),
        ({"window_times": "shared"}, False),
    ],
)
def test_when_clusters_have_their_own_windows(task, selected, folder, changes, own):
    settings = replace(selected, **changes)
    found = starting_point(task, settings, cache=folder)
    assert found.own_times == own == has_own_times(settings, found.experts)


def test_many_own_calendars_need_not_be_learned(task, selected, folder):
    one = replace(selected, windows=1, time_ratio=0.1)
    shared = replace(one, window_times="shared")
    learned = {
        problem_of(task, each, starting_point(task, each, cache=folder)).n_learned
        for each in (one, shared)
    }
    assert learned == {task.n_series_features, len(task.feature_names)}


@pytest.mark.parametrize(
    "changes", [{"selection": "k-center"}, {"selection": "contiguous", "parametrisation": "series"}]
)
def test_own_times_where_there_are_none(changes):
    with pytest.raises(InputError, match="window_times is 'own', which the selection"):
        DistillSettings(window_times="own", labels="observed", **changes)


def test_an_unknown_choice():
    with pytest.raises(InputError, match="unknown window times 'onw': did you mean 'own'"):
        DistillSettings(window_times="onw")


def test_settings_of_earlier_sets_had_shared_times():
    content = DistillSettings().to_json()
    del content["window_times"]
    assert DistillSettings.from_json(content).window_times == "shared"
