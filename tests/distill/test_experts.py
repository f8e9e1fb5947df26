import torch

from stemdist.distill import experts as module
from stemdist.distill.clusters import cluster_locations
from stemdist.distill.experts import Expert, expert_answers, train_experts
from stemdist.forecast import TrainingSettings, fit, make_forecaster

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
        for name, weight in one.forecaster.state_dict().items():
            assert torch.equal(weight, other.forecaster.state_dict()[name])


def test_other_settings_are_other_experts(task, tmp_path):
    train_experts(task, ["linear"], 1, SETTINGS, cache=tmp_path)
    train_experts(task, ["linear"], 1, TrainingSettings(updates=7), cache=tmp_path)
    assert len([f for f in tmp_path.iterdir() if f.is_dir()]) == 2


def test_family_with_lowest_validation_error_labels(task, monkeypatch):
    errors = {"linear": 0.5, "mlp": 0.2}

    def pretend(task, family, training, cache, progress):
        return Expert(family=family, forecaster=None, validation_error=errors[family], seconds=0.0)

    monkeypatch.setattr(module, "_train_one", pretend)
    assert {e.family for e in train_experts(task, ["linear", "mlp"], 2, SETTINGS)} == {"mlp"}


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


def test_answers_are_averaged(task):
    clusters = cluster_locations(task, 3, "kmeans", "medoid", seed=0)
    index = torch.arange(2)
    pair = [expert("mlp", task), expert("linear", task)]
    each = [expert_answers([one], task, clusters, index) for one in pair]
    assert torch.allclose(
        expert_answers(pair, task, clusters, index), (each[0] + each[1]) / 2, atol=1e-6
    )
