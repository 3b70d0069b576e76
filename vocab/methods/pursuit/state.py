"""What the kernels of :mod:`vocab.methods.pursuit.coding` work on."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vocab.methods.pursuit.vectors import STEPS
from vocab.methods.pursuit.vnni import PANEL, ROWS

SHORT = 64  # most atoms in a shortlist
KEPT = 128  # atoms whose scores are kept through a segment


def aligned(shape: tuple[int, ...], dtype: type) -> NDArray[Any]:
    """Zeros from an address that is a multiple of 64: no vector lies in two cache lines."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(dtype).reshape(shape)


class Dictionary(NamedTuple):
    """What all rows share; atoms are no longer than 1.

    Their products without the part along the mean atom, ``gram * scales``, and what they have of it,
    `common`; their own squared lengths.
    """

    D: NDArray[np.float32]
    squares: NDArray[np.float32]
    common: NDArray[np.float32]
    gram: NDArray[np.uint8]
    scales: NDArray[np.float32]
    slot_of: NDArray[np.int64]


class Scratch(NamedTuple):
    """Buffers of the guesses: numbers by atom of the shortlist, and by atom chosen."""

    atoms: NDArray[np.int64]
    picked: NDArray[np.int64]
    places: NDArray[np.int64]
    columns: NDArray[np.int32]
    packed: NDArray[np.uint32]
    line: NDArray[np.float32]
    nothing: NDArray[np.float32]
    common: NDArray[np.float32]
    left: NDArray[np.float32]
    new: NDArray[np.float32]
    out: NDArray[np.float32]
    weights: NDArray[np.int8]
    starts: NDArray[np.int32]
    shifts: NDArray[np.float32]
    units: NDArray[np.float32]
    floors: NDArray[np.float32]
    flags: NDArray[np.uint16]
    column: NDArray[np.float32]
    solved: NDArray[np.float32]
    scaled: NDArray[np.float64]
    grown: NDArray[np.float32]
    factors: NDArray[np.float32]


def scratch(n_columns: int, k: int) -> Scratch:
    """Buffers for so many columns of the Gram matrix and a code of k atoms."""
    n_groups, most = (k + ROWS - 1) // ROWS, (k + 31) // 32 * 32
    return Scratch(
        atoms=np.zeros(SHORT, np.int64),
        picked=np.zeros(STEPS, np.int64),
        places=np.zeros(SHORT, np.int64),
        columns=np.zeros(n_columns, np.int32),
        packed=aligned((SHORT // PANEL, n_groups, PANEL), np.uint32),
        line=aligned((SHORT,), np.float32),
        nothing=aligned((SHORT,), np.float32),
        common=aligned((SHORT,), np.float32),
        left=aligned((SHORT,), np.float32),
        new=aligned((STEPS, SHORT), np.float32),
        out=aligned((STEPS, SHORT), np.float32),
        weights=np.zeros((STEPS, 2, n_groups * ROWS), np.int8),
        starts=np.zeros(STEPS, np.int32),
        shifts=np.zeros(STEPS, np.float32),
        units=np.zeros(STEPS, np.float32),
        floors=np.zeros(STEPS, np.float32),
        flags=np.zeros((STEPS, SHORT // 16), np.uint16),
        column=aligned((most,), np.float32),
        solved=aligned((most,), np.float32),
        scaled=np.zeros(most),
        grown=aligned((STEPS, most), np.float32),
        factors=np.zeros((most, STEPS), np.float32),
    )


class State(NamedTuple):
    """What every row of a block has of its own: how far its pursuit has come."""

    first: NDArray[np.float32]
    X: NDArray[np.float32]
    chosen: NDArray[np.int64]
    triangle: NDArray[np.float64]
    inverse: NDArray[np.float32]
    along: NDArray[np.float64]
    code: NDArray[np.float64]
    lengths: NDArray[np.float64]
    left: NDArray[np.float64]
    sizes: NDArray[np.int64]
    active: NDArray[np.bool_]


class Work(NamedTuple):
    """Buffers of one row's pursuit; the last axis of `columns` and `factors` is the step."""

    packed: NDArray[np.uint32]
    lines: NDArray[np.float32]
    finer: NDArray[np.float32]
    nothing: NDArray[np.float32]
    weights: NDArray[np.int8]
    starts: NDArray[np.int32]
    shifts: NDArray[np.float32]
    units: NDArray[np.float32]
    fine_units: NDArray[np.float32]
    floors: NDArray[np.float32]
    flags: NDArray[np.uint16]
    slacks: NDArray[np.float64]
    position: NDArray[np.int32]
    slots: NDArray[np.int64]
    addresses: NDArray[np.int64]
    scale: NDArray[np.float64]
    shared: NDArray[np.float64]
    scaled: NDArray[np.float64]
    vectors: NDArray[np.float64]
    residuals: NDArray[np.float64]
    columns: NDArray[np.float64]
    with_row: NDArray[np.float64]
    along_old: NDArray[np.float64]
    inner: NDArray[np.float64]
    factors: NDArray[np.float64]
    codes: NDArray[np.float64]
    scores: NDArray[np.float64]
    squares: NDArray[np.float64]
    kept: NDArray[np.float64]
    kept_at: NDArray[np.int32]
    kept_atoms: NDArray[np.int64]
    found: NDArray[np.int32]
    n_found: NDArray[np.int64]


def buffers(n_columns: int, n_atoms: int, dim: int, k: int) -> Work:
    """Buffers for so many columns of the Gram matrix, atoms of a padded width, and codes of k atoms."""
    n_panels, n_groups = n_columns // PANEL, (k + ROWS - 1) // ROWS
    position = np.full(n_columns, k + 1, np.int32)
    position[n_atoms:] = -1
    return Work(
        packed=aligned((2, n_panels, n_groups, PANEL), np.uint32),
        lines=aligned((STEPS, n_columns), np.float32),
        finer=aligned((STEPS, n_columns), np.float32),
        nothing=aligned((n_columns,), np.float32),
        weights=np.zeros((STEPS, 2, n_groups * ROWS), np.int8),
        starts=np.zeros(STEPS, np.int32),
        shifts=np.zeros(STEPS, np.float32),
        units=np.zeros(STEPS, np.float32),
        fine_units=np.zeros(STEPS, np.float32),
        floors=np.zeros(STEPS, np.float32),
        flags=aligned((STEPS, -(-n_columns // 512) * 32), np.uint16),  # whole vector registers
        slacks=np.zeros(2 * STEPS),
        position=position,
        slots=np.zeros(k, np.int64),
        addresses=np.zeros(k, np.int64),
        scale=np.zeros(k),
        shared=np.zeros(k),
        scaled=np.zeros(k),
        vectors=aligned((STEPS, dim), np.float64),
        residuals=aligned((STEPS, dim), np.float64),
        columns=np.zeros((k, STEPS)),
        with_row=np.zeros(STEPS),
        along_old=np.zeros((k + STEPS, STEPS)),
        inner=np.zeros((STEPS + 1, STEPS)),
        factors=np.zeros((k, STEPS)),
        codes=np.zeros((STEPS, k)),
        scores=np.zeros(STEPS),
        squares=np.ones(STEPS),
        kept=np.zeros((KEPT, STEPS)),
        kept_at=np.full(n_columns, -1, np.int32),
        kept_atoms=np.zeros(KEPT, np.int64),
        found=np.zeros((STEPS, n_columns), np.int32),
        n_found=np.zeros(STEPS, np.int64),
    )
