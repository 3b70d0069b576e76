"""Rows drawn from a distribution over the old rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from align.errors import InputError

Kind = Literal["normal", "multivariate", "isotropic"]
_BLOCK = 64  # keys multiplied together; BLAS rounds a row differently in products of other heights
_STD_BLOCK = 4096


@dataclass(frozen=True)
class Sampling:
    """Distribution of a plan's sampled rows.

    Its statistics are those of the matrix it is applied to, over all rows or over those of a row's group.

    Parameters
    ----------
    kind : {"normal", "multivariate", "isotropic"}
        Independent dimensions; the full covariance (Hewitt 2021); or N(0, scale**2), whatever the old rows.
    scale : float
        Factor on the standard deviation; 0 gives the mean row itself. For ``"isotropic"`` the standard
        deviation.
    seed : int
        Seed of all streams. Each row has a stream of its own, keyed by the row, so adding or removing other
        rows leaves it as it is.
    rank : int, optional
        Of ``"multivariate"``: draw along so many leading principal axes of the old rows only, which is to
        draw in the space of a matrix factorisation of that rank, the mean row apart.
    """

    kind: Kind = "normal"
    scale: float = 1.0
    seed: int = 0
    rank: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise InputError("unknown distribution", got=self.kind, wanted=" or ".join(get_args(Kind)))
        if not (np.isfinite(self.scale) and self.scale >= 0):
            raise InputError("the scale of a distribution", got=self.scale, wanted="a finite number >= 0")
        if self.seed < 0:
            raise InputError("the seed of a distribution", got=self.seed, wanted="an integer >= 0")
        if self.rank is not None and (self.rank < 1 or self.kind != "multivariate"):
            raise InputError(
                "the rank of a distribution",
                got=f"{self.rank} of {self.kind}",
                wanted="1 or more, of multivariate",
            )


def grouped_rows(
    old: NDArray[Any],
    sampling: Sampling,
    keys: NDArray[np.int64],
    groups: NDArray[np.int32],
    src_groups: NDArray[np.int32],
) -> NDArray[Any]:
    """Draw one row a key from the old rows of its group; group -1 is all of them.

    Parameters
    ----------
    old : ndarray, shape (n_src, dim) or (n_src,)
    keys : ndarray of int64, shape (n,)
    groups : ndarray of int32, shape (n,)
    src_groups : ndarray of int32, shape (n_src,)

    Returns
    -------
    ndarray, shape (n, dim) or (n,), float64
    """
    out = np.empty((len(keys), *old.shape[1:]))
    for group in np.unique(groups):
        rows = groups == group
        out[rows] = sampled_rows(old if group < 0 else old[src_groups == group], sampling, keys[rows])
    return out


def sampled_rows(old: NDArray[Any], sampling: Sampling, keys: NDArray[np.int64]) -> NDArray[Any]:
    """Draw one row a key.

    Parameters
    ----------
    old : ndarray, shape (n_src, dim) or (n_src,)
        Old rows. For one dimension (a bias) the mean of the distribution is returned for every key.
    keys : ndarray of int64, shape (n,)

    Returns
    -------
    ndarray, shape (n, dim) or (n,), float64

    Notes
    -----
    O(n_src * dim) for ``normal``, O((n_src + n) * dim**2 + dim**3) for ``multivariate``, where BLAS is held
    to one thread and multiplies fixed blocks of keys, so that a row's bits depend on neither the thread count
    nor the other keys.
    """
    mean = old.mean(axis=0, dtype=np.float64)
    if sampling.kind == "isotropic":
        mean = np.zeros_like(mean)
    if old.ndim == 1:
        return np.full(len(keys), mean)
    dim = old.shape[1]
    if sampling.scale == 0:
        return np.broadcast_to(mean, (len(keys), dim)).copy()
    if sampling.kind == "isotropic":
        return sampling.scale * _noise(keys, dim, sampling.seed)
    if sampling.kind == "normal":
        noise = _noise(keys, dim, sampling.seed) * _deviation(old, mean)
        return mean + sampling.scale * noise
    with threadpool_limits(limits=1):
        centred = old.astype(np.float64) - mean
        values, vectors = np.linalg.eigh(centred.T @ centred / max(len(old) - 1, 1))
        factor = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
        factor = factor[-min(sampling.rank or dim, dim) :]  # eigenvalues rise
        noise = np.empty((len(keys), dim))
        blocks, block_of = np.unique(keys // _BLOCK, return_inverse=True)
        for i, block in enumerate(blocks):
            rows = np.flatnonzero(block_of == i)
            whole = _noise(block * _BLOCK + np.arange(_BLOCK), len(factor), sampling.seed) @ factor
            noise[rows] = whole[keys[rows] - block * _BLOCK]
    return mean + sampling.scale * noise


def _deviation(old: NDArray[Any], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviation of each dimension, block by block: numpy's own would copy the matrix twice."""
    squares = np.zeros_like(mean)
    for start in range(0, len(old), _STD_BLOCK):
        squares += np.square(old[start : start + _STD_BLOCK] - mean).sum(axis=0)
    return np.sqrt(squares / len(old))


def _noise(keys: NDArray[np.int64], dim: int, seed: int) -> NDArray[np.float64]:
    """Standard normal rows, each from the stream of its key."""
    noise = np.empty((len(keys), dim))
    for i, key in enumerate(keys):
        bits = np.random.Philox(key=seed, counter=[0, 0, int(key), 0])
        np.random.Generator(bits).standard_normal(out=noise[i])
    return noise
