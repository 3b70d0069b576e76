"""Skip-gram whose vectors are convex combinations of given ones, with weights of low rank.

Mundra et al. (2024), "An empirical comparison of vocabulary expansion and initialization approaches for
language models", CoNLL, arXiv:2407.05841: Constrained Word2Vec.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numba as nb
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from align.errors import InputError, UsageError
from align.threads import workers

_BLOCK_WEIGHTS = 1 << 20  # entries of a block of weights
_GROUP = 8  # blocks whose gradients are held at one time
_BETAS, _EPSILON = (0.9, 0.999), 1e-8
_SETTLED = 1e-4  # relative change of the loss over an epoch


@dataclass(frozen=True, eq=False)
class ConvexSkipgram:
    """Convex weights of new vectors over given ones.

    Parameters
    ----------
    weights : csr_array of float32, shape (n_types, n_anchors)
        The heaviest of each row, which sum to 1; rows of types that are not free or not seen are empty.
    mass_kept : float
        Mean share of a row's weight that these had before.
    history : tuple of float
        Mean loss of a token, epoch by epoch.
    converged : bool
        Whether the last epoch changed the loss by less than one part in ten thousand.
    """

    weights: sp.csr_array
    mass_kept: float
    history: tuple[float, ...]
    converged: bool


@dataclass(eq=False)
class _Adam:
    """One parameter and its moments."""

    value: NDArray[np.float32]
    rate: float
    moments: list[NDArray[np.float32]] = field(init=False)
    n_steps: int = 0

    def __post_init__(self) -> None:
        self.moments = [np.zeros_like(self.value) for _ in _BETAS]

    def step(self, gradient: NDArray[np.float32]) -> None:
        self.n_steps += 1
        for moment, beta, power in zip(self.moments, _BETAS, (1, 2), strict=True):
            moment *= np.float32(beta)
            moment += np.float32(1 - beta) * gradient**power
        first, second = (
            moment / np.float32(1 - beta**self.n_steps)
            for moment, beta in zip(self.moments, _BETAS, strict=True)
        )
        self.value -= np.float32(self.rate) * first / (np.sqrt(second) + np.float32(_EPSILON))


def fit_convex_skipgram(
    counts: sp.csr_array,
    frequencies: NDArray[np.floating],
    anchors: NDArray[np.floating],
    anchor_of: NDArray[np.integer],
    *,
    rank: int = 64,
    dim: int = 128,
    n_negatives: int = 5,
    epochs: int = 20,
    learning_rate: float = 0.05,
    standardize: bool = True,
    top: int = 32,
    seed: int = 0,
) -> ConvexSkipgram:
    """Learn rows ``softmax(A B) @ anchors`` that tell the neighbours of a type from other types.

    The loss of type *t* is ``-sum_c p(c|t) log s(x_tc) - n_negatives sum_c q_c log s(-x_tc)`` with the
    logistic function *s*, the inner product *x* of two rows, *p* from `counts` and *q* the frequencies to the
    power 0.75. Types count by the root of their number of neighbours.

    Parameters
    ----------
    counts : csr_array, shape (n_types, n_types)
        How often each type has each other as a neighbour.
    frequencies : ndarray, shape (n_types,)
        Negatives are drawn by these.
    anchors : ndarray, shape (n_anchors, dim_of_anchors)
    anchor_of : ndarray of int, shape (n_types,)
        The anchor that a type is, or -1 for types whose row is sought.
    rank : int
        Columns of A, rows of B.
    dim : int
        Leading principal components of the anchors in which products are taken.
    standardize : bool
        Take products of rows from which the anchors' mean is subtracted, in units in which the products of
        two anchors have variance 1, less ``log n_negatives``. If false, of the rows as they are.
    top : int
        Weights kept of each row.

    Returns
    -------
    ConvexSkipgram
        The same bits for any number of threads.

    Raises
    ------
    UsageError
        For numbers that are not positive.
    InputError
        For shapes that do not fit, or anchors that are not finite.

    Notes
    -----
    Gradients are those of the whole text, by Adam, one step an epoch; neighbours have the rows of the epoch
    before, and what they would learn from the pair they learn as its other end. A starts at 0 and B at the
    principal components of the anchors, so that alike anchors get alike weights. An epoch draws 512
    negatives, which all types share.

    Time ``epochs n_free n_anchors (6 rank + 4 dim)`` operations; memory 16 MiB a thread (more from 65,536
    anchors on), ``48 rank n_anchors`` bytes and ``16 rank n_free``: there is never a matrix of all types by
    all anchors.
    """
    positive = {"rank": rank, "dim": dim, "n_negatives": n_negatives, "epochs": epochs, "top": top}
    for name, number in positive.items():
        if number < 1:
            raise UsageError(f"{name} must be positive", got=number)
    n_types = len(anchor_of)
    if counts.shape != (n_types, n_types) or len(frequencies) != n_types:
        raise InputError("counts do not fit the types", got=counts.shape, wanted=(n_types, n_types))
    if anchors.ndim != 2 or not np.isfinite(anchors).all():
        raise InputError("anchors are not rows of finite numbers", got=anchors.shape)
    counts = sp.csr_array(counts)
    n_near = np.asarray(counts.sum(axis=1)).ravel()
    free = np.flatnonzero((anchor_of < 0) & (n_near > 0))
    shape = (n_types, len(anchors))
    if not len(anchors) or not len(free):
        return ConvexSkipgram(sp.csr_array(shape, dtype=np.float32), 1.0, (), True)
    with workers() as pool:
        F, B = _components(np.asarray(anchors, np.float64), dim, rank, standardize)
        fit = _Fit(counts[free], n_near[free], free, F, np.log(n_negatives) if standardize else 0.0, pool)
        left, right = (
            _Adam(np.zeros((len(free), B.shape[0]), np.float32), learning_rate),
            _Adam(B, learning_rate),
        )
        rows = np.zeros((n_types, F.shape[1]), np.float32)
        rows[anchor_of >= 0] = F[anchor_of[anchor_of >= 0]]
        rows[free] = F.mean(axis=0)
        noise = np.asarray(frequencies, np.float64) ** 0.75
        rng = np.random.default_rng(seed)
        history: list[float] = []
        for _ in range(epochs):
            drawn = rows[rng.choice(n_types, 512, p=noise / noise.sum())]
            loss, rows[free], *gradients = fit.gradients(left.value, right.value, rows, drawn, n_negatives)
            for parameter, gradient in zip((left, right), gradients, strict=True):
                parameter.step(gradient)
            history.append(loss)
        weights, kept = fit.heaviest(left.value, right.value, top)
    converged = len(history) > 1 and abs(history[-1] - history[-2]) <= _SETTLED * history[-2]
    indptr = np.zeros(n_types + 1, np.int64)
    indptr[free + 1] = np.diff(weights.indptr)
    whole = sp.csr_array((weights.data, weights.indices, np.cumsum(indptr)), shape=shape)
    return ConvexSkipgram(whole, kept, tuple(history), converged)


def _components(
    anchors: NDArray[np.float64], dim: int, rank: int, standardize: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Anchors in leading components, and others of them, of variance 1, as the start of B."""
    centred = anchors - anchors.mean(axis=0)
    values, axes = np.linalg.eigh(centred.T @ centred / len(anchors))
    values, axes = values[::-1].clip(0), axes[:, ::-1]
    spread = np.sqrt(values[: min(rank, len(values))])
    spread = spread[spread > 1e-6 * max(spread[0], 1e-30)]
    B = (centred @ axes[:, : len(spread)] / spread).T if len(spread) else np.zeros((1, len(anchors)))
    if standardize:
        # the variance of a product of two independent rows is the sum of the squared variances
        F = centred @ axes[:, :dim] / max(np.sum(values**2) ** 0.25, 1e-30)
    else:
        values, axes = np.linalg.eigh(anchors.T @ anchors)
        F = anchors @ axes[:, ::-1][:, :dim]
    return np.ascontiguousarray(F, np.float32), np.ascontiguousarray(B, np.float32)


@dataclass(frozen=True, eq=False)
class _Fit:
    """What does not change between epochs."""

    counts: sp.csr_array
    n_near: NDArray[np.float64]
    free: NDArray[np.int64]
    F: NDArray[np.float32]
    shift: float
    pool: ThreadPoolExecutor

    def blocks(self) -> Iterator[list[slice]]:
        n_rows = max(16, min(256, _BLOCK_WEIGHTS // len(self.F)))
        starts = range(0, len(self.free), n_rows)
        every = [slice(start, min(start + n_rows, len(self.free))) for start in starts]
        for first in range(0, len(every), _GROUP):
            yield every[first : first + _GROUP]

    def gradients(
        self,
        A: NDArray[np.float32],
        B: NDArray[np.float32],
        rows: NDArray[np.float32],
        drawn: NDArray[np.float32],
        n_negatives: int,
    ) -> tuple[float, NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Loss, rows of the free types, and gradients of A and B; `rows` are those of all neighbours."""
        importance = np.sqrt(self.n_near)
        importance = (importance / importance.sum()).astype(np.float32)
        new_rows = np.empty((len(self.free), self.F.shape[1]), np.float32)
        A_gradient, B_gradient = np.empty_like(A), np.zeros_like(B)
        losses = np.empty(len(self.free))

        def work(block: slice) -> NDArray[np.float32]:
            P = softmax(A[block] @ B)
            W = P @ self.F
            new_rows[block] = W
            G, losses[block] = self._outside(block, W, rows, drawn, n_negatives)
            D = (G * importance[block, None]) @ self.F.T
            D -= np.einsum("ij,ij->i", D, P)[:, None]
            D *= P
            A_gradient[block] = D @ B.T
            gradient: NDArray[np.float32] = A[block].T @ D
            return gradient

        for group in self.blocks():
            for part in self.pool.map(work, group):
                B_gradient += part
        return float(losses @ importance), new_rows, A_gradient, B_gradient

    def _outside(
        self,
        block: slice,
        W: NDArray[np.float32],
        rows: NDArray[np.float32],
        drawn: NDArray[np.float32],
        n_negatives: int,
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Gradient and loss with respect to the rows of a block."""
        scores = W @ drawn.T - np.float32(self.shift)
        odds = 1 / (1 + np.exp(-scores))
        share = np.float32(n_negatives / len(drawn))
        G = share * (odds @ drawn)
        losses = share * np.logaddexp(0, scores).sum(axis=1, dtype=np.float64)
        part = self.counts[block]
        near = part.data / np.repeat(self.n_near[block], np.diff(part.indptr))
        _attract(part.indptr, part.indices, near.astype(np.float32), W, rows, self.shift, G, losses)
        return G, losses

    def heaviest(
        self, A: NDArray[np.float32], B: NDArray[np.float32], top: int
    ) -> tuple[sp.csr_array, float]:
        """The heaviest weights of each row, made to sum to 1, and the mean sum that they had."""
        top = min(top, len(self.F))

        def work(block: slice) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
            P = softmax(A[block] @ B)
            ids = np.sort(np.argpartition(P, P.shape[1] - top, axis=1)[:, P.shape[1] - top :], axis=1)
            return ids, np.take_along_axis(P, ids, axis=1)

        found = [part for group in self.blocks() for part in self.pool.map(work, group)]
        ids, values = (np.concatenate(parts) for parts in zip(*found, strict=True))
        sums = values.sum(axis=1, dtype=np.float64)
        values = (values / sums[:, None]).astype(np.float32)
        indptr = np.arange(0, ids.size + 1, top)
        shape = (len(self.free), len(self.F))
        return sp.csr_array((values.ravel(), ids.ravel(), indptr), shape=shape), float(sums.mean())


def softmax(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """Row by row, in place."""
    scores -= scores.max(axis=1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=1, keepdims=True)
    return scores


@nb.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _attract(
    indptr: NDArray[np.integer],
    near: NDArray[np.integer],
    share: NDArray[np.float32],
    W: NDArray[np.float32],
    rows: NDArray[np.float32],
    shift: float,
    G: NDArray[np.float32],
    losses: NDArray[np.float64],
) -> None:
    """Add the neighbours' part of gradient and loss."""
    for t in range(W.shape[0]):
        w, g = W[t], G[t]
        for n in range(indptr[t], indptr[t + 1]):
            row = rows[near[n]]
            score = np.float32(0)
            for i in range(w.size):
                score += w[i] * row[i]
            score -= np.float32(shift)
            pull = share[n] / (np.float32(1) + np.exp(score))
            losses[t] += share[n] * (np.log1p(np.exp(-abs(score))) + max(-score, np.float32(0)))
            for i in range(w.size):
                g[i] -= pull * row[i]
