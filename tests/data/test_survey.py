"""One pass over a series by dask finds what numpy finds in memory, whatever the chunks."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from stemdist.data import Scaler, canonical_series
from stemdist.data.checks import ValueSummary
from stemdist.data.chunks import merged_chunks, time_edges, warn_of_chunks
from stemdist.data.survey import check_usable, directions, survey
from stemdist.errors import InputError

T, N, TRAIN = 90, 7, 60


def raw(values, **chunks) -> xr.Dataset:
    time = pd.date_range("2020", periods=len(values), freq="h")
    data = xr.Dataset({"t": (("time", "location"), values)}, {"time": time})
    return canonical_series(data.chunk(chunks) if chunks else data)


@pytest.fixture
def values() -> np.ndarray:
    chance = np.random.default_rng(3)
    found = (280 + 5 * chance.normal(size=(T, N))).astype(np.float32)
    found[chance.random((T, N)) < 0.2] = np.nan
    return found


@pytest.mark.parametrize("chunks", [{}, {"time": 1}, {"time": 13, "location": 3}, {"location": 1}])
def test_statistics_are_those_of_numpy(values, chunks, monkeypatch):
    monkeypatch.setattr("stemdist.data.survey.merged_chunks", lambda array: array)
    found = survey(raw(values, **chunks), TRAIN, 1)[0]
    part = values[:TRAIN].astype(np.float64)
    assert (found.count == np.isfinite(part).sum(axis=0)).all()
    np.testing.assert_allclose(found.location_mean, np.nanmean(part, axis=0), rtol=1e-7)
    scaler = Scaler.fit(values[:TRAIN, :, None], ("t",))
    assert found.mean == pytest.approx(scaler.mean[0], rel=1e-7)
    assert found.scale == pytest.approx(scaler.scale[0], rel=1e-6)
    assert (found.low, found.high) == (np.nanmin(part), np.nanmax(part))


def test_the_sketch_does_not_depend_on_chunks_but_for_what_fills_gaps(values):
    complete = np.nan_to_num(values, nan=280.0)
    one, two = (survey(raw(complete, **c), TRAIN, 1)[0] for c in ({}, {"time": 7, "location": 2}))
    np.testing.assert_allclose(one.sketch, two.sketch, rtol=1e-4, atol=1e-3)


def test_distances_between_rows_are_those_between_series():
    chance = np.random.default_rng(0)
    values = chance.normal(size=(2000, 20)).astype(np.float32)
    found = survey(raw(values), 2000, 1)[0]
    sketch = found.sketch.astype(np.float64)
    apart = ((sketch[:, None] - sketch[None]) ** 2).sum(-1) / sketch.shape[1]
    true = ((values.T[:, None] - values.T[None]) ** 2).sum(-1)
    pairs = np.triu_indices(20, 1)
    ratio = apart[pairs] / true[pairs]
    assert abs(ratio.mean() - 1) < 0.05
    assert ratio.std() < 1.3 * np.sqrt(2 / 256)


def test_a_pass_by_hand():
    values = np.array([[1.0, 5.0], [3.0, np.nan], [100.0, 100.0]], dtype=np.float32)
    found = survey(raw(values), 2, 1, width=4)[0]
    assert found.count.tolist() == [2, 1]
    assert found.location_mean.tolist() == pytest.approx([2.0, 5.0])
    assert found.mean == pytest.approx(3.0)
    assert found.scale == pytest.approx(np.sqrt(8 / 3))
    assert (found.low, found.high) == (1.0, 5.0)
    signs = directions(0, 2, 4, key=0)
    filled = np.array([[1.0, 3.0], [5.0, 5.0]]) - found.centre  # the gap by its location's mean
    np.testing.assert_allclose(found.sketch, filled @ signs, atol=1e-4)
    assert found.summary.total == 6


def test_signs_are_balanced_and_independent():
    signs = directions(0, 4000, 256, key=5)
    assert set(np.unique(signs)) == {-1.0, 1.0}
    assert abs(signs.mean()) < 0.005
    assert np.abs(signs.T @ signs / 4000 - np.eye(256)).max() < 0.1
    assert not (signs[:100] == directions(0, 100, 256, key=6)).all()


def test_summaries_of_parts_join_to_that_of_all(values):
    whole = ValueSummary(n_steps=T, n_locations=N)
    whole.add(values, 0)
    parts = []
    for columns in (slice(0, 3), slice(3, N)):
        block = values[:, columns]
        one, two = (
            ValueSummary(n_steps=T, n_locations=block.shape[1], of_values=T * N) for _ in "ab"
        )
        one.add(block[:40], 0)
        two.add(block[40:], 40)
        parts.append(one.then(two))
    joined = parts[0].beside(parts[1])
    for name in ("observed", "total", "zeros", "low", "high", "missing", "unseen"):
        assert getattr(joined, name) == getattr(whole, name), name
    assert [f.text for f in joined.findings()] == [f.text for f in whole.findings()]


@pytest.mark.parametrize(("values", "words"), [(np.nan, "no observed value"), (3.0, "constant")])
def test_what_cannot_be_used_is_refused(values, words):
    found = survey(raw(np.full((T, N), values, dtype=np.float32)), TRAIN, 1)[0]
    with pytest.raises(InputError, match=words):
        check_usable("t", found)


@pytest.mark.parametrize(
    ("chunks", "words"),
    [
        ({"time": 48}, None),
        ({"time": 1}, None),
        ({"location": 500}, "of 20000 steps, so that every stretch of 48 steps"),
        ({}, "of 763 MiB, of which every worker"),
    ],
)
def test_hostile_chunks_are_named_with_what_helps(chunks, words, caplog):
    import dask.array

    values = dask.array.zeros((20_000, 10_000), dtype="f4", chunks=(-1, -1))
    array = xr.DataArray(values, dims=("time", "location")).chunk(chunks)
    warn_of_chunks(array, shortest=48)
    if words is None:
        assert not caplog.text
    else:
        assert words in caplog.text
        assert "chunk(time=48)" in caplog.text


def test_small_chunks_are_joined_and_none_is_cut():
    array = xr.DataArray(np.zeros((10, 6), "f4"), dims=("time", "location")).chunk(
        time=3, location=2
    )
    merged = merged_chunks(array, block_bytes=4 * 6 * 7)
    assert merged.chunks == ((6, 4), (6,))
    assert merged_chunks(array, block_bytes=1).chunks == array.chunks
    assert time_edges(array).tolist() == [0, 3, 6, 9, 10]
