"""Compiled loops over the segmentations of words, for :mod:`vocab.tokenizer.unigram_trainer`.

A lattice is given by its edges: ``begin[i] .. begin[i + 1]`` leave character `i`, each with a length and a
piece.
Blocks of words are summed apart and added by the caller in order, so threads do not change a bit.
"""

from __future__ import annotations

import numba
import numpy as np


@numba.njit(cache=True, parallel=True)
def forward_backward(
    begin: np.ndarray,
    edge_length: np.ndarray,
    edge_piece: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    weights: np.ndarray,
    scores: np.ndarray,
    bounds: np.ndarray,
) -> np.ndarray:
    """Expected count of each piece over all segmentations, (n_blocks, n_pieces) float64."""
    counts = np.zeros((len(bounds) - 1, len(scores)))
    for block in numba.prange(len(bounds) - 1):
        for run in range(bounds[block], bounds[block + 1]):
            start = starts[run]
            size = ends[run] - start
            forward = np.full(size + 1, -np.inf)
            backward = np.full(size + 1, -np.inf)
            forward[0] = 0.0
            backward[size] = 0.0
            for i in range(size):
                for e in range(begin[start + i], begin[start + i + 1]):
                    j = i + edge_length[e]
                    forward[j] = np.logaddexp(forward[j], forward[i] + scores[edge_piece[e]])
            for i in range(size - 1, -1, -1):
                for e in range(begin[start + i], begin[start + i + 1]):
                    value = backward[i + edge_length[e]] + scores[edge_piece[e]]
                    backward[i] = np.logaddexp(backward[i], value)
            for i in range(size):
                for e in range(begin[start + i], begin[start + i + 1]):
                    p = edge_piece[e]
                    value = forward[i] + scores[p] + backward[i + edge_length[e]] - forward[size]
                    counts[block, p] += weights[run] * np.exp(value)
    return counts


@numba.njit(cache=True, parallel=True)
def best_counts(
    begin: np.ndarray,
    edge_length: np.ndarray,
    edge_piece: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    weights: np.ndarray,
    scores: np.ndarray,
    bounds: np.ndarray,
) -> np.ndarray:
    """Count of each piece in the best segmentation of each run, (n_blocks, n_pieces) float64."""
    counts = np.zeros((len(bounds) - 1, len(scores)))
    for block in numba.prange(len(bounds) - 1):
        for run in range(bounds[block], bounds[block + 1]):
            last = best_path(begin, edge_length, edge_piece, scores, starts[run], ends[run] - starts[run], -1)
            j = ends[run] - starts[run]
            while j > 0:
                p = edge_piece[last[j]]
                counts[block, p] += weights[run]
                j -= edge_length[last[j]]
    return counts


@numba.njit(cache=True)
def best_path(
    begin: np.ndarray,
    edge_length: np.ndarray,
    edge_piece: np.ndarray,
    scores: np.ndarray,
    start: int,
    size: int,
    without: int,
) -> np.ndarray:
    """Last edge of the best path to each position of a run; `without` names a piece not to use."""
    best = np.full(size + 1, -np.inf)
    best[0] = 0.0
    last = np.full(size + 1, -1, np.int64)
    for i in range(size):
        for e in range(begin[start + i], begin[start + i + 1]):
            p = edge_piece[e]
            j = i + edge_length[e]
            if p != without and j <= size and best[i] + scores[p] > best[j]:
                best[j] = best[i] + scores[p]
                last[j] = e
    return last


@numba.njit(cache=True, parallel=True)
def replacement_loss(
    begin: np.ndarray,
    edge_length: np.ndarray,
    edge_piece: np.ndarray,
    where: np.ndarray,
    length: np.ndarray,
    scores: np.ndarray,
    used: np.ndarray,
) -> np.ndarray:
    """Loss of log-likelihood, per token of text, when each piece gives way to its next best segmentation."""
    loss = np.zeros(len(scores))
    total = used.sum()
    for p in numba.prange(len(scores)):
        if used[p] == 0 or length[p] == 1:
            continue
        last = best_path(begin, edge_length, edge_piece, scores, where[p], length[p], p)
        n_parts = 0
        j = length[p]
        alternative = 0.0
        while j > 0:
            alternative += np.log(used[edge_piece[last[j]]] + used[p])
            n_parts += 1
            j -= edge_length[last[j]]
        alternative -= n_parts * np.log(total + used[p] * (n_parts - 1))
        loss[p] = used[p] / total * (np.log(used[p]) - np.log(total) - alternative)
    return loss
