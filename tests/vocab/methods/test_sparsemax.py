from __future__ import annotations

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from align.errors import InputError, UsageError
from align.normalize import unit
from vocab.methods import sparsemax as module
from vocab.methods.sparsemax import sparsemax_mix, sparsemax_reference


def scores_of(queries, anchors):
    return queries.astype(np.float32).astype(np.float64) @ anchors.astype(np.float32).astype(np.float64).T


def test_the_reference_is_the_projection_onto_the_simplex():
    rng = np.random.default_rng(0)
    z = rng.standard_normal((50, 9))
    p = sparsemax_reference(z)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert (p >= 0).all()
    # the projection is the nearest point: no corner lies in its direction (p - z).(q - p) >= 0
    assert (((p - z)[:, None, :] * (np.eye(9)[None] - p[:, None, :])).sum(axis=2) > -1e-12).all()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 400),
    st.integers(1, 12),
    st.sampled_from([0.01, 0.3, 1.0, 4.0]),
    st.sampled_from([0.05, 1.0, 3.0]),
    st.integers(0, 2**32 - 1),
)
def test_equals_the_reference(n_queries, n_anchors, dim, spread, temperature, seed):
    """From a handful of anchors in the support to all of them."""
    rng = np.random.default_rng(seed)
    centre = rng.standard_normal(dim)
    queries = unit(centre + spread * rng.standard_normal((n_queries, dim)))
    anchors = unit(centre + spread * rng.standard_normal((n_anchors, dim)))
    found = sparsemax_mix(queries, anchors, temperature=temperature)
    expected = sparsemax_reference(scores_of(queries, anchors) / temperature)
    np.testing.assert_allclose(found.toarray(), expected, atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)
    assert found.has_canonical_format
    assert (found.data > 0).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 150), st.integers(0, 2**32 - 1))
def test_ties_share_their_weight(n_anchors, seed):
    rng = np.random.default_rng(seed)
    queries, anchors = rng.integers(-1, 2, (5, 3)), rng.integers(-1, 2, (n_anchors, 3))
    expected = sparsemax_reference(queries @ anchors.T)
    np.testing.assert_allclose(sparsemax_mix(queries, anchors).toarray(), expected, atol=1e-7)


def test_shapes_around_the_blocks(monkeypatch):
    rng = np.random.default_rng(1)
    queries, anchors = unit(rng.standard_normal((300, 6))), unit(rng.standard_normal((129, 6)))
    whole = sparsemax_mix(queries, anchors)
    monkeypatch.setattr(module, "_BLOCK_ENTRIES", 129 * 7)
    parts = sparsemax_mix(queries, anchors)
    np.testing.assert_array_equal(parts.toarray(), whole.toarray())
    np.testing.assert_array_equal(parts.indptr, whole.indptr)


def test_the_same_bits_for_any_number_of_threads():
    rng = np.random.default_rng(2)
    queries = unit(rng.standard_normal((257, 48)).astype(np.float32))
    # repeated anchors: many scores on either side of the threshold are equal
    anchors = np.repeat(unit(rng.standard_normal((900, 48)).astype(np.float32)), 2, axis=0)
    first = sparsemax_mix(queries, anchors)
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            second = sparsemax_mix(queries, anchors)
    finally:
        numba.set_num_threads(threads)
    for part in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(first, part), getattr(second, part))


def test_nothing_and_one():
    assert sparsemax_mix(np.ones((3, 2)), np.empty((0, 2))).shape == (3, 0)
    assert sparsemax_mix(np.empty((0, 2)), np.ones((3, 2))).shape == (0, 3)
    np.testing.assert_array_equal(sparsemax_mix(np.ones((3, 2)), -np.ones((1, 2))).toarray(), np.ones((3, 1)))
    np.testing.assert_allclose(
        sparsemax_mix(np.zeros((1, 2)), np.ones((4, 2))).toarray(), np.full((1, 4), 0.25)
    )


def test_bad_input():
    with pytest.raises(InputError, match="differ in width"):
        sparsemax_mix(np.ones((1, 2)), np.ones((1, 3)))
    with pytest.raises(InputError, match="NaN or infinity"):
        sparsemax_mix(np.ones((1, 2)), np.full((1, 2), np.nan))
    with pytest.raises(UsageError, match="must be positive"):
        sparsemax_mix(np.ones((1, 2)), np.ones((1, 2)), temperature=0)
