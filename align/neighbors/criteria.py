"""Retrieval criteria that correct for hubs: CSLS, the inverted softmax, mutual pairs.

CSLS and the inverted softmax order the candidates y of a query x by ``cos(x, y) + b(y)``, with a number b for
every candidate. So each is one exact :func:`~align.neighbors.exact.top_k` with a bias, and what remains is
to find b from all of the source space.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from align.errors import InputError, UsageError
from align.neighbors.exact import Backend, Neighbors, top_k
from align.neighbors.inverted import inverted_nearest
from align.neighbors.two_way import top_k_both
from align.normalize import unit

_BLOCK_ROWS, _BLOCK_COLUMNS = 1024, 4096

Method = Literal["nn", "csls", "isf", "invnn"]


def mean_top_k(
    queries: NDArray[np.floating],
    candidates: NDArray[np.floating],
    k: int = 10,
    *,
    backend: Backend = "auto",
    device: str | None = None,
) -> NDArray[np.float32]:
    """Mean cosine of every query with its k nearest candidates: the neighbourhood term r of CSLS.

    Parameters
    ----------
    queries : ndarray, shape (n_queries, dim)
    candidates : ndarray, shape (n_candidates, dim)
    k : int
        With fewer candidates than k, the mean is over all of them.
    backend, device
        As :func:`~align.neighbors.exact.top_k`.

    Returns
    -------
    ndarray of float32, shape (n_queries,)

    Notes
    -----
    Cost and errors are those of :func:`~align.neighbors.exact.top_k`.
    """
    return _means(top_k(queries, candidates, k, backend=backend, device=device))


def mean_top_k_both(
    src: NDArray[np.floating],
    tgt: NDArray[np.floating],
    k: int = 10,
    *,
    backend: Backend = "auto",
    device: str | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """``mean_top_k(src, tgt, k)`` and ``mean_top_k(tgt, src, k)`` in one pass where that is the faster way.

    Arguments, cost and errors are those of :func:`~align.neighbors.two_way.top_k_both`.
    """
    forward, backward = top_k_both(src, tgt, k, backend=backend, device=device)
    return _means(forward), _means(backward)


def _means(near: Neighbors) -> NDArray[np.float32]:
    return near.scores.mean(axis=1, dtype=np.float64).astype(np.float32)


def csls(
    queries: NDArray[np.floating],
    candidates: NDArray[np.floating],
    k: int = 1,
    *,
    neighborhood: int = 10,
    src_space: NDArray[np.floating] | None = None,
    src_density: NDArray[np.floating] | None = None,
    tgt_density: NDArray[np.floating] | None = None,
    backend: Backend = "auto",
    device: str | None = None,
) -> Neighbors:
    """The k candidates with the best cross-domain similarity local scaling for every query.

    ``2 cos(x, y) - r_T(x) - r_S(y)``: r_T(x) is the mean cosine of x with its `neighborhood` nearest
    candidates, r_S(y) that of y with its nearest rows of the source space.

    Parameters
    ----------
    queries : ndarray, shape (n_queries, dim)
        Mapped source vectors.
    candidates : ndarray, shape (n_candidates, dim)
    k : int
    neighborhood : int
        Neighbours in a mean. Unused where both densities are given.
    src_space : ndarray, shape (n_src, dim), optional
        The whole mapped source space, where `queries` are some of its rows; `queries` itself by default.
    src_density : ndarray, shape (n_queries,), optional
        r_T of the queries, ``mean_top_k(queries, candidates)`` by default.
    tgt_density : ndarray, shape (n_candidates,), optional
        r_S of the candidates, ``mean_top_k(candidates, src_space)`` by default.
    backend, device
        As :func:`~align.neighbors.exact.top_k`.

    Returns
    -------
    Neighbors
        Ordered exactly by ``cos(x, y) - r_S(y) / 2``, equal ones by the lower index.

    Raises
    ------
    InputError, UsageError
        As :func:`~align.neighbors.exact.top_k`, and for densities of another length.

    Notes
    -----
    Time is that of three products ``n_queries x n_candidates x dim``, one of them with all of the source
    space, or two where one pass finds both densities (:func:`mean_top_k_both`), and of one where they are
    given. Memory as for ``top_k`` and ``top_k_both``.

    References
    ----------
    Conneau et al. (2018), "Word translation without parallel data", arXiv:1710.04087, equation 7.
    """
    if src_density is None and tgt_density is None and src_space is None:
        src_density, tgt_density = mean_top_k_both(
            queries, candidates, neighborhood, backend=backend, device=device
        )
    if src_density is None:
        src_density = mean_top_k(queries, candidates, neighborhood, backend=backend, device=device)
    if tgt_density is None:
        sources = queries if src_space is None else src_space
        tgt_density = mean_top_k(candidates, sources, neighborhood, backend=backend, device=device)
    if src_density.shape != (len(queries),) or tgt_density.shape != (len(candidates),):
        raise InputError(
            "densities do not fit",
            got=f"{src_density.shape}, {tgt_density.shape}",
            wanted=f"{(len(queries),)}, {(len(candidates),)}",
        )
    bias = -tgt_density.astype(np.float32) / 2
    half = top_k(queries, candidates, k, bias=bias, backend=backend, device=device)
    scores = 2 * half.scores - src_density.astype(np.float32)[:, None]
    return Neighbors(half.indices, scores)


def csls_both(
    src: NDArray[np.floating],
    tgt: NDArray[np.floating],
    k: int = 1,
    *,
    neighborhood: int = 10,
    backend: Backend = "auto",
    device: str | None = None,
) -> tuple[Neighbors, Neighbors]:
    """``csls(src, tgt, k)`` and ``csls(tgt, src, k)``, in two passes over the products.

    Arguments and errors are those of :func:`csls`, cost that of two
    :func:`~align.neighbors.two_way.top_k_both`. :func:`mutual` of the two is the mutual dictionary.
    """
    src_density, tgt_density = mean_top_k_both(src, tgt, neighborhood, backend=backend, device=device)
    forward, backward = top_k_both(
        src, tgt, k, src_bias=-src_density / 2, tgt_bias=-tgt_density / 2, backend=backend, device=device
    )
    return (
        Neighbors(forward.indices, 2 * forward.scores - src_density[:, None]),
        Neighbors(backward.indices, 2 * backward.scores - tgt_density[:, None]),
    )


def inverted_softmax(
    queries: NDArray[np.floating],
    candidates: NDArray[np.floating],
    k: int = 1,
    *,
    beta: float = 10.0,
    src_space: NDArray[np.floating] | None = None,
    sample: int | None = None,
    seed: int = 0,
    backend: Backend = "auto",
    device: str | None = None,
) -> Neighbors:
    """The k candidates that are most probably translated back to the query.

    ``log P(x | y) = beta cos(x, y) - log sum_x' exp(beta cos(x', y))`` with the sum over the source space.

    Parameters
    ----------
    queries : ndarray, shape (n_queries, dim)
    candidates : ndarray, shape (n_candidates, dim)
    k : int
    beta : float
        Inverse temperature.
    src_space : ndarray, shape (n_src, dim), optional
        The whole mapped source space; `queries` by default.
    sample : int, optional
        Sum over that many source rows, drawn without replacement by `seed`, instead of all.
    seed : int
    backend, device
        The sums are the processor's; the rest as :func:`~align.neighbors.exact.top_k`.

    Returns
    -------
    Neighbors
        Scores are ``log P(x | y)``.

    Raises
    ------
    InputError, UsageError
        As :func:`~align.neighbors.exact.top_k`; for a beta or a sample that is not positive.

    Notes
    -----
    Time is that of two float32 matrix products and of ``n_src n_candidates`` exponentials, sums in float64 in
    fixed blocks on one BLAS thread. Memory beyond the inputs: 48 MiB.

    References
    ----------
    Smith et al. (2017), "Offline bilingual word vectors, orthogonal transformations and the inverted
    softmax", arXiv:1702.03859, equation 10.
    """
    if not beta > 0 or not np.isfinite(beta):
        raise UsageError("beta is not positive", got=beta, wanted="beta > 0")
    sources = queries if src_space is None else src_space
    if sample is not None:
        if sample < 1:
            raise UsageError("the sample is not positive", got=sample, wanted="sample >= 1")
        chosen = np.random.default_rng(seed).permutation(len(sources))[:sample]
        sources = sources[np.sort(chosen)]
    if sources.ndim != 2 or candidates.ndim != 2 or sources.shape[1] != candidates.shape[1]:
        raise InputError("spaces differ in width", got=f"{sources.shape}, {candidates.shape}")
    logs = _log_sums(unit(np.asarray(candidates, np.float32)), unit(np.asarray(sources, np.float32)), beta)
    bias = (-logs / beta).astype(np.float32)
    found = top_k(queries, candidates, k, bias=bias, backend=backend, device=device)
    return Neighbors(found.indices, (beta * found.scores).astype(np.float32))


def _log_sums(Y: NDArray[np.float32], X: NDArray[np.float32], beta: float) -> NDArray[np.float64]:
    """``log sum_x exp(beta x.y)`` for every row y; exponents are of cosines, so beta itself bounds them."""
    logs = np.empty(len(Y), np.float64)
    with threadpool_limits(1, user_api="blas"):  # the same bits for any number of threads
        for start in range(0, len(Y), _BLOCK_ROWS):
            block = Y[start : start + _BLOCK_ROWS]
            sums = np.zeros(len(block), np.float64)
            for first in range(0, len(X), _BLOCK_COLUMNS):
                P = block @ X[first : first + _BLOCK_COLUMNS].T
                P -= 1
                P *= np.float32(beta)
                np.exp(P, out=P)
                sums += P.sum(axis=1, dtype=np.float64)
            # far from all sources at a large beta, the sum underflows to what float64 can hold
            logs[start : start + _BLOCK_ROWS] = np.log(np.maximum(sums, 1e-300)) + beta
    return logs


def mutual(forward: Neighbors, backward: Neighbors) -> NDArray[np.int64]:
    """Pairs that are each other's best neighbour.

    Parameters
    ----------
    forward : Neighbors
        Of the source rows among the targets.
    backward : Neighbors
        Of the target rows among the sources.

    Returns
    -------
    ndarray of int64, shape (n_pairs, 2)
        Source and target row, by rising source row.
    """
    best = forward.indices[:, 0]
    if len(best) and (best.max() >= len(backward.indices)):
        raise InputError("the two directions do not fit", got=len(backward.indices), wanted="all targets")
    src = np.arange(len(best))
    kept = backward.indices[best, 0] == src
    return np.stack([src[kept], best[kept]], axis=1)


def retrieve(
    queries: NDArray[np.floating],
    candidates: NDArray[np.floating],
    k: int = 10,
    *,
    method: Method = "csls",
    src_space: NDArray[np.floating] | None = None,
    src_rows: NDArray[np.integer] | None = None,
    neighborhood: int = 10,
    beta: float = 10.0,
    backend: Backend = "auto",
    device: str | None = None,
) -> Neighbors:
    """The k best candidates for every query by the criterion named.

    Parameters
    ----------
    queries : ndarray, shape (n_queries, dim)
    candidates : ndarray, shape (n_candidates, dim)
    k : int
    method : {"nn", "csls", "isf", "invnn"}
        :func:`~align.neighbors.exact.top_k` by cosine, :func:`csls`, :func:`inverted_softmax` or
        :func:`inverted_nearest`.
    src_space : ndarray, shape (n_src, dim), optional
        The whole mapped source space, for all but ``"nn"``; `queries` by default.
    src_rows : ndarray of int, shape (n_queries,), optional
        Where in it each query stands, for ``"invnn"``.
    neighborhood : int
        For ``"csls"``.
    beta : float
        For ``"isf"``.
    backend, device
        As :func:`~align.neighbors.exact.top_k`.

    Returns
    -------
    Neighbors
        Scores are those of the criterion.

    Raises
    ------
    InputError, UsageError
        As the criteria; for an unknown one.
    """
    if method == "nn":
        return top_k(queries, candidates, k, backend=backend, device=device)
    if method == "csls":
        return csls(
            queries,
            candidates,
            k,
            neighborhood=neighborhood,
            src_space=src_space,
            backend=backend,
            device=device,
        )
    if method == "isf":
        return inverted_softmax(
            queries, candidates, k, beta=beta, src_space=src_space, backend=backend, device=device
        )
    if method == "invnn":
        return inverted_nearest(
            queries, candidates, k, src_space=src_space, src_rows=src_rows, backend=backend, device=device
        )
    raise UsageError("unknown retrieval", got=method, wanted="nn, csls, isf or invnn")
