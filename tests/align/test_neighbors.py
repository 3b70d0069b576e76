from __future__ import annotations

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from align.errors import InputError, UsageError
from align.neighbors import exact as module
from align.neighbors import top_k, top_k_reference
from align.normalize import unit


def assert_same(found, expected):
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.scores, expected.scores)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 70), st.integers(1, 300), st.integers(1, 20), st.integers(1, 60), st.integers(0, 2**32 - 1)
)
def test_integer_vectors_with_ties_give_the_reference(n_queries, n_candidates, dim, k, seed):
    rng = np.random.default_rng(seed)
    queries = rng.integers(-1, 2, (n_queries, dim))
    candidates = rng.integers(-1, 2, (n_candidates, dim))
    found = top_k(queries, candidates, k, metric="inner")
    assert found.indices.shape == (n_queries, min(k, n_candidates))
    assert_same(found, top_k_reference(queries, candidates, k))


@pytest.mark.parametrize(
    ("n_queries", "n_candidates"), [(1, 1), (63, 64), (65, 129), (1025, 8193), (3, 20000)]
)
def test_shapes_around_the_blocks(n_queries, n_candidates):
    rng = np.random.default_rng(n_queries)
    queries, candidates = rng.integers(-2, 3, (n_queries, 5)), rng.integers(-2, 3, (n_candidates, 5))
    assert_same(top_k(queries, candidates, 10, metric="inner"), top_k_reference(queries, candidates, 10))


def test_all_candidates_equal():
    queries, candidates = np.ones((4, 3)), np.ones((9000, 3))
    np.testing.assert_array_equal(top_k(queries, candidates, 30).indices, np.tile(np.arange(30), (4, 1)))


def test_rising_scores_defeat_every_early_floor():
    candidates = np.arange(20000, dtype=np.float32)[:, None]
    found = top_k(np.ones((2, 1)), candidates, 7, metric="inner")
    np.testing.assert_array_equal(found.indices, np.tile(np.arange(19999, 19992, -1), (2, 1)))


def test_near_ties_below_float32_are_ordered_exactly():
    rng = np.random.default_rng(3)
    query = rng.standard_normal(300).astype(np.float32)
    # copies that differ in one unit of the last place of one component: no float32 product tells them apart
    candidates = np.tile(query, (500, 1))
    places = rng.permutation(500)
    for row, place in enumerate(places):
        for _ in range(place + 1):
            candidates[row, 7] = np.nextafter(candidates[row, 7], np.float32(np.inf) * query[7])
    found = top_k(query[None], candidates, 20, metric="inner")
    np.testing.assert_array_equal(places[found.indices[0]], np.arange(499, 479, -1))


def test_random_vectors_agree_with_float64():
    rng = np.random.default_rng(4)
    queries = rng.standard_normal((300, 50)).astype(np.float32)
    candidates = rng.standard_normal((5000, 50)).astype(np.float32)
    assert_same(top_k(queries, candidates, 10), top_k_reference(unit(queries), unit(candidates), 10))


def test_the_answer_does_not_depend_on_threads_or_blocks(monkeypatch):
    rng = np.random.default_rng(5)
    queries = rng.standard_normal((200, 64)).astype(np.float32)
    candidates = np.repeat(rng.standard_normal((700, 64)).astype(np.float32), 3, axis=0)
    first = top_k(queries, candidates, 10)
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            assert_same(top_k(queries, candidates, 10), first)
    finally:
        numba.set_num_threads(threads)
    monkeypatch.setattr(module, "_QUERY_BLOCK", 7)
    monkeypatch.setattr(module, "_CANDIDATE_BLOCK", 130)
    assert_same(top_k(queries, candidates, 10), first)


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e15])
def test_scale_of_the_vectors_does_not_matter(scale):
    rng = np.random.default_rng(6)
    queries, candidates = rng.integers(-3, 4, (20, 6)), rng.integers(-3, 4, (300, 6))
    expected = top_k_reference(queries, candidates, 10)
    found = top_k(queries * np.float32(scale), candidates.astype(np.float32), 10, metric="inner")
    np.testing.assert_allclose(found.scores, expected.scores * scale, rtol=1e-6)


def test_zero_rows_have_cosine_zero():
    found = top_k(np.zeros((1, 2)), np.array([[1.0, 0.0], [0.0, 0.0]]), 2)
    np.testing.assert_array_equal(found.indices, [[0, 1]])
    np.testing.assert_array_equal(found.scores, [[0, 0]])


def test_no_queries():
    assert top_k(np.ones((0, 2)), np.ones((3, 2)), 2).indices.shape == (0, 2)


def test_bad_input():
    good = np.ones((2, 3))
    with pytest.raises(InputError, match="differ in width"):
        top_k(good, np.ones((2, 4)))
    with pytest.raises(InputError, match="no candidates"):
        top_k(good, np.ones((0, 3)))
    for bad in (np.nan, np.inf):
        with pytest.raises(InputError, match="NaN or infinity"):
            top_k(good, np.full((2, 3), bad), metric="inner")
    with pytest.raises(InputError, match="exceed float32"):
        top_k(good * 1e25, good * 1e25, metric="inner")
    with pytest.raises(UsageError, match="k is not positive"):
        top_k(good, good, 0)
    with pytest.raises(UsageError, match="metric"):
        top_k(good, good, metric="euclid")  # type: ignore[arg-type]
