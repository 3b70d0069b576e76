"""Rows that are mixed from very many old rows, as a product of two thin matrices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from align.errors import InputError
from align.threads import workers

_BLOCK_ROWS = 1024  # rows multiplied at a time


@dataclass(frozen=True, eq=False)
class LowRank:
    """Weights that no one could write out: ``W[rows][:, anchors] = left @ right.T``.

    New rows are ``left @ (right.T @ E[anchors])`` and cost the rank instead of the number of anchors.

    Parameters
    ----------
    rows : ndarray of int64, shape (n_rows,)
        New ids, rising.
    left : ndarray of float32, shape (n_rows, rank)
    anchors : ndarray of int64, shape (n_anchors,)
        Old ids; they are put in order, and the right factors of one that is given twice add up.
    right : ndarray of float32, shape (n_anchors, rank)

    Raises
    ------
    InputError
        For shapes that do not fit, ids that are not as said, or values that are not finite.
    """

    rows: NDArray[np.int64]
    left: NDArray[np.float32]
    anchors: NDArray[np.int64]
    right: NDArray[np.float32]

    def __post_init__(self) -> None:
        for name, dtype in (("rows", np.int64), ("anchors", np.int64), ("left", "f4"), ("right", "f4")):
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name), dtype))
        shapes = (self.left.shape, self.right.shape)
        wanted = tuple((len(ids), self.left.shape[-1]) for ids in (self.rows, self.anchors))
        if shapes != wanted:
            raise InputError("the factors of a low-rank part do not fit its rows", got=shapes, wanted=wanted)
        if (np.diff(self.rows) <= 0).any():
            raise InputError("the rows of a low-rank part do not rise")
        if (np.diff(self.anchors) <= 0).any():
            anchors, first, position = np.unique(self.anchors, return_index=True, return_inverse=True)
            right = self.right[first]
            again = np.ones(len(position), bool)
            again[first] = False
            np.add.at(right, position[again], self.right[again])
            object.__setattr__(self, "anchors", anchors)
            object.__setattr__(self, "right", right)
        if not (np.isfinite(self.left).all() and np.isfinite(self.right).all()):
            raise InputError("a low-rank part holds factors that are not finite", wanted="finite float32")

    def check(self, n_tgt: int, n_src: int) -> None:
        """Raise an :class:`InputError` for ids outside a plan of this size."""
        for ids, size, what in ((self.rows, n_tgt, "new"), (self.anchors, n_src, "old")):
            if len(ids) and not 0 <= ids.min() <= ids.max() < size:
                raise InputError(
                    f"a low-rank part of {what} rows that the plan lacks",
                    got=f"{ids.min()} to {ids.max()}",
                    wanted=f"0 to {size - 1}",
                )

    def add_to(self, new: NDArray[Any], old: NDArray[Any]) -> None:
        """Add this part's rows, of ``old`` rows, to ``new``.

        Time ``2 (n_rows + n_anchors) rank dim`` operations, memory blocks of 1024 rows a thread. Old rows are
        summed in float64: where there are many of either sign that nearly cancel, float32 would lose digits.
        The rank is small, so the new rows are then products in their own dtype. Each product runs in one
        thread and blocks do not depend on the number of threads that share them, nor do the bits.
        """
        with workers() as pool:
            core = np.zeros((self.left.shape[1], *old.shape[1:]))
            for block in _blocks(len(self.anchors)):
                core += self.right[block].astype(np.float64).T @ old[self.anchors[block]].astype(np.float64)
            core = core.astype(new.dtype)

            def add(block: slice) -> None:
                new[self.rows[block]] += self.left[block].astype(new.dtype, copy=False) @ core

            list(pool.map(add, _blocks(len(self.rows))))

    def add_weights(self, weights: NDArray[np.float64], rows: NDArray[np.int64]) -> None:
        """Add the weights of some new rows, written out, to an array of shape (len(rows), n_src)."""
        where = np.minimum(np.searchsorted(self.rows, rows), max(len(self.rows) - 1, 0))
        found = np.flatnonzero(self.rows[where] == rows) if len(self.rows) else np.empty(0, np.int64)
        with threadpool_limits(1, user_api="blas"):
            left = self.left[where[found]].astype(np.float64)
            for block in _blocks(len(self.anchors)):
                part = left @ self.right[block].astype(np.float64).T
                weights[found[:, None], self.anchors[block]] += part

    def sums(self) -> NDArray[np.float64]:
        """Sum of each row's weights, shape (n_rows,)."""
        total = self.right.sum(axis=0, dtype=np.float64)
        with threadpool_limits(1, user_api="blas"):
            parts = [self.left[block].astype(np.float64) @ total for block in _blocks(len(self.rows))]
        return np.concatenate(parts) if parts else np.empty(0)

    def scaled(self, share: NDArray[np.floating[Any]]) -> LowRank | None:
        """Row *i* of the plan times ``share[i]``, without the rows whose share is 0; None if all are."""
        factor = share[self.rows]
        if (factor == 1).all():
            return self if len(self.rows) else None
        kept = np.flatnonzero(factor)
        if not len(kept):
            return None
        left = self.left[kept] * factor[kept, None].astype(np.float32)
        return LowRank(self.rows[kept], left, self.anchors, self.right)

    def same_as(self, other: LowRank) -> bool:
        """Whether all four arrays are equal."""
        return self is other or all(
            np.array_equal(getattr(self, name), getattr(other, name))
            for name in ("rows", "anchors", "left", "right")
        )


def _blocks(n: int) -> Iterator[slice]:
    return (slice(start, min(start + _BLOCK_ROWS, n)) for start in range(0, n, _BLOCK_ROWS))
