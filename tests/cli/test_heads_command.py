"""``heads`` and ``--rank`` from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file

from tests.cli.conftest import Material, Run
from vocab.factorized.model import load_factorized

Command = Callable[..., Run]


def test_add_list_use(material: Material, finished: Path, cli: Command, tmp_path: Path) -> None:
    both = tmp_path / "both"
    run = cli("heads", "add", material.source, "--from", finished, "--name", "sw", "--out", both)
    assert run.code == 0, run.err
    table = [line.split() for line in cli("heads", "list", both).out.splitlines()]
    assert table[0] == ["name", "tokens", "rows", "MB", "from"]
    assert [row[0] for row in table[1:]] == ["default", "sw"]
    assert table[2][1] == "420"
    listed = json.loads(cli("heads", "list", both, "--json").out)["heads"]
    assert [(head["name"], head["default"]) for head in listed] == [("default", True), ("sw", False)]
    run = cli("heads", "use", both, "sw", "--json")
    assert run.code == 0, run.err
    out = Path(json.loads(run.out)["out"])
    assert out == Path.cwd() / "both-sw"
    want, got = (load_file(folder / "model.safetensors") for folder in (finished, out))
    assert want.keys() == got.keys()
    assert all(want[key].equal(got[key]) for key in want)
    assert cli("explain", out, "400").out == cli("explain", finished, "400").out
    for args, code, said in (
        (("use", both, "xx"), 2, "no vocabulary of this name (got xx, wanted default, sw)."),
        (("use", both, "sw"), 3, "the output already exists."),
        (("add", both, "--from", finished, "--name", "sw"), 3, "there is a vocabulary of this name already"),
        (("add", both, "--from", tmp_path, "--name", "a"), 3, "config.json is missing."),
        (("list", tmp_path), 3, "config.json is missing."),
    ):
        run = cli("heads", *args)
        assert run.code == code
        assert said in run.err
        assert sum(line.startswith("error: ") for line in run.err.splitlines()) == 1


def test_a_low_rank(material: Material, cli: Command, tmp_path: Path) -> None:
    out = tmp_path / "kept"
    args = [*material.args, "--method", "constituents", "--out", out]
    run = cli(*args, "--rank", "99")
    assert run.code == 2
    assert "got 99, wanted 1 to 16" in run.err
    run = cli(*args, "--rank", "4", "--keep-factorized")
    assert run.code == 0, run.err
    assert "is of rank 4 and keeps" in run.err
    assert load_factorized(out).get_input_embeddings().primitives.weight.shape == (16, 4)
    assert "`vocab.load_factorized(folder)`" in (out / "README.md").read_text(encoding="utf-8")
    assert json.loads((out / "transfer.json").read_text(encoding="utf-8"))["options"]["rank"] == 4
    assert cli("explain", out, "300").code == 0
