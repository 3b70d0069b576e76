"""Posteriors of single sentence pairs, both directions apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numba as nb
import numpy as np
from numpy.typing import NDArray

from align.wordalign.bitext import Bitext
from align.wordalign.expectation import INDEPENDENT, Parameters, _chunk_posteriors
from align.wordalign.links import Links
from align.wordalign.pairs import PairTable, chunk_cells

_CHUNK_CELLS = 1 << 20
_CHUNK_PAIRS = 1 << 12


@dataclass(frozen=True, eq=False)
class PairPosteriors:
    """Posteriors of one sentence pair.

    Attributes
    ----------
    src_to_tgt : float32 array, shape (n_src, n_tgt)
        p(target word j comes from source word i); a column sums to 1 less the part of NULL.
    tgt_to_src : float32 array, shape (n_src, n_tgt)
        p(source word i comes from target word j); a row sums to 1 less the part of NULL.
    log_likelihood : (float, float)
        Natural logarithm of p(target | source) and p(source | target) for each word generated; NaN for a pair
        with an empty side or one that is too long, whose posteriors are 0.
    """

    src_to_tgt: NDArray[np.float32]
    tgt_to_src: NDArray[np.float32]
    log_likelihood: tuple[float, float]

    @property
    def mean(self) -> NDArray[np.float32]:
        """Mean of the two directions: the weight of each link."""
        return np.float32(0.5) * (self.src_to_tgt + self.tgt_to_src)


@dataclass(frozen=True, eq=False)
class _Chunk:
    start: int
    stop: int
    weights: NDArray[np.float32]  # (n_cells, 2)
    log_likelihood: NDArray[np.float64]  # (stop - start, 2)


def posterior_chunks(bitext: Bitext, pairs: PairTable, parameters: Parameters) -> Iterator[_Chunk]:
    """Both directions' posteriors of all cells, in chunks of about a million cells (8 MiB)."""
    text = (bitext.src_ids, bitext.src_offsets, bitext.tgt_ids, bitext.tgt_offsets, pairs.cell_offsets)
    start = 0
    while start < bitext.n_pairs:
        limit = pairs.cell_offsets[start] + _CHUNK_CELLS
        stop = max(start + 1, int(np.searchsorted(pairs.cell_offsets, limit, side="right")) - 1)
        stop = min(stop, start + _CHUNK_PAIRS)
        cells = chunk_cells(bitext, pairs, start, stop)
        weights = np.empty((len(cells), 2), dtype=np.float32)
        # one block a pair gives every pair its own log-likelihood
        log_likelihood = np.zeros((stop - start, 2))
        _chunk_posteriors(
            *text, start, stop, cells, parameters.table, parameters.null_tgt, parameters.null_src,
            parameters.null_prob, parameters.jumps, INDEPENDENT, 0,
            np.zeros((stop - start, *parameters.jumps.shape)), log_likelihood, weights,
            np.zeros(bitext.tgt_offsets[stop] - bitext.tgt_offsets[start], dtype=np.float32),
            np.zeros(bitext.src_offsets[stop] - bitext.src_offsets[start], dtype=np.float32),
        )  # fmt: skip
        yield _Chunk(start, stop, weights, log_likelihood)
        start = stop


def pair_posteriors(bitext: Bitext, pairs: PairTable, parameters: Parameters) -> Iterator[PairPosteriors]:
    """Posteriors of one sentence pair after the other."""
    n_src, n_tgt = np.diff(bitext.src_offsets), np.diff(bitext.tgt_offsets)
    for chunk in posterior_chunks(bitext, pairs, parameters):
        for n in range(chunk.start, chunk.stop):
            shape = (int(n_src[n]), int(n_tgt[n]))
            begin, end = pairs.cell_offsets[n : n + 2] - pairs.cell_offsets[chunk.start]
            if begin == end:
                nothing = np.zeros(shape, dtype=np.float32)
                yield PairPosteriors(nothing, nothing.copy(), (float("nan"), float("nan")))
                continue
            both = chunk.weights[begin:end]
            value = chunk.log_likelihood[n - chunk.start]
            yield PairPosteriors(
                both[:, 0].reshape(shape).copy(),
                both[:, 1].reshape(shape).copy(),
                (float(value[0]) / shape[1], float(value[1]) / shape[0]),
            )


def pair_scores(bitext: Bitext, pairs: PairTable, parameters: Parameters) -> NDArray[np.float64]:
    """Log-likelihood for each word generated, both directions, shape (n_pairs, 2); NaN for pairs left out."""
    total = np.concatenate(
        [np.zeros((0, 2)), *(c.log_likelihood for c in posterior_chunks(bitext, pairs, parameters))]
    )
    lengths = np.stack([np.diff(bitext.tgt_offsets), np.diff(bitext.src_offsets)], axis=1)
    used = np.diff(pairs.cell_offsets) > 0
    return np.where(used[:, None], total / np.maximum(lengths, 1), np.nan)


def best_links(bitext: Bitext, pairs: PairTable, parameters: Parameters) -> tuple[Links, Links]:
    """Links of each direction: every generated word to its most probable word, or to none if NULL beats it.

    Of equally probable words the first is taken.
    """
    n_src, n_tgt = np.diff(bitext.src_offsets), np.diff(bitext.tgt_offsets)
    found: tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]] = ([], [])
    for chunk in posterior_chunks(bitext, pairs, parameters):
        shapes = np.stack([n_src, n_tgt], axis=1)[chunk.start : chunk.stop]
        cell_offsets = pairs.cell_offsets[chunk.start : chunk.stop + 1] - pairs.cell_offsets[chunk.start]
        for direction in range(2):
            rows = _best(chunk.weights, cell_offsets, shapes, chunk.start, direction)
            found[direction].append(rows)
    both = []
    for parts in found:
        rows = np.concatenate([np.zeros((0, 4)), *parts])
        pair, src, tgt = rows[:, :3].T.astype(np.int64)
        both.append(Links.from_pairs(pair, src, tgt, rows[:, 3], n_pairs=bitext.n_pairs))
    return both[0], both[1]


@nb.njit(cache=True)
def _best(
    weights: NDArray[np.float32],
    cell_offsets: NDArray[np.int64],
    shapes: NDArray[np.int64],
    first_pair: int,
    direction: int,
) -> NDArray[np.float64]:
    n = 0
    for pair in range(len(shapes)):
        if cell_offsets[pair + 1] > cell_offsets[pair]:
            n += shapes[pair, 1 - direction]
    out = np.empty((n, 4))
    n = 0
    for pair in range(len(shapes)):
        if cell_offsets[pair + 1] == cell_offsets[pair]:
            continue
        n_src, n_tgt = shapes[pair]
        n_gen, n_from = (n_tgt, n_src) if direction == 0 else (n_src, n_tgt)
        for t in range(n_gen):
            best, best_k, total = -1.0, 0, 0.0
            for k in range(n_from):
                i, j = (k, t) if direction == 0 else (t, k)
                p = weights[cell_offsets[pair] + i * n_tgt + j, direction]
                total += p
                if p > best:
                    best, best_k = p, k
            if best > 1.0 - total:
                i, j = (best_k, t) if direction == 0 else (t, best_k)
                out[n, 0], out[n, 1], out[n, 2], out[n, 3] = first_pair + pair, i, j, best
                n += 1
    return out[:n]
