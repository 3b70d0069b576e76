"""The table of word pairs that occur together, and where each one occurs.

Every distinct (source type, target type) that shares a sentence pair gets one row; each sentence pair holds
an I x J block of row numbers. Tables of probabilities and counts are arrays over the rows, so nothing of size
V_src x V_tgt ever exists, and one block serves both directions.
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
    """Rows of co-occurring types in CSR order by source type, and the cells that refer to them.

    Attributes
    ----------
    indptr : int64 array, shape (n_src_types + 1,)
        Rows of source type ``s`` are ``indptr[s]`` to ``indptr[s + 1] - 1``.
    tgt : int32 array, shape (n_rows,)
        Target type of each row.
    cells : int32 array, shape (n_cells,)
        Row number of every (i, j) of every sentence pair; the block of a pair is in C order, i first.
    cell_offsets : int64 array, shape (n_pairs + 1,)
        Where the block of each pair begins. Pairs that are left out have an empty block.
    """

    indptr: NDArray[np.int64]
    tgt: NDArray[np.int32]
    cells: NDArray[np.int32]
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
    memory is 4 bytes a cell and 4 bytes a row, and 4 bytes x ``n_tgt_types`` for each thread on the way.
    Rows of a source type are in order of first occurrence, whatever the number of threads.
    """
    n_src = np.diff(bitext.src_offsets)
    n_tgt = np.diff(bitext.tgt_offsets)
    n_cells = np.where((n_src <= max_len) & (n_tgt <= max_len), n_src * n_tgt, 0)
    cell_offsets = np.zeros(bitext.n_pairs + 1, dtype=np.int64)
    np.cumsum(n_cells, out=cell_offsets[1:])

    position_pair = np.repeat(np.arange(bitext.n_pairs, dtype=np.int32), n_src)
    order = np.argsort(bitext.src_ids, kind="stable")
    type_offsets = np.zeros(bitext.n_src_types + 1, dtype=np.int64)
    np.cumsum(np.bincount(bitext.src_ids, minlength=bitext.n_src_types), out=type_offsets[1:])
    # a share of the source types for each task, by the number of cells behind them
    work = np.concatenate(([0], np.cumsum(np.where(n_cells > 0, n_tgt, 0)[position_pair[order]])))[
        type_offsets
    ]
    shares = np.searchsorted(work, np.linspace(0, work[-1], 4 * nb.get_num_threads() + 1))
    shares[-1] = bitext.n_src_types

    args = (
        bitext.src_offsets,
        bitext.tgt_ids,
        bitext.tgt_offsets,
        cell_offsets,
        position_pair,
        order,
        type_offsets,
    )
    n_rows = _count_rows(*args, shares, bitext.n_tgt_types)
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
    cells = np.empty(cell_offsets[-1], dtype=np.int32)
    _fill(*args, shares, bitext.n_tgt_types, indptr, tgt, cells)
    return PairTable(indptr, tgt, cells, cell_offsets)


@nb.njit(parallel=True, cache=True)
def _count_rows(
    src_offsets: NDArray[np.int64],
    tgt_ids: NDArray[np.int32],
    tgt_offsets: NDArray[np.int64],
    cell_offsets: NDArray[np.int64],
    position_pair: NDArray[np.int32],
    order: NDArray[np.int64],
    type_offsets: NDArray[np.int64],
    shares: NDArray[np.int64],
    n_tgt_types: int,
) -> NDArray[np.int64]:
    n_rows = np.zeros(len(type_offsets) - 1, dtype=np.int64)
    for share in nb.prange(len(shares) - 1):
        seen_with = np.full(n_tgt_types, -1, dtype=np.int32)
        for s in range(shares[share], shares[share + 1]):
            n = 0
            for k in range(type_offsets[s], type_offsets[s + 1]):
                pair = position_pair[order[k]]
                if cell_offsets[pair] == cell_offsets[pair + 1]:
                    continue
                for q in range(tgt_offsets[pair], tgt_offsets[pair + 1]):
                    t = tgt_ids[q]
                    if seen_with[t] != s:
                        seen_with[t] = s
                        n += 1
            n_rows[s] = n
    return n_rows


@nb.njit(parallel=True, cache=True)
def _fill(
    src_offsets: NDArray[np.int64],
    tgt_ids: NDArray[np.int32],
    tgt_offsets: NDArray[np.int64],
    cell_offsets: NDArray[np.int64],
    position_pair: NDArray[np.int32],
    order: NDArray[np.int64],
    type_offsets: NDArray[np.int64],
    shares: NDArray[np.int64],
    n_tgt_types: int,
    indptr: NDArray[np.int64],
    tgt: NDArray[np.int32],
    cells: NDArray[np.int32],
) -> None:
    for share in nb.prange(len(shares) - 1):
        row_of = np.full(n_tgt_types, -1, dtype=np.int32)
        for s in range(shares[share], shares[share + 1]):
            # rows grow with s, so a number below the first of s was left by an earlier type
            first = indptr[s]
            row = first
            for k in range(type_offsets[s], type_offsets[s + 1]):
                position = order[k]
                pair = position_pair[position]
                if cell_offsets[pair] == cell_offsets[pair + 1]:
                    continue
                n_tgt = tgt_offsets[pair + 1] - tgt_offsets[pair]
                cell = cell_offsets[pair] + (position - src_offsets[pair]) * n_tgt
                for q in range(tgt_offsets[pair], tgt_offsets[pair + 1]):
                    t = tgt_ids[q]
                    if row_of[t] < first:
                        row_of[t] = row
                        tgt[row] = t
                        row += 1
                    cells[cell] = row_of[t]
                    cell += 1
