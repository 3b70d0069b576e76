"""``--mode`` on the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Material, Run, save_source

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

    run = cli("--src", told["out"], "--mode", "trim", "--corpus", corpus, "--fetch", "none")
    assert run.code == 0, run.err
    folder = Path("tiny-ru-trimmed")
    assert "100.0% of the text's as before" in run.err
    assert "pretraining" not in run.err
    assert "Russian" not in (folder / "README.md").read_text(encoding="utf-8")
    rows = {share["origin"] for share in json.loads((folder / "transfer.json").read_text())["origins"]}
    assert rows == {"copied", "special"}


def test_dry_run_names_what_makes_the_rows(
    cli: Callable[..., Run], material: Material, corpus: Path, tmp_path: Path
) -> None:
    untied = save_source(tmp_path / "untied", "llama-untied")
    asked = ("--tgt", "ru", "--corpus", corpus, "--dry-run")
    methods = ("--method", "mean", "--head-method", "constituents > mean")
    run = cli("--src", untied, *asked, *methods, "--vocab-size", 300)
    assert run.code == 0, run.err
    assert re.search(r"\n *method +special > mean *\n", run.err)
    assert re.search(r"\n *head method +special > constituents > mean *\n", run.err)
    told = json.loads(cli("--src", untied, *asked, *methods, "--mode", "extend", "--json", "-q").out)
    assert (told["mode"], told["method"], told["head_method"]) == ("extend", "mean", "constituents > mean")
    run = cli("--src", untied, *asked, "--method", "mean", "--mode", "extend")
    assert re.search(r"\n *method +the old rows > mean *\n", run.err)
    assert "head method" not in run.err
    tied = cli("--src", material.source, *asked, *methods)
    assert "head: like the input (the model has no output head that is not tied to it, so " in tied.err
    assert "head method" not in tied.err


def test_dry_run_of_a_trim_has_no_method(cli: Callable[..., Run], material: Material, corpus: Path) -> None:
    trim = ("--src", material.source, "--mode", "trim", "--dry-run")
    run = cli(*trim, "--tgt", "ru", "--corpus", corpus, "--json")
    assert run.code == 0, run.err
    assert re.search(r"\n *mode +trim *\n", run.err)
    for left_out in ("method", "special", "copy", "Russian"):
        assert left_out not in run.err
    assert json.loads(run.out).keys().isdisjoint({"method", "head_method"})
    assert "Russian (ru)" in cli(*trim, "--tgt", "ru").err  # whose script it keeps


def test_a_contradiction_is_one_line(cli: Callable[..., Run], material: Material) -> None:
    run = cli("--src", material.source, "--mode", "trim", "--method", "mean")
    assert run.code == 2
    assert run.err.strip() == "error: --method does not go with --mode trim: every row of it is a copy."
    run = cli("--src", material.source, "--mode", "shrink")
    assert run.code == 2
    assert "'trim'" in run.err
