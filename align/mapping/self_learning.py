"""Self-learning: a map makes a dictionary, the dictionary makes a better map, until neither changes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from align.errors import UsageError
from align.mapping.bilingual import BilingualMap
from align.mapping.moments import check_pairs, cross_moment, pair_moments
from align.mapping.refinement import csls_sweep
from align.mapping.sweep import Sweep, sweep
from align.mapping.whitened import whitened_maps
from align.normalize import unit

# Of unrelated words one in thousands comes back; of the dictionaries of related spaces a fifth and more.
_MIN_SEEDS_FOUND, _MIN_MUTUAL = 0.03, 20
# The final map takes its last dictionaries from more words than most loops do.
_WIDER, _WIDER_ROUNDS = 12_000, 3

Direction = Literal["union", "forward", "backward", "mutual"]
Progress = Callable[[int, float], None]
Penalties = tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]


def self_learning(
    X: NDArray[np.floating],
    Y: NDArray[np.floating],
    pairs: NDArray[np.integer],
    *,
    cutoff: int = 20_000,
    early_cutoff: int | None = None,
    k: int = 10,
    keep: float = 0.1,
    interval: int = 50,
    tolerance: float = 1e-6,
    direction: Direction = "union",
    final: Literal["whitened", "orthogonal"] = "whitened",
    exponent: float = 0.5,
    max_iter: int = 5000,
    trusted: bool = True,
    seed: int = 0,
    progress: Progress | None = None,
) -> BilingualMap:
    """Map two spaces from a small or noisy dictionary that replaces itself.

    Artetxe, Labaka and Agirre (2018), "A robust self-learning method for fully unsupervised cross-lingual
    mappings of word embeddings", ACL, section 3.3. In turn: the rotation that fits the dictionary; its
    objective, the mean best cosine over both directions; the dictionary of best translations by cosine minus
    half the mean cosine of the candidate with its k nearest words. Candidates are dropped at random with
    probability ``1 - keep``; when the objective has not risen for `interval` iterations, `keep` doubles, and
    at 1 the loop ends. The last fit re-weights (:func:`align.mapping.whitened.whitened`).

    Unlike the original, the best rotation of the last phase is kept, not the last one; the neighbourhood
    means are those of the iteration before, so that an iteration is one matrix product; and the re-weighted
    map is fitted three times more, on its own mutual neighbours among at least 12,000 words of each side.

    Parameters
    ----------
    X : ndarray, shape (n_src, src_dim)
    Y : ndarray, shape (n_tgt, tgt_dim)
        Normalised rows (unit length last), most frequent words first.
    pairs : ndarray of int, shape (n, 2)
        Row of X, row of Y: only where to start from; they are not kept.
    cutoff : int
        Words of each side that take part.
    early_cutoff : int, optional
        Words of each side while candidates are dropped, if fewer are enough there. The cost of an iteration
        goes with the square.
    k : int
        Neighbours of the hub correction; 0 for none.
    keep : float
        First probability of keeping a candidate; 1 for a deterministic loop.
    interval : int
    tolerance : float
        What counts as a rise of the objective.
    direction : {"union", "forward", "backward", "mutual"}
        Best translations of source words, of target words, both (mutual pairs count twice), or mutual only.
    final : {"whitened", "orthogonal"}
    exponent : float
        Re-weighting of both sides in the final map.
    max_iter : int
    trusted : bool
        Whether `pairs` are mostly translations. If so, a map that finds hardly any of them has failed.
    seed : int
        Of the candidates that are dropped.
    progress : callable, optional
        Called with the iteration, from 1, and its objective.

    Returns
    -------
    BilingualMap
        ``converged`` is False, with a warning, where the answer holds no translations, after `max_iter`, and
        after a KeyboardInterrupt: then it is the best map so far. ``options`` hold the settings, the last
        ``objective``, the number of ``mutual`` pairs, ``seeds_found``, the share of `pairs` that the last
        dictionary holds, and ``failure``, empty if there is none.

    Raises
    ------
    UsageError
        For settings outside their range.
    InputError
        For pairs that do not fit the spaces, NaN or infinity.

    Notes
    -----
    One float32 product of (cutoff, dim, cutoff) an iteration. Memory: four matrices of cutoff rows.
    """
    if not 0 < keep <= 1 or interval < 0 or cutoff < 1 or k < 0 or max_iter < 1:
        raise UsageError(
            "settings out of range",
            got=f"keep {keep}, interval {interval}, cutoff {cutoff}, k {k}, max_iter {max_iter}",
            wanted="0 < keep <= 1, positive numbers",
        )
    check_pairs(X, Y, pairs, None)
    seeds = pairs
    history: list[float] = []
    best, best_pairs, stop = -np.inf, pairs, ""
    now, stale = keep, 0
    penalties: Penalties = (None, None)
    X, Y = (np.ascontiguousarray(rows, np.float32) for rows in (X, Y))
    size = cutoff if early_cutoff is None or keep >= 1 else min(early_cutoff, cutoff)
    try:
        while True:
            M, N = _rotated(X, Y, pairs, size), Y[:size]
            if k and penalties[0] is None:
                penalties = _penalties(sweep(M, N, k=k), k)
            found = sweep(
                M,
                N,
                src_penalty=penalties[0],
                tgt_penalty=penalties[1],
                k=max(k, 1),
                keep=now,
                seed=seed * max_iter + len(history),
            )
            penalties = _penalties(found, k)
            history.append(found.objective)
            if found.objective > best + tolerance:
                stale = 0
            else:
                stale += 1
            if found.objective > best:
                best, best_pairs = found.objective, pairs
            if progress is not None:
                progress(len(history), found.objective)
            pairs = dictionary(found, direction)
            if len(pairs) == 0:
                stop = "no pairs are left"
                break
            if stale > interval:
                if now >= 1:
                    break
                now, stale = min(1.0, 2 * now), 0
                if now >= 1:
                    # objectives of other sizes do not compare, and a dictionary without gaps is better
                    best, best_pairs = -np.inf, pairs
                    if size < cutoff:
                        size, penalties = cutoff, (None, None)
            if len(history) >= max_iter:
                stop = f"no end after {max_iter} iterations"
                break
    except KeyboardInterrupt:
        stop = "interrupted"
    found = csls_sweep(_rotated(X, Y, best_pairs, cutoff), Y[:cutoff], k=k)
    pairs = dictionary(found, direction)
    seeds_found = _recall(found, seeds)
    reason = stop
    if not reason and len(found.mutual) < _MIN_MUTUAL:
        reason = f"only {len(found.mutual)} words are each other's best translation"
    if not reason and trusted and seeds_found < _MIN_SEEDS_FOUND:
        reason = f"only {seeds_found:.1%} of the first pairs are found again"
    if reason and stop != "interrupted":
        warnings.warn(f"self-learning failed: {reason}", UserWarning, stacklevel=2)
    for number in range(_WIDER_ROUNDS + 1):
        moments = pair_moments(X, Y, pairs)
        if final == "orthogonal":
            src_matrix, tgt_matrix = _rotation(moments.xy), None
            break
        maps = whitened_maps(moments, src_exponent=exponent, tgt_exponent=exponent)
        src_matrix, tgt_matrix = maps.src_matrix, maps.tgt_matrix
        if reason or number == _WIDER_ROUNDS:
            break
        wide = max(cutoff, _WIDER)
        pairs = csls_sweep(X[:wide] @ src_matrix, Y[:wide] @ tgt_matrix, k=k).mutual
    return BilingualMap(
        src_matrix,
        tgt_matrix,
        "self-learning",
        len(pairs),
        converged=not reason,
        n_iter=len(history),
        history=tuple(history),
        options={
            "cutoff": cutoff,
            "early_cutoff": early_cutoff or cutoff,
            "k": k,
            "keep": keep,
            "interval": interval,
            "direction": direction,
            "final": final,
            "exponent": exponent,
            "seed": seed,
            "objective": found.objective,
            "mutual": len(found.mutual),
            "seeds_found": seeds_found,
            "failure": reason,
        },
    )


def dictionary(found: Sweep, direction: Direction) -> NDArray[np.int64]:
    """Pairs of rows from the best translations of a sweep, shape (n, 2)."""
    forward = np.stack((np.arange(len(found.forward)), found.forward), axis=1)
    backward = np.stack((found.backward, np.arange(len(found.backward))), axis=1)
    if direction == "mutual":
        return found.mutual
    parts = {"forward": (forward,), "backward": (backward,), "union": (forward, backward)}
    if direction not in parts:
        raise UsageError("unknown direction", got=direction, wanted="union, forward, backward or mutual")
    pairs = np.concatenate(parts[direction])
    return pairs[(pairs >= 0).all(axis=1)]


def _recall(found: Sweep, pairs: NDArray[np.integer]) -> float:
    """Share of pairs within the two vocabularies of which one word is the best translation of the other."""
    src, tgt = pairs[(pairs < (len(found.forward), len(found.backward))).all(axis=1)].T
    if len(src) == 0:
        return 0.0
    return float(((found.forward[src] == tgt) | (found.backward[tgt] == src)).mean())


def _penalties(found: Sweep, k: int) -> Penalties:
    if not k:
        return None, None
    return found.src_spread * np.float32(0.5), found.tgt_spread * np.float32(0.5)


def _rotation(cross: NDArray[np.float64]) -> NDArray[np.float64]:
    with threadpool_limits(1, user_api="blas"):
        left, _, right = np.linalg.svd(cross, full_matrices=False)
        return left @ right


def _rotated(
    X: NDArray[np.float32], Y: NDArray[np.float32], pairs: NDArray[np.integer], size: int
) -> NDArray[np.float32]:
    """The first rows of X turned towards Y, of unit length also where the widths differ."""
    W = _rotation(cross_moment(X, Y, pairs)).astype(np.float32)
    with threadpool_limits(1, user_api="blas"):  # the same bits for any number of threads
        return unit(X[:size] @ W)
