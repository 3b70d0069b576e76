"""Likeness of spellings and learned letter correspondences."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from align.errors import InputError
from align.induction.correspondences import (
    CognateScorer,
    Correspondences,
    learn_correspondences,
    letter_model,
)
from align.induction.strings import ngram_vectors, spellings

SRC = ("nation", "station", "hound", "the", "b", "ñandú", "aaaa")
TGT = ("nación", "estación", "hund", "nation", "der", "x", "aa")


def _edit_distance(a: str, b: str) -> int:
    if not a or not b:
        return len(a) + len(b)
    return min(
        _edit_distance(a[1:], b) + 1,
        _edit_distance(a, b[1:]) + 1,
        _edit_distance(a[1:], b[1:]) + (a[0] != b[0]),
    )


@settings(max_examples=40, deadline=None)
@given(st.text("abc", min_size=1, max_size=5), st.text("abc", min_size=1, max_size=5))
def test_likeness_is_that_of_the_definitions(a: str, b: str) -> None:
    edits, prefix, suffix = spellings([a], [b]).likeness(np.array([0]), np.array([0]))[0]
    longer = max(len(a), len(b))
    n_prefix = max(n for n in range(min(len(a), len(b)) + 1) if a[:n] == b[:n])
    n_suffix = max(n for n in range(min(len(a), len(b)) + 1) if a[len(a) - n :] == b[len(b) - n :])
    np.testing.assert_allclose(
        [edits, prefix, suffix],
        [1 - _edit_distance(a, b) / longer, n_prefix / longer, n_suffix / longer],
        1e-6,
    )


def _dense_cosines() -> np.ndarray:
    """Plain Python: counts of n-grams, weights by rarity, cosines."""
    words = SRC + TGT
    grams = [
        [w[i : i + n] for n in (2, 3, 4) for i in range(len(w) - n + 1)]
        for w in ("^" + w + "$" for w in words)
    ]
    every = sorted({g for row in grams for g in row})
    weight = {g: np.log((1 + len(words)) / (1 + sum(g in row for row in grams))) + 1 for g in every}
    table = np.array([[row.count(g) * weight[g] for g in every] for row in grams])
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    return table[: len(SRC)] @ table[len(SRC) :].T


def test_ngram_cosines_and_neighbours_are_those_of_the_definition() -> None:
    vectors, wanted = ngram_vectors(spellings(SRC, TGT)), _dense_cosines()
    rows, columns = np.divmod(np.arange(wanted.size), len(TGT))
    np.testing.assert_allclose(vectors.cosines(rows, columns).reshape(wanted.shape), wanted, atol=1e-6)
    found = vectors.nearest(np.arange(len(SRC)), 3)
    for row in range(len(SRC)):
        order = [j for j in np.argsort(-wanted[row], kind="stable") if wanted[row, j] > 0][:3]
        assert [j for j in found.indices[row] if j >= 0] == order
        np.testing.assert_allclose(found.scores[row, : len(order)], wanted[row, order], atol=1e-6)
    assert (found.indices[SRC.index("b")] == -1).all()


def test_long_words_and_other_scripts_pass() -> None:
    vectors = ngram_vectors(spellings(["z" * 500, "вода"], ["y" * 90, "水"]))
    assert (vectors.nearest(np.array([0, 1]), 2).indices == -1).all()


def _ways(src: str, tgt: str, model: Correspondences) -> float:
    """Sum over all ways to cut a pair into units, by brute force."""
    if not src and not tgt:
        return 1.0
    total = 0.0
    for a, b in product(range(min(3, len(src)) + 1), range(min(3, len(tgt)) + 1)):
        if (a == 0 and b != 1) or (b == 0 and a != 1):
            continue
        left, right = src[:a], tgt[:b]
        if left in model.src_groups and right in model.tgt_groups:
            p = model.probabilities[model.src_groups.index(left), model.tgt_groups.index(right)]
            total += p * _ways(src[a:], tgt[b:], model) if p else 0.0
    return total


def _cognates(rng: np.random.Generator, n: int) -> tuple[list[str], list[str], np.ndarray]:
    """Words, counterparts with "v" for "f" and "ung" for "tion" at the end, and which are such."""
    letters = list("aeioubdfghlmnprst")
    src = ["".join(rng.choice(letters, rng.integers(4, 8))) for _ in range(n)]
    src = [w + "tion" if rng.random() < 0.4 else w for w in dict.fromkeys(src)]
    is_cognate = rng.random(len(src)) < 0.6
    tgt = []
    for word, cognate in zip(src, is_cognate, strict=True):
        stem, end = (word[:-4], "ung") if word.endswith("tion") else (word, "")
        made = stem.replace("f", "v") + end
        if rng.random() < 0.2:  # noise
            made = made[:2] + rng.choice(letters) + made[3:]
        tgt.append(made if cognate else "".join(rng.choice(letters, rng.integers(4, 10))))
    return src, tgt, is_cognate


def test_units_are_learned_and_tell_cognates_of_new_words() -> None:
    rng = np.random.default_rng(0)
    src, tgt, is_cognate = _cognates(rng, 900)
    letters = letter_model(src, tgt)
    places = np.arange(len(src))
    pairs = np.stack([places, places], axis=1)
    model = learn_correspondences(letters, pairs[:600])
    assert abs(model.share - is_cognate[:600].mean()) < 0.1
    assert model.history[-1] > model.history[0]
    units = {(a, b) for a, b, _ in model.top(40)}
    assert ("f", "v") in units
    assert any(a.startswith("t") and b.startswith("u") for a, b in units)  # of -tion and -ung
    np.testing.assert_allclose(model.probabilities.sum(), 1.0)
    odds = CognateScorer(model, letters)(places[600:], places[600:])
    agree = (odds > 0) == is_cognate[600:]
    assert agree.mean() > 0.9
    wrong = CognateScorer(model, letters)(places[600:], rng.permutation(places[600:]))
    assert (wrong < 0).mean() > 0.95


def test_scores_sum_over_all_ways_to_cut() -> None:
    src, tgt, _ = _cognates(np.random.default_rng(1), 200)
    letters = letter_model(src, tgt)
    places = np.arange(len(src))
    model = learn_correspondences(letters, np.stack([places, places], axis=1), n_iter=3)
    # enumeration takes time that grows exponentially with length
    for i in sorted(range(len(src)), key=lambda n: len(src[n]) + len(tgt[n]))[:3]:
        wanted = (
            np.log(_ways(f"^{src[i]}$", f"^{tgt[i]}$", model)) - letters.src_logs[i] - letters.tgt_logs[i]
        )
        wanted += np.log(model.share / (1 - model.share))
        got = CognateScorer(model, letters)(places[i : i + 1], places[i : i + 1])
        np.testing.assert_allclose(got, np.clip(wanted, -30, 30), rtol=1e-5)


def test_weights_count_as_repetitions() -> None:
    src, tgt, _ = _cognates(np.random.default_rng(2), 150)
    letters = letter_model(src, tgt)
    places = np.arange(len(src))
    pairs = np.stack([places, places], axis=1)
    weights = np.random.default_rng(3).integers(1, 3, len(src))
    weighted = learn_correspondences(letters, pairs, weights=weights, n_iter=2)
    assert weighted.share != learn_correspondences(letters, pairs, n_iter=2).share
    zero = np.ones(len(src))
    zero[:20] = 0  # groups are counted without weights; probabilities are not
    assert learn_correspondences(letters, pairs, weights=zero, n_iter=2).probabilities.sum() == pytest.approx(
        1
    )


def test_nothing_to_learn_from() -> None:
    with pytest.raises(InputError, match="nothing to learn"):
        learn_correspondences(letter_model(["a"], ["b"]), np.empty((0, 2), np.int64))
