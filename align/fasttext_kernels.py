"""Kernels of fastText models: the dictionary of a file, strings found in it, means of n-grams' rows."""

from __future__ import annotations

import numba as nb
import numpy as np
from numpy.typing import NDArray

_FNV_OFFSET, _FNV_PRIME = np.uint32(2166136261), np.uint32(16777619)


@nb.njit(cache=True)
def _hash(text: NDArray[np.uint8], start: int, stop: int) -> np.uint32:
    """fastText's FNV-1a: each byte is sign-extended before the exclusive or."""
    value = _FNV_OFFSET
    for i in range(start, stop):
        byte = np.uint32(text[i])
        if byte >= 128:
            byte |= np.uint32(0xFFFFFF00)
        value = np.uint32((value ^ byte) * _FNV_PRIME)
    return value


@nb.njit(cache=True)
def scan_dictionary(
    data: NDArray[np.uint8], start: int, n_entries: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Where each entry begins and how long its string is; the last start is where the dictionary ends.

    A length of -1 in the last place says that the file ended first.
    """
    starts, lengths = np.empty(n_entries + 1, np.int64), np.empty(n_entries + 1, np.int64)
    counts = np.empty(n_entries, np.int64)
    at = start
    for entry in range(n_entries):
        starts[entry] = at
        while at < data.size and data[at] != 0:
            at += 1
        if at + 10 > data.size:
            lengths[n_entries] = -1
            return starts, lengths, counts
        lengths[entry] = at - starts[entry]
        count = np.uint64(0)
        for byte in range(8):
            count |= np.uint64(data[at + 1 + byte]) << np.uint64(8 * byte)
        counts[entry] = np.int64(count)
        at += 10  # the zero byte, an int64 count, an int8 type
    starts[n_entries], lengths[n_entries] = at, 0
    return starts, lengths, counts


@nb.njit(cache=True)
def build_table(
    data: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64], n_words: int, n_slots: int
) -> NDArray[np.int32]:
    """Open-addressing hash table from string to word id; -1 is a free slot."""
    slots = np.full(n_slots, -1, np.int32)
    for word in range(n_words):
        slot = _hash(data, starts[word], starts[word] + lengths[word]) % n_slots
        while slots[slot] >= 0:
            slot = (slot + 1) % n_slots
        slots[slot] = word
    return slots


@nb.njit(cache=True)
def find_strings(
    data: NDArray[np.uint8],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    slots: NDArray[np.int32],
    text: NDArray[np.uint8],
    bounds: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Word id of every string ``text[bounds[i]:bounds[i + 1]]``, -1 where it is not in the vocabulary."""
    found = np.full(bounds.size - 1, -1, np.int64)
    for i in range(found.size):
        begin, length = bounds[i], bounds[i + 1] - bounds[i]
        slot = _hash(text, begin, begin + length) % slots.size
        while slots[slot] >= 0:
            word = slots[slot]
            if lengths[word] == length:
                same = True
                for j in range(length):
                    if data[starts[word] + j] != text[begin + j]:
                        same = False
                        break
                if same:
                    found[i] = word
                    break
            slot = (slot + 1) % slots.size
    return found


@nb.njit(cache=True, parallel=True)
def mean_rows(
    matrix: NDArray[np.float32],
    word_ids: NDArray[np.int64],
    whole: NDArray[np.bool_],
    text: NDArray[np.uint8],
    bounds: NDArray[np.int64],
    n_words: int,
    n_buckets: int,
    min_n: int,
    max_n: int,
) -> NDArray[np.float32]:
    """Mean of the word's row and its n-grams' rows; ``text`` holds the strings as ``<word>``.

    ``whole`` marks strings that have no n-grams (the end-of-sentence symbol).
    """
    n, dim = word_ids.size, matrix.shape[1]
    out = np.zeros((n, dim), np.float32)
    for i in nb.prange(n):
        rows = 0
        if word_ids[i] >= 0:
            for d in range(dim):
                out[i, d] += matrix[word_ids[i], d]
            rows += 1
        begin, stop = bounds[i], bounds[i + 1]
        first = begin if not whole[i] else stop
        for left in range(first, stop):
            if (text[left] & 0xC0) == 0x80:  # inside a character
                continue
            right, n_chars = left, 1
            while right < stop and n_chars <= max_n:
                right += 1
                while right < stop and (text[right] & 0xC0) == 0x80:
                    right += 1
                if n_chars >= min_n and not (n_chars == 1 and (left == begin or right == stop)):
                    row = n_words + np.int64(_hash(text, left, right) % np.uint32(n_buckets))
                    for d in range(dim):
                        out[i, d] += matrix[row, d]
                    rows += 1
                n_chars += 1
        for d in range(dim):
            out[i, d] /= np.float32(max(rows, 1))
    return out
