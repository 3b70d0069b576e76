"""Low-rank embeddings: a matrix as coordinates times primitives.

A plan is linear, so it applies to the coordinates alone: ``W @ (C P) = (W @ C) P``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from align.errors import InputError, UsageError

_BLOCK_ROWS = 4096  # rows held in float64 at a time


@dataclass(frozen=True, eq=False)
class Factorized:
    """A matrix of rank k in two factors.

    Parameters
    ----------
    coordinates : ndarray, shape (n, k)
        One row a token; orthonormal columns.
    primitives : ndarray, shape (k, dim)
        Shared directions, orthogonal, longest first; the largest entry of each is positive.
    explained : float
        Share of the matrix's sum of squares that is kept.
    """

    coordinates: NDArray[Any]
    primitives: NDArray[Any]
    explained: float

    def directions(self) -> NDArray[np.float32]:
        """The primitives at length 1, shape (k, dim): coordinates on them have the lengths of the rows."""
        lengths = np.linalg.norm(self.primitives.astype(np.float64), axis=1, keepdims=True)
        found = self.primitives / np.where(lengths > 0, lengths, 1.0)
        return np.ascontiguousarray(found, np.float32)

    def fold(self, coordinates: NDArray[Any] | None = None) -> NDArray[Any]:
        """Full-size rows, of the own coordinates or of others in the same space."""
        own = self.coordinates if coordinates is None else coordinates
        product = own.astype(np.float32, copy=False) @ self.primitives.astype(np.float32, copy=False)
        return product.astype(self.primitives.dtype, copy=False)


def factorize(matrix: NDArray[Any], k: int) -> Factorized:
    """The best approximation of rank k, by truncated singular value decomposition.

    With ``E = U S V^T``, coordinates are ``U[:, :k]`` and primitives ``(S V^T)[:k]``; nothing is centred. See
    Liu et al. (2024), "OFA: A framework of initializing unseen subword embeddings", arXiv:2311.08849.

    Parameters
    ----------
    matrix : ndarray, shape (n, dim)
        float16, float32 or float64.
    k : int
        1 to dim.

    Returns
    -------
    Factorized
        In the matrix's dtype. Components past the matrix's own rank are zero.

    Raises
    ------
    UsageError
        For a rank out of range.
    InputError
        For a matrix that is not 2-d or holds NaN or infinity.

    Notes
    -----
    The eigenvectors of ``E^T E`` in float64: time ``2 n dim**2`` operations, memory ``3 dim**2`` float64
    numbers and blocks of 4096 rows. Singular values below 1e-7 of the largest count as zero, which is the
    precision of float32.
    """
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise InputError("only matrices with rows and columns can be factorised", got=matrix.shape)
    n, dim = matrix.shape
    if not 1 <= k <= dim:
        raise UsageError("the rank is out of range", got=k, wanted=f"1 to {dim}")
    gram = np.zeros((dim, dim))
    for start in range(0, n, _BLOCK_ROWS):
        block = matrix[start : start + _BLOCK_ROWS].astype(np.float64)
        gram += block.T @ block
    if not np.isfinite(gram).all():
        raise InputError("the matrix holds NaN or infinite values", hint="repair the checkpoint first")
    squares, directions = np.linalg.eigh(gram)
    squares, directions = np.maximum(squares[::-1], 0.0), directions[:, ::-1]
    top = directions[:, :k]
    top = top * np.sign(top[np.abs(top).argmax(axis=0), np.arange(k)])
    lengths = np.sqrt(squares[:k])
    real = lengths > 1e-7 * lengths[0]
    scaled = np.where(real, top / np.where(real, lengths, 1.0), 0.0)
    coordinates = np.empty((n, k), matrix.dtype)
    for start in range(0, n, _BLOCK_ROWS):
        coordinates[start : start + _BLOCK_ROWS] = (
            matrix[start : start + _BLOCK_ROWS].astype(np.float64) @ scaled
        )
    primitives = (top * np.where(real, lengths, 0.0)).T.astype(matrix.dtype)
    total = squares.sum()
    explained = float(squares[:k].sum() / total) if total > 0 else 1.0
    return Factorized(coordinates, primitives, explained)
