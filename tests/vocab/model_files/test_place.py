"""A process killed at any moment leaves no half directory under the final name."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]

# Forks one child for every file system event of a write, which kills itself at that event.
HARNESS = """
import os, sys
import torch
torch.set_num_threads(1)
import numpy as np
from transformers import AutoTokenizer
from vocab.model_files.output import write_model_directory
from vocab.plan import Origin, TransferPlan
from vocab.tokens import Vocabulary

src, out, overwrite, step = sys.argv[1], sys.argv[2], sys.argv[3] == "overwrite", int(sys.argv[4])
tokenizer = AutoTokenizer.from_pretrained(src)
tokens = Vocabulary.of(tokenizer).tokens
n = np.arange(len(tokens))
plan = TransferPlan.from_entries(
    n, n, np.ones(len(n)), Origin.COPIED, src_tokens=tokens, tgt_tokens=tokens, method="identity"
)
EVENTS = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.link", "os.truncate")

def write(folder, overwrite):
    write_model_directory(
        src, folder, plan, tokenizer, tokenizer, provenance={"run": "new"}, card="", overwrite=overwrite
    )

def attempt(stop):
    seen = 0
    def hook(event, args):
        nonlocal seen
        if event in EVENTS and any(isinstance(a, (str, bytes, os.PathLike)) and ".out." in os.fsdecode(a)
                                   for a in args):
            seen += 1
            if seen == stop:
                os.kill(os.getpid(), 9)
    sys.addaudithook(hook)
    write(out, overwrite)

write(src + "-warm", False)  # imports everything before the forks
stop = step
while True:
    print("attempt", stop, flush=True)
    sys.stdin.readline()
    child = os.fork()
    if child == 0:
        attempt(stop)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print("finished" if status == 0 else "killed", flush=True)
    if status == 0:
        break
    sys.stdin.readline()
    stop += step
"""


def complete(folder: Path) -> str:
    """Which run made this directory; fails unless every file is there and whole."""
    facts = json.loads((folder / "transfer.json").read_text())
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert found == {*facts["sha256"], "transfer.json"}
    for name, digest in facts["sha256"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest, name
    return facts["run"]


def kill_everywhere(src: Path, out: Path, old: Path | None, step: int) -> list[str]:
    """Kill a write at every `step`-th event; the states of the final name after each."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": "1",
    }
    mode = "overwrite" if old is not None else "fresh"
    states: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-c", HARNESS, str(src), str(out), mode, str(step)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        cwd=ROOT,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("attempt"):
                for path in out.parent.glob("*out*"):
                    shutil.rmtree(path)
                if old is not None:
                    shutil.copytree(old, out)
            else:
                states.append(complete(out) if out.exists() else "absent")
                if not out.exists() and old is not None:
                    (aside,) = out.parent.glob(".out.replaced-*")
                    assert complete(aside) == "old"
                if line.startswith("finished"):
                    assert states[-1] == "new"
                    break
            process.stdin.write("\n")
            process.stdin.flush()
        process.stdin.close()
        assert process.wait() == 0, process.stderr.read() if process.stderr else ""
    return states


def old_model(src: Path, tokenizer: Any, folder: Path) -> Path:
    shutil.copytree(src, folder)
    files = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
    (folder / "transfer.json").write_text(json.dumps({"run": "old", "sha256": files}))
    return folder


@pytest.mark.parametrize("step", [30, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_while_writing(saved_model: Callable[..., Any], tmp_path: Path, step: int) -> None:
    src, _ = saved_model("llama-untied", max_shard_size="12KB")
    place = tmp_path / "place"
    place.mkdir()
    states = kill_everywhere(src, place / "out", None, step)
    assert states[:-1] == ["absent"] * (len(states) - 1)
    assert len(states) > 40 // step
    assert [path.name for path in place.iterdir()] == ["out"]


@pytest.mark.parametrize("step", [30, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_while_overwriting(saved_model: Callable[..., Any], tmp_path: Path, step: int) -> None:
    src, tokenizer = saved_model("gpt2")
    place = tmp_path / "place"
    place.mkdir()
    states = kill_everywhere(src, place / "out", old_model(src, tokenizer, tmp_path / "old"), step)
    kinds = list(dict.fromkeys(states))
    assert kinds in (["old", "new"], ["old", "absent", "new"])
    if step == 1:  # every event, so also the moment between the two renames
        assert kinds == ["old", "absent", "new"]
        assert states.count("absent") == 1
