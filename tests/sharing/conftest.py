"""A small distilled set, and the folder of its evaluation with a ranking."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_stand_in import TOKEN, Hub, serving

import stemdist
from stemdist.data import simulate
from stemdist.distill import DistilledSet
from stemdist.evaluate import EvaluationSettings, RankingSettings, evaluate, rank
from stemdist.forecast import ForecastTask

OPTIONS = {
    "labels": "observed",
    "synthesizer": "selection",
    "judging": {"updates": 4},
    "lookback": 4,
    "horizon": 3,
}


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``tiny.nc`` and its evaluation in ``tiny.evaluation``."""
    folder = tmp_path_factory.mktemp("shared")
    series = stemdist.open_series(simulate("weather-sim", days=8, n_lat=4, n_lon=4))
    stemdist.distill_series(series, **OPTIONS).save(folder / "tiny.nc")
    tiny = DistilledSet.load(folder / "tiny.nc")
    task = ForecastTask.from_series(series, tiny.settings)
    quick = {"forecasters": ("linear",), "learning_rates": (5e-3,), "updates": 4, "seeds": 2}
    settings = EvaluationSettings(references=("full", "random", "distilled"), **quick)
    place = folder / "tiny.evaluation"
    evaluate(tiny, task, settings, results=place).write_json(place / "all.json")
    ranking = RankingSettings(
        forecasters=("linear",), configurations=3, updates=4, full_updates=8, references=()
    )
    rank(tiny, task, ranking, results=place).write(place)
    return folder


@pytest.fixture
def tiny(shared: Path) -> DistilledSet:
    """The set, as others read it."""
    return DistilledSet.load(shared / "tiny.nc")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A stand-in for the hub, and a user who is logged in to it, in a folder of its own."""
    from huggingface_hub import constants

    with serving() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        template = server.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("STEMDIST_CACHE", str(tmp_path / "cache"))
        monkeypatch.chdir(tmp_path)
        yield server
