"""``stemdist tune``: many trainings on a small set, a few on everything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from stemdist.cli.answer import Result
from stemdist.cli.arguments import usual_options
from stemdist.cli.console import Console, print_fields, print_next, quoted
from stemdist.cli.option_types import Given
from stemdist.cli.outputs import claimed, expert_folder, output_folder, shared_results_in
from stemdist.cli.sources import is_distilled, matching_task, refuse, series_and_settings
from stemdist.data import OpenOptions
from stemdist.durations import parse_seconds
from stemdist.errors import InputError
from stemdist.forecast import TaskOptions
from stemdist.search import TuneSettings

if TYPE_CHECKING:
    from stemdist.distill import DistilledSet
    from stemdist.forecast import ForecastTask
    from stemdist.search import Tuned


@usual_options(
    "data forecasters lookbacks trials time finalists output space print_space sampler pruner",
    "storage jobs updates device seed recipe variables select lookback horizon calendar",
)
def tune(
    source: str,
    *,
    data: str | None = None,
    output: str = "study",
    space: str | None = None,
    print_space: bool = False,
    time: str | None = None,
    storage: str | None = None,
    jobs: int = 1,
    device: str = "cpu",
    settings: TuneSettings,
    opening: OpenOptions,
    task: TaskOptions,
    console: Console,
    given: Given,
) -> Result:
    """Search for a forecaster and its hyper-parameters on a distilled set.

    Trials train on the small set and are scored on real validation windows at all locations; the
    test part is not read. The same command goes on with a search that was stopped; with more
    trials or time it continues a finished one.

    Parameters
    ----------
    source : str
        A distilled set, or a data file or data set of the catalogue, which is distilled first
        (once, into OUTPUT).
    data : str, optional
        The real data of a distilled set; by default the file it was made from, if it is there.
    output : str
        Folder of the study, the best configuration (YAML), a table and a page (HTML).
    space : str, optional
        YAML file that changes search spaces; --print-space prints one to start from.
    print_space : bool
        Print the search spaces as YAML and exit.
    time : str, optional
        How long, e.g. 10min: no further trial begins afterwards.
    storage : str, optional
        Address of a database, e.g. postgresql://host/name, with which several machines work on
        one study; by default a file in OUTPUT, which several processes may share.
    jobs : int
        Trials at the same time.
    device : str
        Where to train: cpu, cuda, cuda:0.

    Examples
    --------
      stemdist tune traffic-sim --trials 40 --time 5min
      stemdist tune uk.distilled.nc --data era5.nc --forecasters mlp,gru,mtgnn --finalists 3
      stemdist tune uk.distilled.nc --data era5.nc --space narrow.yaml --pruner halving --jobs 4
    """
    from stemdist.search import read_space, spaces_of
    from stemdist.search import tune as run_search
    from stemdist.search.space import space_text

    changes = None if space is None else read_space(space)
    spaces = spaces_of(settings.forecasters, changes)
    if print_space:
        print(space_text(spaces), end="")
        return Result(values={"spaces": yaml.safe_load(space_text(spaces))})
    limit = None if time is None else parse_seconds(time)
    sources = [name for name in (source, data, space) if name]
    folder = output_folder(output, *sources, command="tune", force=console.force)
    with shared_results_in(folder, "tune"):
        distilled, real = _made(source, data, folder, opening, task, given, device, console)
        found = run_search(
            distilled,
            real,
            settings,
            folder=folder,
            storage=storage,
            space=changes,
            time_limit=limit,
            n_jobs=jobs,
            device=device,
            progress=console.progress,
        )
        written = [(path.suffix[1:], str(path)) for path in found.write(folder)]
        written.append(("html", str(_page(found, source, folder))))
    print_fields(f"tuned on {source}", _summary(found))
    print_fields("written", written)
    whole = data or distilled.record.get("source_name") or source
    print_next([f"stemdist train {quoted(whole)} --from {quoted(folder)} -o final"])
    values = {"best": found.configuration, "trials": found.table, "importance": found.importance}
    return Result(values=values, written=[file for _, file in written])


def _page(found: Tuned, source: str, folder: Path) -> Path:
    from stemdist.search.page import write_page

    return write_page(folder / "tune.html", found, f"Search on {source}")


def _made(
    source: str,
    data: str | None,
    folder: Path,
    opening: OpenOptions,
    options: TaskOptions,
    given: Given,
    device: str,
    console: Console,
) -> tuple[DistilledSet, ForecastTask]:
    """Return the distilled set, made first if it must be, and its real data."""
    from stemdist.distill import DistilledSet

    if is_distilled(source):
        refuse(given, TaskOptions, "a distilled set fixes what is forecast from what")
        distilled = DistilledSet.load(source)
        origin = data or str(distilled.record.get("source_name") or "")
        if not origin:
            raise InputError(
                f"{source!r} does not say what it was made from: name its real data with --data"
            )
        return distilled, matching_task(origin, opening, distilled)
    if data is not None:
        raise InputError("--data is for a distilled set: a data file is its own real data")
    return _distilled_first(source, folder, opening, options, device, console)


def _distilled_first(
    source: str,
    folder: Path,
    opening: OpenOptions,
    options: TaskOptions,
    device: str,
    console: Console,
) -> tuple[DistilledSet, ForecastTask]:
    """Distil a data file into the folder, unless a run before has done it."""
    from stemdist.distill import DistilledSet, DistillSettings, distill
    from stemdist.forecast import ForecastTask

    series, forecast = series_and_settings(source, opening, options)
    real, target = ForecastTask.from_series(series, forecast), folder / "distilled.nc"

    def stored() -> DistilledSet | None:
        found = DistilledSet.load(target) if target.exists() else None
        ours = found is not None and found.record.get("content_hash") == real.content_hash
        return found if ours else None

    if (known := stored()) is not None:
        return known, real
    with claimed(target, console) as state:
        if stored() is None:  # another process may have made it meanwhile
            console.note(f"distilling {source} first, into {target}")
            settings = DistillSettings.for_series(series)
            how: dict[str, Any] = {"experts": expert_folder(), "progress": console.progress}
            distill(real, settings, work=state, device=device, **how).save(target)
    return DistilledSet.load(target), real  # as every later run has it


def _summary(found: Tuned) -> list[tuple[str, str]]:
    table, best = found.table, found.configuration
    options = [f"{name}={value}" for name, value in best.get("hyperparameters", {}).items()]
    options += [f"lookback={best['lookback']}"] if "lookback" in best else []
    options += [f"{name}={best[name]:.3g}" for name in ("learning_rate", "weight_decay")]
    pruned = int((table["state"] == "pruned").sum())
    lines = [
        ("trials", f"{len(table)}" + (f", of which {pruned} were stopped early" if pruned else "")),
        ("best", f"{best['forecaster']}: {', '.join(options)}"),
        ("validation", f"RMSE {found.winner.value:.4f} scaled, after training on the small set"),
    ]
    if found.finalists:
        first = found.finalists[0]
        lines.append(("", f"RMSE {first.error:.4f} scaled, after training on the full data"))
    shares = ", ".join(f"{name} {share:.2f}" for name, share in found.importance.items())
    lines += [("importance", shares)] if shares else []
    return [*lines, ("time", found.sentence)]
