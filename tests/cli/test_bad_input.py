"""Bad input: one clear line, the right exit code, nothing written, no traceback."""

from __future__ import annotations

import errno
import json
import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

import vocab.model_files.output
from tests.cli.conftest import Material, Run, save_source
from tests.vocab.conftest import train, wrap
from vocab.languages import language
from vocab.methods import METHODS

Command = Callable[..., Run]


@pytest.fixture
def refused(cli: Command) -> Callable[..., str]:
    """``refused(code, *args)``: run, check how it fails, return the line."""

    def run(code: int, *args: object) -> str:
        before = sorted(Path().rglob("*"))
        result = cli(*args)
        assert result.code == code, result.err
        assert result.out == ""
        assert "Traceback" not in result.err
        lines = [line for line in result.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1
        assert result.err.endswith(lines[0] + "\n")
        assert sorted(Path().rglob("*")) == before
        return lines[0].removeprefix("error: ")

    return run


Refused = Callable[..., str]


def _write(name: str, text: str) -> Path:
    path = Path(name)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def corpus_args(material: Material) -> list[object]:
    """Arguments without sentence pairs, so that auto takes vectors where they are given."""
    return ["--src", material.source, "--corpus", material.swahili, "--vocab-size", "420", "--out", "model"]


@pytest.mark.parametrize(
    "flag", ["--corpus", "--src-corpus", "--parallel-tsv", "--lexicon", "--tokenizer", "--src"]
)
def test_missing_file(refused: Refused, material: Material, flag: str) -> None:
    line = refused(3, "--src", material.source, flag, "./not-there.txt", "--out", "model")
    assert line.startswith(("not-there.txt: no such file", "./not-there.txt: no such file"))


def test_missing_side_of_parallel_files(refused: Refused, material: Material) -> None:
    args = ["--src", material.source, "--out", "model", "--parallel", material.english, "not-there.sw"]
    assert refused(3, *args).startswith("not-there.sw: no such file")


@pytest.mark.parametrize("flag", ["--corpus", "--parallel-tsv", "--lexicon"])
def test_empty_file(refused: Refused, material: Material, flag: str) -> None:
    line = refused(3, "--src", material.source, flag, _write("empty", ""), "--out", "model")
    assert line.startswith("empty: the file is empty")


@pytest.mark.parametrize("flag", ["--corpus", "--parallel-tsv", "--lexicon", "--src-corpus"])
def test_not_utf8(refused: Refused, material: Material, flag: str) -> None:
    Path("latin").write_bytes("a\tb\nÄrger\tb\n".encode("latin-1"))
    line = refused(3, "--src", material.source, flag, "latin", "--out", "model")
    assert line.startswith("latin:2: ")
    assert "not UTF-8" in line


def test_parallel_files_of_unequal_length(refused: Refused, material: Material) -> None:
    short = _write("short.sw", "moja\nmbili\n")
    line = refused(3, "--src", material.source, "--parallel", material.english, short, "--out", "model")
    assert "differ in length" in line
    assert "200 lines" in line
    assert "2 in short.sw" in line


@pytest.mark.parametrize(("flag", "said"), [("--lexicon", "not a pair"), ("--parallel-tsv", "no tab")])
def test_line_without_a_tab(refused: Refused, material: Material, flag: str, said: str) -> None:
    path = _write("pairs.tsv", "dog\tmbwa\nbig dog mbwa kubwa\n")
    line = refused(3, "--src", material.source, flag, path, "--out", "model")
    assert line.startswith(f"pairs.tsv:2: {said}")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("2 3\ndog 1 2 3\ncat 1 2\n", "first en.vec:3: wrong number of columns"),
        ("2 3\ndog 1 2 3\ncat 1 two 3\n", "first en.vec:3: not a number"),
        ("2 3\ndog 1 nan 3\ncat 1 2 3\n", "first en.vec:2: "),
    ],
)
def test_wrong_rows_of_vectors_are_left_out_and_told(
    cli: Command, corpus_args: list[object], rows: str, said: str
) -> None:
    good = _write("sw.vec", "2 3\nmbwa 1 2 3\npaka 3 2 1\n")
    bad = _write("en.vec", rows)
    run = cli(*corpus_args, "--src-vectors", bad, "--tgt-vectors", good, "--out", "model", "--method", "mean")
    assert run.code == 0
    assert "1 of 2 rows are malformed" in run.err
    assert said in run.err


def test_empty_vectors(refused: Refused, corpus_args: list[object]) -> None:
    good = _write("sw.vec", "2 3\nmbwa 1 2 3\npaka 3 2 1\n")
    line = refused(3, *corpus_args, "--src-vectors", _write("en.vec", ""), "--tgt-vectors", good)
    assert line.startswith("en.vec: the file is empty")


def test_damaged_vectors(refused: Refused, corpus_args: list[object]) -> None:
    Path("en.bin").write_bytes(b"\x00" * 100)
    good = _write("sw.vec", "2 3\nmbwa 1 2 3\npaka 3 2 1\n")
    assert "en.bin" in refused(3, *corpus_args, "--src-vectors", "en.bin", "--tgt-vectors", good)


def test_nan_in_the_weights(refused: Refused, material: Material, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    source = save_source(tmp_path / "nan")
    weights = load_file(source / "model.safetensors")
    weights["roberta.embeddings.word_embeddings.weight"][7, 3] = torch.nan
    save_file(weights, source / "model.safetensors", metadata={"format": "pt"})
    args = material.args[2:]
    line = refused(3, "--src", source, *args, "--out", "model")
    assert "NaN" in line


def test_a_tokenizer_that_is_not_the_models(refused: Refused, material: Material, tmp_path: Path) -> None:
    source = save_source(tmp_path / "small")
    train("roberta", size=400).save_pretrained(source)
    line = refused(3, "--src", source, *material.args[2:], "--method", "mean", "--out", "model")
    assert "more tokens than the model has rows" in line


def test_weights_and_config_that_disagree(refused: Refused, material: Material, tmp_path: Path) -> None:
    source = save_source(tmp_path / "odd")
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    (source / "config.json").write_text(json.dumps(config | {"vocab_size": 5000}), encoding="utf-8")
    line = refused(3, "--src", source, *material.args[2:], "--method", "mean", "--out", "model")
    assert "5000" in line


@pytest.mark.parametrize(("family", "role"), [("llama", "pad"), ("t5", "mask")])
def test_target_tokenizer_without_a_token_the_model_needs(
    refused: Refused, material: Material, tmp_path: Path, family: str, role: str
) -> None:
    train(family).save_pretrained(tmp_path / "lacking")
    args = ["--src", material.source, "--corpus", material.swahili, "--tokenizer", tmp_path / "lacking"]
    line = refused(3, *args, "--method", "mean", "--out", "model")
    assert f"no {role} token, which RobertaForMaskedLM needs" in line


def test_target_tokenizer_without_unk(refused: Refused, material: Material, tmp_path: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {word: i for i, word in enumerate(["<s>", "</s>", "<pad>", "<mask>", "habari", "maji"])}
    inner = Tokenizer(models.WordLevel(words))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    names = {"bos": "<s>", "eos": "</s>", "pad": "<pad>", "mask": "<mask>"}
    wrap(inner, {f"{role}_token": token for role, token in names.items()}).save_pretrained(tmp_path / "words")
    args = ["--src", material.source, "--corpus", material.swahili, "--tokenizer", tmp_path / "words"]
    line = refused(3, *args, "--method", "mean", "--out", "model")
    assert "fails on text outside its vocabulary" in line
    assert "no unk token" in line


def test_vocabulary_larger_than_the_text_supports(refused: Refused, material: Material) -> None:
    args = ["--src", material.source, "--corpus", material.swahili, "--out", "model"]
    line = refused(3, *args, "--vocab-size", "100000")
    assert "does not support" in line
    assert "got 100000" in line
    assert "at most" in line


def test_vocabulary_without_room_for_the_alphabet(refused: Refused, material: Material) -> None:
    args = ["--src", material.source, "--corpus", material.swahili, "--out", "model"]
    assert "no room" in refused(3, *args, "--vocab-size", "20")


def test_disk_too_small(refused: Refused, material: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9, 10**6))
    line = refused(3, *material.args, "--method", "mean", "--out", "model")
    assert "not enough disk space" in line
    assert "1 MB free" in line


def test_disk_full_while_writing(
    refused: Refused, material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(vocab.model_files.output, "write_json", full)
    assert "the disk is full" in refused(3, *material.args, "--method", "mean", "--out", "model")


def test_output_under_a_file(refused: Refused, material: Material) -> None:
    parent = _write("a-file", "x")
    line = refused(3, *material.args, "--out", parent / "model")
    assert "cannot make the parent directory" in line


def test_output_not_writable(refused: Refused, material: Material, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("align.place.os.access", lambda *_: False)
    assert "not writable" in refused(3, *material.args, "--out", "model")


def test_output_is_something_else(refused: Refused, material: Material) -> None:
    Path("thesis").mkdir()
    _write("thesis/chapter-1.txt", "years of work")
    assert "already exists" in refused(3, *material.args, "--out", "thesis")
    assert "only a model directory" in refused(3, *material.args, "--out", "thesis", "--overwrite")


def test_output_is_the_source(refused: Refused, material: Material, tmp_path: Path) -> None:
    source = save_source(tmp_path / "cwd" / "own")
    args = ["--src", source, *material.args[2:], "--method", "mean", "--out", source, "--overwrite"]
    assert "replace its own source" in refused(3, *args)


def test_unknown_language(refused: Refused, material: Material) -> None:
    line = refused(2, "--src", material.source, "--tgt", "swahilli", "--out", "model")
    assert "unknown language 'swahilli'" in line
    assert "Swahili (sw)" in line
    assert "unknown language 'qx'" in refused(2, "--src", material.source, "--src-lang", "qx")


def test_language_without_material(refused: Refused, material: Material) -> None:
    line = refused(5, "--src", material.source, "--tgt", "tt", "--out", "model")
    assert f"no text in {language('tt').name}" in line
    assert "--parallel train.en train.tt" in line


def test_unknown_method_says_which_exist(refused: Refused, material: Material) -> None:
    line = refused(2, "--src", material.source, "--method", "weschel", "--out", "model")
    assert "unknown method 'weschel'" in line
    for name in ("auto", *METHODS):
        assert name in line
    assert line.endswith("Did you mean wechsel?")


@pytest.mark.parametrize(
    ("method", "what", "flags"),
    [
        ("omp", "a donor model (got", ["--donor "]),
        ("recycle", "a donor model and the donor's own source (got", ["--donor ", "--donor-src "]),
        ("wechsel", "word vectors (got", ["--src-vectors ", "--tgt-vectors", "--src-corpus"]),
        ("focus > ofa", "word vectors (got", ["--src-vectors "]),
    ],
)
def test_method_without_what_it_needs(
    refused: Refused, corpus_args: list[object], method: str, what: str, flags: list[str]
) -> None:
    line = refused(2, *corpus_args, "--method", method)
    assert f"method {method} needs {what}" in line
    assert all(flag in line for flag in flags)


def test_too_little_text_for_vectors(refused: Refused, corpus_args: list[object]) -> None:
    few = _write("few.en", "good morning\nwelcome home\n")
    line = refused(3, *corpus_args, "--method", "wechsel", "--src-corpus", few)
    assert line.startswith("too little text to train word vectors on")
    assert "wanted words that occur 5 times" in line


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--sorce", "demo"], "--sorce"),
        (["transfer"], "transfer"),
        (["--norm", "huge"], "huge"),
        (["--device", "tpu"], "tpu"),
        (["--seed", "x"], "--seed"),
        (["--seed", "-1"], "--seed"),
        (["--threads", "0"], "--threads"),
        (["--pad-to-multiple-of", "0"], "--pad-to-multiple-of"),
        (["--vocab-size", "0"], "--vocab-size"),
        (["--tokenizer", "x", "--vocab-size", "8"], "exclude each other"),
        (["--src-vectors", "en.vec"], "--src-vectors and --tgt-vectors"),
        (["--tgt-vectors", "sw.vec"], "--src-vectors and --tgt-vectors"),
        (["--fetch", "everything"], "vectors:cc"),
        (["--parallel", "one.en"], "--parallel"),
        (["explain"], "model"),
    ],
)
def test_bad_flags(refused: Refused, args: list[str], said: str) -> None:
    assert said in refused(2, *args)


def test_revision_of_a_local_model(refused: Refused, material: Material) -> None:
    assert "not on the hub" in refused(2, *material.args, "--revision", "main", "--out", "model")


def test_a_directory_without_a_model(refused: Refused) -> None:
    Path("empty").mkdir()
    assert "no config.json" in refused(3, "--src", "./empty", "--out", "model")


def test_a_full_disk_is_said_before_the_work(
    refused: Refused, material: Material, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_late(_: object) -> None:
        raise AssertionError("the work began")

    monkeypatch.setattr("vocab.pipeline.execute", too_late)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=0))
    line = refused(3, *material.args, "--out", "model")
    assert "not enough disk space (got 0 MB free" in line
    assert line.endswith("Free some space or give another --out.")
