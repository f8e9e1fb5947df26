"""Local copies of files on the web: whole, up to date, and kept for when the server is away."""

from __future__ import annotations

import hashlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from stemdist.data import open_series
from stemdist.data.downloads import local_copy, requested_once
from stemdist.data.fetch import CACHE_VARIABLE, DownloadError
from stemdist.data.simulate import simulate


class Site:
    """A server of some files, and what it was asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.answers: list[int] = []
        self.broken = False
        self.validated = True
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = site.files.get(self.path.partition("?")[0])
                etag = f'"{hashlib.sha1(content or b"").hexdigest()}"'
                status = 404 if content is None else 200
                if site.validated and self.headers.get("If-None-Match") == etag:
                    status = 304
                site.answers.append(status)
                self.send_response(status)
                if status == 200:
                    self.send_header("Content-Length", str(len(content)))
                if site.validated:
                    self.send_header("ETag", etag)
                self.end_headers()
                if status == 200:
                    self.wfile.write(content[: len(content) // 2] if site.broken else content)

            def log_message(self, *_: object) -> None:
                """Keep the test output quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        """Stop answering."""
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    found = Site()
    yield found
    if found.thread.is_alive():
        found.close()


def test_a_copy_is_fetched_once_and_again_when_it_changes(site):
    site.files["/a.nc"] = b"one"
    path = local_copy(f"{site.address}/a.nc")
    assert (path.name, path.read_bytes()) == ("a.nc", b"one")
    assert local_copy(f"{site.address}/a.nc") == path
    assert site.answers == [200, 304]
    site.files["/a.nc"] = b"two"
    assert local_copy(f"{site.address}/a.nc").read_bytes() == b"two"


def test_files_of_one_name_are_kept_apart(site):
    site.files |= {"/a/x.nc": b"one", "/b/x.nc": b"two"}
    one, two = (local_copy(f"{site.address}/{name}/x.nc?download=1") for name in "ab")
    assert (one.read_bytes(), two.read_bytes()) == (b"one", b"two")
    assert one.name == "x.nc"


def test_a_server_that_says_nothing_of_versions_is_asked_again(site):
    site.validated, site.files["/a.nc"] = False, b"one"
    for _ in range(2):
        local_copy(f"{site.address}/a.nc")
    assert site.answers == [200, 200]


def test_a_command_requests_an_address_once_and_reads_one_version(site):
    site.validated, site.files["/a.nc"] = False, b"one"
    with requested_once():
        path = local_copy(f"{site.address}/a.nc")
        site.files["/a.nc"] = b"two"
        assert local_copy(f"{site.address}/a.nc") == path
    assert (path.read_bytes(), site.answers) == (b"one", [200])
    assert local_copy(f"{site.address}/a.nc").read_bytes() == b"two"


def test_a_download_without_a_terminal_is_said(site, caplog):
    site.files["/a.nc"] = b"content"
    with caplog.at_level("INFO"):
        local_copy(f"{site.address}/a.nc")
    assert "a.nc: ended, 0.0 MB" in caplog.text


def test_a_copy_that_was_cut_off_is_fetched_again(site):
    site.files["/a.nc"] = b"content"
    path = local_copy(f"{site.address}/a.nc")
    path.write_bytes(b"con")
    assert local_copy(f"{site.address}/a.nc").read_bytes() == b"content"


def test_a_server_that_is_away(site, caplog):
    site.files["/a.nc"] = b"one"
    path = local_copy(f"{site.address}/a.nc")
    site.close()
    assert local_copy(f"{site.address}/a.nc") == path
    assert "the server cannot be reached; the copy in the cache is used" in caplog.text
    with pytest.raises(DownloadError, match=r"cannot read .*/b\.nc': the server cannot be reached"):
        local_copy(f"{site.address}/b.nc")


def test_what_is_not_there_is_said_although_a_copy_is(site):
    site.files["/a.nc"] = b"one"
    local_copy(f"{site.address}/a.nc")
    del site.files["/a.nc"]
    with pytest.raises(DownloadError, match="the server answered 404"):
        local_copy(f"{site.address}/a.nc")


def test_a_download_that_breaks_off_leaves_nothing(site, tmp_path):
    site.files["/a.nc"], site.broken = b"content" * 1000, True
    with pytest.raises(DownloadError, match="the connection broke off before the end of the file"):
        local_copy(f"{site.address}/a.nc")
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


def test_data_files_come_the_same_way(site, tmp_path):
    simulate("weather-sim", days=2, n_lat=2, n_lon=2).to_netcdf(tmp_path / "w.nc")
    site.files["/w.nc"] = Path(tmp_path / "w.nc").read_bytes()
    assert open_series(f"{site.address}/w.nc").sizes["location"] == 4
