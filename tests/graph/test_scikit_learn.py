"""The clustering of locations is an estimator as scikit-learn understands one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.utils.estimator_checks import check_clustering, parametrize_with_checks

from stemdist.errors import InputError
from stemdist.graph import LocationClustering

NOT_OF_ROWS = {
    "check_clustering": "it expects a label for each row of X; locations are columns, and "
    "test_clustering_of_columns makes the same check on the transposed data"
}


class OfRows(LocationClustering):
    """The same for data whose rows are locations."""

    def fit(self, X, y=None):
        return super().fit(np.asarray(X).T)


@parametrize_with_checks(
    [LocationClustering(2)], expected_failed_checks=lambda estimator: NOT_OF_ROWS
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_estimator(estimator, check):
    check(estimator)


@pytest.mark.parametrize("readonly_memmap", [False, True])
def test_clustering_of_columns(readonly_memmap):
    check_clustering("OfRows", OfRows(3), readonly_memmap=readonly_memmap)


def test_columns_are_counted_and_named():
    series = pd.DataFrame({"north": [0.0, 1.0], "south": [9.0, 8.0], "west": [0.5, np.nan]})
    found = LocationClustering(2, random_state=0).fit(series)
    assert found.labels_.tolist() == [0, 1, 0]
    assert found.n_features_in_ == 3
    assert found.feature_names_in_.tolist() == ["north", "south", "west"]
    blocks = LocationClustering(2, random_state=0).fit_blocks([series.to_numpy()])
    assert blocks.n_features_in_ == 3
    sketch = LocationClustering(2, random_state=0).fit_sketch(np.eye(4, dtype="f4"), np.ones(4))
    assert sketch.n_features_in_ == 4


def test_what_is_no_series_is_refused():
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        LocationClustering(2).fit(sp.eye_array(4))
    with pytest.raises(InputError, match=r"must be numbers.*Complex data not supported"):
        LocationClustering(2).fit(np.ones((4, 4), dtype=complex))
