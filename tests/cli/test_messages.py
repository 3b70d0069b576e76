"""What the screen says: one line an error, flags by their names, tables with what their words mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cli.exit_codes import with_flags_named
from cli.resources import own_files, show
from cli.screen import Screen, legend
from tests.cli.conftest import Material, Run
from vocab.options import TransferOptions
from vocab.plan.rows import OriginShare, RowExplanation
from vocab.progress import Decision
from vocab.resources.selection import Selection, Terms

Command = Callable[..., Run]


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (
            ["--mode", "replce"],
            "--mode (got 'replce', wanted one of 'replace', 'extend', 'trim', 'swap'). "
            "See vocab-transfer --help.",
        ),
        (["--vocab-size", "ten"], "--vocab-size (got 'ten', wanted a whole number)."),
        (["compare", "--deleted", "x"], "--deleted (got 'x', wanted a number)."),
        (["--nonesuch"], "No such option: --nonesuch"),
    ],
)
def test_a_wrong_flag_is_told_plainly(cli: Command, args: list[str], said: str) -> None:
    run = cli(*args)
    assert run.code == 2
    assert run.err.startswith(f"error: {said}")
    assert "Value error" not in run.err


def test_options_of_the_library_are_named_as_flags() -> None:
    line = "Give more `epochs`, a higher `learning_rate` or `more text`"
    assert with_flags_named(line) == "Give more --epochs, a higher --learning-rate or `more text`"


def test_a_compass_that_learnt_too_little_names_flags(cli: Command, tmp_path: Path) -> None:
    for name in ("a", "b"):
        drawn = np.random.default_rng(0).integers(100, size=(200, 10))
        text = "".join(" ".join(f"w{i}" for i in line) + "\n" for line in drawn.tolist())
        Path(f"{name}.txt").write_text(text, encoding="utf-8")
    flags = ("--epochs", "1", "--dim", "5", "--learning-rate", "0.0001")
    run = cli("compass", "--slices", "a.txt", "b.txt", *flags, "--out", "c")
    assert "Give more --epochs, a higher --learning-rate or more text" in run.err


def test_minor_decisions_are_told_to_those_who_ask(capsys: pytest.CaptureFixture[str]) -> None:
    for level in (0, 1):
        Screen(level).decisions().add("language", "Swahili (sw)", "swh", minor=True)
        assert ("Swahili" in capsys.readouterr().err) == bool(level)
    assert str(Decision("a", "b", "c", True)) == "a: b (c)"


def test_the_legend_has_what_the_tables_have() -> None:
    shares = [OriginShare("mixed", 1, 0.5, None), OriginShare("special", 1, 0.5, None)]
    result: Any = SimpleNamespace(
        origins=shares, examples=[RowExplanation("Ġhabari", 3, "mixed", (("Ġnews", 1.0),))]
    )
    told = ["mixed: a sum of old rows of like meaning", "special: by its role", "Ġ: a space before"]
    assert legend(result) == "; ".join(told)


def test_own_files_stand_beside_what_is_fetched(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.en").write_text("x" * 200_000, encoding="utf-8")
    options = TransferOptions(parallel=(Path("my.en"), Path("my.sw")), corpus=(["lines"],))
    terms = Terms(1, 1, (), (), tmp_path, None, True)
    show(Screen(0), Selection((), None, terms), own=own_files(options))
    rows = [line.split() for line in capsys.readouterr().err.splitlines()]
    assert ["my.en", "given", "0.2", "this", "machine"] in rows
    assert ["my.sw", "given", "?", "this", "machine"] in rows


def test_a_dry_run_and_a_run_explain_their_figures(cli: Command, material: Material) -> None:
    args = [*material.args, "--method", "constituents", "--out", "model"]
    dry = cli(*args, "--dry-run").err
    assert "about memory mb" not in dry
    assert "size on disk" in dry
    assert any(line.split()[:2] == ["memory", "about"] and line.endswith("MB") for line in _lines(dry))
    done = cli(*args).err
    assert "composed: a sum of the rows of its old pieces" in done
    assert "macrolanguage" not in done
    assert "macrolanguage" in cli(*args, "--overwrite", "-v").err
    split = cli("explain", "model", "habarizzzz").err
    assert "has no token 'habarizzzz'. It is split into " in split
    assert "z" in split.split("split into ")[1]


def test_words_say_whether_the_tolerance_was_reached(cli: Command, material: Material) -> None:
    text = ["--parallel", material.english, material.swahili]
    run = cli("words", *text, "--n-iter", "1", "--out", "links")
    assert run.code == 0, run.err
    assert "iterations: 1 (the tolerance was not reached; --n-iter allows more)" in run.err
    assert "converged" not in run.err


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines()]
