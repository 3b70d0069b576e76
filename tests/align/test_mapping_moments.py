from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from align.errors import InputError
from align.mapping import cross_moment, pair_moments


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(1, 9), st.booleans())
def test_equal_to_the_sums_written_out(seed, n_pairs, n_words, weighted):
    rng = np.random.default_rng(seed)
    X, Y = rng.standard_normal((n_words, 3)), rng.standard_normal((7, 5))
    pairs = rng.integers(0, (n_words, 7), (n_pairs, 2))
    weights = rng.integers(0, 3, n_pairs) + (np.arange(n_pairs) == 0) if weighted else None
    w = np.ones(n_pairs) if weights is None else weights
    x, y = X[pairs[:, 0]], Y[pairs[:, 1]]
    moments = pair_moments(X, Y, pairs, weights=weights)
    np.testing.assert_allclose(moments.xx, (x.T * w) @ x, atol=1e-12)
    np.testing.assert_allclose(moments.xy, (x.T * w) @ y, atol=1e-12)
    np.testing.assert_allclose(moments.yy, (y.T * w) @ y, atol=1e-12)
    np.testing.assert_array_equal(cross_moment(X, Y, pairs, weights=weights), moments.xy)
    assert moments.n_pairs == n_pairs


def test_many_blocks_of_float32_and_any_number_of_threads():
    rng = np.random.default_rng(0)
    X, Y = (rng.standard_normal((6000, d), dtype=np.float32) for d in (40, 30))
    pairs = rng.integers(0, 6000, (15_000, 2))
    moments = pair_moments(X, Y, pairs)
    x, y = X[pairs[:, 0]].astype(np.float64), Y[pairs[:, 1]].astype(np.float64)
    np.testing.assert_allclose(moments.xy, x.T @ y, atol=1e-9)
    np.testing.assert_allclose(moments.yy, y.T @ y, atol=1e-9)
    with threadpool_limits(1, user_api="blas"):
        again = pair_moments(X, Y, pairs)
    for name in ("xx", "xy", "yy"):
        np.testing.assert_array_equal(getattr(moments, name), getattr(again, name))


@pytest.mark.parametrize(
    ("pairs", "weights", "message"),
    [
        (np.array([[0, 3]]), None, "outside the spaces"),
        (np.array([[-1, 0]]), None, "outside the spaces"),
        (np.array([[0.0, 1.0]]), None, "no pairs of rows"),
        (np.array([0, 1]), None, "no pairs of rows"),
        (np.zeros((0, 2), int), None, "nothing to align"),
        (np.array([[0, 1]]), np.zeros(1), "weights"),
        (np.array([[0, 1]]), np.array([np.nan]), "weights"),
    ],
)
def test_bad_pairs(pairs, weights, message):
    with pytest.raises(InputError, match=message):
        pair_moments(np.ones((3, 2)), np.ones((3, 2)), pairs, weights=weights)


def test_bad_vectors():
    bad = np.array([[1.0, np.inf]])
    with pytest.raises(InputError, match="NaN or infinity"):
        cross_moment(bad, np.ones((1, 2)), np.array([[0, 0]]))
    with pytest.raises(InputError, match="no spaces"):
        cross_moment(np.ones(3), np.ones((1, 2)), np.array([[0, 0]]))
