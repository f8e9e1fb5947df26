"""Find and load a pretrained model without running code that came with it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from safetensors import safe_open
from torch import nn

from stemdist.dependencies import require
from stemdist.errors import InputError

EXTRA = "teachers"
"""The extra that installs what pretrained teachers need."""

_FETCHED = ["*.json", "*.safetensors"]
_PICKLED = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5"}

T = TypeVar("T")


def model_folder(argument: str, what: str) -> Path:
    """Return the folder of a model, fetched from the Hugging Face hub if it is not a local one.

    Parameters
    ----------
    argument : str
        A folder with ``config.json`` and ``model.safetensors``, or OWNER/MODEL on the hub, of
        which only JSON and safetensors files are fetched.
    what : str
        The caller, for the messages.

    Raises
    ------
    InputError
        If nothing is found, or the folder holds no weights that can be read safely.
    MissingDependencyError
        If the model must be fetched and ``huggingface_hub`` is not installed.
    """
    folder = Path(argument).expanduser()
    if folder.is_file():
        raise InputError(
            f"{what}: {argument} is a file. Name the folder that holds config.json and "
            "model.safetensors"
        )
    if not folder.is_dir():
        folder = _from_hub(argument, what)
    _check_files(folder, what)
    return folder


def _from_hub(argument: str, what: str) -> Path:
    nowhere = f"{what}: there is no folder {argument}"
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", argument):
        raise InputError(
            f"{nowhere}, and a model on the Hugging Face hub is called OWNER/MODEL, e.g. "
            "amazon/chronos-bolt-tiny"
        )
    hub = require("huggingface_hub", EXTRA, what)
    try:
        return Path(hub.snapshot_download(argument, allow_patterns=_FETCHED))
    except Exception as error:  # of three libraries: the hub's own, httpx and the system's
        reason = str(error).strip().split("\n")[0]
        raise InputError(
            f"{nowhere}, and {argument!r} cannot be fetched from the Hugging Face hub ({reason}). "
            "Check the spelling, or download the model elsewhere and name its folder"
        ) from error


def _check_files(folder: Path, what: str) -> None:
    if not (folder / "config.json").is_file():
        raise InputError(
            f"{what}: the folder {folder} has no config.json. Name the folder that "
            "save_pretrained wrote, with config.json and model.safetensors"
        )
    if (folder / "adapter_config.json").exists():
        raise InputError(
            f"{what}: {folder} holds an adapter of another model (adapter_config.json). Merge it "
            "into its model and save that"
        )
    if any(folder.glob("*.safetensors")):
        return
    pickled = sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLED)
    if pickled:
        raise InputError(
            f"{what}: {folder} holds its weights only as {', '.join(pickled)}, a format that can "
            "run code when it is read. Where you trust it, load the model and write it again with "
            "save_pretrained, which makes model.safetensors"
        )
    raise InputError(f"{what}: {folder} holds no weights: expected model.safetensors")


def read_config(folder: Path, what: str) -> dict[str, Any]:
    """Return the ``config.json`` of a model's folder.

    Raises
    ------
    InputError
        If it is no JSON object.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{what}: {path} is no JSON file: {error}") from error
    if not isinstance(config, dict):
        raise InputError(f"{what}: {path} holds no table of settings, but {config!r:.40}")
    return config


def architecture(config: dict[str, Any]) -> str:
    """Return the class that a ``config.json`` names, or an empty text.

    Examples
    --------
    >>> architecture({"architectures": ["PatchTSTForPrediction"]})
    'PatchTSTForPrediction'
    """
    names = config.get("architectures")
    return str(names[0]) if isinstance(names, list) and names else ""


def settings_of(config: Any) -> dict[str, Any]:
    """Return the settings of a ``transformers`` configuration that belong to the model itself."""
    settings: dict[str, Any] = config.to_dict()
    passing = ("_name_or_path", "transformers_version", "dtype", "torch_dtype")
    return {name: value for name, value in settings.items() if name not in passing}


def loaded(load: Callable[[], T], folder: Path, what: str) -> T:
    """Return what ``load`` makes of a folder.

    Raises
    ------
    InputError
        If it fails.
    """
    try:
        return load()
    except Exception as error:  # the libraries raise anything, from AssertionError to RuntimeError
        reason = str(error).strip() or type(error).__name__
        raise InputError(f"{what}: the model in {folder} cannot be loaded: {reason}") from error


def load_forecaster(name: str, folder: Path, what: str) -> nn.Module:
    """Load a class of ``transformers`` by its name, with all of its weights.

    Raises
    ------
    InputError
        If the installed version has no such class, or weights are missing: the library would
        draw them at random.
    MissingDependencyError
        If ``transformers`` is not installed.
    """
    library = require("transformers", EXTRA, what)
    kind = getattr(library, name, None)
    if kind is None:
        raise InputError(
            f"{what}: transformers {library.__version__} has no {name}: install a newer version"
        )
    model, found = loaded(
        lambda: kind.from_pretrained(
            folder, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        ),
        folder,
        what,
    )
    _refuse_missing(found["missing_keys"], folder, what)
    made: nn.Module = model
    return made


def check_complete(model: nn.Module, folder: Path, what: str) -> None:
    """Raise :class:`InputError` if a parameter of the model is in no file of its folder.

    A tied parameter needs to be there under one of its names only.
    """
    stored: set[str] = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            stored.update(file.keys())
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    missing = [same[0] for same in names.values() if not stored.intersection(same)]
    _refuse_missing(missing, folder, what)


def _refuse_missing(missing: Any, folder: Path, what: str) -> None:
    if missing:
        some = ", ".join(sorted(missing)[:3])
        raise InputError(
            f"{what}: the files in {folder} lack {len(missing)} of the model's weights ({some}, "
            "...), which would be random. The folder was saved from another kind of model"
        )
