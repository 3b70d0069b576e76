"""Normalisation of embedding spaces: unit length, zero mean, whitening."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from align.errors import InputError

_BLOCK_ROWS = 512  # a block in float64 stays in cache


def unit(matrix: NDArray[np.floating]) -> NDArray[np.floating]:
    """Rows divided by their Euclidean length; rows of zeros stay zeros.

    Parameters
    ----------
    matrix : ndarray, shape (n, dim)

    Returns
    -------
    ndarray, shape (n, dim)
        New array of the same dtype. Lengths are computed in float64.
    """
    out = np.empty_like(matrix)
    for start in range(0, len(matrix), _BLOCK_ROWS):
        block = matrix[start : start + _BLOCK_ROWS].astype(np.float64)
        lengths = np.sqrt(np.einsum("ij,ij->i", block, block))
        lengths[lengths == 0] = 1.0
        np.divide(block, lengths[:, None], out=out[start : start + _BLOCK_ROWS], casting="same_kind")
    return out


def centre(matrix: NDArray[np.floating]) -> NDArray[np.floating]:
    """Rows minus their mean row, in a new array of the same dtype."""
    return (matrix - matrix.mean(axis=0, dtype=np.float64)).astype(matrix.dtype)


def whiten(matrix: NDArray[np.floating]) -> NDArray[np.floating]:
    """Rows turned so that the columns are uncorrelated with unit second moment (ZCA, mean not removed).

    ``X (X^T X)^(-1/2)``, the whitening of Artetxe et al. (2018), "Generalizing and improving bilingual word
    embedding mappings with a multi-step framework of linear transformations", step 1.

    Parameters
    ----------
    matrix : ndarray, shape (n, dim)

    Returns
    -------
    ndarray, shape (n, dim)
        With identity Gram matrix, in the same dtype.

    Raises
    ------
    InputError
        If the columns are linearly dependent, as with fewer rows than columns.
    """
    with threadpool_limits(1, user_api="blas"):  # the same bits for any number of threads
        _, values, right = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
        if len(values) < matrix.shape[1] or values[-1] <= values[0] * 1e-7:
            raise InputError(
                "the space cannot be whitened",
                got=f"rank below {matrix.shape[1]}",
                wanted="more independent rows",
            )
        return (matrix @ ((right.T / values) @ right)).astype(matrix.dtype)
