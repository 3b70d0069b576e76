"""The result of every linear mapping method."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from align.errors import InputError
from align.mapping.bilingual import BilingualMap
from align.short_repr import short_repr


@dataclass(frozen=True, eq=False)
class LinearMap:
    """A linear map between two spaces, ``X @ matrix ~ Y``, and how it was found.

    Parameters
    ----------
    matrix : ndarray of float64, shape (src_dim, tgt_dim)
    method : str
        Name of the method that fitted it.
    n_pairs : int
        Pairs of rows it was fitted on.
    residual : float
        Root of the weighted mean squared length of ``x @ matrix - y`` over those pairs, relative to that of
        ``y``: 0 is a perfect fit.
    converged : bool
    n_iter : int
    history : tuple of float
        The objective, iteration by iteration; empty for methods in closed form.
    """

    matrix: NDArray[np.float64]
    method: str
    n_pairs: int
    residual: float
    converged: bool = True
    n_iter: int = 1
    history: tuple[float, ...] = ()

    __repr__ = short_repr

    def __call__(self, rows: NDArray[np.floating]) -> NDArray[np.floating]:
        """Map rows of the source space, shape (n, src_dim), keeping their dtype.

        Raises
        ------
        InputError
            If their width is not that of the map.
        """
        if rows.ndim != 2 or rows.shape[1] != len(self.matrix):
            raise InputError("rows do not fit the map", got=rows.shape, wanted=f"(n, {len(self.matrix)})")
        with threadpool_limits(1, user_api="blas"):  # the same bits for any number of threads
            return rows @ self.matrix.astype(rows.dtype)

    def bilingual(self) -> BilingualMap:
        """The same map as a pair: the target side stays as it is."""
        return BilingualMap(
            self.matrix,
            None,
            self.method,
            self.n_pairs,
            converged=self.converged,
            n_iter=self.n_iter,
            history=self.history,
        )
