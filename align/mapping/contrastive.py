"""Two linear maps trained by contrast: translations against their hardest rivals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numba as nb
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

from align.errors import UsageError
from align.mapping.bilingual import BilingualMap
from align.mapping.moments import check_pairs, pair_moments
from align.mapping.refinement import csls_sweep
from align.mapping.whitened import whitened_maps
from align.neighbors import top_k
from align.neighbors.kernels import dot
from align.normalize import unit

# The setting of the paper for about a thousand pairs; the defaults are those for five thousand.
FEW_PAIRS = {
    "lr": 2.0,
    "n_steps": 50,
    "n_loops": 3,
    "n_neg": 60,
    "n_aug": 6000,
    "max_rank": 20_000,
    "decay": 1.0,
    "train_on_added": True,
}

Progress = Callable[[int, float], None]


@dataclass(frozen=True, eq=False)
class Rivals:
    """For every pair its translation, then the nearest other words, of either side.

    Parameters
    ----------
    src, tgt : ndarray of int64, shape (n, 1 + n_neg)
        Rows of X and of Y; the first column is the pair itself.
    """

    src: NDArray[np.int64]
    tgt: NDArray[np.int64]


def contrastive_loss(
    X: NDArray[np.float32],
    Y: NDArray[np.float32],
    rivals: Rivals,
    A: NDArray[np.float64],
    B: NDArray[np.float64],
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """The InfoNCE loss of two maps and its gradients.

    Minus the mean over pairs of ``log(e^s / sum e^s')``: s is the cosine of ``x_i A`` and ``y_j B``, and the
    sum is over the pair, ``x_i`` with the rivals of ``y_j``, and ``y_j`` with those of ``x_i`` (Li et al.
    2022, equation 2). Lengths are taken for constants in the gradients, as in their program.

    Parameters
    ----------
    X : ndarray of float32, shape (n_src, src_dim)
    Y : ndarray of float32, shape (n_tgt, tgt_dim)
    rivals : Rivals
    A : ndarray, shape (src_dim, dim)
    B : ndarray, shape (tgt_dim, dim)

    Returns
    -------
    loss : float
    gradient_src, gradient_tgt : ndarray of float64, shapes of A and B

    Notes
    -----
    ``2 n n_neg (dim + src_dim + tgt_dim)`` multiplications and both spaces mapped. The gradients of A and B
    are ``G B`` and ``G^T A``, with G the gradient by the matrix ``A B^T`` of the bilinear form.
    """
    n = len(rivals.src)
    with threadpool_limits(1, user_api="blas"):
        M, src_lengths = _mapped(X, A)
        N, tgt_lengths = _mapped(Y, B)
        own_src, own_tgt = rivals.src[:, 0], rivals.tgt[:, 0]
        forward, backward = np.empty(rivals.tgt.shape), np.empty(rivals.src.shape)
        _cosines(M, own_src, N, rivals.tgt, forward)
        _cosines(N, own_tgt, M, rivals.src, backward)
        # the pair itself counts once: cosines are at most 1, so no exponential overflows
        powers = np.exp(forward), np.exp(backward[:, 1:])
        totals = powers[0].sum(axis=1) + powers[1].sum(axis=1)
        loss = float(np.mean(np.log(totals) - forward[:, 0]))
        P = powers[0] / totals[:, None]
        P[:, 0] -= 1
        Q = powers[1] / totals[:, None]
        T = _weighted(P / tgt_lengths[rivals.tgt], rivals.tgt, Y)
        S = _weighted(Q / src_lengths[rivals.src[:, 1:]], rivals.src[:, 1:], X)
        x = X[own_src] / src_lengths[own_src, None]
        y = Y[own_tgt] / tgt_lengths[own_tgt, None]
        G = (x.T @ T + S.T @ y) / n
        return loss, G @ B, G.T @ A


def contrastive(
    X: NDArray[np.floating],
    Y: NDArray[np.floating],
    pairs: NDArray[np.integer],
    *,
    lr: float = 1.5,
    n_steps: int = 200,
    n_loops: int = 2,
    n_neg: int = 150,
    n_aug: int = 10_000,
    max_rank: int = 60_000,
    max_neg: int = 60_000,
    decay: float = 0.99,
    clip: float = 0.15,
    refresh: int = 1,
    train_on_added: bool = False,
    k: int = 10,
    progress: Progress | None = None,
) -> BilingualMap:
    """Train the maps of both spaces to put translations above their hardest rivals.

    The first stage (C1) of Li, Liu, Korhonen and Vulić (2022), "Improving word translation via two-stage
    contrastive learning", ACL. A loop starts from :func:`align.mapping.whitened.whitened` and takes steps
    down :func:`contrastive_loss`; the next loop adds the best CSLS translations of both directions, of words
    that the dictionary lacks, to the pairs.

    Parameters
    ----------
    X : ndarray, shape (n_src, src_dim)
    Y : ndarray, shape (n_tgt, tgt_dim)
        Unit rows (the paper does not centre), most frequent words first.
    pairs : ndarray of int, shape (n, 2)
        Row of X, row of Y.
    lr : float
        Learning rate at the start of every loop.
    n_steps, n_loops : int
    n_neg : int
        Rivals of a word, by cosine.
    n_aug : int
        Translations of each direction that a loop adds at most, best first.
    max_rank : int
        Words beyond this row are not added.
    max_neg : int
        Words beyond this row are no rivals.
    decay : float
        Factor of the rate after a step.
    clip : float
        Largest length of both gradients together.
    refresh : int
        Rivals are looked for anew every that many steps; in the paper at every one.
    train_on_added : bool
        Whether steps are taken on added pairs, too, or only the start is fitted to them.
    k : int
        Neighbours of CSLS.
    progress : callable, optional
        Called with the step, counted from 1 over all loops, and its loss.

    Returns
    -------
    BilingualMap
        ``history`` is the loss before every step. After a KeyboardInterrupt the last map, with ``converged``
        False.

    Raises
    ------
    UsageError
        For settings outside their range.
    InputError
        For pairs that do not fit the spaces, NaN or infinity.

    Notes
    -----
    A step with new rivals is two searches of the words of the pairs among `max_neg` rows, and they take most
    of its time. Memory: the mapped spaces in float32 and ``100 n n_neg`` bytes.
    """
    numbers = {"lr": lr, "n_loops": n_loops, "n_neg": n_neg, "decay": decay, "clip": clip, "refresh": refresh}
    for name, number in numbers.items():
        if not 0 < number < np.inf:
            raise UsageError(f"{name} is out of range", got=number, wanted="a positive number")
    check_pairs(X, Y, pairs, None)
    X, Y = (np.ascontiguousarray(rows, np.float32) for rows in (X, Y))
    history: list[float] = []
    current, interrupted = pairs, False
    A, B = _start(X, Y, pairs)
    try:
        for loop in range(n_loops):
            if loop:
                current = np.concatenate((pairs, _added(X, Y, A, B, pairs, n_aug, max_rank, k)))
                A, B = _start(X, Y, current)
            trained = current if train_on_added else pairs
            rate = lr
            for step in range(n_steps):
                if step % refresh == 0:
                    rivals = hard_rivals(X, Y, trained, A, B, n_neg=n_neg, max_neg=max_neg)
                loss, dA, dB = contrastive_loss(X, Y, rivals, A, B)
                length = np.sqrt(np.square(dA).sum() + np.square(dB).sum())
                scale = rate * min(1.0, clip / (length + 1e-6))
                A, B = A - scale * dA, B - scale * dB
                rate *= decay
                history.append(loss)
                if progress is not None:
                    progress(len(history), loss)
    except KeyboardInterrupt:
        interrupted = True
    return BilingualMap(
        A,
        B,
        "contrastive",
        len(current),
        converged=not interrupted,
        n_iter=len(history),
        history=tuple(history),
        options={
            **numbers,
            "n_steps": n_steps,
            "n_aug": n_aug,
            "max_rank": max_rank,
            "max_neg": max_neg,
            "train_on_added": train_on_added,
            "k": k,
        },
    )


def _start(
    X: NDArray[np.float32], Y: NDArray[np.float32], pairs: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    maps = whitened_maps(pair_moments(X, Y, pairs))
    return maps.src_matrix, maps.tgt_matrix


def hard_rivals(
    X: NDArray[np.float32],
    Y: NDArray[np.float32],
    pairs: NDArray[np.integer],
    A: NDArray[np.float64],
    B: NDArray[np.float64],
    *,
    n_neg: int,
    max_neg: int,
) -> Rivals:
    """The `n_neg` words nearest to either word of a pair, among the first `max_neg`, its partner excluded."""
    with threadpool_limits(1, user_api="blas"):
        W, V = A.astype(np.float32), B.astype(np.float32)
        src, tgt = pairs.T
        return Rivals(
            _near(Y[tgt] @ V, X[:max_neg] @ W, tgt, src, n_neg),
            _near(X[src] @ W, Y[:max_neg] @ V, src, tgt, n_neg),
        )


def _near(
    queries: NDArray[np.float32],
    candidates: NDArray[np.float32],
    words: NDArray[np.integer],
    partners: NDArray[np.integer],
    n_neg: int,
) -> NDArray[np.int64]:
    """The partner of every word, then its nearest candidates without the partner."""
    _, first, inverse = np.unique(words, return_index=True, return_inverse=True)
    n_neg = min(n_neg, len(candidates) - 1)
    found = top_k(queries[first], candidates, n_neg + 1).indices[inverse]
    is_partner = found == partners[:, None]
    is_partner[~is_partner.any(axis=1), -1] = True  # otherwise the furthest goes
    others = found[~is_partner].reshape(len(words), n_neg)
    return np.concatenate((partners[:, None], others), axis=1)


def _added(
    X: NDArray[np.float32],
    Y: NDArray[np.float32],
    A: NDArray[np.float64],
    B: NDArray[np.float64],
    pairs: NDArray[np.integer],
    n_aug: int,
    max_rank: int,
    k: int,
) -> NDArray[np.int64]:
    """The best translations of words that no pair has, of both directions, without repetitions."""
    with threadpool_limits(1, user_api="blas"):
        M, N = unit(X @ A.astype(np.float32)), unit(Y @ B.astype(np.float32))
    found = csls_sweep(M, N, k=k)
    chosen = []
    for best, queries, candidates, crowd in (
        (found.forward, M, N, found.tgt_spread),
        (found.backward, N, M, found.src_spread),
    ):
        rows = np.arange(min(max_rank, len(best)))
        partners = best[rows]
        # between queries the original compares without the term of the query, 2 cos - r(candidate)
        scores = 2 * np.einsum("ij,ij->i", queries[rows], candidates[partners]) - crowd[partners]
        kept = np.argsort(-scores, kind="stable")[:n_aug]
        chosen.append((rows[kept], partners[kept]))
    (src, tgt), (back, front) = chosen
    added = np.unique(np.stack((np.append(src, front), np.append(tgt, back)), axis=1), axis=0)
    known = np.isin(added[:, 0], pairs[:, 0]) | np.isin(added[:, 1], pairs[:, 1])
    return added[~known]


def _mapped(
    rows: NDArray[np.float32], W: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Unit rows of the common space and the lengths that they had."""
    M = rows @ W.astype(np.float32)
    lengths = np.sqrt(np.einsum("ij,ij->i", M, M))
    lengths[lengths == 0] = 1
    M /= lengths[:, None]
    return M, lengths


def _weighted(
    weights: NDArray[np.floating], near: NDArray[np.int64], rows: NDArray[np.float32]
) -> NDArray[np.float32]:
    """For every row of `near` the weighted sum of the rows that it lists."""
    starts = np.arange(0, near.size + 1, near.shape[1])
    table = csr_array(
        (weights.ravel().astype(np.float32), near.ravel(), starts), shape=(len(near), len(rows))
    )
    product: NDArray[np.float32] = table @ rows
    return product


@nb.njit(cache=True, nogil=True)
def _row_cosines(
    query: NDArray[np.float32],
    rows: NDArray[np.float32],
    near: NDArray[np.int64],
    out: NDArray[np.float64],
) -> None:
    for n in range(near.size):
        out[n] = dot(query, rows[near[n]])


@nb.njit(cache=True, parallel=True)
def _cosines(
    queries: NDArray[np.float32],
    ids: NDArray[np.int64],
    rows: NDArray[np.float32],
    near: NDArray[np.int64],
    out: NDArray[np.float64],
) -> None:
    for i in nb.prange(near.shape[0]):
        _row_cosines(queries[ids[i]], rows, near[i], out[i])
