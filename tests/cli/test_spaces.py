"""``align`` and ``induce`` on planted spaces: a rotation with noise."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from align.mapping import BilingualMap
from align.vectors import WordVectors, read_vectors, write_vectors
from tests.cli.conftest import Run

Command = Callable[..., Run]
N, DIM, N_TRAIN = 400, 24, 150


@pytest.fixture
def spaces(cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Flags that name two spaces, and lexicons beside them: word ``s7`` is ``t7``."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(N, DIM)) * np.linspace(2, 0.5, DIM)).astype(np.float32)
    rotation, _ = np.linalg.qr(rng.normal(size=(DIM, DIM)))
    Y = (X @ rotation + 0.2 * rng.normal(size=X.shape)).astype(np.float32)
    write_vectors(WordVectors(tuple(f"s{i}" for i in range(N)), X), tmp_path / "src.vec")
    np.savez(tmp_path / "tgt.npz", words=np.array([f"t{i}" for i in range(N)]), matrix=Y)
    for name, rows in (("train", range(N_TRAIN)), ("test", range(N_TRAIN, N))):
        (tmp_path / f"{name}.tsv").write_text("".join(f"S{i}\tT{i}\n" for i in rows))
    return ["--src-vectors", str(tmp_path / "src.vec"), "--tgt-vectors", str(tmp_path / "tgt.npz")]


@pytest.mark.parametrize("method", ["procrustes", "vecmap", "ridge", "mutual"])
def test_a_map_is_written_and_used(cli: Command, spaces: list[str], tmp_path: Path, method: str) -> None:
    made = cli("align", *spaces, "--lexicon", "train.tsv", "--method", method, "--out", "map", "--json")
    assert made.code == 0, made.err
    facts = json.loads(made.out)
    assert (facts["method"], facts["converged"]) == (method, True)
    mapping = BilingualMap.load("map")
    src = read_vectors("src.vec").table()
    np.testing.assert_allclose(
        read_vectors("map/src.npz").table().matrix, mapping.map_src(src.matrix), rtol=1e-5, atol=1e-6
    )
    used = cli("induce", *spaces, "--map", "map", "--test", "test.tsv", "--json", "--script", "none")
    assert used.code == 0, used.err
    figures = json.loads(used.out)
    wanted = {"p_at_1", "p_at_5", "p_at_10", "mrr", "coverage", "n_queries", "n_candidates", "method"}
    assert wanted | {"retrieval", "protocol", "seconds"} <= set(figures)
    assert figures["n_queries"] == N - N_TRAIN
    assert figures["coverage"] == 1
    assert 0.9 < figures["p_at_1"] <= figures["p_at_5"] <= figures["p_at_10"] <= 1


def test_a_lexicon_is_written_best_first(cli: Command, spaces: list[str], tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("s200\ns3\nunheard-of\n")
    flags = ("--lexicon", "train.tsv", "--method", "vecmap", "--words", "words.txt", "--top", 2)
    run = cli("induce", *spaces, *flags, "--script", "none", "--out", "new.tsv")
    assert run.code == 0, run.err
    assert run.out == ""
    lines = [line.split("\t") for line in (tmp_path / "new.tsv").read_text().splitlines()]
    assert [line[0] for line in lines] == ["s200", "s200", "s3", "s3"]
    assert [line[1] for line in lines][::2] == ["t200", "t3"]
    assert float(lines[0][2]) > float(lines[1][2])
    again = cli("induce", *spaces, *flags, "--out", "new.tsv")
    assert again.code == 3
    assert "already exists" in again.err


@pytest.mark.parametrize("kind", ["vec", "bin", "safetensors"])
def test_mapped_vectors_of_every_format(cli: Command, spaces: list[str], kind: str) -> None:
    flags = ("--lexicon", "train.tsv", "--method", "procrustes", "--out", "map", "--vectors", kind)
    run = cli("align", *spaces, *flags)
    assert run.code == 0, run.err
    src, mapping = read_vectors("src.vec").table(), BilingualMap.load("map")
    mapped = read_vectors(f"map/src.{kind}")
    assert mapped.words == src.words
    np.testing.assert_allclose(mapped.table().matrix, mapping.map_src(src.matrix), rtol=1e-5, atol=1e-6)


def test_words_that_the_format_cannot_hold_are_found_first(cli: Command, spaces: list[str]) -> None:
    src = read_vectors("src.vec").table()
    write_vectors(WordVectors(("at the", *src.words[1:]), src.matrix), "src.npz")
    flags = ("--src-vectors", "src.npz", *spaces[2:], "--lexicon", "no such file", "--out", "map")
    run = cli("align", *flags, "--vectors", "vec")
    assert run.code == 3
    assert "cannot hold this word (got 'at the')" in " ".join(run.err.split())


@pytest.mark.parametrize("lower", [True, False])
def test_words_are_lower_cased_on_demand(
    cli: Command, spaces: list[str], tmp_path: Path, lower: bool
) -> None:
    src = read_vectors("src.vec").table()
    write_vectors(WordVectors(tuple(map(str.upper, src.words)), src.matrix), "upper.vec")
    flags = ["--src-vectors", "upper.vec", *spaces[2:], "--lexicon", "train.tsv", "--method", "procrustes"]
    flags += ["--lower"] if lower else []
    (tmp_path / "words.txt").write_text("s3\nS3\n")
    run = cli("induce", *flags, "--words", "words.txt", "--script", "none", "--out", "new.tsv")
    assert run.code == 0, run.err
    assert (tmp_path / "new.tsv").read_text().startswith("s3\tt3\t" if lower else "S3\tt3\t")
    run = cli("align", *flags, "--out", "map")
    assert run.code == 0, run.err
    assert read_vectors("map/src.npz").words[3] == ("s3" if lower else "S3")


def test_settings_and_steps_reach_the_method(cli: Command, spaces: list[str]) -> None:
    flags = ("--lexicon", "train.tsv", "--method", "vecmap", "--out", "map", "--vectors", "none")
    run = cli("align", *spaces, *flags, "--set", "src-exponent=0.25", "--normalize", "iterative")
    assert run.code == 0, run.err
    mapping = BilingualMap.load("map")
    assert mapping.options["src_exponent"] == 0.25
    assert mapping.src_normalizer is not None
    assert len(mapping.src_normalizer.steps) == 11
    assert sorted(path.name for path in Path("map").iterdir()) == ["map.json", "map.safetensors"]


@pytest.mark.parametrize(
    ("flags", "code", "said"),
    [
        (
            ("align", "--out", "map", "--method", "no-such", "--lexicon", "train.tsv"),
            2,
            "unknown mapping method",
        ),
        (("align", "--out", "map", "--method", "vecmap"), 3, "needs a lexicon"),
        (("align", "--out", "map", "--lexicon", "none.tsv"), 3, "no such file"),
        (("align", "--out", "map", "--lexicon", "train.tsv", "--set", "wide=1"), 2, "no such setting"),
        (("align", "--out", "map", "--lexicon", "train.tsv", "--set", "wide"), 2, "NAME=VALUE"),
        (("align", "--out", "map", "--lexicon", "train.tsv", "--normalize", "huge"), 2, "unknown step"),
        (("align", "--out", "map", "--lexicon", "train.tsv", "--src-limit", "0"), 2, "positive"),
        (("align", "--out", "map", "--seeds", "identical", "--method", "vecmap"), 3, "no seeds"),
        (("induce", "--lexicon", "train.tsv"), 2, "--out FILE"),
        (("induce", "--method", "no-such", "--out", "l.tsv"), 2, "unknown method"),
        (("induce", "--map", "nowhere", "--out", "l.tsv"), 3, "no map here"),
        (("induce", "--method", "best", "--out", "l.tsv"), 3, "needs a lexicon"),
        (("induce", "--method", "vecmap", "--lexicon", "train.tsv", "--out", "."), 3, "is a directory"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    cli: Command, spaces: list[str], flags: tuple[str, ...], code: int, said: str
) -> None:
    before = sorted(Path().iterdir())
    run = cli(flags[0], *spaces, *flags[1:])
    assert (run.code, run.out) == (code, "")
    assert said in run.err
    assert run.err.count("error:") == 1
    assert "Traceback" not in run.err
    assert sorted(Path().iterdir()) == before


def test_vectors_are_asked_for(cli: Command) -> None:
    assert "--src-vectors" in cli("align", "--out", "map").err
    assert "nothing to induce from" in cli("induce", "--out", "l.tsv").err
    half = cli("induce", "--src-vectors", "src.vec", "--out", "l.tsv")
    assert (half.code, "both languages" in half.err) == (2, True)


def test_methods_are_named(cli: Command) -> None:
    run = cli("methods", "--json")
    tables = json.loads(run.out)
    assert {"best", "best-vectors", "best-unsupervised"} == set(tables["induce"])
    assert {"procrustes", "vecmap-unsupervised", "proc-b"} <= set(tables["align, induce"])
    assert "trans-tokenization" in tables["transfer"]
    assert "best-unsupervised" in cli("methods").out


def test_a_lexicon_from_parallel_text(cli: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(1)
    sentences = [rng.integers(0, 30, rng.integers(4, 8)) for _ in range(300)]
    for side in ("src", "tgt"):
        mark = side[0]
        lines = (
            " ".join(f"{mark}{'abcdefghij'[n // 10]}{'klmnopqrst'[n % 10]}" for n in s) for s in sentences
        )
        (tmp_path / f"a.{side}").write_text("\n".join(lines) + "\n")
    (tmp_path / "test.tsv").write_text("sak\ttak\nsbl\ttbl\nscm\ttcm\nunknown\tword\n")
    flags = ("--parallel", "a.src", "a.tgt")
    run = cli("induce", *flags, "--out", "l.tsv", "--test", "test.tsv", "--json")
    assert run.code == 0, run.err
    figures = json.loads(run.out)
    assert (figures["method"], figures["retrieval"]) == ("text", "links")
    assert (figures["p_at_1"], figures["coverage"]) == (1.0, 0.75)
    table = [line.split("\t") for line in (tmp_path / "l.tsv").read_text().splitlines()]
    assert table[0][:3] == ["source", "target", "count"]
    assert figures["n_pairs"] == len(table) - 1
    (tmp_path / "words.txt").write_text("sak\n")
    assert cli("induce", *flags, "--out", "one.tsv", "--words", "words.txt").code == 0
    assert {line.split("\t")[0] for line in (tmp_path / "one.tsv").read_text().splitlines()[1:]} == {"sak"}
