"""The sources that the benchmark of the bare command serves answer as the command asks."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.local_sources import LocalSources, serving
from vocab.hub import resolve_model
from vocab.languages import language
from vocab.resources import fetch, opus

PAIRS = [("good morning", "habari za asubuhi"), ("the water is cold", "maji ni baridi")]


def test_a_corpus_and_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import close_session, constants

    from vocab import demo

    sources = LocalSources("org/small", "1" * 40, Path(demo.path()))
    sources.add_corpus("GlobalVoices", "v1", PAIRS)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with serving(sources):
        for variable, value in sources.environment(tmp_path).items():
            monkeypatch.setenv(variable, value)
        for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "http_proxy", "HTTP_PROXY"):
            monkeypatch.delenv(variable, raising=False)
        (corpus,) = opus.find(language("en"), language("sw"), tmp_path, offline=False)
        assert list(opus.pairs(fetch(corpus, tmp_path, offline=False), corpus)) == PAIRS
        found = resolve_model("org/small", offline=False)
        close_session()
    assert found.revision_sha == "1" * 40
    assert (found.path / "model.safetensors").is_file()
