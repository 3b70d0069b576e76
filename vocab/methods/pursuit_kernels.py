"""Kernels of :mod:`vocab.methods.pursuit`: one row's pursuit from atom to atom."""

from __future__ import annotations

import numba as nb
import numpy as np
from numpy.typing import NDArray

from vocab.methods.pursuit_products import LOW, drop, pack, products, proposed, round_weights
from vocab.methods.pursuit_vnni import COLUMNS, ROWS, dot, subtract_four

_CHUNK = 8  # rows that share buffers
_MANY = 64  # proposals worth another pass with the second bytes
_SOLVED = 1e-12  # of a row's squared length: what float32 rows leave of an exact code
_NEARLY = 1e-6
_DEPENDENT = 1e-12  # of an atom's squared length


@nb.njit(cache=True)
def _dot(x: NDArray[np.float64], y: NDArray[np.float32]) -> float:
    """Of vectors whose size is a multiple of 32."""
    return dot(x.ctypes.data, y.ctypes.data, x.size // 32)


@nb.njit(cache=True)
def _best(
    atoms: NDArray[np.int64],
    line: NDArray[np.float32],
    slack: float,
    residual: NDArray[np.float64],
    D: NDArray[np.float32],
    taken: NDArray[np.int64],
) -> int:
    """The atom with the largest exact product, the lowest among equals; -1 where all are 0.

    The one proposed first goes first: it rules most others out.
    """
    first = atoms[0]
    for atom in atoms:
        if abs(line[atom]) > abs(line[first]):
            first = atom
    best, top = -1, abs(_dot(residual, D[first]))
    if top > 0.0:
        best = first
    for atom in atoms:
        if np.float64(abs(line[atom])) + slack < top or atom == first:
            continue
        product = abs(_dot(residual, D[atom]))
        if product > top or (product == top and atom < best):
            free = True
            for other in taken:
                free = free and other != atom
            if free:
                best, top = atom, product
    return best


@nb.njit(cache=True, fastmath={"reassoc", "contract"})
def _inner(x: NDArray[np.float64], y: NDArray[np.float64], n: int) -> float:
    total = 0.0
    for i in range(n):
        total += x[i] * y[i]
    return total


@nb.njit(cache=True)
def _append(
    triangle: NDArray[np.float64], size: int, column: NDArray[np.float64], length_squared: float
) -> float:
    """Cholesky's next row from the atom's products with those chosen; squared length of what is new in it."""
    left = length_squared
    for i in range(size):
        value = column[i] - _inner(triangle[i], column, i)
        column[i] = value / triangle[i, i]
        left -= column[i] * column[i]
    return left


@nb.njit(cache=True)
def _solve(
    triangle: NDArray[np.float64], along: NDArray[np.float64], size: int, code: NDArray[np.float64]
) -> None:
    """``triangle[:size, :size].T @ code = along``, from the last to the first."""
    code[:size] = along[:size]
    for i in range(size - 1, -1, -1):
        code[i] /= triangle[i, i]
        value = code[i]
        for j in range(i):
            code[j] -= triangle[i, j] * value


@nb.njit(cache=True)
def _leave(
    x: NDArray[np.float32],
    D: NDArray[np.float32],
    taken: NDArray[np.int64],
    code: NDArray[np.float64],
    residual: NDArray[np.float64],
) -> None:
    """``residual = x - code @ D[taken]``, four atoms at a time."""
    residual[:] = x
    base, step = D.ctypes.data, D.shape[1] * 4
    for i in range(0, taken.size, 4):
        n = min(4, taken.size - i)
        b, c, d = (
            (taken[i + 1] if n > 1 else 0),
            (taken[i + 2] if n > 2 else 0),
            (taken[i + 3] if n > 3 else 0),
        )
        subtract_four(
            base + taken[i] * step,
            base + b * step,
            base + c * step,
            base + d * step,
            code[i],
            code[i + 1] if n > 1 else 0.0,
            code[i + 2] if n > 2 else 0.0,
            code[i + 3] if n > 3 else 0.0,
            residual.ctypes.data,
            residual.size // 8,
        )


@nb.njit(cache=True)
def _advance_rows(
    start: int,
    stop: int,
    first: NDArray[np.float32],
    X: NDArray[np.float32],
    D: NDArray[np.float32],
    common: NDArray[np.float32],
    gram: NDArray[np.uint8],
    scales: NDArray[np.float32],
    slot_of: NDArray[np.int64],
    chosen: NDArray[np.int64],
    triangle: NDArray[np.float64],
    along: NDArray[np.float64],
    code: NDArray[np.float64],
    residual: NDArray[np.float64],
    lengths: NDArray[np.float64],
    sizes: NDArray[np.int64],
    active: NDArray[np.bool_],
) -> None:
    k, dim = chosen.shape[1], D.shape[1]
    n_blocks, n_groups = gram.shape[2] // COLUMNS, (k + ROWS - 1) // ROWS
    packed = np.empty((2, n_blocks, n_groups, COLUMNS * ROWS), np.uint8)
    high, low = np.zeros(n_groups * ROWS, np.int8), np.zeros(n_groups * ROWS, np.int8)
    line, nothing = np.empty(n_blocks * COLUMNS, np.float32), np.zeros(n_blocks * COLUMNS, np.float32)
    maxima, weights = np.empty(n_blocks, np.float32), np.empty(k)
    column, vector = np.empty(k), np.empty(dim)
    few, every = np.empty(_MANY, np.int64), np.empty(0, np.int64)
    for row in range(start, stop):
        n_packed, n_second = 0, 0
        while active[row]:
            size = sizes[row]
            taken = chosen[row, :size]
            slots = slot_of[taken]
            if size and slots[size - 1] < 0:
                break
            mass, rounding, shift = lengths[row], 0.0, 0.0  # atoms are no longer than 1
            for i in range(size):
                weights[i] = code[row, i] * np.float64(scales[slots[i]])
                mass += abs(code[row, i])
                rounding += abs(weights[i])
                shift += code[row, i] * np.float64(common[taken[i]])
            for group in range(n_packed // ROWS, (size + ROWS - 1) // ROWS):
                pack(gram, slots, 0, group, packed[0])
            n_packed = size
            unit = round_weights(weights[:size], high, low)
            products(packed[0], high, low, size, first[row], common, line, np.float32(shift), unit, maxima)
            drop(line, taken, maxima)
            # float32 products of `dim` terms and what is done to them; half a unit of each weight
            exact = 1.01 * (dim + 64) * 2.0**-24 * mass + 65.0 * size * np.float64(unit)
            slack = 0.51 * rounding + exact  # a byte rounds by half a unit
            floor = np.float64(maxima.max()) - 2.0 * slack
            n = proposed(line, maxima, floor, len(D), few)
            if n > _MANY:
                for group in range(n_second // ROWS, (size + ROWS - 1) // ROWS):
                    pack(gram, slots, 1, group, packed[1])
                n_second = size
                second = np.float32(np.float64(unit) / LOW)
                products(packed[1], high, low, size, line, nothing, line, np.float32(0.0), second, maxima)
                drop(line, taken, maxima)
                slack = 0.51 * rounding / LOW + 1.01 * exact
                floor = np.float64(maxima.max()) - 2.0 * slack
                n = proposed(line, maxima, floor, len(D), few)
            if n > _MANY:
                every = np.empty(n, np.int64)
                proposed(line, maxima, floor, len(D), every)
                atoms = every
            else:
                atoms = few[:n]
            best = atoms[0]
            if n > 1 or floor <= 0.0:
                _leave(X[row], D, taken, code[row], residual[row])
                best = _best(atoms, line, slack, residual[row], D, taken)
            fresh = best >= 0
            if fresh:
                vector[:] = D[best]
                for i in range(size):
                    column[i] = _dot(vector, D[taken[i]])
                length_squared = _dot(vector, D[best])
                left = _append(triangle[row], size, column, length_squared)
                fresh = left > _DEPENDENT * length_squared
            if fresh:
                left = np.sqrt(left)
                product = _dot(vector, X[row]) - _inner(column, along[row], size)
                triangle[row, size, :size], triangle[row, size, size] = column[:size], left
                chosen[row, size], along[row, size] = best, product / left
                size += 1
                sizes[row] = size
                _solve(triangle[row], along[row], size, code[row])
                explained = _inner(along[row], along[row], size)
                whole = lengths[row] * lengths[row]
                if whole - explained <= _NEARLY * whole:  # too near for this difference
                    _leave(X[row], D, chosen[row, :size], code[row], residual[row])
                    fresh = _inner(residual[row], residual[row], dim) > _SOLVED * whole
            active[row] = fresh and size < k
            if not active[row]:
                _leave(X[row], D, chosen[row, :size], code[row], residual[row])


@nb.njit(cache=True, parallel=True)
def advance(
    first: NDArray[np.float32],
    X: NDArray[np.float32],
    D: NDArray[np.float32],
    common: NDArray[np.float32],
    gram: NDArray[np.uint8],
    scales: NDArray[np.float32],
    slot_of: NDArray[np.int64],
    chosen: NDArray[np.int64],
    triangle: NDArray[np.float64],
    along: NDArray[np.float64],
    code: NDArray[np.float64],
    residual: NDArray[np.float64],
    lengths: NDArray[np.float64],
    sizes: NDArray[np.int64],
    active: NDArray[np.bool_],
) -> None:
    """Take every active row as far as there are Gram rows; one that is done becomes inactive.

    A row goes on alone, not in step with the others: its Gram rows are read again for every atom and
    stay in the cache.
    """
    for chunk in nb.prange((len(X) + _CHUNK - 1) // _CHUNK):
        _advance_rows(
            chunk * _CHUNK,
            min((chunk + 1) * _CHUNK, len(X)),
            first,
            X,
            D,
            common,
            gram,
            scales,
            slot_of,
            chosen,
            triangle,
            along,
            code,
            residual,
            lengths,
            sizes,
            active,
        )
