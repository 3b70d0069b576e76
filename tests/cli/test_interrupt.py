"""Ctrl-C and kill: whatever the moment, nothing half-done lies under the final name."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import vocab.model_files.output
import vocab.model_files.verify
from tests.cli.conftest import Material, Run

Command = Callable[..., Run]


def _start(material: Material, folder: Path) -> subprocess.Popen[str]:
    command = [Path(sys.executable).with_name("vocab-transfer"), *material.args, "--out", "model", "-v"]
    return subprocess.Popen(
        [*map(str, command)], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _wait_for(stage: str, process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith(f"… {stage}"):
            return
    raise AssertionError(f"{stage!r} never began")


@pytest.mark.parametrize(
    "stage",
    [
        pytest.param("find the source model", marks=pytest.mark.slow),
        pytest.param("train the tokenizer", marks=pytest.mark.slow),
        pytest.param("align the parallel text", marks=pytest.mark.slow),
        "write and verify the model",
    ],
)
def test_ctrl_c(material: Material, tmp_path: Path, stage: str) -> None:
    with _start(material, tmp_path) as process:
        _wait_for(stage, process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    errors = [line for line in err.splitlines() if not re.match(r"… |\w+: .* \(|alignment: ", line) and line]
    assert errors == ["error: interrupted; nothing was left half-written"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("after_s", [0.0, 0.05, 0.1, 0.2, 0.4, 0.8])
def test_kill(material: Material, tmp_path: Path, after_s: float) -> None:
    with _start(material, tmp_path) as process:
        _wait_for("write and verify the model", process)
        time.sleep(after_s)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    model = tmp_path / "model"
    if model.exists():  # it was killed after the rename
        told = json.loads((model / "transfer.json").read_text(encoding="utf-8"))
        assert set(told["sha256"]) <= {p.relative_to(model).as_posix() for p in model.rglob("*")}
    left = [path.name for path in tmp_path.iterdir() if path != model]
    assert all(name.startswith(".model.partial-") for name in left)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (vocab.model_files.output, "rewrite_checkpoint"),
        (vocab.model_files.output, "_save_tokenizer"),
        (vocab.model_files.output, "verify_directory"),
        (vocab.model_files.verify, "check_forward"),
        (vocab.model_files.output, "_write_provenance"),
        (vocab.model_files.output, "put_in_place"),
    ],
)
@pytest.mark.parametrize("replaced", [False, True])
def test_ctrl_c_at_each_step_of_writing(
    cli: Command,
    material: Material,
    monkeypatch: pytest.MonkeyPatch,
    module: object,
    name: str,
    replaced: bool,
) -> None:
    before: set[str] = set()
    if replaced:
        assert cli(*material.args, "--method", "mean", "--out", "model").code == 0
        before = {str(path) for path in Path().rglob("*")}

    def interrupt(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)  # where the signal arrives

    monkeypatch.setattr(module, name, interrupt)
    run = cli(*material.args, "--method", "mean", "--out", "model", "--overwrite", "-q")
    assert run.code == 130
    assert run.err.strip() == "error: interrupted; nothing was left half-written"
    assert {str(path) for path in Path().rglob("*")} == before
