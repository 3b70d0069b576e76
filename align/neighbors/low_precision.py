"""A shortlist from 8-bit products, with a proven margin, for the exact search.

Every row is rounded to ``x' = s q`` with integers q in -127..127 and one scale s, and its residual
``|x - x'|`` is computed. Then, by the triangle and the Cauchy-Schwarz inequality,

    x.y = x'.y' + x.(y - y') + (x - x').y'
    |x.y - x'.y'| <= |x| |y - y'| + |x - x'| |y'|.

So ``x'.y'`` plus the right side plus the candidate's bias is an upper bound U of the score. The product of
the integers is exact; scaling it and adding takes five float32 roundings of relative size 2^-24, for which
``1e-6 |x'| |y'|`` and ``1e-6`` of the other terms are added (1e-6 is 16 times 2^-24). While candidates go by,
each query keeps the best k exact scores so far; the k-th of them is its floor. A candidate with U below the
floor has k candidates with larger scores and is dropped for good. Others are dropped where a float32 product
and its proven error stay below the floor; what is left is scored exactly. Nothing but time depends on the
rounding.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache

import numba as nb
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from align.neighbors.kernels import dot, dot_float32, kth_largest
from align.neighbors.rounding import Packed, aligned, pack, pack_queries
from align.neighbors.vector_code import prefetch, trailing_zeros
from align.neighbors.vnni import N_CANDIDATES, N_QUERIES, available, screen_tile

BLOCK_ROWS = 768  # 8-bit queries of a block and their lists stay in the second-level cache
PENDING = 128
_MIN_QUERIES, _MIN_PRODUCTS = 64, 1 << 32  # smaller problems are done before the candidates are rounded
_TRIAL_QUERIES, _TRIAL_CANDIDATES = 256, 48 * 32
_LEAST_GAIN = 1.5  # of the tiles alone, to make up for what comes with them
_FAR = 1e15  # lengths beyond it, or candidates' below its inverse, are left to the float32 product
MAX_SCORED = 1 / 16  # scoring more than that share one by one costs as much as the float32 product


def pays(Q: NDArray[np.float32], C: NDArray[np.float32]) -> bool:
    """Whether 8-bit products are expected to be faster here: large enough, available, and measured."""
    if len(Q) < _MIN_QUERIES or len(Q) * C.size < _MIN_PRODUCTS:
        return False
    # sums of products of codes and candidates' numbers are int32
    if C.shape[1] >= 1 << 16 or len(C) >= 1 << 31 or not available():
        return False
    return _gain(-(-C.shape[1] // 32)) > _LEAST_GAIN


@lru_cache
def _gain(n_words: int) -> float:
    """Time of a float32 product over that of the 8-bit tiles, both of rows of 32 `n_words`, on one thread.

    The fastest of three alternating runs each: some tens of milliseconds, once in a process.
    """
    rng = np.random.default_rng(0)
    Q = rng.standard_normal((_TRIAL_QUERIES, 32 * n_words)).astype(np.float32)
    C = rng.standard_normal((_TRIAL_CANDIDATES, 32 * n_words)).astype(np.float32)
    products = np.empty((len(Q), len(C)), np.float32)
    with ThreadPoolExecutor(1) as pool:
        packed = pack(C, pool)
    # with NaN as residual no candidate reaches a floor
    idle = replace(packed, residuals=np.full_like(packed.residuals, np.nan))
    search = searcher(
        Q,
        C,
        np.empty(0, np.float32),
        idle,
        np.empty((len(Q), 1), np.int64),
        np.empty((len(Q), 1), np.float32),
    )
    search(slice(0, len(Q)))  # compiles
    times = []
    with threadpool_limits(1, user_api="blas"):
        for _ in range(3):
            begin = time.perf_counter()
            np.matmul(Q, C.T, out=products)
            middle = time.perf_counter()
            search(slice(0, len(Q)))
            times.append((middle - begin, time.perf_counter() - middle))
    plain, rounded = np.min(times, axis=0)
    return float(plain / rounded)


def searcher(
    Q: NDArray[np.float32],
    C: NDArray[np.float32],
    B: NDArray[np.float32],
    packed: Packed,
    indices: NDArray[np.int64],
    scores: NDArray[np.float32],
) -> Callable[[slice], bool]:
    """A function with buffers of its own that answers one block of queries, at most ``BLOCK_ROWS``.

    It writes into `indices` and `scores`, or returns False where so many candidates come near to the best
    that a float32 product is the faster way.
    """
    k, n_steps = indices.shape[1], packed.codes.shape[1]
    n_groups = BLOCK_ROWS // N_QUERIES
    codes = aligned((n_groups, n_steps, N_QUERIES, 4), np.int8)
    starts = np.empty(BLOCK_ROWS, np.int32)
    scales, floors = np.empty(BLOCK_ROWS, np.float32), np.empty(BLOCK_ROWS, np.float32)
    shrinks = np.empty(BLOCK_ROWS, np.float64)
    ids, uppers = np.empty((BLOCK_ROWS, PENDING), np.int32), np.empty((BLOCK_ROWS, PENDING), np.float32)
    best, best_ids = np.empty((BLOCK_ROWS, k), np.float64), np.empty((BLOCK_ROWS, k), np.int64)
    margins = np.empty(len(packed.scales), np.float32)
    bias = np.zeros(len(packed.scales))
    bias[: len(B)] = B

    def search(rows: slice) -> bool:
        block = Q[rows]
        longest, worst, largest = pack_queries(block, B.size == 0, codes, starts, scales, shrinks)
        if not fill_margins(packed, bias, longest, worst, largest, margins):
            return False
        limit = int(MAX_SCORED * len(block) * len(C)) + 8 * k * len(block)
        lists = (ids, uppers, best, best_ids)
        n_scored = _scan(
            block,
            C,
            B,
            codes,
            starts,
            scales,
            shrinks,
            floors,
            packed.codes,
            packed.scales,
            margins,
            limit,
            *lists,
            packed.error,
        )
        if n_scored > limit:
            return False
        indices[rows] = best_ids[: len(block)]
        scores[rows] = best[: len(block)]
        return True

    return search


def fill_margins(
    packed: Packed,
    bias: NDArray[np.float64],
    longest: float,
    worst: float,
    largest: float,
    margins: NDArray[np.float32],
) -> bool:
    """What is added to the rounded scores of each candidate; False for lengths out of range.

    `longest`, `worst` and `largest` are the block's largest length, residual and rounded length.
    """
    largest_length = packed.lengths.max()
    if max(longest, largest_length) > _FAR or largest_length < 1 / _FAR:
        return False
    margin = longest * packed.residuals + (worst + 1e-6 * largest) * packed.lengths
    # the last term is more than any underflow of a scale or a product
    margin += 1e-6 * (margin + np.abs(bias)) + 1e-12 * largest_length * max(1.0, longest)
    np.nextafter((margin + bias).astype(np.float32), np.float32(np.inf), out=margins)
    return True


@nb.njit(cache=True, nogil=True)
def score_pending(
    query: NDArray[np.float32],
    C: NDArray[np.float32],
    B: NDArray[np.float32],
    shrink: float,
    offset: float,
    shift: float,
    floor: np.float32,
    ids: NDArray[np.int32],
    uppers: NDArray[np.float32],
    best: NDArray[np.float64],
    best_ids: NDArray[np.int64],
    error: float,
) -> tuple[np.float32, int]:
    """Score the pending candidates that still reach the floor; the new floor and how many they were.

    The floor is that of ``shrink score + offset``, compared after a `shift` of at most that size. `error` is
    that of a float32 product over the query's length.
    """
    k, n_scored = best.size, 0
    doubt = error * np.sqrt(dot(query, query)) + 1e-37  # products below the normal range round absolutely
    likely = kth_largest(uppers, k) if ids.size > k else np.float32(-np.inf)
    for first in (True, False):  # those with the largest bounds raise the floor for the others
        for n in range(ids.size):
            if uppers[n] >= floor and (uppers[n] >= likely) == first:
                row = C[ids[n]].ctypes.data
                for line in range(0, 4 * C.shape[1], 64):
                    prefetch(row + line)
        for n in range(ids.size):
            if uppers[n] < floor or (uppers[n] >= likely) != first:
                continue
            candidate = np.int64(ids[n])
            own = np.float64(B[candidate]) if B.size else 0.0
            n_scored += 1
            nearly = np.float64(dot_float32(query, C[candidate])) + own
            if (nearly + doubt) * shrink + offset < floor:
                continue
            score = dot(query, C[candidate]) + own
            at = k
            while at > 0 and (
                best[at - 1] < score or (best[at - 1] == score and best_ids[at - 1] > candidate)
            ):
                at -= 1
            if at == k:
                continue
            for i in range(k - 1, at, -1):
                best[i], best_ids[i] = best[i - 1], best_ids[i - 1]
            best[at], best_ids[at] = score, candidate
            lowest = best[k - 1] * shrink
            # below the k-th best, whichever way it rounds
            floor = np.float32(lowest + offset - (abs(lowest) + abs(offset) + shift) * 2.0**-21 - 1e-37)
    return floor, n_scored


@nb.njit(cache=True, nogil=True)
def _scan(
    Q: NDArray[np.float32],
    C: NDArray[np.float32],
    B: NDArray[np.float32],
    codes: NDArray[np.int8],
    starts: NDArray[np.int32],
    scales: NDArray[np.float32],
    shrinks: NDArray[np.float64],
    floors: NDArray[np.float32],
    packed: NDArray[np.uint8],
    candidate_scales: NDArray[np.float32],
    margins: NDArray[np.float32],
    limit: int,
    ids: NDArray[np.int32],
    uppers: NDArray[np.float32],
    best: NDArray[np.float64],
    best_ids: NDArray[np.int64],
    error: float,
) -> int:
    """The best k of all candidates for a block of queries; how many were scored (over `limit`: given up)."""
    n_queries, n_steps = Q.shape[0], packed.shape[1]
    sizes = np.zeros(n_queries, np.int64)
    bounds = np.empty((N_QUERIES, N_CANDIDATES), np.float32)
    masks = np.zeros((N_QUERIES, 4), np.uint16)
    reached = masks.view(np.uint64).ravel()
    floors[:] = np.inf  # rows that fill the last group reach nothing
    floors[:n_queries] = -np.inf
    best[:n_queries] = -np.inf
    n_scored = 0
    for panel in range(packed.shape[0]):
        first = panel * N_CANDIDATES
        for group in range((n_queries + N_QUERIES - 1) // N_QUERIES):
            begin = group * N_QUERIES
            screen_tile(
                packed[panel].ctypes.data,
                codes[group].ctypes.data,
                starts[begin:].ctypes.data,
                scales[begin:].ctypes.data,
                floors[begin:].ctypes.data,
                candidate_scales[first:].ctypes.data,
                margins[first:].ctypes.data,
                bounds.ctypes.data,
                masks.ctypes.data,
                n_steps,
            )
            for q in range(N_QUERIES):
                hits = reached[q]
                if hits == 0:
                    continue
                row = begin + q
                size = sizes[row]
                while hits != 0:
                    lane = trailing_zeros(hits)
                    hits &= hits - np.uint64(1)
                    if bounds[q, lane] >= floors[row]:  # it may have risen since the tile
                        if size == PENDING:
                            floors[row], n_new = score_pending(
                                Q[row],
                                C,
                                B,
                                shrinks[row],
                                0.0,
                                0.0,
                                floors[row],
                                ids[row],
                                uppers[row],
                                best[row],
                                best_ids[row],
                                error,
                            )
                            n_scored += n_new
                            size = 0
                        ids[row, size], uppers[row, size] = first + lane, bounds[q, lane]
                        size += 1
                sizes[row] = size
        if n_scored > limit:
            return n_scored
    for row in range(n_queries):
        size = sizes[row]
        _, n_new = score_pending(
            Q[row],
            C,
            B,
            shrinks[row],
            0.0,
            0.0,
            floors[row],
            ids[row, :size],
            uppers[row, :size],
            best[row],
            best_ids[row],
            error,
        )
        n_scored += n_new
    return n_scored
