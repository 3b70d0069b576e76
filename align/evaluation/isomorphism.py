"""How alike two spaces are, and how hubs distort retrieval in them: what predicts whether a map can work."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from threadpoolctl import threadpool_limits

from align.errors import InputError, UsageError
from align.neighbors import top_k
from align.normalize import unit


def relational_similarity(X: NDArray[np.floating], Y: NDArray[np.floating]) -> float:
    """Correlation of the distances within one space with those within the other (RSIM); 1 if isomorphic.

    Pearson correlation of ``cos(x_i, x_j)`` with ``cos(y_i, y_j)`` over all i < j, for translations x_i and
    y_i. Usual are 1,000 pairs of frequent words of spaces normalised by unit, centre, unit.

    Parameters
    ----------
    X : ndarray, shape (n, src_dim)
    Y : ndarray, shape (n, tgt_dim)
        Row i is the translation of row i of X.

    Raises
    ------
    InputError
        For numbers of rows that differ, fewer than three, or all cosines of a space equal.

    Notes
    -----
    Time ``n**2 (src_dim + tgt_dim)``, memory ``32 n**2`` bytes.

    References
    ----------
    Vulić et al. (2020), "Are all good word vector spaces isomorphic?", section 3.
    """
    if X.ndim != 2 or Y.ndim != 2 or len(X) != len(Y) or len(X) < 3:
        raise InputError(
            "rows do not pair up", got=f"{X.shape} and {Y.shape}", wanted="(n, dim) twice, n > 2"
        )
    upper = np.triu_indices(len(X), 1)
    with threadpool_limits(1, user_api="blas"):  # the same bits for any number of threads
        a, b = (((u := unit(np.asarray(Z, np.float64))) @ u.T)[upper] for Z in (X, Y))
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        raise InputError("all cosines within a space are equal", got=f"{len(X)} rows")
    return float(np.corrcoef(a, b)[0, 1])


@dataclass(frozen=True, eq=False)
class SpectralDistance:
    """How far the spectra of two neighbour graphs are apart.

    Attributes
    ----------
    distance : float
        Sum of the squared differences of the largest eigenvalues; 0 for isomorphic graphs.
    n_eigenvalues : int
        How many were compared.
    src_eigenvalues, tgt_eigenvalues : ndarray of float64, shape (n,)
        Of the Laplacians, falling.
    """

    distance: float
    n_eigenvalues: int
    src_eigenvalues: NDArray[np.float64]
    tgt_eigenvalues: NDArray[np.float64]


def eigenvector_similarity(
    X: NDArray[np.floating], Y: NDArray[np.floating], *, n_neighbors: int = 1, energy: float = 0.9
) -> SpectralDistance:
    """Compare the Laplacian spectra of the nearest-neighbour graphs of two spaces.

    Words are joined if one is among the `n_neighbors` nearest of the other by cosine. Compared are the k
    largest eigenvalues, where k is the smaller of the two numbers that make up a share `energy` of the sum.

    Parameters
    ----------
    X : ndarray, shape (n_src, src_dim)
    Y : ndarray, shape (n_tgt, tgt_dim)
        Usually the 10,000 most frequent words of each language, no dictionary needed.
    n_neighbors : int
    energy : float
        Over 0, up to 1.

    Raises
    ------
    UsageError
        For a number of neighbours or an energy out of range.
    InputError
        As :func:`align.neighbors.top_k`, and for fewer than two rows.

    Notes
    -----
    The spectrum of a graph is that of its components together. With one neighbour these are small, and the
    cost is that of the neighbours; with several nearly all words are one component, whose eigenvalues take
    time cubic and ``8 n**2`` bytes of memory.

    References
    ----------
    Søgaard et al. (2018), "On the limitations of unsupervised bilingual dictionary induction", section 4.
    """
    if n_neighbors < 1 or not 0 < energy <= 1:
        raise UsageError("out of range", got=f"n_neighbors {n_neighbors}, energy {energy}")
    src, tgt = (_laplacian_eigenvalues(neighbor_graph(Z, n_neighbors)) for Z in (X, Y))
    k = min(_needed(src, energy), _needed(tgt, energy))
    return SpectralDistance(float(np.square(src[:k] - tgt[:k]).sum()), k, src, tgt)


def neighbor_graph(rows: NDArray[np.floating], n_neighbors: int) -> sp.csr_array:
    """Adjacency of shape (n, n): 1 where one row is among the `n_neighbors` nearest others of the other."""
    if rows.ndim != 2 or len(rows) < 2:
        raise InputError("a graph needs two rows", got=rows.shape)
    n = len(rows)
    near = top_k(rows, rows, n_neighbors + 1).indices
    # a row comes first of its own neighbours, or after copies of itself
    own = near == np.arange(n)[:, None]
    own[~own.any(axis=1), -1] = True
    others = near[~own].reshape(n, -1)
    heads = np.repeat(np.arange(n), others.shape[1])
    directed = sp.csr_array((np.ones(others.size), (heads, others.ravel())), shape=(n, n))
    return directed.maximum(directed.T).tocsr()


def _laplacian_eigenvalues(adjacency: sp.csr_array) -> NDArray[np.float64]:
    """All eigenvalues of D - A, falling, component by component."""
    n_components, labels = connected_components(adjacency, directed=False)
    order = np.argsort(labels, kind="stable")
    bounds = np.searchsorted(labels[order], np.arange(n_components + 1))
    degrees = np.asarray(adjacency.sum(axis=1)).ravel()
    found = []
    with threadpool_limits(1, user_api="blas"):
        for start, stop in pairwise(bounds):
            members = order[start:stop]
            block = np.diag(degrees[members]) - adjacency[members][:, members].toarray()
            found.append(np.linalg.eigvalsh(block))
    return np.sort(np.concatenate(found))[::-1]


def _needed(eigenvalues: NDArray[np.float64], energy: float) -> int:
    share = np.cumsum(eigenvalues)
    return int(np.searchsorted(share, energy * share[-1] * (1 - 1e-12))) + 1


@dataclass(frozen=True, eq=False)
class Hubness:
    """How unevenly candidates come up as neighbours.

    Attributes
    ----------
    skewness : float
        Third standardised moment of the k-occurrences; 0 if all candidates come up equally often.
    anti_hubs : float
        Share of the candidates that are no query's neighbour.
    top_hub : int
        The candidate that comes up most often, the first of equal ones.
    top_count : int
        For how many queries it does.
    counts : ndarray of int64, shape (n_candidates,)
        k-occurrences N_k.
    """

    skewness: float
    anti_hubs: float
    top_hub: int
    top_count: int
    counts: NDArray[np.int64]


def hubness(indices: NDArray[np.integer], n_candidates: int) -> Hubness:
    """Distribution of the k-occurrences of candidates (Radovanović et al. 2010, "Hubs in space").

    Parameters
    ----------
    indices : ndarray of int, shape (n_queries, k)
        The k nearest candidates of every query, such as ``top_k(...).indices``; -1 is none.
    n_candidates : int

    Raises
    ------
    InputError
        For indices outside of the candidates, or no candidates.
    """
    if n_candidates < 1 or (indices.size and not -1 <= indices.min() <= indices.max() < n_candidates):
        raise InputError("indices do not fit the candidates", wanted=f"-1 to {n_candidates - 1}")
    counts = np.bincount(indices[indices >= 0].ravel(), minlength=n_candidates)
    deviations = counts - counts.mean()
    variance = np.square(deviations).mean()
    return Hubness(
        skewness=float((deviations**3).mean() / variance**1.5) if variance else 0.0,
        anti_hubs=float((counts == 0).mean()),
        top_hub=int(counts.argmax()),
        top_count=int(counts.max()),
        counts=counts.astype(np.int64),
    )
