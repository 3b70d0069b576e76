"""Mapping two spaces without any dictionary, from vectors alone."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from align.mapping.bilingual import BilingualMap
from align.mapping.distributions import distribution_pairs
from align.mapping.refinement import csls_sweep
from align.mapping.self_learning import Progress, dictionary, self_learning

# Measured on small-corpus vectors: on English-Spanish a run shares 0.55 of its pairs with one that started
# from equal strings; on English-German two runs that fail share 0.015. Turned copies share nearly all.
_MIN_AGREEMENT = 0.3


def unsupervised(
    X: NDArray[np.floating],
    Y: NDArray[np.floating],
    *,
    cutoff: int = 20_000,
    early_cutoff: int | None = None,
    init_cutoff: int = 4000,
    k: int = 10,
    interval: int = 50,
    exponent: float = 0.5,
    runs: int = 2,
    seed: int = 0,
    progress: Progress | None = None,
) -> BilingualMap:
    """Self-learning from the distributions of similarities, more than once, so that failure shows.

    Artetxe, Labaka and Agirre (2018), "A robust self-learning method for fully unsupervised cross-lingual
    mappings of word embeddings", ACL. The fixed point that it ends in looks the same to it whether the pairs
    are translations or not. But wrong ones are many and depend on which candidates were dropped by chance,
    so runs that differ only in that are compared: translations are what they agree on.

    Parameters
    ----------
    X : ndarray, shape (n_src, src_dim)
    Y : ndarray, shape (n_tgt, tgt_dim)
        Normalised rows (unit length last), most frequent words first.
    cutoff, early_cutoff, k, interval, exponent
        As in :func:`align.mapping.self_learning.self_learning`.
    init_cutoff : int
        Words of each side for :func:`align.mapping.distributions.distribution_pairs`.
    runs : int
        With one there is nothing to compare, and failure goes unseen.
    seed : int
        Runs take this and the following numbers.
    progress : callable, optional
        Called with the iteration, counted from 1 over all runs, and its objective.

    Returns
    -------
    BilingualMap
        Of the run with the best objective. ``options`` say the ``agreement`` of the runs: the least share of
        a run's mutual pairs that the best run has too. Below 0.3 ``converged`` is False, ``failure`` says
        so, and so does a warning. After a KeyboardInterrupt it is the best map so far.

    Raises
    ------
    InputError
        For NaN or infinity.
    """
    seeds = dictionary(distribution_pairs(X, Y, cutoff=init_cutoff, k=k), "union")
    results: list[BilingualMap] = []
    done = 0

    def report(iteration: int, objective: float) -> None:
        if progress is not None:
            progress(done + iteration, objective)

    for run in range(runs):
        results.append(
            self_learning(
                X,
                Y,
                seeds,
                cutoff=cutoff,
                early_cutoff=early_cutoff,
                k=k,
                interval=interval,
                exponent=exponent,
                trusted=False,
                seed=seed + run,
                progress=report,
            )
        )
        done += results[-1].n_iter
        if not results[-1].converged:
            break
    best = max(results, key=lambda result: float(str(result.options["objective"])))
    reason = next((str(result.options["failure"]) for result in results if not result.converged), "")
    agreement = 1.0
    if not reason and runs > 1:
        found = [_keys(result, X, Y, cutoff) for result in results]
        own = found[results.index(best)]
        agreement = min(float(np.isin(other, own).mean()) for other in found)
        if agreement < _MIN_AGREEMENT:
            reason = f"runs agree on {agreement:.0%} of their pairs, wanted {_MIN_AGREEMENT:.0%}"
            warnings.warn(f"unsupervised mapping failed: {reason}", UserWarning, stacklevel=2)
    return replace(
        best,
        method="unsupervised",
        converged=not reason,
        options={**best.options, "runs": len(results), "agreement": agreement, "failure": reason},
    )


def _keys(
    result: BilingualMap, X: NDArray[np.floating], Y: NDArray[np.floating], cutoff: int
) -> NDArray[np.int64]:
    """The mutual pairs of a map, one number each."""
    pairs = csls_sweep(result.map_src(X[:cutoff]), result.map_tgt(Y[:cutoff])).mutual
    return pairs @ np.array([len(Y), 1])
