from dataclasses import replace

import numpy as np
import pytest
import torch

from stemdist.data.windows import TensorWindows
from stemdist.distill import selection
from stemdist.distill.selection import (
    SELECTIONS,
    contiguous_windows,
    grouped_windows,
    herding_windows,
    k_center_windows,
    kmeans_windows,
    random_windows,
    select_own_windows,
    select_windows,
)
from stemdist.errors import InputError


def windows(x: torch.Tensor) -> TensorWindows:
    m, _, n, _ = x.shape
    y = torch.zeros(m, 1, n)
    return TensorWindows(x=x, y=y, mask=torch.ones_like(y), weight=torch.ones(n))


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def numbers(*values: float) -> TensorWindows:
    """Return windows of one number each."""
    return windows(torch.tensor(values)[:, None, None, None])


def test_one_window_of_each_kind():
    kinds = torch.arange(4).repeat_interleave(5).float()
    source = windows(kinds[:, None, None, None] + 0.01 * noise(20, 3, 2, 1))
    for method in (kmeans_windows, k_center_windows):
        assert (method(source, 4, seed=0) // 5).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("method", sorted(SELECTIONS))
def test_repeated_windows_still_give_the_number_asked_for(method):
    chosen = select_windows(windows(torch.ones(10, 3, 2, 1)), 4, method, seed=0)
    assert len(set(chosen.tolist())) == 4


@pytest.mark.parametrize("method", sorted(SELECTIONS))
def test_different_sorted_and_repeatable(task, method):
    chosen = select_windows(task.train, 13, method, seed=3)
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert len(chosen) == 13
    assert torch.equal(chosen, select_windows(task.train, 13, method, seed=3))


@pytest.mark.parametrize("method", ["random", "kmeans", "k-center"])
def test_seeds_give_other_windows(task, method):
    first, second = (select_windows(task.train, 13, method, seed=seed) for seed in (3, 4))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("method", sorted(SELECTIONS))
def test_all_windows(method):
    source = windows(noise(7, 2, 1, 1))
    assert select_windows(source, 7, method, seed=0).tolist() == list(range(7))


def test_farthest_points_by_hand():
    # from 0: the farthest is 10 (distance 10), then 4 (distance 4), then 7 (distance 3)
    source = numbers(0.0, 0.1, 1.0, 4.0, 7.0, 10.0)
    seeds = (seed for seed in range(50) if k_center_windows(source, 1, seed).tolist() == [0])
    seed = next(seeds)
    assert k_center_windows(source, 2, seed).tolist() == [0, 5]
    assert k_center_windows(source, 3, seed).tolist() == [0, 3, 5]
    assert k_center_windows(source, 4, seed).tolist() == [0, 3, 4, 5]


def test_farthest_points_are_within_twice_the_best_radius(task):
    sketch = torch.from_numpy(selection._sketch(task.train, 0))
    distance = torch.cdist(sketch, sketch)
    chosen = k_center_windows(task.train, 10, seed=0)
    radius = distance[:, chosen].min(1).values.max()
    # ten chosen windows and the one farthest from them: two of these eleven share a centre
    farthest = distance[:, chosen].min(1).values.argmax()
    eleven = torch.cat([chosen, farthest[None]])
    apart = distance[eleven][:, eleven] + torch.eye(11) * 1e9
    assert apart.min() >= radius - 1e-4


def test_herding_by_hand():
    # the mean is 2: first 3 (1 away; 0 and 4 are 2 away), then 0 (mean 1.5; 4 gives 3.5),
    # then 4 (mean 7/3; -5 gives -2/3, 8 gives 11/3)
    source = numbers(3.0, 0.0, 4.0, -5.0, 8.0)
    assert herding_windows(source, 1, seed=0).tolist() == [0]
    assert herding_windows(source, 2, seed=0).tolist() == [0, 1]
    assert herding_windows(source, 3, seed=0).tolist() == [0, 1, 2]


def test_herding_matches_the_mean_better_than_chance(task):
    sketch = selection._sketch(task.train, 0)

    def off(index):
        return np.linalg.norm(sketch[index.numpy()].mean(0) - sketch.mean(0))

    chance = [off(random_windows(task.train, 13, seed)) for seed in range(20)]
    assert off(herding_windows(task.train, 13, seed=0)) < 0.25 * np.median(chance)


def test_segments_of_consecutive_starts(task):
    # 36 windows: six segments of 6, from the blocks 0-5, 6-11, ...
    chosen = contiguous_windows(task.train, 36, seed=0)
    assert (chosen.reshape(6, 6)[:, 0] % 6 == 0).all()
    assert (chosen.reshape(6, 6).diff(dim=1) == 1).all()
    # 11 windows: three segments, of 4, 4 and 3
    parts = contiguous_windows(task.train, 11, seed=0)
    assert (parts % 4).tolist().count(3) == 2


def test_segments_cover_the_kinds_and_cross_no_gap(task):
    # a gap after every 8th window; the inputs say nothing else than the number of the run
    run = torch.arange(48) // 8
    steps = torch.arange(48) + 100 * run
    kinds = torch.tensor([0.0, 5.0, 0.0, 5.0, 0.0, 0.0])
    values = torch.zeros(700, 2, 1)
    for number, kind in enumerate(kinds):
        values[108 * number : 108 * number + 60] = kind
    source = replace(
        task.train,
        values=values,
        observed=values == values,
        calendar=torch.zeros(700, 0),
        static=torch.zeros(2, 0),
        starts=steps,
        lookback=2,
        horizon=2,
    )
    chosen = contiguous_windows(source, 6, seed=0)  # two segments of 3
    begin, end = chosen.reshape(2, 3)[:, 0], chosen.reshape(2, 3)[:, -1]
    assert torch.equal(run[begin], run[end])
    assert torch.equal(end - begin, torch.tensor([2, 2]))
    assert set(kinds[run[begin]].tolist()) == {0.0, 5.0}
    # 6 blocks of 8 are cut to 44, and blocks of 7 leave single windows over
    assert contiguous_windows(source, 44, seed=0).shape == (44,)
    assert contiguous_windows(source, 42, seed=0).shape == (42,)


def test_kmeans_on_two_levels(monkeypatch):
    kinds = torch.arange(9).repeat_interleave(20).float()
    source = windows(kinds[:, None, None, None] + 0.01 * noise(180, 3, 2, 1))
    monkeypatch.setattr(selection, "LLOYD_LIMIT", 0)
    chosen = kmeans_windows(source, 36, seed=0)
    assert len(set(chosen.tolist())) == 36
    assert torch.bincount(chosen // 20).min() >= 3
    assert torch.bincount(chosen // 20).max() <= 5


def test_shares_of_groups():
    sizes = np.array([1, 1, 50, 148])
    for total in (4, 5, 37, 199, 200):
        shares = selection._shares(sizes, total)
        assert shares.sum() == total
        assert (shares >= 1).all()
        assert (shares <= sizes).all()


def test_sketch_keeps_distances():
    source = windows(noise(30, 12, 100, 1))
    exact = torch.cdist(*2 * [source.x.flatten(1)])
    sketch = torch.from_numpy(selection._sketch(source, 0)).float()
    assert sketch.shape == (30, 256)
    off = ~torch.eye(30, dtype=torch.bool)
    assert ((torch.cdist(sketch, sketch) / exact)[off] - 1).abs().max() < 0.25


def test_blocks_do_not_matter(monkeypatch, task):
    whole = selection._sketch(task.train, 0)
    monkeypatch.setattr(selection, "BLOCK_WINDOWS", 7)
    blocked = torch.from_numpy(selection._sketch(task.train, 0))
    assert torch.allclose(torch.from_numpy(whole), blocked, atol=1e-5)


def test_unknown_method(task):
    with pytest.raises(InputError, match="unknown window selection 'kmean': did you mean 'kmeans'"):
        select_windows(task.train, 3, "kmean", seed=0)


def test_random_is_without_replacement(task):
    assert len(set(random_windows(task.train, len(task.train), 0).tolist())) == len(task.train)


def test_each_cluster_has_windows_of_its_own_situations():
    first = torch.arange(4).repeat_interleave(5).float()  # at one location in this order,
    second = first[torch.arange(20) * 7 % 20]  # at the other in another
    source = windows(torch.stack([first, second], 1)[:, None, :, None] + 0.01 * noise(20, 3, 2, 1))
    chosen = select_own_windows(source, 4, "kmeans", seed=0)
    assert chosen.shape == (4, 2)
    assert sorted(first[chosen[:, 0]].tolist()) == [0, 1, 2, 3]
    assert sorted(second[chosen[:, 1]].tolist()) == [0, 1, 2, 3]


def test_own_windows_are_drawn_without_repetition_in_an_order_of_their_own(task):
    chosen = select_own_windows(task.train, 9, "random", seed=0)
    assert all(len(set(column.tolist())) == 9 for column in chosen.unbind(1))
    assert not torch.equal(chosen[:, 0], chosen[:, 1])
    assert not torch.equal(chosen, chosen.sort(0).values)
    assert torch.equal(chosen, select_own_windows(task.train, 9, "random", seed=0))
    assert not torch.equal(chosen, select_own_windows(task.train, 9, "random", seed=1))


def test_large_data_have_fewer_groups_than_windows(monkeypatch, task):
    monkeypatch.setattr(selection, "OWN_PAIRS", 3 * len(task.train) * task.n_locations)
    chosen = select_own_windows(task.train, 9, "kmeans", seed=0)
    assert chosen.shape == (9, task.n_locations)
    assert all(len(set(column.tolist())) == 9 for column in chosen.unbind(1))


def test_a_group_gives_windows_in_proportion_to_its_size():
    values = [0.0] * 30 + [100.0] * 10
    source = numbers(*(value + 0.01 * number for number, value in enumerate(values)))
    chosen = grouped_windows(source, 8, 2, seed=0)
    assert (chosen < 30).sum() == 6
    assert 14 in chosen or 15 in chosen  # nearest to the centroid of the first group
    assert torch.equal(grouped_windows(source, 8, 8, seed=0), kmeans_windows(source, 8, seed=0))


def test_a_selection_that_looks_at_all_clusters_has_no_own_windows(task):
    with pytest.raises(InputError, match="unknown window selection of each cluster 'herding'"):
        select_own_windows(task.train, 3, "herding", seed=0)
