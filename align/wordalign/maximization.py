"""The M-step: probability tables from expected counts under a Dirichlet prior."""

from __future__ import annotations

import math

import numba as nb
import numpy as np
from numpy.typing import NDArray

from align.wordalign.pairs import PairTable

# exp(psi(x)) of a small prior is below what float32 holds; products of such values must stay above zero
_FLOOR = 1e-20
_NEGLIGIBLE = 1e-6


@nb.njit(cache=True)
def exp_digamma(x: float) -> float:
    """exp(psi(x)) for x > 0, to about 1e-9.

    The recurrence psi(x) = psi(x + 1) - 1 / x up to 6, then the series of exp(psi(z + 1/2)) in 1 / z, which
    needs no logarithm.
    """
    shift = 0.0
    while x < 6.0:
        shift += 1.0 / x
        x += 1.0
    z = x - 0.5
    u = 1.0 / (z * z)
    series = z + (1 / 24 - u * (37 / 5760 - u * (10313 / 2903040 - u * (5509121 / 1393459200)))) / z
    return series * math.exp(-shift) if shift > 0.0 else series


@nb.njit(cache=True)
def _weight(count: float, variational: bool) -> float:
    if not variational:
        return count
    return max(exp_digamma(count), _FLOOR)


def maximize(
    pairs: PairTable,
    counts: NDArray[np.float32],
    prior: NDArray[np.float32],
    *,
    n_tgt_types: int,
    variational: bool,
) -> NDArray[np.float32]:
    """p(t | s) and p(s | t) of every row.

    Parameters
    ----------
    counts : float32 array, shape (n_rows, 1) or (n_rows, 2)
        Expected counts, shared by the directions or one column each.
    prior : float32 array, shape (1, 1) or (n_rows, 2)
        Dirichlet parameter of all rows, or of each row and direction.
    variational : bool
        The mean-field estimate exp(psi(c + a) - psi(sum)), which takes mass away from rare events, instead
        of the plain ratio (c + a) / sum.

    Returns
    -------
    float32 array, shape (n_rows, 2)

    Notes
    -----
    Sums run over the rows of a word, that is over the types it occurs with. Linear in the number of rows.
    """
    table = np.empty((pairs.n_rows, 2), dtype=np.float32)
    tgt_scale = _tgt_scale(pairs.tgt, counts, prior, n_tgt_types, variational)
    # shares of equal work, many enough for any number of threads
    shares = np.searchsorted(pairs.indptr, np.linspace(0, pairs.n_rows, 65))
    shares[0], shares[-1] = 0, len(pairs.indptr) - 1
    _fill_table(pairs.indptr, pairs.tgt, counts, prior, tgt_scale, variational, shares, table)
    return table


def dirichlet_totals(
    pairs: PairTable, counts: NDArray[np.float32], prior: NDArray[np.float32], *, n_tgt_types: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum of counts and Dirichlet parameters over the rows of each source and of each target type."""
    tgt_totals = np.zeros(n_tgt_types)
    return _src_totals(pairs.indptr, counts, prior), _add_tgt_totals(pairs.tgt, counts, prior, tgt_totals)


def maximize_null(
    counts: NDArray[np.float64], occurs: NDArray[np.bool_], alpha: float, *, variational: bool
) -> NDArray[np.float32]:
    """p(type | NULL) from the expected counts of NULL, float32, shape of ``counts``.

    ``occurs`` says which types are in the text: only those share the mass.
    """
    parameters = counts[occurs] + alpha
    scale = _inverse(float(parameters.sum()), variational)
    out = np.zeros(len(counts), dtype=np.float32)
    out[occurs] = _weights(parameters, variational) * scale
    return out


@nb.njit(cache=True)
def _weights(counts: NDArray[np.float64], variational: bool) -> NDArray[np.float64]:
    out = np.empty(len(counts))
    for k in range(len(counts)):
        out[k] = _weight(counts[k], variational)
    return out


@nb.njit(cache=True)
def _inverse(total: float, variational: bool) -> float:
    return 1.0 / (exp_digamma(total) if variational else total)


@nb.njit(cache=True)
def _src_totals(
    indptr: NDArray[np.int64], counts: NDArray[np.float32], prior: NDArray[np.float32]
) -> NDArray[np.float64]:
    totals = np.zeros(len(indptr) - 1)
    flat = len(prior) == 1
    for s in range(len(totals)):
        for row in range(indptr[s], indptr[s + 1]):
            totals[s] += counts[row, 0] + (prior[0, 0] if flat else prior[row, 0])
    return totals


@nb.njit(cache=True)
def _add_tgt_totals(
    tgt: NDArray[np.int32],
    counts: NDArray[np.float32],
    prior: NDArray[np.float32],
    totals: NDArray[np.float64],
) -> NDArray[np.float64]:
    last = counts.shape[1] - 1
    flat = len(prior) == 1
    for row in range(len(tgt)):
        totals[tgt[row]] += counts[row, last] + (prior[0, 0] if flat else prior[row, 1])
    return totals


@nb.njit(cache=True)
def _tgt_scale(
    tgt: NDArray[np.int32],
    counts: NDArray[np.float32],
    prior: NDArray[np.float32],
    n_tgt_types: int,
    variational: bool,
) -> NDArray[np.float64]:
    totals = _add_tgt_totals(tgt, counts, prior, np.zeros(n_tgt_types))
    for t in range(n_tgt_types):
        if totals[t] > 0.0:
            totals[t] = _inverse(totals[t], variational)
    return totals


@nb.njit(parallel=True, cache=True)
def _fill_table(
    indptr: NDArray[np.int64],
    tgt: NDArray[np.int32],
    counts: NDArray[np.float32],
    prior: NDArray[np.float32],
    tgt_scale: NDArray[np.float64],
    variational: bool,
    shares: NDArray[np.int64],
    table: NDArray[np.float32],
) -> None:
    for share in nb.prange(len(shares) - 1):
        _fill_rows(
            indptr, tgt, counts, prior, tgt_scale, variational, shares[share], shares[share + 1], table
        )


@nb.njit(cache=True)
def _fill_rows(
    indptr: NDArray[np.int64],
    tgt: NDArray[np.int32],
    counts: NDArray[np.float32],
    prior: NDArray[np.float32],
    tgt_scale: NDArray[np.float64],
    variational: bool,
    start: int,
    stop: int,
    table: NDArray[np.float32],
) -> None:
    last = counts.shape[1] - 1
    flat = len(prior) == 1
    # most rows have next to no count, and the digamma function is what costs
    of_nothing = _weight(prior[0, 0], variational)
    for s in range(start, stop):
        total = 0.0
        for row in range(indptr[s], indptr[s + 1]):
            total += counts[row, 0] + (prior[0, 0] if flat else prior[row, 0])
        scale = _inverse(total, variational) if total > 0.0 else 0.0
        for row in range(indptr[s], indptr[s + 1]):
            a, b = counts[row, 0], counts[row, last]
            if flat:
                a += prior[0, 0]
                b += prior[0, 0]
            else:
                a += prior[row, 0]
                b += prior[row, 1]
            weight = of_nothing if flat and counts[row, 0] < _NEGLIGIBLE else _weight(a, variational)
            table[row, 0] = weight * scale
            if b != a:
                weight = _weight(b, variational)
            table[row, 1] = weight * tgt_scale[tgt[row]] if total > 0.0 else 0.0
