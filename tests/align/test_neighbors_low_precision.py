from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from align.neighbors import exact, low_precision, top_k, top_k_reference
from align.neighbors.kernels import dot
from align.neighbors.low_precision import score_pending
from align.neighbors.rounding import pack, product_error
from align.neighbors.vnni import available
from align.normalize import unit

needs_instructions = pytest.mark.skipif(not available(), reason="no AVX-512 VNNI on this processor")


@pytest.fixture
def rounded(monkeypatch):
    """Every search goes through 8 bits; how many blocks were answered so, and how many given up."""
    answers = []
    searcher = low_precision.searcher

    def counted(*arguments):
        search = searcher(*arguments)

        def count(rows):
            answers.append(search(rows))
            return answers[-1]

        return count

    monkeypatch.setattr(low_precision, "searcher", counted)
    monkeypatch.setattr(low_precision, "pays", lambda Q, C: True)
    return answers


def assert_same(found, expected):
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.scores, expected.scores)


@needs_instructions
@settings(max_examples=80, deadline=None)
@given(
    st.integers(1, 30),
    st.integers(1, 400),
    st.integers(1, 40),
    st.integers(1, 60),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_integer_vectors_with_ties_give_the_reference(n_queries, n_candidates, dim, k, with_bias, seed):
    rng = np.random.default_rng(seed)
    queries = rng.integers(-3, 4, (n_queries, dim))
    candidates = rng.integers(-3, 4, (n_candidates, dim)) * rng.integers(1, 4, (n_candidates, 1))
    bias = rng.integers(-9, 10, n_candidates).astype(np.float32) if with_bias else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(low_precision, "pays", lambda Q, C: True)
        found = top_k(queries, candidates, k, metric="inner", bias=bias)
    assert_same(found, top_k_reference(queries, candidates, k, bias))


@needs_instructions
@pytest.mark.parametrize("n_queries", [1, 8, 9, 769])
@pytest.mark.parametrize("n_candidates", [48, 49, 3073])
@pytest.mark.parametrize("dim", [1, 4, 31, 65])
def test_shapes_around_the_tiles(rounded, n_queries, n_candidates, dim):
    rng = np.random.default_rng(dim)
    queries = rng.standard_normal((n_queries, dim)).astype(np.float32)
    candidates = rng.standard_normal((n_candidates, dim)).astype(np.float32)
    bias = rng.standard_normal(n_candidates).astype(np.float32)
    assert_same(
        top_k(queries, candidates, 10, metric="inner", bias=bias),
        top_k_reference(queries, candidates, 10, bias),
    )
    assert rounded


def test_a_float32_product_drops_nothing_that_is_among_the_best():
    """Products that cancel: float32 alone would put the candidates in another order."""
    rng = np.random.default_rng(0)
    query = (np.repeat(rng.standard_normal(150), 2) * np.tile([1, -1], 150)).astype(np.float32)
    candidates = (1000 + 1e-3 * rng.standard_normal((100, 300))).astype(np.float32)
    exact = np.array([dot(query, row) for row in candidates])
    k = 5

    def found(error: float) -> list[int]:
        best, best_ids = np.full(k, -np.inf), np.zeros(k, np.int64)
        score_pending(
            query,
            candidates,
            np.empty(0, np.float32),
            1.0,
            0.0,
            0.0,
            np.float32(-np.inf),
            np.arange(100, dtype=np.int32),
            np.full(100, np.inf, np.float32),
            best,
            best_ids,
            error,
        )
        return best_ids.tolist()

    wanted = np.argsort(-exact, kind="stable")[:k].tolist()
    assert found(product_error(candidates)) == wanted
    assert found(0.0) != wanted  # the bound is what does it


@needs_instructions
def test_thousands_of_near_ties(rounded):
    rng = np.random.default_rng(0)
    queries = unit(rng.standard_normal((3, 100)).astype(np.float32))
    near = np.repeat(queries, 4000, axis=0) + 1e-9 * rng.standard_normal((12000, 100))
    candidates = np.vstack([near, rng.standard_normal((80000, 100))])
    candidates = unit(candidates[rng.permutation(len(candidates))].astype(np.float32))
    scores = queries.astype(np.float64) @ candidates.astype(np.float64).T
    assert (scores > scores.max(axis=1, keepdims=True) - 1e-7).sum(axis=1).min() >= 4000
    found = top_k(queries, candidates, 50, metric="inner")
    assert all(rounded)
    # the order of float64 sums decides among equal float32 scores, so the reference adds up like the kernel
    for row in range(len(queries)):
        near = np.flatnonzero(scores[row] > scores[row].max() - 1e-6)
        exactly = np.array([dot(queries[row], candidates[n]) for n in near])
        order = np.lexsort((near, -exactly))[:50]
        np.testing.assert_array_equal(found.indices[row], near[order])
        np.testing.assert_array_equal(found.scores[row], exactly[order].astype(np.float32))


@needs_instructions
def test_near_ties_of_bias_and_product(rounded):
    rng = np.random.default_rng(1)
    queries = unit(rng.standard_normal((5, 100)).astype(np.float32))
    candidates = unit(rng.standard_normal((5000, 100)).astype(np.float32))
    # for the first query all scores are 0.5 up to the rounding of the bias
    bias = (0.5 - queries[0].astype(np.float64) @ candidates.T).astype(np.float32)
    found = top_k(queries, candidates, 20, metric="inner", bias=bias)
    expected = top_k_reference(queries, candidates, 20, bias)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.scores, expected.scores)


@needs_instructions
@pytest.mark.parametrize(
    "case", ["outlying dimension", "unequal lengths", "zero rows", "tiny", "common part"]
)
def test_awkward_vectors_give_the_reference(rounded, case):
    rng = np.random.default_rng(2)
    queries, candidates = rng.standard_normal((50, 40)), rng.standard_normal((3000, 40))
    if case == "outlying dimension":
        queries[:, 3] *= 1000
        candidates[:, 3] *= 1000
    elif case == "unequal lengths":
        queries *= 10.0 ** rng.integers(-6, 6, (50, 1))
        candidates *= 10.0 ** rng.integers(-6, 6, (3000, 1))
    elif case == "zero rows":
        queries[::3], candidates[::3] = 0, 0
    elif case == "tiny":
        queries, candidates = queries * 1e-30, candidates * 1e-12
    else:
        candidates += 50
    queries, candidates = queries.astype(np.float32), candidates.astype(np.float32)
    assert_same(top_k(queries, candidates, 7, metric="inner"), top_k_reference(queries, candidates, 7))
    assert rounded


@needs_instructions
def test_lengths_out_of_range_are_left_to_float32(rounded):
    rng = np.random.default_rng(3)
    queries, candidates = rng.integers(-3, 4, (20, 6)), rng.integers(-3, 4, (300, 6)).astype(np.float32)
    expected = top_k_reference(queries, candidates, 10)
    found = top_k(queries, candidates * np.float32(2.0**60), 10, metric="inner")
    assert rounded
    assert not any(rounded)
    np.testing.assert_array_equal(found.indices, expected.indices)


@needs_instructions
def test_too_many_near_candidates_are_left_to_float32(rounded):
    rng = np.random.default_rng(4)
    candidates = 1 + 1e-4 * rng.standard_normal((20000, 20)).astype(np.float32)
    queries = np.ones((100, 20), np.float32) + 0.1 * rng.standard_normal((100, 20)).astype(np.float32)
    assert_same(top_k(queries, candidates, 5, metric="inner"), top_k_reference(queries, candidates, 5))
    assert not all(rounded)


@needs_instructions
def test_both_ways_agree_on_word_like_vectors(rounded):
    rng = np.random.default_rng(5)
    centres = rng.standard_normal((100, 60))
    rows = centres[rng.integers(0, 100, 9000)] + 0.3 * rng.standard_normal((9000, 60)) + 0.5
    queries, candidates = unit(rows[:1000].astype(np.float32)), unit(rows.astype(np.float32))
    bias = (0.1 * rng.standard_normal(9000)).astype(np.float32)
    for given_bias in (None, bias):
        rounded.clear()
        found = top_k(queries, candidates, 10, bias=given_bias)
        assert all(rounded)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(low_precision, "pays", lambda Q, C: False)
            assert_same(found, top_k(queries, candidates, 10, bias=given_bias))


@pytest.mark.parametrize("dim", [3, 64])
def test_the_margin_covers_the_rounding(dim):
    rng = np.random.default_rng(6)
    rows = (rng.standard_normal((200, dim)) * 10.0 ** rng.integers(-3, 4, (200, 1))).astype(np.float32)
    rows[0] = 0
    with ThreadPoolExecutor(1) as pool:
        packed = pack(rows, pool)
    codes = packed.codes.transpose(0, 2, 1, 3).reshape(len(packed.scales), -1)[:200, :dim]
    near = (codes.astype(np.float64) - 128) * packed.scales[:200, None]
    residuals, lengths = packed.residuals[:200], packed.lengths[:200]
    np.testing.assert_allclose(np.linalg.norm(rows - near, axis=1), residuals, rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(near, axis=1), lengths, rtol=1e-6)
    error = np.abs(rows.astype(np.float64) @ rows.T.astype(np.float64) - near @ near.T)
    full = np.linalg.norm(rows.astype(np.float64), axis=1)
    bound = full[:, None] * residuals + residuals[:, None] * lengths
    assert (error <= bound * (1 + 1e-9)).all()
    assert np.isnan(packed.residuals[200:]).all()


@needs_instructions
def test_small_problems_do_not_pay():
    rows = np.ones((100, 10), np.float32)
    assert not low_precision.pays(rows, rows)
    assert low_precision._gain(2) > 0


def test_without_the_instructions_float32_answers(monkeypatch):
    monkeypatch.setattr(low_precision, "available", lambda: False)
    monkeypatch.setattr(low_precision, "_MIN_PRODUCTS", 1)
    rng = np.random.default_rng(7)
    rows = rng.integers(-2, 3, (200, 9))
    assert not low_precision.pays(rows.astype(np.float32), rows.astype(np.float32))
    assert_same(exact.top_k(rows, rows, 4, metric="inner"), top_k_reference(rows, rows, 4))
