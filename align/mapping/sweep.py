"""Best translations in both directions, and how crowded a word's surroundings are, in one matrix product."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numba as nb
import numpy as np
from numpy.typing import NDArray

from align.threads import workers

_SRC_BLOCK, _TGT_BLOCK = 256, 1024  # the products of a block stay in the cache
_CHUNK = 32


@dataclass(frozen=True, eq=False)
class Sweep:
    """What one pass over all inner products of two sets of rows finds.

    Parameters
    ----------
    forward : ndarray of int64, shape (n_src,)
        For every source row the target row with the best kept score; -1 where nothing was kept.
    backward : ndarray of int64, shape (n_tgt,)
        The same from target to source.
    src_near, tgt_near : ndarray of float32, shape (n_src, k) and (n_tgt, k)
        The k largest inner products of every row with the other side, largest first, none left out.
    """

    forward: NDArray[np.int64]
    backward: NDArray[np.int64]
    src_near: NDArray[np.float32]
    tgt_near: NDArray[np.float32]

    @property
    def objective(self) -> float:
        """Mean best inner product, averaged over the two directions."""
        best = [near[:, 0].mean(dtype=np.float64) for near in (self.src_near, self.tgt_near)]
        return float(np.mean(best))

    @property
    def src_spread(self) -> NDArray[np.float32]:
        """Mean of the k largest inner products of every source row."""
        return self.src_near.mean(axis=1)

    @property
    def tgt_spread(self) -> NDArray[np.float32]:
        """Mean of the k largest inner products of every target row."""
        return self.tgt_near.mean(axis=1)

    @property
    def mutual(self) -> NDArray[np.int64]:
        """Pairs (source row, target row) that are best for each other, shape (n, 2), by source row."""
        rows = np.flatnonzero(self.forward >= 0)
        rows = rows[self.backward[self.forward[rows]] == rows]
        return np.stack((rows, self.forward[rows]), axis=1)


def sweep(
    X: NDArray[np.floating],
    Y: NDArray[np.floating],
    *,
    src_penalty: NDArray[np.floating] | None = None,
    tgt_penalty: NDArray[np.floating] | None = None,
    k: int = 10,
    keep: float = 1.0,
    seed: int = 0,
) -> Sweep:
    """Best row of the other side for every row of both, from one product ``X @ Y.T`` that is never held.

    The score of a pair is its inner product minus the penalty of the candidate: of the target row when a
    source row chooses, of the source row when a target row chooses. With ``keep < 1`` each score of each
    direction is dropped with probability ``1 - keep`` (the stochastic dictionary induction of Artetxe et al.
    2018, "A robust self-learning method for fully unsupervised cross-lingual mappings of word embeddings",
    section 3.3), and so is every score that is not positive, because a dropped one counts as 0 there.

    Parameters
    ----------
    X : ndarray, shape (n_src, dim)
    Y : ndarray, shape (n_tgt, dim)
        Taken as float32.
    src_penalty, tgt_penalty : ndarray, shape (n_src,) and (n_tgt,), optional
    k : int
        Neighbours whose inner products are returned; at most the size of the smaller side.
    keep : float
        Above 0, at most 1.
    seed : int
        Of what is kept: a hash of seed, source row and target row decides, so that the result is the same for
        any number of threads.

    Returns
    -------
    Sweep

    Notes
    -----
    Time is that of the float32 product and about a third more. Memory for each thread: 1 MiB of products and
    ``n_tgt (k + 4)`` numbers.
    """
    X, Y = (np.ascontiguousarray(rows, np.float32) for rows in (X, Y))
    n_src, n_tgt = len(X), len(Y)
    k = min(k, n_src, n_tgt)
    src_pen, tgt_pen = (
        np.zeros(n, np.float32) if penalty is None else np.ascontiguousarray(penalty, np.float32)
        for n, penalty in ((n_src, src_penalty), (n_tgt, tgt_penalty))
    )
    floor = np.float32(-np.inf if keep >= 1 else 0.0)
    limit = np.uint64(min(round(keep * 2**32), 2**32))
    forward, src_near = np.full(n_src, -1, np.int64), np.full((n_src, k), -np.inf, np.float32)
    starts, stop = iter(range(0, n_src, _SRC_BLOCK)), threading.Event()
    src_best = np.full(n_src, floor, np.float32)

    def work() -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
        products = np.empty(_SRC_BLOCK * _TGT_BLOCK, np.float32)
        backward, tgt_near = np.full(n_tgt, -1, np.int64), np.full((n_tgt, k), -np.inf, np.float32)
        tgt_best, tgt_floor = np.full(n_tgt, floor, np.float32), np.full(n_tgt, -np.inf, np.float32)
        for start in starts:  # shared by the threads: each takes the next block
            if stop.is_set():
                break
            rows = slice(start, min(start + _SRC_BLOCK, n_src))
            for first in range(0, n_tgt, _TGT_BLOCK):
                cols = slice(first, min(first + _TGT_BLOCK, n_tgt))
                shape = rows.stop - rows.start, cols.stop - cols.start
                P = products[: shape[0] * shape[1]].reshape(shape)
                np.matmul(X[rows], Y[cols].T, out=P)
                _update(
                    P,
                    start,
                    first,
                    np.uint64(seed),
                    limit,
                    src_pen[rows],
                    tgt_pen[cols],
                    forward[rows],
                    src_best[rows],
                    src_near[rows],
                    backward[cols],
                    tgt_best[cols],
                    tgt_floor[cols],
                    tgt_near[cols],
                )
        return backward, tgt_best, tgt_near

    n_threads = max(1, min(nb.get_num_threads(), -(-n_src // _SRC_BLOCK)))
    with workers() as pool:
        tasks = [pool.submit(work) for _ in range(n_threads)]
        try:
            backward, tgt_best, tgt_near = tasks[0].result()
            for task in tasks[1:]:
                others, best, near = task.result()
                better = (best > tgt_best) | ((best == tgt_best) & (others >= 0) & (others < backward))
                backward, tgt_best = np.where(better, others, backward), np.maximum(best, tgt_best)
                tgt_near = -np.sort(-np.concatenate((tgt_near, near), axis=1), axis=1)[:, :k]
        finally:
            stop.set()
    return Sweep(forward, backward, src_near, np.ascontiguousarray(tgt_near))


@nb.njit(cache=True, nogil=True, inline="always")
def _mix(x: np.uint64) -> np.uint64:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014): every input bit moves every output bit."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@nb.njit(cache=True, nogil=True, inline="always")
def _insert(value: np.float32, best: NDArray[np.float32]) -> None:
    at = best.size - 1
    while at > 0 and best[at - 1] < value:
        best[at] = best[at - 1]
        at -= 1
    best[at] = value


@nb.njit(cache=True, nogil=True)
def _news(
    line: NDArray[np.float32],
    known: np.float32,
    best: np.float32,
    penalty: np.float32,
    tgt_pen: NDArray[np.float32],
    tgt_best: NDArray[np.float32],
    tgt_floor: NDArray[np.float32],
) -> np.int32:
    """Whether any product of a chunk beats what is known; without branches, to become vector instructions."""
    news = np.int32(0)
    for n in range(line.size):
        x = line[n]
        news |= np.int32(x > known)
        news |= np.int32(x > tgt_floor[n])
        news |= np.int32(x - tgt_pen[n] > best)
        news |= np.int32(x - penalty > tgt_best[n])
    return news


@nb.njit(cache=True, nogil=True)
def _update(
    P: NDArray[np.float32],
    start: int,
    first: int,
    seed: np.uint64,
    limit: np.uint64,
    src_pen: NDArray[np.float32],
    tgt_pen: NDArray[np.float32],
    forward: NDArray[np.int64],
    src_best: NDArray[np.float32],
    src_near: NDArray[np.float32],
    backward: NDArray[np.int64],
    tgt_best: NDArray[np.float32],
    tgt_floor: NDArray[np.float32],
    tgt_near: NDArray[np.float32],
) -> None:
    """Enter one block of products. Chunks in which nothing beats what is known are passed over in vectors."""
    k, n_cols = src_near.shape[1], P.shape[1]
    low = np.uint64(0xFFFFFFFF)
    for row in range(P.shape[0]):
        line, near, penalty = P[row], src_near[row], src_pen[row]
        known, best = near[k - 1], src_best[row]
        key = _mix(seed * np.uint64(0x9E3779B97F4A7C15) + np.uint64(start + row))
        for begin in range(0, n_cols, _CHUNK):
            end = min(begin + _CHUNK, n_cols)
            part = line[begin:end]
            pen, tops, floors = tgt_pen[begin:end], tgt_best[begin:end], tgt_floor[begin:end]
            if not _news(part, known, best, penalty, pen, tops, floors):
                continue
            for n in range(part.size):
                x = part[n]
                if x > known:
                    _insert(x, near)
                    known = near[k - 1]
                if x > floors[n]:
                    _insert(x, tgt_near[begin + n])
                    floors[n] = tgt_near[begin + n, k - 1]
                ahead, back = x - pen[n] > best, x - penalty > tops[n]
                if ahead or back:  # what is dropped is only asked of a score that would win
                    column = first + begin + n
                    draw = _mix(key + np.uint64(column) * np.uint64(0x9E3779B97F4A7C15))
                    if ahead and (draw & low) < limit:
                        best = x - pen[n]
                        forward[row] = column
                    if back and (draw >> np.uint64(32)) < limit:
                        tops[n] = x - penalty
                        backward[begin + n] = start + row
        src_best[row] = best
