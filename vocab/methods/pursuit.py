"""Orthogonal matching pursuit of many rows over one dictionary.

Selecting an atom needs the inner products of the residual with all atoms. They are not computed anew: with
the code ``g`` over the chosen atoms ``I`` they are ``D x - G[:, I] g`` (Rubinstein, Zibulevsky and Elad 2008,
"Efficient implementation of the K-SVD algorithm using batch orthogonal matching pursuit"), where the rows of
the Gram matrix ``G = D D^T`` are made when an atom is first chosen and kept as int16. Those products only
propose: every atom within their proven error of the best is scored again in float64 against the residual
itself. So the atoms do not depend on BLAS, on the number of threads or on rounding to int16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray

from align.errors import InputError, UsageError

_BLOCK = 256  # rows pursued together, and rows of the Gram matrix in one product
_GROUPS = 256  # neighbouring products fall into different groups, so that maxima are taken side by side
_STRIPE = 2048  # products summed while they are in the nearest cache
_SOLVED = 1e-6  # of a row's length: what float32 rows leave of an exact code
_DEPENDENT = 1e-6  # of an atom's length


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
    Time ``n (k^2 m + 2 k^2 dim)`` operations and at most ``2 m^2 dim`` for the Gram matrix where it fits (per
    row as many as atoms are new to it where it does not). Memory `gram_bytes` (no less than ``2 m k``) and
    about ``256 (4 m + 8 k dim)`` bytes.
    """
    if k < 1:
        raise UsageError("a sparse code needs at least one atom", got=k, wanted="k >= 1")
    if rows.ndim != 2 or atoms.ndim != 2 or rows.shape[1] != atoms.shape[1]:
        raise InputError("rows and atoms differ in width", got=f"{rows.shape} and {atoms.shape}")
    X, D = np.ascontiguousarray(rows, np.float32), np.ascontiguousarray(atoms, np.float32)
    x_scale, d_scale = _power_above(X), _power_above(D).max(initial=0.0)
    X = X * np.divide(1.0, x_scale, out=np.zeros_like(x_scale), where=x_scale > 0).astype(np.float32)[:, None]
    n, (m, dim) = len(X), D.shape
    k = min(k, m, dim) if d_scale else 0
    indices = np.full((n, k), -1, np.int64)
    coefficients = np.zeros((n, k))
    residuals = np.where(x_scale > 0, 1.0, 0.0)
    if n == 0 or k == 0:
        return SparseCode(indices, coefficients, residuals)
    gram = _GramRows(D / np.float32(d_scale), capacity=min(m, max(gram_bytes // (2 * m), k)))
    size = min(_BLOCK, n)
    if gram.capacity < m:
        size = min(size, gram.capacity // k)
    elif n * k >= m:
        gram.make(np.arange(m))
    for start in range(0, n, size):
        part = slice(start, start + size)
        coefficients[part], residuals[part] = _pursue_block(X[part], gram, indices[part])
    return SparseCode(indices, coefficients * (x_scale[:, None] / d_scale), residuals)


def _power_above(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """The power of two above each row's length, by which division rounds nothing; 0 for rows of zeros."""
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    if not np.isfinite(lengths).all():
        raise InputError("vectors hold NaN or infinity", wanted="finite float32 numbers")
    return np.where(lengths > 0, np.exp2(np.frexp(lengths)[1].astype(np.float64)), 0.0)


_NONE: NDArray[np.int64] = np.empty(0, np.int64)


class _GramRows:
    """Rows of ``D D^T`` as int16 with a scale each, made on demand and evicted by use."""

    def __init__(self, D: NDArray[np.float32], *, capacity: int) -> None:
        self.D, self.capacity = D, capacity
        self.rows = np.empty((capacity, len(D)), np.int16)
        self.scales = np.zeros(capacity, np.float32)
        self.slot_of = np.full(len(D), -1, np.int64)
        self.atom_in = np.full(capacity, -1, np.int64)
        self.uses = np.zeros(capacity, np.int64)

    def make(self, atoms: NDArray[np.int64], *, needed: NDArray[np.int64] = _NONE) -> None:
        """Compute the rows of `atoms`, which lack them; those of the atoms `needed` stay."""
        for start in range(0, len(atoms), _BLOCK):
            new = atoms[start : start + _BLOCK]
            slots = self._free(len(new), np.concatenate([needed, atoms[:start]]))
            _keep(self.D[new] @ self.D.T, new, slots, self.rows, self.scales)
            self.atom_in[slots], self.slot_of[new], self.uses[slots] = new, slots, 0

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
    X: NDArray[np.float32], gram: _GramRows, chosen: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Codes of one block; fills `chosen`, returns coefficients and relative residuals."""
    (n, k), D = chosen.shape, gram.D
    first = X @ D.T
    residual = X.astype(np.float64)
    lengths = np.linalg.norm(residual, axis=1)
    basis = np.empty((n, k, D.shape[1]))
    triangle = np.zeros((n, k, k))
    code = np.zeros((n, k))
    sizes = np.zeros(n, np.int64)
    active = lengths > 0
    while True:
        _advance(
            first, residual, lengths, D, gram.rows, gram.scales, gram.slot_of,
            chosen, basis, triangle, code, sizes, active,
        )  # fmt: skip
        if not active.any():
            break
        used = chosen[active]
        last = np.unique(chosen[active, sizes[active] - 1])
        gram.make(last[gram.slot_of[last] < 0], needed=np.unique(used[used >= 0]))
    used = gram.slot_of[chosen[chosen >= 0]]
    np.add.at(gram.uses, used[used >= 0], 1)
    left = np.linalg.norm(residual, axis=1)
    return code, np.divide(left, lengths, out=np.zeros(n), where=lengths > 0)


@nb.njit(cache=True, fastmath={"nnan", "ninf", "nsz"})  # checked finite; it lets the maximum use vectors
def _group_maxima(line: NDArray[np.float32], maxima: NDArray[np.float32]) -> None:
    """Largest magnitude of ``line[g::len(maxima)]`` for every group g."""
    maxima[:] = np.float32(0.0)
    for begin in range(0, line.size, maxima.size):
        part = line[begin : begin + maxima.size]
        for j in range(part.size):
            value = abs(part[j])
            maxima[j] = value if value > maxima[j] else maxima[j]


@nb.njit(cache=True, parallel=True)
def _keep(
    products: NDArray[np.float32],
    atoms: NDArray[np.int64],
    slots: NDArray[np.int64],
    rows: NDArray[np.int16],
    scales: NDArray[np.float32],
) -> None:
    """Round products to int16. An atom's product with itself is never used, and would coarsen the rest."""
    for i in nb.prange(len(atoms)):
        line, row = products[i], rows[slots[i]]
        line[atoms[i]] = np.float32(0.0)
        maxima = np.empty(min(_GROUPS, line.size), np.float32)
        _group_maxima(line, maxima)
        scale = max(maxima.max(), np.float32(1e-30)) / np.float32(32767.0)
        inverse = np.float32(1.0) / scale
        for j in range(line.size):
            row[j] = np.int16(np.rint(line[j] * inverse))
        scales[slots[i]] = scale


@nb.njit(cache=True, fastmath={"reassoc", "contract"})  # neither assumes finite numbers
def _dot(x: NDArray[np.float64], y: NDArray[np.floating[Any]]) -> float:
    total = 0.0
    for i in range(x.size):
        total += x[i] * np.float64(y[i])
    return total


@nb.njit(cache=True)
def _subtract(
    line: NDArray[np.float32],
    rows: NDArray[np.int16],
    slots: NDArray[np.int64],
    weights: NDArray[np.float32],
) -> None:
    """``line -= weights @ rows[slots]``, stripe by stripe and four rows at a time."""
    whole = slots.size - slots.size % 4
    for begin in range(0, line.size, _STRIPE):
        end = min(begin + _STRIPE, line.size)
        part = line[begin:end]
        for i in range(0, whole, 4):
            a, b = rows[slots[i], begin:end], rows[slots[i + 1], begin:end]
            c, d = rows[slots[i + 2], begin:end], rows[slots[i + 3], begin:end]
            u, v, w, z = weights[i], weights[i + 1], weights[i + 2], weights[i + 3]
            for j in range(part.size):
                part[j] -= (u * np.float32(a[j]) + v * np.float32(b[j])) + (
                    w * np.float32(c[j]) + z * np.float32(d[j])
                )
        for i in range(whole, slots.size):
            a, u = rows[slots[i], begin:end], weights[i]
            for j in range(part.size):
                part[j] -= u * np.float32(a[j])


@nb.njit(cache=True)
def _best_atom(
    line: NDArray[np.float32],
    slack: float,
    residual: NDArray[np.float64],
    D: NDArray[np.float32],
    taken: NDArray[np.int64],
) -> int:
    """The atom with the largest exact product among those whose proposal may be the largest; -1 for none."""
    for atom in taken:
        line[atom] = np.float32(0.0)
    maxima = np.empty(min(_GROUPS, line.size), np.float32)
    _group_maxima(line, maxima)
    floor = np.float64(maxima.max()) - 2.0 * slack
    for atom in taken:
        line[atom] = np.float32(np.nan)  # compares as false below
    best, top = -1, 0.0
    for group in range(maxima.size):
        if maxima[group] < floor:
            continue
        for j in range(group, line.size, maxima.size):
            if abs(line[j]) >= floor:
                score = abs(_dot(residual, D[j]))
                if score > top or (score == top and j < best):
                    best, top = j, score
    return best


@nb.njit(cache=True)
def _orthogonalise(
    vector: NDArray[np.float64], basis: NDArray[np.float64], column: NDArray[np.float64]
) -> float:
    """Remove the basis from the vector, twice where much went; the products go to `column`. What is left."""
    before = np.sqrt(_dot(vector, vector))
    for _ in range(2):
        for i in range(len(basis)):
            part = _dot(vector, basis[i])
            column[i] += part
            for j in range(vector.size):
                vector[j] -= part * basis[i, j]
        after = np.sqrt(_dot(vector, vector))
        if after > 0.7 * before:
            break
        before = after
    return after


@nb.njit(cache=True)
def _solve(
    triangle: NDArray[np.float64], along: NDArray[np.float64], size: int, code: NDArray[np.float64]
) -> None:
    """``triangle[:size, :size] @ code = along``, from the last to the first."""
    for i in range(size - 1, -1, -1):
        total = along[i]
        for j in range(i + 1, size):
            total -= triangle[i, j] * code[j]
        code[i] = total / triangle[i, i]


@nb.njit(cache=True, parallel=True)
def _advance(
    first: NDArray[np.float32],
    residual: NDArray[np.float64],
    lengths: NDArray[np.float64],
    D: NDArray[np.float32],
    gram: NDArray[np.int16],
    scales: NDArray[np.float32],
    slot_of: NDArray[np.int64],
    chosen: NDArray[np.int64],
    basis: NDArray[np.float64],
    triangle: NDArray[np.float64],
    code: NDArray[np.float64],
    sizes: NDArray[np.int64],
    active: NDArray[np.bool_],
) -> None:
    """Take every active row as far as there are Gram rows; one that is done becomes inactive.

    A row goes on alone, not in step with the others: its Gram rows are read again for every atom and stay in
    the cache.
    """
    (n, k), (m, dim) = chosen.shape, D.shape
    for row in nb.prange(n):
        line, weights, column = np.empty(m, np.float32), np.empty(k, np.float32), np.empty(k)
        along = np.zeros(k)
        for i in range(sizes[row]):
            along[i] = _dot(triangle[row, i, i : sizes[row]], code[row, i : sizes[row]])
        while active[row]:
            size = sizes[row]
            taken = chosen[row, :size]
            slots = slot_of[taken]
            if size and slots[size - 1] < 0:
                break
            mass, rounding = lengths[row], 0.0  # atoms are no longer than 1
            for i in range(size):
                weight = code[row, i] * scales[slots[i]]
                weights[i] = np.float32(weight)
                mass += abs(code[row, i])
                rounding += abs(weight)
            line[:] = first[row]
            _subtract(line, gram, slots, weights)
            # int16 rounds by half a unit; float32 products of `dim` terms, and sums of `size`, by their count
            slack = 0.51 * rounding + 1.01 * (dim + size + 8) * 2.0**-24 * mass
            best = _best_atom(line, slack, residual[row], D, taken)
            active[row] = False
            if best < 0:
                break
            vector = D[best].astype(np.float64)
            length = np.sqrt(_dot(vector, vector))
            column[:] = 0.0
            left = _orthogonalise(vector, basis[row, :size], column)
            if left <= _DEPENDENT * length:
                break
            vector /= left
            part = _dot(vector, residual[row])
            for j in range(dim):
                residual[row, j] -= part * vector[j]
            triangle[row, :size, size] = column[:size]
            triangle[row, size, size] = left
            chosen[row, size], basis[row, size], along[size] = best, vector, part
            sizes[row] = size + 1
            _solve(triangle[row], along, size + 1, code[row])
            solved = np.sqrt(_dot(residual[row], residual[row])) <= _SOLVED * lengths[row]
            active[row] = not solved and size + 1 < k
