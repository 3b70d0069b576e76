from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.vocab.fake_hub import FakeHub, serving
from vocab.fetching.cache import default_cache
from vocab.fetching.download import download

Command = Callable[..., Run]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    with serving(monkeypatch, tmp_path / "cache") as hub:
        for name in ("/a.zip", "/b.bin"):
            hub.files[name] = os.urandom(1_500_000)
            download(hub.url + name, default_cache() / "opus" / name[1:])
        (default_cache() / "mine").write_bytes(b"mine")
        yield hub


def test_list(server: FakeHub, cli: Command) -> None:
    run = cli("cache", "list")
    assert run.code == 0
    lines = [line.split() for line in run.out.splitlines()]
    assert lines[0] == ["name", "kind", "MB", "fetched", "verified"]
    assert ["a.zip", "opus", "1.5"] in [line[:3] for line in lines]
    assert ["mine", "0.0", "(by", "hand)"] in lines
    assert "3 files, 3.0 MB" in run.err
    files = json.loads(cli("cache", "list", "--json").out)["files"]
    assert [file["name"] for file in files] == ["mine", "a.zip", "b.bin"]


def test_verify(server: FakeHub, cli: Command) -> None:
    run = cli("cache", "verify")
    assert run.code == 0
    assert "2 files are what was fetched; 1 were put there by hand" in run.err
    (default_cache() / "opus" / "b.bin").write_bytes(b"other")
    run = cli("cache", "verify", "--json")
    assert run.code == 3
    assert "1 of 3 files are damaged: b.bin" in run.err
    assert [file["good"] for file in json.loads(run.out)["files"]] == [None, True, False]


def test_prune(server: FakeHub, cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli("cache", "prune").code == 2
    assert cli("cache", "prune", "--all", "--parts").code == 2
    assert "0 files deleted" in cli("cache", "prune", "--parts").err
    run = cli("cache", "prune", "--all")
    assert run.code == 2
    assert "Add --yes" in run.err
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    assert cli("cache", "prune", "--all").code == 0
    assert len(json.loads(cli("cache", "list", "--json").out)["files"]) == 3
    run = cli("cache", "prune", "--all", "--yes", "--json")
    assert [file["name"] for file in json.loads(run.out)["deleted"]] == ["a.zip", "b.bin"]
    assert "2 files deleted, 3.0 MB" in run.err
    assert [file["name"] for file in json.loads(cli("cache", "list", "--json").out)["files"]] == ["mine"]


def test_bar_with_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    from rich.console import Console

    from cli.screen import Screen

    screen, out = Screen(0), io.StringIO()
    screen.console = Console(file=out, force_terminal=True, width=120, color_system=None)
    tell = screen.progress().tell_bytes
    assert tell is not None
    for second in range(1, 9):
        tell("fetch words.bin", second * 1_000_000, 10_000_000)
        assert screen._bar is not None
        screen._bar[0].get_time = lambda second=second: float(second)  # type: ignore[method-assign]
        screen._bar[0].refresh()
    tell("fetch words.bin", 10_000_000, 10_000_000)
    assert screen._bar is None
    assert "fetch words.bin" in out.getvalue()
    assert "8.0/10.0 MB" in out.getvalue()
    assert "1.0 MB/s" in out.getvalue()
    assert "0:00:02" in out.getvalue()
    screen.level = -1
    tell("fetch words.bin", 1, 10)
    assert screen._bar is None
