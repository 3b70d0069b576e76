"""Rows drawn from a distribution over the old rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from align.errors import InputError

Kind = Literal["normal", "multivariate"]


@dataclass(frozen=True)
class Sampling:
    """Distribution of a plan's sampled rows; its statistics are those of the matrix it is applied to.

    Parameters
    ----------
    kind : {"normal", "multivariate"}
        Independent dimensions, or the full covariance (Hewitt 2021).
    scale : float
        Factor on the standard deviation; 0 gives the mean row itself.
    seed : int
        Seed of all streams. Each row has a stream of its own, keyed by the row, so adding or removing other
        rows leaves it as it is.
    """

    kind: Kind = "normal"
    scale: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise InputError("unknown distribution", got=self.kind, wanted=" or ".join(get_args(Kind)))
        if not (np.isfinite(self.scale) and self.scale >= 0):
            raise InputError("the scale of a distribution", got=self.scale, wanted="a finite number >= 0")


def sampled_rows(old: NDArray[Any], sampling: Sampling, keys: NDArray[np.int64]) -> NDArray[Any]:
    """Draw one row a key.

    Parameters
    ----------
    old : ndarray, shape (n_src, dim) or (n_src,)
        Old rows. For one dimension (a bias) the mean is returned for every key.
    keys : ndarray of int64, shape (n,)

    Returns
    -------
    ndarray, shape (n, dim) or (n,), float64

    Notes
    -----
    O(n_src * dim) for ``normal``, O(n_src * dim**2 + dim**3) for ``multivariate``, where BLAS is held to one
    thread so that the bits do not depend on the thread count.
    """
    mean = old.mean(axis=0, dtype=np.float64)
    if old.ndim == 1:
        return np.full(len(keys), mean)
    dim = old.shape[1]
    if sampling.scale == 0:
        return np.broadcast_to(mean, (len(keys), dim)).copy()
    noise = np.empty((len(keys), dim))
    for i, key in enumerate(keys):
        bits = np.random.Philox(key=sampling.seed, counter=[0, 0, int(key), 0])
        np.random.Generator(bits).standard_normal(out=noise[i])
    if sampling.kind == "normal":
        noise *= old.std(axis=0, dtype=np.float64)
    else:
        with threadpool_limits(limits=1):
            centred = old.astype(np.float64) - mean
            values, vectors = np.linalg.eigh(centred.T @ centred / max(len(old) - 1, 1))
            noise = noise @ (np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T)
    return mean + sampling.scale * noise
