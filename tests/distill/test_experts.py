from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from stemdist.data.windows import evenly_spaced
from stemdist.distill import DistillSettings
from stemdist.distill import experts as module
from stemdist.distill.clusters import cluster_locations
from stemdist.distill.experts import Expert, expert_answers, train_experts
from stemdist.errors import InputError
from stemdist.forecast import TrainingSettings, fit, make_forecaster, predict_windows

SETTINGS = TrainingSettings(updates=6, validate_every=3)


def test_cached_experts_are_not_trained_again(task, tmp_path, monkeypatch):
    first = train_experts(task, ["linear"], 2, SETTINGS, cache=tmp_path)
    assert len(first) == 2

    def fail(*args, **kwargs):
        raise AssertionError("trained again")

    monkeypatch.setattr(fit, "train_forecaster", fail)
    again = train_experts(task, ["linear"], 2, SETTINGS, cache=tmp_path)
    for one, other in zip(first, again, strict=True):
        assert one.validation_error == other.validation_error
        assert one.weight == other.weight
        for name, weight in one.forecaster.state_dict().items():
            assert torch.equal(weight, other.forecaster.state_dict()[name])


def test_other_settings_are_other_experts(task, tmp_path):
    train_experts(task, ["linear"], 1, SETTINGS, cache=tmp_path)
    train_experts(task, ["linear"], 1, TrainingSettings(updates=7), cache=tmp_path)
    assert len([f for f in tmp_path.iterdir() if f.is_dir()]) == 2


def blend(weights):
    return torch.tensor(weights, dtype=torch.float64)


def test_weights_of_the_smallest_mean():
    independent = module.smallest_mean(torch.diag(torch.tensor([1.0, 2.0, 4.0])))
    assert torch.allclose(independent, blend([4 / 7, 2 / 7, 1 / 7]), atol=1e-6)
    # The second errs as the first does, and more: it would only be subtracted.
    follower = module.smallest_mean(torch.tensor([[1.0, 2.0], [2.0, 5.0]]))
    assert torch.allclose(follower, blend([1.0, 0.0]), atol=1e-6)
    twins = module.smallest_mean(torch.ones(2, 2))
    assert torch.allclose(twins, blend([0.5, 0.5]), atol=1e-6)
    opposite = module.smallest_mean(torch.tensor([[1.0, -1.0], [-1.0, 1.0]]))
    assert torch.allclose(opposite, blend([0.5, 0.5]), atol=1e-6)


@pytest.mark.parametrize("size", [0.0, float("inf"), float("nan")])
def test_errors_that_say_nothing_weigh_all_alike(size):
    found = module.smallest_mean(torch.full((2, 2), size))
    assert found.tolist() == [0.5, 0.5]


@given(
    errors=hnp.arrays(float, (3, 8), elements=st.floats(-4, 4, width=32)),
    weights=hnp.arrays(float, 3, elements=st.floats(0.0, 1.0)),
)
def test_no_other_weights_have_a_smaller_mean(errors, weights):
    found = module.smallest_mean(torch.from_numpy(errors @ errors.T)).numpy()
    assert (found >= 0).all()
    assert abs(found.sum() - 1) < 1e-9
    other = weights / weights.sum() if weights.sum() > 0 else np.full(3, 1 / 3)
    assert ((found @ errors) ** 2).sum() <= ((other @ errors) ** 2).sum() + 1e-5


def test_the_mean_of_all_families_is_no_worse_than_any(task):
    few = TrainingSettings(updates=30, validate_every=10)
    experts = train_experts(task, ["linear", "mlp", "rlinear"], 2, few)
    assert [one.family for one in experts] == ["linear"] * 2 + ["mlp"] * 2 + ["rlinear"] * 2
    assert abs(sum(one.weight for one in experts) - 1) < 1e-9
    index = evenly_spaced(len(task.validation), few.validation_windows)
    _, y, mask = task.validation.batch(index)

    def error(members):
        profile = task.train.profile
        answers = [
            one.weight
            * predict_windows(one.forecaster, task.validation, task.graph, profile, index=index)
            for one in members
        ]
        return float(((sum(answers) - y) ** 2 * mask).sum() / mask.sum())

    best = min(one.validation_error for one in experts)
    assert error(experts) < best
    alone = [replace(one, weight=1.0) for one in experts]
    assert min(error([one]) for one in alone) == pytest.approx(best, rel=1e-5)


def test_an_extra_expert_is_of_the_family_that_says_most(task):
    before = train_experts(task, ["linear", "mlp"], 1, SETTINGS)
    more = train_experts(task, ["linear", "mlp"], 1, SETTINGS, extra=2)
    assert [one.family for one in more[:2]] == ["linear", "mlp"]
    assert more[2].family == module.heaviest_family(before)
    assert more[3].family == module.heaviest_family(
        module.weigh_experts(more[:3], task, SETTINGS.validation_windows)
    )
    for one, same in zip(before, more[:2], strict=True):
        assert one.validation_error == same.validation_error
    seeds = {
        (one.family, one.forecaster.state_dict()["head.weight"].sum().item())
        for one in more
        if one.family == "mlp"
    }
    assert len(seeds) == sum(one.family == "mlp" for one in more)  # each has weights of its own
    assert sum(one.weight for one in more) == pytest.approx(1)


def test_the_weights_of_a_family_are_those_of_all_its_experts(task):
    one = expert("linear", task)
    shares = {"linear": [0.4], "mlp": [0.35, 0.25]}
    experts = [
        replace(one, family=family, weight=weight)
        for family, weights in shares.items()
        for weight in weights
    ]
    assert module.heaviest_family(experts) == "mlp"
    assert module.heaviest_family(experts[:2]) == "linear"


def test_who_adds_nothing_is_not_asked(task):
    good, bad = expert("rlinear", task), expert("rlinear", task)
    with torch.no_grad():
        for parameter in bad.forecaster.parameters():
            parameter.add_(5.0)
    weighed = module.weigh_experts([good, bad], task, 16)
    assert [one.weight for one in weighed] == [1.0, 0.0]
    dumb = replace(weighed[1], forecaster=None)
    index = torch.arange(2)
    answers = module.mean_answer([weighed[0], dumb], task.train, graph=task.graph, index=index)
    alone = module.mean_answer([good], task.train, graph=task.graph, index=index)
    assert torch.equal(answers, alone)
    assert module.all_pointwise([weighed[0], dumb])


def expert(family: str, task, **options) -> Expert:
    torch.manual_seed(0)
    forecaster = make_forecaster(
        family, lookback=6, horizon=3, n_features=task.train.n_features, **options
    ).eval()
    return Expert(family=family, forecaster=forecaster, validation_error=0.0, seconds=0.0)


def test_asking_at_medoids_equals_asking_everywhere(task):
    clusters = cluster_locations(task, 3, "kmeans", "medoid", seed=0)
    index = torch.tensor([0, 3, 8])
    one = expert("mlp", task)
    assert one.forecaster.pointwise
    here = expert_answers([one], task, clusters, index)
    everywhere = module.mean_answer([one], task.train, graph=task.graph, index=index)
    assert torch.allclose(here, everywhere[..., clusters.medoids], atol=1e-5)


def test_experts_that_see_all_locations_are_reduced(task):
    index = torch.arange(4)
    attentive = expert("mlp", task, location_encoder="attention")
    everywhere = module.mean_answer([attentive], task.train, graph=task.graph, index=index)
    for representative in ("medoid", "mean"):
        clusters = cluster_locations(task, 3, "kmeans", representative, seed=0)
        answers = expert_answers([attentive], task, clusters, index)
        assert torch.allclose(answers, clusters.reduce(everywhere), atol=1e-5)


def test_answers_are_averaged_by_weight(task):
    clusters = cluster_locations(task, 3, "kmeans", "medoid", seed=0)
    index = torch.arange(2)
    pair = [replace(expert("mlp", task), weight=0.9), replace(expert("linear", task), weight=0.3)]
    each = [expert_answers([one], task, clusters, index) for one in pair]
    assert torch.allclose(
        expert_answers(pair, task, clusters, index), 0.75 * each[0] + 0.25 * each[1], atol=1e-6
    )


def test_the_fields_of_experts_are_all_that_experts_depend_on():
    settings = DistillSettings(extra_experts=3)
    changed = replace(settings, time_ratio=0.5, seed=3, judge_seeds=1)
    assert changed.of_experts() == settings.of_experts()
    for name, value in {
        "experts": ("mlp",),
        "expert_seeds": 2,
        "extra_experts": 0,
        "expert_training": TrainingSettings(updates=3),
    }.items():
        assert replace(settings, **{name: value}).of_experts() != settings.of_experts()
    assert DistillSettings.from_json(settings.to_json()).extra_experts == 3


def test_extra_experts_are_counted():
    with pytest.raises(InputError, match="extra_experts is -1"):
        DistillSettings(extra_experts=-1)


@pytest.mark.parametrize("name", ["experts", "judges"])
def test_names_are_given_once(name):
    with pytest.raises(InputError, match=rf"{name} is \(\): give at least one, and each only once"):
        DistillSettings(**{name: ()})
    with pytest.raises(
        InputError, match=rf"each only once\. {name[:-1]}_seeds trains a forecaster"
    ):
        DistillSettings(**{name: ("mlp", "linear", "mlp")})
