"""Normalisation of embedding spaces: unit length, zero mean, whitening, removal of top components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from align.errors import InputError, UsageError
from align.threads import workers

_BLOCK_ROWS = 512  # a block in float64 stays in cache
_MANY_BLOCKS = 16  # worth threads

UNIT_CENTRE_UNIT = ("unit", "centre", "unit")
# Zhang et al. (2019), "Are girls neko or shojo? Cross-lingual alignment of non-isomorphic embeddings with
# iterative normalization"
ITERATIVE = ("unit", "centre") * 5 + ("unit",)


@dataclass(frozen=True, eq=False)
class Normalizer:
    """Normalisation steps fitted on one space, to be repeated on other rows of it.

    Parameters
    ----------
    steps : tuple of str
        Each ``"unit"``, ``"centre"``, ``"whiten"`` or ``"remove:K"`` (the K top principal components).
    arrays : tuple of (ndarray of float64 or None)
        What each step needs: the mean row, the whitening matrix, the components as rows; None for ``"unit"``.
    """

    steps: tuple[str, ...]
    arrays: tuple[NDArray[np.float64] | None, ...]

    def __call__(self, rows: NDArray[np.floating]) -> NDArray[np.floating]:
        """Normalise rows, shape (n, dim), keeping their dtype."""
        for step, array in zip(self.steps, self.arrays, strict=True):
            rows = _step(step, rows, array)
        return rows


def normalize(
    matrix: NDArray[np.floating], steps: Sequence[str] = UNIT_CENTRE_UNIT
) -> tuple[NDArray[np.floating], Normalizer]:
    """Normalise a space step by step, and keep what was done for rows that come later.

    Parameters
    ----------
    matrix : ndarray, shape (n, dim)
    steps : sequence of str
        As in :class:`Normalizer`, in any order and number.

    Returns
    -------
    matrix : ndarray, shape (n, dim), of the same dtype
    normalizer : Normalizer
        ``normalizer(matrix)`` gives the same rows again.

    Raises
    ------
    UsageError
        For an unknown step.
    InputError
        For rows that a step cannot be fitted on.
    """
    arrays = []
    for step in steps:
        array = _fit_step(step, matrix)
        arrays.append(array)
        matrix = _step(step, matrix, array)
    return matrix, Normalizer(tuple(steps), tuple(arrays))


def _fit_step(step: str, matrix: NDArray[np.floating]) -> NDArray[np.float64] | None:
    if step == "unit":
        return None
    if step == "centre":
        return matrix.mean(axis=0, dtype=np.float64)
    if step == "whiten":
        return _whitening(matrix)
    name, _, number = step.partition(":")
    if name == "remove" and number.isdecimal() and 0 < int(number) < matrix.shape[1]:
        with threadpool_limits(1, user_api="blas"):
            wide = matrix.astype(np.float64)
            _, vectors = np.linalg.eigh(wide.T @ wide)
        return np.ascontiguousarray(vectors[:, ::-1][:, : int(number)].T)
    raise UsageError("unknown step of normalisation", got=step, wanted="unit, centre, whiten or remove:K")


def _step(step: str, rows: NDArray[np.floating], array: NDArray[np.float64] | None) -> NDArray[np.floating]:
    if array is None:
        return unit(rows)
    if rows.ndim != 2 or rows.shape[1] != array.shape[-1]:
        raise InputError("rows do not fit the normaliser", got=rows.shape, wanted=f"(n, {array.shape[-1]})")
    if step == "centre":
        return (rows - array).astype(rows.dtype)
    with threadpool_limits(1, user_api="blas"):  # the same bits for any number of threads
        if step == "whiten":
            return (rows @ array).astype(rows.dtype)
        return (rows - (rows @ array.T) @ array).astype(rows.dtype)


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

    def divide(start: int) -> None:
        block = matrix[start : start + _BLOCK_ROWS].astype(np.float64)
        lengths = np.sqrt(np.einsum("ij,ij->i", block, block))
        lengths[lengths == 0] = 1.0
        np.divide(block, lengths[:, None], out=out[start : start + _BLOCK_ROWS], casting="same_kind")

    starts = range(0, len(matrix), _BLOCK_ROWS)
    if len(starts) < _MANY_BLOCKS:
        for start in starts:
            divide(start)
    else:
        with workers() as threads:
            list(threads.map(divide, starts))
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
    return _step("whiten", matrix, _whitening(matrix))


def _whitening(matrix: NDArray[np.floating]) -> NDArray[np.float64]:
    with threadpool_limits(1, user_api="blas"):  # the same bits for any number of threads
        _, values, right = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
        if len(values) < matrix.shape[1] or values[-1] <= values[0] * 1e-7:
            raise InputError(
                "the space cannot be whitened",
                got=f"rank below {matrix.shape[1]}",
                wanted="more independent rows",
            )
        return (right.T / values) @ right
