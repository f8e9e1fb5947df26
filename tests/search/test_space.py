import inspect

import pytest
import yaml

from stemdist.errors import InputError
from stemdist.forecast import FORECASTERS
from stemdist.forecast.search_space import OF_TRAINING, Choice, Range
from stemdist.search import read_space, spaces_of
from stemdist.search.space import space_text, split_configuration


@pytest.mark.parametrize("family", FORECASTERS.names())
def test_search_spaces_are_of_the_constructor_and_hold_its_defaults(family):
    kind = FORECASTERS.get(family)
    defaults = inspect.signature(kind.__init__).parameters
    for name, parameter in kind.search_space.items():
        usual = defaults[name].default
        if isinstance(parameter, Choice):
            assert usual in parameter.values
        else:
            assert parameter.low <= usual <= parameter.high


def test_every_space_has_that_of_the_training():
    spaces = spaces_of(["linear", "mlp"])
    assert spaces["linear"] == dict(OF_TRAINING)
    assert set(spaces["mlp"]) == {"hidden", "depth", "dropout", *OF_TRAINING}


def test_changes_narrow_replace_and_fix():
    changes = {
        "mlp": {"hidden": [8, 16], "depth": {"low": 1, "high": 2}, "learning_rate": 0.01},
        "training": {
            "weight_decay": {"low": 1e-3, "high": 1e-2, "log": True},
            "schedule": "cosine",
        },
    }
    spaces = spaces_of(["linear", "mlp"], changes)
    assert spaces["mlp"]["hidden"] == Choice((8, 16))
    assert spaces["mlp"]["depth"] == Range(1, 2)
    assert spaces["mlp"]["learning_rate"] == Choice((0.01,))
    assert spaces["linear"]["learning_rate"] == OF_TRAINING["learning_rate"]
    assert spaces["linear"]["schedule"] == Choice(("cosine",))
    assert spaces["linear"]["weight_decay"] == Range(1e-3, 1e-2, log=True)


def test_printed_spaces_are_read_again(tmp_path):
    spaces = spaces_of(["mlp", "patchtst"], {"mlp": {"learning_rate": 1e-3}})
    file = tmp_path / "space.yaml"
    file.write_text(space_text(spaces))
    assert spaces_of(["mlp", "patchtst"], read_space(file)) == spaces
    assert yaml.safe_load(space_text(spaces))["mlp"]["hidden"] == [16, 32, 64, 128, 256]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mpl": {}}, "unknown forecaster in the search space 'mpl': did you mean 'mlp'"),
        ({"mlp": {"widths": [1]}}, "unknown hyper-parameter of 'mlp' in the search space 'widths'"),
        (
            {"mlp": {"updates": [1]}},
            "unknown hyper-parameter of 'mlp' in the search space 'updates'",
        ),
        ({"mlp": [1]}, "the search space of 'mlp' is"),
        ({"mlp": {"hidden": []}}, "a choice has no values"),
        (
            {"mlp": {"hidden": {"low": 4}}},
            "mlp.hidden in the search space is {'low': 4}: give a list",
        ),
        ({"mlp": {"hidden": {"low": 4, "high": 4}}}, "the range from 4 to 4 is empty"),
        ({"mlp": {"dropout": {"low": 0.0, "high": 1, "log": True}}}, "the logarithmic range from"),
    ],
)
def test_changes_that_cannot_be_understood(changes, message):
    with pytest.raises(InputError, match=message):
        spaces_of(["linear", "mlp"], changes)


@pytest.mark.parametrize(("text", "message"), [("[1]", "is no mapping"), ("{", "cannot be read")])
def test_files_that_are_no_search_space(tmp_path, text, message):
    file = tmp_path / "space.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        read_space(file)
    with pytest.raises(InputError, match="cannot be read"):
        read_space(tmp_path / "none.yaml")


def test_a_configuration_is_split():
    options, training = split_configuration(
        {"hidden": 8, "learning_rate": 0.1, "schedule": "cosine"}
    )
    assert options == {"hidden": 8}
    assert training == {"learning_rate": 0.1, "schedule": "cosine"}
