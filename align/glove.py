"""GloVe: vectors whose inner products are the logarithms of how often types stand near each other.

Pennington, Socher and Manning (2014), "GloVe: Global vectors for word representation", equations 8 and 9.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numba as nb
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from align.cooccurrence import cooccurrence, flat_lines
from align.errors import UsageError

_STRATA = 8
_FEW = 100_000  # entries; threads would wait for each other longer than they work


@dataclass(frozen=True, eq=False)
class Glove:
    """Vectors of types.

    Parameters
    ----------
    matrix : ndarray of float32, shape (n_types, dim)
        Sum of a type's two vectors; zeros for types that are too rare.
    known : ndarray of bool, shape (n_types,)
        Types that have a vector.
    history : tuple of float
        Mean cost of an entry, epoch by epoch, each before the entry's own step.
    """

    matrix: NDArray[np.float32]
    known: NDArray[np.bool_]
    history: tuple[float, ...]


def train_glove(
    lines: Sequence[Sequence[int]],
    n_types: int,
    *,
    dim: int = 300,
    window: int = 15,
    epochs: int = 15,
    min_count: int = 5,
    x_max: float = 10.0,
    alpha: float = 0.75,
    learning_rate: float = 0.05,
    seed: int = 0,
) -> Glove:
    """Fit ``w_i · c_j + a_i + b_j`` to ``log X_ij``, weighted ``min(1, (X_ij / x_max) ** alpha)``.

    Defaults are those of TokAlign's script. Types rarer than `min_count` are left out before counting, so
    that their neighbours stand next to each other, as in the authors' program.

    Parameters
    ----------
    lines : sequence of sequences of int
        Types from 0 to ``n_types - 1``.

    Returns
    -------
    Glove
        The same bits for any number of threads: entries are divided so that those worked on at one time
        share no vector.

    Raises
    ------
    UsageError
        For a dimension, a number of epochs, a window or a weight that is not positive.

    Notes
    -----
    AdaGrad, as the authors' program. Time ``epochs n_entries`` steps of ``12 dim`` operations on up to 8
    threads; memory ``16 dim n_types`` and 24 bytes an entry.
    """
    if dim < 1 or epochs < 1 or not (x_max > 0 and learning_rate > 0):
        raise UsageError(
            "dim, epochs, x_max and learning_rate must be positive",
            got=f"{dim}, {epochs}, {x_max:g} and {learning_rate:g}",
        )
    ids, offsets = flat_lines(lines)
    known = np.bincount(ids, minlength=n_types) >= max(min_count, 1)
    kept = known[ids]
    offsets = np.concatenate(([0], np.cumsum(kept)))[offsets]
    new = np.cumsum(known) - 1
    counts = cooccurrence(new[ids[kept]], offsets, int(known.sum()), window=window)
    vectors, history = _fit(counts, dim, epochs, x_max, alpha, learning_rate, np.random.default_rng(seed))
    matrix = np.zeros((n_types, dim), np.float32)
    matrix[known] = vectors
    return Glove(matrix, known, history)


def _fit(
    counts: sp.csr_array,
    dim: int,
    epochs: int,
    x_max: float,
    alpha: float,
    learning_rate: float,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], tuple[float, ...]]:
    n = counts.shape[0]
    # the last column of each side is its bias
    W, C = ((rng.random((n, dim + 1), np.float32) - np.float32(0.5)) / np.float32(dim) for _ in range(2))
    W_squares, C_squares = np.ones_like(W), np.ones_like(C)
    rate = np.float32(learning_rate)
    rows = np.repeat(np.arange(n, dtype=np.int32), np.diff(counts.indptr))
    cols = counts.indices.astype(np.int32)
    shuffled = rng.permutation(len(rows))
    # block (r, c) of the strata of rows and columns is worked on in turn (c - r) % _STRATA
    block = (cols - rows) % _STRATA * _STRATA + rows % _STRATA
    order = shuffled[np.argsort(block[shuffled], kind="stable")]
    edges = np.searchsorted(block[order], np.arange(_STRATA**2 + 1)).astype(np.intp)
    rows, cols, values = rows[order], cols[order], counts.data[order].astype(np.float64)
    logs = np.log(values).astype(np.float32)
    heavy = np.minimum(1, (values / x_max) ** alpha).astype(np.float32)
    history = []
    for _ in range(epochs):
        cost = 0.0
        for turn in range(_STRATA):
            costs = np.zeros(_STRATA)
            turn_edges = edges[turn * _STRATA : (turn + 1) * _STRATA + 1]
            if len(rows) < _FEW:
                for i, (first, stop) in enumerate(pairwise(turn_edges)):
                    costs[i] = _block(rows, cols, logs, heavy, first, stop, W, C, W_squares, C_squares, rate)
            else:
                _turn(rows, cols, logs, heavy, turn_edges, W, C, W_squares, C_squares, rate, costs)
            cost += float(costs.sum())
        history.append(cost / max(len(rows), 1))
    return W[:, :dim] + C[:, :dim], tuple(history)


@nb.njit(cache=True, parallel=True)
def _turn(
    rows: NDArray[np.int32],
    cols: NDArray[np.int32],
    logs: NDArray[np.float32],
    heavy: NDArray[np.float32],
    edges: NDArray[np.intp],
    W: NDArray[np.float32],
    C: NDArray[np.float32],
    W_squares: NDArray[np.float32],
    C_squares: NDArray[np.float32],
    rate: np.float32,
    costs: NDArray[np.float64],
) -> None:
    for block in nb.prange(edges.size - 1):
        costs[block] = _block(
            rows, cols, logs, heavy, edges[block], edges[block + 1], W, C, W_squares, C_squares, rate
        )


# sums may be taken in any order (one order on one machine), which vector instructions need
@nb.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "contract"})
def _block(
    rows: NDArray[np.int32],
    cols: NDArray[np.int32],
    logs: NDArray[np.float32],
    heavy: NDArray[np.float32],
    first: int,
    stop: int,
    W: NDArray[np.float32],
    C: NDArray[np.float32],
    W_squares: NDArray[np.float32],
    C_squares: NDArray[np.float32],
    rate: np.float32,
) -> float:
    """One AdaGrad step an entry; a bias is a component whose opposite is 1."""
    dim = W.shape[1] - 1
    old = np.empty(dim, np.float32)
    cost = 0.0
    for n in range(first, stop):
        w, c = W[rows[n]], C[cols[n]]
        w_squares, c_squares = W_squares[rows[n]], C_squares[cols[n]]
        error = w[dim] + c[dim] - logs[n]
        for i in range(dim):
            old[i] = w[i]
            error += w[i] * c[i]
        step = heavy[n] * error
        cost += 0.5 * step * error
        step *= rate
        _descend(w, w_squares, c, dim, step)
        _descend(c, c_squares, old, dim, step)
        w[dim] -= step / np.sqrt(w_squares[dim])
        c[dim] -= step / np.sqrt(c_squares[dim])
        w_squares[dim] += step * step
        c_squares[dim] += step * step
    return cost


@nb.njit(cache=True, nogil=True, error_model="numpy")
def _descend(
    x: NDArray[np.float32],
    squares: NDArray[np.float32],
    along: NDArray[np.float32],
    dim: int,
    step: np.float32,
) -> None:
    for i in range(dim):
        move = step * along[i]
        x[i] -= move / np.sqrt(squares[i])
        squares[i] += move * move
