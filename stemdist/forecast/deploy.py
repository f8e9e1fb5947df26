"""A trained forecaster as one file that runs without this package: ONNX or ``torch.export``.

Shapes: B windows, L_in lookback, L_out horizon, N locations, F features, C targets, Q quantiles.
"""

from __future__ import annotations

import copy
import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from torch import Tensor, nn
from torch.export import ExportedProgram

from stemdist.dependencies import require
from stemdist.errors import InputError, StemdistError, check_count
from stemdist.files import atomic_path
from stemdist.forecast.features import InputFeatures
from stemdist.forecast.fitted import FittedForecaster
from stemdist.forecast.folding import folded
from stemdist.forecast.predict import physical_quantiles

METADATA = "stemdist"
"""Key of the metadata (JSON) in the file."""

_TOLERANCE, _ROUNDING = 1e-4, 1e-6  # of scaled values, and of the size of physical ones
_EXAMPLE_WINDOWS = 3  # any number but 1, which torch.export would treat as a constant


class Deployable(nn.Module):
    """A forecaster with its scaler, graph and profile as constants: physical in, physical out.

    Parameters
    ----------
    fitted : FittedForecaster
        Its module is copied, to the CPU.

    Examples
    --------
    >>> from stemdist.data import canonical_series, simulate
    >>> from stemdist.forecast import ForecastTask, fit_forecaster, TrainingSettings
    >>> series = canonical_series(simulate("weather-sim", days=8, n_lat=3, n_lon=4))
    >>> task = ForecastTask.from_series(series)
    >>> fitted = fit_forecaster(task, "linear", TrainingSettings(updates=2))
    >>> Deployable(fitted)(torch.full((5, 12, 12, 2), 280.0)).shape  # (B, L_in, N, F)
    torch.Size([5, 1, 12, 12])
    """

    mean: Tensor
    scale: Tensor
    target_mean: Tensor
    target_scale: Tensor
    profile: Tensor

    def __init__(self, fitted: FittedForecaster) -> None:
        super().__init__()
        self.forecaster = copy.deepcopy(fitted.forecaster).cpu().eval().requires_grad_(False)
        self.graph = fitted.locations.graph
        self.n_targets = fitted.settings.n_targets
        self.n_quantiles = len(fitted.quantiles)
        self.register_buffer("profile", fitted.locations.profile)
        columns = fitted.scaler.columns(torch.empty(0))  # (F,) or (N, F)
        rows = fitted.scaler.of_targets(self.n_targets, torch.empty(0))  # (C, 1) or (C, N)
        for name, part in zip(("mean", "scale"), columns, strict=True):
            self.register_buffer(name, part)
        for name, part in zip(("target_mean", "target_scale"), rows, strict=True):
            self.register_buffer(name, part[:, None].clone())
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """Forecast in physical units.

        Parameters
        ----------
        x : Tensor
            (B, L_in, N, F), each feature in its physical unit. A missing value (NaN) becomes
            the mean of training, as where a series has nothing earlier to repeat.

        Returns
        -------
        Tensor
            (B, C, L_out, N), or (B, Q, C, L_out, N) in ascending order for quantiles.
        """
        scaled = (x - self.mean) / self.scale
        scaled = torch.where(scaled.isnan(), torch.zeros_like(scaled), scaled)
        rows = self.forecaster(scaled, self.graph, self.profile)  # (B, Q C L_out, N)
        levels = rows.unflatten(1, (max(1, self.n_quantiles), self.n_targets, -1))
        physical = levels * self.target_scale + self.target_mean  # (B, Q, C, L_out, N)
        ordered: Tensor = physical.sort(dim=1).values if self.n_quantiles > 1 else physical
        return ordered if self.n_quantiles else ordered[:, 0]


Forecast = Callable[[Tensor], Tensor]
"""Maps windows (B, L_in, N, F) to forecasts, as :meth:`Deployable.forward` does."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """A kind of file.

    Parameters
    ----------
    title : str
        Software that runs the file.
    libraries : tuple of str
        Modules that writing needs beside torch.
    convert : callable
        Turns a program and the metadata (JSON) into a function that writes to a path.
    open : callable
        Returns the metadata (JSON) and the forecast of a file.
    """

    title: str
    libraries: tuple[str, ...]
    convert: Callable[[ExportedProgram, str], Callable[[Path], None]]
    open: Callable[[Path], tuple[str, Forecast]]


def deploy(fitted: FittedForecaster, target: str | Path, *, batch: int | None = None) -> Path:
    """Write a trained forecaster as one file that needs ONNX Runtime or torch alone.

    The file is opened again and compared with the forecaster on random windows before it
    replaces anything. What depends on the weights, the graph and the profiles only (location
    codes, learned graphs) is computed here once, not at each forecast.

    Parameters
    ----------
    fitted : FittedForecaster
        What to deploy, for its own N locations.
    target : str or Path
        ``.onnx`` (extra ``deploy``) or ``.pt2``, to be read with ``torch.export.load``.
    batch : int, optional
        Number of windows B of every call; any number by default.

    Returns
    -------
    Path
        The file. Its input ``x`` and output ``forecast`` are those of
        :meth:`Deployable.forward`; :func:`deployment_metadata` is inside.

    Raises
    ------
    InputError
        If the ending is unknown, or this forecaster cannot be exported.
    MissingDependencyError
        If ``onnx``, ``onnxscript`` or ``onnxruntime`` is needed and not installed.
    OutputError
        If the file cannot be written.
    StemdistError
        If the file does not forecast as the forecaster does.

    Examples
    --------
    >>> import tempfile
    >>> from stemdist.data import canonical_series, simulate
    >>> from stemdist.forecast import ForecastTask, fit_forecaster, TrainingSettings
    >>> series = canonical_series(simulate("weather-sim", days=8, n_lat=3, n_lon=4))
    >>> task = ForecastTask.from_series(series)
    >>> fitted = fit_forecaster(task, "linear", TrainingSettings(updates=2))
    >>> path = deploy(fitted, tempfile.mkdtemp() + "/model.pt2")
    >>> torch.export.load(path).module()(torch.full((5, 12, 12, 2), 280.0)).shape
    torch.Size([5, 1, 12, 12])
    """
    target = Path(target)
    form = format_of(target)
    if batch is not None:
        check_count("batch", batch)
    for library in form.libraries:
        require(library, "deploy", f"writing {target.suffix} files")
    with _quiet():
        program = _exported(fitted, batch)
        try:
            write = form.convert(program, json.dumps(deployment_metadata(fitted)))
        except Exception as error:  # exception types differ between libraries and versions
            hint = "Write .pt2 instead, or" if target.suffix != ".pt2" else "Or"
            raise _not_exportable(fitted, error, target.suffix, hint) from error
        with atomic_path(target) as part:
            write(part)
            _check_parity(fitted, form.open(part)[1], (batch,) if batch else (1, 4))
    return target


def open_deployed(path: str | Path) -> tuple[dict[str, Any], Forecast]:
    """Open a file written by :func:`deploy`.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    dict, callable
        :func:`deployment_metadata`, and the forecast as a function of windows.
    """
    metadata, forecast = format_of(Path(path)).open(Path(path))
    return json.loads(metadata), forecast


def format_of(path: Path) -> Format:
    """Return the format that the ending of a file names, or raise InputError."""
    if path.suffix not in FORMATS:
        raise InputError(
            f"a deployed forecaster must end in {' or '.join(FORMATS)}, not "
            f"{path.suffix or 'nothing'!r}: name it {path.with_suffix('.onnx').name!r}, for example"
        )
    return FORMATS[path.suffix]


def deployment_metadata(fitted: FittedForecaster) -> dict[str, Any]:
    """Return the description of the file's inputs and outputs, as JSON types.

    Returns
    -------
    dict
        ``stemdist_version``, ``comment`` (what made it), ``forecaster``, ``features`` in the
        order of the last axis of x and their ``feature_units``, ``lookback`` and ``horizon`` in
        steps, ``locations`` (ids in order), ``positions`` (coordinates in that order),
        ``targets`` and their ``units``, ``quantiles``. Units that are not stored with the
        forecaster, those of other features, are null.
    """
    settings, coords = fitted.settings, fitted.locations.coords
    names = feature_names(fitted)
    own = {fitted.variables[0], f"{fitted.variables[0]}_neighbours"}
    known = {**dict.fromkeys(own, fitted.units), **dict.fromkeys(settings.calendar_names, "1")}
    targets = fitted.variables[: settings.n_targets]
    places = [name for name in ("lat", "lon", "x", "y") if name in coords.coords]
    return {
        "stemdist_version": version("stemdist"),
        "comment": "made by stemdist deploy",
        "forecaster": fitted.name,
        "features": list(names),
        "feature_units": [known.get(name) for name in names],
        "lookback": settings.lookback,
        "horizon": settings.horizon,
        "locations": coords["location"].values.tolist(),
        "positions": {name: coords[name].values.tolist() for name in places},
        "targets": list(targets),
        "units": [known.get(name) for name in targets],
        "quantiles": list(fitted.quantiles),
    }


def feature_names(fitted: FittedForecaster) -> tuple[str, ...]:
    """Return the names of the F input features of a forecaster, in order."""
    series = xr.Dataset(dict.fromkeys(fitted.variables, 0.0))  # only the names are read
    graph = fitted.locations.graph
    return InputFeatures(series, fitted.settings, fitted.scaler, graph).names()


def random_windows(fitted: FittedForecaster, count: int, seed: int = 0) -> Tensor:
    """Draw windows (B, L_in, N, F) in physical units, as far spread as those of training."""
    shape = (count, fitted.settings.lookback, len(fitted.locations), len(fitted.scaler.mean))
    draws = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    return fitted.scaler.inverse_features(draws)


@torch.no_grad()
def _exported(fitted: FittedForecaster, batch: int | None) -> ExportedProgram:
    """Trace the forecaster, and compute what does not depend on the windows."""
    example = (random_windows(fitted, batch or _EXAMPLE_WINDOWS),)
    shapes = None if batch else ({0: torch.export.Dim("batch")},)
    try:
        program = torch.export.export(Deployable(fitted), example, dynamic_shapes=shapes)
        program = torch.export.export(folded(program), example, dynamic_shapes=shapes)
    except Exception as error:  # tracing can raise exceptions of any type
        hint = "Or" if batch else "Fix the number of windows of a call (batch=1), or"
        raise _not_exportable(fitted, error, "a program", hint) from error
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # contains paths of source files
    return program


def _not_exportable(fitted: FittedForecaster, error: Exception, what: str, hint: str) -> InputError:
    deepest: BaseException = error
    while deepest.__cause__ is not None:
        deepest = deepest.__cause__
    reason = str(deepest).strip().partition("\n")[0] or type(deepest).__name__
    return InputError(
        f"the forecaster {fitted.name!r} cannot be exported as {what} ({reason}). {hint} choose "
        "another forecaster, e.g. mlp, dlinear, gru or patchtst"
    )


@torch.no_grad()
def _check_parity(fitted: FittedForecaster, forecast: Forecast, counts: tuple[int, ...]) -> None:
    """Raise if a file does not forecast as the forecaster does."""
    module = copy.deepcopy(fitted.forecaster).cpu().eval()
    n_targets, n_quantiles = fitted.settings.n_targets, len(fitted.quantiles)
    for seed, count in enumerate(counts, start=1):
        x = random_windows(fitted, count, seed)
        scaled = fitted.scaler.scale_features(x)
        rows = module(scaled, fitted.locations.graph, fitted.locations.profile)
        flat = physical_quantiles(rows, fitted.scaler, n_targets, n_quantiles)
        expected = torch.unflatten(flat, 2, (n_targets, -1))  # (B, Q, C, L_out, N)
        found = forecast(x).reshape(expected.shape)
        mean, scale = (part[:, None] for part in fitted.scaler.of_targets(n_targets, x))
        allowed = _TOLERANCE * (scale + (expected - mean).abs()) + _ROUNDING * expected.abs()
        # Written so that NaN on either side is a mismatch.
        if not bool(((found - expected).abs() <= allowed).all()):
            worst = float(((found - expected).abs() / scale).max())
            raise StemdistError(
                f"the file does not forecast as {fitted.name!r} does: forecasts of random windows "
                f"differ by up to {worst:.2g} standard deviations of their target. Nothing was "
                "written; choose the other format or another forecaster"
            )


def _convert_onnx(program: ExportedProgram, metadata: str) -> Callable[[Path], None]:
    converted: Any = torch.onnx.export(
        program,
        dynamo=True,
        verbose=False,
        input_names=["x"],
        output_names=["forecast"],
        dynamic_shapes=({0: "window"},) if program.range_constraints else None,
    )
    converted.model.metadata_props[METADATA] = metadata
    return lambda path: converted.save(path, external_data=False)


def _open_onnx(path: Path) -> tuple[str, Forecast]:
    runtime = require("onnxruntime", "deploy", "opening .onnx files")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    metadata: str = session.get_modelmeta().custom_metadata_map[METADATA]
    return metadata, lambda x: torch.from_numpy(session.run(None, {"x": x.numpy()})[0])


def _convert_pt2(program: ExportedProgram, metadata: str) -> Callable[[Path], None]:
    program.example_inputs = None  # they can be larger than everything else in the file

    def write(path: Path) -> None:
        # Through memory: on a full disk torch's own writer ends the process.
        content = io.BytesIO()
        torch.export.save(program, content, extra_files={METADATA: metadata})
        path.write_bytes(content.getbuffer())

    return write


def _open_pt2(path: Path) -> tuple[str, Forecast]:
    files: dict[str, Any] = {METADATA: ""}
    program = torch.export.load(path, extra_files=files)
    metadata = files[METADATA]
    return metadata if isinstance(metadata, str) else metadata.decode(), program.module()


FORMATS = {
    ".onnx": Format(
        title="onnxruntime",
        libraries=("onnx", "onnxscript", "onnxruntime"),
        convert=_convert_onnx,
        open=_open_onnx,
    ),
    ".pt2": Format(title="torch.export", libraries=(), convert=_convert_pt2, open=_open_pt2),
}
"""What can be written, by the ending of the file."""


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress output of the exporters about their internals, on which no user can act."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`isinstance.treespec, LeafSpec.`", FutureWarning)
            yield
    finally:
        logging.disable(before)
