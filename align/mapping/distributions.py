"""A first dictionary without any knowledge: words with similar distributions of similarities."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from align.mapping.sweep import Sweep, sweep
from align.normalize import UNIT_CENTRE_UNIT, normalize


def distribution_pairs(
    X: NDArray[np.floating], Y: NDArray[np.floating], *, cutoff: int = 4000, k: int = 10
) -> Sweep:
    """Match words of two spaces by the sorted similarities to the other words of their own space.

    Artetxe, Labaka and Agirre (2018), "A robust self-learning method for fully unsupervised cross-lingual
    mappings of word embeddings", ACL, section 3.2: the rows of ``(X X^T)^(1/2)``, each sorted, do not depend
    on the axes of the space, and are alike for translations when the two spaces are nearly isometric.

    Parameters
    ----------
    X : ndarray, shape (n_src, src_dim)
    Y : ndarray, shape (n_tgt, tgt_dim)
        Normalised rows, most frequent first. The widths may differ.
    cutoff : int
        Words of each side to use.
    k : int
        Neighbours of the correction for hubs.

    Returns
    -------
    Sweep
        Its pairs are weak evidence: a few per cent of them are right where the method works at all.

    Notes
    -----
    Three products of (cutoff, cutoff) and two decompositions of (dim, dim); memory ``3 cutoff^2`` float32
    numbers, 200 MB at 4,000.
    """
    n = min(cutoff, len(X), len(Y))
    signatures = [_signatures(rows[:n]) for rows in (X, Y)]
    spreads = sweep(signatures[0], signatures[1], k=k)
    return sweep(
        signatures[0],
        signatures[1],
        src_penalty=spreads.src_spread / 2,
        tgt_penalty=spreads.tgt_spread / 2,
        k=k,
    )


def _signatures(rows: NDArray[np.floating]) -> NDArray[np.float32]:
    """Sorted rows of the square root of the Gram matrix, unit, centred, unit."""
    rows = rows.astype(np.float32)
    values, axes = np.linalg.eigh(rows.T.astype(np.float64) @ rows)
    # with X = U S V^T: U S U^T = X V S^-1 V^T X^T
    safe = np.where(values > values[-1] * 1e-12, values, np.inf)
    quarter = (rows @ (axes * safe**-0.25)).astype(np.float32)
    root = quarter @ quarter.T
    root.sort(axis=1)
    return normalize(root, UNIT_CENTRE_UNIT)[0]
