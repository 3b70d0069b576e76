from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from align.errors import InputError, OutputError, UsageError
from align.induction import Translations, induce
from align.lexicon import read_lexicon
from align.mapping import BilingualMap
from align.normalize import unit
from align.vectors import WordVectors


def spaces(n=300, dim=40, noise=0.3, seed=0):
    """A target space, and a source space in another order whose word ``s7`` is a noisy, rotated ``t7``."""
    rng = np.random.default_rng(seed)
    Y = rng.standard_normal((n, dim))
    W = np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    X = (Y + noise * rng.standard_normal(Y.shape)) @ W.T
    order = rng.permutation(n)
    src = WordVectors(tuple(f"s{i}" for i in order), X[order], np.arange(n, 0, -1))
    return src, WordVectors(tuple(f"t{i}" for i in range(n)), Y), BilingualMap(W, None, "planted", n)


def csls_reference(X, Y, Q, neighborhood):
    X, Y, Q = unit(X.astype(np.float64)), unit(Y.astype(np.float64)), unit(Q.astype(np.float64))
    src_density = np.sort(Q @ Y.T, axis=1)[:, -neighborhood:].mean(axis=1)
    tgt_density = np.sort(Y @ X.T, axis=1)[:, -neighborhood:].mean(axis=1)
    return 2 * Q @ Y.T - src_density[:, None] - tgt_density


@pytest.mark.parametrize("retrieval", ["nn", "csls", "isf", "invnn"])
def test_a_planted_rotation_is_found_by_every_criterion(retrieval):
    src, tgt, mapping = spaces()
    found = induce(src, tgt, mapping, retrieval=retrieval, top=3)
    assert found.src_words == src.words
    assert found.indices.shape == (300, 3)
    right = [tgt.words[i][1:] == word[1:] for word, i in zip(src.words, found.indices[:, 0], strict=True)]
    assert np.mean(right) > 0.97
    back = [tgt.words[i][1:] == w[1:] for w, i in zip(src.words, induce(src, tgt).indices[:, 0], strict=True)]
    assert np.mean(back) < 0.1  # the map is used


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 12), st.integers(1, 20))
def test_csls_is_the_plain_formula_over_all_words_of_both_sides(seed, top, neighborhood):
    src, tgt, mapping = spaces(n=60, dim=8, noise=1.0, seed=seed)
    queries = list(src.words[5:30])
    found = induce(src, tgt, mapping, queries=queries, top=top, neighborhood=neighborhood)
    X = mapping.map_src(src.matrix)
    expected = csls_reference(X, tgt.matrix, X[5:30], neighborhood)
    order = np.argsort(-expected, axis=1, kind="stable")[:, :top]
    np.testing.assert_array_equal(found.indices, order)
    np.testing.assert_allclose(found.scores, np.take_along_axis(expected, order, axis=1), atol=1e-6)
    assert (found.retrieval, found.method, found.n_candidates) == ("csls", "planted", 60)


def test_limits_cut_both_vocabularies():
    src, tgt, mapping = spaces()
    found = induce(src, tgt, mapping, src_limit=50, tgt_limit=80, top=2)
    assert found.src_words == src.words[:50]
    assert found.n_candidates == 80
    X, Y = mapping.map_src(src.matrix[:50]), tgt.matrix[:80]
    np.testing.assert_array_equal(
        found.indices, np.argsort(-csls_reference(X, Y, X, 10), axis=1, kind="stable")[:, :2]
    )
    cut = induce(src, tgt, mapping, src_limit=50, queries=src.words[49:51])
    np.testing.assert_array_equal(cut.known, [True, False])


def test_candidates_as_words_and_as_flags_agree_and_densities_are_theirs():
    src, tgt, mapping = spaces()
    mask = np.arange(300) % 3 == 0
    by_flags = induce(src, tgt, mapping, candidates=mask, top=4)
    by_words = induce(src, tgt, mapping, candidates=[tgt.words[i] for i in np.flatnonzero(mask)], top=4)
    np.testing.assert_array_equal(by_flags.indices, by_words.indices)
    X = mapping.map_src(src.matrix)
    expected = np.argsort(-csls_reference(X, tgt.matrix[mask], X, 10), axis=1, kind="stable")[:, :4]
    np.testing.assert_array_equal(by_flags.indices, np.flatnonzero(mask)[expected])
    assert by_flags.n_candidates == 100
    with pytest.warns(UserWarning, match="1 of 2 candidates are not in the target vocabulary"):
        assert induce(src, tgt, mapping, candidates=["t1", "absent"]).n_candidates == 1


def test_words_of_another_script_are_no_candidates_if_asked():
    rng = np.random.default_rng(1)
    words = ("ගස", "hub", "ගල", "2021", "අත", "dog")
    tgt = WordVectors(words, rng.standard_normal((6, 4)))
    src = WordVectors(("a", "b"), tgt.matrix[[1, 3]])
    assert [t for _, t in induce(src, tgt, retrieval="nn").lexicon()] == ["hub", "2021"]
    found = induce(src, tgt, retrieval="nn", script="auto")
    assert (found.n_candidates, found.n_other_script) == (4, 2)
    assert found.of("b")[0][0] == "2021"
    assert found.of("a")[0][0] != "hub"
    assert induce(src, tgt, retrieval="nn", script="latin").n_candidates == 3


def test_unknown_queries_have_no_translation_and_subwords_make_them_known():
    src, tgt, mapping = spaces()
    found = induce(src, tgt, mapping, queries=["s1", "x", "s1", "s2"], top=2)
    assert found.src_words == ("s1", "x", "s2")
    np.testing.assert_array_equal(found.known, [True, False, True])
    assert found.of("x") == []
    np.testing.assert_array_equal(found.indices[1], [-1, -1])
    with pytest.raises(InputError, match="not among the queries"):
        found.of("s9")
    for retrieval in ("nn", "csls", "isf", "invnn"):
        whole = induce(src, tgt, mapping, queries=["s1", "s2"], retrieval=retrieval)
        part = WordVectors(src.words[:200], src.matrix[:200], subword=src)
        missing = src.words[250]
        other = induce(part, tgt, mapping, queries=["absent", missing, src.words[3]], retrieval=retrieval)
        np.testing.assert_array_equal(other.known, [False, True, True])
        assert [other.of(w)[0][0][1:] for w in other.src_words[1:]] == [missing[1:], src.words[3][1:]]
        assert len(whole) == 2


@pytest.mark.parametrize("retrieval", ["nn", "csls"])
def test_mutual_translations_are_those_found_from_both_sides(retrieval):
    src, tgt, mapping = spaces(noise=1.5, dim=15)
    inverse = BilingualMap(mapping.src_matrix.T, None, "back", 300)
    forward = induce(src, tgt, mapping, retrieval=retrieval, top=3)
    backward = induce(tgt, src, inverse, retrieval=retrieval)
    best = backward.indices[:, 0]
    expected = [
        (word, tgt.words[i])
        for row, word in enumerate(src.words)
        for i in forward.indices[row]
        if best[i] == row
    ]
    found = induce(src, tgt, mapping, retrieval=retrieval, top=3, mutual=True)
    assert list(found.lexicon()) == expected
    assert 30 < len(expected) < 300  # some are, some are not
    assert any(backward.indices[i, 0] == row for row, i in enumerate(forward.indices[:, 1]))
    some = induce(src, tgt, mapping, retrieval=retrieval, top=3, mutual=True, queries=src.words[:40])
    assert list(some.lexicon()) == [pair for pair in expected if pair[0] in set(src.words[:40])]


def test_a_threshold_drops_weak_translations():
    src, tgt, mapping = spaces(noise=1.0)
    free = induce(src, tgt, mapping, retrieval="nn", top=5)
    least = float(np.median(free.scores))
    found = induce(src, tgt, mapping, retrieval="nn", top=5, min_score=least)
    np.testing.assert_array_equal(found.indices >= 0, free.scores >= least)
    assert np.isneginf(found.scores[found.indices < 0]).all()
    assert found.known.all()


def test_a_saved_table_is_a_lexicon_again(tmp_path):
    src, tgt, mapping = spaces(n=20)
    found = induce(src, tgt, mapping, top=3)
    found.save(tmp_path / "lexicon.tsv")
    assert read_lexicon(tmp_path / "lexicon.tsv") == found.lexicon()
    first = (tmp_path / "lexicon.tsv").read_text(encoding="utf-8").split("\n")[1].split("\t")
    assert first[:2] == [src.words[0], found.of(src.words[0])[1][0]]
    assert float(first[2]) == pytest.approx(found.scores[0, 1], rel=1e-5)
    assert first[3] == "2"
    with pytest.raises(OutputError, match="cannot be written"):
        found.save(tmp_path / "absent" / "lexicon.tsv")
    odd = Translations(("a\tb",), ("c",), np.array([[0]]), np.array([[1.0]]), np.array([True]), "m", "nn", 1)
    with pytest.raises(InputError, match="no tabs"):
        odd.save(tmp_path / "odd.tsv")


def test_bad_input():
    src, tgt, mapping = spaces(n=20)
    with pytest.raises(InputError, match="different width"):
        induce(src, WordVectors(("a",), np.ones((1, 3))))
    with pytest.raises(UsageError, match="must be positive"):
        induce(src, tgt, mapping, top=0)
    with pytest.raises(UsageError, match="unknown retrieval"):
        induce(src, tgt, mapping, retrieval="best")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no candidates are left"):
        induce(src, tgt, mapping, candidates=np.zeros(20, bool))
    with pytest.raises(InputError, match="one candidate flag"):
        induce(src, tgt, mapping, candidates=np.ones(19, bool))
    good = {
        "src_words": ("a",),
        "tgt_words": ("b",),
        "indices": np.array([[0]]),
        "scores": np.ones((1, 1)),
        "known": np.array([True]),
        "method": "m",
        "retrieval": "nn",
        "n_candidates": 1,
    }
    for change, match in [
        ({"indices": np.array([[1]])}, "outside the target vocabulary"),
        ({"scores": np.ones((1, 2))}, "differ in shape"),
        ({"known": np.array([True, True])}, "known does not fit"),
        (
            {
                "src_words": ("a", "a"),
                "indices": np.zeros((2, 1), int),
                "scores": np.ones((2, 1)),
                "known": np.ones(2, bool),
            },
            "occurs twice",
        ),
    ]:
        with pytest.raises(InputError, match=match):
            Translations(**{**good, **change})
