"""What callbacks are told of a training, and that the examples in the documentation run."""

from __future__ import annotations

import math
import re
import sys
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

import stemdist
from stemdist.forecast import TrainingSettings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "pipelines.md"


class Recorder(stemdist.Callback):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict]] = []

    def on_train_begin(self, settings):
        self.told.append(("begin", dict(settings)))

    def on_validation(self, row):
        self.told.append(("validation", dict(row)))

    def on_train_end(self, summary):
        self.told.append(("end", dict(summary)))


@pytest.fixture(scope="module")
def raw():
    return stemdist.simulate("weather-sim", days=8, n_lat=3, n_lon=4)


def test_a_training_is_told_from_begin_to_end(raw):
    recorder = Recorder()
    fitted = stemdist.train(raw, "linear", updates=5, validate_every=2, callbacks=[recorder])
    kinds = [kind for kind, _ in recorder.told]
    assert kinds == ["begin", "validation", "validation", "validation", "end"]
    begin, *rows, end = (content for _, content in recorder.told)
    assert begin["forecaster"] == "LinearForecaster"
    assert begin["learning_rate"] == TrainingSettings().learning_rate
    assert [row["update"] for row in rows] == [2, 4, 5]
    assert end["updates"] == 5
    assert end["best_validation_error"] == min(row["validation_error"] for row in rows)
    history = pd.DataFrame(fitted.record["history"])
    assert history["train_loss"].tolist() == [row["train_loss"] for row in rows]


def test_callbacks_change_nothing(raw):
    class Spoiler(stemdist.Callback):
        def on_validation(self, row):
            row.clear()

    told, plain = (
        stemdist.train(raw, "linear", updates=4, callbacks=given) for given in ([Spoiler()], ())
    )
    assert told.record["validation_error"] == plain.record["validation_error"]
    assert told.record["history"][-1]["update"] == 4


def test_without_validation_the_error_is_nan(raw):
    tiny = stemdist.distill_series(
        raw, labels="observed", synthesizer="selection", judging={"updates": 4}
    )
    recorder = Recorder()
    stemdist.train(tiny, "linear", updates=2, callbacks=[recorder])
    assert math.isnan(recorder.told[-1][1]["best_validation_error"])


def test_what_a_callback_raises_ends_the_training(raw):
    class EnoughError(Exception):
        pass

    class Impatient(Recorder):
        def on_validation(self, row):
            super().on_validation(row)
            raise EnoughError

    impatient = Impatient()
    with pytest.raises(EnoughError):
        stemdist.train(raw, "linear", updates=9, validate_every=1, callbacks=[impatient])
    assert [kind for kind, _ in impatient.told] == ["begin", "validation"]


def test_students_are_told_of_too(raw):
    recorder = Recorder()
    stemdist.teach(raw, "linear", student="linear", updates=2, callbacks=[recorder])
    kinds = [kind for kind, _ in recorder.told]
    assert (kinds[0], kinds[-1]) == ("begin", "end")


class Stand:
    """Stands in for a module of another package: notes every call, and returns itself."""

    def __init__(self, calls: list[tuple[str, tuple, dict]], name: str = "") -> None:
        self._calls, self._name = calls, name

    def __getattr__(self, name: str) -> Stand:
        if name.startswith("__"):
            raise AttributeError(name)
        return Stand(self._calls, name)

    def __call__(self, *values, **options) -> Stand:
        self._calls.append((self._name, values, options))
        return self

    def __enter__(self) -> Stand:
        return self

    def __exit__(self, *_: object) -> None:
        self._calls.append(("exit", (), {}))


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("mlflow", ["start_run", "log_params", "log_metrics", "exit"]),
        ("wandb", ["init", "log", "finish"]),
        ("torch.utils.tensorboard", ["SummaryWriter", *["add_scalar"] * 3, "close"]),
    ],
)
def test_the_examples_run_with_stand_ins(raw, module, expected, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (block,) = (block for block in blocks if module in block)
    assert sum(1 for line in block.splitlines() if line.strip()) <= 14
    calls: list[tuple[str, tuple, dict]] = []
    stand = ModuleType(module)
    stand.__getattr__ = Stand(calls).__getattr__  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, module, stand)
    quick = block.replace('"mlp", callbacks', '"mlp", updates=2, callbacks')
    exec(compile(quick, "pipelines.md", "exec"), {"tiny": raw})
    assert [name for name, _, _ in calls] == expected
    logged = next(call for call in calls if call[0] in ("log_metrics", "log", "add_scalar"))
    assert 2 in (*logged[1], *logged[2].values())
