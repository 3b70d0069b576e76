"""Rows drawn from a distribution over the old rows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from align.errors import InputError
from align.threads import workers

Kind = Literal["normal", "multivariate", "isotropic"]
_BLOCK = 64  # keys multiplied together; BLAS rounds a row differently in products of other heights
_STD_BLOCK = 128  # rows whose squares stay in the cache
_STREAMS = 256  # rows drawn together: they stay in the cache


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


def draw_grouped(
    out: NDArray[Any],
    rows: NDArray[np.int64],
    old: NDArray[Any],
    sampling: Sampling,
    keys: NDArray[np.int64],
    groups: NDArray[np.int32],
    src_groups: NDArray[np.int32],
) -> None:
    """Fill rows of `out`, each drawn by its key from the old rows of its group; group -1 is all of them.

    Parameters
    ----------
    out : ndarray, shape (n_tgt, dim) or (n_tgt,)
    rows, keys : ndarray of int64, shape (n,)
    old : ndarray, shape (n_src, dim) or (n_src,)
    groups : ndarray of int32, shape (n,)
    src_groups : ndarray of int32, shape (n_src,)

    Notes
    -----
    Time that of :func:`sampled_rows`; memory for a few hundred rows a thread in float64, and a copy of a
    group's.
    """
    with workers() as threads:
        for group in np.unique(groups):
            members = np.flatnonzero(groups == group)
            pool = old if group < 0 else old[src_groups == group]
            _draw(out, rows[members], pool, sampling, keys[members], threads)


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
    O(n_src * dim) for ``normal``, O((n_src + n) * dim**2 + dim**3) for ``multivariate``. Threads share
    blocks of keys, which for ``multivariate`` are fixed ones: a row's bits depend on neither the number of
    threads nor the other keys.
    """
    out = np.empty((len(keys), *old.shape[1:]))
    with workers() as threads:
        _draw(out, np.arange(len(keys)), old, sampling, keys, threads)
    return out


def _draw(
    out: NDArray[Any],
    rows: NDArray[np.int64],
    old: NDArray[Any],
    sampling: Sampling,
    keys: NDArray[np.int64],
    threads: ThreadPoolExecutor,
) -> None:
    """Write each key's row where it belongs, a block at a time, which stays in the cache."""
    mean = old.mean(axis=0, dtype=np.float64)
    if sampling.kind == "isotropic":
        mean = np.zeros_like(mean)
    if old.ndim == 1 or sampling.scale == 0 or not len(keys):
        out[rows] = mean
        return
    dim = old.shape[1]
    if sampling.kind == "multivariate":
        factor = _factor(old, mean, sampling.rank or dim)

        def draw_along(some: NDArray[np.int64]) -> None:
            first = keys[some[0]] // _BLOCK * _BLOCK
            whole = _noise(first + np.arange(_BLOCK), len(factor), sampling.seed) @ factor
            out[rows[some]] = mean + sampling.scale * whole[keys[some] - first]

        order = np.argsort(keys // _BLOCK, kind="stable")
        ends = np.flatnonzero(np.diff(keys[order] // _BLOCK)) + 1
        list(threads.map(draw_along, np.split(order, ends)))
        return
    deviation = _deviation(old, mean) if sampling.kind == "normal" else None

    def draw(start: int) -> None:
        some = slice(start, start + _STREAMS)
        noise = _noise(keys[some], dim, sampling.seed)
        if deviation is not None:
            noise *= deviation
        noise *= sampling.scale
        noise += mean
        out[rows[some]] = noise

    list(threads.map(draw, range(0, len(keys), _STREAMS)))


def _factor(old: NDArray[Any], mean: NDArray[np.float64], rank: int) -> NDArray[np.float64]:
    """What noise is multiplied with to have the covariance of the old rows along its leading axes."""
    centred = old.astype(np.float64) - mean
    values, vectors = np.linalg.eigh(centred.T @ centred / max(len(old) - 1, 1))
    factor: NDArray[np.float64] = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    return factor[-min(rank, old.shape[1]) :]  # eigenvalues rise


def _deviation(old: NDArray[Any], mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviation of each dimension, block by block: numpy's own would copy the matrix twice."""
    squares = np.zeros_like(mean)
    for start in range(0, len(old), _STD_BLOCK):
        squares += np.square(old[start : start + _STD_BLOCK] - mean).sum(axis=0)
    return np.sqrt(squares / len(old))


def _noise(keys: NDArray[np.int64], dim: int, seed: int) -> NDArray[np.float64]:
    """Standard normal rows, each from the stream of its key."""
    noise = np.empty((len(keys), dim))
    bits = np.random.Philox(key=seed)  # a new one for each key would cost more than its numbers
    generator, state = np.random.Generator(bits), bits.state
    for i, key in enumerate(keys):
        state["state"]["counter"][2] = key
        bits.state = state
        generator.standard_normal(out=noise[i])
    return noise
