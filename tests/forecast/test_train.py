"""Training: equal seeds, exact resuming, masks, weights and early stopping."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import Data

from stemdist.data import TensorWindows, materialise
from stemdist.data.windows import Batch
from stemdist.errors import InputError
from stemdist.forecast import (
    Objective,
    TrainingSettings,
    make_forecaster,
    train_forecaster,
    weighted_mean,
)
from stemdist.forecast import train as train_module
from stemdist.forecast.batches import batch_index
from stemdist.forecast.losses import LOSSES
from stemdist.forecast.objective import ForecastLoss
from stemdist.forecast.train import evenly_spaced, shuffled_locations

M, N, LOOKBACK, HORIZON = 12, 5, 3, 2


class KilledError(RuntimeError):
    """Stands for a kill."""


def windows(seed=0, mask=None, weight=None):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(M, LOOKBACK, N, 1, generator=generator)
    y = 0.8 * x[:, -HORIZON:, :, 0] + 0.1 * torch.randn(M, HORIZON, N, generator=generator)
    return TensorWindows(
        x=x,
        y=y,
        mask=torch.ones_like(y) if mask is None else mask,
        weight=torch.ones(N) if weight is None else weight,
    )


def ring(size=N):
    node = torch.arange(size)
    ends = torch.stack([node, (node + 1) % size])
    return Data(edge_index=ends, edge_weight=torch.ones(size), num_nodes=size)


def build(name="mlp", **options):
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return make_forecaster(name, lookback=LOOKBACK, horizon=HORIZON, n_features=1, **options)


def short(**options):
    return TrainingSettings(**{"updates": 12, "batch_windows": 4, "validate_every": 4, **options})


def train(settings, source=None, name="mlp", validation=None, **options):
    forecaster = build(name, **({"dropout": 0.2} if name == "mlp" else {}))
    source = source or windows()
    held_out = validation and (validation, ring(), source.profile)
    result = train_forecaster(forecaster, source, ring(), settings, validation=held_out, **options)
    return forecaster, result


def same_weights(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(a.equal(b) for a, b in pairs)


# --- determinism ---------------------------------------------------


@pytest.mark.parametrize("name", ["linear", "mlp", "mtgnn"])
def test_equal_seeds_give_equal_weights(name):
    first, _ = train(short(), name=name)
    torch.manual_seed(99)  # the state outside does not matter
    second, _ = train(short(), name=name)
    other, _ = train(short(seed=1), name=name)
    assert same_weights(first, second)
    assert not same_weights(first, other)


def test_the_random_state_outside_is_left_alone():
    before = torch.get_rng_state()
    train(short())
    assert torch.get_rng_state().equal(before)


# --- resuming ------------------------------------------------------


def interrupt_at(monkeypatch, update):
    step = train_module._Run.step

    def failing(self):
        if self.update == update:
            raise KilledError
        return step(self)

    monkeypatch.setattr(train_module._Run, "step", failing)


@pytest.mark.parametrize("schedule", ["one-cycle", "cosine", "constant"])
@pytest.mark.parametrize("stop_at", [2, 5, 11])
def test_a_resumed_run_ends_as_if_never_interrupted(schedule, stop_at, tmp_path, monkeypatch):
    settings = short(schedule=schedule, locations_per_update=3)
    whole, expected = train(settings, validation=windows(1))
    checkpoint = tmp_path / "run.pt"
    with monkeypatch.context() as patch:
        interrupt_at(patch, stop_at)
        with pytest.raises(KilledError):
            train(settings, validation=windows(1), checkpoint=checkpoint)
    assert checkpoint.exists() == (stop_at >= 4)
    resumed, result = train(settings, validation=windows(1), checkpoint=checkpoint)
    assert same_weights(whole, resumed)
    columns = ["update", "train_loss", "validation_error", "learning_rate"]
    assert result.history[columns].equals(expected.history[columns])
    assert result.best_validation_error == expected.best_validation_error
    assert result.history["seconds"].is_monotonic_increasing
    finished, _ = train(settings, validation=windows(1), checkpoint=checkpoint)
    assert same_weights(whole, finished)


@pytest.mark.parametrize(
    "other",
    [
        {"settings": short(seed=1)},
        {"settings": short(updates=20)},
        {"source": windows(seed=5)},
        {"name": "linear"},
    ],
)
def test_a_checkpoint_of_another_run_is_refused(other, tmp_path):
    checkpoint = tmp_path / "run.pt"
    train(short(), checkpoint=checkpoint)
    settings = other.pop("settings", short())
    with pytest.raises(InputError, match=r"run\.pt' was written by a run with other settings"):
        train(settings, checkpoint=checkpoint, **other)


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_a_damaged_checkpoint_is_refused(content, tmp_path):
    checkpoint = tmp_path / "run.pt"
    if content is None:
        torch.save([1, 2], checkpoint)
    else:
        checkpoint.write_bytes(content)
    with pytest.raises(InputError, match=r"run\.pt' cannot be read.*Delete it"):
        train(short(), checkpoint=checkpoint)


# --- validation ----------------------------------------------------


def scripted(monkeypatch, errors):
    """Let validation answer a given list, and keep the weights it saw."""
    seen, answers = [], iter(errors)

    def validate(self):
        seen.append({k: v.clone() for k, v in self.forecaster.state_dict().items()})
        return next(answers)

    monkeypatch.setattr(train_module._Run, "_validate", validate)
    return seen


def test_the_best_weights_are_kept(monkeypatch):
    seen = scripted(monkeypatch, [3.0, 1.0, 2.0])
    forecaster, result = train(short(), validation=windows(1))
    assert result.best_validation_error == 1.0
    assert result.history["validation_error"].tolist() == [3.0, 1.0, 2.0]
    for name, weight in forecaster.state_dict().items():
        assert weight.equal(seen[1][name])


def test_patience(monkeypatch, tmp_path):
    settings = short(updates=40, patience=2)
    scripted(monkeypatch, [3.0, 1.0, 2.0, 2.0, 0.0])
    stopped, result = train(settings, validation=windows(1), checkpoint=tmp_path / "run.pt")
    assert result.updates == 16
    assert result.best_validation_error == 1.0
    again, repeated = train(settings, validation=windows(1), checkpoint=tmp_path / "run.pt")
    assert repeated.updates == 16  # a run that has stopped stays stopped
    assert same_weights(stopped, again)


def test_validation_that_never_is_a_number_keeps_the_last_weights(monkeypatch):
    seen = scripted(monkeypatch, [math.nan] * 3)
    forecaster, result = train(short(), validation=windows(1))
    assert math.isnan(result.best_validation_error)
    assert all(w.equal(seen[-1][k]) for k, w in forecaster.state_dict().items())


def test_every_update_trains_all_layers_whatever_mode_they_were_in(monkeypatch):
    forecaster, seen = build(dropout=0.5), []
    forecaster.blocks.eval()
    forward = ForecastLoss.forward

    def watched(objective, model, update):
        seen.append({layer.training for layer in model.modules()})
        return forward(objective, model, update)

    monkeypatch.setattr(ForecastLoss, "forward", watched)
    validation = (windows(1), ring(), windows(1).profile)  # forecasts in evaluation mode
    settings = short(updates=4, validate_every=2)
    train_forecaster(forecaster, windows(), ring(), settings, validation=validation)
    assert seen == [{True}] * 4
    assert not any(layer.training for layer in forecaster.modules())


def test_training_lowers_the_error_and_is_recorded():
    held_out = windows(1)
    _, result = train(short(updates=90, validate_every=40), validation=held_out)
    history = result.history
    assert history["update"].tolist() == [40, 80, 90]
    assert result.updates == 90
    assert result.best_validation_error == history["validation_error"].min() < 0.5
    assert history["train_loss"].iloc[-1] < 0.5
    assert result.seconds > 0
    _, without = train(short())
    assert without.history["validation_error"].isna().all()
    assert math.isnan(without.best_validation_error)


def test_one_update():
    _, result = train(short(updates=1, validate_every=50))
    assert result.history["update"].tolist() == [1]


# --- what is trained on --------------------------------------------


def test_masked_targets_have_no_influence():
    mask = (torch.rand(M, HORIZON, N, generator=torch.Generator().manual_seed(3)) < 0.5).float()
    clean = windows(mask=mask)
    poisoned = replace(clean, y=torch.where(mask > 0, clean.y, torch.tensor(1e4)))
    assert same_weights(train(short(), clean)[0], train(short(), poisoned)[0])


def test_a_location_without_weight_has_no_influence():
    weight = torch.tensor([1.25, 1.25, 1.25, 1.25, 0.0])
    clean = windows(weight=weight)
    y = clean.y.clone()
    y[..., 4] = -50.0
    poisoned = replace(clean, y=y)
    assert same_weights(train(short(), clean)[0], train(short(), poisoned)[0])


def test_weighted_mean_by_hand():
    errors = torch.tensor([[[1.0, 10.0], [2.0, 20.0]]])
    mask = torch.tensor([[[1.0, 1.0], [1.0, 0.0]]])
    weight = torch.tensor([0.5, 1.5])
    expected = (0.5 * 1 + 1.5 * 10 + 0.5 * 2) / (0.5 + 1.5 + 0.5)
    assert weighted_mean(errors, mask, weight).item() == pytest.approx(expected)
    assert weighted_mean(errors, mask * 0, weight).item() == 0


def test_elementwise_losses_by_hand():
    forecast, y = torch.tensor([0.0, 3.0]), torch.tensor([0.5, 0.0])
    values = {name: loss(forecast, y).tolist() for name, loss in LOSSES.items()}
    assert values == {"mse": [0.25, 9.0], "mae": [0.5, 3.0], "huber": [0.125, 2.5]}


@pytest.mark.parametrize("name", ["linear", "mlp", "mtgnn"])
def test_locations_per_update(name, monkeypatch):
    seen = []
    batch = TensorWindows.batch

    def spy(self, index, locations=None):
        seen.append(locations)
        return batch(self, index, locations)

    monkeypatch.setattr(TensorWindows, "batch", spy)
    train(short(locations_per_update=3), name=name)
    chosen = [tuple(s.tolist()) for s in seen if s is not None]
    assert len(chosen) == 12
    assert all(len(set(c)) == 3 and sorted(c) == list(c) for c in chosen)
    assert len(set(chosen)) > 3
    assert {location for c in chosen for location in c} == set(range(N))


def test_an_update_sees_the_profile_and_graph_of_its_locations(monkeypatch):
    source, seen = windows(), []
    forward = type(build()).forward

    def spy(self, x, graph, profile):
        seen.append((x, graph, profile))
        return forward(self, x, graph, profile)

    monkeypatch.setattr(type(build()), "forward", spy)
    monkeypatch.setattr(type(build()), "pointwise", False)  # who has no use for a graph gets none
    train(short(locations_per_update=3), source)
    for x, graph, profile in seen:
        chosen = [next(n for n in range(N) if source.profile[n].equal(row)) for row in profile]
        assert all((source.x[:, :, chosen] == window).flatten(1).all(1).any() for window in x)
        position = {location: i for i, location in enumerate(chosen)}
        inside = [
            [position[a], position[b]]
            for a, b in ring().edge_index.T.tolist()
            if {a, b} <= set(chosen)
        ]
        assert graph.num_nodes == 3
        assert sorted(graph.edge_index.T.tolist()) == sorted(inside)


def test_all_locations_are_all_locations():
    everything, _ = train(short())
    at_least, _ = train(short(locations_per_update=N + 3))
    assert same_weights(everything, at_least)


# --- locations in an order of their own -----------------------------


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 100))
def test_shuffled_windows_stay_whole(n_windows, n_locations, seed):
    number = torch.arange(float(n_windows * n_locations)).view(n_windows, 1, n_locations)
    batch = Batch(x=number[..., None].expand(-1, 3, -1, 2), y=number, mask=-number)
    x, y, mask = shuffled_locations(batch, torch.Generator().manual_seed(seed))
    assert y.sort(0).values.equal(number)  # every location has its own windows, each once
    assert x.equal(y[..., None].expand(-1, 3, -1, 2))
    assert mask.equal(-y)


@pytest.mark.parametrize("some", [None, 3])
def test_the_order_at_a_location_is_nothing_to_forecasters_that_see_it_alone(some):
    settings = short(locations_per_update=some)
    plain, _ = train(settings, name="linear")
    mixed, _ = train(replace(settings, shuffle_locations=True), name="linear")
    for one, other in zip(plain.parameters(), mixed.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    plain, _ = train(settings, name="mtgnn")
    mixed, _ = train(replace(settings, shuffle_locations=True), name="mtgnn")
    assert not same_weights(plain, mixed)


def test_by_default_locations_are_shuffled_where_targets_are_pointwise():
    alone = replace(windows(), pointwise=True)
    plain, shuffled = (train(short(shuffle_locations=s), name="mtgnn")[0] for s in (False, True))
    assert same_weights(train(short(), name="mtgnn")[0], plain)
    assert same_weights(train(short(), source=alone, name="mtgnn")[0], shuffled)
    assert same_weights(train(short(shuffle_locations=False), source=alone, name="mtgnn")[0], plain)


@pytest.mark.parametrize(("some", "expected"), [(None, (N + 1) // 2), (2, 2), (N, (N + 1) // 2)])
def test_a_single_window_is_shown_with_half_of_its_locations(monkeypatch, some, expected):
    one, seen = materialise(windows(), torch.tensor([1])), []
    batch = TensorWindows.batch

    def spy(self, index, locations=None):
        if self is one and locations is not None:
            seen.append(tuple(locations.tolist()))
        return batch(self, index, locations)

    monkeypatch.setattr(TensorWindows, "batch", spy)
    train(short(shuffle_locations=True, locations_per_update=some), source=one, name="mtgnn")
    assert len(seen) == short().updates
    assert {len(set(locations)) for locations in seen} == {expected}
    assert len(set(seen)) > 3
    seen.clear()
    train(short(shuffle_locations=True), source=one, name="linear")  # sees each alone
    train(short(shuffle_locations=False), source=one, name="mtgnn")
    assert not seen


def test_an_objective_that_knows_windows_by_number_keeps_them(monkeypatch):
    alone = replace(windows(), pointwise=True)
    plain, _ = train(short(), name="mtgnn")
    monkeypatch.setattr(ForecastLoss, "needs_windows", True)
    kept, _ = train(short(), source=alone, name="mtgnn")
    assert same_weights(plain, kept)
    with pytest.raises(InputError, match="shuffle_locations is on, but teacher outputs belong to"):
        train(short(shuffle_locations=True))


def test_a_loss_that_is_not_finite():
    source = windows()
    spoilt = replace(source, x=source.x * math.nan)
    with pytest.raises(InputError, match=r"loss became nan at update 0: lower.*\(now 0\.005\)"):
        train(short(), spoilt)


# --- batches and settings ------------------------------------------


@given(
    n_windows=st.integers(1, 40),
    size=st.integers(1, 50),
    epoch=st.integers(0, 3),
    seed=st.integers(0, 9),
)
def test_an_epoch_takes_each_window_at_most_once(n_windows, size, epoch, seed):
    per_epoch = n_windows // min(size, n_windows)
    updates = range(epoch * per_epoch, (epoch + 1) * per_epoch)
    taken = torch.cat([batch_index(n_windows, size, update, seed) for update in updates])
    assert len(set(taken.tolist())) == len(taken) == per_epoch * min(size, n_windows)
    if n_windows % size == 0:
        assert sorted(taken.tolist()) == list(range(n_windows))


def test_evenly_spaced():
    assert evenly_spaced(5, 10).tolist() == [0, 1, 2, 3, 4]
    assert evenly_spaced(9, 3).tolist() == [0, 4, 8]
    assert evenly_spaced(9, 1).tolist() == [0]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"updates": 0}, "updates is 0"),
        ({"batch_windows": 1.5}, "batch_windows is 1.5"),
        ({"patience": 0}, "patience is 0"),
        ({"locations_per_update": -1}, "locations_per_update is -1"),
        ({"seed": -1}, "seed is -1"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0: it must be above 0"),
        ({"learning_rate": math.nan}, "learning_rate is nan"),
        ({"weight_decay": math.nan}, "weight_decay is nan"),
        ({"clip_norm": 0.0}, "clip_norm 0.0"),
        ({"schedule": "onecycle"}, "unknown schedule 'onecycle': did you mean 'one-cycle'"),
        ({"loss": "rmse"}, "unknown loss 'rmse': did you mean 'mse'"),
    ],
)
def test_wrong_settings(wrong, message):
    with pytest.raises(InputError, match=message):
        TrainingSettings(**wrong)


class ScaledLoss(Objective):
    """Squared error with a learned factor, and a penalty on the factor."""

    def __init__(self, penalty):
        super().__init__()
        self.penalty = penalty
        self.factor = torch.nn.Parameter(torch.tensor(2.0))

    def identity(self):
        return ["scaled", self.penalty]

    def forward(self, forecaster, update):
        forecast = forecaster(update.x, update.graph, update.profile) * self.factor
        error = ((forecast - update.y) ** 2 * update.mask).sum() / update.mask.sum()
        return {"error": error, "penalty": self.penalty * self.factor**2}


def train_scaled(penalty, **how):
    forecaster, objective = build("linear"), ScaledLoss(penalty)
    settings = TrainingSettings(updates=6, validate_every=2)
    result = train_forecaster(forecaster, windows(), ring(), settings, objective=objective, **how)
    return result, [*forecaster.parameters(), *objective.parameters()]


def test_an_objective_trains_its_own_parameters_and_logs_what_it_minimises():
    result, (*_, factor) = train_scaled(0.5)
    assert factor.item() != 2.0
    terms = result.history[["loss_error", "loss_penalty"]]
    assert (terms > 0).all(axis=None)
    assert result.history["train_loss"].tolist() == pytest.approx(terms.sum(axis=1).tolist())


def test_an_objective_resumes_exactly(tmp_path, monkeypatch):
    _, whole = train_scaled(0.5)
    checkpoint = tmp_path / "state.pt"
    step = train_module._Run.step

    def killed(self):
        if self.update == 5:
            raise KilledError
        step(self)

    monkeypatch.setattr(train_module._Run, "step", killed)
    with pytest.raises(KilledError):
        train_scaled(0.5, checkpoint=checkpoint)
    monkeypatch.undo()
    with pytest.raises(InputError, match="other settings or data"):
        train_scaled(0.25, checkpoint=checkpoint)
    _, resumed = train_scaled(0.5, checkpoint=checkpoint)
    for one, other in zip(whole, resumed, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
