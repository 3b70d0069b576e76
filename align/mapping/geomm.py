"""GeoMM: one bilinear form that tells translations from all other pairs of the dictionary's words."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from align.errors import InputError, UsageError
from align.mapping.bilingual import BilingualMap
from align.mapping.moments import check_pairs


def geomm(
    X: NDArray[np.floating],
    Y: NDArray[np.floating],
    pairs: NDArray[np.integer],
    *,
    ridge: float = 3000.0,
) -> BilingualMap:
    """Rotate both spaces and weigh the common one, so that inner products are 1 for translations, else 0.

    Jawanpuria, Balgovind, Kunchukuttan and Mishra (2019), "Learning multilingual word embeddings in latent
    metric space: a geometric approach", TACL 7, equation 2. With X and Y the distinct words of the dictionary
    and T their 0/1 matrix of translations, many to many, it minimises

        ``|X U B V^T Y^T - T|^2 + ridge / 2 |B|^2``

    over orthonormal U, V and positive semidefinite B; source rows are mapped by ``U B^(1/2)``, target rows
    by ``V B^(1/2)``. The authors do so by conjugate gradients on the product of three manifolds. But every
    matrix W is a ``U B V^T``, by its singular value decomposition, and then ``|B| = |W|``: so the problem is
    least squares in W, convex, and its answer, of ``X^T X W Y^T Y + ridge / 2 W = X^T T Y``, is found in the
    principal axes of both sides.

    Parameters
    ----------
    X : ndarray, shape (n_src, src_dim)
    Y : ndarray, shape (n_tgt, tgt_dim)
        Normalised rows.
    pairs : ndarray of int, shape (n, 2)
        Row of X, row of Y; repeated pairs count once.
    ridge : float
        It should grow with the square of the number of words. The default is the best of 10 to 100,000 on
        held-out fifths of two dictionaries of 3,153 and 6,292 pairs; that of the authors' program is 100.

    Returns
    -------
    BilingualMap
        Of width ``min(src_dim, tgt_dim)``. ``history`` is the least loss, the number of pairs included.

    Raises
    ------
    UsageError
        If the ridge is not positive.
    InputError
        For pairs that do not fit the spaces, NaN or infinity.

    Notes
    -----
    Two eigendecompositions and one singular value decomposition of (dim, dim), and the moments of the
    distinct words, in float64 on one thread, so that the result does not depend on their number. Memory: the
    rows of these words.
    """
    if not 0 < ridge < np.inf:
        raise UsageError("ridge is out of range", got=ridge, wanted="a positive number")
    check_pairs(X, Y, pairs, None)
    with threadpool_limits(1, user_api="blas"):
        xx, xy, yy, n_translations = _moments(X, Y, pairs)
        src_values, src_axes = np.linalg.eigh(xx)
        tgt_values, tgt_axes = np.linalg.eigh(yy)
        # moments have no negative eigenvalues but by rounding
        grid = np.outer(np.maximum(src_values, 0), np.maximum(tgt_values, 0)) + ridge / 2
        W = src_axes @ (src_axes.T @ xy @ tgt_axes / grid) @ tgt_axes.T
        left, values, right = np.linalg.svd(W, full_matrices=False)
        loss = n_translations - float(np.sum(W * xy))
    signs = np.where(left[np.abs(left).argmax(axis=0), np.arange(len(values))] < 0, -1.0, 1.0)
    roots = np.sqrt(values) * signs
    return BilingualMap(
        left * roots, right.T * roots, "geomm", n_translations, history=(loss,), options={"ridge": ridge}
    )


def _moments(
    X: NDArray[np.floating], Y: NDArray[np.floating], pairs: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], int]:
    """``X^T X``, ``X^T T Y`` and ``Y^T Y`` over distinct words, and the number of ones in T."""
    distinct = np.unique(pairs, axis=0)
    src, tgt = np.unique(distinct[:, 0]), np.unique(distinct[:, 1])
    x, y = X[src].astype(np.float64), Y[tgt].astype(np.float64)
    sums = np.zeros((len(src), Y.shape[1]))
    np.add.at(sums, np.searchsorted(src, distinct[:, 0]), y[np.searchsorted(tgt, distinct[:, 1])])
    moments = x.T @ x, x.T @ sums, y.T @ y
    if not all(np.isfinite(moment).all() for moment in moments):
        raise InputError("the vectors to align hold NaN or infinity", wanted="finite numbers")
    return *moments, len(distinct)
