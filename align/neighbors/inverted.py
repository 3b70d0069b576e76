"""Globally corrected retrieval: candidates ordered by the rank they give to the query."""

from __future__ import annotations

import numba as nb
import numpy as np
from numpy.typing import NDArray

from align.errors import InputError, UsageError
from align.neighbors.exact import Backend, Neighbors, top_k

_RANKED_ROWS = 4096


def inverted_nearest(
    queries: NDArray[np.floating],
    candidates: NDArray[np.floating],
    k: int = 1,
    *,
    src_space: NDArray[np.floating] | None = None,
    src_rows: NDArray[np.integer] | None = None,
    max_rank: int = 100,
    backend: Backend = "auto",
    device: str | None = None,
) -> Neighbors:
    """The k candidates among whose own neighbours the query stands highest (globally corrected retrieval).

    The rank of x for y is the number of source rows with a larger cosine with y. Candidates are ordered by
    rank, then by cosine, then by index; ranks from `max_rank` on count as equal.

    Parameters
    ----------
    queries : ndarray, shape (n_queries, dim)
    candidates : ndarray, shape (n_candidates, dim)
    k : int
    src_space : ndarray, shape (n_src, dim), optional
        The whole mapped source space; `queries` by default.
    src_rows : ndarray of int, shape (n_queries,), optional
        Where in `src_space` each query stands; needed with `src_space`.
    max_rank : int
        With n_src or more, every rank is told apart.
    backend, device
        As :func:`~align.neighbors.exact.top_k`.

    Returns
    -------
    Neighbors
        Scores are cosines: they do not fall along a row.

    Raises
    ------
    InputError, UsageError
        As :func:`~align.neighbors.exact.top_k`; for a `max_rank` below 1 or rows that are not there.

    Notes
    -----
    Time is that of the product both ways and ``n_candidates max_rank`` insertions. Memory beyond the inputs:
    12 bytes for each of 4096 x max_rank neighbours, and unit copies.

    References
    ----------
    Dinu et al. (2015), "Improving zero-shot learning by mitigating the hubness problem", arXiv:1412.6568.
    """
    if max_rank < 1:
        raise UsageError("max_rank is not positive", got=max_rank, wanted="max_rank >= 1")
    # whoever is left out of the ranked lists is found among the 2 k nearest: k of them are ranked at most
    near = top_k(queries, candidates, 2 * k, backend=backend, device=device)
    k = min(k, len(candidates))
    sources = queries if src_space is None else src_space
    rows = np.arange(len(queries)) if src_space is None else src_rows
    if rows is None or rows.shape != (len(queries),):
        raise UsageError("src_space is given without the rows of the queries in it", wanted=(len(queries),))
    if len(rows) == 0:
        return Neighbors(near.indices[:, :k], near.scores[:, :k])
    distinct, places = np.unique(rows, return_inverse=True)
    if distinct[0] < 0 or distinct[-1] >= len(sources):
        raise InputError("src_rows point outside of src_space", wanted=f"0 to {len(sources) - 1}")
    slots = np.full(len(sources), -1, np.int64)
    slots[distinct] = np.arange(len(distinct))
    shape = (len(distinct), k)
    indices, scores = np.full(shape, -1, np.int64), np.full(shape, -np.inf, np.float32)
    ranks = np.full(shape, max_rank, np.int64)
    for start in range(0, len(candidates), _RANKED_ROWS):
        block = candidates[start : start + _RANKED_ROWS]
        back = top_k(block, sources, max_rank, backend=backend, device=device)
        _offer(back.indices, back.scores, start, slots, indices, scores, ranks)
    indices, scores = indices[places], scores[places]
    _complete(near.indices, near.scores, indices, scores)
    return Neighbors(indices, scores)


@nb.njit(cache=True)
def _offer(
    sources: NDArray[np.int64],
    cosines: NDArray[np.float32],
    start: int,
    slots: NDArray[np.int64],
    indices: NDArray[np.int64],
    scores: NDArray[np.float32],
    ranks: NDArray[np.int64],
) -> None:
    """Insert candidates ``start + row``, in rising order, into the lists of the sources they are near to."""
    k = indices.shape[1]
    for row in range(sources.shape[0]):
        rank = 0
        for n in range(sources.shape[1]):
            score = cosines[row, n]
            if n > 0 and score < cosines[row, n - 1]:
                rank = n
            slot = slots[sources[row, n]]
            if slot < 0:
                continue
            at = k
            while at > 0 and (
                ranks[slot, at - 1] > rank or (ranks[slot, at - 1] == rank and scores[slot, at - 1] < score)
            ):
                at -= 1
            for i in range(k - 1, at, -1):
                indices[slot, i], scores[slot, i] = indices[slot, i - 1], scores[slot, i - 1]
                ranks[slot, i] = ranks[slot, i - 1]
            if at < k:
                indices[slot, at], scores[slot, at], ranks[slot, at] = start + row, score, rank


@nb.njit(cache=True)
def _complete(
    near: NDArray[np.int64],
    cosines: NDArray[np.float32],
    indices: NDArray[np.int64],
    scores: NDArray[np.float32],
) -> None:
    """Fill lists that are not full with the nearest candidates that are not in them."""
    k = indices.shape[1]
    for row in range(indices.shape[0]):
        size = 0
        while size < k and indices[row, size] >= 0:
            size += 1
        n_ranked = size
        for n in range(near.shape[1]):
            if size == k:
                break
            new = True
            for i in range(n_ranked):
                new = new and indices[row, i] != near[row, n]
            if new:
                indices[row, size], scores[row, size] = near[row, n], cosines[row, n]
                size += 1
