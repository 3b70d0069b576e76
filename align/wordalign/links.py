"""Links of a whole bitext as arrays."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from align.errors import InputError


@dataclass(frozen=True, eq=False)
class Links:
    """Links by sentence pair; those of pair ``n`` are rows ``offsets[n]`` to ``offsets[n + 1] - 1``.

    Attributes
    ----------
    offsets : int64 array, shape (n_pairs + 1,)
    src, tgt : int32 arrays, shape (n_links,)
        Positions within the sentences, from 0, sorted by (src, tgt) within each pair.
    weights : float32 array, shape (n_links,)
        Posterior of each link; 1 where the source of the links gives none.
    """

    offsets: NDArray[np.int64]
    src: NDArray[np.int32]
    tgt: NDArray[np.int32]
    weights: NDArray[np.float32]

    @property
    def n_pairs(self) -> int:
        """Number of sentence pairs."""
        return len(self.offsets) - 1

    def pair(self, n: int) -> list[tuple[int, int]]:
        """Links of one sentence pair as (source position, target position)."""
        part = slice(self.offsets[n], self.offsets[n + 1])
        return list(zip(self.src[part].tolist(), self.tgt[part].tolist(), strict=True))

    def pharaoh(self) -> list[str]:
        """One line ``i-j i-j ...`` for each sentence pair."""
        return [" ".join(f"{i}-{j}" for i, j in self.pair(n)) for n in range(self.n_pairs)]

    @classmethod
    def from_pairs(
        cls,
        pair: NDArray[np.integer],
        src: NDArray[np.integer],
        tgt: NDArray[np.integer],
        weights: NDArray[np.floating] | None = None,
        *,
        n_pairs: int,
    ) -> Links:
        """Sort links given as (pair number, source position, target position) arrays."""
        order = np.lexsort((tgt, src, pair))
        offsets = np.zeros(n_pairs + 1, dtype=np.int64)
        np.cumsum(np.bincount(pair, minlength=n_pairs), out=offsets[1:])
        if weights is None:
            weights = np.ones(len(src))
        return cls(
            offsets,
            src[order].astype(np.int32),
            tgt[order].astype(np.int32),
            weights[order].astype(np.float32),
        )

    @classmethod
    def from_pharaoh(cls, lines: Iterable[str]) -> Links:
        """Read lines of ``i-j`` (and ``ipj``, possible links, which are taken too).

        Raises
        ------
        InputError
            At the first item that is not a link.
        """
        rows: list[tuple[int, int, int]] = []
        n_pairs = 0
        for n, line in enumerate(lines):
            n_pairs = n + 1
            for item in set(line.split()):
                i, _, j = item.replace("p", "-").partition("-")
                if not (i.isdecimal() and j.isdecimal()):
                    raise InputError("not a link", got=repr(item), wanted="i-j or ipj", where=f"line {n + 1}")
                rows.append((n, int(i), int(j)))
        array = np.array(rows, dtype=np.int64).reshape(-1, 3)
        return cls.from_pairs(array[:, 0], array[:, 1], array[:, 2], n_pairs=n_pairs)
