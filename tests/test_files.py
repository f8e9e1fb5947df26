"""Nothing is left half written."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path

import pytest

from stemdist.errors import OutputError
from stemdist.files import atomic_path, hash_of, sha256_of_file, write_json


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


def write_half(target, error):
    with atomic_path(target) as path:
        path.write_text("half")
        raise error


def write_directory(target, content):
    with atomic_path(target) as path:
        path.mkdir()
        (path / content).write_text(content)


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "result.txt"
    path.write_text("old")
    return path


def test_success_replaces_the_old_file(target):
    with atomic_path(target) as path:
        path.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"
    assert listing(target.parent) == ["result.txt"]


def test_parents_are_made(tmp_path):
    with atomic_path(tmp_path / "a" / "b" / "c.txt") as path:
        path.write_text("new")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "new"


@pytest.mark.parametrize("error", [ValueError("wrong"), KeyboardInterrupt()])
def test_failure_leaves_the_old_file(target, error):
    with pytest.raises(type(error)):
        write_half(target, error)
    assert target.read_text() == "old"
    assert listing(target.parent) == ["result.txt"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (RuntimeError("NetCDF: HDF error"), "the disk may be full"),
        (RuntimeError("[enforce fail] unexpected pos 64 vs 0"), "the disk may be full"),
    ],
)
def test_full_disk(target, error, reason):
    message = rf"cannot write '.*result\.txt': {reason}.*Nothing was changed.*-o/--output"
    with pytest.raises(OutputError, match=message):
        write_half(target, error)
    assert target.read_text() == "old"
    assert listing(target.parent) == ["result.txt"]


def test_full_disk_while_moving_into_place(target, monkeypatch):
    def full(self, other):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputError, match="No space left"), atomic_path(target) as path:
        path.write_text("new")
    assert target.read_text() == "old"
    assert listing(target.parent) == ["result.txt"]


def test_read_only_folder(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)  # the owner of tests may write anywhere
    with (
        pytest.raises(OutputError, match=r"Permission denied.*choose a folder you may write to"),
        atomic_path(tmp_path / "a.txt"),
    ):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_truly_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"), atomic_path(tmp_path / "a"):
        pass
    tmp_path.chmod(0o700)


@pytest.mark.parametrize("name", ["store.zarr", "replaced"])
def test_directories(tmp_path, name):
    target = tmp_path / name
    for content in ("first", "second"):
        write_directory(target, content)
        assert listing(target) == [content]
    assert listing(tmp_path) == [name]


def test_a_directory_that_cannot_be_moved_into_place_leaves_the_old_one(tmp_path, monkeypatch):
    target = tmp_path / "model"
    target.mkdir()
    (target / "old").write_text("old")
    move = Path.replace

    def failing(self, other):
        if other == target and (self / "new").exists():
            raise OSError(errno.EIO, "Input/output error")
        return move(self, other)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(OutputError, match="Input/output error"):
        write_directory(target, "new")
    assert listing(target) == ["old"]
    assert listing(tmp_path) == ["model"]


def test_a_file_never_replaces_a_directory(tmp_path):
    target = tmp_path / "model"
    target.mkdir()
    with pytest.raises(OutputError, match="cannot write"), atomic_path(target) as path:
        path.write_text("file")
    assert target.is_dir()


def test_json_and_hashes(tmp_path):
    write_json(tmp_path / "a.json", {"b": [1, 2], "a": None})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": None, "b": [1, 2]}
    assert (
        sha256_of_file(tmp_path / "a.json")
        == hashlib.sha256((tmp_path / "a.json").read_bytes()).hexdigest()
    )
    assert hash_of({"a": 1, "b": 2}) == hash_of({"b": 2, "a": 1})
    assert hash_of({"a": 1}) != hash_of({"a": 2})
