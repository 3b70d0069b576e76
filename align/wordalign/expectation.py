"""The E-step: expected counts over a whole bitext, in bounded memory, the same for any number of threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numba as nb
import numpy as np
from numpy.typing import NDArray

from align.wordalign.accumulation import LinkArrays, add_up, join_links, links_above
from align.wordalign.bitext import Bitext
from align.wordalign.diagonal import diagonal_posteriors
from align.wordalign.hmm import hmm_posteriors
from align.wordalign.ibm1 import ibm1_posteriors
from align.wordalign.pairs import PairTable, chunk_cells

# What the expected count of a link is: each direction's own posterior, their product, or their mean.
INDEPENDENT, AGREE, MEAN = 0, 1, 2

_CHUNK_CELLS = 1 << 22
_BLOCK_PAIRS = 48
_JUMP_PAIRS = 4096


@dataclass(frozen=True, eq=False)
class Parameters:
    """What the E-step reads. Column 0 is source to target, column 1 target to source.

    Attributes
    ----------
    table : float32 array, shape (n_rows, 2)
        p(t | s) and p(s | t) of each row of the pair table.
    null_tgt, null_src : float32 arrays, shapes (n_tgt_types,) and (n_src_types,)
        p(t | NULL) and p(s | NULL).
    null_prob : float
        Prior probability that a word comes from NULL.
    jumps : float64 array, shape (2, 2 * max_len + 1), (2, 2) or (2, 0)
        Jump distribution of each direction for the HMM, the tension (in column 0) for the diagonal model,
        nothing for Model 1.
    """

    table: NDArray[np.float32]
    null_tgt: NDArray[np.float32]
    null_src: NDArray[np.float32]
    null_prob: float
    jumps: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Expectation:
    """What the E-step gives.

    Attributes
    ----------
    counts : float32 array, shape (n_rows, 2) for independent directions, else (n_rows, 1)
    null_tgt, null_src : float64 arrays, shapes (n_tgt_types,) and (n_src_types,)
        Expected count of each type with NULL: what its links leave over.
    jumps : float64 array, as in Parameters
        Expected number of each jump (zero for MEAN, which nothing is estimated from), or summed features.
    log_likelihood : float64 array, shape (2,)
        Of each direction, before any product or mean is formed.
    links : tuple of four arrays
        Pair number, source position, target position, weight of every cell above the threshold.
    """

    counts: NDArray[np.float32]
    null_tgt: NDArray[np.float64]
    null_src: NDArray[np.float64]
    jumps: NDArray[np.float64]
    log_likelihood: NDArray[np.float64]
    links: LinkArrays


class EStep(Protocol):
    """:func:`expect` over one text, wherever it is done."""

    def __call__(self, parameters: Parameters, *, mode: int, threshold: float = ...) -> Expectation: ...


def expect(
    bitext: Bitext,
    pairs: PairTable,
    parameters: Parameters,
    *,
    mode: int,
    threshold: float = np.inf,
) -> Expectation:
    """Run the posteriors of both directions over all sentence pairs and add up the counts.

    Parameters
    ----------
    mode : int
        INDEPENDENT, AGREE (Liang, Taskar, Klein 2006, equation 9) or MEAN.
    threshold : float
        Also return the cells whose weight exceeds it.

    Notes
    -----
    The text is taken in chunks of about four million cells, which bounds the memory for cells and posteriors
    to 48 MiB whatever its length. Within a chunk the sentences run in parallel and write to places of their
    own; then each thread adds up the cells of its own share of the types, in the order of the text. No sum
    depends on the number of threads. Jumps are counted in about 4,096 sentence pairs spread over the text,
    for two rows of a few hundred numbers.
    """
    n_columns = 2 if mode == INDEPENDENT else 1
    counts = np.zeros((pairs.n_rows, n_columns), dtype=np.float32)
    null_tgt = np.zeros(bitext.n_tgt_types)
    null_src = np.zeros(bitext.n_src_types)
    jump_counts = np.zeros_like(parameters.jumps)
    log_likelihood = np.zeros(2)
    found: list[LinkArrays] = []

    text = (bitext.src_ids, bitext.src_offsets, bitext.tgt_ids, bitext.tgt_offsets, pairs.cell_offsets)
    for start, stop in chunk_bounds(pairs):
        chunk = chunk_posteriors(bitext, pairs, parameters, start, stop, mode)
        jump_counts += chunk.jumps
        log_likelihood += chunk.log_likelihood
        add_up(
            *text, start, stop, chunk.cells, chunk.weights, chunk.left_tgt, chunk.left_src,
            nb.get_num_threads(), counts, null_tgt, null_src,
        )  # fmt: skip
        if threshold < np.inf:
            found.append(links_above(*text[1:], start, stop, chunk.weights, threshold))
        # its memory is free before the next one is made
        del chunk
    return Expectation(counts, null_tgt, null_src, jump_counts, log_likelihood, join_links(found))


@dataclass(frozen=True, eq=False)
class Chunk:
    """Posteriors of a part of the text.

    Attributes
    ----------
    cells : int32 array, shape (n_cells,)
        Row of each cell.
    weights : float32 array, shape (n_cells, 1 or 2)
        Expected count of the link in each cell.
    left_tgt, left_src : float32 arrays, shapes (n_tgt_tokens,) and (n_src_tokens,)
        What the links of a word leave over for NULL.
    jumps, log_likelihood : float64 arrays
        As in Expectation.
    """

    cells: NDArray[np.int32]
    weights: NDArray[np.float32]
    left_tgt: NDArray[np.float32]
    left_src: NDArray[np.float32]
    jumps: NDArray[np.float64]
    log_likelihood: NDArray[np.float64]


def chunk_bounds(pairs: PairTable) -> list[tuple[int, int]]:
    """First sentence pair of every chunk of the text, and the one after its last."""
    bounds = []
    start, n_pairs = 0, len(pairs.cell_offsets) - 1
    while start < n_pairs:
        limit = pairs.cell_offsets[start] + _CHUNK_CELLS
        stop = max(start + 1, int(np.searchsorted(pairs.cell_offsets, limit, side="right")) - 1)
        bounds.append((start, stop))
        start = stop
    return bounds


def chunk_posteriors(
    bitext: Bitext, pairs: PairTable, parameters: Parameters, start: int, stop: int, mode: int
) -> Chunk:
    """Posteriors of sentence pairs ``start`` to ``stop - 1``; arguments as for :func:`expect`."""
    cells = chunk_cells(bitext, pairs, start, stop)
    weights = np.empty((len(cells), 2 if mode == INDEPENDENT else 1), dtype=np.float32)
    left_tgt = np.zeros(bitext.tgt_offsets[stop] - bitext.tgt_offsets[start], dtype=np.float32)
    left_src = np.zeros(bitext.src_offsets[stop] - bitext.src_offsets[start], dtype=np.float32)
    n_blocks = -(-(stop - start) // _BLOCK_PAIRS)
    jumps = np.zeros((n_blocks, *parameters.jumps.shape))
    log_likelihood = np.zeros((n_blocks, 2))
    stride = max(1, bitext.n_pairs // _JUMP_PAIRS)
    _chunk_posteriors(
        bitext.src_ids, bitext.src_offsets, bitext.tgt_ids, bitext.tgt_offsets, pairs.cell_offsets,
        start, stop, cells, parameters.table, parameters.null_tgt, parameters.null_src,
        parameters.null_prob, parameters.jumps, mode, 0 if mode == MEAN else stride, jumps, log_likelihood,
        weights, left_tgt, left_src,
    )  # fmt: skip
    total = jumps.sum(axis=0)
    if parameters.jumps.shape[1] > 2:
        total *= stride
    return Chunk(cells, weights, left_tgt, left_src, total, log_likelihood.sum(axis=0))


@nb.njit(parallel=True, cache=True)
def _chunk_posteriors(
    src_ids: NDArray[np.int32],
    src_offsets: NDArray[np.int64],
    tgt_ids: NDArray[np.int32],
    tgt_offsets: NDArray[np.int64],
    cell_offsets: NDArray[np.int64],
    start: int,
    stop: int,
    cells: NDArray[np.int32],
    table: NDArray[np.float32],
    null_tgt: NDArray[np.float32],
    null_src: NDArray[np.float32],
    null_prob: float,
    jumps: NDArray[np.float64],
    mode: int,
    jump_stride: int,
    block_jumps: NDArray[np.float64],
    block_log_likelihood: NDArray[np.float64],
    weights: NDArray[np.float32],
    left_tgt: NDArray[np.float32],
    left_src: NDArray[np.float32],
) -> None:
    # nothing but the call stands in the loop: what stands in a parallel loop takes long to compile
    for block in nb.prange(len(block_jumps)):
        _block_posteriors(
            src_ids, src_offsets, tgt_ids, tgt_offsets, cell_offsets, start + block, stop, len(block_jumps),
            start, cells, table, null_tgt, null_src, null_prob, jumps, mode, jump_stride, block_jumps[block],
            block_log_likelihood[block], weights, left_tgt, left_src,
        )  # fmt: skip


@nb.njit(cache=True)
def _block_posteriors(
    src_ids: NDArray[np.int32],
    src_offsets: NDArray[np.int64],
    tgt_ids: NDArray[np.int32],
    tgt_offsets: NDArray[np.int64],
    cell_offsets: NDArray[np.int64],
    first_pair: int,
    stop: int,
    stride: int,
    start: int,
    cells: NDArray[np.int32],
    table: NDArray[np.float32],
    null_tgt: NDArray[np.float32],
    null_src: NDArray[np.float32],
    null_prob: float,
    jumps: NDArray[np.float64],
    mode: int,
    jump_stride: int,
    jump_counts: NDArray[np.float64],
    log_likelihood: NDArray[np.float64],
    weights: NDArray[np.float32],
    left_tgt: NDArray[np.float32],
    left_src: NDArray[np.float32],
) -> None:
    max_src, max_tgt = 0, 0
    for pair in range(first_pair, stop, stride):
        if cell_offsets[pair + 1] > cell_offsets[pair]:
            max_src = max(max_src, src_offsets[pair + 1] - src_offsets[pair])
            max_tgt = max(max_tgt, tgt_offsets[pair + 1] - tgt_offsets[pair])
    emit_tgt = np.empty((max_tgt, max_src + 1), dtype=np.float32)
    emit_src = np.empty((max_src, max_tgt + 1), dtype=np.float32)
    post_tgt = np.empty((max_tgt, max_src), dtype=np.float32)
    post_src = np.empty((max_src, max_tgt), dtype=np.float32)
    longest = max(max_src, max_tgt) + 1
    nulls = np.empty(longest, dtype=np.float32)
    scratch = np.empty((6, longest + 4, longest + 4), dtype=np.float32)
    # every n-th pair, so that a text sorted by length still gives blocks of equal work
    for pair in range(first_pair, stop, stride):
        first = cell_offsets[pair] - cell_offsets[start]
        if cell_offsets[pair] == cell_offsets[pair + 1]:
            continue
        src = src_offsets[pair]
        tgt = tgt_offsets[pair]
        n_src = src_offsets[pair + 1] - src
        n_tgt = tgt_offsets[pair + 1] - tgt
        for i in range(n_src):
            emit_src[i, 0] = 0.0
            for j in range(n_tgt):
                row = np.uintp(cells[first + i * n_tgt + j])
                emit_tgt[j, i + 1] = table[row, 0]
                emit_src[i, j + 1] = table[row, 1]
        for j in range(n_tgt):
            emit_tgt[j, 0] = 0.0
            nulls[j] = null_tgt[tgt_ids[tgt + j]]
        for direction in range(2):
            emit, post, n_gen, n_from = emit_tgt, post_tgt, n_tgt, n_src
            if direction == 1:
                emit, post, n_gen, n_from = emit_src, post_src, n_src, n_tgt
                for i in range(n_src):
                    nulls[i] = null_src[src_ids[src + i]]
            if jumps.shape[1] == 0:
                value = ibm1_posteriors(emit, nulls, n_gen, n_from, null_prob, post)
            elif jumps.shape[1] == 2:
                value = diagonal_posteriors(
                    emit, nulls, n_gen, n_from, null_prob, jumps[direction, 0], post, jump_counts[direction]
                )
            else:
                value = hmm_posteriors(
                    emit, nulls, n_gen, n_from, null_prob, jumps[direction], scratch, post,
                    jump_stride > 0 and pair % jump_stride == 0, jump_counts[direction],
                )  # fmt: skip
            log_likelihood[direction] += value
        src -= src_offsets[start]
        tgt -= tgt_offsets[start]
        _combine(
            post_tgt, post_src, mode, weights[first : first + n_src * n_tgt],
            left_tgt[tgt : tgt + n_tgt], left_src[src : src + n_src],
        )  # fmt: skip


@nb.njit(cache=True)
def _combine(
    post_tgt: NDArray[np.float32],
    post_src: NDArray[np.float32],
    mode: int,
    weights: NDArray[np.float32],
    left_tgt: NDArray[np.float32],
    left_src: NDArray[np.float32],
) -> None:
    # link weights of one sentence pair, and what they leave of every word for NULL
    zero, one, half = np.float32(0.0), np.float32(1.0), np.float32(0.5)
    n_src, n_tgt = len(left_src), len(left_tgt)
    left_tgt[:] = one
    for i in range(n_src):
        left = one
        for j in range(n_tgt):
            cell = i * n_tgt + j
            from_src, from_tgt = post_tgt[j, i], post_src[i, j]
            if mode == AGREE:
                from_src *= from_tgt
                from_tgt = from_src
            elif mode == MEAN:
                from_src = half * (from_src + from_tgt)
                from_tgt = from_src
            else:
                weights[cell, 1] = from_tgt
            weights[cell, 0] = from_src
            left -= from_tgt
            left_tgt[j] -= from_src
        left_src[i] = max(left, zero)
    for j in range(n_tgt):
        left_tgt[j] = max(left_tgt[j], zero)
