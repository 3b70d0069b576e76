"""Which tokens overlap: those that begin with a token, and the largest ones inside it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray


def overlapping(surfaces: Sequence[bytes], known: NDArray[np.bool_]) -> sp.csr_array:
    """For each other token the known ones that begin with it, and the largest known ones inside it.

    Of the known tokens inside a token those count that are not inside another of them. Tokens without bytes
    overlap nothing.

    Parameters
    ----------
    surfaces : sequence of bytes, length n
        The tokens' bytes in running text (``Vocabulary.surfaces``).
    known : ndarray of bool, shape (n,)

    Returns
    -------
    csr_array of float64, shape (n, n)
        1 where the token of the row, which is not known, overlaps that of the column, which is.

    Notes
    -----
    A lookup for each start of a known token, and for each place in the others and length of a known one: time
    grows with the number of tokens, not with its square.
    """
    of: tuple[dict[bytes, list[int]], dict[bytes, list[int]]] = {}, {}
    for token, surface in enumerate(surfaces):
        if surface:
            of[int(known[token])].setdefault(surface, []).append(token)
    others, owners = of
    rows: list[int] = []
    cols: list[int] = []

    def overlap(one: bytes, other: bytes) -> None:
        for row in others[one]:
            rows.extend([row] * len(owners[other]))
            cols.extend(owners[other])

    for surface in owners:
        for stop in range(1, len(surface)):
            if surface[:stop] in others:
                overlap(surface[:stop], surface)
    sizes = sorted({len(surface) for surface in owners}, reverse=True)
    for surface in others:
        for piece in _largest(surface, owners, sizes):
            overlap(surface, piece)
    entries = np.array(rows, np.int64), np.array(cols, np.int64)
    return sp.csr_array((np.ones(len(rows)), entries), shape=(len(surfaces), len(surfaces)))


def _largest(surface: bytes, known: Collection[bytes], sizes: Sequence[int]) -> set[bytes]:
    """Known substrings that are not inside another one; `sizes` are the lengths they have, falling."""
    found: list[bytes] = []
    reach = 0
    for start in range(len(surface)):
        # what ends by `reach` is inside a piece that began before
        for size in sizes:
            stop = start + size
            if stop <= reach:
                break
            if stop <= len(surface) and surface[start:stop] in known:
                found.append(surface[start:stop])
                reach = stop
                break
    pieces = set(found)
    return {piece for piece in pieces if not any(piece in other for other in pieces if other != piece)}
