"""A server on 127.0.0.1 that speaks those routes of the hub that are used here, and serves plain files.

What a client asked for is recorded, and faults can be laid: connections cut or stalled after some bytes,
status codes, redirects, lengths that are not true.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest


@dataclass
class _Repo:
    revisions: dict[str, str] = field(default_factory=dict)  # branch or tag -> commit
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: bool = False


@dataclass(frozen=True)
class Request:
    method: str
    path: str
    range: str | None
    query: str = ""
    was_proxied: bool = False


@contextlib.contextmanager
def serving(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Iterator[FakeHub]:
    """A server in an environment of its own: that cache, no proxies, not offline."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "VOCAB_TRANSFER_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("VOCAB_TRANSFER_CACHE", str(cache))
    with FakeHub() as hub:
        yield hub


class FakeHub:
    """Use as a context manager; `url` is the endpoint while it runs."""

    def __init__(self) -> None:
        self.repos: dict[str, _Repo] = {}
        self.files: dict[str, bytes] = {}
        """Path -> what is served there; a change of it is a changed file."""
        self.answers: dict[str, Callable[[dict[str, str]], bytes]] = {}
        """Path -> a function from the query's fields to the answer, for an API."""
        self.redirects: dict[str, str] = {}
        """Path -> address to go to instead."""
        self.requests: list[Request] = []
        self.cuts: dict[str, list[int]] = {}
        """Path -> for each next GET, the bytes of its body after which the connection ends."""
        self.stalls: dict[str, list[int]] = {}
        """Path -> for each next GET, the bytes of its body after which nothing comes until `go_on` is set."""
        self.go_on = threading.Event()
        self.statuses: dict[str, list[int]] = {}
        """Path -> for each next request, the status to answer with."""
        self.retry_after: str | None = None
        """Sent with those statuses."""
        self.announce_more: dict[str, int] = {}
        """Path -> bytes by which HEAD overstates the length."""
        self.overstated: dict[str, int] = {}
        """Path -> bytes by which GET overstates the length."""
        self.lengthless: dict[str, bool] = {}
        """Paths of which GET does not tell the length: True sends chunks, False just ends."""
        self.with_etag = True
        self.weak_etag = False
        self.heeds_if_range = True
        self.last_modified: dict[str, str] = {}
        """Path -> the time of change that is told, and that If-Range may name."""
        self.hang_up = False
        """End every connection without an answer."""
        self._connections: list[socket.socket] = []

    def add(self, repo: str, files: dict[str, bytes], *, revision: str = "main", gated: bool = False) -> str:
        """Add a commit and point a branch at it; returns the commit."""
        commit = hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()
        entry = self.repos.setdefault(repo, _Repo())
        entry.commits[commit] = files
        entry.revisions[revision] = commit
        entry.gated = gated
        return commit

    def gets(self, ending: str = "") -> list[Request]:
        return [r for r in self.requests if r.method == "GET" and r.path.endswith(ending)]

    def __enter__(self) -> FakeHub:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, port: int = 0) -> None:
        hub = self

        class Handler(_Handler):
            def setup(self) -> None:
                super().setup()
                hub._connections.append(self.connection)

        Handler.hub = hub
        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it: from now on connections to `url` are refused."""
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()
        for connection in self._connections:  # else those that are kept alive would still be answered
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join()


_API = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+|[^/]+)(?:/(?P<what>revision|tree)/(?P<rev>[^/]+))?$")
_RESOLVE = re.compile(r"/(?:datasets/)?(?P<repo>[^/]+/[^/]+|[^/]+)/resolve/(?P<rev>[^/]+)/(?P<file>.+)$")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        asked = urllib.parse.urlsplit(self.path)
        path = asked.path
        self.hub.requests.append(
            Request(self.command, path, self.headers.get("Range"), asked.query, bool(asked.scheme))
        )
        if self.hub.hang_up:
            self.close_connection = True
        elif self.hub.statuses.get(path):
            later = {"Retry-After": self.hub.retry_after} if self.hub.retry_after is not None else {}
            self._send(self.hub.statuses[path].pop(0), later)
        elif path in self.hub.redirects:
            self._send(302, {"Location": self.hub.redirects[path]})
        elif path in self.hub.answers:
            fields = dict(urllib.parse.parse_qsl(asked.query))
            self._send(200, {"Content-Type": "application/json"}, self.hub.answers[path](fields))
        elif match := _API.match(path):
            self._api(match)
        elif match := _RESOLVE.match(path):
            self._resolve(match)
        elif path in self.hub.files:
            self._file(self.hub.files[path], path)
        else:
            self._send(404)

    def _find(self, match: re.Match[str]) -> tuple[str, dict[str, bytes]] | None:
        repo = self.hub.repos.get(match["repo"])
        if repo is None:
            self._send(404, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
            return None
        revision = urllib.parse.unquote(match["rev"] or "main")
        commit = repo.revisions.get(revision, revision)
        if commit not in repo.commits:
            self._send(404, {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev id"})
            return None
        return commit, repo.commits[commit]

    def _api(self, match: re.Match[str]) -> None:
        found = self._find(match)
        if found is None:
            return
        commit, files = found
        answer: object
        if match["what"] == "tree":
            answer = [
                {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
                for name, data in files.items()
            ]
        else:
            siblings = [{"rfilename": name} for name in files]
            answer = {"id": match["repo"], "sha": commit, "siblings": siblings}
        self._send(200, {"Content-Type": "application/json"}, json.dumps(answer).encode())

    def _resolve(self, match: re.Match[str]) -> None:
        found = self._find(match)
        if found is None:
            return
        commit, files = found
        if self.hub.repos[match["repo"]].gated:
            self._send(401, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"})
            return
        name = urllib.parse.unquote(match["file"])
        if name not in files:
            self._send(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit})
            return
        data = files[name]
        if name.endswith(".safetensors"):  # large files lie on another host and are redirected to
            sha256 = hashlib.sha256(data).hexdigest()
            self.hub.files[f"/cdn/{sha256}"] = data
            headers = {
                "Location": f"http://localhost:{self.hub.port}/cdn/{sha256}",
                "X-Repo-Commit": commit,
                "X-Linked-Size": str(len(data) + self.hub.announce_more.get(f"/cdn/{sha256}", 0)),
                "X-Linked-Etag": f'"{sha256}"',
            }
            self._send(302, headers)
        else:
            self._file(data, urllib.parse.urlsplit(self.path).path, {"X-Repo-Commit": commit})

    def _file(self, data: bytes, path: str, headers: dict[str, str] | None = None) -> None:
        etag = f'"{hashlib.sha1(data).hexdigest()}"'
        headers = {**(headers or {}), "Accept-Ranges": "bytes"}
        tags = {etag, self.hub.last_modified.get(path, etag)}
        if self.hub.with_etag:
            headers["ETag"] = f"W/{etag}" if self.hub.weak_etag else etag
        if path in self.hub.last_modified:
            headers["Last-Modified"] = self.hub.last_modified[path]
        status, body = 200, data
        span = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if span and (self.headers.get("If-Range", etag) in tags or not self.hub.heeds_if_range):
            first = int(span[1])
            if first >= len(data):
                self._send(416, {"Content-Range": f"bytes */{len(data)}"})
                return
            status, body = 206, data[first:]
            headers["Content-Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
        self._send(status, headers, body, path)

    def _send(
        self, status: int, headers: dict[str, str] | None = None, body: bytes = b"", path: str | None = None
    ) -> None:
        is_head = self.command == "HEAD"
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        if path in self.hub.lengthless and not is_head:
            self._send_without_length(body, path)
            return
        n_extra = (self.hub.announce_more if is_head else self.hub.overstated).get(path or "", 0)
        self.send_header("Content-Length", str(len(body) + n_extra))
        self.end_headers()
        if is_head:
            return
        cuts, stalls = self.hub.cuts.get(path or ""), self.hub.stalls.get(path or "")
        if stalls:
            n_sent = stalls.pop(0)
            self.wfile.write(body[:n_sent])
            self.hub.go_on.wait(60)
            with contextlib.suppress(OSError):  # the client may have left
                self.wfile.write(body[n_sent:])
        elif cuts:
            self.wfile.write(body[: cuts.pop(0)])
            self.close_connection = True
        else:
            self.wfile.write(body)

    def _send_without_length(self, body: bytes, path: str) -> None:
        self.close_connection = True
        if self.hub.lengthless[path]:
            self.send_header("Transfer-Encoding", "chunked")
            body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        self.end_headers()
        cuts = self.hub.cuts.get(path)
        self.wfile.write(body[: cuts.pop(0)] if cuts else body)
