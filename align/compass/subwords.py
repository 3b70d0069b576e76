"""Rows that make up a word: its own, and those its character n-grams share by their hash (fastText)."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_OFFSET, _PRIME, _MASK = 2166136261, 16777619, 0xFFFFFFFF


def subword_rows(
    words: Sequence[str], *, min_n: int, max_n: int, n_buckets: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Rows of every word in a matrix of ``len(words) + n_buckets`` rows.

    N-grams are of characters of ``<word>``, its ends included, but for the lone ``<`` and ``>``.

    Returns
    -------
    starts : int64 array, shape (n_words + 1,)
    rows : int32 array
        Word i has ``rows[starts[i] : starts[i + 1]]``: i, then its n-grams' from ``len(words)`` on.

    References
    ----------
    Bojanowski et al. 2017, "Enriching Word Vectors with Subword Information", section 3.2.
    """
    known: dict[str, int] = {"<": -1, ">": -1}
    rows, starts = array("i"), array("q", [0])
    for number, word in enumerate(words):
        rows.append(number)
        whole = f"<{word}>"
        for left in range(len(whole)):
            for right in range(left + min_n, min(left + max_n, len(whole)) + 1):
                gram = whole[left:right]
                bucket = known.get(gram)
                if bucket is None:
                    bucket = known[gram] = _hash(gram) % n_buckets
                if bucket >= 0:
                    rows.append(len(words) + bucket)
        starts.append(len(rows))
    return np.frombuffer(starts, np.int64), np.frombuffer(rows, np.int32)


def _hash(gram: str) -> int:
    # FNV-1a; fastText extends the sign of a byte before the exclusive or
    value = _OFFSET
    for byte in gram.encode("utf-8", "surrogatepass"):
        value = ((value ^ (byte | 0xFFFFFF00 if byte >= 128 else byte)) * _PRIME) & _MASK
    return value


def mean_rows(
    matrix: NDArray[np.float32], starts: NDArray[np.int64], rows: NDArray[np.int32]
) -> NDArray[np.float32]:
    """The vector of every word: the mean of its rows."""
    out = np.empty((len(starts) - 1, matrix.shape[1]), np.float32)
    block = 1 << 12
    for first in range(0, len(out), block):
        stop = min(first + block, len(out))
        part = matrix[rows[starts[first] : starts[stop]]]
        sums = np.add.reduceat(part, starts[first:stop] - starts[first], axis=0)
        out[first:stop] = sums / np.diff(starts[first : stop + 1])[:, None]
    return out
