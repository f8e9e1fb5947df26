import numpy as np
import pytest

from stemdist.errors import InputError
from stemdist.search.configurations import draw_configurations


def test_each_forecaster_has_its_share_and_the_seed_decides():
    drawn = draw_configurations(["linear", "mlp", "gru"], 31, seed=4)
    names = [each.forecaster for each in drawn]
    assert [names.count(name) for name in ("linear", "mlp", "gru")] == [11, 10, 10]
    assert drawn == draw_configurations(["linear", "mlp", "gru"], 31, seed=4)
    assert drawn != draw_configurations(["linear", "mlp", "gru"], 31, seed=5)


def test_values_come_from_the_spaces():
    space = {
        "mlp": {
            "hidden": {"low": 1, "high": 1000, "log": True},
            "depth": {"low": 1, "high": 3},
            "dropout": {"low": 0.0, "high": 0.5},
        },
        "training": {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}},
    }
    drawn = draw_configurations(["mlp"], 600, changes=space)
    assert {each.options["depth"] for each in drawn} == {1, 2, 3}
    hidden = [each.options["hidden"] for each in drawn]
    assert all(isinstance(each, int) and 1 <= each <= 1000 for each in hidden)
    assert 20 < np.median(hidden) < 50  # 31.6 is in the middle of the logarithms
    rates = np.log10([each.training["learning_rate"] for each in drawn])
    assert -4 <= rates.min() < -3.9 < -2.1 < rates.max() <= -2
    assert np.mean(rates) == pytest.approx(-3, abs=0.1)
    dropouts = [each.options["dropout"] for each in drawn]
    assert np.mean(dropouts) == pytest.approx(0.25, abs=0.03)


def test_unknown_forecasters_are_refused():
    with pytest.raises(InputError, match="mpl"):
        draw_configurations(["mpl"], 3)
