"""Pruned training: unbiased, seeded, resumable; full data in the first epoch and the last part."""

from __future__ import annotations

import pytest
import torch
from torch_geometric.data import Data

from stemdist.data import TensorWindows
from stemdist.errors import InputError
from stemdist.forecast import TrainingSettings, make_forecaster, train_forecaster
from stemdist.forecast import train as train_module
from stemdist.forecast.batches import batch_index
from stemdist.forecast.objective import Update
from stemdist.forecast.pruning import PrunedLoss

M, N, LOOKBACK, HORIZON = 8, 3, 3, 2
SETTINGS = TrainingSettings(updates=32, batch_windows=2, validate_every=4)
GRAPH = Data(edge_index=torch.tensor([[0], [1]]), edge_weight=torch.ones(1), num_nodes=N)


@pytest.fixture
def source():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(M, LOOKBACK, N, 1, generator=generator)
    noise = torch.randn(M, HORIZON, N, generator=generator)
    spread = torch.linspace(0.0, 2.0, M)[:, None, None]  # the first windows are easy
    y = x[:, -HORIZON:, :, 0] + spread * noise
    return TensorWindows(x=x, y=y, mask=torch.ones_like(y), weight=torch.ones(N))


def build():
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return make_forecaster("mlp", lookback=LOOKBACK, horizon=HORIZON, n_features=1, hidden=4)


def drawn(objective, updates, settings=SETTINGS):
    return [objective.draw(M, settings, update) for update in updates]


def test_the_expected_sum_of_an_epoch_is_that_of_all_windows():
    objective = PrunedLoss(4, SETTINGS)
    losses = torch.tensor([0.1, 0.2, 0.3, 1.4])  # mean 0.5: the first three are below it
    objective.losses.copy_(losses)
    sums, left_out = [], []
    for epoch in range(4000):
        objective.prune(epoch, seed=0)
        sums.append(float((objective.counts * losses).sum()))
        left_out.append((objective.counts == 0).tolist())
    assert set(objective.counts.tolist()) <= {0.0, 1.0, 2.0}
    # by hand: each of the three counts 0 or 2, the deviation is that of their sum
    deviation = float(losses[:3].square().sum().sqrt())
    assert sum(sums) / 4000 == pytest.approx(2.0, abs=4 * deviation / 4000**0.5)
    shares = torch.tensor(left_out).float().mean(0)
    assert shares.tolist() == pytest.approx([0.5, 0.5, 0.5, 0.0], abs=0.04)


def test_the_first_epoch_has_every_window_once():
    first = drawn(PrunedLoss(M, SETTINGS), range(M // 2))
    assert sorted(torch.cat([index for index, _ in first]).tolist()) == list(range(M))
    assert all(counts.eq(1).all() for _, counts in first)


def test_later_epochs_leave_out_easy_windows_only():
    objective = PrunedLoss(M, SETTINGS)
    drawn(objective, range(M // 2))
    objective.losses.copy_(torch.tensor([0.0] * 4 + [1.0] * 4))
    following = drawn(objective, range(4, 6))  # at least four windows are kept
    index = torch.cat([index for index, _ in following])
    counts = torch.cat([counts for _, counts in following])
    assert len(set(index.tolist())) == 4
    assert torch.equal(counts, torch.where(index < 4, 2.0, 1.0))


def test_the_last_updates_have_all_windows_equally():
    objective = PrunedLoss(M, SETTINGS)
    for update in (28, 31):  # 28 / 32 = 0.875
        index, counts = objective.draw(M, SETTINGS, update)
        assert counts is None
        assert torch.equal(index, batch_index(M, 2, update, SETTINGS.seed))


def test_losses_are_those_of_each_window_by_hand():
    objective = PrunedLoss(M, SETTINGS)
    y = torch.tensor([[[1.0, 3.0]], [[2.0, 5.0]]])  # (2, 1, 2)
    mask = torch.tensor([[[2.0, 2.0]], [[1.0, 0.0]]])  # the first window counts twice
    zero = torch.zeros_like(y)
    index = torch.tensor([5, 2])
    update = Update(zero, y, mask, GRAPH, zero, torch.tensor([1.0, 3.0]), index, None)
    terms = objective(lambda *_: zero, update)
    assert objective.losses[5] == pytest.approx((1 + 3 * 9) / 4)
    assert objective.losses[2] == pytest.approx(4.0)
    assert objective.losses.isnan().sum() == M - 2
    assert terms["forecast"].item() == pytest.approx((2 * (1 + 27) + 4) / (2 * 4 + 1))


def train(source, settings=SETTINGS, **options):
    forecaster = build()
    objective = PrunedLoss(len(source), settings)
    train_forecaster(forecaster, source, GRAPH, settings, objective=objective, **options)
    return torch.cat([weight.flatten() for weight in forecaster.state_dict().values()]), objective


def test_training_is_seeded_and_differs_from_that_on_all_windows(source):
    (first, pruned), (second, _) = train(source), train(source)
    assert first.equal(second)
    assert pruned.place[0] > SETTINGS.updates * 0.875 * 2 // M - 1  # shorter epochs, so more
    assert not pruned.losses.isnan().any()
    plain = build()
    train_forecaster(plain, source, GRAPH, SETTINGS)
    everything = torch.cat([weight.flatten() for weight in plain.state_dict().values()])
    assert not first.equal(everything)


def test_a_stopped_training_goes_on_exactly(source, tmp_path, monkeypatch):
    expected, _ = train(source)
    step = train_module._Run.step

    def killed(run):
        if run.update == 18:
            raise KeyboardInterrupt
        step(run)

    path = tmp_path / "state"
    monkeypatch.setattr(train_module._Run, "step", killed)
    with pytest.raises(KeyboardInterrupt):
        train(source, checkpoint=path)
    monkeypatch.setattr(train_module._Run, "step", step)
    assert train(source, checkpoint=path)[0].equal(expected)


def test_messages():
    with pytest.raises(InputError, match="probability is 1"):
        PrunedLoss(M, SETTINGS, probability=1)
    with pytest.raises(InputError, match="annealed is 2"):
        PrunedLoss(M, SETTINGS, annealed=2)
