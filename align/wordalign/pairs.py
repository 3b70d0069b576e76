"""The table of word pairs that occur together, and where each one occurs.

Every distinct (source type, target type) that shares a sentence pair gets one row; each sentence pair has
an I x J block of row numbers. Tables of probabilities and counts are arrays over the rows, so nothing of size
V_src x V_tgt ever exists, and one block serves both directions. Blocks are made for a part of the text when
they are wanted and forgotten again: memory is bounded by the table, not by the text.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba as nb
import numpy as np
from numpy.typing import NDArray

from align.errors import InputError
from align.wordalign.bitext import Bitext


@dataclass(frozen=True, eq=False)
class PairTable:
    """Rows of co-occurring types in CSR order by source type.

    Attributes
    ----------
    indptr : int64 array, shape (n_src_types + 1,)
        Rows of source type ``s`` are ``indptr[s]`` to ``indptr[s + 1] - 1``.
    tgt : int32 array, shape (n_rows,)
        Target type of each row.
    cell_offsets : int64 array, shape (n_pairs + 1,)
        Cells (places of the I x J blocks) before each pair. Pairs that are left out have an empty block.
    """

    indptr: NDArray[np.int64]
    tgt: NDArray[np.int32]
    cell_offsets: NDArray[np.int64]

    @property
    def n_rows(self) -> int:
        """Number of distinct pairs of types."""
        return len(self.tgt)


def build_pairs(bitext: Bitext, *, max_len: int) -> PairTable:
    """Number the pairs of types that occur together.

    Pairs of sentences with an empty side or with more than ``max_len`` tokens on a side get no cells.

    Raises
    ------
    InputError
        If there are 2^31 rows or more.

    Notes
    -----
    One scan of the text counts, a second fills: time is linear in the number of cells (the sum of I x J),
    memory is 4 bytes a row, and 4 bytes x ``n_tgt_types`` for each of 4 tasks a thread on the way.
    Rows of a source type are in order of first occurrence, whatever the number of threads.
    """
    n_src = np.diff(bitext.src_offsets)
    n_tgt = np.diff(bitext.tgt_offsets)
    n_cells = np.where((n_src <= max_len) & (n_tgt <= max_len), n_src * n_tgt, 0)
    cell_offsets = np.zeros(bitext.n_pairs + 1, dtype=np.int64)
    np.cumsum(n_cells, out=cell_offsets[1:])

    text = _by_type(bitext, cell_offsets, 0, bitext.n_pairs)
    n_rows = _count_rows(*text, bitext.n_src_types, bitext.n_tgt_types)
    indptr = np.zeros(bitext.n_src_types + 1, dtype=np.int64)
    np.cumsum(n_rows, out=indptr[1:])
    if indptr[-1] > np.iinfo(np.int32).max:
        raise InputError(
            "too many distinct word pairs for one table",
            got=int(indptr[-1]),
            wanted="fewer than 2^31",
            hint="Align the text in parts, or use smaller vocabularies",
        )
    tgt = np.empty(indptr[-1], dtype=np.int32)
    _fill_rows(*text, bitext.n_tgt_types, indptr, tgt)
    return PairTable(indptr, tgt, cell_offsets)


def chunk_cells(bitext: Bitext, pairs: PairTable, start: int, stop: int) -> NDArray[np.int32]:
    """Row number of every (i, j) of sentence pairs ``start`` to ``stop - 1``, each block in C order, i first.

    The rows of each source type of the chunk are laid out by target type, then read off: time is linear in
    the chunk's cells and in the rows of its source types.
    """
    cells = np.empty(pairs.cell_offsets[stop] - pairs.cell_offsets[start], dtype=np.int32)
    text = _by_type(bitext, pairs.cell_offsets, start, stop)
    _fill_cells(*text, bitext.n_tgt_types, pairs.indptr, pairs.tgt, pairs.cell_offsets[start], cells)
    return cells


_TextByType = tuple[
    NDArray[np.int32],
    NDArray[np.int64],
    NDArray[np.int32],
    NDArray[np.int64],
    NDArray[np.int64],
    NDArray[np.int32],
    NDArray[np.int64],
    NDArray[np.int64],
]


def _by_type(bitext: Bitext, cell_offsets: NDArray[np.int64], start: int, stop: int) -> _TextByType:
    # the text, and its source positions with cells in order of their types, cut into shares of equal work
    # that begin with a type
    text = (bitext.src_ids, bitext.src_offsets, bitext.tgt_ids, bitext.tgt_offsets, cell_offsets)
    pair_of, positions, work = _sort_by_type(
        bitext.src_ids, bitext.src_offsets, bitext.tgt_offsets, cell_offsets, start, stop, bitext.n_src_types
    )
    shares = np.searchsorted(work, np.linspace(0, work[-1], 4 * nb.get_num_threads() + 1))
    if len(positions):
        types = bitext.src_ids[positions]
        shares = np.searchsorted(types, types[np.minimum(shares, len(types) - 1)])
    shares[-1] = len(positions)
    return (*text, pair_of, positions, shares)


@nb.njit(cache=True)
def _sort_by_type(
    src_ids: NDArray[np.int32],
    src_offsets: NDArray[np.int64],
    tgt_offsets: NDArray[np.int64],
    cell_offsets: NDArray[np.int64],
    start: int,
    stop: int,
    n_src_types: int,
) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]:
    # pair and position of every source token with cells, and the cells before it
    place = np.zeros(n_src_types + 1, dtype=np.int64)
    for pair in range(start, stop):
        if cell_offsets[pair + 1] > cell_offsets[pair]:
            for position in range(src_offsets[pair], src_offsets[pair + 1]):
                place[src_ids[position] + 1] += 1
    for s in range(n_src_types):
        place[s + 1] += place[s]
    pair_of = np.empty(place[-1], dtype=np.int32)
    positions = np.empty(place[-1], dtype=np.int64)
    for pair in range(start, stop):
        if cell_offsets[pair + 1] > cell_offsets[pair]:
            for position in range(src_offsets[pair], src_offsets[pair + 1]):
                n = place[src_ids[position]]
                pair_of[n], positions[n] = pair, position
                place[src_ids[position]] = n + 1
    work = np.zeros(len(positions) + 1, dtype=np.int64)
    for n in range(len(positions)):
        work[n + 1] = work[n] + tgt_offsets[pair_of[n] + 1] - tgt_offsets[pair_of[n]]
    return pair_of, positions, work


@nb.njit(parallel=True, cache=True)
def _count_rows(
    src_ids: NDArray[np.int32],
    src_offsets: NDArray[np.int64],
    tgt_ids: NDArray[np.int32],
    tgt_offsets: NDArray[np.int64],
    cell_offsets: NDArray[np.int64],
    pair_of: NDArray[np.int32],
    positions: NDArray[np.int64],
    shares: NDArray[np.int64],
    n_src_types: int,
    n_tgt_types: int,
) -> NDArray[np.int64]:
    n_rows = np.zeros(n_src_types, dtype=np.int64)
    for share in nb.prange(len(shares) - 1):
        seen_with = np.full(n_tgt_types, -1, dtype=np.int32)
        for x in range(shares[share], shares[share + 1]):
            s, pair = src_ids[positions[x]], pair_of[x]
            for q in range(tgt_offsets[pair], tgt_offsets[pair + 1]):
                t = tgt_ids[q]
                if seen_with[t] != s:
                    seen_with[t] = s
                    n_rows[s] += 1
    return n_rows


@nb.njit(parallel=True, cache=True)
def _fill_rows(
    src_ids: NDArray[np.int32],
    src_offsets: NDArray[np.int64],
    tgt_ids: NDArray[np.int32],
    tgt_offsets: NDArray[np.int64],
    cell_offsets: NDArray[np.int64],
    pair_of: NDArray[np.int32],
    positions: NDArray[np.int64],
    shares: NDArray[np.int64],
    n_tgt_types: int,
    indptr: NDArray[np.int64],
    tgt: NDArray[np.int32],
) -> None:
    for share in nb.prange(len(shares) - 1):
        seen_with = np.full(n_tgt_types, -1, dtype=np.int32)
        row, previous = 0, -1
        for x in range(shares[share], shares[share + 1]):
            s, pair = src_ids[positions[x]], pair_of[x]
            if s != previous:
                row, previous = indptr[s], s
            for q in range(tgt_offsets[pair], tgt_offsets[pair + 1]):
                t = tgt_ids[q]
                if seen_with[t] != s:
                    seen_with[t] = s
                    tgt[row] = t
                    row += 1


@nb.njit(parallel=True, cache=True)
def _fill_cells(
    src_ids: NDArray[np.int32],
    src_offsets: NDArray[np.int64],
    tgt_ids: NDArray[np.int32],
    tgt_offsets: NDArray[np.int64],
    cell_offsets: NDArray[np.int64],
    pair_of: NDArray[np.int32],
    positions: NDArray[np.int64],
    shares: NDArray[np.int64],
    n_tgt_types: int,
    indptr: NDArray[np.int64],
    tgt: NDArray[np.int32],
    first_cell: int,
    cells: NDArray[np.int32],
) -> None:
    for share in nb.prange(len(shares) - 1):
        row_of = np.empty(n_tgt_types, dtype=np.int32)
        previous = -1
        for x in range(shares[share], shares[share + 1]):
            s, pair = src_ids[positions[x]], pair_of[x]
            if s != previous:
                previous = s
                for row in range(indptr[s], indptr[s + 1]):
                    row_of[np.uintp(tgt[row])] = row
            first = tgt_offsets[pair]
            n_tgt = tgt_offsets[pair + 1] - first
            cell = cell_offsets[pair] + (positions[x] - src_offsets[pair]) * n_tgt - first_cell
            # unsigned numbers spare the test for negative ones
            for j in range(n_tgt):
                cells[cell + j] = row_of[np.uintp(tgt_ids[first + j])]
