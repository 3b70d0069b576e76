"""Least squares and ridge regression from one space to another."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from align.errors import UsageError
from align.mapping.bilingual import BilingualMap
from align.mapping.linear import LinearMap
from align.mapping.moments import RANK_TOLERANCE, PairedWords, PairMoments, pair_moments

_RIDGES = tuple(float(r) for r in 10.0 ** np.arange(-5, 2.5, 0.5))
_LEFT_OUT_WORDS = 4096


@dataclass(frozen=True, eq=False)
class LeastSquaresMap(LinearMap):
    """A :class:`LinearMap` by least squares, and what its ridge was worth.

    Parameters
    ----------
    ridge : float
        In units of the mean eigenvalue of ``X^T X`` over the dictionary.
    left_out_residual : float
        Like ``residual``, but each source word is mapped by the fit on all the others. NaN if that was not
        asked for.
    rank : int
        Independent directions among the source rows of the dictionary.
    """

    ridge: float = field(default=0.0, kw_only=True)
    left_out_residual: float = field(default=float("nan"), kw_only=True)
    rank: int = field(default=0, kw_only=True)

    def bilingual(self) -> BilingualMap:
        """The same map as a pair: the target side stays as it is."""
        options: dict[str, object] = {"ridge": self.ridge, "rank": self.rank}
        if np.isfinite(self.left_out_residual):  # JSON knows no NaN
            options["left_out_residual"] = self.left_out_residual
        return replace(LinearMap.bilingual(self), options=options)


def least_squares(
    X: NDArray[np.floating],
    Y: NDArray[np.floating],
    pairs: NDArray[np.integer],
    *,
    weights: NDArray[np.floating] | None = None,
    ridge: float | Literal["auto"] = 0.0,
    centred: bool = False,
) -> LeastSquaresMap:
    """Fit the matrix W that minimises ``sum w |x_i W - y_j|^2 + r |W|^2`` over paired rows.

    Mikolov, Le and Sutskever (2013), "Exploiting similarities among languages for machine translation",
    equation 3, is the case without ridge; Hoerl and Kennard (1970) is the ridge.

    Parameters
    ----------
    X : ndarray, shape (n_src, src_dim)
    Y : ndarray, shape (n_tgt, tgt_dim)
        Normalised rows; no constant is fitted.
    pairs : ndarray of int, shape (n, 2)
        Row of X, row of Y; rows and pairs may repeat.
    weights : ndarray, shape (n,), optional
        Non-negative; an integer weight counts as that many repetitions of the pair.
    ridge : float or "auto"
        In units of the mean eigenvalue of ``X^T X`` over the dictionary. ``"auto"`` takes the one of 15 from
        1e-5 to 100 with the smallest error on words left out.
    centred : bool
        Say so if both sides were centred on the means over these very pairs: a word left out then has to
        leave the means too, or it is betrayed by the others, with which it sums to zero.

    Returns
    -------
    LeastSquaresMap

    Raises
    ------
    InputError
        For pairs or weights that do not fit, NaN or infinity.
    UsageError
        For a negative ridge.

    Warns
    -----
    UserWarning
        If the source rows of the dictionary do not span their space and `ridge` is 0: of the many minimisers
        W is then the one of least norm, which maps to zero whatever is orthogonal to them.

    Notes
    -----
    Solved by eigendecomposition of ``X^T X`` in float64 on one thread: singular values of the rows below 1e-6
    of the largest count as zero. ``"auto"`` leaves out each source word with all its translations, exactly
    and without refitting: with the leverage ``h`` of the word, the error of its mean translation grows by
    ``1 / (1 - h)`` (Allen 1974, "The relationship between variable selection and data augmentation and a
    method for prediction"). It is computed for up to 4,096 words spread over the dictionary, at
    ``4096 src_dim tgt_dim`` multiplications for each strength.
    """
    if ridge != "auto" and not 0 <= ridge < np.inf:
        raise UsageError("the ridge is out of range", got=ridge, wanted="0 or more, or auto")
    words = PairedWords.of(X, Y, pairs, weights)
    moments = pair_moments(X, Y, pairs, weights=weights)
    with threadpool_limits(1, user_api="blas"):
        values, axes = np.linalg.eigh(moments.xx)
        rank = int((values > values[-1] * RANK_TOLERANCE).sum())
        values, axes = np.maximum(values[-max(rank, 1) :], 0.0), axes[:, -max(rank, 1) :]
        unit_ridge = float(np.trace(moments.xx)) / len(moments.xx)
        turned = axes.T @ moments.xy
        left_out = float("nan")
        if ridge == "auto":
            candidates = _RIDGES if unit_ridge > 0 else (0.0,)
            errors = _left_out_errors(
                X, Y, words, values, axes, turned, [r * unit_ridge for r in candidates], centred
            )
            best = int(np.argmin(errors))
            chosen, left_out = candidates[best], float(errors[best])
        else:
            chosen = float(ridge)
            if rank < X.shape[1] and chosen == 0:
                warnings.warn(
                    f"the source rows of the dictionary span {rank} of {X.shape[1]} dimensions; what is"
                    " orthogonal to them is mapped to zero. Give more pairs, or a ridge",
                    stacklevel=2,
                )
        W = axes @ (_inverse(values + chosen * unit_ridge)[:, None] * turned)
        residual = _residual(X, Y, words, W, moments)
    return LeastSquaresMap(
        W,
        "least_squares",
        moments.n_pairs,
        residual,
        ridge=chosen,
        left_out_residual=left_out,
        rank=rank,
    )


def _inverse(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(1.0, values, out=np.zeros_like(values), where=values > 0)


def _residual(
    X: NDArray[np.floating],
    Y: NDArray[np.floating],
    words: PairedWords,
    W: NDArray[np.float64],
    moments: PairMoments,
) -> float:
    """Blocks hold the weighted sum of a word's translations: their spread around it is added at the end."""
    scale, explained, error = float(np.trace(moments.yy)), 0.0, 0.0
    for x, w, y in words.blocks(X, Y):
        y /= w[:, None]
        error += float(w @ np.square(x @ W - y).sum(axis=1))
        explained += float(w @ np.square(y).sum(axis=1))
    spread = max(scale - explained, 0.0) if len(words.src) > len(words.starts) - 1 else 0.0
    return float(np.sqrt((error + spread) / scale)) if scale > 0 else 0.0


def _left_out_errors(
    X: NDArray[np.floating],
    Y: NDArray[np.floating],
    words: PairedWords,
    values: NDArray[np.float64],
    axes: NDArray[np.float64],
    turned: NDArray[np.float64],
    ridges: list[float],
    centred: bool,
) -> NDArray[np.float64]:
    """Root of the mean squared error over words left out, relative to the length of the translations."""
    chosen = np.unique(np.linspace(0, len(words.starts) - 2, _LEFT_OUT_WORDS).astype(np.intp))
    sample = words.only(chosen)
    spread, errors = 0.0, np.zeros(len(ridges))
    mean_leverage = 1.0 / float(words.weights.sum()) if centred else 0.0
    for x, w, y in sample.blocks(X, Y, 512):
        z = x @ axes
        y /= w[:, None]
        spread -= float(w @ np.square(y).sum(axis=1))
        for r, ridge in enumerate(ridges):
            inverse = _inverse(values + ridge)
            leverage = w * (np.square(z) @ inverse + mean_leverage)
            error = np.square(y - (z * inverse) @ turned).sum(axis=1) / np.square(1.0 - leverage)
            errors[r] += float(w @ error)
    scale = sample.tgt_length(Y)
    return np.sqrt((errors + max(spread + scale, 0.0)) / scale) if scale > 0 else np.zeros(len(ridges))
