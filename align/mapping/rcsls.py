"""RCSLS: a linear map fitted to the retrieval criterion itself, CSLS, instead of to squared distances."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from align.errors import UsageError
from align.mapping.linear import LinearMap
from align.mapping.moments import check_pairs
from align.mapping.procrustes import procrustes
from align.neighbors import top_k

_BLOCK_ROWS = 512

Constraint = Literal["spectral", "none"]
Progress = Callable[[int, float], None]


def rcsls_loss(
    X: NDArray[np.floating],
    Y: NDArray[np.floating],
    pairs: NDArray[np.integer],
    W: NDArray[np.floating],
    *,
    k: int = 10,
    max_neg: int = 200_000,
) -> tuple[float, NDArray[np.float64]]:
    """The relaxed CSLS loss of a map and its gradient.

    Minus the mean over pairs (i, j) of ``2 x_i W y_j`` less the mean inner product of ``x_i W`` with its k
    nearest targets and that of ``y_j`` with its k nearest mapped sources (Joulin et al. 2018, equation 5).
    With these neighbours held fixed, as in the paper's subgradient, the loss is linear in W.

    Parameters
    ----------
    X : ndarray, shape (n_src, src_dim)
    Y : ndarray, shape (n_tgt, tgt_dim)
        Unit rows, most frequent words first.
    pairs : ndarray of int, shape (n, 2)
        Row of X, row of Y.
    W : ndarray, shape (src_dim, tgt_dim)
    k : int
    max_neg : int
        Neighbours are looked for among that many first rows of each side.

    Returns
    -------
    loss : float
    gradient : ndarray of float64, shape (src_dim, tgt_dim)

    Notes
    -----
    Neighbours are exact (:func:`align.neighbors.top_k`): time is that of two searches, of the distinct source
    words of the pairs and of the distinct target words, among `max_neg` rows. Sums are float64. Memory: what
    the search needs, and ``512 k dim`` numbers.
    """
    words, gains = _prepared(X, Y, pairs)
    return _loss(X, Y, words, gains, np.asarray(W, np.float64), k, max_neg)


def rcsls(
    X: NDArray[np.floating],
    Y: NDArray[np.floating],
    pairs: NDArray[np.integer],
    *,
    constraint: Constraint = "spectral",
    n_iter: int = 10,
    lr: float = 1.0,
    min_lr: float = 1e-4,
    k: int = 10,
    max_neg: int = 200_000,
    progress: Progress | None = None,
) -> LinearMap:
    """Fit a map by descent on the relaxed CSLS loss, from the orthogonal one.

    Joulin, Bojanowski, Mikolov, Jégou and Grave (2018), "Loss in translation: learning bilingual word
    mapping with a retrieval criterion", EMNLP. A step that raises the loss is undone and tried again at half
    the rate.

    Parameters
    ----------
    X : ndarray, shape (n_src, src_dim)
    Y : ndarray, shape (n_tgt, tgt_dim)
        Unit rows, most frequent words first.
    pairs : ndarray of int, shape (n, 2)
        Row of X, row of Y.
    constraint : {"spectral", "none"}
        Singular values cut to 1 after every step, the convex hull of the orthogonal maps; or any matrix.
    n_iter : int
        Steps, tries that were undone included. Few steps regularise; the loss itself has no useful minimum.
    lr : float
        The first rate. Joulin et al. take 1 with the constraint and 10 to 50 without.
    min_lr : float
        Below it the descent ends.
    k, max_neg
        As in :func:`rcsls_loss`.
    progress : callable, optional
        Called with the step, from 1, and the least loss so far.

    Returns
    -------
    LinearMap
        With the least loss seen; ``history`` holds that loss at the start and after every step. After a
        KeyboardInterrupt the best so far, with ``converged`` False.

    Raises
    ------
    UsageError
        For settings outside their range.
    InputError
        For pairs that do not fit the spaces, NaN or infinity.

    Notes
    -----
    ``n_iter + 1`` times :func:`rcsls_loss`.
    """
    if constraint not in ("spectral", "none"):
        raise UsageError("unknown constraint", got=constraint, wanted="spectral or none")
    if n_iter < 1 or not 0 < lr < np.inf or k < 1 or max_neg < 1:
        raise UsageError(
            "settings out of range",
            got=f"n_iter {n_iter}, lr {lr}, k {k}, max_neg {max_neg}",
            wanted="positive numbers",
        )
    W = procrustes(X, Y, pairs).matrix
    words, gains = _prepared(X, Y, pairs)
    history: list[float] = []
    step, interrupted = 0, False
    try:
        loss, gradient = _loss(X, Y, words, gains, W, k, max_neg)
        history.append(loss)
        while step < n_iter and lr >= min_lr:
            tried = W - lr * gradient
            if constraint == "spectral":
                tried = _within_unit_norm(tried)
            tried_loss, tried_gradient = _loss(X, Y, words, gains, tried, k, max_neg)
            step += 1
            if tried_loss < loss:
                W, loss, gradient = tried, tried_loss, tried_gradient
            else:
                lr /= 2
            history.append(loss)
            if progress is not None:
                progress(step, loss)
    except KeyboardInterrupt:
        interrupted = True
    return LinearMap(
        W,
        "rcsls" if constraint == "spectral" else "rcsls-free",
        len(pairs),
        _residual(X, Y, pairs, W),
        converged=not interrupted,
        n_iter=step,
        history=tuple(history),
    )


class _Words:
    """Distinct words of one side of the dictionary and how many pairs each is in."""

    def __init__(self, rows: NDArray[np.floating], ids: NDArray[np.integer]) -> None:
        distinct, counts = np.unique(ids, return_counts=True)
        self.rows = np.asarray(rows[distinct], np.float64)
        self.counts = counts.astype(np.float64)


def _prepared(
    X: NDArray[np.floating], Y: NDArray[np.floating], pairs: NDArray[np.integer]
) -> tuple[tuple[_Words, _Words], NDArray[np.float64]]:
    """The distinct words of both sides and the sum of ``x_i^T y_j`` over all pairs."""
    check_pairs(X, Y, pairs, None)
    cross = np.zeros((X.shape[1], Y.shape[1]))
    with threadpool_limits(1, user_api="blas"):
        for start in range(0, len(pairs), _BLOCK_ROWS):
            src, tgt = pairs[start : start + _BLOCK_ROWS].T
            cross += X[src].astype(np.float64).T @ Y[tgt].astype(np.float64)
    return (_Words(X, pairs[:, 0]), _Words(Y, pairs[:, 1])), cross


def _loss(
    X: NDArray[np.floating],
    Y: NDArray[np.floating],
    words: tuple[_Words, _Words],
    gains: NDArray[np.float64],
    W: NDArray[np.float64],
    k: int,
    max_neg: int,
) -> tuple[float, NDArray[np.float64]]:
    src, tgt = words
    with threadpool_limits(1, user_api="blas"):
        gradient = 2 * gains
        # y . (x W) = (y W^T) . x: so the sources are never mapped
        gradient -= _pull(src, src.rows @ W, Y[:max_neg], k)
        gradient -= _pull(tgt, tgt.rows @ W.T, X[:max_neg], k).T
    gradient /= -src.counts.sum()
    return float(np.sum(gradient * W)), gradient


def _pull(
    words: _Words, queries: NDArray[np.float64], candidates: NDArray[np.floating], k: int
) -> NDArray[np.float64]:
    """Sum over pairs of ``word^T`` times the mean of the k candidates nearest to its query."""
    found = top_k(queries, candidates, k, metric="inner").indices
    total = np.zeros((words.rows.shape[1], candidates.shape[1]))
    for start in range(0, len(found), _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        means = candidates[found[rows]].mean(axis=1, dtype=np.float64)
        total += (words.rows[rows] * words.counts[rows, None]).T @ means
    return total


def _within_unit_norm(W: NDArray[np.float64]) -> NDArray[np.float64]:
    with threadpool_limits(1, user_api="blas"):
        left, values, right = np.linalg.svd(W, full_matrices=False)
        return left * np.minimum(values, 1.0) @ right


def _residual(
    X: NDArray[np.floating], Y: NDArray[np.floating], pairs: NDArray[np.integer], W: NDArray[np.float64]
) -> float:
    error = scale = 0.0
    with threadpool_limits(1, user_api="blas"):
        for start in range(0, len(pairs), _BLOCK_ROWS):
            src, tgt = pairs[start : start + _BLOCK_ROWS].T
            y = Y[tgt].astype(np.float64)
            error += float(np.square(X[src].astype(np.float64) @ W - y).sum())
            scale += float(np.square(y).sum())
    return float(np.sqrt(error / scale)) if scale > 0 else 0.0
