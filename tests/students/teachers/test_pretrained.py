"""Folders of pretrained models: found, checked, and never unpickled."""

from __future__ import annotations

import json
import shutil
import sys
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file

from stemdist.errors import InputError, MissingDependencyError
from stemdist.students.teacher import load_teacher
from stemdist.students.teachers import pretrained

LIBRARIES = {"chronos": "chronos", "timesfm": "transformers", "transformers": "transformers"}
KINDS = {"chronos": "chronos_bolt", "timesfm": "timesfm", "transformers": "patchtst"}


@pytest.mark.parametrize("name", LIBRARIES)
def test_missing_library(name, monkeypatch):
    monkeypatch.setitem(sys.modules, LIBRARIES[name], None)
    message = rf'the teacher {name} needs {LIBRARIES[name]}.*pip install "stemdist\[teachers\]"'
    with pytest.raises(MissingDependencyError, match=message):
        load_teacher(f"{name}:nowhere")


@pytest.mark.parametrize("name", LIBRARIES)
def test_nothing_there(name, tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match=r"no folder /no/where, and a model .* OWNER/MODEL"):
        load_teacher(f"{name}:/no/where")
    with pytest.raises(InputError, match=r"OWNER/MODEL"):
        load_teacher(f"{name}:s3://bucket/model")
    message = r"no folder no/where, and 'no/where' cannot be fetched from .* \(Cannot find"
    with pytest.raises(InputError, match=message):
        load_teacher(f"{name}:no/where")


def test_models_of_the_hub(saved, monkeypatch):
    asked = []

    def fetch(model, *, allow_patterns):
        asked.append((model, allow_patterns))
        return str(saved("patchtst"))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    teacher = load_teacher("transformers:someone/patchtst-tiny")
    assert asked == [("someone/patchtst-tiny", ["*.json", "*.safetensors"])]
    assert teacher.name == "transformers:patchtst-tiny"
    assert teacher.identity == load_teacher(f"transformers:{saved('patchtst')}").identity


@pytest.mark.parametrize("name", LIBRARIES)
def test_folders_without_a_model(name, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"is a file. Name the folder that holds config.json"):
        load_teacher(f"{name}:{tmp_path / 'file'}")
    with pytest.raises(InputError, match=r"has no config.json. Name the folder that save_pretr"):
        load_teacher(f"{name}:{tmp_path}")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match=r"holds no weights: expected model.safetensors"):
        load_teacher(f"{name}:{tmp_path}")
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(InputError, match=r"unknown: its config|model without architectures"):
        load_teacher(f"{name}:{tmp_path}")
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(InputError, match=r"config.json holds no table of settings, but \[1\]"):
        load_teacher(f"{name}:{tmp_path}")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config.json is no JSON file: "):
        load_teacher(f"{name}:{tmp_path}")
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match="holds an adapter of another model"):
        load_teacher(f"{name}:{tmp_path}")


@pytest.mark.parametrize("name", LIBRARIES)
def test_pickled_weights_are_not_read(name, saved, tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("sprung").touch, ())

    shutil.copy(saved(KINDS[name]) / "config.json", tmp_path)
    torch.save({"weight": Trap()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"only as pytorch_model.bin, .* run code"):
        load_teacher(f"{name}:{tmp_path}")
    # The libraries prefer any pickle to safe weights under a name that they do not look for.
    torch.save(load_file(saved(KINDS[name]) / "model.safetensors"), tmp_path / "pytorch_model.bin")
    shutil.copy(saved(KINDS[name]) / "model.safetensors", tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=r"cannot be loaded: .*model\.safetensors"):
        load_teacher(f"{name}:{tmp_path}")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("name", LIBRARIES)
def test_code_beside_the_weights_is_not_run(name, saved, tmp_path):
    source = saved(KINDS[name])
    config = json.loads((source / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "code.Config", "AutoModel": "code.Model"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    shutil.copy(source / "model.safetensors", tmp_path)
    (tmp_path / "code.py").write_text("raise SystemExit('code was run')")
    teacher = load_teacher(f"{name}:{tmp_path}")
    assert teacher.model.state_dict().keys() == (
        load_teacher(f"{name}:{source}").model.state_dict().keys()
    )


@pytest.mark.parametrize("name", ["timesfm", "transformers"])
def test_missing_weights_are_not_drawn(name, saved, tmp_path):
    shutil.copy(saved(KINDS[name]) / "config.json", tmp_path)
    shutil.copy(saved("chronos_t5") / "model.safetensors", tmp_path)
    with pytest.raises(InputError, match=r"lack \d+ of the model's weights .* would be random"):
        load_teacher(f"{name}:{tmp_path}")


@pytest.mark.parametrize("name", LIBRARIES)
def test_broken_weights(name, saved, tmp_path):
    shutil.copy(saved(KINDS[name]) / "config.json", tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(InputError, match="cannot be loaded: "):
        load_teacher(f"{name}:{tmp_path}")


def test_older_libraries(saved, monkeypatch):
    old = SimpleNamespace(__version__="4.50.0")
    monkeypatch.setattr(pretrained, "require", lambda module, extra, what: old)
    with pytest.raises(InputError, match=r"transformers 4\.50\.0 has no TimesFm2_5ModelForPredict"):
        load_teacher(f"timesfm:{saved('timesfm2_5')}")
