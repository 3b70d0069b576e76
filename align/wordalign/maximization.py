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
    """exp(psi(x)) for x > 0, to about 3e-8.

    The recurrence psi(x) = psi(x + 4) - 1 / x - ... - 1 / (x + 3), whose terms need but one division, then
    the series of exp(psi(z + 1/2)) in 1 / z, which needs no logarithm.
    """
    shift = 0.0
    if x < 4.0:
        p = x * (x + 3.0)
        shift = (2.0 * x + 3.0) * (2.0 * p + 2.0) / (p * (p + 2.0))
        x += 4.0
    z = x - 0.5
    r = 1.0 / z
    u = r * r
    series = z + r * (1 / 24 - u * (37 / 5760 - u * (10313 / 2903040 - u * (5509121 / 1393459200))))
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
    totals: tuple[NDArray[np.float64], NDArray[np.float64]],
    *,
    variational: bool,
) -> NDArray[np.float32]:
    """p(t | s) and p(s | t) of every row.

    Parameters
    ----------
    counts : float32 array, shape (n_rows, 1) or (n_rows, 2)
        Expected counts, shared by the directions or one column each.
    prior : float32 array, shape (1, 1) or (n_rows, 2)
        Dirichlet parameter of all rows, or of each row and direction, which the result then overwrites.
    totals : tuple of float64 arrays
        Of :func:`dirichlet_totals`, for these counts and this prior.
    variational : bool
        The mean-field estimate exp(psi(c + a) - psi(sum)), which takes mass away from rare events, instead
        of the plain ratio (c + a) / sum.

    Returns
    -------
    float32 array, shape (n_rows, 2)
        ``prior`` itself where it has this shape.

    Notes
    -----
    Sums run over the rows of a word, that is over the types it occurs with. Linear in the number of rows.
    """
    table = prior if prior.shape == (pairs.n_rows, 2) else np.empty((pairs.n_rows, 2), dtype=np.float32)
    src_scale, tgt_scale = (_scales(sums, variational) for sums in totals)
    # shares of equal work, many enough for any number of threads
    shares = np.searchsorted(pairs.indptr, np.linspace(0, pairs.n_rows, 65))
    shares[0], shares[-1] = 0, len(pairs.indptr) - 1
    _fill_table(pairs.indptr, pairs.tgt, counts, prior, src_scale, tgt_scale, variational, shares, table)
    return table


def dirichlet_totals(
    pairs: PairTable, counts: NDArray[np.float32], prior: NDArray[np.float32], *, n_tgt_types: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum of counts and Dirichlet parameters over the rows of each source and of each target type."""
    totals = np.zeros(len(pairs.indptr) - 1), np.zeros(n_tgt_types)
    _add_totals(pairs.indptr, pairs.tgt, counts, prior, *totals)
    return totals


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
def _add_totals(
    indptr: NDArray[np.int64],
    tgt: NDArray[np.int32],
    counts: NDArray[np.float32],
    prior: NDArray[np.float32],
    src_totals: NDArray[np.float64],
    tgt_totals: NDArray[np.float64],
) -> None:
    last = counts.shape[1] - 1
    flat = len(prior) == 1
    for s in range(len(src_totals)):
        total = 0.0
        for row in range(indptr[s], indptr[s + 1]):
            total += counts[row, 0] + (prior[0, 0] if flat else prior[row, 0])
            tgt_totals[tgt[row]] += counts[row, last] + (prior[0, 0] if flat else prior[row, 1])
        src_totals[s] = total


@nb.njit(cache=True)
def _scales(totals: NDArray[np.float64], variational: bool) -> NDArray[np.float64]:
    scales = np.zeros(len(totals))
    for k in range(len(totals)):
        if totals[k] > 0.0:
            scales[k] = _inverse(totals[k], variational)
    return scales


@nb.njit(parallel=True, cache=True)
def _fill_table(
    indptr: NDArray[np.int64],
    tgt: NDArray[np.int32],
    counts: NDArray[np.float32],
    prior: NDArray[np.float32],
    src_scale: NDArray[np.float64],
    tgt_scale: NDArray[np.float64],
    variational: bool,
    shares: NDArray[np.int64],
    table: NDArray[np.float32],
) -> None:
    for share in nb.prange(len(shares) - 1):
        _fill_rows(
            indptr, tgt, counts, prior, src_scale, tgt_scale, variational, shares[share], shares[share + 1],
            table,
        )  # fmt: skip


@nb.njit(cache=True)
def _fill_rows(
    indptr: NDArray[np.int64],
    tgt: NDArray[np.int32],
    counts: NDArray[np.float32],
    prior: NDArray[np.float32],
    src_scale: NDArray[np.float64],
    tgt_scale: NDArray[np.float64],
    variational: bool,
    start: int,
    stop: int,
    table: NDArray[np.float32],
) -> None:
    last = counts.shape[1] - 1
    flat = len(prior) == 1
    # most rows have next to no count, and the digamma function is what costs
    of_nothing = _weight(prior[0, 0], variational) if flat else 0.0
    for s in range(start, stop):
        for row in range(indptr[s], indptr[s + 1]):
            a, b = counts[row, 0], counts[row, last]
            if flat:
                a += prior[0, 0]
                b += prior[0, 0]
            else:
                a += prior[row, 0]
                b += prior[row, 1]
            weight = of_nothing if flat and counts[row, 0] < _NEGLIGIBLE else _weight(a, variational)
            table[row, 0] = weight * src_scale[s]
            if b != a:
                weight = _weight(b, variational)
            table[row, 1] = weight * tgt_scale[tgt[row]] if src_scale[s] > 0.0 else 0.0
