"""How often types stand near each other: the counts that GloVe and PPMI are made of."""

from __future__ import annotations

from collections.abc import Sequence

import numba as nb
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from align.errors import UsageError

_PARTS = 64


def cooccurrence(
    ids: NDArray[np.integer],
    offsets: NDArray[np.integer],
    n_types: int,
    *,
    window: int = 15,
    decay: bool = True,
) -> sp.csr_array:
    """Counts of pairs within a window, two places of a line that are d apart as 1/d.

    Parameters
    ----------
    ids : ndarray of int, shape (n_tokens,)
        Types from 0 to ``n_types - 1``; line ``n`` is ``ids[offsets[n] : offsets[n + 1]]``.
    offsets : ndarray of int, shape (n_lines + 1,)
    window : int
        Largest distance, on both sides.
    decay : bool
        If false, all pairs count 1.

    Returns
    -------
    csr_array of float32, shape (n_types, n_types)
        Symmetric up to rounding; the same bits for any number of threads.

    Raises
    ------
    UsageError
        For a window below 1.

    Notes
    -----
    Time ``4 window n_tokens`` additions, twice; memory 28 bytes a token, 8 an entry of the result, and
    ``16 n_types`` a thread.
    """
    if window < 1:
        raise UsageError("the window must hold a neighbour", got=window, wanted="1 or more")
    types: NDArray[np.intp] = np.ascontiguousarray(ids, np.intp)
    lengths = np.diff(offsets)
    begin, end = (np.repeat(edge, lengths).astype(np.intp) for edge in (offsets[:-1], offsets[1:]))
    places = np.argsort(types, kind="stable")
    heads = np.concatenate(([0], np.cumsum(np.bincount(types, minlength=n_types)))).astype(np.intp)
    # parts of about equal work: a frequent type has as many places as thousands of rare ones
    edges = np.searchsorted(heads, np.linspace(0, len(types), _PARTS + 1)).astype(np.intp)
    edges[0], edges[-1] = 0, n_types
    sizes = np.zeros(n_types, np.intp)
    none, no_values = np.zeros(0, np.int32), np.zeros(0, np.float32)
    _parts(types, begin, end, places, heads, edges, window, decay, sizes, sizes[:0], none, no_values)
    indptr = np.concatenate(([0], np.cumsum(sizes))).astype(np.intp)
    cols, values = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.float32)
    _parts(types, begin, end, places, heads, edges, window, decay, sizes, indptr, cols, values)
    return sp.csr_array((values, cols, indptr), shape=(n_types, n_types))


def flat_lines(lines: Sequence[Sequence[int]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Lines of ids as one array and the places where each begins, as :func:`cooccurrence` takes them."""
    lengths = np.fromiter((len(line) for line in lines), np.int64, len(lines))
    ids = np.fromiter((i for line in lines for i in line), np.int64, int(lengths.sum()))
    return ids, np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)


@nb.njit(cache=True, parallel=True)
def _parts(
    ids: NDArray[np.intp],
    begin: NDArray[np.intp],
    end: NDArray[np.intp],
    places: NDArray[np.intp],
    heads: NDArray[np.intp],
    edges: NDArray[np.intp],
    window: int,
    decay: bool,
    sizes: NDArray[np.intp],
    indptr: NDArray[np.intp],
    cols: NDArray[np.int32],
    values: NDArray[np.float32],
) -> None:
    for part in nb.prange(edges.size - 1):
        _rows(
            ids,
            begin,
            end,
            places,
            heads,
            edges[part],
            edges[part + 1],
            window,
            decay,
            sizes,
            indptr,
            cols,
            values,
        )


@nb.njit(cache=True, nogil=True)
def _rows(
    ids: NDArray[np.intp],
    begin: NDArray[np.intp],
    end: NDArray[np.intp],
    places: NDArray[np.intp],
    heads: NDArray[np.intp],
    first: int,
    stop: int,
    window: int,
    decay: bool,
    sizes: NDArray[np.intp],
    indptr: NDArray[np.intp],
    cols: NDArray[np.int32],
    values: NDArray[np.float32],
) -> None:
    """Rows `first` to `stop` - 1: their sizes where `indptr` is empty, else their entries."""
    sums = np.zeros(heads.size - 1, np.float64)
    met = np.empty(heads.size - 1, np.int32)
    for row in range(first, stop):
        n_met = 0
        for n in range(heads[row], heads[row + 1]):
            at = places[n]
            for near in range(max(begin[at], at - window), min(end[at], at + window + 1)):
                if near == at:
                    continue
                other = ids[near]
                if sums[other] == 0:
                    met[n_met] = other
                    n_met += 1
                sums[other] += 1 / abs(near - at) if decay else 1.0
        sizes[row] = n_met
        if indptr.size:
            into = cols[indptr[row] : indptr[row + 1]]
            into[:] = np.sort(met[:n_met])
            for n in range(n_met):
                values[indptr[row] + n] = sums[into[n]]
        for n in range(n_met):
            sums[met[n]] = 0
