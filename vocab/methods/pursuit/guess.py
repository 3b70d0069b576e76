"""Which atoms a pursuit will probably choose next, from rounded numbers; every guess is verified later."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vocab.methods.pursuit.algebra import add_squares, combine
from vocab.methods.pursuit.products import byte_place, products, round_weights
from vocab.methods.pursuit.state import SHORT, Dictionary, Scratch
from vocab.methods.pursuit.vectors import STEPS, fetch, leaf, listed, reaching
from vocab.methods.pursuit.vnni import PANEL, ROWS

_WANTED, _FEWEST = 48, 20


@leaf()
def copy(source: NDArray[np.float64], n: int, target: NDArray[np.float64]) -> None:
    """``target[:n] = source[:n]``, without the question whether they overlap."""
    for i in range(n):
        target[i] = source[i]


@leaf()
def free_columns(
    line: NDArray[np.float32],
    floor: float,
    position: NDArray[np.int32],
    size: int,
    out: NDArray[np.int32],
) -> int:
    """Columns of atoms not among the first `size` chosen whose magnitudes reach the floor; how many."""
    found = reaching(line.ctypes.data, np.float32(floor), out.ctypes.data, line.size // 16)
    n = 0
    for i in range(found):
        column = out[i]
        if position[column] >= size:
            out[n] = column
            n += 1
    return n


@leaf()
def flagged(flags: NDArray[np.uint16], position: NDArray[np.int32], size: int, out: NDArray[np.int32]) -> int:
    """The same from the flags of a line."""
    found = listed(flags.ctypes.data, out.ctypes.data, flags.size // 32)
    n = 0
    for i in range(found):
        column = out[i]
        if position[column] >= size:
            out[n] = column
            n += 1
    return n


@leaf()
def shortlist(
    n: int,
    line: NDArray[np.float32],
    position: NDArray[np.int32],
    size: int,
    floor: float,
    work: Scratch,
) -> tuple[int, int, int, float, float]:
    """Fill ``work.atoms`` with the largest.

    ``work.columns[:n]`` are those that reach the floor, unless n is -1. Returns how many there are then, how
    many are in the list, the largest, the floor that was needed, and one to begin with next time.
    """
    columns = work.columns
    if n < 0:
        n = free_columns(line, floor, position, size, columns)
    while n < _FEWEST and floor > 0.0:
        floor = 0.8 * floor if floor > 1e-9 else 0.0
        n = free_columns(line, floor, position, size, columns)
    first, top = -1, np.float32(-1.0)
    for i in range(n):
        value = abs(line[columns[i]])
        if value > top:
            first, top = int(columns[i]), value
    needed, low, high, fewer = floor, floor, np.float64(top), n
    if n > SHORT:
        for _halving in range(12):
            floor, fewer = 0.5 * (low + high), 0
            for i in range(n):
                if abs(line[columns[i]]) >= floor:
                    fewer += 1
            if fewer > SHORT:
                low = floor
            elif fewer < _FEWEST:
                high = floor
            else:
                break
    count = 0
    for i in range(n):
        if count < SHORT and abs(line[columns[i]]) >= floor:
            work.atoms[count] = columns[i]
            count += 1
    # the next line is a little smaller; its tail falls about as the seventh power
    aim = floor * (0.97 + 0.1 * min(max((fewer - _WANTED) / _WANTED, -1.0), 1.0))
    return n, count, first, needed, aim


@leaf()
def grow_inverse(
    inverse: NDArray[np.float32],
    code: NDArray[np.float64],
    codes: NDArray[np.float64],
    size: int,
    n: int,
    squares: NDArray[np.float64],
    work: Scratch,
) -> None:
    """The inverse of the chosen atoms' products with `n` more, of which `squares` are new.

    The codes without an atom and with it tell how the others make up for it.
    """
    width = inverse.shape[1]
    for t in range(STEPS):
        row, last = work.grown[t], size + t
        for i in range(width):
            row[i] = 0.0
        if t < n:
            for i in range(last):
                before = code[i] if t == 0 else codes[t - 1, i]
                row[i] = (before - codes[t, i]) / codes[t, last]
            row[last] = -1.0
        for i in range(size + n):
            work.factors[i, t] = row[i] / squares[t]
    add_squares(
        inverse.ctypes.data, 4 * width, size + n, work.factors.ctypes.data, work.grown.ctypes.data,
        (size + n + 15) // 16,
    )  # fmt: skip


@leaf()
def guess(
    best: int,
    n: int,
    line: NDArray[np.float32],
    size: int,
    most: int,
    chosen: NDArray[np.int64],
    packed: NDArray[np.uint32],
    inverse: NDArray[np.float32],
    scale: NDArray[np.float64],
    shared: NDArray[np.float64],
    words: Dictionary,
    work: Scratch,
) -> int:
    """Fill ``chosen[size : size + most]`` with `best` and those that will probably follow; how many.

    Pursuit goes on among the `n` atoms of the shortlist alone, with their rounded products.
    """
    n_groups = (size + ROWS - 1) // ROWS
    at = -1
    for i in range(n):
        if work.atoms[i] == best:
            at = i
    if at < 0:
        at = min(n, SHORT - 1)
        work.atoms[at], n = best, at + 1
    for i in range(n):
        atom = work.atoms[i]
        work.left[i], work.common[i] = line[atom], words.common[atom]
        work.places[i] = byte_place(atom)
        for group in range(n_groups):
            work.packed[i // PANEL, group, i % PANEL] = packed[atom // PANEL, group, atom % PANEL]
    for step in range(most):
        atom = work.atoms[at]
        chosen[size + step] = atom
        width = words.D.shape[1]
        fetch(words.D.ctypes.data + 4 * width * atom, width // 16)
        slot = words.slot_of[atom]
        if step == most - 1 or slot < 0:
            return step + 1
        own, unit = work.common[at], words.scales[slot]
        row = words.gram[slot, 0]
        new = work.new[step]
        for i in range(n):
            new[i] = 0.0
        if size:
            shift = np.float32(0.0)
            for group in range(n_groups):
                word = work.packed[at // PANEL, group, at % PANEL]
                for i in range(4 * group, min(4 * group + 4, size)):
                    byte = np.int32(word & np.uint32(255)) - 128
                    word >>= np.uint32(8)
                    work.column[i] = scale[i] * byte + shared[i] * own
            combine(
                work.column.ctypes.data, size, inverse.ctypes.data, 4 * inverse.shape[1],
                work.solved.ctypes.data, (size + 31) // 32,
            )  # fmt: skip
            for i in range(size):
                shift += work.solved[i] * np.float32(shared[i])
                work.scaled[i] = work.solved[i] * scale[i]
            round_weights(work.scaled, size, 0, work.weights, work.starts, work.units)
            work.shifts[0] = shift
            products(
                work.packed, n_groups, work.weights, work.starts, work.nothing, work.common, work.out,
                work.shifts, work.units, work.floors, work.flags,
            )  # fmt: skip
            copy(work.out[0], n, new)
        for i in range(n):
            byte = np.int32(row[work.places[i]]) - 128
            new[i] += unit * np.float32(byte) + own * work.common[i]
        # an atom's product with itself is not among the bytes
        new[at] += words.squares[atom] - own * own
        for earlier in range(step):
            past = work.new[earlier]
            factor = past[at]
            for i in range(n):
                new[i] -= factor * past[i]
        square = new[at]
        if not square > np.float32(1e-3) * words.squares[atom]:
            return step + 1
        inverse_root = np.float32(1.0) / np.sqrt(square)
        factor = work.left[at] * inverse_root
        for i in range(n):
            new[i] *= inverse_root
            work.left[i] -= factor * new[i]
        work.picked[step] = at
        for i in range(step + 1):
            work.left[work.picked[i]] = np.float32(0.0)
        at = 0
        for i in range(n):
            if abs(work.left[i]) > abs(work.left[at]):
                at = i
        if work.left[at] == np.float32(0.0):
            return step + 1
    return most
