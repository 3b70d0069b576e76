"""Orthogonal Procrustes: the rotation that brings paired rows closest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from align.errors import InputError
from align.mapping.linear import LinearMap
from align.mapping.moments import check_pairs

_BLOCK_PAIRS = 4096


def procrustes(
    X: NDArray[np.floating],
    Y: NDArray[np.floating],
    pairs: NDArray[np.integer] | None = None,
    *,
    weights: NDArray[np.floating] | None = None,
) -> LinearMap:
    """Fit the orthogonal matrix W that minimises the weighted sum of ``|x_i W - y_j|^2`` over paired rows.

    Schönemann (1966), "A generalized solution of the orthogonal Procrustes problem": with the singular value
    decomposition ``X^T Y = U S V^T``, ``W = U V^T``. For spaces of unequal width the same formula gives a
    semi-orthogonal W, which maximises ``sum x_i W y_j``: its rows are orthonormal when the target is wider
    (and then it also minimises the distance), its columns when it is narrower.

    Parameters
    ----------
    X : ndarray, shape (n_src, src_dim)
    Y : ndarray, shape (n_tgt, tgt_dim)
        Neither is normalised or centred here.
    pairs : ndarray of int, shape (n, 2), optional
        Which row of X belongs to which row of Y; without it row i belongs to row i.
    weights : ndarray, shape (n,), optional
        Non-negative; an integer weight counts as that many repetitions of the pair.

    Returns
    -------
    LinearMap

    Raises
    ------
    InputError
        For rows that do not pair up, none at all, pairs of rows that are not there, negative weights, NaN
        or infinity.

    Notes
    -----
    ``n src_dim tgt_dim`` multiplications and one decomposition of (src_dim, tgt_dim), in float64 and on one
    thread, so that the result does not depend on their number; memory for 4,096 pairs at a time. It does not
    warn when fewer than ``min(src_dim, tgt_dim)`` independent pairs leave W partly arbitrary.
    """
    if pairs is None:
        if X.ndim != 2 or Y.ndim != 2 or len(X) != len(Y):
            raise InputError("rows do not pair up", got=f"{X.shape} and {Y.shape}", wanted="(n, dim) twice")
        pairs = np.repeat(np.arange(len(X))[:, None], 2, axis=1)
    w = check_pairs(X, Y, pairs, weights)
    n = len(pairs)

    def block(start: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        rows = pairs[start : start + _BLOCK_PAIRS]
        return (
            X[rows[:, 0]].astype(np.float64),
            Y[rows[:, 1]].astype(np.float64),
            w[start : start + len(rows)],
        )

    cross, scale, error = np.zeros((X.shape[1], Y.shape[1])), 0.0, 0.0
    with threadpool_limits(1, user_api="blas"):
        for start in range(0, n, _BLOCK_PAIRS):
            x, y, v = block(start)
            cross += (x * v[:, None]).T @ y
            scale += float(v @ np.square(y).sum(axis=1))
        if not np.isfinite(cross).all():
            raise InputError("the vectors to align hold NaN or infinity", wanted="finite numbers")
        left, _, right = np.linalg.svd(cross, full_matrices=False)
        W = left @ right
        for start in range(0, n, _BLOCK_PAIRS):
            x, y, v = block(start)
            error += float(v @ np.square(x @ W - y).sum(axis=1))
    residual = float(np.sqrt(error / scale)) if scale > 0 else 0.0
    return LinearMap(W, method="procrustes", n_pairs=n, residual=residual)
