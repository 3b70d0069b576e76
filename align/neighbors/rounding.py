"""Rows in 8 bits, packed in the order in which the tiles of :mod:`~align.neighbors.vnni` read them."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass

import numba as nb
import numpy as np
from numpy.typing import NDArray

from align.neighbors.kernels import dot
from align.neighbors.vnni import N_CANDIDATES, N_QUERIES

_PACKED_ROWS = N_CANDIDATES * 64


@dataclass(frozen=True, eq=False)
class Packed:
    """Candidates in 8 bits, in the order in which the tiles read them.

    Parameters
    ----------
    codes : ndarray of uint8, shape (n_panels, n_steps, 48, 4)
        Integers plus 128; dimensions in groups of four.
    scales : ndarray of float32, shape (48 n_panels,)
    residuals, lengths : ndarray of float64, shape (48 n_panels,)
        ``|y - y'|`` and ``|y'|``; NaN residuals for the rows that fill the last panel.
    error : float
        Of a float32 inner product with any of them, over the other row's length, at most.
    """

    codes: NDArray[np.uint8]
    scales: NDArray[np.float32]
    residuals: NDArray[np.float64]
    lengths: NDArray[np.float64]
    error: float


def gamma(n: int) -> float:
    """Relative error of a float32 inner product of n terms, however it is summed.

    ``|fl(x.y) - x.y| <= g |x|.|y| <= g ||x|| ||y||`` with ``g = n u / (1 - n u)``, ``u = 2^-24`` (Higham,
    "Accuracy and Stability of Numerical Algorithms", section 3.1).
    """
    return n * 2.0**-24 / (1 - n * 2.0**-24)


def product_error(C: NDArray[np.float32]) -> float:
    """Bound of the error of a float32 inner product with any row, over the other row's length."""
    longest = float(np.sqrt(np.einsum("ij,ij->i", C, C, dtype=np.float64).max(initial=0.0)))
    return gamma(C.shape[1] + 1) * longest


def aligned(shape: tuple[int, ...], dtype: type) -> NDArray:
    """Uninitialised array at a multiple of 64 bytes, so that no vector load crosses a cache line."""
    n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.empty(n_bytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + n_bytes].view(dtype).reshape(shape)


def pack(C: NDArray[np.float32], pool: Executor) -> Packed:
    """Candidates rounded to 8 bits; memory is that of the result, ``dim + 20`` bytes a row."""
    n_panels, n_steps = -(-len(C) // N_CANDIDATES), -(-C.shape[1] // 4)
    codes = aligned((n_panels, n_steps, N_CANDIDATES, 4), np.uint8)
    scales = np.zeros(n_panels * N_CANDIDATES, np.float32)
    residuals, lengths = np.full(len(scales), np.nan), np.zeros(len(scales))
    done = []
    for start in range(0, len(C), _PACKED_ROWS):
        rows = slice(start, start + _PACKED_ROWS)
        panels = codes[start // N_CANDIDATES : (start + _PACKED_ROWS) // N_CANDIDATES]
        done.append(
            pool.submit(_pack_candidates, C[rows], panels, scales[rows], residuals[rows], lengths[rows])
        )
    for part in done:
        part.result()
    return Packed(codes, scales, residuals, lengths, product_error(C))


@nb.njit(cache=True, nogil=True)
def _round_row(
    row: NDArray[np.float32], codes: NDArray[np.int8]
) -> tuple[np.float32, float, float, np.int64]:
    """Fill the codes of one row; its scale, residual, rounded length and the sum of the codes."""
    largest = np.float32(0)
    for value in row:
        largest = max(largest, abs(value))
    scale = np.float32(largest / np.float32(127))
    if scale == 0:
        codes[:] = 0
        return np.float32(0), 0.0, 0.0, np.int64(0)
    inverse = 1 / np.float64(scale)
    residual, length, total = 0.0, np.int64(0), np.int64(0)
    for i in range(row.size):
        code = min(max(np.rint(row[i] * inverse), -127.0), 127.0)
        rest = row[i] - np.float64(scale) * code
        residual += rest * rest
        codes[i] = np.int8(code)
        length += np.int64(code) * np.int64(code)
        total += np.int64(code)
    # the sums are of float64: a millionth of a millionth is more than their rounding
    return scale, np.sqrt(residual) * (1 + 1e-9), scale * np.sqrt(length) * (1 + 1e-9), total


@nb.njit(cache=True, nogil=True)
def _pack_candidates(
    C: NDArray[np.float32],
    packed: NDArray[np.uint8],
    scales: NDArray[np.float32],
    residuals: NDArray[np.float64],
    lengths: NDArray[np.float64],
) -> None:
    codes = np.empty(C.shape[1], np.int8)
    packed[:] = 128
    for row in range(C.shape[0]):
        scales[row], residuals[row], lengths[row], _ = _round_row(C[row], codes)
        panel, lane = row // N_CANDIDATES, row % N_CANDIDATES
        for i in range(codes.size):
            packed[panel, i // 4, lane, i % 4] = np.uint8(np.int16(codes[i]) + 128)


@nb.njit(cache=True, nogil=True)
def pack_queries(
    Q: NDArray[np.float32],
    shrink: bool,
    packed: NDArray[np.int8],
    starts: NDArray[np.int32],
    scales: NDArray[np.float32],
    shrinks: NDArray[np.float64],
) -> tuple[float, float, float]:
    """Pack one block; the largest length, residual and rounded length of its rows.

    Without a bias the order does not change where a query is divided by its length. Bounds of a block are
    those of its worst row, and rows of one length have about the same.
    """
    codes = np.empty(Q.shape[1], np.int8)
    packed[:] = 0
    starts[:], scales[:], shrinks[:] = 0, 0, 1
    longest = worst = largest = 0.0
    for row in range(Q.shape[0]):
        scale, residual, length, total = _round_row(Q[row], codes)
        full = np.sqrt(dot(Q[row], Q[row])) * (1 + 1e-9)
        if shrink and full > 0:
            shrinks[row] = 1 / full
        starts[row] = -128 * total  # candidates' codes are 128 too large
        scales[row] = scale * shrinks[row]
        longest = max(longest, full * shrinks[row])
        worst = max(worst, residual * shrinks[row])
        largest = max(largest, length * shrinks[row])
        for i in range(codes.size):
            packed[row // N_QUERIES, i // 4, row % N_QUERIES, i % 4] = codes[i]
    return longest * (1 + 1e-9), worst * (1 + 1e-9), largest * (1 + 1e-9)
