from __future__ import annotations

import numba as nb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from align.mapping import sweep as module
from align.mapping.sweep import sweep


@given(n_src=st.integers(1, 300), n_tgt=st.integers(1, 1100), k=st.integers(1, 12), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_a_sweep_is_the_plain_formula(n_src: int, n_tgt: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    X, Y = (rng.integers(-3, 4, size=(n, 5)).astype(np.float32) for n in (n_src, n_tgt))  # exact, many ties
    src, tgt = (rng.integers(0, 4, size=n).astype(np.float32) for n in (n_src, n_tgt))
    found = sweep(X, Y, src_penalty=src, tgt_penalty=tgt, k=k)
    P = X @ Y.T
    np.testing.assert_array_equal(found.forward, (P - tgt).argmax(axis=1))
    np.testing.assert_array_equal(found.backward, (P - src[:, None]).argmax(axis=0))
    k = min(k, n_src, n_tgt)
    np.testing.assert_array_equal(found.src_near, -np.sort(-P, axis=1)[:, :k])
    np.testing.assert_array_equal(found.tgt_near, -np.sort(-P.T, axis=1)[:, :k])
    assert found.objective == pytest.approx((P.max(axis=1).mean() + P.max(axis=0).mean()) / 2)
    best = {(i, j) for i, j in enumerate(found.forward) if found.backward[j] == i}
    assert {(int(i), int(j)) for i, j in found.mutual} == best


@pytest.fixture
def rows() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(900, 8)).astype(np.float32), rng.normal(size=(1300, 8)).astype(np.float32)


def test_threads_do_not_change_a_sweep(rows: tuple[np.ndarray, np.ndarray]) -> None:
    before = nb.get_num_threads()
    results = []
    try:
        for n_threads in (1, min(2, before)):
            nb.set_num_threads(n_threads)
            results.append(sweep(*rows, keep=0.2, seed=3))
    finally:
        nb.set_num_threads(before)
    for name in ("forward", "backward", "src_near", "tgt_near"):
        np.testing.assert_array_equal(getattr(results[0], name), getattr(results[1], name))


def _mix(x: int) -> int:
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = ((x ^ (x >> shift)) * factor) % 2**64
    return x ^ (x >> 31)


def test_dropped_candidates_are_those_of_the_hash(rows: tuple[np.ndarray, np.ndarray]) -> None:
    X, Y, seed, golden = rows[0][:40], rows[1][:60], 5, 0x9E3779B97F4A7C15
    draws = np.array(
        [
            [_mix((_mix((seed * golden + i) % 2**64) + j * golden) % 2**64) for j in range(60)]
            for i in range(40)
        ],
        dtype=np.uint64,
    )
    P, limit = X @ Y.T, np.uint64(round(0.1 * 2**32))
    found = sweep(X, Y, keep=0.1, seed=seed)
    for kept, best, axis in (
        ((draws & np.uint64(2**32 - 1)) < limit, found.forward, 1),
        ((draws >> np.uint64(32)) < limit, found.backward, 0),
    ):
        scores = np.where(kept & (P > 0), P, -np.inf)  # a dropped candidate counts as 0
        wanted = np.where(scores.max(axis=axis) > 0, scores.argmax(axis=axis), -1)
        np.testing.assert_array_equal(best, wanted)
        assert set(wanted < 0) == {True, False}


def test_the_share_kept_is_the_probability(rows: tuple[np.ndarray, np.ndarray]) -> None:
    X, Y = rows
    ahead = np.zeros(10)
    for seed in range(10):
        full, thin = sweep(X, Y), sweep(X, Y, keep=0.3, seed=seed)
        ahead[seed] = (full.forward == thin.forward).mean()  # the best is kept with that probability
    assert ahead.mean() == pytest.approx(0.3, abs=4 * np.sqrt(0.21 / 9000))
    assert ahead.std() > 0


def test_blocks_do_not_show(rows: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    X, Y = (np.round(r) for r in rows)
    whole = sweep(X, Y, keep=0.5)
    monkeypatch.setattr(module, "_SRC_BLOCK", 37)
    monkeypatch.setattr(module, "_TGT_BLOCK", 101)
    small = sweep(X, Y, keep=0.5)
    np.testing.assert_array_equal(whole.forward, small.forward)
    np.testing.assert_array_equal(whole.backward, small.backward)
    np.testing.assert_array_equal(whole.tgt_near, small.tgt_near)
