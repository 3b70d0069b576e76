"""``vocab-transfer compare`` from end to end."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.compare import divided
from vocab.comparison import comparing


@pytest.fixture
def dev(tmp_path: Path) -> Path:
    path = tmp_path / "dev.tsv"
    path.write_text(
        "".join(f"the old man has {i} dogs\tmzee ana mbwa {i}\n" for i in range(12)), encoding="utf-8"
    )
    return path


def test_a_table_on_stdout_and_in_a_file(
    cli: Callable[..., Any], material: Any, dev: Path, tmp_path: Path
) -> None:
    out = tmp_path / "table.tsv"
    args = ["compare", *material.args, "--eval", dev, "--deleted", "0", "--methods", "copy, mean,omp"]
    done = cli(*args, "--out", out)
    assert done.code == 0, done.err
    assert [line.split("  ")[0] for line in done.out.splitlines()[1:]] != []
    assert {"copy", "mean", "the source model"} == {
        line.split("\t")[0] for line in out.read_text(encoding="utf-8").splitlines()[1:]
    }
    assert "left out: omp" in done.err
    assert done.err.startswith(f"source {material.source}, target sw\n")
    finished = [line for line in done.err.splitlines() if line.startswith(("copy: MRR", "mean: MRR"))]
    assert len(finished) == 2
    assert all(line.endswith(" s") for line in finished)
    again = cli(*args, "--out", out)
    assert (again.code, "already exists" in again.err) == (3, True)
    assert cli(*args, "--out", out, "--overwrite", "-q").err == ""


def test_json(cli: Callable[..., Any], material: Any, dev: Path) -> None:
    done = cli("compare", *material.args, "--eval", dev, "--methods", "constituents(first)", "--json", "-q")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    names = {result["method"] for result in found["results"]}
    assert "the source model" in names
    assert len(names) == 2
    assert any("constituents(weighting=first)" in name or "first" in name for name in names)
    assert all(result["bits_per_byte"] for result in found["results"])


def test_an_interrupt_leaves_what_is_finished(
    cli: Callable[..., Any], material: Any, dev: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = comparing.make_plans

    def interrupted(prepared: Any, *others: Any) -> Any:
        if str(prepared.method) == "mean":
            raise KeyboardInterrupt
        return whole(prepared, *others)

    monkeypatch.setattr(comparing, "make_plans", interrupted)
    done = cli("compare", *material.args, "--eval", dev, "--deleted", "0", "--methods", "copy,mean")
    assert done.code == 130
    assert "copy" in done.out
    assert "interrupted" in done.err


@pytest.mark.parametrize(
    ("args", "code", "word"),
    [
        (("--method", "copy"), 2, "--method"),
        (("--methods", "constituants"), 2, "constituents"),
        (("--eval", "absent.tsv"), 3, "absent.tsv"),
        (("--out", "table.xlsx"), 2, "*.tsv or *.md"),
        (("--deleted", "1.5"), 2, "share"),
        (("--mode", "trim"), 2, "copy"),
    ],
)
def test_wrong_flags(
    cli: Callable[..., Any], material: Any, args: tuple[str, ...], code: int, word: str
) -> None:
    given = material.args[:2] if "trim" in args else material.args
    done = cli("compare", *given, *args)
    assert (done.code, word in done.err) == (code, True), done.err


def test_commas_in_brackets_divide_options() -> None:
    assert divided("a, b(x=1, y=2),0.5*c + 0.5*d > e,") == ["a", "b(x=1, y=2)", "0.5*c + 0.5*d > e"]
