"""The best k of both sides of two spaces in one pass over their 8-bit products.

Each tile of upper bounds (:mod:`~align.neighbors.low_precision`) is compared with the floors of its queries
and of its candidates. Every thread keeps lists of its own for all candidates; they are merged at the end.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numba as nb
import numpy as np
from numpy.typing import NDArray

from align.neighbors import low_precision
from align.neighbors.exact import Backend, Neighbors, checked_bias, prepare, top_k
from align.neighbors.low_precision import BLOCK_ROWS, MAX_SCORED, PENDING, fill_margins, score_pending
from align.neighbors.rounding import Packed, aligned, pack, pack_queries, product_error
from align.neighbors.vector_code import trailing_zeros
from align.neighbors.vnni import N_CANDIDATES, N_QUERIES, screen_both_ways

_MAX_LIST_BYTES = 1 << 30
_TGT_PENDING = 32


def top_k_both(
    src: NDArray[np.floating],
    tgt: NDArray[np.floating],
    k: int = 10,
    *,
    metric: Literal["inner", "cosine"] = "cosine",
    src_bias: NDArray[np.floating] | None = None,
    tgt_bias: NDArray[np.floating] | None = None,
    backend: Backend = "auto",
    device: str | None = None,
) -> tuple[Neighbors, Neighbors]:
    """The k nearest target rows of every source row, and the k nearest source rows of every target row.

    Parameters
    ----------
    src : ndarray, shape (n_src, dim)
    tgt : ndarray, shape (n_tgt, dim)
    k, metric, backend, device
        As :func:`~align.neighbors.exact.top_k`.
    src_bias : ndarray, shape (n_src,), optional
        Added to the scores of source rows as candidates, that is for the second result.
    tgt_bias : ndarray, shape (n_tgt,), optional
        Added to the scores of target rows as candidates, that is for the first result.

    Returns
    -------
    forward, backward : Neighbors
        ``top_k(src, tgt, k, bias=tgt_bias)`` and ``top_k(tgt, src, k, bias=src_bias)``.

    Raises
    ------
    InputError, UsageError, UnavailableError
        As :func:`~align.neighbors.exact.top_k`.

    Notes
    -----
    With 8-bit products the time is that of one search and memory for each thread, beyond that of ``top_k``,
    ``16 k + 280`` bytes a target row. Otherwise, and where these lists exceed 1 GiB, two searches follow one
    another.
    """
    n_threads = nb.get_num_threads()
    fits = n_threads * len(tgt) * (16 * k + 280) <= _MAX_LIST_BYTES
    if fits and len(src) and backend in ("auto", "cpu") and device is None:
        X, Y, y_bias, _ = prepare(src, tgt, k, metric, tgt_bias)
        x_bias = checked_bias(src_bias, len(X))
        if low_precision.pays(X, Y):
            found = _search(X, Y, x_bias, y_bias, k, n_threads)
            if found is not None:
                return found
    forward = top_k(src, tgt, k, metric=metric, bias=tgt_bias, backend=backend, device=device)
    return forward, top_k(tgt, src, k, metric=metric, bias=src_bias, backend=backend, device=device)


@dataclass(frozen=True, eq=False)
class _Lists:
    """For every target row: pending source rows, the best so far, and the floor, all of one thread."""

    ids: NDArray[np.int32]
    uppers: NDArray[np.float32]
    sizes: NDArray[np.int32]
    best: NDArray[np.float64]
    best_ids: NDArray[np.int64]
    offsets: NDArray[np.float64]  # a target's own bias is part of its upper bounds
    floors: NDArray[np.float32]

    @property
    def arrays(self) -> tuple[NDArray, ...]:
        return self.ids, self.uppers, self.sizes, self.best, self.best_ids, self.offsets, self.floors


def _empty_lists(packed: Packed, y_bias: NDArray[np.float32], k: int) -> _Lists:
    n = len(packed.scales)
    offsets = np.zeros(n)
    offsets[: len(y_bias)] = y_bias
    return _Lists(
        np.empty((n, _TGT_PENDING), np.int32),
        np.empty((n, _TGT_PENDING), np.float32),
        np.zeros(n, np.int32),
        np.full((n, k), -np.inf),
        np.zeros((n, k), np.int64),
        offsets,
        np.full(n, -np.inf, np.float32),
    )


def _search(
    X: NDArray[np.float32],
    Y: NDArray[np.float32],
    x_bias: NDArray[np.float32],
    y_bias: NDArray[np.float32],
    k: int,
    n_threads: int,
) -> tuple[Neighbors, Neighbors] | None:
    """Both results, or None where so many pairs come near to the best that 8 bits do not pay."""
    k_forward, k_backward = min(k, len(Y)), min(k, len(X))
    indices, scores = np.empty((len(X), k_forward), np.int64), np.empty((len(X), k_forward), np.float32)
    n_rows = max(1, min(BLOCK_ROWS, -(-len(X) // n_threads)))
    starts = iter(range(0, len(X), n_rows))
    stop = threading.Event()
    with ThreadPoolExecutor(n_threads) as pool:
        packed = pack(Y, pool)
        errors = product_error(X), packed.error

        def work() -> tuple[NDArray[np.float64], NDArray[np.int64]] | None:
            lists = _empty_lists(packed, y_bias, k_backward)
            search = _searcher(X, Y, x_bias, y_bias, packed, errors, lists, indices, scores)
            for start in starts:  # shared by the threads: each takes the next block
                if stop.is_set() or not search(slice(start, start + n_rows)):
                    stop.set()
                    return None
            _finish(X, Y, x_bias, errors[0], *lists.arrays)
            return lists.best, lists.best_ids

        try:
            parts = [done.result() for done in [pool.submit(work) for _ in range(n_threads)]]
        finally:
            stop.set()
    finished = [part for part in parts if part is not None]
    if len(finished) < len(parts):
        return None
    return Neighbors(indices, scores), _merge(finished, len(Y), k_backward)


def _searcher(
    X: NDArray[np.float32],
    Y: NDArray[np.float32],
    x_bias: NDArray[np.float32],
    y_bias: NDArray[np.float32],
    packed: Packed,
    errors: tuple[float, float],
    lists: _Lists,
    indices: NDArray[np.int64],
    scores: NDArray[np.float32],
) -> Callable[[slice], bool]:
    """A function with buffers of its own for one block of source rows, as in ``low_precision``."""
    k = indices.shape[1]
    codes = aligned((BLOCK_ROWS // N_QUERIES, packed.codes.shape[1], N_QUERIES, 4), np.int8)
    starts = np.empty(BLOCK_ROWS, np.int32)
    scales, floors = np.empty(BLOCK_ROWS, np.float32), np.empty(BLOCK_ROWS, np.float32)
    shifts, lengths = np.empty(BLOCK_ROWS, np.float32), np.empty(BLOCK_ROWS)
    ids, uppers = np.empty((BLOCK_ROWS, PENDING), np.int32), np.empty((BLOCK_ROWS, PENDING), np.float32)
    best, best_ids = np.empty((BLOCK_ROWS, k), np.float64), np.empty((BLOCK_ROWS, k), np.int64)
    margins = np.empty(len(packed.scales), np.float32)
    largest_shift = float(np.abs(x_bias).max()) if len(x_bias) else 0.0

    def search(rows: slice) -> bool:
        block = X[rows]
        bounds = pack_queries(block, False, codes, starts, scales, lengths)
        if not fill_margins(packed, lists.offsets, *bounds, margins):
            return False
        shifts[:] = -np.inf  # rows that fill the last group reach nothing
        shifts[: len(block)] = x_bias[rows] if len(x_bias) else 0
        limit = int(2 * MAX_SCORED * len(block) * len(Y)) + 8 * len(block) * (k + lists.best.shape[1])
        of_rows = (ids, uppers, floors, best, best_ids)
        tiles = (codes, starts, scales, packed.codes, packed.scales, margins, shifts, largest_shift, *errors)
        n_scored = _scan(X, rows.start, len(block), Y, x_bias, y_bias, *tiles, limit, *of_rows, *lists.arrays)
        if n_scored > limit:
            return False
        indices[rows] = best_ids[: len(block)]
        scores[rows] = best[: len(block)]
        return True

    return search


@nb.njit(cache=True, nogil=True)
def _scan(
    X: NDArray[np.float32],
    start: int,
    n_queries: int,
    Y: NDArray[np.float32],
    x_bias: NDArray[np.float32],
    y_bias: NDArray[np.float32],
    codes: NDArray[np.int8],
    starts: NDArray[np.int32],
    scales: NDArray[np.float32],
    packed: NDArray[np.uint8],
    candidate_scales: NDArray[np.float32],
    margins: NDArray[np.float32],
    shifts: NDArray[np.float32],
    largest_shift: float,
    src_error: float,
    tgt_error: float,
    limit: int,
    ids: NDArray[np.int32],
    uppers: NDArray[np.float32],
    floors: NDArray[np.float32],
    best: NDArray[np.float64],
    best_ids: NDArray[np.int64],
    tgt_ids: NDArray[np.int32],
    tgt_uppers: NDArray[np.float32],
    tgt_sizes: NDArray[np.int32],
    tgt_best: NDArray[np.float64],
    tgt_best_ids: NDArray[np.int64],
    offsets: NDArray[np.float64],
    tgt_floors: NDArray[np.float32],
) -> int:
    """One block of source rows against all targets; how many were scored (over `limit`: given up)."""
    n_steps = packed.shape[1]
    sizes = np.zeros(n_queries, np.int64)
    bounds = np.empty((N_QUERIES, N_CANDIDATES), np.float32)
    masks, tgt_masks = np.zeros((N_QUERIES, 4), np.uint16), np.zeros((N_QUERIES, 4), np.uint16)
    reached, tgt_reached = masks.view(np.uint64).ravel(), tgt_masks.view(np.uint64).ravel()
    floors[:] = np.inf
    floors[:n_queries] = -np.inf
    best[:n_queries] = -np.inf
    one, n_scored = np.uint64(1), 0
    for panel in range(packed.shape[0]):
        first = panel * N_CANDIDATES
        for group in range((n_queries + N_QUERIES - 1) // N_QUERIES):
            begin = group * N_QUERIES
            screen_both_ways(
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
                tgt_floors[first:].ctypes.data,
                shifts[begin:].ctypes.data,
                tgt_masks.ctypes.data,
            )
            for q in range(N_QUERIES):
                hits, row = reached[q], begin + q
                while hits != 0:
                    lane = trailing_zeros(hits)
                    hits &= hits - one
                    if bounds[q, lane] < floors[row]:  # it may have risen since the tile
                        continue
                    if sizes[row] == PENDING:
                        floors[row], n_new = score_pending(
                            X[start + row], Y, y_bias, 1.0, 0.0, 0.0, floors[row],
                            ids[row], uppers[row], best[row], best_ids[row], tgt_error,
                        )  # fmt: skip
                        n_scored += n_new
                        sizes[row] = 0
                    ids[row, sizes[row]], uppers[row, sizes[row]] = first + lane, bounds[q, lane]
                    sizes[row] += 1
                hits = tgt_reached[q]
                while hits != 0:
                    lane = trailing_zeros(hits)
                    hits &= hits - one
                    tgt = first + lane
                    upper = bounds[q, lane] + shifts[row]
                    if upper < tgt_floors[tgt]:
                        continue
                    if tgt_sizes[tgt] == _TGT_PENDING:
                        tgt_floors[tgt], n_new = score_pending(
                            Y[tgt], X, x_bias, 1.0, offsets[tgt], largest_shift, tgt_floors[tgt],
                            tgt_ids[tgt], tgt_uppers[tgt], tgt_best[tgt], tgt_best_ids[tgt], src_error,
                        )  # fmt: skip
                        n_scored += n_new
                        tgt_sizes[tgt] = 0
                    tgt_ids[tgt, tgt_sizes[tgt]], tgt_uppers[tgt, tgt_sizes[tgt]] = start + row, upper
                    tgt_sizes[tgt] += 1
        if n_scored > limit:
            return n_scored
    for row in range(n_queries):
        n = sizes[row]
        _, n_new = score_pending(
            X[start + row], Y, y_bias, 1.0, 0.0, 0.0, floors[row],
            ids[row, :n], uppers[row, :n], best[row], best_ids[row], tgt_error,
        )  # fmt: skip
        n_scored += n_new
    return n_scored


@nb.njit(cache=True, nogil=True)
def _finish(
    X: NDArray[np.float32],
    Y: NDArray[np.float32],
    x_bias: NDArray[np.float32],
    src_error: float,
    ids: NDArray[np.int32],
    uppers: NDArray[np.float32],
    sizes: NDArray[np.int32],
    best: NDArray[np.float64],
    best_ids: NDArray[np.int64],
    offsets: NDArray[np.float64],
    floors: NDArray[np.float32],
) -> None:
    """Score what is pending at the end; the last floors are not needed any more."""
    for tgt in range(Y.shape[0]):
        n = sizes[tgt]
        score_pending(
            Y[tgt], X, x_bias, 1.0, offsets[tgt], 0.0, floors[tgt],
            ids[tgt, :n], uppers[tgt, :n], best[tgt], best_ids[tgt], src_error,
        )  # fmt: skip


def _merge(parts: list[tuple[NDArray[np.float64], NDArray[np.int64]]], n_rows: int, k: int) -> Neighbors:
    """The best k of all threads' lists; places that a thread did not fill hold minus infinity."""
    indices, scores = np.empty((n_rows, k), np.int64), np.empty((n_rows, k), np.float32)
    for start in range(0, n_rows, 4096):
        rows = slice(start, min(start + 4096, n_rows))
        best = np.concatenate([part[0][rows] for part in parts], axis=1)
        ids = np.concatenate([part[1][rows] for part in parts], axis=1)
        order = np.lexsort((ids, -best), axis=1)[:, :k]
        indices[rows] = np.take_along_axis(ids, order, axis=1)
        scores[rows] = np.take_along_axis(best, order, axis=1)
    return Neighbors(indices, scores)
