"""How alike a word is in two slices: between its vectors, or between its neighbourhoods."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from align.errors import InputError, UsageError
from align.neighbors import top_k

MEASURES = ("cosine", "lncs2", "moving-lncs2", "overlap")
_BLOCK = 1024


def similarity(
    x: NDArray[np.floating],
    y: NDArray[np.floating],
    rows: NDArray[np.integer] | None = None,
    *,
    measure: str = "cosine",
    n_neighbors: int | None = None,
    weight: float = 0.5,
) -> NDArray[np.float64]:
    """Similarity of the same words in two slices.

    Parameters
    ----------
    x, y : ndarray, shape (n_words, dim)
        Row i of both is one word; neighbours are sought among all rows.
    rows : ndarray of int, shape (n,), optional
        Words to measure; all by default.
    measure : {"cosine", "lncs2", "moving-lncs2", "overlap"}
        ``cosine`` of the word's two vectors, for slices of one space. ``lncs2``: cosine of the word's
        similarities to its neighbours in either slice, as seen in the one and in the other.
        ``moving-lncs2``: (1 - weight) lncs2 + weight cosine. ``overlap``: share of neighbours in common. Only
        ``lncs2`` and ``overlap`` need no common space.
    n_neighbors : int, optional
        By default 25, for ``overlap`` 1,000; a tenth of the words at most.
    weight : float
        Of the cosine in ``moving-lncs2``.

    Returns
    -------
    float64 array, shape (n,)
        1 for a word that did not change; -1 (``overlap``: 0) is the least.

    Raises
    ------
    UsageError
        For an unknown measure or a weight outside of 0 to 1.
    InputError
        If the rows do not pair up, or there are fewer than two words where neighbours are asked for.

    Notes
    -----
    Time for neighbours: ``2 n n_words dim`` operations a slice. Memory: blocks of 1,024 words.

    References
    ----------
    Hamilton, Leskovec and Jurafsky 2016, "Cultural Shift or Linguistic Drift?", equations 1 and 2 (``cosine``
    and ``lncs2``); Bianchi et al. 2020 for ``moving-lncs2``; Gonen et al. 2020, "Simple, Interpretable and
    Stable Method for Detecting Words with Usage Change across Corpora", equation 1, for ``overlap``.
    """
    if measure not in MEASURES:
        raise UsageError("unknown measure", got=measure, wanted=", ".join(MEASURES))
    if not 0 <= weight <= 1:
        raise UsageError("weight", got=weight, wanted="0 to 1")
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise InputError("rows do not pair up", got=f"{x.shape} and {y.shape}")
    rows = np.arange(len(x)) if rows is None else np.asarray(rows)
    X, Y = unit_rows(x), unit_rows(y)
    if measure == "cosine":
        return _cosines(X, Y, rows)
    k = (1000 if measure == "overlap" else 25) if n_neighbors is None else n_neighbors
    if n_neighbors is None:
        k = max(1, min(k, len(x) // 10))
    if len(x) < 2 or k < 1:
        raise InputError("no neighbours to compare", got=f"{len(x)} words, {k} neighbours")
    found = np.empty(len(rows))
    for start in range(0, len(rows), _BLOCK):
        part = rows[start : start + _BLOCK]
        near_x, near_y = neighbors_within(X, part, k), neighbors_within(Y, part, k)
        common = _found_in(near_y, near_x)
        if measure == "overlap":
            found[start : start + _BLOCK] = common.mean(axis=1)
            continue
        union = np.concatenate((near_x, near_y), axis=1)
        once = np.concatenate((np.ones(near_x.shape, bool), ~common), axis=1)
        sims = [unit_rows(np.einsum("nd,nkd->nk", Z[part], Z[union]) * once) for Z in (X, Y)]
        found[start : start + _BLOCK] = _cosines(sims[0], sims[1], np.arange(len(union)))
    if measure == "moving-lncs2":
        return (1 - weight) * found + weight * _cosines(X, Y, rows)
    return found


def neighbors_within(X: NDArray[np.floating], rows: NDArray[np.integer], k: int) -> NDArray[np.int64]:
    """The k rows nearest by cosine to each of `rows`, without itself; all there are if fewer.

    Returns
    -------
    int64 array, shape (len(rows), min(k, len(X) - 1))
        Best first.
    """
    found = top_k(X[rows], X, k + 1).indices
    other = found != np.asarray(rows)[:, None]
    other[other.all(axis=1), -1] = False  # more than k others are as near as itself
    return found[other].reshape(len(found), -1)


def unit_rows(matrix: NDArray[np.floating]) -> NDArray[np.floating]:
    """Rows divided by their lengths; zeros stay zeros."""
    return matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), np.float32(1e-30))


def _cosines(
    X: NDArray[np.floating], Y: NDArray[np.floating], rows: NDArray[np.integer]
) -> NDArray[np.float64]:
    return np.einsum("nd,nd->n", X[rows], Y[rows], dtype=np.float64)


def _found_in(what: NDArray[np.int64], where: NDArray[np.int64]) -> NDArray[np.bool_]:
    """For every entry of `what` whether its row of `where` holds it too."""
    n = int(max(what.max(), where.max())) + 1
    apart = np.arange(len(what))[:, None] * n
    return np.isin(what + apart, where + apart)
