from __future__ import annotations

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from align.errors import InputError
from align.neighbors import low_precision, top_k, top_k_both, top_k_reference, two_way
from align.neighbors.vnni import available
from align.normalize import unit

needs_instructions = pytest.mark.skipif(not available(), reason="no AVX-512 VNNI on this processor")


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.indices, other.indices)
        np.testing.assert_array_equal(one.scores, other.scores)


@pytest.fixture
def fused(monkeypatch):
    """Every search goes through 8 bits; the results of searches in one pass, None for those given up."""
    found = []
    search = two_way._search

    def kept(*arguments):
        found.append(search(*arguments))
        return found[-1]

    monkeypatch.setattr(two_way, "_search", kept)
    monkeypatch.setattr(low_precision, "pays", lambda Q, C: True)
    return found


@needs_instructions
@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 120),
    st.integers(1, 120),
    st.integers(1, 40),
    st.integers(1, 40),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_integer_vectors_with_ties_give_the_references(n_src, n_tgt, dim, k, src_biased, tgt_biased, seed):
    rng = np.random.default_rng(seed)
    src, tgt = rng.integers(-2, 3, (n_src, dim)), rng.integers(-2, 3, (n_tgt, dim))
    src_bias = rng.integers(-9, 10, n_src).astype(np.float32) if src_biased else None
    tgt_bias = rng.integers(-9, 10, n_tgt).astype(np.float32) if tgt_biased else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(low_precision, "pays", lambda Q, C: True)
        patch.setattr(two_way, "BLOCK_ROWS", 24)
        found = top_k_both(src, tgt, k, metric="inner", src_bias=src_bias, tgt_bias=tgt_bias)
    assert_same(found, (top_k_reference(src, tgt, k, tgt_bias), top_k_reference(tgt, src, k, src_bias)))


@needs_instructions
@pytest.mark.parametrize("threads", [1, 2])
def test_one_pass_is_two_searches(fused, threads):
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((60, 50))
    src, tgt = (centres[rng.integers(0, 60, n)] + 0.4 * rng.standard_normal((n, 50)) for n in (3001, 4000))
    src_bias, tgt_bias = 0.1 * rng.standard_normal(3001), 0.1 * rng.standard_normal(4000)
    before = numba.get_num_threads()
    numba.set_num_threads(min(threads, before))
    try:
        found = top_k_both(src, tgt, 10, src_bias=src_bias, tgt_bias=tgt_bias)
        plain = top_k_both(src, tgt, 10)
    finally:
        numba.set_num_threads(before)
    assert None not in fused
    assert len(fused) == 2
    assert_same(found, (top_k(src, tgt, 10, bias=tgt_bias), top_k(tgt, src, 10, bias=src_bias)))
    assert_same(plain, (top_k(src, tgt, 10), top_k(tgt, src, 10)))


@needs_instructions
def test_near_ties_on_both_sides(fused):
    rng = np.random.default_rng(1)
    rows = unit(rng.standard_normal((100, 30)).astype(np.float32))
    src, tgt = (
        unit((np.repeat(rows, 40, axis=0) + 1e-8 * rng.standard_normal((4000, 30))).astype(np.float32))[
            rng.permutation(4000)
        ]
        for _ in range(2)
    )
    found = top_k_both(src, tgt, 15, metric="inner")
    assert found is fused[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(low_precision, "pays", lambda Q, C: False)
        assert_same(found, (top_k(src, tgt, 15, metric="inner"), top_k(tgt, src, 15, metric="inner")))


@needs_instructions
def test_too_many_near_rows_are_searched_one_way_at_a_time(fused):
    rng = np.random.default_rng(2)
    src, tgt = (1 + 1e-4 * rng.standard_normal((n, 20)).astype(np.float32) for n in (150, 3000))
    assert_same(top_k_both(src, tgt, 3), (top_k(src, tgt, 3), top_k(tgt, src, 3)))
    assert fused == [None]


def test_small_problems_and_devices_are_two_searches():
    rng = np.random.default_rng(3)
    src, tgt = rng.standard_normal((30, 4)), rng.standard_normal((50, 4))
    expected = top_k(src, tgt, 3), top_k(tgt, src, 3)
    assert_same(top_k_both(src, tgt, 3), expected)
    assert_same(top_k_both(src, tgt, 3, device="cpu"), expected)
    with pytest.raises(InputError, match="one bias"):
        top_k_both(src, tgt, src_bias=np.ones(50))
