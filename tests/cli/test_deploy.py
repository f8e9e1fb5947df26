"""``stemdist deploy``: what it writes, what it prints, what it refuses."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch
from cli_cases import Run

from stemdist.forecast import FittedForecaster
from stemdist.forecast.deploy import Deployable, open_deployed, random_windows
from stemdist.markers import made_by


@pytest.fixture
def model(run: Run, made: Path) -> FittedForecaster:
    """The forecaster, in the folder that commands run in."""
    return FittedForecaster.load(shutil.copytree(made / "model", "model"))


@pytest.mark.parametrize(
    ("line", "file", "runtime"),
    [
        ("deploy model", "model.onnx", "onnxruntime"),
        ("deploy model -o other/m.pt2", "other/m.pt2", "torch.export"),
    ],
)
def test_a_forecaster_becomes_one_file(
    line: str, file: str, runtime: str, run: Run, model: FittedForecaster
) -> None:
    outcome = run(line)
    assert (outcome.status, outcome.err) == (0, "")
    fields = dict(re.findall(r"^  (\S.*?)  +(.*)$", outcome.out, re.MULTILINE))
    written = Path(file)
    assert made_by(written) == "stemdist deploy"
    assert fields["written"] == f"{file} ({written.stat().st_size / 1024:.1f} KiB)"
    assert fields["windows"] == "any number at a time"
    assert fields["input x"] == "window, lookback 4, location 12, feature 2"
    assert fields["forecast"] == "window, target 1, horizon 3, location 12"
    assert (fields["feature 0"], fields["feature 1"]) == ("t2m (K)", "t2m_neighbours (K)")
    assert fields["target 0"] == "t2m (K)"
    assert float(fields[runtime].removesuffix(" ms per window")) > 0
    assert float(fields["stemdist"].removesuffix(" ms per window")) > 0
    x = random_windows(model, 5)
    with torch.no_grad():
        expected = Deployable(model)(x)
    torch.testing.assert_close(open_deployed(written)[1](x), expected, rtol=1e-5, atol=1e-3)


def test_a_fixed_number_of_windows(run: Run, model: FittedForecaster) -> None:
    outcome = run("deploy model --batch 2 -o m.pt2")
    assert outcome.status == 0
    assert "windows       2 at a time\n" in outcome.out
    _, forecast = open_deployed("m.pt2")
    assert forecast(random_windows(model, 2)).shape == (2, 1, 3, 12)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("deploy", "needs FORECASTER"),
        ("deploy modle", "is not a saved forecaster"),
        ("deploy model -o m.tflite", "must end in .onnx or .pt2, e.g. m.onnx"),
        ("deploy model -o model", "must end in .onnx or .pt2"),
        ("deploy model -o m.pt2 --batch 0", "batch is 0"),
        ("deploy model -o m.pt2 --batch two", "--batch must be a whole number, not two"),
        ("deploy model --bach 2", "did you mean '--batch'"),
        ("deploy model --quiet --verbose", "contradict each other"),
    ],
)
def test_bad_input_is_one_clear_line(
    line: str, message: str, run: Run, model: FittedForecaster
) -> None:
    outcome = run(line)
    assert outcome.status == 2
    assert message in outcome.err
    assert outcome.err.startswith("stemdist: error: ")
    assert outcome.err.count("\n") == 1
    assert [path.name for path in Path().iterdir()] == ["model"]
