"""Links from the hidden states of an encoder, given as arrays: SimAlign's and awesome-align's rules.

Jalili Sabet et al. 2020, "SimAlign: High quality word alignments without parallel training data using static
and contextualized embeddings"; Dou and Neubig 2021, "Word alignment by fine-tuning embeddings on parallel
corpora".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from threadpoolctl import threadpool_limits

from align.errors import InputError, UsageError
from align.wordalign.links import Links

METHODS = ("argmax", "itermax", "match", "softmax")

_CELLS = 1 << 18  # of a batch, in the padded arrays


def contextual_links(
    src_states: Sequence[NDArray[np.floating]],
    tgt_states: Sequence[NDArray[np.floating]],
    *,
    method: str = "itermax",
    src_words: Sequence[NDArray[np.integer]] | None = None,
    tgt_words: Sequence[NDArray[np.integer]] | None = None,
    damping: float = 0.9,
    max_count: int = 2,
    threshold: float = 0.001,
) -> Links:
    """Link the tokens of many sentence pairs by their hidden states.

    Parameters
    ----------
    src_states, tgt_states : sequence of float arrays, shape (n_src_tokens, dim) and (n_tgt_tokens, dim)
        One array a sentence, without special tokens and padding.
    method : {"argmax", "itermax", "match", "softmax"}
        ``argmax``: each is the other's most similar. ``itermax``: that, again and again among what is left,
        see `damping`. ``match``: the one-to-one links of greatest sum of similarities. These three by
        ``(cosine + 1) / 2``. ``softmax``: both softmaxes of the dot products, over the target tokens and
        over the source tokens, exceed `threshold`.
    src_words, tgt_words : sequence of integer arrays, shape (n_src_tokens,) and (n_tgt_tokens,), optional
        Number of each token's word in its sentence, negative for none. Words are linked if any of their
        tokens are. Without them, links are between tokens.
    damping : float
        From the second round of ``itermax`` on, the similarity of two tokens of which one has a link is
        multiplied by this; where both have one, there is no further link.
    max_count : int
        Rounds of ``itermax``, the first one included; it ends sooner when nothing is found, or when all
        tokens of a side have a link. Pairs with a side of two tokens or fewer have one round.
    threshold : float

    Returns
    -------
    Links
        Weights are similarities; those of ``softmax`` are the harmonic mean of the two probabilities. A link
        of words has the greatest of its tokens'. Of equals the first counts.

    Raises
    ------
    UsageError
        For an unknown method or a number out of range.
    InputError
        If the two sides, or states and words, do not fit each other, or a state is not finite.

    Notes
    -----
    Time: O(n_src n_tgt dim) a pair, and for ``match`` O(n**3). Memory: a few MB beside the arguments. The
    links of a pair do not depend on the others, nor on the number of threads (the weights of ``softmax`` may,
    in their last digit).
    """
    if method not in METHODS:
        raise UsageError("unknown way of linking", got=method, wanted=", ".join(METHODS))
    for name, value, good in (
        ("damping", damping, 0 <= damping <= 1),
        ("max_count", max_count, max_count >= 1),
        ("threshold", threshold, 0 <= threshold < 1),
    ):
        if not good:
            raise UsageError("option out of range", got=value, where=name)
    lengths = _lengths(src_states, tgt_states)
    words = [
        _word_numbers(numbers, lengths[:, side], where)
        for side, (numbers, where) in enumerate(((src_words, "src_words"), (tgt_words, "tgt_words")))
    ]
    order = np.lexsort((lengths[:, 0], lengths[:, 1])) if len(lengths) else np.empty(0, int)
    order = order[lengths[order].min(axis=1) > 0]
    found: list[tuple[NDArray[Any], ...]] = []
    with threadpool_limits(1, user_api="blas"):
        for batch in _batches(order, lengths):
            scores = _scores([src_states[n] for n in batch], [tgt_states[n] for n in batch], method)
            if method == "softmax":
                keep, scores = _softmax(scores, threshold)
            elif method == "match":
                keep = _match(scores, lengths[batch])
            else:
                keep = _itermax(scores, lengths[batch], damping, 1 if method == "argmax" else max_count)
            pair, i, j = np.nonzero(keep)
            found.append((batch[pair], i, j, scores[pair, i, j]))
    if not found:
        empty = np.empty(0, int)
        return Links.from_pairs(empty, empty, empty, n_pairs=len(lengths))
    pair, src, tgt, weights = (np.concatenate(part) for part in zip(*found, strict=True))
    return _of_words(pair, src, tgt, weights, words, lengths)


def _lengths(
    src_states: Sequence[NDArray[np.floating]], tgt_states: Sequence[NDArray[np.floating]]
) -> NDArray[np.int64]:
    if len(src_states) != len(tgt_states):
        raise InputError("states of two texts", got=f"{len(src_states)} and {len(tgt_states)} sentences")
    for n, (src, tgt) in enumerate(zip(src_states, tgt_states, strict=True)):
        if src.ndim != 2 or tgt.ndim != 2 or src.shape[1] != tgt.shape[1]:
            raise InputError(
                "hidden states that do not fit each other",
                got=f"{src.shape} and {tgt.shape}",
                wanted="(tokens, dim) with one dim",
                where=f"pair {n}",
            )
        if not (np.isfinite(src).all() and np.isfinite(tgt).all()):
            raise InputError("hidden states that are not finite", where=f"pair {n}")
    lengths = [(len(src), len(tgt)) for src, tgt in zip(src_states, tgt_states, strict=True)]
    return np.array(lengths, dtype=np.int64).reshape(-1, 2)


def _word_numbers(
    words: Sequence[NDArray[np.integer]] | None, n_tokens: NDArray[np.int64], where: str
) -> NDArray[np.integer] | None:
    if words is None:
        return None
    if [len(numbers) for numbers in words] != n_tokens.tolist():
        raise InputError("word numbers that do not fit the states", wanted="one a token", where=where)
    return np.concatenate([np.empty(0, np.int64), *words])


def _batches(order: NDArray[np.int64], lengths: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Pairs of like lengths together, so many that the padded cells keep within bounds."""
    batches = []
    start = 0
    while start < len(order):
        most = _CELLS // int(lengths[order[start]].prod()) + 1
        largest = np.maximum.accumulate(lengths[order[start : start + most]], axis=0)
        cells = largest.prod(axis=1) * np.arange(1, len(largest) + 1)
        stop = start + max(int(np.searchsorted(cells, _CELLS, side="right")), 1)
        batches.append(order[start:stop])
        start = stop
    return batches


def _scores(
    src_states: list[NDArray[np.floating]], tgt_states: list[NDArray[np.floating]], method: str
) -> NDArray[np.float32]:
    """Similarities in [0, 1], padded with -1; or dot products, padded with -inf."""
    shape = (len(src_states), max(map(len, src_states)), max(map(len, tgt_states)))
    scores = np.full(shape, -np.inf if method == "softmax" else -1, dtype=np.float32)
    for n, sides in enumerate(zip(src_states, tgt_states, strict=True)):
        src, tgt = (_float32(side, unit=method != "softmax") for side in sides)
        block = scores[n, : len(src), : len(tgt)]
        block[:] = src @ tgt.T  # each pair by itself: a padded product rounds otherwise
        if method != "softmax":
            np.clip((block + 1) / 2, 0, 1, out=block)
    return scores


def _float32(states: NDArray[np.floating], *, unit: bool) -> NDArray[np.float32]:
    """The states, or their directions; a state of zeros has none."""
    states = states.astype(np.float32, copy=False)
    if unit:
        norms = np.linalg.norm(states, axis=1, keepdims=True)
        states = states / np.where(norms > 0, norms, 1)
    return states.astype(np.float32, copy=False)


def _mutual(scores: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Cells that are the first greatest of their row and of their column."""
    rows, columns = (np.zeros(scores.shape, dtype=bool) for _ in range(2))
    np.put_along_axis(rows, scores.argmax(axis=2)[:, :, None], True, axis=2)
    np.put_along_axis(columns, scores.argmax(axis=1)[:, None, :], True, axis=1)
    return rows & columns


def _itermax(
    similarity: NDArray[np.float32], lengths: NDArray[np.int64], damping: float, max_count: int
) -> NDArray[np.bool_]:
    inside = similarity >= 0
    kept = _mutual(similarity) & inside
    active = lengths.min(axis=1) > 2
    for _ in range(max_count - 1):
        linked = kept.sum(axis=2) > 0, kept.sum(axis=1) > 0
        for side, has in enumerate(linked):
            active &= has.sum(axis=1) < lengths[:, side]
        if not active.any():
            break
        n_linked = linked[0][active][:, :, None].astype(np.int8) + linked[1][active][:, None, :]
        scale = np.array([1, damping, 0], dtype=np.float32)[n_linked]
        damped = np.where(inside[active], similarity[active] * scale, -1)
        new: NDArray[np.bool_] = _mutual(damped) & inside[active] & (n_linked < 2)
        kept[active] |= new
        active[active] = new.any(axis=(1, 2))
    return kept


def _match(similarity: NDArray[np.float32], lengths: NDArray[np.int64]) -> NDArray[np.bool_]:
    kept = np.zeros(similarity.shape, dtype=bool)
    for n, (n_src, n_tgt) in enumerate(lengths.tolist()):
        rows, columns = linear_sum_assignment(similarity[n, :n_src, :n_tgt], maximize=True)
        kept[n, rows, columns] = similarity[n, rows, columns] > 0
    return kept


def _softmax(
    products: NDArray[np.float32], threshold: float
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    probabilities = []
    for axis in (2, 1):
        largest = products.max(axis=axis, keepdims=True)
        # a padding row or column has nothing to be divided by
        e = np.exp(products - np.where(np.isfinite(largest), largest, 0))
        probabilities.append(e / np.maximum(e.sum(axis=axis, keepdims=True), np.finfo(np.float32).tiny))
    over_tgt, over_src = probabilities
    total = over_tgt + over_src
    mean = 2 * over_tgt * over_src / np.where(total > 0, total, 1)
    return (over_tgt > threshold) & (over_src > threshold), mean


def _of_words(
    pair: NDArray[np.integer],
    src: NDArray[np.integer],
    tgt: NDArray[np.integer],
    weights: NDArray[np.floating],
    words: Sequence[NDArray[np.integer] | None],
    lengths: NDArray[np.int64],
) -> Links:
    """Links with positions of tokens replaced by those of their words, each once."""
    begins = np.cumsum(lengths, axis=0) - lengths
    if words[0] is not None:
        src = words[0][begins[pair, 0] + src]
    if words[1] is not None:
        tgt = words[1][begins[pair, 1] + tgt]
    kept = (src >= 0) & (tgt >= 0)
    pair, src, tgt, weights = pair[kept], src[kept], tgt[kept], weights[kept]
    order = np.lexsort((-weights, tgt, src, pair))
    pair, src, tgt, weights = pair[order], src[order], tgt[order], weights[order]
    first = np.ones(len(pair), dtype=bool)
    first[1:] = (np.diff(pair) != 0) | (np.diff(src) != 0) | (np.diff(tgt) != 0)
    return Links.from_pairs(pair[first], src[first], tgt[first], weights[first], n_pairs=len(lengths))
