"""The table of mapping methods: every row runs, and the presets of other tools give what those tools give."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest

from align.errors import InputError, UsageError
from align.lexicon import Lexicon
from align.mapping.methods import METHODS, fit, parse_settings, parse_steps, seed_pairs
from align.normalize import ITERATIVE
from align.vectors import WordVectors

N, DIM, N_TRAIN = 300, 16, 120


@pytest.fixture(scope="module")
def spaces() -> tuple[WordVectors, WordVectors]:
    """A rotation with noise; a tenth of the words are spelled alike on both sides, another tenth numbers."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, DIM)) * np.linspace(2, 0.5, DIM) + 0.2
    rotation, _ = np.linalg.qr(rng.normal(size=(DIM, DIM)))
    Y = X @ rotation + 0.1 * rng.normal(size=X.shape)
    src, tgt = (
        [f"name{n}" if n % 10 == 0 else str(1000 + n) if n % 10 == 5 else f"{side}{n}" for n in range(N)]
        for side in "st"
    )
    order = rng.permutation(N)
    return (
        WordVectors(tuple(src), X.astype(np.float32)),
        WordVectors(tuple(tgt[n] for n in order), Y[order].astype(np.float32)),
    )


def _lexicon(src: WordVectors) -> Lexicon:
    return Lexicon(tuple((w, w if not w.startswith("s") else f"t{w[1:]}") for w in src.words[:N_TRAIN]))


def _accuracy(spaces: tuple[WordVectors, WordVectors], mapping) -> float:  # type: ignore[no-untyped-def]
    src, tgt = spaces
    A, B = (
        rows / np.linalg.norm(rows, axis=1, keepdims=True)
        for rows in (mapping.map_src(src.matrix), mapping.map_tgt(tgt.matrix))
    )
    best = (A[N_TRAIN:] @ B.T).argmax(axis=1)
    wanted = [w if not w.startswith("s") else f"t{w[1:]}" for w in src.words[N_TRAIN:]]
    return float(np.mean([tgt.words[j] == w for j, w in zip(best, wanted, strict=True)]))


# drawn from scratch, these need many more words and steps than a test has; each has tests of its own
_SLOW = {
    "vecmap-acl2017",
    "vecmap-identical",
    "vecmap-semi",
    "contrastive",
    "contrastive-1k",
    "vecmap-unsupervised",
    "muse-adversarial",
    "wasserstein",
    "gromov-wasserstein",
}


@pytest.mark.parametrize("method", sorted(set(METHODS) - _SLOW))
def test_a_rotation_with_noise_is_found(spaces: tuple[WordVectors, WordVectors], method: str) -> None:
    entry = METHODS[method]
    lexicon = _lexicon(spaces[0]) if entry.seeds is None else None
    mapping = fit(*spaces, lexicon, method=method)
    assert mapping.method == method
    assert _accuracy(spaces, mapping) > 0.9


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_row_of_the_table_is_whole(method: str) -> None:
    entry = METHODS[method]
    parameters = inspect.signature(entry.load()).parameters
    assert set(entry.settings) <= set(parameters)
    positional = [p for p in parameters.values() if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    assert len(positional) == (3 if entry.pairs else 2)
    assert entry.summary
    assert entry.paper


def test_what_fits_no_method_is_refused(spaces: tuple[WordVectors, WordVectors]) -> None:
    with pytest.raises(UsageError, match="unknown mapping method"):
        fit(*spaces, method="no-such")
    with pytest.raises(UsageError, match="no such setting"):
        fit(*spaces, _lexicon(spaces[0]), method="procrustes", settings={"ridge": 1})
    with pytest.raises(InputError, match="needs a lexicon"):
        fit(*spaces, method="procrustes")
    with (
        pytest.raises(InputError, match="no pair has both words"),
        pytest.warns(UserWarning, match="1 of 1 pairs"),
    ):
        fit(*spaces, Lexicon((("a", "b"),)), method="procrustes")
    with pytest.raises(UsageError, match="unknown kind of seeds"):
        seed_pairs(*spaces, "dreams")


def test_seeds_are_made_from_strings(spaces: tuple[WordVectors, WordVectors]) -> None:
    src, tgt = spaces
    for kind, n in (("identical", N // 5), ("numerals", N // 10)):
        rows = seed_pairs(src, tgt, kind)
        assert len(rows) == n
        assert all(src.words[i] == tgt.words[j] for i, j in rows)
    assert _accuracy(spaces, fit(*spaces, method="procrustes", seeds="identical")) > 0.9


def test_texts_become_settings_and_steps() -> None:
    assert parse_settings(["ridge=auto", "src-exponent=0.25", "n=3", "flag=true"]) == {
        "ridge": "auto",
        "src_exponent": 0.25,
        "n": 3,
        "flag": True,
    }
    assert parse_steps("auto") is None
    assert parse_steps("none") == ()
    assert parse_steps("iterative") == ITERATIVE
    assert parse_steps("unit, centre") == ("unit", "centre")


@pytest.mark.data
@pytest.mark.parametrize(
    ("method", "recorded"),
    [
        ("vecmap", "vecmap_supervised"),
        ("vecmap-aaai2018", "vecmap_aaai2018"),
        ("vecmap-emnlp2016", "vecmap_orthogonal"),
        ("proc-b", "procb"),
    ],
)
def test_presets_give_what_their_tools_give(shared_golden: Path, method: str, recorded: str) -> None:
    folder = shared_golden / "bli" / "small"
    src, tgt = (
        WordVectors(
            tuple((folder / f"{code}.words.txt").read_text().split()), np.load(folder / f"{code}.npy")
        )
        for code in ("en", "es")
    )
    rows = np.load(folder / "train_ids.npy")
    mapping = fit(src, tgt, Lexicon(tuple((src.words[i], tgt.words[j]) for i, j in rows)), method=method)
    A = np.load(folder / f"{recorded}.src.npy")
    B = np.load(folder / f"{recorded}.tgt.npy") if method != "proc-b" else tgt.matrix
    ours = mapping.map_src(src.matrix) @ mapping.map_tgt(tgt.matrix).T
    np.testing.assert_allclose(ours, A @ B.T, atol=1e-4 * np.abs(A @ B.T).max())
