"""Names of the hub on the command line, against a server on 127.0.0.1."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import close_session, constants

from tests.cli.conftest import Material, Run
from tests.vocab.fake_hub import FakeHub

Command = Callable[..., Run]


@pytest.fixture
def clean_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.delenv("VOCAB_TRANSFER_OFFLINE", raising=False)
    for name in list(os.environ):
        if name.startswith(("HF_", "HUGGINGFACE", "TRANSFORMERS_OFFLINE")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    yield
    close_session()


@pytest.fixture
def hub(clean_hub: None, monkeypatch: pytest.MonkeyPatch, material: Material) -> Iterator[FakeHub]:
    files = {path.name: path.read_bytes() for path in material.source.iterdir()}
    with FakeHub() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        server.add("org/tiny", files, revision="v2")
        server.add("FacebookAI/roberta-base", files)
        yield server


def test_a_model_and_its_revision_from_the_hub(cli: Command, material: Material, hub: FakeHub) -> None:
    args = ["--src", "org/tiny", *material.args[2:], "--method", "constituents"]
    run = cli(*args, "--revision", "v2")
    assert run.code == 0, run.err
    told = json.loads((Path("tiny-sw") / "transfer.json").read_text(encoding="utf-8"))
    assert told["source"] == {"name": "org/tiny", "revision": hub.repos["org/tiny"].revisions["v2"]}
    assert "base_model: org/tiny\n" in (Path("tiny-sw") / "README.md").read_text(encoding="utf-8")
    hub.stop()
    try:  # the second time it is in the cache
        assert cli(*args, "--revision", "v2", "--overwrite", "-q").code == 0
    finally:
        hub.start(hub.port)


def test_a_short_name_is_said_in_full(cli: Command, material: Material, hub: FakeHub, tmp_path: Path) -> None:
    args = ["--src", "roberta", *material.args[2:], "--cache-dir", tmp_path / "cache", "--dry-run"]
    run = cli(*args)
    assert run.code == 0, run.err
    assert "source model: FacebookAI/roberta-base (alias roberta)" in run.err
    assert (tmp_path / "cache").is_dir()
    assert not (tmp_path / "hf" / "hub").exists()


def test_a_tokenizer_from_the_hub(cli: Command, material: Material, hub: FakeHub) -> None:
    args = [
        *material.args[:-2],
        "--tokenizer",
        "FacebookAI/roberta-base",
        "--method",
        "copy",
        "--out",
        "model",
    ]
    run = cli(*args)
    assert run.code == 0, run.err
    assert "tokenizer: FacebookAI/roberta-base (commit " in run.err
    assert [request for request in hub.gets() if request.path.endswith(".safetensors")] == []


def test_no_such_model(cli: Command, material: Material, hub: FakeHub) -> None:
    run = cli("--src", "org/robberta", *material.args[2:])
    assert run.code == 3
    assert "error: no model org/robberta at " in run.err
    run = cli("--src", "org/tiny", *material.args[2:], "--revision", "v9")
    assert run.code == 3
    assert "no revision 'v9'" in run.err


def test_without_a_network(
    cli: Command, material: Material, clean_hub: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    run = cli("--src", "roberta", *material.args[2:], "-q")
    assert run.code == 5
    assert len(run.err.splitlines()) == 1
    for said in ("FacebookAI/roberta-base", str(tmp_path / "hf"), "http://127.0.0.1:9", "hf download"):
        assert said in run.err


def test_offline_mode(
    cli: Command, material: Material, clean_hub: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    run = cli("--src", "org/tiny", *material.args[2:], "-q")
    assert run.code == 5
    assert "offline mode is on" in run.err
