"""One set of links from two directions: by rules on links, or from the posteriors themselves."""

from __future__ import annotations

from collections.abc import Iterable

import numba as nb
import numpy as np
from numpy.typing import NDArray

from align.errors import InputError, UsageError
from align.wordalign.links import Links
from align.wordalign.posteriors import PairPosteriors

METHODS = ("intersect", "union", "grow-diag", "grow-diag-final", "grow-diag-final-and")
COMBINATIONS = ("mean", "product", "min")

_BOTH, _FORWARD, _BACKWARD = 3, 1, 2


def symmetrize(forward: Links, backward: Links, *, method: str = "grow-diag-final-and") -> Links:
    """Combine the links of the two directions by a rule on links.

    Parameters
    ----------
    forward, backward : Links
        Of one text, both as (source position, target position); see ``Aligner.directional_links``.
    method : {"intersect", "union", "grow-diag", "grow-diag-final", "grow-diag-final-and"}
        Links in both; in either; the intersection, to which links of the union are added while they touch an
        accepted one, diagonally too, and one of their words has none yet; then those of each direction with a
        word, or with both words, that has none yet.

    Returns
    -------
    Links
        The weight is the mean of those of the directions that have the link.

    Raises
    ------
    UsageError
        For an unknown method.
    InputError
        If the two are not of one text.

    Notes
    -----
    Links are visited in the order of (source, target), as fast_align's ``atools`` does, with the same result.
    Koehn, Och and Marcu 2003, "Statistical phrase-based translation"; Koehn et al. 2005 for the last step.
    Time: O(n log n) for the n links of a pair and each round of growing. Memory: twice the links.
    """
    if method not in METHODS:
        raise UsageError("unknown symmetrisation", got=method, wanted=", ".join(METHODS))
    if forward.n_pairs != backward.n_pairs:
        raise InputError(
            "links of two texts",
            got=f"{forward.n_pairs} and {backward.n_pairs} sentence pairs",
            wanted="as many",
        )
    offsets, src, tgt, weights = _combine(
        forward.offsets, forward.src, forward.tgt, forward.weights,
        backward.offsets, backward.src, backward.tgt, backward.weights,
        METHODS.index(method),
    )  # fmt: skip
    return Links(offsets, src, tgt, weights)


def soft_links(
    posteriors: Iterable[PairPosteriors], *, combination: str = "mean", threshold: float = 0.5
) -> Links:
    """Links where the two directions' posteriors, taken together, exceed a threshold.

    Parameters
    ----------
    posteriors : iterable of PairPosteriors
        From ``Aligner.posteriors``, which yields them pair by pair.
    combination : {"mean", "product", "min"}
        ``mean`` is what :func:`align.wordalign.align` does by itself. ``product`` is the weight that training
        by agreement gives a link.
    threshold : float

    Returns
    -------
    Links
        Weights are the combined posteriors.
    """
    if combination not in COMBINATIONS:
        raise UsageError("unknown combination", got=combination, wanted=", ".join(COMBINATIONS))
    offsets = [0]
    src: list[NDArray[np.int32]] = []
    tgt: list[NDArray[np.int32]] = []
    weights: list[NDArray[np.float32]] = []
    for pair in posteriors:
        if combination == "mean":
            value = pair.mean
        elif combination == "product":
            value = pair.src_to_tgt * pair.tgt_to_src
        else:
            value = np.minimum(pair.src_to_tgt, pair.tgt_to_src)
        i, j = np.nonzero(value > threshold)
        src.append(i.astype(np.int32))
        tgt.append(j.astype(np.int32))
        weights.append(value[i, j])
        offsets.append(offsets[-1] + len(i))
    return Links(
        np.array(offsets, dtype=np.int64),
        np.concatenate([np.empty(0, np.int32), *src]),
        np.concatenate([np.empty(0, np.int32), *tgt]),
        np.concatenate([np.empty(0, np.float32), *weights]),
    )


@nb.njit(cache=True)
def _combine(
    fwd_offsets: NDArray[np.int64],
    fwd_src: NDArray[np.int32],
    fwd_tgt: NDArray[np.int32],
    fwd_weights: NDArray[np.float32],
    bwd_offsets: NDArray[np.int64],
    bwd_src: NDArray[np.int32],
    bwd_tgt: NDArray[np.int32],
    bwd_weights: NDArray[np.float32],
    method: int,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
    most = len(fwd_src) + len(bwd_src)
    offsets = np.zeros(len(fwd_offsets), dtype=np.int64)
    src = np.empty(most, dtype=np.int32)
    tgt = np.empty(most, dtype=np.int32)
    weights = np.empty(most, dtype=np.float32)
    of = np.empty(most, dtype=np.uint8)  # which directions have the link
    n = 0
    for pair in range(len(offsets) - 1):
        # the union of the pair, sorted, at the end of what is kept so far
        a, a_stop = fwd_offsets[pair], fwd_offsets[pair + 1]
        b, b_stop = bwd_offsets[pair], bwd_offsets[pair + 1]
        end = n
        while a < a_stop or b < b_stop:
            take_a = b >= b_stop or (
                a < a_stop
                and (fwd_src[a] < bwd_src[b] or (fwd_src[a] == bwd_src[b] and fwd_tgt[a] <= bwd_tgt[b]))
            )
            take_b = a >= a_stop or (
                b < b_stop
                and (bwd_src[b] < fwd_src[a] or (bwd_src[b] == fwd_src[a] and bwd_tgt[b] <= fwd_tgt[a]))
            )
            if take_a:
                src[end], tgt[end], weights[end], of[end] = fwd_src[a], fwd_tgt[a], fwd_weights[a], _FORWARD
                a += 1
            if take_b:
                src[end], tgt[end] = bwd_src[b], bwd_tgt[b]
                if take_a:
                    weights[end] = np.float32(0.5) * (weights[end] + bwd_weights[b])
                    of[end] = _BOTH
                else:
                    weights[end], of[end] = bwd_weights[b], _BACKWARD
                b += 1
            end += 1
        start = n
        keep = _kept(src[start:end], tgt[start:end], of[start:end], method)
        for k in range(start, end):
            if keep[k - start]:
                src[n], tgt[n], weights[n] = src[k], tgt[k], weights[k]
                n += 1
        offsets[pair + 1] = n
    return offsets, src[:n], tgt[:n], weights[:n]


@nb.njit(cache=True)
def _kept(
    src: NDArray[np.int32], tgt: NDArray[np.int32], of: NDArray[np.uint8], method: int
) -> NDArray[np.bool_]:
    n = len(src)
    keep = np.zeros(n, dtype=np.bool_)
    n_src = n_tgt = 0
    for k in range(n):
        keep[k] = method == 1 or of[k] == _BOTH
        n_src, n_tgt = max(n_src, src[k] + 1), max(n_tgt, tgt[k] + 1)
    if method < 2:
        return keep
    has_src = np.zeros(n_src, dtype=np.bool_)
    has_tgt = np.zeros(n_tgt, dtype=np.bool_)
    for k in range(n):
        if keep[k]:
            has_src[src[k]] = has_tgt[tgt[k]] = True
    grew = True
    while grew:
        grew = False
        for k in range(n):
            wanting = not has_src[src[k]] or not has_tgt[tgt[k]]
            if not keep[k] and wanting and _touches(src, tgt, keep, k):
                keep[k] = has_src[src[k]] = has_tgt[tgt[k]] = grew = True
    if method >= 3:
        for direction in (_FORWARD, _BACKWARD):
            for k in range(n):
                if keep[k] or of[k] != direction:
                    continue
                no_src, no_tgt = not has_src[src[k]], not has_tgt[tgt[k]]
                if (no_src and no_tgt) if method == 4 else (no_src or no_tgt):
                    keep[k] = has_src[src[k]] = has_tgt[tgt[k]] = True
    return keep


@nb.njit(cache=True)
def _touches(src: NDArray[np.int32], tgt: NDArray[np.int32], keep: NDArray[np.bool_], k: int) -> bool:
    # links are sorted, so the neighbours' rows lie around k
    for step in (-1, 1):
        at = k + step
        while 0 <= at < len(src) and abs(src[at] - src[k]) <= 1:
            if keep[at] and abs(tgt[at] - tgt[k]) <= 1:
                return True
            at += step
    return False
