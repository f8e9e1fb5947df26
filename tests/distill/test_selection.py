import pytest
import torch

from stemdist.data.windows import TensorWindows
from stemdist.distill import selection
from stemdist.distill.selection import kmeans_windows, random_windows, select_windows
from stemdist.errors import InputError


def windows(x: torch.Tensor) -> TensorWindows:
    m, _, n, _ = x.shape
    y = torch.zeros(m, 1, n)
    return TensorWindows(x=x, y=y, mask=torch.ones_like(y), weight=torch.ones(n))


def test_one_window_of_each_kind():
    kinds = torch.arange(4).repeat_interleave(5).float()
    source = windows(kinds[:, None, None, None] + 0.01 * torch.randn(20, 3, 2, 1))
    chosen = kmeans_windows(source, 4, seed=0)
    assert (chosen // 5).tolist() == [0, 1, 2, 3]


def test_repeated_windows_still_give_the_number_asked_for():
    chosen = kmeans_windows(windows(torch.ones(10, 3, 2, 1)), 4, seed=0)
    assert len(set(chosen.tolist())) == 4


@pytest.mark.parametrize("method", sorted(selection.SELECTIONS))
def test_different_sorted_and_repeatable(task, method):
    chosen = select_windows(task.train, 13, method, seed=3)
    assert chosen.tolist() == sorted(set(chosen.tolist()))
    assert len(chosen) == 13
    assert torch.equal(chosen, select_windows(task.train, 13, method, seed=3))
    assert not torch.equal(chosen, select_windows(task.train, 13, method, seed=4))


def test_all_windows():
    source = windows(torch.randn(7, 2, 1, 1))
    for method in selection.SELECTIONS:
        assert select_windows(source, 7, method, seed=0).tolist() == list(range(7))


def test_sketch_keeps_distances():
    source = windows(torch.randn(30, 12, 100, 1))
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
