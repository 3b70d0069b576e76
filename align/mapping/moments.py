"""Second moments of paired rows: all that the mapping methods in closed form need to know of a dictionary."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

from align.errors import InputError

_BLOCK_PAIRS = 4096
# Eigenvalues of a moment matrix below this share of the largest are taken for zero: singular values of the
# rows below a millionth, which is what rounding to float32 leaves of linearly dependent columns.
RANK_TOLERANCE = 1e-12


@dataclass(frozen=True, eq=False)
class PairMoments:
    """Weighted sums over pairs (i, j) of ``x_i^T x_i``, ``x_i^T y_j`` and ``y_j^T y_j``.

    Parameters
    ----------
    xx : ndarray of float64, shape (src_dim, src_dim)
    xy : ndarray of float64, shape (src_dim, tgt_dim)
    yy : ndarray of float64, shape (tgt_dim, tgt_dim)
    n_pairs : int
    """

    xx: NDArray[np.float64]
    xy: NDArray[np.float64]
    yy: NDArray[np.float64]
    n_pairs: int


@dataclass(frozen=True, eq=False)
class PairedWords:
    """A checked dictionary, sorted by source row.

    Parameters
    ----------
    src, tgt : ndarray of int, shape (n,)
    weights : ndarray of float64, shape (n,)
    starts : ndarray of int, shape (n_words + 1,)
        Where the pairs of each distinct source row begin, and where the last ones end.
    """

    src: NDArray[np.integer]
    tgt: NDArray[np.integer]
    weights: NDArray[np.float64]
    starts: NDArray[np.intp]

    @classmethod
    def of(
        cls,
        X: NDArray[np.floating],
        Y: NDArray[np.floating],
        pairs: NDArray[np.integer],
        weights: NDArray[np.floating] | None,
    ) -> PairedWords:
        """Check and sort pairs of rows of X (n_src, src_dim) and Y (n_tgt, tgt_dim); zero weights go."""
        w = check_pairs(X, Y, pairs, weights)
        used = np.flatnonzero(w)
        order = used[np.lexsort((pairs[used, 1], pairs[used, 0]))]
        src = pairs[order, 0]
        starts = np.flatnonzero(np.diff(src, prepend=-1))
        return cls(src, pairs[order, 1], w[order], np.append(starts, len(src)))

    def only(self, chosen: NDArray[np.intp]) -> PairedWords:
        """The pairs of some of the distinct source words, given by their numbers in rising order."""
        lengths = np.diff(self.starts)[chosen]
        starts = np.append(0, np.cumsum(lengths))
        rows = np.repeat(self.starts[chosen] - starts[:-1], lengths) + np.arange(starts[-1])
        return PairedWords(self.src[rows], self.tgt[rows], self.weights[rows], starts)

    def tgt_length(self, Y: NDArray[np.floating]) -> float:
        """Weighted sum of the squared lengths of the target rows."""
        total = 0.0
        for start in range(0, len(self.tgt), _BLOCK_PAIRS):
            block = slice(start, start + _BLOCK_PAIRS)
            y = Y[self.tgt[block]].astype(np.float64)
            total += float(self.weights[block] @ np.square(y).sum(axis=1))
        return total

    def blocks(
        self, X: NDArray[np.floating], Y: NDArray[np.floating], step: int = _BLOCK_PAIRS
    ) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]]:
        """For `step` distinct source words at a time: their rows, total weights, weighted sums of targets."""
        for first in range(0, len(self.starts) - 1, step):
            bounds = self.starts[first : first + step + 1]
            span = slice(bounds[0], bounds[-1])
            starts = bounds[:-1] - bounds[0]
            w = self.weights[span]
            y = Y[self.tgt[span]].astype(np.float64)
            if len(starts) < len(y):
                sums = csr_array((w, np.arange(len(y)), bounds - bounds[0]))
                w, y = np.add.reduceat(w, starts), sums @ y
            else:
                y *= w[:, None]
            yield X[self.src[bounds[:-1]]].astype(np.float64), w, y


def pair_moments(
    X: NDArray[np.floating],
    Y: NDArray[np.floating],
    pairs: NDArray[np.integer],
    *,
    weights: NDArray[np.floating] | None = None,
) -> PairMoments:
    """Accumulate the second moments of paired rows.

    Parameters
    ----------
    X : ndarray, shape (n_src, src_dim)
    Y : ndarray, shape (n_tgt, tgt_dim)
    pairs : ndarray of int, shape (n, 2)
        Row of X, row of Y; rows and pairs may repeat.
    weights : ndarray, shape (n,), optional
        Non-negative; an integer weight counts as that many repetitions of the pair.

    Returns
    -------
    PairMoments

    Raises
    ------
    InputError
        For pairs or weights that do not fit, NaN or infinity.

    Notes
    -----
    In float64 and on one thread, so that the result does not depend on their number. Pairs that share a
    source word cost one row: ``m src_dim (src_dim + 2 tgt_dim) + p tgt_dim^2`` multiplications for m distinct
    source and p distinct target words; memory for 4,096 words and their translations at a time.
    """
    words = PairedWords.of(X, Y, pairs, weights)
    with threadpool_limits(1, user_api="blas"):
        xx, xy = np.zeros((X.shape[1],) * 2), np.zeros((X.shape[1], Y.shape[1]))
        for x, w, y in words.blocks(X, Y):
            xy += x.T @ y
            x *= np.sqrt(w)[:, None]
            xx += x.T @ x
        yy = np.zeros((Y.shape[1],) * 2)
        totals = np.bincount(words.tgt, weights=words.weights)
        rows = np.flatnonzero(totals)
        for start in range(0, len(rows), _BLOCK_PAIRS):
            block = rows[start : start + _BLOCK_PAIRS]
            y = Y[block].astype(np.float64) * np.sqrt(totals[block])[:, None]
            yy += y.T @ y
    return PairMoments(_finite(xx), _finite(xy), _finite(yy), len(pairs))


def cross_moment(
    X: NDArray[np.floating],
    Y: NDArray[np.floating],
    pairs: NDArray[np.integer],
    *,
    weights: NDArray[np.floating] | None = None,
) -> NDArray[np.float64]:
    """Only the ``xy`` of :func:`pair_moments`, shape (src_dim, tgt_dim): what an orthogonal map needs."""
    words = PairedWords.of(X, Y, pairs, weights)
    with threadpool_limits(1, user_api="blas"):
        xy = np.zeros((X.shape[1], Y.shape[1]))
        for x, _, y in words.blocks(X, Y):
            xy += x.T @ y
    return _finite(xy)


def check_pairs(
    X: NDArray[np.floating],
    Y: NDArray[np.floating],
    pairs: NDArray[np.integer],
    weights: NDArray[np.floating] | None,
) -> NDArray[np.float64]:
    """The weights of the pairs, shape (n,), ones if none are given.

    Raises
    ------
    InputError
        For anything but two matrices, pairs of their rows, and weights none of which is negative.
    """
    if X.ndim != 2 or Y.ndim != 2:
        raise InputError("these are no spaces", got=f"{X.shape} and {Y.shape}", wanted="(n, dim) twice")
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
        raise InputError(
            "these are no pairs of rows", got=f"{pairs.shape}, {pairs.dtype}", wanted="integers (n, 2)"
        )
    if len(pairs) == 0:
        raise InputError("there is nothing to align", got="no pairs")
    if pairs.min() < 0 or (pairs.max(axis=0) >= (len(X), len(Y))).any():
        raise InputError(
            "pairs point outside the spaces",
            got=f"rows {pairs.min(axis=0).tolist()} to {pairs.max(axis=0).tolist()}",
            wanted=f"0 to {[len(X) - 1, len(Y) - 1]}",
        )
    w = np.ones(len(pairs)) if weights is None else np.asarray(weights, np.float64)
    if w.shape != (len(pairs),) or not (w >= 0).all() or not w.any():
        raise InputError(
            "weights do not fit the pairs", got=w.shape, wanted=f"({len(pairs)},), none negative"
        )
    return w


def _finite(moment: NDArray[np.float64]) -> NDArray[np.float64]:
    if not np.isfinite(moment).all():
        raise InputError("the vectors to align hold NaN or infinity", wanted="finite numbers")
    return moment
