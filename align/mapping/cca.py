"""Canonical correlation analysis: the axes along which the two sides of a dictionary correlate most."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from align.mapping.bilingual import BilingualMap
from align.mapping.moments import pair_moments
from align.mapping.whitened import warn_of_rank, whitened_maps


def cca(
    X: NDArray[np.floating],
    Y: NDArray[np.floating],
    pairs: NDArray[np.integer],
    *,
    weights: NDArray[np.floating] | None = None,
    dim: int | None = None,
    ridge: float = 0.0,
    canonical: bool = True,
) -> BilingualMap:
    """Map both spaces onto their canonical axes, ``(X^T X)^(-1/2) U`` and ``(Y^T Y)^(-1/2) V``.

    Hotelling (1936), "Relations between two sets of variates"; for word vectors Faruqui and Dyer (2014),
    "Improving vector space word representations using multilingual correlation". ``U S V^T`` is the singular
    value decomposition of the whitened cross moment of the dictionary, S the correlations.

    Parameters
    ----------
    X : ndarray, shape (n_src, src_dim)
    Y : ndarray, shape (n_tgt, tgt_dim)
        Normalised rows. Correlations in the strict sense are those of centred columns; nothing is centred
        here.
    pairs : ndarray of int, shape (n, 2)
        Row of X, row of Y; rows and pairs may repeat.
    weights : ndarray, shape (n,), optional
        Non-negative, one for each pair.
    dim : int, optional
        Leading axes to keep; all without it.
    ridge : float
        Added to both moment matrices, in units of their mean eigenvalue.
    canonical : bool
        False leaves out the inverse roots of the moments and projects onto U and V alone, orthogonal maps, as
        in Glavaš et al. (2019), "How to (properly) evaluate cross-lingual word embeddings".

    Returns
    -------
    BilingualMap
        On the rows of the dictionary, each once, the columns of both sides have unit second moment, and
        neither side's map changes if the other's space undergoes an invertible linear map.

    Raises
    ------
    InputError
        For pairs or weights that do not fit, NaN or infinity.
    UsageError
        For settings outside their range.

    Warns
    -----
    UserWarning
        If the rows of the dictionary span less than a side's space and `ridge` is 0.

    Notes
    -----
    Cost of :func:`align.mapping.whitened.whitened`, of which it is a case.
    """
    moments = pair_moments(X, Y, pairs, weights=weights)
    maps = whitened_maps(
        moments,
        src_exponent=0.0,
        tgt_exponent=0.0,
        src_dewhiten="none" if canonical else "src",
        tgt_dewhiten="none" if canonical else "tgt",
        dim=dim,
        ridge=ridge,
    )
    warn_of_rank(maps.src_rank, X.shape[1], "source", stacklevel=3)
    warn_of_rank(maps.tgt_rank, Y.shape[1], "target", stacklevel=3)
    options = {
        "canonical": canonical,
        "ridge": ridge,
        "src_rank": maps.src_rank,
        "tgt_rank": maps.tgt_rank,
        "mean_correlation": float(maps.correlations[:dim].mean()),
    }
    return BilingualMap(maps.src_matrix, maps.tgt_matrix, "cca", moments.n_pairs, options=options)
