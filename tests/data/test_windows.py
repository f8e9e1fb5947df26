"""Windows against slow loops and by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from stemdist.data import SeriesWindows, TensorWindows, materialise
from stemdist.data.gaps import window_starts
from stemdist.data.windows import gather_cells
from stemdist.errors import InputError

STEPS, LOCATIONS = 20, 4


@pytest.fixture
def source():
    generator = torch.Generator().manual_seed(0)
    return SeriesWindows(
        values=torch.randn(STEPS, LOCATIONS, 2, generator=generator),
        observed=torch.rand(STEPS, LOCATIONS, 1, generator=generator) < 0.7,
        calendar=torch.randn(STEPS, 2, generator=generator),
        static=torch.randn(LOCATIONS, 1, generator=generator),
        starts=window_starts(2, 19, 3, 2, np.array([9])),
        lookback=3,
        horizon=2,
    )


def slow_window(source, number):
    start = int(source.starts[number])
    x = torch.empty(source.lookback, LOCATIONS, 5)
    y, mask = torch.zeros(2, source.horizon, LOCATIONS)
    for lag in range(source.lookback):
        for location in range(LOCATIONS):
            x[lag, location, :2] = source.values[start + lag, location]
            x[lag, location, 2:4] = source.calendar[start + lag]
            x[lag, location, 4] = source.static[location, 0]
    for lead in range(source.horizon):
        for location in range(LOCATIONS):
            step = start + source.lookback + lead
            if source.observed[step, location]:
                y[lead, location] = source.values[step, location, 0]
                mask[lead, location] = 1
    return x, y, mask


# --- batches -------------------------------------------------------------------------------------


def test_batch_equals_a_slow_loop(source):
    index = torch.tensor([5, 0, 3])
    x, y, mask = source.batch(index)
    for row, number in enumerate(index):
        for ours, slow in zip((x, y, mask), slow_window(source, number), strict=True):
            assert ours[row].equal(slow)
    assert source.inputs(index).equal(x)
    assert x.shape[-1] == source.n_features


@pytest.mark.parametrize("locations_first", [False, True])
def test_batch_at_some_locations(source, locations_first):
    if locations_first:  # in memory, as files of (location, time) are
        turned = source.values.transpose(0, 1).contiguous().transpose(0, 1)
        source = replace(source, values=turned)
    assert source.values.is_contiguous() is not locations_first
    index, locations = torch.tensor([1, 4]), torch.tensor([3, 1])
    x, y, mask = source.batch(index)
    part = source.batch(index, locations)
    assert part.x.equal(x[:, :, locations])
    assert part.y.equal(y[:, :, locations])
    assert part.mask.equal(mask[:, :, locations])


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 1), (6, 4, 3), (6, 4, 0)])
@pytest.mark.parametrize("kind", [torch.float32, torch.bool])
def test_cells_are_those_of_plain_indexing(shape, kind, turned):
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(0, 2, shape, generator=generator).to(kind)
    if turned:
        values = values.transpose(0, 1).contiguous().transpose(0, 1)
    locations = torch.tensor([3, 0, 0])
    for rows in (torch.tensor([5, 0]), torch.tensor([[1, 2, 2], [5, 4, 0]])):
        cells = gather_cells(values, rows, locations)
        assert cells.dtype == kind
        assert cells.equal(values[rows[..., None], locations])


def test_mean_window_is_the_mean_of_all_batches(source):
    everything = source.inputs(torch.arange(len(source)))
    mean = everything.mean(0).transpose(0, 1)
    torch.testing.assert_close(source.mean_window(), mean)
    torch.testing.assert_close(source.profile, mean.flatten(1))


def test_mean_window_of_more_windows_than_one_block():
    values = torch.randn(700, 2, 1)
    windows = SeriesWindows(
        values=values,
        observed=torch.ones(700, 2, 1, dtype=torch.bool),
        calendar=torch.zeros(700, 0),
        static=torch.zeros(2, 0),
        starts=torch.arange(690),
        lookback=2,
        horizon=1,
    )
    expected = torch.stack([values[:690].mean(0), values[1:691].mean(0)], dim=1)
    torch.testing.assert_close(windows.mean_window(), expected)


def test_the_series_is_never_copied(source):
    taken = source.take(torch.tensor([0, 2]))
    assert taken.starts.tolist() == source.starts[[0, 2]].tolist()
    for name in ("values", "observed", "calendar", "static"):
        assert getattr(taken, name).data_ptr() == getattr(source, name).data_ptr()


def test_materialise(source):
    index, locations = torch.tensor([2, 0]), torch.tensor([1, 3])
    copied = materialise(source, index, locations)
    for ours, theirs in zip(
        copied.batch(torch.arange(2)), source.batch(index, locations), strict=True
    ):
        assert ours.equal(theirs)
    assert copied.profile.equal(source.profile[locations])
    assert copied.location_weight.equal(torch.ones(2))
    again = materialise(copied, torch.tensor([1]), torch.tensor([0]))
    assert again.x.equal(copied.x[1:, :, :1])
    assert again.profile.equal(copied.profile[:1])


def test_tensor_windows():
    x, y = torch.randn(5, 3, 2, 1), torch.randn(5, 4, 2)
    windows = TensorWindows(x=x, y=y, mask=torch.ones_like(y), weight=torch.ones(2))
    assert (len(windows), windows.lookback, windows.horizon) == (5, 3, 4)
    assert (windows.n_locations, windows.n_features) == (2, 1)
    torch.testing.assert_close(windows.mean_window(), x.mean(0).transpose(0, 1))
    part = windows.batch(torch.tensor([4, 1]), torch.tensor([1]))
    assert part.x.equal(x[[4, 1]][:, :, [1]])
    assert part.y.equal(y[[4, 1]][:, :, [1]])
    with pytest.raises(InputError, match=r"x \(5, 3, 2, 1\), y \(4, 4, 2\).*do not belong"):
        TensorWindows(x=x, y=y[1:], mask=y[1:], weight=torch.ones(2))


def test_windows_are_a_torch_dataset(source):
    x, y, mask = source[5]
    whole = source.batch(torch.arange(len(source)))
    assert x.shape == whole.x.shape[1:]
    assert torch.equal(x, whole.x[5])
    assert torch.equal(y, whole.y[5])
    assert torch.equal(mask, whole.mask[5])
    assert torch.equal(source[-1].y, whole.y[-1])
    batches = list(DataLoader(source, batch_size=3))
    assert torch.equal(torch.cat([batch.x for batch in batches]), whole.x)
    with pytest.raises(IndexError, match="are not among"):
        source[len(source)]
