"""Refinement: the pairs that a map makes each other's best translation fit the next map."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from align.errors import UsageError
from align.mapping.bilingual import BilingualMap
from align.mapping.linear import LinearMap
from align.mapping.procrustes import procrustes
from align.mapping.sweep import Sweep, sweep
from align.mapping.whitened import whitened
from align.normalize import unit

Progress = Callable[[int, float], None]


def csls_sweep(X: NDArray[np.floating], Y: NDArray[np.floating], *, k: int = 10) -> Sweep:
    """Best translations of rows in a common space in both directions, by CSLS (Conneau et al. 2018).

    Parameters
    ----------
    X, Y : ndarray, shape (n_src, dim) and (n_tgt, dim)
        Mapped rows of any length.
    k : int
        Neighbours of the correction; 0 for the cosine alone.

    Notes
    -----
    Two products of the two spaces, one if k is 0.
    """
    X, Y = unit(X), unit(Y)
    if not k:
        return sweep(X, Y, k=1)
    found = sweep(X, Y, k=k)
    return sweep(X, Y, src_penalty=found.src_spread / 2, tgt_penalty=found.tgt_spread / 2, k=k)


def muse_refinement(
    X: NDArray[np.floating],
    Y: NDArray[np.floating],
    pairs: NDArray[np.integer],
    *,
    n_refinement: int = 5,
    max_rank: int = 10_000,
    k: int = 10,
    progress: Progress | None = None,
) -> BilingualMap:
    """Procrustes, then again on the mutual CSLS neighbours among frequent words, some times over.

    Conneau, Lample, Ranzato, Denoyer and Jégou (2018), "Word translation without parallel data", ICLR,
    sections 2.2 and 2.3. The first pairs are not kept.

    Parameters
    ----------
    X : ndarray, shape (n_src, src_dim)
    Y : ndarray, shape (n_tgt, tgt_dim)
        Most frequent words first. MUSE does not normalise them.
    pairs : ndarray of int, shape (n, 2)
        Row of X, row of Y.
    n_refinement : int
    max_rank : int
        Pairs of words beyond this row are not used, though such words do count as competitors.
    k : int
        Neighbours of CSLS.
    progress : callable, optional
        Called with the number of the refinement, from 1, and the mean cosine of its pairs.

    Returns
    -------
    BilingualMap
        ``history`` is the mean cosine of the mutual pairs of every refinement: MUSE's criterion of a map.
        After a KeyboardInterrupt the last map, with ``converged`` False.

    Raises
    ------
    InputError
        For pairs that do not fit the spaces, NaN or infinity.

    Notes
    -----
    Two float32 products of the whole spaces a refinement, without ever holding one.
    """
    fitted = procrustes(X, Y, pairs=pairs)
    history: list[float] = []
    interrupted = False
    try:
        for _ in range(n_refinement):
            M = fitted(X)
            found = csls_sweep(M, Y, k=k).mutual
            found = found[(found < max_rank).all(axis=1)]
            if len(found) == 0:
                break
            history.append(_mean_cosine(M, Y, found))
            fitted = procrustes(X, Y, pairs=found)
            if progress is not None:
                progress(len(history), history[-1])
    except KeyboardInterrupt:
        interrupted = True
    options = {"n_refinement": n_refinement, "max_rank": max_rank, "k": k}
    return _result(fitted, "muse", history, not interrupted and len(history) == n_refinement, options)


def bootstrapped_procrustes(
    X: NDArray[np.floating],
    Y: NDArray[np.floating],
    pairs: NDArray[np.integer],
    *,
    growth: float = 1.5,
    max_pairs: int = 10_000,
    min_growth: float = 0.01,
    progress: Progress | None = None,
) -> BilingualMap:
    """PROC-B: Procrustes on a dictionary that grows by its frequent mutual nearest neighbours.

    Glavaš, Litschko, Ruder and Vulić (2019), "How to (properly) evaluate cross-lingual word embeddings", ACL,
    section 2.1, as their program does it: the mutual nearest neighbours by cosine, most frequent first (by
    the sum of the two ranks), replace the dictionary, up to `growth` times its size, until it grows by less
    than `min_growth` or has `max_pairs`. The first pairs are not kept, so it may also shrink, once.

    Parameters
    ----------
    X : ndarray, shape (n_src, src_dim)
    Y : ndarray, shape (n_tgt, tgt_dim)
        Most frequent words first, not normalised by that program.
    pairs : ndarray of int, shape (n, 2)
        Row of X, row of Y.
    growth, max_pairs, min_growth
    progress : callable, optional
        Called with the number of the round, from 1, and the mean cosine of its pairs.

    Returns
    -------
    BilingualMap
        After a KeyboardInterrupt the last map, with ``converged`` False.

    Raises
    ------
    InputError
        For pairs that do not fit the spaces, NaN or infinity.

    Notes
    -----
    One float32 product of the whole spaces a round.
    """
    if growth <= 0 or max_pairs < 1 or min_growth <= 0:
        raise UsageError(
            "settings out of range", got=f"growth {growth}, max_pairs {max_pairs}, min_growth {min_growth}"
        )
    fitted, size = procrustes(X, Y, pairs=pairs), len(pairs)
    history: list[float] = []
    converged = False
    try:
        while not converged:
            M = fitted(X)
            found = csls_sweep(M, Y, k=0).mutual
            order = np.argsort(found.sum(axis=1), kind="stable")
            found = found[order[: min(int(growth * size), max_pairs)]]
            if len(found) == 0:
                break
            history.append(_mean_cosine(M, Y, found))
            fitted = procrustes(X, Y, pairs=found)
            if progress is not None:
                progress(len(history), history[-1])
            converged = len(found) < (1 + min_growth) * size or len(found) >= max_pairs
            size = len(found)
    except KeyboardInterrupt:
        converged = False
    options = {"growth": growth, "max_pairs": max_pairs, "min_growth": min_growth}
    return _result(fitted, "proc-b", history, converged, options)


def mutual_refinement(
    X: NDArray[np.floating],
    Y: NDArray[np.floating],
    pairs: NDArray[np.integer],
    *,
    rounds: int = 2,
    cutoff: int = 12_000,
    exponent: float = 0.25,
    k: int = 10,
    progress: Progress | None = None,
) -> BilingualMap:
    """Re-weighted map of a dictionary to which the mutual CSLS neighbours of frequent words are added.

    Unlike :func:`muse_refinement` the given pairs stay; the map is :func:`align.mapping.whitened.whitened`.

    Parameters
    ----------
    X : ndarray, shape (n_src, src_dim)
    Y : ndarray, shape (n_tgt, tgt_dim)
        Normalised rows, most frequent words first.
    pairs : ndarray of int, shape (n, 2)
        Row of X, row of Y.
    rounds : int
    cutoff : int
        Words of each side among which mutual neighbours are looked for.
    exponent : float
        Re-weighting of both sides.
    k : int
        Neighbours of CSLS.
    progress : callable, optional
        Called with the number of the round, from 1, and the mean cosine of the pairs added.

    Returns
    -------
    BilingualMap
        After a KeyboardInterrupt the last map, with ``converged`` False.

    Raises
    ------
    InputError
        For pairs that do not fit the spaces, NaN or infinity.

    Notes
    -----
    Two float32 products of (cutoff, dim, cutoff) a round.
    """

    def fit(chosen: NDArray[np.integer]) -> BilingualMap:
        return whitened(X, Y, chosen, src_exponent=exponent, tgt_exponent=exponent)

    fitted, n_pairs = fit(pairs), len(pairs)
    history: list[float] = []
    converged = True
    try:
        for _ in range(rounds):
            M, N = fitted.map_src(X[:cutoff]), fitted.map_tgt(Y[:cutoff])
            found = csls_sweep(M, N, k=k).mutual
            history.append(_mean_cosine(M, N, found))
            fitted, n_pairs = fit(np.concatenate((pairs, found))), len(pairs) + len(found)
            if progress is not None:
                progress(len(history), history[-1])
    except KeyboardInterrupt:
        converged = False
    return BilingualMap(
        fitted.src_matrix,
        fitted.tgt_matrix,
        "mutual-refinement",
        n_pairs,
        converged=converged,
        n_iter=len(history),
        history=tuple(history),
        options={"rounds": rounds, "cutoff": cutoff, "exponent": exponent, "k": k},
    )


def _mean_cosine(M: NDArray[np.floating], N: NDArray[np.floating], pairs: NDArray[np.int64]) -> float:
    if len(pairs) == 0:
        return 0.0
    return float(np.einsum("ij,ij->i", unit(M[pairs[:, 0]]), unit(N[pairs[:, 1]]), dtype=np.float64).mean())


def _result(
    fitted: LinearMap, method: str, history: list[float], converged: bool, options: Mapping[str, object]
) -> BilingualMap:
    return BilingualMap(
        fitted.matrix,
        None,
        method,
        fitted.n_pairs,
        converged=converged,
        n_iter=len(history),
        history=tuple(history),
        options=options,
    )
