"""The command in this process, a tiny source model, and a little material."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest

from align import lexicons  # type: ignore[attr-defined]  # installed from data/lexicons
from cli import main as command
from cli.screen import Screen
from tests.vocab.conftest import ARCHITECTURES, build_model, train

N_PAIRS = 200


@dataclass(frozen=True)
class Run:
    """What a run of the command left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Material:
    """Files to transfer with, and the arguments that name them."""

    source: Path
    english: Path
    swahili: Path
    lexicon: Path

    @property
    def args(self) -> list[str | Path]:
        """Arguments of a transfer that takes about a second."""
        text = ["--parallel", self.english, self.swahili, "--lexicon", self.lexicon]
        return ["--src", self.source, "--tgt", "sw", *text, "--vocab-size", "420"]


def run_command(*args: object) -> int:
    """Exit code of the command, run here; the process is left as it was."""
    with (
        mock.patch.object(sys, "argv", ["vocab-transfer", *map(str, args)]),
        mock.patch.object(command, "_screen", Screen(0)),
        mock.patch.dict(os.environ),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("default")
        level = logging.getLogger("vocab").level
        try:
            command.main()
        except SystemExit as end:
            return int(end.code or 0)
        finally:
            logging.getLogger("vocab").setLevel(level)
    raise AssertionError("the command did not exit")


def save_source(folder: Path, name: str = "roberta") -> Path:
    """A tiny model full of noise, with its tokenizer, in `folder`."""
    tokenizer = train(ARCHITECTURES[name][1])
    build_model(name, tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_material(folder: Path) -> Material:
    """A tiny RoBERTa and the first of the bundled sentence pairs and lexicon entries."""
    found = Material(
        save_source(folder / "tiny"), folder / "train.en", folder / "train.sw", folder / "en-sw.tsv"
    )
    pairs = lexicons.sentences_path("en", "sw").read_text(encoding="utf-8").splitlines()[:N_PAIRS]
    english, swahili = zip(*(line.split("\t")[:2] for line in pairs), strict=True)
    found.english.write_text("\n".join(english) + "\n", encoding="utf-8")
    found.swahili.write_text("\n".join(swahili) + "\n", encoding="utf-8")
    entries = lexicons.path("en", "sw").read_text(encoding="utf-8").splitlines()[:N_PAIRS]
    found.lexicon.write_text("\n".join(entries) + "\n", encoding="utf-8")
    return found


@pytest.fixture(scope="session")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """See :func:`make_material`."""
    return make_material(tmp_path_factory.mktemp("material"))


@pytest.fixture
def cli(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Callable[..., Run]:
    """``cli(*args)`` runs ``vocab-transfer *args`` in an empty working directory."""
    folder = tmp_path / "cwd"
    folder.mkdir()
    monkeypatch.chdir(folder)

    def run(*args: object) -> Run:
        code = run_command(*args)
        captured = capsys.readouterr()
        return Run(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def finished(material: Material, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory that the command wrote."""
    folder = tmp_path_factory.mktemp("finished") / "tiny-sw"
    assert run_command(*material.args, "--out", folder, "-q") == 0
    return folder
