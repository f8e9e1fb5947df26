"""A small stand-in for the hub: data set repositories in memory, behind the endpoints used."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit

import yaml

TOKEN = "hf_stand_in"


@dataclass
class Repository:
    """Its files, and whether it is private; a commit has the hash of their contents."""

    private: bool = False
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def commit(self) -> str:
        digest = hashlib.sha1()
        for name, content in sorted(self.files.items()):
            digest.update(name.encode() + content)
        return digest.hexdigest()


@dataclass
class Hub:
    """What the server holds, and what it was asked for."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    truncated: bool = False
    address: str = ""


class Handler(BaseHTTPRequestHandler):
    """Answers as the hub does, as far as it is used."""

    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(self._get)

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        self._answer(self._post)

    def log_message(self, *_: object) -> None:
        """Keep the test output quiet."""

    def _answer(self, how) -> None:
        path = unquote(urlsplit(self.path).path)
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        self.hub.asked.append(f"{self.command} {path}")
        how(path, body)

    def _json(self, content: object, status: int = 200, **headers: str) -> None:
        self._send(json.dumps(content).encode(), status, **headers)

    def _send(self, content: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.hub.truncated:
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
        else:
            self.wfile.write(content)

    def _missing(self, code: str, text: str) -> None:
        self._json({"error": text}, 404, X_Error_Code=code, X_Error_Message=text)

    def _get(self, path: str, _: bytes) -> None:
        found = re.fullmatch(r"/(?:api/)?datasets/([^/]+/[^/]+)(?:/(\w+)/([^/]+)(?:/(.*))?)?", path)
        repository = self.hub.repositories.get(found[1]) if found else None
        allowed = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if repository is None or (repository.private and not allowed):
            self._missing("RepoNotFound", "Repository not found")
        elif found[3] not in (None, "main", "v1", repository.commit):
            self._missing("RevisionNotFound", "Invalid rev id")
        elif found[2] == "resolve":
            self._file(repository, found[4])
        elif found[2] == "tree":
            self._json([_entry(name, text) for name, text in repository.files.items()])
        else:
            siblings = [{"rfilename": name} for name in repository.files]
            self._json({"id": found[1], "sha": repository.commit, "siblings": siblings, "tags": []})

    def _file(self, repository: Repository, name: str) -> None:
        if name not in repository.files:
            self._missing("EntryNotFound", "Entry not found")
            return
        content = repository.files[name]
        etag = f'"{hashlib.sha1(content).hexdigest()}"'
        self._send(content, ETag=etag, X_Repo_Commit=repository.commit)

    def _post(self, path: str, body: bytes) -> None:
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._json({"error": "Invalid username or password."}, 401)
        elif path == "/api/validate-yaml":
            front = yaml.safe_load(json.loads(body)["content"].split("---\n")[1])
            errors = [] if front.get("license") else [{"message": "there is no licence"}]
            self._json({"errors": errors, "warnings": []}, 400 if errors else 200)
        elif path == "/api/repos/create":
            self._create(json.loads(body))
        elif found := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/preupload/main", path):
            files = json.loads(body)["files"]
            self._json({"files": [
                {"path": each["path"], "uploadMode": "regular", "shouldIgnore": False}
                for each in files
            ]})  # fmt: skip
        elif found := re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/commit/main", path):
            self._commit(found[1], body)
        else:
            self._missing("Unknown", path)

    def _create(self, asked: dict[str, object]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.hub.repositories:
            self._json({"error": "exists", "url": f"{self.hub.address}/datasets/{name}"}, 409)
            return
        private = bool(asked.get("private") or asked.get("visibility") == "private")
        self.hub.repositories[name] = Repository(private)
        self._json({"url": f"{self.hub.address}/datasets/{name}"})

    def _commit(self, name: str, body: bytes) -> None:
        repository = self.hub.repositories[name]
        lines = [json.loads(line) for line in body.splitlines()]
        header = next(line["value"] for line in lines if line["key"] == "header")
        if header.get("parentCommit") not in (None, repository.commit):
            self._json({"error": "the branch has moved"}, 412)
            return
        for line in lines:
            if line["key"] == "file":
                value = line["value"]
                repository.files[value["path"]] = base64.b64decode(value["content"])
        self._json({
            "commitUrl": f"{self.hub.address}/datasets/{name}/commit/{repository.commit}",
            "commitOid": repository.commit, "success": True,
        })  # fmt: skip


def _entry(name: str, content: bytes) -> dict[str, object]:
    oid = hashlib.sha1(content).hexdigest()
    return {"type": "file", "path": name, "size": len(content), "oid": oid}


@contextmanager
def serving() -> Iterator[Hub]:
    """Run a stand-in."""
    hub = Hub()
    handler = type("Own", (Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.address = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
