"""Sparsemax over inner products with many anchors, block by block.

Martins and Astudillo (2016), "From softmax to sparsemax", arXiv:1602.02068: the Euclidean projection of a row
of scores onto the simplex, ``p_j = max(z_j - tau, 0)`` with the one ``tau`` that makes the row sum to 1. Few
entries are positive, so no row of scores is ever sorted or kept.

Scores are defined as in :mod:`align.neighbors`: float64 inner products of float32 rows in one fixed order. A
float32 matrix product only says which anchors cannot be in the support.
"""

from __future__ import annotations

import numba as nb
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from align.errors import InputError, UsageError
from align.neighbors.exact import rounding_bound
from align.neighbors.kernels import dot
from align.threads import workers

_BLOCK_ENTRIES, _BLOCK_ROWS = 1 << 23, 256  # 32 MiB of products at most
_SCAN = 64  # products examined at once; almost all such groups hold none above the floor


def sparsemax_mix(
    queries: NDArray[np.floating], anchors: NDArray[np.floating], *, temperature: float = 1.0
) -> sp.csr_array:
    """Sparsemax of ``queries @ anchors.T / temperature``, exactly and without that matrix.

    Parameters
    ----------
    queries : ndarray, shape (n_queries, dim)
    anchors : ndarray, shape (n_anchors, dim)
        Both are taken as float32. Give unit rows for cosines.
    temperature : float
        Smaller is sparser; 1 is the published one.

    Returns
    -------
    csr_array of float32, shape (n_queries, n_anchors)
        Rows sum to 1; with no anchors they are empty.

    Raises
    ------
    InputError
        For widths that differ, NaN or infinity.
    UsageError
        For a temperature that is not positive.

    Notes
    -----
    Time is that of the float32 matrix product and, for each row, a sort of its candidates: the scores above
    the threshold that the largest score of every 64 alone would have. Adding scores never lowers the
    threshold, so nothing of the support is missed. Memory: 32 MiB of products a thread, up to four times that
    where supports are wide, and 16 bytes an entry of the result. The same bits for any number of threads.
    """
    if not temperature > 0:
        raise UsageError("the temperature must be positive", got=temperature)
    if queries.ndim != 2 or anchors.ndim != 2 or queries.shape[1] != anchors.shape[1]:
        raise InputError("queries and anchors differ in width", got=f"{queries.shape}, {anchors.shape}")
    Q, A = np.ascontiguousarray(queries, np.float32), np.ascontiguousarray(anchors, np.float32)
    if not len(Q) or not len(A):
        return sp.csr_array((len(Q), len(A)), dtype=np.float32)
    slack = rounding_bound(Q, A)
    n_rows = min(_BLOCK_ROWS, max(1, _BLOCK_ENTRIES // len(A)))

    def mix(start: int) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int64]]:
        block = Q[start : start + n_rows]
        products = block @ A.T
        floors, counts = np.empty(len(block), np.float64), np.empty(len(block), np.int64)
        _screen(products, temperature, slack[start : start + n_rows], floors, counts)
        ends = np.cumsum(counts)
        ids, weights = np.empty(ends[-1], np.int32), np.empty(ends[-1], np.float32)
        _project(products, block, A, temperature, floors, ends - counts, ids, weights, counts)
        kept = weights > 0
        return weights[kept], ids[kept], counts

    with workers() as threads:
        values, indices, sizes = zip(*threads.map(mix, range(0, len(Q), n_rows)), strict=True)
    indptr = np.concatenate([[0], np.cumsum(np.concatenate(sizes))])
    parts = (np.concatenate(values), np.concatenate(indices), indptr)
    return sp.csr_array(parts, shape=(len(Q), len(A)))


@nb.njit(cache=True)
def _threshold(falling: NDArray[np.float64], total: float) -> float:
    """The tau for which ``max(z - tau, 0)`` sums to `total`; scores in falling order."""
    gathered, tau = 0.0, 0.0
    for n in range(falling.size):
        gathered += falling[n]
        if total + (n + 1) * falling[n] <= gathered:
            break
        tau = (gathered - total) / (n + 1)
    return tau


@nb.njit(cache=True, fastmath={"nnan", "nsz", "ninf"})  # checked finite; it lets the maximum use vectors
def _largest(line: NDArray[np.float32], begin: int, end: int) -> np.float32:
    best = line[begin]
    for i in range(begin, end):
        best = max(best, line[i])
    return best


@nb.njit(cache=True, nogil=True)
def _screen(
    products: NDArray[np.float32],
    total: float,
    slack: NDArray[np.float32],
    floors: NDArray[np.float64],
    counts: NDArray[np.int64],
) -> None:
    """A floor below the threshold of every row, and the number of products above it.

    A threshold moves by no more than its scores do. So scores below the float32 threshold by more than twice
    the rounding error of a product are outside of the support; 1e-9 is for the rounding of the sums.
    """
    n_cols = products.shape[1]
    n_groups = (n_cols + _SCAN - 1) // _SCAN
    for row in range(products.shape[0]):
        line = products[row]
        margin = np.float64(slack[row]) + 1e-9
        largest = np.empty(n_groups, np.float32)
        for group in range(n_groups):
            largest[group] = _largest(line, group * _SCAN, min((group + 1) * _SCAN, n_cols))
        floor = _threshold(np.sort(largest)[::-1].astype(np.float64), total) - margin
        size = 0
        for group in range(n_groups):
            if largest[group] > floor:
                for column in range(group * _SCAN, min((group + 1) * _SCAN, n_cols)):
                    size += line[column] > floor
        above = np.empty(size, np.float64)
        size = 0
        for group in range(n_groups):
            if largest[group] > floor:
                for column in range(group * _SCAN, min((group + 1) * _SCAN, n_cols)):
                    if line[column] > floor:
                        above[size] = line[column]
                        size += 1
        floors[row] = _threshold(np.sort(above)[::-1], total) - margin
        count = 0
        for n in range(size):
            count += above[n] > floors[row]
        counts[row] = count


@nb.njit(cache=True, nogil=True)
def _project(
    products: NDArray[np.float32],
    queries: NDArray[np.float32],
    anchors: NDArray[np.float32],
    total: float,
    floors: NDArray[np.float64],
    starts: NDArray[np.int64],
    ids: NDArray[np.int32],
    weights: NDArray[np.float32],
    sizes: NDArray[np.int64],
) -> None:
    """Exact scores and weights of the products above the floors; `sizes` become those of the supports.

    The threshold is a sum over the support in falling order, so candidates outside of it leave no trace.
    """
    for row in range(products.shape[0]):
        start, size = starts[row], 0
        line, floor = products[row], floors[row]
        scores = np.empty(sizes[row], np.float64)
        for column in range(line.size):
            if line[column] > floor:
                ids[start + size] = column
                scores[size] = dot(queries[row], anchors[column])
                size += 1
        tau = _threshold(np.sort(scores)[::-1], total)
        support = 0
        for n in range(size):
            weight = np.float32(max(scores[n] - tau, 0.0) / total)
            weights[start + n] = weight
            support += 1 if weight > 0 else 0
        sizes[row] = support


def sparsemax_reference(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Sparsemax of every row in plain numpy: sort, sum, subtract (Martins and Astudillo, algorithm 1)."""
    z = np.asarray(scores, np.float64)
    falling = -np.sort(-z, axis=1)
    sums = np.cumsum(falling, axis=1) - 1
    n = np.arange(1, z.shape[1] + 1)
    support = (n * falling > sums).sum(axis=1)
    tau = sums[np.arange(len(z)), support - 1] / support
    return np.maximum(z - tau[:, None], 0)
