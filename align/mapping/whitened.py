"""Whiten, rotate, re-weight, de-whiten: the multi-step framework of Artetxe et al. (2018)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from align.errors import UsageError
from align.mapping.bilingual import BilingualMap
from align.mapping.moments import RANK_TOLERANCE, PairMoments, pair_moments

Dewhiten = Literal["none", "src", "tgt"]


@dataclass(frozen=True, eq=False)
class WhitenedMaps:
    """The two matrices, before they are made a :class:`BilingualMap`.

    Parameters
    ----------
    src_matrix : ndarray of float64, shape (src_dim, dim)
    tgt_matrix : ndarray of float64, shape (tgt_dim, dim)
    correlations : ndarray of float64, shape (n_components,)
        Correlations of the whitened sides along the common axes, falling, between 0 and 1.
    src_rank, tgt_rank : int
        Independent directions among the rows of the dictionary.
    """

    src_matrix: NDArray[np.float64]
    tgt_matrix: NDArray[np.float64]
    correlations: NDArray[np.float64]
    src_rank: int
    tgt_rank: int


def whitened_maps(
    moments: PairMoments,
    *,
    src_exponent: float = 0.5,
    tgt_exponent: float = 0.5,
    src_dewhiten: Dewhiten = "src",
    tgt_dewhiten: Dewhiten = "tgt",
    dim: int | None = None,
    ridge: float = 0.0,
) -> WhitenedMaps:
    """:func:`whitened` from moments that are already at hand, as in a loop that tries several settings.

    Parameters are those of :func:`whitened`; nothing is warned about, the ranks are in the result.

    Raises
    ------
    UsageError
        For settings outside their range.

    Notes
    -----
    Two eigendecompositions and one singular value decomposition of d x d matrices in float64 on one thread,
    so that the result does not depend on their number.
    """
    for name, number in (("src_exponent", src_exponent), ("tgt_exponent", tgt_exponent), ("ridge", ridge)):
        if not 0 <= number < np.inf:
            raise UsageError(f"{name} is out of range", got=number, wanted="0 or more")
    for name, side in (("src_dewhiten", src_dewhiten), ("tgt_dewhiten", tgt_dewhiten)):
        if side not in ("none", "src", "tgt"):
            raise UsageError(f"unknown {name}", got=side, wanted="none, src or tgt")
    if dim is not None and dim < 1:
        raise UsageError("the common space needs a dimension", got=dim, wanted="1 or more")
    with threadpool_limits(1, user_api="blas"):
        src_axes, src_roots = _principal(moments.xx, ridge)
        tgt_axes, tgt_roots = _principal(moments.yy, ridge)
        # whitening in the principal axes instead of symmetrically: the rotation between the two cancels
        src_white, tgt_white = src_axes / src_roots, tgt_axes / tgt_roots
        left, correlations, right = np.linalg.svd(src_white.T @ moments.xy @ tgt_white, full_matrices=False)
        signs = np.where(left[np.abs(left).argmax(axis=0), np.arange(len(correlations))] < 0, -1.0, 1.0)
        left, right = left * signs, right.T * signs
        weights = np.clip(correlations, 0.0, 1.0)
        undo = {
            "none": None,
            "src": left.T @ (src_roots[:, None] * left),
            "tgt": right.T @ (tgt_roots[:, None] * right),
        }
        matrices = []
        for white, rotation, exponent, side in (
            (src_white, left, src_exponent, src_dewhiten),
            (tgt_white, right, tgt_exponent, tgt_dewhiten),
        ):
            matrix = white @ rotation * weights**exponent
            back = undo[side]
            matrices.append(np.ascontiguousarray((matrix if back is None else matrix @ back)[:, :dim]))
    return WhitenedMaps(matrices[0], matrices[1], weights, len(src_roots), len(tgt_roots))


def whitened(
    X: NDArray[np.floating],
    Y: NDArray[np.floating],
    pairs: NDArray[np.integer],
    *,
    weights: NDArray[np.floating] | None = None,
    src_exponent: float = 0.5,
    tgt_exponent: float = 0.5,
    src_dewhiten: Dewhiten = "src",
    tgt_dewhiten: Dewhiten = "tgt",
    dim: int | None = None,
    ridge: float = 0.0,
) -> BilingualMap:
    """Map both spaces by whitening, rotation, re-weighting and de-whitening on the rows of a dictionary.

    Artetxe, Labaka and Agirre (2018), "Generalizing and improving bilingual word embedding mappings with a
    multi-step framework of linear transformations", AAAI; the names of its steps:

    1. whitening of each side, ``(X^T X)^(-1/2)`` of its dictionary rows;
    2. rotation of both by the singular vectors of the whitened cross moment, ``U S V^T``;
    3. re-weighting of the common axes by ``S^src_exponent`` and ``S^tgt_exponent``;
    4. de-whitening of each side by the whitening of the source or of the target, or of neither;
    5. the first `dim` axes.

    Exponents of 0.5 on both sides are VecMap's supervised setting, 0 and 1 those of the paper. Without
    re-weighting and de-whitening it is canonical correlation analysis (:func:`align.mapping.cca.cca`).

    Parameters
    ----------
    X : ndarray, shape (n_src, src_dim)
    Y : ndarray, shape (n_tgt, tgt_dim)
        Normalised rows; they are not centred here.
    pairs : ndarray of int, shape (n, 2)
        Row of X, row of Y; rows and pairs may repeat.
    weights : ndarray, shape (n,), optional
        Non-negative, one for each pair.
    src_exponent, tgt_exponent : float
        Not negative.
    src_dewhiten, tgt_dewhiten : {"none", "src", "tgt"}
        Whose whitening is undone on that side.
    dim : int, optional
        Axes to keep; without it as many as both sides have independent directions.
    ridge : float
        Added to both moment matrices before whitening, in units of their mean eigenvalue. It keeps weak
        directions of the dictionary from being blown up: worth choosing by cross-validation (0.3 to 3) even
        with thousands of pairs. Towards infinity whitening ends, and re-weighting alone is left.

    Returns
    -------
    BilingualMap

    Raises
    ------
    InputError
        For pairs or weights that do not fit, NaN or infinity.
    UsageError
        For settings outside their range.

    Warns
    -----
    UserWarning
        If the rows of the dictionary span less than a side's space and `ridge` is 0: whatever lies outside
        their span is then mapped to zero.

    Notes
    -----
    Cost of :func:`align.mapping.moments.pair_moments` and of :func:`whitened_maps`; no copy of X or Y.
    """
    moments = pair_moments(X, Y, pairs, weights=weights)
    maps = whitened_maps(
        moments,
        src_exponent=src_exponent,
        tgt_exponent=tgt_exponent,
        src_dewhiten=src_dewhiten,
        tgt_dewhiten=tgt_dewhiten,
        dim=dim,
        ridge=ridge,
    )
    warn_of_rank(maps.src_rank, X.shape[1], "source", stacklevel=3)
    warn_of_rank(maps.tgt_rank, Y.shape[1], "target", stacklevel=3)
    return BilingualMap(
        maps.src_matrix,
        maps.tgt_matrix,
        "whitened",
        moments.n_pairs,
        options={
            "src_exponent": src_exponent,
            "tgt_exponent": tgt_exponent,
            "src_dewhiten": src_dewhiten,
            "tgt_dewhiten": tgt_dewhiten,
            "ridge": ridge,
            "src_rank": maps.src_rank,
            "tgt_rank": maps.tgt_rank,
        },
    )


def warn_of_rank(rank: int, dim: int, side: str, *, stacklevel: int) -> None:
    """Say that a dictionary does not span a space."""
    if rank < dim:
        warnings.warn(
            f"the {side} rows of the dictionary span {rank} of {dim} dimensions; what lies outside is mapped"
            " to zero. Give more pairs, or a ridge",
            stacklevel=stacklevel,
        )


def _principal(moment: NDArray[np.float64], ridge: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Orthonormal axes as columns, and the root of the moment along each, falling; none that are zero."""
    values, vectors = np.linalg.eigh(moment)
    values, vectors = values[::-1], vectors[:, ::-1]
    values = values + ridge * max(float(values.mean()), 0.0)
    rank = max(1, int((values > values[0] * RANK_TOLERANCE).sum()))
    return vectors[:, :rank], np.sqrt(np.maximum(values[:rank], np.finfo(np.float64).tiny))
