"""``stemdist train``: a distilled set, or a data file, in; a forecaster out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stemdist.cli.answer import Result
from stemdist.cli.arguments import usual_options
from stemdist.cli.baselines import print_baselines
from stemdist.cli.console import Console, duration_text, print_fields, print_next, quoted
from stemdist.cli.option_types import Given
from stemdist.cli.outputs import claimed, default_output, output_folder
from stemdist.cli.sources import is_distilled, matching_task, refuse, task_of
from stemdist.data import OpenOptions
from stemdist.errors import InputError
from stemdist.forecast import TaskOptions, TrainingSettings
from stemdist.types import ForecasterName

if TYPE_CHECKING:
    from stemdist.forecast import FittedForecaster, ForecastTask


@usual_options(
    "forecaster output data hyperparameters device updates batch_windows learning_rate",
    "loss quantiles patience seed recipe variables select null_value start step_minutes",
    "lookback horizon split calendar targets graph",
    configured_by={"from": ("best.yaml", "use the best configuration in the folder of a search")},
)
def train(
    training_set: str,
    *,
    forecaster: ForecasterName = "mlp",
    output: str | None = None,
    data: str | None = None,
    hyperparameters: Mapping[str, Any] | None = None,
    device: str = "cpu",
    training: TrainingSettings,
    opening: OpenOptions,
    task: TaskOptions,
    console: Console,
    given: Given,
) -> Result:
    """Train a forecaster on a distilled set, or on a data file in full.

    A run that was stopped goes on where it was when the same command is run again; its state
    is in a hidden folder beside OUTPUT, which is removed at the end.

    Parameters
    ----------
    training_set : str
        A distilled set, or a data file or data set of the catalogue to train on in full.
    forecaster : str
        What to train, e.g. linear, mlp, unet or graph-transformer; a wrong name lists all,
        those of plug-ins included.
    output : str, optional
        Folder to write; by default named after TRAINING_SET and the forecaster. A forecaster
        of that name is replaced.
    data : str, optional
        Real data whose validation part chooses the weights, when training on a distilled set;
        a data file in full has its own validation part.
    hyperparameters : mapping, optional
        Of the forecaster, e.g. hidden=64.
    device : str
        Where to compute: cpu, cuda, cuda:0.

    Examples
    --------
      stemdist train uk.distilled.nc --forecaster mtgnn -o mtgnn-uk
      stemdist train uk.distilled.nc --data era5.nc --patience 5 -o mlp-uk
      stemdist train era5.nc --variable t2m --forecaster linear --updates 400 -o full-linear
      stemdist train era5.nc --from study -o final

    Updates are optimizer steps of --batch-windows windows each; losses are in units of the
    target's standard deviation in the training part.
    """
    from stemdist.distill import DistilledSet, train_on_distilled
    from stemdist.forecast import FORECASTERS, fit_forecaster

    FORECASTERS.get(forecaster)  # a wrong name costs nothing yet
    named = [training_set, *([data] if data else [])]
    asked = output or default_output(training_set, f"-{forecaster}")
    target = output_folder(asked, *named, command="train", force=console.force)
    distilled: DistilledSet | None = None
    real: ForecastTask | None = None
    if is_distilled(training_set):
        refuse(given, TaskOptions, "a distilled set fixes what is forecast from what")
        distilled = DistilledSet.load(training_set)
        if data is None:
            refuse(given, OpenOptions, "a distilled set needs no opening")
        else:
            real = matching_task(data, opening, distilled)
    elif data is not None:
        raise InputError(
            "--data is for training on a distilled set: a data file in full has its "
            "own validation part (see --split)"
        )
    else:
        real = task_of(training_set, opening, task)
    common: dict[str, Any] = {
        "options": hyperparameters,
        "device": device,
        "progress": console.progress,
    }
    with claimed(target, console) as state:
        common["checkpoint"] = state / "training.pt"
        if distilled is not None:
            fitted = train_on_distilled(distilled, forecaster, training, validation=real, **common)
        elif real is not None:
            fitted = fit_forecaster(real, forecaster, training, **common)
        fitted.save(target, replace=True)  # the output was checked
    print_fields(f"trained {forecaster} on {training_set}", _summary(fitted, target))
    if real is not None and not fitted.quantiles:
        _print_baselines(real, fitted)
    own = None if is_distilled(training_set) else training_set
    real_data = own or data or fitted.record.get("source_name") or "DATA"
    print_next([f"stemdist predict {quoted(target)} {quoted(real_data)} -o forecast.nc"])
    values = {"forecaster": fitted.name, "units": fitted.units, "record": fitted.record}
    return Result(values=values, written=[target])


def _print_baselines(task: ForecastTask, fitted: FittedForecaster) -> None:
    error = fitted.record.get("validation_error")
    reached = None
    if error is not None and (unit := _unit_of_error(fitted)) is not None:
        reached = float(error) ** 0.5 * unit
    print_baselines(task, reached, f"{fitted.name} as trained", "rmse")


def _summary(fitted: FittedForecaster, target: Path) -> list[tuple[str, str]]:
    record = fitted.record
    error = record.get("validation_error")
    validated = "none: the weights after the last update were kept"
    if error is not None:
        name, scaled = ("CRPS", error) if fitted.quantiles else ("RMSE", float(error) ** 0.5)
        validated = f"{name} {scaled:.4f} scaled"
        if (unit := _unit_of_error(fitted)) is not None:
            own = scaled * unit
            validated = f"{name} {own:.4g} {fitted.units} ({scaled:.4f} scaled)"
    n_weights = sum(weight.numel() for weight in fitted.forecaster.parameters())
    return [
        ("written", f"{target}"),
        ("forecasts", _forecasts(fitted)),
        ("locations", str(len(fitted.locations))),
        ("weights", str(n_weights)),
        ("updates", str(record["updates"])),
        ("validation", validated),
        ("time", duration_text(float(record["seconds"]))),
    ]


def _unit_of_error(fitted: FittedForecaster) -> float | None:
    """Return what scaled errors are multiplied by; None where targets or locations differ."""
    unit = fitted.scaler.scale[0]
    return unit if isinstance(unit, float) and fitted.settings.n_targets == 1 else None


def _forecasts(fitted: FittedForecaster) -> str:
    targets = fitted.variables[: fitted.settings.n_targets]
    units = f" ({fitted.units})" if len(targets) == 1 else ""
    levels = f", quantiles {', '.join(f'{q:g}' for q in fitted.quantiles)}"
    steps = f"{fitted.settings.horizon} steps{levels if fitted.quantiles else ''}"
    return f"{', '.join(targets)}{units}, {steps}"
