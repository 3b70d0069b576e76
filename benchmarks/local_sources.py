"""The hub, OPUS and its archives on 127.0.0.1, as far as one run of the command asks them."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


@dataclass
class LocalSources:
    """What is served, and what was asked for.

    Attributes
    ----------
    repo, commit : str
        The model's name on the hub, and the commit it has.
    model : Path
        Its directory.
    corpora : list of dict
        As OPUS's API describes them.
    archives : dict
        Path to Moses archive.
    requests : list of str
    """

    repo: str
    commit: str
    model: Path
    corpora: list[dict[str, object]] = field(default_factory=list)
    archives: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    url: str = ""

    def add_corpus(self, name: str, version: str, pairs: Sequence[tuple[str, str]]) -> None:
        """Add English-Swahili sentence pairs as a corpus."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("README", f"Corpus Name: {name}")
            archive.writestr("LICENSE", "see the shared data's index")
            for k, code in enumerate(("en", "sw")):
                archive.writestr(f"{name}.en-sw.{code}", "".join(pair[k] + "\n" for pair in pairs))
        path = f"/OPUS-{name}/{version}/moses/en-sw.txt.zip"
        self.archives[path] = packed.getvalue()
        self.corpora.append(
            {
                "corpus": name,
                "version": version,
                "url": f"https://object.pouta.csc.fi{path}",
                "size": len(packed.getvalue()) // 1000,
                "alignment_pairs": len(pairs),
                "source": "en",
                "target": "sw",
                "preprocessing": "moses",
                "latest": "True",
            }
        )

    def environment(self, folder: Path) -> dict[str, str]:
        """Variables by which the command asks this server, with caches in `folder`."""
        return {
            "VOCAB_TRANSFER_OPUS_URL": f"{self.url}/opusapi/",
            "VOCAB_TRANSFER_OPUS_FILES_URL": f"{self.url}/",
            "VOCAB_TRANSFER_FASTTEXT_URL": f"{self.url}/vectors/",
            "VOCAB_TRANSFER_CACHE": str(folder / "cache"),
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(folder / "hub"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body."""
        asked = urlsplit(path)
        if asked.path == "/opusapi/":
            query = {key: values[0] for key, values in parse_qs(asked.query).items()}
            pair = query["source"], query.get("target")
            found = [c for c in self.corpora if (c["source"], c["target"]) == pair]
            return 200, {}, json.dumps({"corpora": found}).encode()
        if asked.path in self.archives:
            return 200, {}, self.archives[asked.path]
        files = {file.name: file for file in self.model.iterdir() if file.is_file()}
        if asked.path == f"/api/models/{self.repo}/revision/main":
            siblings = [{"rfilename": name} for name in files]
            return 200, {}, json.dumps({"id": self.repo, "sha": self.commit, "siblings": siblings}).encode()
        if asked.path.startswith(f"/api/models/{self.repo}/tree/"):
            listed = [
                {"type": "file", "path": n, "size": f.stat().st_size, "oid": _oid(n)}
                for n, f in files.items()
            ]
            return 200, {}, json.dumps(listed).encode()
        name = asked.path.removeprefix(f"/{self.repo}/resolve/{self.commit}/")
        if name in files:
            headers = {"X-Repo-Commit": self.commit, "ETag": f'"{_oid(name)}"'}
            return 200, headers, files[name].read_bytes()
        return 404, {}, b""


def _oid(name: str) -> str:
    return hashlib.sha1(name.encode()).hexdigest()


@contextlib.contextmanager
def serving(sources: LocalSources) -> Iterator[LocalSources]:
    """Serve, and set `sources.url`, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            sources.requests.append(f"{self.command} {self.path}")
            status, headers, body = sources.answer(self.path)
            self.send_response(status)
            for key, value in headers.items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    sources.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield sources
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
