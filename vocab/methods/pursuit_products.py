"""Products of all atoms with a residual, from rows of the Gram matrix in bytes, and those worth scoring."""

from __future__ import annotations

import numba as nb
import numpy as np
from numpy.typing import NDArray

from align.neighbors.vnni import available
from vocab.methods.pursuit_vnni import COLUMNS, ROWS, interleave, place, subtract_rows

_place = nb.njit(cache=True)(place)

LOW = 254.0  # a row's second byte counts in this part of its first
_HIGHEST = 16256.0  # weights are whole numbers up to it: two signed bytes, the high one times 128


@nb.njit(cache=True, parallel=True)
def keep(
    products: NDArray[np.float32],
    common: NDArray[np.float32],
    atoms: NDArray[np.int64],
    slots: NDArray[np.int64],
    rows: NDArray[np.uint8],
    scales: NDArray[np.float32],
) -> None:
    """Round ``products - common[atoms] common`` to two bytes.

    An atom's product with itself is never used, and would coarsen the rest.
    """
    for i in nb.prange(len(atoms)):
        _keep_row(products[i], common, atoms[i], rows[slots[i]], scales[slots[i] : slots[i] + 1])


@nb.njit(cache=True)
def _keep_row(
    line: NDArray[np.float32],
    common: NDArray[np.float32],
    atom: int,
    row: NDArray[np.uint8],
    scale: NDArray[np.float32],
) -> None:
    largest = np.float32(0.0)
    for j in range(line.size):
        line[j] -= common[atom] * common[j]
        if j != atom:
            largest = max(largest, abs(line[j]))
    line[atom] = np.float32(0.0)
    scale[0] = max(largest, np.float32(1e-30)) / np.float32(127.0)
    inverse = np.float32(1.0) / scale[0]
    for j in range(line.size):
        ratio = line[j] * inverse
        high = np.rint(ratio)
        row[0, _place(j)] = np.uint8(np.int32(high) + 128)
        row[1, _place(j)] = np.uint8(np.int32(np.rint((ratio - high) * np.float32(LOW))) + 128)
    for j in range(line.size, row.shape[1]):
        row[:, _place(j)] = 128


@nb.njit(cache=True)
def pack(
    rows: NDArray[np.uint8], slots: NDArray[np.int64], plane: int, group: int, packed: NDArray[np.uint8]
) -> None:
    """Rows ``slots[4 group : 4 group + 4]`` side by side; any row stands where there are fewer."""
    first = group * ROWS
    last = slots.size - 1
    plane_size, row_size = rows.shape[2], rows.shape[1] * rows.shape[2]
    base = rows.ctypes.data + plane * plane_size
    a = base + slots[first] * row_size
    b = base + slots[min(first + 1, last)] * row_size
    c = base + slots[min(first + 2, last)] * row_size
    d = base + slots[min(first + 3, last)] * row_size
    step = packed.shape[1] * COLUMNS * ROWS
    out = packed.ctypes.data + group * COLUMNS * ROWS
    for _block in range(len(packed)):
        interleave(a, b, c, d, out)
        a, b, c, d, out = a + COLUMNS, b + COLUMNS, c + COLUMNS, d + COLUMNS, out + step


@nb.njit(cache=True)
def products_vnni(
    packed: NDArray[np.uint8],
    high: NDArray[np.int8],
    low: NDArray[np.int8],
    size: int,
    line: NDArray[np.float32],
    common: NDArray[np.float32],
    out: NDArray[np.float32],
    shift: np.float32,
    unit: np.float32,
    maxima: NDArray[np.float32],
) -> None:
    """``out = line - shift common - unit (128 high + low) @ rows``, and its largest magnitude by block."""
    n_groups = (size + ROWS - 1) // ROWS
    high_start, low_start = np.int32(0), np.int32(0)
    for i in range(n_groups * ROWS):
        high_start -= np.int32(128) * np.int32(high[i])
        low_start -= np.int32(128) * np.int32(low[i])
    at, step = packed.ctypes.data, packed.shape[1] * COLUMNS * ROWS
    highs, lows = high.ctypes.data, low.ctypes.data
    lines, commons, outs = line.ctypes.data, common.ctypes.data, out.ctypes.data
    for block in range(len(packed)):
        offset = 4 * COLUMNS * block
        maxima[block] = subtract_rows(
            at + block * step,
            highs,
            lows,
            n_groups,
            high_start,
            low_start,
            lines + offset,
            commons + offset,
            outs + offset,
            shift,
            unit,
        )


@nb.njit(cache=True)
def products_plain(
    packed: NDArray[np.uint8],
    high: NDArray[np.int8],
    low: NDArray[np.int8],
    size: int,
    line: NDArray[np.float32],
    common: NDArray[np.float32],
    out: NDArray[np.float32],
    shift: np.float32,
    unit: np.float32,
    maxima: NDArray[np.float32],
) -> None:
    """The same for processors without these instructions; the last digits may differ."""
    n_groups = (size + ROWS - 1) // ROWS
    sums = np.empty(COLUMNS * ROWS, np.int32)
    for block in range(len(packed)):
        sums[:] = 0
        for group in range(n_groups):
            cells, first = packed[block, group], group * ROWS
            weights = np.empty(ROWS, np.int32)
            for i in range(ROWS):
                weights[i] = np.int32(128) * np.int32(high[first + i]) + np.int32(low[first + i])
            for j in range(COLUMNS):
                for i in range(ROWS):
                    sums[j * ROWS + i] += weights[i] * (np.int32(cells[j * ROWS + i]) - np.int32(128))
        largest = np.float32(0.0)
        for j in range(COLUMNS):
            at = block * COLUMNS + j
            total = np.int64(0)
            for i in range(ROWS):
                total += sums[j * ROWS + i]
            out[at] = line[at] - shift * common[at] - unit * np.float32(total)
            largest = max(largest, abs(out[at]))
        maxima[block] = largest


@nb.njit(cache=True)
def round_weights(weights: NDArray[np.float64], high: NDArray[np.int8], low: NDArray[np.int8]) -> np.float32:
    """Weights in units of the result: ``128 high + low``; what lies beyond them becomes 0."""
    largest = 1e-30
    for weight in weights:
        largest = max(largest, abs(weight))
    unit = np.float32(largest / _HIGHEST)
    high[weights.size :], low[weights.size :] = 0, 0
    for i in range(weights.size):
        whole = np.int32(np.rint(weights[i] / np.float64(unit)))
        upper = (whole + np.int32(64)) >> np.int32(7)
        high[i], low[i] = upper, whole - (upper << np.int32(7))
    return unit


@nb.njit(cache=True)
def drop(line: NDArray[np.float32], taken: NDArray[np.int64], maxima: NDArray[np.float32]) -> None:
    """Make the entries of chosen atoms 0, in the maxima too."""
    for atom in taken:
        block = atom // COLUMNS
        if abs(line[atom]) < maxima[block]:
            line[atom] = np.float32(0.0)
            continue
        line[atom] = np.float32(0.0)
        largest = np.float32(0.0)
        for entry in line[block * COLUMNS : (block + 1) * COLUMNS]:
            largest = max(largest, abs(entry))
        maxima[block] = largest


@nb.njit(cache=True)
def proposed(
    line: NDArray[np.float32], maxima: NDArray[np.float32], floor: float, n_atoms: int, out: NDArray[np.int64]
) -> int:
    """Atoms whose products reach the floor, as many as there is room for; how many there are."""
    n = 0
    for block in range(maxima.size):
        if maxima[block] >= floor:
            for j in range(block * COLUMNS, min((block + 1) * COLUMNS, n_atoms)):
                if abs(line[j]) >= floor:
                    if n < out.size:
                        out[n] = j
                    n += 1
    return n


# chosen here, because a kernel cannot be compiled with instructions that the processor lacks
products = products_vnni if available() else products_plain
