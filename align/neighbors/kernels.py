"""Compiled leaves of the exact search: float64 scores in one fixed order, proposals, pruning."""

from __future__ import annotations

import numba as nb
import numpy as np
from numpy.typing import NDArray

from align.neighbors.vector_code import DOT_STEP, dot_steps

LANES = 256


@nb.njit(cache=True, nogil=True)
def dot(x: NDArray[np.float32], y: NDArray[np.float32]) -> float:
    """Inner product in float64 of two contiguous rows, added up in one order on every processor."""
    n_steps = x.size // DOT_STEP
    total = dot_steps(x.ctypes.data, y.ctypes.data, n_steps)
    for i in range(n_steps * DOT_STEP, x.size):
        total += np.float64(x[i]) * np.float64(y[i])
    return total


@nb.njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})
def dot_float32(x: NDArray[np.float32], y: NDArray[np.float32]) -> np.float32:
    """Inner product in float32, in whatever order is fastest."""
    total = np.float32(0.0)
    for i in range(x.size):
        total += x[i] * y[i]
    return total


@nb.njit(cache=True, nogil=True)
def order(
    query: NDArray[np.float32], C: NDArray[np.float32], bias: NDArray[np.float32], ids: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Sort ``ids`` in place by falling score, then rising index; return the scores in that order.

    An empty `bias` stands for none, here and below.
    """
    scores = np.empty(ids.size, np.float64)
    for n in range(ids.size):
        candidate = ids[n]
        score = dot(query, C[candidate])
        if bias.size:
            score += np.float64(bias[candidate])
        at = n
        while at > 0 and (scores[at - 1] < score or (scores[at - 1] == score and ids[at - 1] > candidate)):
            scores[at], ids[at] = scores[at - 1], ids[at - 1]
            at -= 1
        scores[at], ids[at] = score, candidate
    return scores


@nb.njit(cache=True, nogil=True)
def prune(
    query: NDArray[np.float32],
    C: NDArray[np.float32],
    bias: NDArray[np.float32],
    k: int,
    slack: np.float32,
    ids: NDArray[np.int64],
    values: NDArray[np.float32],
) -> tuple[int, np.float32]:
    """Drop proposals that cannot be among the best k; the number left and the new floor of products.

    First by product alone. Where more than half stay, as with many equal candidates, the exact order decides.
    """
    floor = np.float32(np.sort(values)[values.size - k] - slack)
    kept = 0
    for n in range(ids.size):
        if values[n] >= floor:
            ids[kept], values[kept] = ids[n], values[n]
            kept += 1
    if kept <= (ids.size + k) // 2:
        return kept, floor
    scores = order(query, C, bias, ids[:kept])
    for n in range(k):
        values[n] = np.float32(scores[n])
    # half a float32 unit of rounding is far below the slack, which already counts the error twice
    return k, np.float32(values[k - 1] - slack)


@nb.njit(cache=True, nogil=True)
def kth_largest(values: NDArray[np.float32], k: int) -> np.float32:
    best = np.full(k, -np.inf, np.float32)
    for value in values:
        if value > best[k - 1]:
            at = k - 1
            while at > 0 and best[at - 1] < value:
                best[at] = best[at - 1]
                at -= 1
            best[at] = value
    return best[k - 1]


@nb.njit(cache=True, nogil=True)
def propose(
    products: NDArray[np.float32],
    first: int,
    queries: NDArray[np.float32],
    C: NDArray[np.float32],
    bias: NDArray[np.float32],
    k: int,
    slack: NDArray[np.float32],
    sizes: NDArray[np.int64],
    floors: NDArray[np.float32],
    ids: NDArray[np.int64],
    values: NDArray[np.float32],
) -> None:
    """Add the candidates of one block of products to each query's proposals.

    Column c belongs to lane ``c % LANES``. Element-wise maxima over the lanes become vector instructions,
    and only lanes whose maximum reaches the floor are looked at.
    """
    n_cols, room = products.shape[1], ids.shape[1]
    n_lanes = min(LANES, n_cols)
    depth = (n_cols + n_lanes - 1) // n_lanes
    for row in range(products.shape[0]):
        line, size, floor = products[row], sizes[row], floors[row]
        if bias.size:
            shift = bias[first : first + n_cols]
            for column in range(n_cols):
                line[column] += shift[column]
        largest = line[:n_lanes].copy()
        for begin in range(n_lanes, n_cols, n_lanes):
            part = line[begin : begin + n_lanes]
            for lane in range(part.size):
                largest[lane] = part[lane] if part[lane] > largest[lane] else largest[lane]
        if first == 0 and n_lanes >= k:  # k products at least are as large as the k-th lane's largest
            floor = np.float32(kth_largest(largest, k) - slack[row])
        for lane in range(n_lanes):
            if largest[lane] < floor:
                continue
            if size + depth > room:
                size, floor = prune(queries[row], C, bias, k, slack[row], ids[row, :size], values[row, :size])
            for column in range(lane, n_cols, n_lanes):
                if line[column] >= floor:
                    ids[row, size], values[row, size] = first + column, line[column]
                    size += 1
        sizes[row], floors[row] = size, floor


@nb.njit(cache=True, nogil=True)
def settle(
    queries: NDArray[np.float32],
    C: NDArray[np.float32],
    bias: NDArray[np.float32],
    slack: NDArray[np.float32],
    sizes: NDArray[np.int64],
    ids: NDArray[np.int64],
    values: NDArray[np.float32],
    indices: NDArray[np.int64],
    scores: NDArray[np.float32],
) -> None:
    """Write the best k proposals of every query, exactly ordered."""
    k = indices.shape[1]
    for row in range(queries.shape[0]):
        size = sizes[row]
        if size > k:
            size, _ = prune(queries[row], C, bias, k, slack[row], ids[row, :size], values[row, :size])
        ordered = ids[row, :size]
        exact = order(queries[row], C, bias, ordered)
        for n in range(k):
            indices[row, n] = ordered[n]
            scores[row, n] = exact[n]
