"""OPUS on a server of 127.0.0.1: its JSON API, and Moses archives made on the spot."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Sequence
from typing import Any

import pytest

from align import lexicons  # type: ignore[attr-defined]  # installed from data/lexicons
from tests.vocab.fake_hub import FakeHub

API = "/opusapi/"


def bundled_pairs() -> list[tuple[str, str]]:
    """The sentence pairs that come with the package, English first."""
    lines = lexicons.sentences_path("en", "sw").read_text(encoding="utf-8").splitlines()
    return [tuple(line.split("\t")[:2]) for line in lines]  # type: ignore[misc]


def moses_zip(
    corpus: str,
    pairs: Sequence[tuple[str, str]],
    codes: tuple[str, str] = ("en", "sw"),
    licence: str | None = "CC BY 4.0, as its makers say",
) -> bytes:
    """`codes` are those of the two sides of `pairs`."""
    packed = io.BytesIO()
    name = "-".join(sorted(codes))
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README", "Corpus Name: " + corpus)
        if licence is not None:
            archive.writestr("LICENSE", licence + "\n")
        for k, code in enumerate(codes):
            archive.writestr(f"{corpus}.{name}.{code}", "".join(pair[k] + "\n" for pair in pairs))
    return packed.getvalue()


class FakeOpus:
    """Answers at ``hub.url + API``; `entries` is what it knows."""

    def __init__(self, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hub = hub
        self.entries: list[dict[str, Any]] = []
        self.answer: bytes | None = None
        """Sent instead of the corpora."""
        hub.answers[API] = self._answer
        for variable, value in self.environment().items():
            monkeypatch.setenv(variable, value)

    def environment(self) -> dict[str, str]:
        """Where all sources are."""
        url = self.hub.url
        return {
            "VOCAB_TRANSFER_OPUS_URL": url + API,
            "VOCAB_TRANSFER_OPUS_FILES_URL": url + "/files",
            "VOCAB_TRANSFER_FASTTEXT_URL": url + "/vectors",
            "HF_ENDPOINT": url,
        }

    def add(
        self,
        corpus: str,
        pairs: Sequence[tuple[str, str]],
        *,
        version: str = "v1",
        codes: tuple[str, str] = ("en", "sw"),
        n_pairs: int | str | None = None,
        archive: bytes | None = None,
        latest: str = "True",
    ) -> str:
        """Add a corpus; returns the path of its archive on the server."""
        data = moses_zip(corpus, pairs, codes) if archive is None else archive
        first, second = sorted(codes)
        path = f"OPUS-{corpus}/{version}/moses/{first}-{second}.txt.zip"
        self.hub.files["/files/" + path] = data
        self.entries.append(
            {
                "corpus": corpus,
                "version": version,
                "url": "https://object.pouta.csc.fi/" + path,
                "size": max(1, len(data) // 1000),
                "alignment_pairs": len(pairs) if n_pairs is None else n_pairs,
                "source": first,
                "target": second,
                "source_tokens": 1,
                "target_tokens": 1,
                "preprocessing": "moses",
                "latest": latest,
                "documents": "",
                "id": len(self.entries),
            }
        )
        return "/files/" + path

    def add_text(self, corpus: str, lines: Sequence[str], *, code: str = "sw") -> str:
        """Add text of one language, as the API tells it: packed, and once more in tokens."""
        path = f"OPUS-{corpus}/v1/mono/{code}"
        self.hub.files[f"/files/{path}.txt.gz"] = gzip.compress("".join(f"{x}\n" for x in lines).encode())
        for ending in (".txt.gz", ".tok.gz"):
            self.entries.append(
                {
                    "corpus": corpus,
                    "version": "v1",
                    "url": f"https://object.pouta.csc.fi/{path}{ending}",
                    "size": 1,
                    "alignment_pairs": len(lines),
                    "source": code,
                    "target": "",
                    "preprocessing": "mono",
                    "latest": "True",
                }
            )
        return f"/files/{path}.txt.gz"

    def _answer(self, asked: dict[str, str]) -> bytes:
        if self.answer is not None:
            return self.answer
        fields = {key: asked[key] for key in ("source", "target", "preprocessing", "corpus") if key in asked}
        fields |= {"latest": "True"} if asked.get("version") == "latest" else {"version": asked["version"]}
        found = [entry for entry in self.entries if fields.items() <= entry.items()]
        return json.dumps({"corpora": found}).encode()
