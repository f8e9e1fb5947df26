"""Fetching from a server on this machine: right, wrong, missing and broken-off files."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from stemdist.data.catalogue import CATALOGUE_VARIABLE
from stemdist.data.fetch import CACHE_VARIABLE, DownloadError, cache_folder, fetch
from stemdist.errors import InputError, OutputError

DATA = b"time,a,b\n" + b"0,1,2\n" * 5000
GRAPH = b"0,1\n1,0\n"


class Handler(BaseHTTPRequestHandler):
    """Serves DATA, GRAPH, and a file whose connection breaks off half-way."""

    requested: list[str]

    def do_GET(self) -> None:
        """Answer one request."""
        self.requested.append(self.path)
        content = {"/data.csv": DATA, "/graph.csv": GRAPH, "/broken.csv": DATA}.get(self.path)
        if content is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if "broken" in self.path else content)

    def log_message(self, *_: object) -> None:
        """Keep the test output quiet."""


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    requested: list[str] = []
    handler = type("Recorder", (Handler,), {"requested": requested})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}", requested
        http.shutdown()
        thread.join()


@pytest.fixture
def catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "catalogue"
    (folder / "datasets").mkdir(parents=True)
    (folder / "graphs").mkdir()
    monkeypatch.setenv(CATALOGUE_VARIABLE, str(folder))
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return folder


def source(url: str, content: bytes) -> str:
    """Return the source of a recipe as YAML."""
    digest = hashlib.sha256(content).hexdigest()
    return f"source: {{url: '{url}', size_bytes: {len(content)}, sha256: '{digest}'}}\n"


def add_dataset(catalogue: Path, how: str, graph: str = "auto") -> None:
    """Write the data set recipe ``demo``."""
    (catalogue / "datasets" / "demo.yaml").write_text(
        f"name: demo\ntitle: Demo\nsummary: A demo.\nkind: file\nlicence: CC0-1.0\n"
        f"citation: none\ngraph: {graph}\n{how}"
    )


def test_a_file_arrives_once(
    server: tuple[str, list[str]], catalogue: Path, tmp_path: Path
) -> None:
    url, requested = server
    add_dataset(catalogue, source(f"{url}/data.csv", DATA))
    path = fetch("demo")
    assert path == tmp_path / "cache" / "data.csv"
    assert path.read_bytes() == DATA
    assert fetch("demo") == path
    assert requested == ["/data.csv"]


def test_the_graph_comes_along(
    server: tuple[str, list[str]], catalogue: Path, tmp_path: Path
) -> None:
    url, _ = server
    add_dataset(catalogue, source(f"{url}/data.csv", DATA), graph="demo")
    (catalogue / "graphs" / "demo.yaml").write_text(
        "name: demo\ntitle: Demo\nmethod: adjacency\nfile: graph.csv\n"
        + source(f"{url}/graph.csv", GRAPH)
    )
    assert fetch("demo", tmp_path / "here", progress=False).parent == tmp_path / "here"
    assert (tmp_path / "here" / "graph.csv").read_bytes() == GRAPH


def test_a_changed_file_is_fetched_anew(server: tuple[str, list[str]], catalogue: Path) -> None:
    url, requested = server
    add_dataset(catalogue, source(f"{url}/data.csv", DATA))
    fetch("demo").write_bytes(b"spoiled")
    assert fetch("demo").read_bytes() == DATA
    assert len(requested) == 2


@pytest.mark.parametrize(
    ("file", "promised", "message"),
    [
        (
            "data.csv",
            b"else",
            "sent something other than the file with SHA-256 .*Nothing",
        ),
        ("none.csv", DATA, "cannot download http.*: the server answered 404 Not Found. Check"),
        ("broken.csv", DATA, "cannot download http.*: the connection broke off before the end"),
    ],
)
def test_a_bad_download_leaves_nothing(
    server: tuple[str, list[str]],
    catalogue: Path,
    tmp_path: Path,
    file: str,
    promised: bytes,
    message: str,
) -> None:
    add_dataset(catalogue, source(f"{server[0]}/{file}", promised))
    with pytest.raises(DownloadError, match=message) as caught:
        fetch("demo")
    assert str(tmp_path / "cache" / file) in str(caught.value)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_bad_download_keeps_the_old_file(
    server: tuple[str, list[str]], catalogue: Path, tmp_path: Path
) -> None:
    add_dataset(catalogue, source(f"{server[0]}/data.csv", b"a newer version"))
    old = tmp_path / "cache" / "data.csv"
    old.parent.mkdir()
    old.write_bytes(b"an older version")
    with pytest.raises(DownloadError, match="something other"):
        fetch("demo")
    assert old.read_bytes() == b"an older version"


def test_no_server(catalogue: Path, server: tuple[str, list[str]]) -> None:
    add_dataset(catalogue, source("http://127.0.0.1:9/data.csv", DATA))
    with pytest.raises(DownloadError, match=r"the server cannot be reached\. Check the connection"):
        fetch("demo")


def test_full_disk(
    server: tuple[str, list[str]],
    catalogue: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    add_dataset(catalogue, source(f"{server[0]}/data.csv", DATA))
    monkeypatch.setattr("pooch.core.shutil.move", fail)
    with pytest.raises(OutputError, match=r"cannot write .*data.csv \(0.0 MB\): No space left"):
        fetch("demo")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_folder_that_cannot_be_made(
    server: tuple[str, list[str]], catalogue: Path, tmp_path: Path
) -> None:
    add_dataset(catalogue, source(f"{server[0]}/data.csv", DATA))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"cannot write .*choose another folder"):
        fetch("demo", tmp_path / "file" / "cache")


def test_the_user_brings_the_file(catalogue: Path) -> None:
    add_dataset(catalogue, "instructions: Ask Ada for it.\n")
    with pytest.raises(InputError, match=r"'demo' cannot be downloaded .* Ask Ada for it\."):
        fetch("demo")


def test_simulated_data_need_no_fetching() -> None:
    with pytest.raises(InputError, match="'traffic-sim' is simulated: nothing needs fetching"):
        fetch("traffic-sim")


def test_cache_folder_of_the_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv(CACHE_VARIABLE)
    assert cache_folder().name == "stemdist"
