"""Products of all atoms with four residuals, from rows of the Gram matrix in bytes."""

from __future__ import annotations

import numba as nb
import numpy as np
from numpy.typing import NDArray

from align.neighbors.vnni import available
from vocab.methods.pursuit.vectors import STEPS, leaf
from vocab.methods.pursuit.vnni import COLUMNS, PANEL, ROWS, interleave, place, subtract_rows

byte_place = nb.njit(cache=True)(place)

LOW = 254.0  # a row's second byte counts in this part of its first
_HIGHEST = 16256  # weights are whole numbers up to it: two signed bytes, the high one times 128


@nb.njit(cache=True, nogil=True)
def keep(
    products: NDArray[np.float32],
    common: NDArray[np.float32],
    atoms: NDArray[np.int64],
    slots: NDArray[np.int64],
    rows: NDArray[np.uint8],
    scales: NDArray[np.float32],
) -> None:
    """Round ``products - common[atoms] common`` to two bytes, in place of the products.

    An atom's product with itself is never used, and would coarsen the rest.
    """
    for i in range(len(atoms)):
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
        row[0, byte_place(j)] = np.uint8(np.int32(high) + 128)
        row[1, byte_place(j)] = np.uint8(np.int32(np.rint((ratio - high) * np.float32(LOW))) + 128)


@leaf()
def pack(
    rows: NDArray[np.uint8],
    slots: NDArray[np.int64],
    size: int,
    plane: int,
    group: int,
    packed: NDArray[np.uint32],
) -> None:
    """Rows ``slots[4 group : 4 group + 4]`` side by side; any row stands where there are fewer."""
    first, last = group * ROWS, size - 1
    plane_size, row_size = rows.shape[2], rows.shape[1] * rows.shape[2]
    base = rows.ctypes.data + plane * plane_size
    a = base + slots[first] * row_size
    b = base + slots[min(first + 1, last)] * row_size
    c = base + slots[min(first + 2, last)] * row_size
    d = base + slots[min(first + 3, last)] * row_size
    step = packed.shape[1] * PANEL * ROWS
    out = packed.ctypes.data + group * PANEL * ROWS
    for _block in range(plane_size // COLUMNS):
        interleave(a, b, c, d, out, step)
        a, b, c, d = a + COLUMNS, b + COLUMNS, c + COLUMNS, d + COLUMNS
        out += 2 * step


@leaf()
def products_vnni(
    packed: NDArray[np.uint32],
    n_groups: int,
    weights: NDArray[np.int8],
    starts: NDArray[np.int32],
    line: NDArray[np.float32],
    common: NDArray[np.float32],
    out: NDArray[np.float32],
    shifts: NDArray[np.float32],
    units: NDArray[np.float32],
    floors: NDArray[np.float32],
    flags: NDArray[np.uint16],
) -> None:
    """``out[t] = line - shifts[t] common - units[t] weights[t] @ rows`` for four t, of `n_groups` groups.

    Bit i of ``flags[t, v]`` says whether the magnitude of ``out[t, 16 v + i]`` reaches ``floors[t]``.
    """
    subtract_rows(
        packed.ctypes.data,
        len(packed),
        packed.shape[1] * PANEL * ROWS,
        n_groups,
        weights.ctypes.data,
        weights.shape[2],
        starts.ctypes.data,
        line.ctypes.data,
        common.ctypes.data,
        out.ctypes.data,
        out.shape[1] * 4,
        shifts.ctypes.data,
        units.ctypes.data,
        floors.ctypes.data,
        flags.ctypes.data,
        flags.shape[1] * 2,
    )


@nb.njit(cache=True)
def products_plain(
    packed: NDArray[np.uint32],
    n_groups: int,
    weights: NDArray[np.int8],
    starts: NDArray[np.int32],
    line: NDArray[np.float32],
    common: NDArray[np.float32],
    out: NDArray[np.float32],
    shifts: NDArray[np.float32],
    units: NDArray[np.float32],
    floors: NDArray[np.float32],
    flags: NDArray[np.uint16],
) -> None:
    """The same for processors without these instructions; the last digits may differ."""
    for panel in range(len(packed)):
        for t in range(STEPS):
            # whole numbers first stand where their result will
            sums = out[t, panel * PANEL : (panel + 1) * PANEL].view(np.int32)
            for j in range(PANEL):
                sums[j] = starts[t]
            for group in range(n_groups):
                words = packed[panel, group]
                for i in range(ROWS):
                    weight = np.int32(128) * np.int32(weights[t, 0, group * ROWS + i])
                    weight += np.int32(weights[t, 1, group * ROWS + i])
                    shift = np.uint32(8 * i)
                    for j in range(PANEL):
                        sums[j] += weight * np.int32((words[j] >> shift) & np.uint32(255))
            for j in range(PANEL):
                at = panel * PANEL + j
                out[t, at] = line[at] - shifts[t] * common[at] - units[t] * np.float32(sums[j])
                if j % 16 == 0:
                    flags[t, at // 16] = 0
                if abs(out[t, at]) >= floors[t]:
                    flags[t, at // 16] |= np.uint16(1 << (j % 16))


# the numbers are finite; the order of these sums and largest ones does not matter
@leaf(fastmath={"reassoc", "contract", "nnan", "nsz"})
def round_weights(
    values: NDArray[np.float64],
    size: int,
    t: int,
    weights: NDArray[np.int8],
    starts: NDArray[np.int32],
    units: NDArray[np.float32],
) -> None:
    """Weights of step t as ``units[t] (128 high + low)``; those past `size` become 0."""
    largest = 1e-30
    for i in range(size):
        largest = max(largest, abs(values[i]))
    n = weights.shape[2]
    # sums of all weights times 128 must remain 32-bit numbers
    unit = np.float32(largest / min(_HIGHEST, 2**30 // (128 * n)))
    inverse, total = 1.0 / np.float64(unit), np.int32(0)
    high, low = weights[t, 0], weights[t, 1]
    for i in range(size):
        whole = np.int32(np.rint(values[i] * inverse))
        upper = (whole + np.int32(64)) >> np.int32(7)
        high[i] = upper
        low[i] = whole - (upper << np.int32(7))
        total += whole
    for i in range(size, n):
        high[i] = 0
        low[i] = 0
    starts[t], units[t] = np.int32(-128) * total, unit


# chosen here, because a kernel cannot be compiled with instructions that the processor lacks
products = products_vnni if available() else products_plain
