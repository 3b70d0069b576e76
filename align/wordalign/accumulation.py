"""What the E-step makes of posteriors: counts by row, counts of NULL by type, links."""

from __future__ import annotations

import numba as nb
import numpy as np
from numpy.typing import NDArray

LinkArrays = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]

NEGLIGIBLE = np.float32(1e-7)


def join_links(parts: list[LinkArrays]) -> LinkArrays:
    """Links of all chunks, in order."""
    nothing = (np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32))
    parts = parts or [nothing]
    return (
        np.concatenate([part[0] for part in parts]),
        np.concatenate([part[1] for part in parts]),
        np.concatenate([part[2] for part in parts]),
        np.concatenate([part[3] for part in parts]),
    )


@nb.njit(parallel=True, cache=True)
def add_up(
    src_ids: NDArray[np.int32],
    src_offsets: NDArray[np.int64],
    tgt_ids: NDArray[np.int32],
    tgt_offsets: NDArray[np.int64],
    cell_offsets: NDArray[np.int64],
    start: int,
    stop: int,
    cells: NDArray[np.int32],
    weights: NDArray[np.float32],
    left_tgt: NDArray[np.float32],
    left_src: NDArray[np.float32],
    n_shares: int,
    counts: NDArray[np.float32],
    null_tgt: NDArray[np.float64],
    null_src: NDArray[np.float64],
) -> None:
    """Add the weights of a chunk to the counts of their rows, each share of the source types by one thread.

    ``left_tgt`` and ``left_src`` go to the types' counts with NULL. Every sum runs in the order of the text.
    """
    n_columns = counts.shape[1]
    src_start, tgt_start = src_offsets[start], tgt_offsets[start]
    for share in nb.prange(n_shares):
        for pair in range(start, stop):
            n_tgt = tgt_offsets[pair + 1] - tgt_offsets[pair]
            if cell_offsets[pair] == cell_offsets[pair + 1]:
                continue
            cell = cell_offsets[pair] - cell_offsets[start]
            for position in range(src_offsets[pair], src_offsets[pair + 1]):
                s = src_ids[position]
                if s % n_shares == share:
                    null_src[s] += left_src[position - src_start]
                    for c in range(cell, cell + n_tgt):
                        for column in range(n_columns):
                            # most weights are next to nothing; passing them over saves a random access
                            if weights[c, column] > NEGLIGIBLE:
                                counts[cells[c], column] += weights[c, column]
                cell += n_tgt
            for position in range(tgt_offsets[pair], tgt_offsets[pair + 1]):
                t = tgt_ids[position]
                if t % n_shares == share:
                    null_tgt[t] += left_tgt[position - tgt_start]


@nb.njit(cache=True)
def links_above(
    src_offsets: NDArray[np.int64],
    tgt_ids: NDArray[np.int32],
    tgt_offsets: NDArray[np.int64],
    cell_offsets: NDArray[np.int64],
    start: int,
    stop: int,
    weights: NDArray[np.float32],
    threshold: float,
) -> LinkArrays:
    """Pair number, source position, target position and weight of the cells above the threshold."""
    n = 0
    for c in range(len(weights)):
        n += weights[c, 0] > threshold
    pair_of = np.empty(n, dtype=np.int64)
    src_of = np.empty(n, dtype=np.int32)
    tgt_of = np.empty(n, dtype=np.int32)
    weight = np.empty(n, dtype=np.float32)
    n = 0
    c = 0
    for pair in range(start, stop):
        if cell_offsets[pair] == cell_offsets[pair + 1]:
            continue
        for i in range(src_offsets[pair + 1] - src_offsets[pair]):
            for j in range(tgt_offsets[pair + 1] - tgt_offsets[pair]):
                if weights[c, 0] > threshold:
                    pair_of[n], src_of[n], tgt_of[n], weight[n] = pair, i, j, weights[c, 0]
                    n += 1
                c += 1
    return pair_of, src_of, tgt_of, weight


@nb.njit(cache=True)
def likely_entries(
    cells: NDArray[np.int32], weights: NDArray[np.float32]
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Rows and weights of the cells that :func:`add_up` would add, in order; what it passes over is 0."""
    n = 0
    for c in range(len(weights)):
        n += weights[c].max() > NEGLIGIBLE
    rows = np.empty(n, dtype=np.int32)
    likely = np.zeros((n, weights.shape[1]), dtype=np.float32)
    n = 0
    for c in range(len(weights)):
        if weights[c].max() > NEGLIGIBLE:
            rows[n] = cells[c]
            for column in range(weights.shape[1]):
                if weights[c, column] > NEGLIGIBLE:
                    likely[n, column] = weights[c, column]
            n += 1
    return rows, likely


@nb.njit(cache=True)
def add_entries(rows: NDArray[np.int32], weights: NDArray[np.float32], counts: NDArray[np.float32]) -> None:
    """Add what :func:`likely_entries` gave to the counts: the same sums, bit by bit, as ``add_up``."""
    for n in range(len(rows)):
        for column in range(weights.shape[1]):
            counts[rows[n], column] += weights[n, column]


@nb.njit(cache=True)
def add_left(ids: NDArray[np.int32], left: NDArray[np.float32], null: NDArray[np.float64]) -> None:
    """Add what the links of each word leave over to the NULL count of its type."""
    for position in range(len(ids)):
        null[ids[position]] += left[position]
