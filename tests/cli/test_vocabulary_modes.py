"""``--mode`` on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Material, Run

RUSSIAN = ["добрый день, мой старый друг", "старый дом и добрый день", "мой дом, мой друг"] * 2


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(RUSSIAN), encoding="utf-8")
    return path


def test_extend_and_trim(cli: Callable[..., Run], material: Material, corpus: Path) -> None:
    extend = ("--tgt", "ru", "--mode", "extend", "--corpus", corpus, "--method", "mean")
    run = cli("--src", material.source, *extend, "--json")
    assert run.code == 0, run.err
    told = json.loads(run.out)
    assert told["options"]["mode"] == "extend"
    assert "new tokens after" in run.err
    card = (Path(told["out"]) / "README.md").read_text(encoding="utf-8")
    assert "Russian tokens added to its vocabulary" in card

    run = cli("--src", told["out"], "--mode", "trim", "--corpus", corpus)
    assert run.code == 0, run.err
    folder = Path("tiny-ru-trimmed")
    assert "100.0% of the text's as before" in run.err
    assert "pretraining" not in run.err
    assert "Russian" not in (folder / "README.md").read_text(encoding="utf-8")
    rows = {share["origin"] for share in json.loads((folder / "transfer.json").read_text())["origins"]}
    assert rows == {"copied", "special"}


def test_a_contradiction_is_one_line(cli: Callable[..., Run], material: Material) -> None:
    run = cli("--src", material.source, "--mode", "trim", "--method", "mean")
    assert run.code == 2
    assert run.err.strip() == "error: --method does not go with --mode trim: every row of it is a copy."
    run = cli("--src", material.source, "--mode", "shrink")
    assert run.code == 2
    assert "'trim'" in run.err
