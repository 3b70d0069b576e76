from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from align.errors import InputError, UsageError
from align.neighbors import (
    csls,
    csls_both,
    inverted_nearest,
    inverted_softmax,
    mean_top_k,
    mean_top_k_both,
    mutual,
    retrieve,
    top_k,
    top_k_reference,
)
from align.normalize import unit


def spaces(seed, n_src=60, n_tgt=83, dim=7):
    rng = np.random.default_rng(seed)
    return (
        rng.standard_normal((n_src, dim)).astype(np.float32),
        rng.standard_normal((n_tgt, dim)).astype(np.float32),
    )


def cosines(X, Y):
    return unit(X).astype(np.float64) @ unit(Y).astype(np.float64).T


def largest(scores, k):
    return np.sort(scores, axis=1)[:, ::-1][:, :k]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 40), st.integers(1, 700), st.integers(1, 12), st.integers(1, 30), st.integers(0, 2**32 - 1)
)
def test_bias_with_ties_gives_the_reference(n_queries, n_candidates, dim, k, seed):
    rng = np.random.default_rng(seed)
    queries = rng.integers(-1, 2, (n_queries, dim))
    candidates = rng.integers(-1, 2, (n_candidates, dim))
    bias = rng.integers(-2, 3, n_candidates).astype(np.float32)
    found = top_k(queries, candidates, k, metric="inner", bias=bias)
    expected = top_k_reference(queries, candidates, k, bias)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.scores, expected.scores)


def test_a_bias_smaller_than_float32_can_show_still_orders():
    candidates = np.ones((600, 4), np.float32)
    order = np.random.default_rng(0).permutation(600)
    bias = (order * 1e-9).astype(np.float32)  # 4 + 6e-7 is 4 in float32
    found = top_k(np.ones((1, 4)), candidates, 5, metric="inner", bias=bias)
    np.testing.assert_array_equal(order[found.indices[0]], [599, 598, 597, 596, 595])


def test_density_is_the_mean_of_the_nearest():
    X, Y = spaces(1)
    np.testing.assert_allclose(mean_top_k(X, Y, 10), largest(cosines(X, Y), 10).mean(axis=1), rtol=1e-6)
    np.testing.assert_allclose(mean_top_k(X, Y[:4], 10), cosines(X, Y[:4]).mean(axis=1), atol=1e-6)


def test_csls_is_its_formula():
    X, Y = spaces(2)
    cos = cosines(X, Y)
    r_tgt, r_src = largest(cos, 5).mean(axis=1), largest(cos.T, 5).mean(axis=1)
    scores = 2 * cos - r_tgt[:, None] - r_src
    found = csls(X, Y, 4, neighborhood=5)
    np.testing.assert_array_equal(found.indices, np.argsort(-scores, axis=1)[:, :4])
    np.testing.assert_allclose(found.scores, largest(scores, 4), atol=1e-6)


def test_csls_of_some_rows_is_that_of_the_whole_space():
    X, Y = spaces(3)
    whole, rows = csls(X, Y, 3), np.array([5, 2, 40])
    some = csls(X[rows], Y, 3, src_space=X)
    given = csls(X[rows], Y, 3, src_density=mean_top_k(X[rows], Y), tgt_density=mean_top_k(Y, X))
    for found in (some, given):
        np.testing.assert_array_equal(found.indices, whole.indices[rows])
        np.testing.assert_array_equal(found.scores, whole.scores[rows])
    assert (csls(X[rows], Y, 3).indices != some.indices).any()


def test_both_ways_are_each_way():
    X, Y = spaces(10)
    for found, expected in zip(
        mean_top_k_both(X, Y, 5), (mean_top_k(X, Y, 5), mean_top_k(Y, X, 5)), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    for found, expected in zip(csls_both(X, Y, 3), (csls(X, Y, 3), csls(Y, X, 3)), strict=True):
        np.testing.assert_array_equal(found.indices, expected.indices)
        np.testing.assert_array_equal(found.scores, expected.scores)


def test_csls_takes_the_place_of_a_hub():
    rng = np.random.default_rng(4)
    X = unit(rng.standard_normal((200, 20)).astype(np.float32) + 1)
    Y = unit(X + 0.25 * rng.standard_normal(X.shape).astype(np.float32))
    Y = np.vstack([X.mean(axis=0, keepdims=True), Y])  # near to every source row
    truth = np.arange(1, 201)
    plain = (retrieve(X, Y, 1, method="nn").indices[:, 0] == truth).mean()
    for method in ("csls", "isf", "invnn"):
        assert (retrieve(X, Y, 1, method=method, beta=30).indices[:, 0] == truth).mean() > plain + 0.1


def test_inverted_softmax_is_its_formula():
    X, Y = spaces(5)
    powers = np.exp(30 * cosines(X, Y))
    shares = powers / powers.sum(axis=0)
    found = inverted_softmax(X, Y, 4, beta=30)
    np.testing.assert_array_equal(found.indices, np.argsort(-shares, axis=1)[:, :4])
    np.testing.assert_allclose(np.exp(found.scores), largest(shares, 4), rtol=1e-4)
    some = inverted_softmax(X[7:9], Y, 4, beta=30, src_space=X)
    np.testing.assert_array_equal(some.indices, found.indices[7:9])
    sampled = inverted_softmax(X, Y, 4, beta=30, sample=20, seed=1)
    chosen = np.sort(np.random.default_rng(1).permutation(len(X))[:20])
    np.testing.assert_allclose(
        np.exp(sampled.scores), largest(powers / powers[chosen].sum(axis=0), 4), rtol=1e-4
    )


def test_inverted_softmax_with_a_large_beta_stays_finite():
    X, _ = spaces(6)
    assert np.isfinite(inverted_softmax(X, -X, 2, beta=1e5).scores).all()


@pytest.mark.parametrize("max_rank", [1, 3, 60, 500])
def test_inverted_nearest_is_its_definition(max_rank):
    X, Y = spaces(7)
    Y[50] = Y[3]  # equal candidates: the lower index comes first
    cos = cosines(X, Y)
    ranks = np.minimum((cos[None] > cos[:, None]).sum(axis=1), max_rank)
    expected = np.stack([np.lexsort((np.arange(len(Y)), -cos[row], ranks[row]))[:6] for row in range(len(X))])
    found = inverted_nearest(X, Y, 6, max_rank=max_rank)
    np.testing.assert_array_equal(found.indices, expected)
    np.testing.assert_allclose(found.scores, np.take_along_axis(cos, expected, axis=1), atol=1e-6)
    rows = np.array([9, 9, 0])
    some = inverted_nearest(X[rows], Y, 6, src_space=X, src_rows=rows, max_rank=max_rank)
    np.testing.assert_array_equal(some.indices, expected[rows])


def test_mutual_pairs():
    X, Y = spaces(8)
    cos = cosines(X, Y)
    pairs = [(i, j) for i in range(60) for j in range(83) if cos[i, j] >= max(cos[i].max(), cos[:, j].max())]
    assert 0 < len(pairs) < 60
    np.testing.assert_array_equal(mutual(top_k(X, Y, 1), top_k(Y, X, 1)), pairs)
    with pytest.raises(InputError, match="two directions"):
        mutual(top_k(X, Y, 1), top_k(Y[:3], X, 1))


def test_no_queries():
    for method in ("nn", "csls", "isf", "invnn"):
        if method == "nn":
            assert retrieve(np.ones((0, 2)), np.ones((3, 2)), 2, method=method).indices.shape == (0, 2)
        rows = np.empty(0, np.int64)
        space = np.ones((4, 2))
        found = retrieve(np.ones((0, 2)), np.ones((3, 2)), 2, method=method, src_space=space, src_rows=rows)
        assert found.indices.shape == (0, 2)


def test_bad_input():
    X, Y = spaces(9)
    with pytest.raises(InputError, match="one bias"):
        top_k(X, Y, bias=np.ones(3))
    with pytest.raises(InputError, match="bias holds NaN"):
        top_k(X, Y, bias=np.full(len(Y), np.nan))
    with pytest.raises(InputError, match="bias exceeds"):
        top_k(X, Y, bias=np.full(len(Y), 2e38))
    with pytest.raises(InputError, match="densities do not fit"):
        csls(X, Y, tgt_density=np.ones(3))
    with pytest.raises(UsageError, match="beta"):
        inverted_softmax(X, Y, beta=0)
    with pytest.raises(UsageError, match="sample"):
        inverted_softmax(X, Y, sample=0)
    with pytest.raises(InputError, match="differ in width"):
        inverted_softmax(X, Y[:, :3])
    with pytest.raises(UsageError, match="max_rank"):
        inverted_nearest(X, Y, max_rank=0)
    with pytest.raises(UsageError, match="without the rows"):
        inverted_nearest(X[:2], Y, src_space=X)
    with pytest.raises(InputError, match="outside"):
        inverted_nearest(X[:2], Y, src_space=X, src_rows=np.array([0, 60]))
    with pytest.raises(UsageError, match="unknown retrieval"):
        retrieve(X, Y, method="cosine")  # type: ignore[arg-type]
