"""Whether a map that was found without a dictionary holds translations: MUSE's criterion beside chance."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from align.mapping.bilingual import BilingualMap
from align.mapping.refinement import csls_sweep, muse_refinement
from align.normalize import unit

# On word vectors where refined true maps had a criterion of 0.45 and 0.46, refined random rotations reached
# 0.36 and 0.37, and differed by 0.001.
_MIN_GAIN, _N_RANDOM = 1.1, 2


def refine_and_judge(
    X: NDArray[np.floating],
    Y: NDArray[np.floating],
    W: NDArray[np.float64],
    *,
    method: str,
    history: tuple[float, ...],
    options: Mapping[str, object],
    interrupted: bool,
    n_refinement: int,
    max_rank: int,
    k: int,
    seed: int,
) -> BilingualMap:
    """Refine a map that was found without a dictionary, and tell whether it holds translations.

    Parameters
    ----------
    X : ndarray, shape (n_src, src_dim)
    Y : ndarray, shape (n_tgt, tgt_dim)
    W : ndarray, shape (src_dim, tgt_dim)
    method, history, options
        For the result.
    interrupted : bool
        Whether a KeyboardInterrupt ended the search for W.
    n_refinement, max_rank, k, seed
        As in :func:`align.mapping.adversarial.adversarial`.

    Returns
    -------
    BilingualMap
        ``converged`` is False, with a warning and a ``failure`` among ``options``, if the criterion of the
        refined map (``criterion``) is not a tenth above what the same refinement makes of random rotations
        (``chance``). An interrupted map is refined, but not judged.
    """
    X, Y = (np.ascontiguousarray(rows[:max_rank], np.float32) for rows in (X, Y))
    refined = _refined(X, Y, W, n_refinement, k)
    reached = translation_cosine(X, Y, refined.src_matrix, k=k)[0]
    chance, reason = 0.0, "interrupted" if interrupted else ""
    if not interrupted:
        rng = np.random.default_rng(seed)
        for _ in range(_N_RANDOM):
            other = np.linalg.svd(rng.standard_normal(W.shape), full_matrices=False)
            random = _refined(X, Y, other[0] @ other[2], n_refinement, k)
            chance = max(chance, translation_cosine(X, Y, random.src_matrix, k=k)[0])
        if reached < _MIN_GAIN * chance:
            reason = f"translations have a mean cosine of {reached:.3f}, those of a random map {chance:.3f}"
            warnings.warn(f"{method} mapping failed: {reason}", UserWarning, stacklevel=3)
    facts = {
        "n_refinement": n_refinement,
        "max_rank": max_rank,
        "k": k,
        "seed": seed,
        "criterion": reached,
        "chance": chance,
        "failure": reason,
    }
    return BilingualMap(
        refined.src_matrix,
        None,
        method,
        refined.n_pairs,
        converged=not reason,
        n_iter=len(history),
        history=history,
        options={**options, **facts},
    )


def translation_cosine(
    X: NDArray[np.floating], Y: NDArray[np.floating], W: NDArray[np.floating], *, k: int = 10
) -> tuple[float, NDArray[np.int64]]:
    """MUSE's criterion of a map without a dictionary, and the pairs behind it.

    Parameters
    ----------
    X, Y : ndarray, shape (n_src, src_dim) and (n_tgt, tgt_dim)
        The frequent words.
    W : ndarray, shape (src_dim, tgt_dim)
    k : int
        Neighbours of CSLS.

    Returns
    -------
    criterion : float
        Mean cosine of every mapped source row with its best translation by CSLS.
    pairs : ndarray of int64, shape (n_mutual, 2)
        The mutual ones.
    """
    with threadpool_limits(1, user_api="blas"):
        M = unit((X @ W.astype(X.dtype)).astype(np.float32))
    N = unit(np.asarray(Y, np.float32))
    found = csls_sweep(M, N, k=k)
    return float(np.einsum("ij,ij->i", M, N[found.forward], dtype=np.float64).mean()), found.mutual


def _refined(
    X: NDArray[np.float32], Y: NDArray[np.float32], W: NDArray[np.float64], n_refinement: int, k: int
) -> BilingualMap:
    pairs = translation_cosine(X, Y, W, k=k)[1] if n_refinement else np.empty((0, 2), np.int64)
    if len(pairs) == 0:
        return BilingualMap(W, None, "muse", 0)
    return muse_refinement(X, Y, pairs, n_refinement=n_refinement - 1, max_rank=len(X), k=k)
