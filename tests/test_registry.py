"""Built-in and plugged-in names."""

from __future__ import annotations

import math
import re
from importlib.metadata import EntryPoint

import pytest

from stemdist import registry
from stemdist.errors import InputError
from stemdist.registry import Registry


@pytest.fixture
def functions():
    return Registry("function", {"sqrt": "math:sqrt", "lost": "no_such_module:f"}, "stemdist.test")


@pytest.fixture
def plug_in(monkeypatch):
    def install(**points):
        def entry_points(*, group):
            return [EntryPoint(name, value, group) for name, value in points.items()]

        monkeypatch.setattr(registry, "entry_points", entry_points)

    return install


def test_built_in_names_are_imported_on_use(functions):
    assert functions.names() == ["lost", "sqrt"]
    assert functions.get("sqrt") is math.sqrt
    with pytest.raises(ModuleNotFoundError):
        functions.get("lost")


def test_plug_in(functions, plug_in):
    plug_in(cosine="math:cos")
    assert functions.names() == ["cosine", "lost", "sqrt"]
    assert functions.get("cosine") is math.cos
    with pytest.raises(InputError, match="unknown function 'cosin': did you mean 'cosine'"):
        functions.get("cosin")


def test_a_plug_in_cannot_replace_a_built_in(functions, plug_in, caplog):
    plug_in(sqrt="math:cos")
    message = r"plug-in 'math:cos' offers a function named 'sqrt', which is built in.*another name"
    assert functions.names() == ["lost", "sqrt"]
    assert functions.get("sqrt") is math.sqrt
    assert re.search(message, caplog.text)
    assert len(caplog.records) == 1  # once, however often it is asked


def test_a_broken_plug_in_is_an_error_only_where_it_is_asked_for(functions, plug_in, caplog):
    plug_in(cosine="math:cos", away="no_such_package:f", wrong="math:no_such_name")
    functions._builtins.pop("lost")
    assert functions.usable() == {"sqrt": math.sqrt, "cosine": math.cos}
    assert "plug-in 'no_such_package:f'" in caplog.text
    assert "plug-in 'math:no_such_name'" in caplog.text
    with pytest.raises(InputError, match=r"No module named 'no_such_package'.*uninstall"):
        functions.get("away")


def test_a_plugged_in_forecaster_must_be_one(plug_in):
    from stemdist.forecast import make_forecaster

    plug_in(
        counter="collections:UserDict", mine="stemdist.forecast.forecasters.linear:LinearForecaster"
    )
    mine = make_forecaster("mine", lookback=2, horizon=1, n_features=1)
    assert mine.config == {"lookback": 2, "horizon": 1, "n_features": 1, "n_targets": 1}
    with pytest.raises(InputError, match="'counter' is a UserDict: a plug-in must subclass"):
        make_forecaster("counter", lookback=2, horizon=1, n_features=1)
