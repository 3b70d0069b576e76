"""Exact nearest neighbours, block by block.

Scores are defined as float64 inner products of float32 rows, summed in one fixed order; equal scores are
ordered by the lower index. A float32 matrix product only proposes candidates: any whose product lies within
the proven rounding error of the k-th best is scored again. So the answer is the same for every BLAS and every
number of threads.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numba as nb
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from align.errors import InputError, UsageError
from align.normalize import unit

_QUERY_BLOCK, _CANDIDATE_BLOCK = 768, 1024  # the products of a block stay in the cache
_LANES = 256


@dataclass(frozen=True, eq=False)
class Neighbors:
    """The k nearest candidates of every query, best first.

    Parameters
    ----------
    indices : ndarray of int64, shape (n_queries, k)
    scores : ndarray of float32, shape (n_queries, k)
        Inner products (cosines where the metric was cosine).
    """

    indices: NDArray[np.int64]
    scores: NDArray[np.float32]


def top_k(
    queries: NDArray[np.floating],
    candidates: NDArray[np.floating],
    k: int = 10,
    *,
    metric: Literal["inner", "cosine"] = "cosine",
) -> Neighbors:
    """The k candidates with the largest inner product or cosine for every query, exactly.

    Parameters
    ----------
    queries : ndarray, shape (n_queries, dim)
    candidates : ndarray, shape (n_candidates, dim)
        Both are taken as float32; other types are rounded first.
    k : int
        With fewer candidates than k, all of them are returned.
    metric : {"inner", "cosine"}
        For ``"cosine"`` the rows are first divided by their lengths; rows of zeros have cosine 0 with all.

    Returns
    -------
    Neighbors
        With ``min(k, n_candidates)`` columns.

    Raises
    ------
    InputError
        For widths that differ, no candidates, NaN or infinity.
    UsageError
        For k < 1 or an unknown metric.

    Notes
    -----
    Time is that of the float32 matrix product, ``2 n_queries n_candidates dim`` operations, and about a tenth
    more, shared out to as many threads as numba is set to use. Memory beyond the float32 inputs, for each
    thread: 3 MiB of products and ``768 (4 k + 10)`` proposals.
    """
    if k < 1:
        raise UsageError("k is not positive", got=k, wanted="k >= 1")
    if metric not in ("inner", "cosine"):
        raise UsageError("unknown metric", got=metric, wanted="inner or cosine")
    if queries.ndim != 2 or candidates.ndim != 2 or queries.shape[1] != candidates.shape[1]:
        raise InputError("queries and candidates differ in width", got=f"{queries.shape}, {candidates.shape}")
    if len(candidates) == 0:
        raise InputError("there are no candidates", got=candidates.shape)
    Q = np.ascontiguousarray(queries, np.float32)
    C = np.ascontiguousarray(candidates, np.float32)
    if metric == "cosine":
        Q, C = unit(Q), unit(C)
    k = min(k, len(C))
    slack = _rounding_bound(Q, C)
    indices = np.empty((len(Q), k), np.int64)
    scores = np.empty((len(Q), k), np.float32)
    n_threads = nb.get_num_threads()
    n_rows = max(1, min(_QUERY_BLOCK, -(-len(Q) // n_threads)))
    starts = iter(range(0, len(Q), n_rows))
    stop = threading.Event()

    def work() -> None:
        n_cols = min(_CANDIDATE_BLOCK, len(C))
        # pruned to (room + k) / 2 at most, the proposals have room for one lane more
        room = 4 * k + 2 * (_CANDIDATE_BLOCK // _LANES + 1)
        products = np.empty(n_rows * n_cols, np.float32)
        ids, values = np.empty((n_rows, room), np.int64), np.empty((n_rows, room), np.float32)
        for start in starts:  # shared by the threads: each takes the next block
            if stop.is_set():
                return
            rows = slice(start, start + n_rows)
            block = Q[rows]
            sizes = np.zeros(len(block), np.int64)
            floors = np.full(len(block), -np.inf, np.float32)
            for first in range(0, len(C), n_cols):
                others = C[first : first + n_cols]
                P = products[: len(block) * len(others)].reshape(len(block), len(others))
                np.matmul(block, others.T, out=P)
                _propose(P, first, block, C, k, slack[rows], sizes, floors, ids, values)
            _settle(block, C, slack[rows], sizes, ids, values, indices[rows], scores[rows])

    # one product a thread instead of all threads on one product: they never wait for one another
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(n_threads) as pool:
        try:
            for done in [pool.submit(work) for _ in range(n_threads)]:
                done.result()
        finally:
            stop.set()
    return Neighbors(indices, scores)


def _rounding_bound(Q: NDArray[np.float32], C: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bound, for every query, of twice the error of a float32 inner product with any candidate.

    However it is summed, ``|fl(x.y) - x.y| <= g |x|.|y| <= g ||x|| ||y||`` with ``g = d u / (1 - d u)``,
    ``u = 2^-24`` (Higham, "Accuracy and Stability of Numerical Algorithms", section 3.1). A candidate among
    the true best k cannot lie further than twice the bound below the k-th best product.
    """
    u, dim = 2.0**-24, Q.shape[1] + 1
    longest = np.sqrt(np.einsum("ij,ij->i", C, C, dtype=np.float64).max())
    lengths = np.sqrt(np.einsum("ij,ij->i", Q, Q, dtype=np.float64))
    if not np.isfinite(longest) or not np.isfinite(lengths).all():
        raise InputError("vectors hold NaN or infinity", wanted="finite float32 numbers")
    if len(lengths) and longest * lengths.max() > 1e38:
        raise InputError("inner products exceed float32", got=f"up to {longest * lengths.max():.1e}")
    # products below the normal range round absolutely; the small constant covers them
    bound = 2 * dim * u / (1 - dim * u) * lengths * longest + 1e-37
    return np.nextafter(bound.astype(np.float32), np.float32(np.inf))


@nb.njit(cache=True, nogil=True)
def _dot(x: NDArray[np.float32], y: NDArray[np.float32]) -> float:
    """Inner product in float64: eight partial sums, added up in one order."""
    a0 = a1 = a2 = a3 = a4 = a5 = a6 = a7 = 0.0
    whole = x.size - x.size % 8
    for i in range(0, whole, 8):
        a0 += np.float64(x[i]) * np.float64(y[i])
        a1 += np.float64(x[i + 1]) * np.float64(y[i + 1])
        a2 += np.float64(x[i + 2]) * np.float64(y[i + 2])
        a3 += np.float64(x[i + 3]) * np.float64(y[i + 3])
        a4 += np.float64(x[i + 4]) * np.float64(y[i + 4])
        a5 += np.float64(x[i + 5]) * np.float64(y[i + 5])
        a6 += np.float64(x[i + 6]) * np.float64(y[i + 6])
        a7 += np.float64(x[i + 7]) * np.float64(y[i + 7])
    for i in range(whole, x.size):
        a0 += np.float64(x[i]) * np.float64(y[i])
    return ((a0 + a4) + (a1 + a5)) + ((a2 + a6) + (a3 + a7))


@nb.njit(cache=True, nogil=True)
def _order(query: NDArray[np.float32], C: NDArray[np.float32], ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """Sort ``ids`` in place by falling score, then rising index; return the scores in that order."""
    scores = np.empty(ids.size, np.float64)
    for n in range(ids.size):
        candidate = ids[n]
        score = _dot(query, C[candidate])
        at = n
        while at > 0 and (scores[at - 1] < score or (scores[at - 1] == score and ids[at - 1] > candidate)):
            scores[at], ids[at] = scores[at - 1], ids[at - 1]
            at -= 1
        scores[at], ids[at] = score, candidate
    return scores


@nb.njit(cache=True, nogil=True)
def _prune(
    query: NDArray[np.float32],
    C: NDArray[np.float32],
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
    scores = _order(query, C, ids[:kept])
    for n in range(k):
        values[n] = np.float32(scores[n])
    # half a float32 unit of rounding is far below the slack, which already counts the error twice
    return k, np.float32(values[k - 1] - slack)


@nb.njit(cache=True, nogil=True)
def _kth_largest(values: NDArray[np.float32], k: int) -> np.float32:
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
def _propose(
    products: NDArray[np.float32],
    first: int,
    queries: NDArray[np.float32],
    C: NDArray[np.float32],
    k: int,
    slack: NDArray[np.float32],
    sizes: NDArray[np.int64],
    floors: NDArray[np.float32],
    ids: NDArray[np.int64],
    values: NDArray[np.float32],
) -> None:
    """Add the candidates of one block of products to each query's proposals.

    Column c belongs to lane ``c % _LANES``. Element-wise maxima over the lanes become vector instructions,
    and only lanes whose maximum reaches the floor are looked at.
    """
    n_cols, room = products.shape[1], ids.shape[1]
    n_lanes = min(_LANES, n_cols)
    depth = (n_cols + n_lanes - 1) // n_lanes
    for row in range(products.shape[0]):
        line, size, floor = products[row], sizes[row], floors[row]
        largest = line[:n_lanes].copy()
        for begin in range(n_lanes, n_cols, n_lanes):
            part = line[begin : begin + n_lanes]
            for lane in range(part.size):
                largest[lane] = part[lane] if part[lane] > largest[lane] else largest[lane]
        if first == 0 and n_lanes >= k:  # k products at least are as large as the k-th lane's largest
            floor = np.float32(_kth_largest(largest, k) - slack[row])
        for lane in range(n_lanes):
            if largest[lane] < floor:
                continue
            if size + depth > room:
                size, floor = _prune(queries[row], C, k, slack[row], ids[row, :size], values[row, :size])
            for column in range(lane, n_cols, n_lanes):
                if line[column] >= floor:
                    ids[row, size], values[row, size] = first + column, line[column]
                    size += 1
        sizes[row], floors[row] = size, floor


@nb.njit(cache=True, nogil=True)
def _settle(
    queries: NDArray[np.float32],
    C: NDArray[np.float32],
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
            size, _ = _prune(queries[row], C, k, slack[row], ids[row, :size], values[row, :size])
        ordered = ids[row, :size]
        exact = _order(queries[row], C, ordered)
        for n in range(k):
            indices[row, n] = ordered[n]
            scores[row, n] = exact[n]


def top_k_reference(queries: NDArray[np.floating], candidates: NDArray[np.floating], k: int) -> Neighbors:
    """What :func:`top_k` computes with inner products, in plain numpy: every score at once, then a sort."""
    scores = queries.astype(np.float64) @ candidates.astype(np.float64).T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return Neighbors(order, np.take_along_axis(scores, order, axis=1).astype(np.float32))
