"""Publishing to, and reading from, a stand-in for the hub."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hub_stand_in import TOKEN, Repository

from stemdist.cli import main
from stemdist.data.downloads import HubFile
from stemdist.data.fetch import DownloadError
from stemdist.distill import DistilledSet
from stemdist.errors import InputError
from stemdist.sharing import PublishError, files_for, publish

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def files(shared):
    return files_for(shared / "tiny.nc", "me/tiny", shared / "tiny.evaluation")


def test_what_is_published_can_be_used_by_its_address(hub, shared, files):
    done = publish(files, "me/tiny")
    assert set(done.uploaded) == {"README.md", "tiny.nc"}
    assert hub.repositories["me/tiny"].files == files
    assert not hub.repositories["me/tiny"].private
    assert b"hf://me/tiny/tiny.nc" in files["README.md"]
    local = DistilledSet.load(shared / "tiny.nc")
    for address in ("hf://me/tiny", "hf://me/tiny/tiny.nc", "hf://datasets/me/tiny@v1/tiny.nc"):
        assert DistilledSet.load(address).content_hash == local.content_hash


def test_a_file_of_another_content_is_replaced_only_if_wanted(hub, files):
    publish(files, "me/tiny")
    again = publish(files, "me/tiny")
    assert (again.uploaded, again.commit) == ((), hub.repositories["me/tiny"].commit)
    changed = {**files, "README.md": b"---\nlicense: mit\n---\nmine"}
    before = dict(hub.repositories["me/tiny"].files)
    with pytest.raises(InputError, match=r"has README\.md with another content: .* --replace"):
        publish(changed, "me/tiny")
    assert hub.repositories["me/tiny"].files == before
    assert publish(changed, "me/tiny", replace=True).uploaded == ("README.md",)
    assert hub.repositories["me/tiny"].files == changed


def test_other_files_of_a_repository_stay(hub, files):
    hub.repositories["me/tiny"] = Repository(files={"mine.txt": b"mine"})
    publish(files, "me/tiny")
    assert hub.repositories["me/tiny"].files["mine.txt"] == b"mine"


def test_private_needs_the_token(hub, files, monkeypatch):
    publish(files, "me/secret", private=True)
    assert hub.repositories["me/secret"].private
    assert DistilledSet.load("hf://me/secret").n_windows
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    with pytest.raises(DownloadError, match="no such repository, or it is private"):
        DistilledSet.load("hf://me/secret/tiny.nc@v1")
    with pytest.raises(PublishError, match="the hub answered 401"):
        publish(files, "me/other")
    assert "me/other" not in hub.repositories


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("hf://me/none", "there is no such repository, or it is private"),
        ("hf://me/tiny/none.nc", "there is no such file"),
        ("hf://me/tiny/tiny.nc@v9", "there is no such revision"),
    ],
)
def test_what_is_not_there(hub, files, address, text, capsys):
    publish(files, "me/tiny")
    with pytest.raises(DownloadError, match=text):
        DistilledSet.load(address)
    assert main(["info", address]) == 2
    err = capsys.readouterr().err
    assert f"stemdist: error: cannot read '{address}': {text}" in err
    assert err.count("\n") == 1


def test_a_repository_of_several_files(hub, files):
    content = files["tiny.nc"]
    hub.repositories["me/two"] = Repository(files={"a.nc": content, "b.nc": content})
    with pytest.raises(InputError, match=r"there: a\.nc, b\.nc\): name it, hf://me/two/FILE"):
        DistilledSet.load("hf://me/two")
    hub.repositories["me/two"].files["b.distilled.nc"] = content
    assert DistilledSet.load("hf://me/two").n_windows


def test_a_download_that_breaks_off_leaves_nothing(hub, files, tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)  # between attempts of the library
    publish(files, "me/tiny")
    hub.truncated = True
    with pytest.raises(DownloadError, match=r"cannot read 'hf://me/tiny/tiny\.nc'"):
        DistilledSet.load("hf://me/tiny/tiny.nc")
    assert list((tmp_path / "cache").rglob("*.nc")) == []
    hub.truncated = False
    assert DistilledSet.load("hf://me/tiny/tiny.nc").n_windows


def test_a_set_whose_numbers_were_changed_is_refused(hub, files):
    content = bytearray(files["tiny.nc"])
    publish({**files, "tiny.nc": bytes(content[: len(content) // 2])}, "me/tiny")
    with pytest.raises(InputError, match="cannot be read as a distilled file"):
        DistilledSet.load("hf://me/tiny")


@pytest.mark.parametrize("address", ["hf://", "hf://me", "hf://me/a@1/b.nc@2", "hf://a b/c"])
def test_addresses_that_are_none(address):
    with pytest.raises(InputError, match="is no address of the hub"):
        HubFile.parse(address)


@pytest.mark.parametrize("name", ["tiny", "a/b/c", "me/", "../x", "me/a b"])
def test_names_that_are_none(name, shared):
    with pytest.raises(InputError, match="is no name of a repository"):
        files_for(shared / "tiny.nc", name)


def test_a_store_is_refused(tiny, tmp_path):
    tiny.save(tmp_path / "tiny.zarr")
    with pytest.raises(InputError, match="is a Zarr store"):
        files_for(tmp_path / "tiny.zarr", "me/tiny")


def test_dry_run_writes_and_sends_nothing(hub, shared, tmp_path, capsys):
    line = ["publish", str(shared / "tiny.nc"), "me/tiny", "--dry-run", "upload"]
    assert main(line) == 0
    assert hub.asked == []
    assert (tmp_path / "upload/tiny.nc").read_bytes() == (shared / "tiny.nc").read_bytes()
    assert "hf://me/tiny" in (tmp_path / "upload/README.md").read_text()
    assert main(line) == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/a.txt").write_text("a")
    assert main([*line[:-1], "mine"]) == 2
    assert (tmp_path / "mine/a.txt").read_text() == "a"


def test_the_hub_of_the_environment(hub, shared, tmp_path):
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "HF_ENDPOINT": hub.address, "HF_TOKEN": TOKEN,
        "STEMDIST_CACHE": str(tmp_path / "cache"),
    }  # fmt: skip
    lines = (
        ["publish", str(shared / "tiny.nc"), "me/tiny", "--private", "--json"],
        ["train", "hf://me/tiny", "--forecaster", "linear", "--updates", "2", "--json"],
    )
    answers = []
    for line in lines:
        done = subprocess.run(
            [sys.executable, "-m", "stemdist", *line],
            env=environment, cwd=tmp_path, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        answers.append(json.loads(done.stdout))
    assert answers[0]["result"]["address"] == "hf://me/tiny"
    assert answers[1]["written"] == ["tiny-linear"]
    assert hub.repositories["me/tiny"].private


def test_without_the_library_it_is_said_what_to_install(monkeypatch, files):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=re.escape('pip install "stemdist[hub]"')):
        publish(files, "me/tiny")
    with pytest.raises(ImportError, match=re.escape('pip install "stemdist[hub]"')):
        DistilledSet.load("hf://me/tiny/tiny.nc")


def test_terms_are_remarked_upon(shared, tmp_path, monkeypatch, capsys):
    from dataclasses import replace

    monkeypatch.chdir(tmp_path)
    stored = DistilledSet.load(shared / "tiny.nc")
    record = {name: value for name, value in stored.record.items() if name != "license"}
    replace(stored, record={**record, "license": "CC-BY-ND-4.0"}).save("nd.nc")
    replace(stored, record=record).save("none.nc")
    for name, text in (("nd.nc", "needs the owner's consent"), ("none.nc", "no licence is")):
        assert main(["publish", name, "me/tiny", "--dry-run", f"{name}-upload"]) == 0
        assert text in capsys.readouterr().err
