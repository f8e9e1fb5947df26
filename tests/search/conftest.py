import pytest

from stemdist.data import canonical_series, simulate
from stemdist.distill import DistilledSet, DistillSettings, distill
from stemdist.forecast import ForecastTask, TaskSettings, TrainingSettings
from stemdist.search import TuneSettings


@pytest.fixture(scope="session")
def task() -> ForecastTask:
    series = canonical_series(simulate("weather-sim", days=8, n_lat=3, n_lon=4))
    return ForecastTask.from_series(series, TaskSettings(lookback=6, horizon=3))


@pytest.fixture(scope="session")
def tiny(task) -> DistilledSet:
    quick = DistillSettings.of("kmeans", judging=TrainingSettings(updates=2), judge_seeds=1)
    return distill(task, quick)


@pytest.fixture(scope="session")
def few() -> TuneSettings:
    """Four trials of a moment."""
    return TuneSettings(forecasters=("linear", "mlp"), trials=4, updates=4, final_updates=8)
