"""Orthogonal matching pursuit of many rows over one dictionary.

Selecting an atom needs the inner products of the residual with all atoms. They are not computed anew: with
the code ``g`` over the chosen atoms ``I`` they are ``D x - G[:, I] g`` (Rubinstein, Zibulevsky and Elad 2008,
"Efficient implementation of the K-SVD algorithm using batch orthogonal matching pursuit"), where the rows of
the Gram matrix ``G = D D^T`` are made when an atom is first chosen and kept in two bytes, of which the first
is nearly always enough.

Reading those rows is what costs, so a pursuit guesses four atoms ahead and verifies them together. The next
atoms are nearly always among the few dozen with the largest products now: pursuit goes on among these alone
(`guess`). The guesses are appended with exact float64 products (`algebra`), and one pass over
the rows gives the products of all atoms after each of the four codes (`products`). A guess stands
unless some other atom is, within the proven error of these products, as good; such are scored in float64
against the residual itself, and where one is better, it is taken and the later guesses are dropped
(`kernels`). So the atoms do not depend on guesses, BLAS, the number of threads or that rounding.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import get_num_threads
from numpy.typing import NDArray

from align.errors import InputError, UsageError
from align.threads import workers
from vocab.methods.pursuit.kernels import advance
from vocab.methods.pursuit.products import keep
from vocab.methods.pursuit.state import Dictionary, Scratch, State, Work, aligned, buffers, scratch
from vocab.methods.pursuit.vnni import COLUMNS

_LANES = 32
_CHUNK = 8  # rows that a thread takes at a time
_PART = 1024  # atoms that a thread multiplies by at a time
_BLOCK = 256  # rows pursued together, and rows of the Gram matrix in one product


@dataclass(frozen=True, eq=False)
class SparseCode:
    """Rows as sums of at most k atoms.

    Parameters
    ----------
    indices : ndarray of int64, shape (n, k)
        Atoms in the order they were chosen, -1 where fewer sufficed.
    coefficients : ndarray of float64, shape (n, k)
        Least-squares coefficients of the chosen atoms, 0 where there is none.
    residuals : ndarray of float64, shape (n,)
        Length of what is not explained, as a share of the row's own; 0 for rows of zeros.
    """

    indices: NDArray[np.int64]
    coefficients: NDArray[np.float64]
    residuals: NDArray[np.float64]

    @property
    def mean_residual(self) -> float:
        """Mean of `residuals`, 0 without rows."""
        return float(self.residuals.mean()) if len(self.residuals) else 0.0


def pursue(
    rows: NDArray[np.floating[Any]],
    atoms: NDArray[np.floating[Any]],
    *,
    k: int,
    gram_bytes: int = 1 << 30,
) -> SparseCode:
    """Code each row over the atoms, greedily.

    The next atom is the one with the largest ``|<residual, atom>|``, the lowest index among equals; then the
    residual is made orthogonal to all chosen atoms. A row ends early once its residual is below 1e-6 of its
    length or its best atom depends on those chosen.

    Parameters
    ----------
    rows : ndarray, shape (n, dim)
    atoms : ndarray, shape (m, dim)
        Both are taken as float32.
    k : int
        Most atoms in a code.
    gram_bytes : int
        Room for rows of the Gram matrix, ``2 m`` bytes each; those used least make way for others.

    Returns
    -------
    SparseCode
        With ``min(k, m, dim)`` columns.

    Raises
    ------
    UsageError
        For ``k < 1``.
    InputError
        For widths that differ, NaN or infinity.

    Notes
    -----
    Time ``n k^2 m`` operations on bytes, ``n (2 m dim + 2 k^2 dim)`` on floats, and at most ``2 m^2 dim`` for
    the Gram matrix where it fits (per row as many as atoms are new to it where it does not). Memory
    `gram_bytes` (no less than ``2 m k``), ``256 (4 m + 12 k^2 + 4 dim)`` bytes,
    and ``2 m (k + 33)`` a thread.
    """
    if k < 1:
        raise UsageError("a sparse code needs at least one atom", got=k, wanted="k >= 1")
    if rows.ndim != 2 or atoms.ndim != 2 or rows.shape[1] != atoms.shape[1]:
        raise InputError("rows and atoms differ in width", got=f"{rows.shape} and {atoms.shape}")
    X, D = np.ascontiguousarray(rows, np.float32), np.ascontiguousarray(atoms, np.float32)
    x_scale, d_scale = _power_above(X), _power_above(D).max(initial=0.0)
    n, (m, dim) = len(X), D.shape
    k = min(k, m, dim) if d_scale else 0
    indices = np.full((n, k), -1, np.int64)
    coefficients = np.zeros((n, k))
    residuals = np.where(x_scale > 0, 1.0, 0.0)
    if n == 0 or k == 0:
        return SparseCode(indices, coefficients, residuals)
    D = _padded(D / np.float32(d_scale))
    inverse = np.divide(1.0, x_scale, out=np.zeros_like(x_scale), where=x_scale > 0).astype(np.float32)
    with workers() as threads:
        gram = _GramRows(D, threads, capacity=min(m, max(gram_bytes // (2 * m), k)))
        n_columns, size = len(gram.common), min(_BLOCK, n)
        free = [
            (buffers(n_columns, m, D.shape[1], k), scratch(n_columns, k)) for _ in range(get_num_threads())
        ]
        if gram.capacity < m:
            size = min(size, gram.capacity // k)
        elif n * k >= m:
            gram.make(np.arange(m))
        for start in range(0, n, size):
            part = slice(start, start + size)
            scaled = _padded(X[part] * inverse[part, None])
            coefficients[part], residuals[part] = _pursue_block(scaled, gram, indices[part], threads, free)
    coefficients *= x_scale[:, None] / d_scale
    return SparseCode(indices, coefficients, residuals)


def _power_above(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """The power of two above each row's length, by which division rounds nothing; 0 for rows of zeros."""
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    if not np.isfinite(lengths).all():
        raise InputError("vectors hold NaN or infinity", wanted="finite float32 numbers")
    return np.where(lengths > 0, np.exp2(np.frexp(lengths)[1].astype(np.float64)), 0.0)


def _products(
    rows: NDArray[np.float32], D: NDArray[np.float32], n_columns: int, threads: ThreadPoolExecutor
) -> NDArray[np.float32]:
    """``rows @ D.T``, and zeros up to `n_columns`."""
    products = aligned((len(rows), n_columns), np.float32)

    def multiply(start: int) -> None:
        part = slice(start, min(start + _PART, len(D)))
        np.matmul(rows, D[part].T, out=products[:, part])

    list(threads.map(multiply, range(0, len(D), _PART)))
    return products


def _padded(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    """Zeros at the end of each row, for whole vector registers."""
    padded = aligned((len(rows), rows.shape[1] + -rows.shape[1] % _LANES), np.float32)
    padded[:, : rows.shape[1]] = rows
    return padded


_NONE: NDArray[np.int64] = np.empty(0, np.int64)


class _GramRows:
    """Rows of ``D D^T`` without the part along the mean atom, in two bytes with a scale each.

    Made on demand and evicted by use. Embeddings have much in common, which would make the units large.
    """

    def __init__(self, D: NDArray[np.float32], threads: ThreadPoolExecutor, *, capacity: int) -> None:
        mean = D.mean(axis=0, dtype=np.float64)
        mean /= max(float(np.linalg.norm(mean)), 1e-30)
        n_columns = -(-len(D) // COLUMNS) * COLUMNS
        self.D, self.threads, self.capacity = D, threads, capacity
        self.squares = np.einsum("ij,ij->i", D, D)
        self.common = np.zeros(n_columns, np.float32)
        self.common[: len(D)] = D @ mean.astype(np.float32)
        self.rows = aligned((capacity, 2, n_columns), np.uint8)
        self.scales = np.zeros(capacity, np.float32)
        self.slot_of = np.full(len(D), -1, np.int64)
        self.atom_in = np.full(capacity, -1, np.int64)
        self.uses = np.zeros(capacity, np.int64)

    def make(self, atoms: NDArray[np.int64], *, needed: NDArray[np.int64] = _NONE) -> None:
        """Compute the rows of `atoms`, which lack them; those of the atoms `needed` stay."""
        for start in range(0, len(atoms), _BLOCK):
            new = atoms[start : start + _BLOCK]
            slots = self._free(len(new), np.concatenate([needed, atoms[:start]]))
            self._fill(slots, new)
            self.atom_in[slots], self.slot_of[new], self.uses[slots] = new, slots, 0

    def _fill(self, slots: NDArray[np.int64], atoms: NDArray[np.int64]) -> None:
        products = _products(self.D[atoms], self.D, len(self.common), self.threads)

        def keep_some(start: int) -> None:
            some = slice(start, start + _CHUNK)
            keep(products[some], self.common, atoms[some], slots[some], self.rows, self.scales)

        list(self.threads.map(keep_some, range(0, len(atoms), _CHUNK)))

    def _free(self, count: int, needed: NDArray[np.int64]) -> NDArray[np.int64]:
        free = np.flatnonzero(self.atom_in < 0)[:count]
        if len(free) < count:
            held = np.zeros(self.capacity, bool)
            held[self.slot_of[needed][self.slot_of[needed] >= 0]] = True
            loose = np.flatnonzero(~held & (self.atom_in >= 0))
            loose = loose[np.argsort(self.uses[loose], kind="stable")[: count - len(free)]]
            self.slot_of[self.atom_in[loose]] = -1
            free = np.concatenate([free, loose])
        return free


def _pursue_block(
    X: NDArray[np.float32],
    gram: _GramRows,
    chosen: NDArray[np.int64],
    threads: ThreadPoolExecutor,
    free: list[tuple[Work, Scratch]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Codes of one block; fills `chosen`, returns coefficients and relative residuals."""
    (n, k), D = chosen.shape, gram.D
    first = _products(X, D, len(gram.common), threads)
    state = State(
        first=first,
        X=X,
        chosen=chosen,
        triangle=np.zeros((n, k, -(-k // 4) * 4)),
        inverse=np.zeros((n, k, -(-k // 32) * 32), np.float32),
        along=np.zeros((n, k)),
        code=np.zeros((n, k)),
        lengths=np.linalg.norm(X.astype(np.float64), axis=1),
        left=np.zeros(n),
        sizes=np.zeros(n, np.int64),
        active=np.ones(n, bool),
    )
    words = Dictionary(D, gram.squares, gram.common, gram.rows, gram.scales, gram.slot_of)
    state.active[:] = state.lengths > 0

    def work_on(start: int) -> None:
        buffers = free.pop()
        advance(start, min(start + _CHUNK, n), words, state, *buffers)
        free.append(buffers)

    while True:
        list(threads.map(work_on, range(0, n, _CHUNK)))
        if not state.active.any():
            break
        used = chosen[state.active]
        last = np.unique(chosen[state.active, state.sizes[state.active] - 1])
        gram.make(last[gram.slot_of[last] < 0], needed=np.unique(used[used >= 0]))
    used = gram.slot_of[chosen[chosen >= 0]]
    np.add.at(gram.uses, used[used >= 0], 1)
    lengths = np.where(state.lengths > 0, state.lengths, 1.0)
    return state.code, state.left / lengths
