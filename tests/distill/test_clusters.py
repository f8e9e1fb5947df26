import pytest
import torch

from stemdist.distill.clusters import Clusters, cluster_graph, cluster_locations, cluster_windows
from stemdist.errors import InputError


def test_reduce_by_hand():
    labels, medoids = torch.tensor([0, 0, 1]), torch.tensor([1, 2])
    values = torch.tensor([[1.0, 3.0, 10.0]])
    assert Clusters(labels=labels, medoids=medoids).reduce(values).tolist() == [[3.0, 10.0]]
    means = Clusters(labels=labels, medoids=medoids, representative="mean")
    assert means.reduce(values).tolist() == [[2.0, 10.0]]
    assert torch.allclose(means.weight, torch.tensor([4 / 3, 2 / 3]))


def test_groups_are_found(task):
    clusters = cluster_locations(task, 3, "kmeans", "medoid", seed=0)
    assert [len(set(clusters.labels[i : i + 4].tolist())) for i in (0, 4, 8)] == [1, 1, 1]
    assert clusters.sizes.tolist() == [4, 4, 4]
    assert torch.equal(clusters.labels[clusters.medoids], torch.arange(3))


def test_windows_of_medoids_are_real_windows(task):
    clusters = cluster_locations(task, 3, "kmeans", "medoid", seed=0)
    reduced = cluster_windows(task.train, clusters)
    index = torch.tensor([0, 5])
    for mine, real in zip(
        reduced.batch(index), task.train.batch(index, clusters.medoids), strict=True
    ):
        assert torch.equal(mine, real)
    assert torch.allclose(reduced.profile, task.train.profile[clusters.medoids])


def test_means_are_observed_where_any_member_is(task):
    clusters = cluster_locations(task, 3, "kmeans", "mean", seed=0)
    reduced = cluster_windows(task.train, clusters)
    assert reduced.values.shape == (240, 3, 2)
    assert reduced.observed.float().mean() > task.train.observed.float().mean()


@pytest.mark.parametrize("method", ["kmeans", "minibatch", "ward", "random"])
def test_every_method(task, method):
    clusters = cluster_locations(task, 4, method, "medoid", seed=0)
    assert clusters.sizes.sum() == 12
    assert (clusters.sizes > 0).all()
    assert cluster_graph(task.graph, clusters).num_nodes == 4


def test_unknown_representative(task):
    with pytest.raises(InputError, match="unknown representative 'median': did you mean"):
        cluster_locations(task, 3, "kmeans", "median", seed=0)
