"""``words``: what it writes, what it reads again, and what it refuses, through the real command."""

from __future__ import annotations

import gzip
import json
import random
import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

import align.wordalign.run
from align import options as align_options
from align.options import WordsOptions
from align.wordalign import Aligner, Links
from align.wordalign.options import MODELS
from align.wordalign.run import _null_prob
from align.wordalign.symmetrize import METHODS
from tests.cli.conftest import Run, run_command

Command = Callable[..., Run]
N_PAIRS, N_WORDS = 160, 30
NAMES = {"table": "table", "save": "m.safetensors", "out": "links"}


@pytest.fixture
def text(cli: Command) -> list[str]:
    """Flags that name two files: ``s7`` is ``t7``, in reverse order, one word in ten is another."""
    return list(_planted("a"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``links``, ``table`` and ``m.safetensors`` of that text."""
    folder = tmp_path_factory.mktemp("trained")
    outputs = (part for name in ("table", "save", "out") for part in (f"--{name}", folder / NAMES[name]))
    assert run_command("words", *_planted(f"{folder}/a"), *outputs, "-q") == 0
    return folder


def _planted(stem: str) -> Iterator[str]:
    rng = np.random.default_rng(0)
    src, tgt = [], []
    for _ in range(N_PAIRS):
        words = rng.choice(N_WORDS, size=rng.integers(3, 8), replace=False)
        noisy = np.where(rng.random(len(words)) < 0.1, rng.integers(0, N_WORDS, len(words)), words)
        src.append(" ".join(f"s{w}" for w in words))
        tgt.append(" ".join(f"t{w}" for w in noisy[::-1]))
    yield from _files(stem, src, tgt)


def _files(stem: str, src: list[str], tgt: list[str]) -> Iterator[str]:
    yield "--parallel"
    for suffix, lines in (("en", src), ("sw", tgt)):
        Path(f"{stem}.{suffix}").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        yield f"{stem}.{suffix}"


def _links(path: str) -> list[list[tuple[int, int]]]:
    links = Links.from_pharaoh(Path(path).read_text().splitlines())
    return [links.pair(n) for n in range(links.n_pairs)]


def _share_right(path: str) -> float:
    """F1 of links that should join words of equal number."""
    found = right = wanted = 0
    sides = [Path(name).read_text().splitlines() for name in ("a.en", "a.sw")]
    for links, src, tgt in zip(_links(path), *sides, strict=True):
        numbers = [[int(word[1:]) for word in side.split()] for side in (src, tgt)]
        truth = {(i, len(numbers[1]) - 1 - i) for i in range(len(numbers[0]))}
        truth = {(i, j) for i, j in truth if numbers[0][i] == numbers[1][j]}
        found, right, wanted = found + len(links), right + len(truth & set(links)), wanted + len(truth)
    return 2 * right / (found + wanted)


def test_all_that_can_be_written(cli: Command, text: list[str]) -> None:
    outputs = (
        "--table",
        "table.tsv.gz",
        "--scores",
        "scores.tsv",
        "--tokens",
        "tokens",
        "--save",
        "m.safetensors",
    )
    run = cli("words", *text, "--out", "links", *outputs, "--posteriors", "--json")
    assert run.code == 0, run.err
    facts = json.loads(run.out)
    assert {
        "model": "hmm",
        "symmetrize": "soft",
        "n_pairs": N_PAIRS,
        "n_aligned": N_PAIRS,
    }.items() <= facts.items()
    assert _share_right("links") > 0.95
    links = Links.from_pharaoh(Path("links").read_text().splitlines())
    assert facts["n_links"] == len(links.src)
    assert 0.5 < links.weights.min() < 0.99
    rows = [
        line.split("\t") for line in gzip.decompress(Path("table.tsv.gz").read_bytes()).decode().splitlines()
    ]
    counts = [float(row[4]) for row in rows]
    assert counts == sorted(counts, reverse=True)
    assert {row[0][1:] == row[1][1:] for row in rows[:N_WORDS]} == {True}
    for column in (2, 3):
        of = {tuple(row[:2]): float(row[column]) for row in rows}
        assert min(of[f"s{w}", f"t{w}"] for w in range(N_WORDS)) > 0.5
        side = column - 2
        sums = [sum(p for pair, p in of.items() if pair[side] == f"{'st'[side]}{w}") for w in range(N_WORDS)]
        assert max(sums) < 1 + 1e-4
    scores = np.loadtxt("scores.tsv")
    assert scores.shape == (N_PAIRS, 2)
    assert (scores < 0).all()
    wanted = [
        f"{s} ||| {t}"
        for s, t in zip(*(Path(f"a.{k}").read_text().splitlines() for k in ("en", "sw")), strict=True)
    ]
    assert Path("tokens").read_text().splitlines() == wanted
    assert Aligner.load("m.safetensors").n_iter == facts["n_iter"]


def test_every_way_of_making_one_of_two(cli: Command, text: list[str], trained: Path) -> None:
    found = {}
    flags = ("--load", trained / "m.safetensors", "--threshold", "0.25")
    for way in get_args(align_options.Symmetrize):
        run = cli("words", *text, *flags, "--symmetrize", way, "--out", way)
        assert run.code == 0, run.err
        found[way] = [set(links) for links in _links(way)]
        assert _share_right(way) > 0.85, way
    for last in ("grow-diag-final", "grow-diag-final-and"):
        for small, large in pairwise(["intersect", "grow-diag", last, "union"]):
            assert all(a <= b for a, b in zip(found[small], found[large], strict=True))
    assert all(a <= b for a, b in zip(found["soft-min"], found["soft"], strict=True))
    assert found["soft-product"] != found["soft"]


def test_links_on_stdout(cli: Command, text: list[str]) -> None:
    run = cli("words", *text, "--model", "ibm1", "--out", "-", "-q")
    assert (run.code, run.err) == (0, "")
    assert Links.from_pharaoh(run.out.splitlines()).n_pairs == N_PAIRS
    assert not Path("-").exists()


def test_a_model_is_loaded(cli: Command, text: list[str], trained: Path) -> None:
    model = ("--load", trained / "m.safetensors")
    again = cli("words", *text, *model, "--out", "again")
    assert again.code == 0, again.err
    assert Path("again").read_bytes() == (trained / "links").read_bytes()
    unseen = cli("words", *_files("b", ["s3 s4 s5"], ["t5 t4 t3"]), *model, "--out", "-")
    assert unseen.out == "0-2 1-1 2-0\n"


@pytest.mark.parametrize("kind", ["model", "table", "links", "probabilities", "lexicon"])
def test_a_prior_of_any_kind(cli: Command, trained: Path, kind: str) -> None:
    if kind == "links":  # of this very text
        Path(kind).write_text("0-2 1-1 2-0\n")
    elif kind == "lexicon":
        Path(kind).write_text("".join(f"S{w}\tT{w}\n" for w in range(N_WORDS)))
    elif kind == "probabilities":
        rows = [line.split("\t") for line in (trained / "table").read_text().splitlines()]
        Path(kind).write_text("".join(f"{s}\t{t}\t{p}\n" for s, t, p, _, _ in rows))
    else:
        shutil.copy(trained / NAMES["save" if kind == "model" else kind], kind)
    one = ["words", *_files("b", ["s3 s4 s5"], ["t5 t4 t3"]), "--model", "ibm1", "--out", "-"]
    run = cli(*one, "--prior", kind, "--prior-weight", "20")
    assert run.code == 0, run.err
    assert run.out == "0-2 1-1 2-0\n"
    assert cli(*one).out != run.out


@pytest.mark.parametrize("kind", ["tsv", "moses", "tmx", "po"])
def test_one_file_of_both_sides(cli: Command, kind: str) -> None:
    pairs = [("yes", "ndiyo"), ("no", "hapana"), ("yes yes", "ndiyo ndiyo")]
    unit = '<tu><tuv xml:lang="sw"><seg>{1}</seg></tuv><tuv xml:lang="en"><seg>{0}</seg></tuv></tu>'
    data = {
        "tsv": "".join(f"1\t{t}\t{s}\n" for s, t in pairs),
        "moses": "".join(f"{s} ||| {t}\n" for s, t in pairs),
        "tmx": f"<tmx><body>{''.join(unit.format(*pair) for pair in pairs)}</body></tmx>",
        "po": "".join(f'msgid "{s}"\nmsgstr "{t}"\n\n' for s, t in pairs),
    }[kind]
    Path("text").write_bytes(gzip.compress(data.encode()))
    flags = {"tsv": ("--columns", "3", "2"), "tmx": ("--languages", "en", "sw")}.get(kind, ())
    run = cli("words", "--bitext", "text", *flags, "--out", "links", "--tokens", "tokens")
    assert run.code == 0, run.err
    assert Path("tokens").read_text().splitlines() == [f"{s} ||| {t}" for s, t in pairs]


def test_pairs_left_out_keep_their_line(cli: Command, text: list[str]) -> None:
    src, tgt = (Path(name).read_text().splitlines() for name in text[1:])
    for at, (s, t) in {
        0: ("", "t1"),
        2: ("s1", "   "),
        5: ("s1 \0", "t1"),
        7: ("s1 " * 10_000, "t1 " * 10_000),
        9: ("s1", "t1 t2 t3 t4 t5"),
    }.items():
        src.insert(at, s)
        tgt.insert(at, t)
    src, tgt = [*src, src[-1]], [*tgt, tgt[-1]]
    flags = ("--max-ratio", "4", "--drop-duplicates", "--scores", "scores")
    run = cli("words", *_files("b", src, tgt), *flags, "--out", "links")
    assert run.code == 0, run.err
    (warning,) = [line for line in run.err.splitlines() if line.startswith("warning: ")]
    assert warning == (
        "warning: 6 of 166 sentence pairs are left out: 2 with an empty side, 1 with control characters, "
        "1 with a side that is too long, 1 of sides too unequal in length, 1 that came before"
    )
    links = Path("links").read_text().splitlines()
    assert [n for n, line in enumerate(links) if not line] == [0, 2, 5, 7, 9, 165]
    assert [n for n, line in enumerate(Path("scores").read_text().splitlines()) if line == "nan\tnan"] == [
        0, 2, 5, 7, 9, 165,
    ]  # fmt: skip


def test_one_pair_and_identical_text(cli: Command, text: list[str]) -> None:
    run = cli("words", *_files("b", ["one two three"], ["moja mbili tatu"]), "--out", "-")
    assert run.code == 0, run.err
    lines = Path("a.en").read_text().splitlines()
    run = cli("words", *_files("c", lines, lines), "--out", "-")
    assert run.code == 0, run.err
    assert "160 of 160 sentence pairs have the same words on both sides" in run.err
    wanted = [" ".join(f"{i}-{i}" for i in range(len(line.split()))) for line in lines]
    assert run.out.splitlines() == wanted


@pytest.fixture
def refused(cli: Command, text: list[str]) -> Callable[..., str]:
    """``refused(code, *args)``: run, check how it fails, return the line."""

    def run(code: int, *args: object) -> str:
        before = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
        result = cli("words", *args)
        assert result.code == code, result.err
        assert result.out == ""
        assert "Traceback" not in result.err
        (line,) = [line for line in result.err.splitlines() if line.startswith("error: ")]
        assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == before
        return line.removeprefix("error: ")

    return run


Refused = Callable[..., str]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "bad: the file is empty"),
        (b"one\n", "parallel files differ in length (got 160 lines in a.en and 1 in bad"),
        ("Ärger\n".encode("latin-1"), "bad:1: the file is not UTF-8 (got byte 0xc4"),
        ("one\n".encode("utf-16"), "bad:1: UTF-16, not UTF-8"),
        (random.Random(0).randbytes(4000).replace(b"\n", b"\xff"), "bad:1: "),
        (gzip.compress(b"one\n" * 160, mtime=0)[:-9], "the compressed file is damaged or cut off"),
        (b"\n" * 160, "no sentence pair is left (got 160, 160 with an empty side)"),
        (b"a b\0\n" * 160, "no sentence pair is left (got 160, 160 with control characters)"),
        (b"a " * 500 + b"\n" + b"\n" * 159, "1 with a side that is too long"),
    ],
)
def test_files_that_cannot_be_aligned(refused: Refused, data: bytes, said: str) -> None:
    Path("bad").write_bytes(data)
    assert said in refused(3, "--parallel", "a.en", "bad", "--out", "links")


def test_missing_files_and_places(refused: Refused, text: list[str]) -> None:
    assert refused(3, "--parallel", "a.en", "none", "--out", "links").startswith("none: no such file")
    assert refused(3, "--bitext", "none.tmx", "--out", "links").startswith("none.tmx: no such file")
    assert refused(3, *text, "--prior", "none", "--out", "links").startswith("none: no such file")
    assert refused(3, *text, "--load", "none", "--out", "links").startswith("none: no such file")
    assert "not a file of parallel text" in refused(3, "--bitext", "a.en", "--out", "links")
    assert "is a directory" in refused(3, *text, "--out", ".")
    Path("there").write_text("mine")
    assert "Add --overwrite" in refused(3, *text, "--out", "there")
    assert "Add --overwrite" in refused(3, *text, "--out", "links", "--save", "there")
    assert "one file for two things" in refused(2, *text, "--out", "links", "--table", "links")
    assert "one file for two things" in refused(2, *text, "--out", "a.en", "--overwrite")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "nothing to align"),
        (("--parallel", "a.en", "a.sw", "--bitext", "a.en"), "exclude each other"),
        (("--bitext", "x", "--load", "m", "--prior", "p"), "--load and --prior exclude each other"),
        (("--bitext", "x", "--n-iter", "0"), "--n-iter (got 0, wanted 1 or more)"),
        (("--bitext", "x", "--max-ratio", "nan"), "--max-ratio"),
        (("--bitext", "x", "--threshold", "1"), "--threshold"),
        (("--bitext", "x", "--columns", "0", "1"), "--columns"),
        (("--bitext", "x", "--prior-weight", "-1"), "--prior-weight"),
        (("--bitext", "x", "--model", "ibm7"), "ibm7"),
        (("--parallel", "a.en", "a.sw", "--executor", "cloud"), "unknown executor"),
    ],
)
def test_wrong_flags(refused: Refused, flags: tuple[str, ...], said: str) -> None:
    assert said in refused(2, *flags, "--out", "links")


def test_json_and_links_on_one_stdout(refused: Refused, text: list[str]) -> None:
    assert "both want stdout" in refused(2, *text, "--out", "-", "--json")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("0-0\n", "prior: links of another text (got 1 lines, wanted 160)"),
        ("0-0\n" * 30 + "0-99\n" + "\n" * 129, "prior:31: a link to a word that is not there"),
        ("0-0\n" * 159 + "0-0 1_1\n", "prior:160: not a link"),
        ("a\tb\t0.5\t0.5\t2\na\tb\n", "prior:2: not a row of a lexical table"),
        ("a\tb\t0.5\nb\n", "prior:2: not a row of a probability table"),
        ("a\tb\nb\n", "prior:2: not a pair of words"),
        ("\n \n", "prior: every line is blank"),
    ],
)
def test_priors_that_cannot_be_used(refused: Refused, text: list[str], data: str, said: str) -> None:
    Path("prior").write_text(data)
    assert said in refused(3, *text, "--prior", "prior", "--out", "links")


def test_damaged_model(refused: Refused, text: list[str]) -> None:
    Path("m.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      rest")
    assert "m.safetensors: " in refused(3, *text, "--load", "m.safetensors", "--out", "links")
    assert "m.safetensors: " in refused(3, *text, "--prior", "m.safetensors", "--out", "links")


@pytest.mark.parametrize("stage", ["_table", "_scores"])
def test_interrupted_while_writing(
    refused: Refused, text: list[str], stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> Iterator[str]:
        yield "half"
        raise KeyboardInterrupt

    monkeypatch.setattr(align.wordalign.run, stage, stop)
    Path("table").write_text("old")
    flags = ("--out", "links", "--table", "table", "--scores", "scores", "--tokens", "tokens", "--overwrite")
    assert refused(130, *text, *flags) == "interrupted; nothing was left half-written"


def test_overwritten_only_when_asked(cli: Command, text: list[str]) -> None:
    Path("links").write_text("old")
    assert cli("words", *text, "--out", "links", "--overwrite").code == 0
    assert _share_right("links") > 0.95


def test_names_are_those_of_the_library() -> None:
    assert get_args(align_options.AlignModel) == MODELS
    assert set(get_args(align_options.Symmetrize)) - {"soft", "soft-product", "soft-min"} == set(METHODS)


def test_null_is_stronger_where_a_rule_joins_links() -> None:
    def chosen(**given: Any) -> float:
        return _null_prob(WordsOptions(bitext=Path("a"), **given))

    assert chosen() == chosen(model="hmm", symmetrize="union") == chosen(model="ibm1") == 0.02
    assert chosen(model="hmm-independent", symmetrize="grow-diag") == 0.2
    assert chosen(model="ibm1", symmetrize="union", null_prob=0.08) == 0.08
