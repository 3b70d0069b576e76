"""Links from hidden states: references in plain loops, planted permutations with noise."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from align.errors import InputError, UsageError
from align.wordalign.contextual import METHODS, contextual_links

Array = NDArray[np.float32]


def states(seed: int, n_pairs: int, longest: int, dim: int = 6) -> tuple[list[Array], list[Array]]:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, longest + 1, (2, n_pairs))
    src, tgt = ([rng.normal(size=(n, dim)).astype(np.float32) for n in side] for side in lengths)
    return src, tgt


def similarity(src: Array, tgt: Array) -> Array:
    unit = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in (src, tgt)]
    return (unit[0] @ unit[1].T + 1) / 2


def mutual(scores: Array) -> set[tuple[int, int]]:
    n_src, n_tgt = scores.shape
    return {
        (i, j)
        for i in range(n_src)
        for j in range(n_tgt)
        if scores[i].argmax() == j and scores[:, j].argmax() == i
    }


def itermax(scores: Array, damping: float, max_count: int) -> set[tuple[int, int]]:
    """SimAlign's rule, cell by cell."""
    n_src, n_tgt = scores.shape
    kept = mutual(scores)
    for _ in range(max_count - 1 if min(n_src, n_tgt) > 2 else 0):
        rows, columns = {i for i, _ in kept}, {j for _, j in kept}
        if len(rows) == n_src or len(columns) == n_tgt:
            break
        damped = scores.copy()
        for i in range(n_src):
            for j in range(n_tgt):
                damped[i, j] *= (1, np.float32(damping), 0)[(i in rows) + (j in columns)]
        new = {(i, j) for i, j in mutual(damped) if i not in rows or j not in columns}
        if not new:
            break
        kept |= new
    return kept


def double_softmax(src: Array, tgt: Array, threshold: float) -> dict[tuple[int, int], float]:
    products = src.astype(float) @ tgt.T.astype(float)
    found = {}
    for i, j in np.ndindex(products.shape):
        forward = 1 / np.exp(products[i] - products[i, j]).sum()
        backward = 1 / np.exp(products[:, j] - products[i, j]).sum()
        if min(forward, backward) > threshold:
            found[i, j] = 2 / (1 / forward + 1 / backward)
    return found


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.5, 0.9, 1.0]), st.integers(1, 5))
def test_simalign_rules(seed: int, damping: float, max_count: int) -> None:
    src, tgt = states(seed, 6, 9)
    found = contextual_links(src, tgt, method="itermax", damping=damping, max_count=max_count)
    once = contextual_links(src, tgt, method="argmax")
    for n, (x, y) in enumerate(zip(src, tgt, strict=True)):
        if not len(x) or not len(y):
            assert found.pair(n) == []
            continue
        scores = similarity(x, y)
        assert once.pair(n) == sorted(mutual(scores))
        assert found.pair(n) == sorted(itermax(scores, damping, max_count))
        part = slice(found.offsets[n], found.offsets[n + 1])
        np.testing.assert_allclose(
            found.weights[part], scores[found.src[part], found.tgt[part]], atol=1e-6, rtol=0
        )


def test_itermax_finds_more_than_argmax() -> None:
    src, tgt = states(0, 200, 12)
    n_links = [
        len(contextual_links(src, tgt, method="itermax", max_count=rounds).weights) for rounds in (1, 2, 3)
    ]
    assert n_links[0] == len(contextual_links(src, tgt, method="argmax").weights)
    assert n_links[0] < n_links[1] < n_links[2]


@pytest.mark.parametrize("shape", [(3, 5), (5, 5), (6, 2), (1, 4)])
def test_no_matching_is_heavier(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    for _ in range(5):
        src, tgt = (rng.normal(size=(n, 3)).astype(np.float32) for n in shape)
        scores = similarity(src, tgt)
        wide = scores if shape[0] <= shape[1] else scores.T
        best = max(
            wide[np.arange(len(wide)), list(order)].sum()
            for order in permutations(range(wide.shape[1]), len(wide))
        )
        found = contextual_links([src], [tgt], method="match")
        assert len(found.weights) == min(shape) == len(set(found.src)) == len(set(found.tgt))
        np.testing.assert_allclose(found.weights.sum(), best, rtol=1e-5)
    opposite = contextual_links([np.eye(1, 3)], [-np.eye(1, 3)], method="match")
    assert opposite.pair(0) == []  # nothing like each other


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.001, 0.1, 0.4]))
def test_double_softmax(seed: int, threshold: float) -> None:
    src, tgt = states(seed, 5, 8)
    found = contextual_links(src, tgt, method="softmax", threshold=threshold)
    at = 0
    for n, (x, y) in enumerate(zip(src, tgt, strict=True)):
        wanted = double_softmax(x, y, threshold)
        assert found.pair(n) == sorted(wanted)
        weights = found.weights[at : at + len(wanted)]
        np.testing.assert_allclose(weights, [wanted[cell] for cell in sorted(wanted)], rtol=2e-5)
        at += len(wanted)


def test_products_too_large_for_an_exponential() -> None:
    src = 1e4 * np.eye(3, dtype=np.float32)
    found = contextual_links([src], [src[::-1]], method="softmax")
    assert found.pair(0) == [(0, 2), (1, 1), (2, 0)]
    np.testing.assert_allclose(found.weights, 1)


@pytest.mark.parametrize("method", METHODS)
def test_a_permutation_with_noise(method: str) -> None:
    rng = np.random.default_rng(2)
    src, tgt, wanted = [], [], []
    for n in rng.integers(1, 30, 150):
        order = rng.permutation(n)
        states = rng.normal(size=(n, 64))
        src.append(states.astype(np.float32))
        tgt.append((states[order] + 0.5 * rng.normal(size=(n, 64))).astype(np.float32))
        wanted.append(sorted((int(order[j]), j) for j in range(n)))
    found = contextual_links(src, tgt, method=method)
    # noise of half a standard deviation in each dimension: a wrong one is nearer less than once in 10,000
    assert sum(found.pair(n) == wanted[n] for n in range(150)) >= 145


@pytest.mark.parametrize("method", METHODS)
def test_a_pair_does_not_depend_on_the_others(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    src, tgt = states(3, 60, 15, dim=32)
    together = contextual_links(src, tgt, method=method)
    for cells in (1, 300):
        monkeypatch.setattr("align.wordalign.contextual._CELLS", cells)
        again = contextual_links(src, tgt, method=method)
        for name in ("offsets", "src", "tgt"):
            np.testing.assert_array_equal(getattr(again, name), getattr(together, name))
        # sums over padded rows may group their terms in another way
        np.testing.assert_allclose(again.weights, together.weights, rtol=1e-6)


def test_links_of_words_are_those_of_any_token() -> None:
    src, tgt = states(4, 40, 12)
    rng = np.random.default_rng(5)
    src_words, tgt_words = ([np.sort(rng.integers(-1, 4, len(x))) for x in side] for side in (src, tgt))
    tokens = contextual_links(src, tgt, method="itermax")
    words = contextual_links(src, tgt, method="itermax", src_words=src_words, tgt_words=tgt_words)
    at = 0
    for n in range(40):
        wanted: dict[tuple[int, int], float] = {}
        for i, j in tokens.pair(n):
            link = int(src_words[n][i]), int(tgt_words[n][j])
            if min(link) >= 0:
                wanted[link] = max(wanted.get(link, 0.0), float(tokens.weights[at]))
            at += 1
        assert words.pair(n) == sorted(wanted)
        part = slice(words.offsets[n], words.offsets[n + 1])
        np.testing.assert_array_equal(words.weights[part], [wanted[link] for link in sorted(wanted)])


def test_nothing_to_link() -> None:
    assert contextual_links([], []).n_pairs == 0
    none, some = np.empty((0, 4)), np.ones((2, 4))
    assert contextual_links([none, some], [some, none], method="softmax").offsets.tolist() == [0, 0, 0]
    assert contextual_links([np.zeros((2, 4))], [some]).pair(0) == [(0, 0)]  # a state of zeros is like none


def test_what_is_refused() -> None:
    x = np.ones((2, 3))
    with pytest.raises(UsageError, match="unknown way of linking"):
        contextual_links([x], [x], method="entmax")
    for options in ({"damping": 1.5}, {"max_count": 0}, {"threshold": np.nan}):
        with pytest.raises(UsageError, match="out of range"):
            contextual_links([x], [x], **options)
    with pytest.raises(InputError, match="states of two texts"):
        contextual_links([x], [x, x])
    with pytest.raises(InputError, match="do not fit each other"):
        contextual_links([x], [np.ones((2, 4))])
    with pytest.raises(InputError, match=r"pair 1: .*not finite"):
        contextual_links([x, x], [x, x * np.nan])
    with pytest.raises(InputError, match="word numbers"):
        contextual_links([x], [x], src_words=[np.zeros(3, int)])
