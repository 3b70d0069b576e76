"""A bridge between models of different width: the small model's embeddings in the large model's space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from align.errors import InputError, UsageError
from align.mapping.least_squares import least_squares
from align.mapping.linear import LinearMap
from align.mapping.moments import check_pairs, pair_moments
from align.mapping.procrustes import procrustes
from align.neighbors import top_k

Kind = Literal["least_squares", "procrustes", "nearest"]
KINDS: tuple[Kind, ...] = ("least_squares", "procrustes", "nearest")

_BLOCK_ROWS = 1024
_MAX_HELD_OUT = 2000


@dataclass(frozen=True, eq=False)
class AffineMap:
    """``rows @ linear.matrix + offset``: what maps the mean of the shared tokens onto their mean."""

    linear: LinearMap
    offset: NDArray[np.float64]

    def __call__(self, rows: NDArray[np.floating]) -> NDArray[np.floating]:
        """Map rows, shape (n, src_dim), keeping their dtype."""
        return self.linear(rows) + self.offset.astype(rows.dtype)


@dataclass(frozen=True, eq=False)
class NearestMap:
    """Means over the nearest shared tokens, weighted by the inverse of their distance.

    Parameters
    ----------
    src_anchors : ndarray, shape (n_anchors, src_dim)
    tgt_anchors : ndarray, shape (n_anchors, tgt_dim)
    k : int
    """

    src_anchors: NDArray[np.floating]
    tgt_anchors: NDArray[np.floating]
    k: int

    def neighbors(self, rows: NDArray[np.floating]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Numbers of the k nearest anchors of rows (n, src_dim), and their weights, which sum to 1.

        A row that equals an anchor is that anchor.
        """
        if rows.ndim != 2 or rows.shape[1] != self.src_anchors.shape[1]:
            raise InputError(
                "rows do not fit the map", got=rows.shape, wanted=f"(n, {self.src_anchors.shape[1]})"
            )
        # |a|^2 - 2 r.a orders by Euclidean distance
        bias = -0.5 * np.square(self.src_anchors.astype(np.float64)).sum(axis=1)
        indices = top_k(rows, self.src_anchors, self.k, metric="inner", bias=bias).indices
        weights = np.empty(indices.shape)
        for start in range(0, len(rows), _BLOCK_ROWS):
            block = slice(start, start + _BLOCK_ROWS)
            gaps = self.src_anchors[indices[block]].astype(np.float64) - rows[block, None]
            distances = np.sqrt(np.square(gaps).sum(axis=2))
            same = distances == 0
            inverse = np.divide(1.0, distances, out=np.zeros_like(distances), where=~same)
            inverse = np.where(same.any(axis=1, keepdims=True), same, inverse)
            weights[block] = inverse / inverse.sum(axis=1, keepdims=True)
        return indices, weights

    def __call__(self, rows: NDArray[np.floating]) -> NDArray[np.floating]:
        """Map rows, shape (n, src_dim), keeping their dtype."""
        indices, weights = self.neighbors(rows)
        out = np.empty((len(rows), self.tgt_anchors.shape[1]), rows.dtype)
        for start in range(0, len(rows), _BLOCK_ROWS):
            block = slice(start, start + _BLOCK_ROWS)
            out[block] = np.einsum("nk,nkd->nd", weights[block], self.tgt_anchors[indices[block]])
        return out


@dataclass(frozen=True, eq=False)
class Bridge:
    """How rows of a small model's embeddings become rows of a large model's, and how well.

    Parameters
    ----------
    map : AffineMap or NearestMap
        Fitted on all shared tokens.
    kind : str
    n_pairs : int
    held_out_error : float
        Root of the mean squared error on shared tokens that were held out of the fit, relative to their
        spread around the mean of the others: at 1 the mean row of the large model would do as well.
    held_out_p_at_1 : float
        Share of the tokens held out whose mapped row is closer to their own row than to that of any other
        shared token, by cosine around that mean.
    n_held_out : int
        Distinct source tokens held out.
    """

    map: AffineMap | NearestMap
    kind: Kind
    n_pairs: int
    held_out_error: float
    held_out_p_at_1: float
    n_held_out: int

    def __call__(self, rows: NDArray[np.floating]) -> NDArray[np.floating]:
        """Rows of the small model, shape (n, src_dim), in the large model's space, (n, tgt_dim); dtype kept.

        Raises
        ------
        InputError
            If their width is not that of the small model.
        """
        return self.map(rows)


def bridge(
    X: NDArray[np.floating],
    Y: NDArray[np.floating],
    pairs: NDArray[np.integer],
    *,
    kind: Kind = "least_squares",
    ridge: float | Literal["auto"] = "auto",
    k: int = 10,
    held_out: float = 0.1,
    seed: int = 0,
) -> Bridge:
    """Carry embeddings between the spaces of two models by the tokens that both know.

    De Vries and Nissim (2021), "As good as new. How to successfully recycle English GPT-2 to make models for
    other languages": embeddings for a new vocabulary are trained with a small model and transformed to the
    larger ones. The three transformations, each with what the paper's data did not ask for:

    - ``"least_squares"``: any linear map, here with a constant and a ridge;
    - ``"procrustes"``: a semi-orthogonal one, with a constant and one factor for the length of the rows;
    - ``"nearest"``: no linear map at all: mean of the large model's rows of the k nearest shared tokens, with
      the inverse of the Euclidean distance for weights.

    Least squares makes the smallest errors where shared tokens are many, partly by drawing what it cannot
    predict towards the mean. Procrustes keeps the angles between rows (all of them on the way to a wider
    space), cannot overfit much, and is the better one where the spaces are nearly rotations of each other,
    where shared tokens are few, or where tokens must stay apart rather than be close on average. Nearest
    stays within the convex hull of real rows, close on average, but blurs tokens into each other. So there
    are two figures on tokens held out: error and precision may rank the three differently.

    Parameters
    ----------
    X : ndarray, shape (n_src, src_dim)
        The small model's rows as they are: not normalised, since the result must be rows of the large model.
    Y : ndarray, shape (n_tgt, tgt_dim)
        The large model's.
    pairs : ndarray of int, shape (n, 2)
        Shared tokens: row of X, row of Y.
    kind : {"least_squares", "procrustes", "nearest"}
    ridge : float or "auto"
        Of least squares, as in :func:`align.mapping.least_squares.least_squares`.
    k : int
        Neighbours of ``"nearest"``.
    held_out : float
        Share of the distinct source tokens held out for the figures, 2,000 at most; the map is fitted on all.
    seed : int
        Of the choice of tokens held out.

    Returns
    -------
    Bridge

    Raises
    ------
    InputError
        For pairs that do not fit or fewer than 3 source tokens, NaN or infinity.
    UsageError
        For settings outside their range.

    Notes
    -----
    Cost: two fits, and the search for the nearest rows of the tokens held out. Memory: a float64 copy of the
    paired rows.
    """
    if kind not in KINDS:
        raise UsageError("unknown kind of bridge", got=kind, wanted=", ".join(KINDS))
    if not 0 < held_out < 1 or k < 1:
        raise UsageError("settings are out of range", got=f"held_out {held_out}, k {k}")
    check_pairs(X, Y, pairs, None)
    tokens = np.unique(pairs[:, 0])
    if len(tokens) < 3:
        raise InputError("too few shared tokens", got=len(tokens), wanted="3 or more")
    n_held_out = min(max(1, round(held_out * len(tokens))), _MAX_HELD_OUT)
    left_out = np.random.default_rng(seed).choice(tokens, n_held_out, replace=False)
    test = np.isin(pairs[:, 0], left_out)
    mapped = _fit(X, Y, pairs[~test], kind, ridge, k)(X[pairs[test, 0]]).astype(np.float64)
    mean = Y[pairs[~test, 1]].mean(axis=0, dtype=np.float64)
    wanted = Y[pairs[test, 1]].astype(np.float64)
    spread = float(np.square(wanted - mean).sum())
    error = float(np.sqrt(np.square(mapped - wanted).sum() / spread)) if spread > 0 else 0.0
    candidates = np.unique(pairs[:, 1])
    found = candidates[top_k(mapped - mean, Y[candidates] - mean, 1).indices[:, 0]]
    hits = np.unique(pairs[test, 0][found == pairs[test, 1]])
    return Bridge(
        _fit(X, Y, pairs, kind, ridge, k), kind, len(pairs), error, len(hits) / n_held_out, n_held_out
    )


def _fit(
    X: NDArray[np.floating],
    Y: NDArray[np.floating],
    pairs: NDArray[np.integer],
    kind: Kind,
    ridge: float | Literal["auto"],
    k: int,
) -> AffineMap | NearestMap:
    if kind == "nearest":
        return NearestMap(X[pairs[:, 0]], Y[pairs[:, 1]], min(k, len(pairs)))
    tokens, rows, counts = np.unique(pairs[:, 0], return_inverse=True, return_counts=True)
    x, y = X[tokens].astype(np.float64), Y[pairs[:, 1]].astype(np.float64)
    src_mean, tgt_mean = np.average(x, axis=0, weights=counts), y.mean(axis=0)
    x -= src_mean
    y -= tgt_mean
    local = np.stack([rows.ravel(), np.arange(len(pairs))], axis=1)
    if kind == "least_squares":
        linear: LinearMap = least_squares(x, y, local, ridge=ridge, centred=True)
    else:
        linear = _scaled_procrustes(x, y, local)
    return AffineMap(linear, tgt_mean - src_mean @ linear.matrix)


def _scaled_procrustes(
    x: NDArray[np.float64], y: NDArray[np.float64], pairs: NDArray[np.integer]
) -> LinearMap:
    W = procrustes(x, y, pairs).matrix
    moments = pair_moments(x, y, pairs)
    with threadpool_limits(1, user_api="blas"):
        length = float(np.sum((moments.xx @ W) * W))
    inner, scale = float(np.sum(moments.xy * W)), float(np.trace(moments.yy))
    factor = inner / length if length > 0 else 1.0
    error = max(scale - 2 * factor * inner + factor**2 * length, 0.0)
    residual = float(np.sqrt(error / scale)) if scale > 0 else 0.0
    return LinearMap(factor * W, "scaled_procrustes", len(pairs), residual)
