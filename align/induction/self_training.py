"""Lexicons without a dictionary: spelling starts a map, then map and pairs improve each other."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from align.errors import ConvergenceError, InputError
from align.induction.presets import best_from_pairs
from align.induction.ranked import RankedInducer
from align.induction.seeds import identical_words, numerals
from align.induction.strings import NgramVectors, ngram_vectors, spellings
from align.mapping.bilingual import BilingualMap
from align.mapping.moments import pair_moments
from align.mapping.sweep import sweep
from align.mapping.unsupervised import unsupervised
from align.mapping.whitened import whitened_maps
from align.neighbors import csls
from align.normalize import normalize, unit
from align.vectors import WordVectors

Progress = Callable[[int, float], None]

_BY_VECTORS = _BY_STRINGS = 10
_MIN_SEEDS, _MIN_SEEDS_FOUND, _MIN_KEPT = 50, 0.05, 0.95
_FAILED, _INTERRUPTED = "self-training without a dictionary failed", "interrupted"


@dataclass(frozen=True, eq=False)
class SelfTrained:
    """A map and the dictionary that it was fitted on, made without one.

    Parameters
    ----------
    mapping : BilingualMap
    pairs : ndarray of int64, shape (n, 2)
        Source row, target row; each is the other's best translation by vectors, spelling and frequency.
    weights : ndarray of float64, shape (n,)
        How far each pair is ahead of the second best translation of the source word.
    """

    mapping: BilingualMap
    pairs: NDArray[np.int64]
    weights: NDArray[np.float64]


def self_trained(
    X: NDArray[np.floating],
    Y: NDArray[np.floating],
    src_words: Sequence[str],
    tgt_words: Sequence[str],
    *,
    cutoff: int = 12_000,
    rounds: int = 10,
    exponent: float = 0.25,
    spelling_weight: float = 0.8,
    rank_weight: float = 0.05,
    seed: int = 0,
    progress: Progress | None = None,
) -> SelfTrained:
    """Find a dictionary and a map without any pair given.

    The words spelled alike on both sides (names, numbers, loans) are the first dictionary. Then in turn: the
    map of the dictionary; among frequent words, the score of translations,

        CSLS + spelling_weight * cosine of character n-grams - rank_weight * |log rank - log rank|;

    the pairs that are each other's best become the next dictionary, each weighing as much as it is ahead of
    the second best. Only the pairs found last are kept, so false friends go. Where fewer
    than 50 words are spelled alike, as between scripts, :func:`align.mapping.unsupervised.unsupervised` is
    the start.

    Parameters
    ----------
    X : ndarray, shape (n_src, src_dim)
    Y : ndarray, shape (n_tgt, tgt_dim)
        Normalised rows, most frequent words first.
    src_words, tgt_words : sequence of str
    cutoff : int
        Words of each side among which pairs are looked for.
    rounds : int
        At most; it ends when 95 % of the pairs stay.
    exponent : float
        Re-weighting of the map, as in :func:`align.mapping.whitened.whitened`.
    spelling_weight, rank_weight : float
        In units of CSLS.
    seed : int
        Only used where vectors alone must start.
    progress : callable, optional
        Called with the round, from 1, and the share of pairs that stayed.

    Returns
    -------
    SelfTrained
        ``mapping.converged`` is False, with a warning, where the answer holds no translations: words spelled
        alike are not found by a map that does not know them, or runs from vectors alone differ. After a
        KeyboardInterrupt it is the last map.

    Raises
    ------
    InputError
        For words that are not one a row.

    Notes
    -----
    Three float32 products of (cutoff, dim, cutoff) a round.
    """
    if len(src_words) != len(X) or len(tgt_words) != len(Y):
        raise InputError(
            "words do not fit the rows", got=f"{len(src_words)} and {len(tgt_words)}", wanted=[len(X), len(Y)]
        )
    A, B = (np.ascontiguousarray(rows[:cutoff], np.float32) for rows in (X, Y))
    evidence = _Evidence.of(list(src_words[:cutoff]), list(tgt_words[:cutoff]), spelling_weight, rank_weight)
    seeds = _spelled_alike(src_words, tgt_words)
    reason, start = "", "identical strings"
    if len(seeds) >= _MIN_SEEDS:
        mapping = _fit(X, Y, seeds, None, exponent)
    else:
        start = "distributions"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what they say is said below
            mapping = unsupervised(X, Y, cutoff=cutoff, early_cutoff=5000, seed=seed)
        reason = str(mapping.options["failure"])
    pairs, weights = seeds, np.ones(len(seeds))
    history: list[float] = []
    ended = ""
    if not reason:
        try:
            for number in range(rounds):
                before = pairs
                pairs, weights = evidence.mutual(mapping.map_src(A), mapping.map_tgt(B))
                if len(pairs) < _MIN_SEEDS:
                    reason = f"only {len(pairs)} words are each other's best translation"
                    break
                mapping = _fit(X, Y, pairs, weights, exponent)
                history.append(_share(pairs, before))
                if progress is not None:
                    progress(number + 1, history[-1])
                if history[-1] >= _MIN_KEPT:
                    break
        except KeyboardInterrupt:
            ended = _INTERRUPTED
    found = np.nan
    if not reason and not ended and start == "identical strings":
        found = _held_out(X, Y, A, B, seeds, pairs, weights, exponent)
        if found < _MIN_SEEDS_FOUND:
            reason = f"vectors find {found:.1%} of the words spelled alike, wanted {_MIN_SEEDS_FOUND:.0%}"
    if reason:
        warnings.warn(f"{_FAILED}: {reason}", UserWarning, stacklevel=2)
    options = {
        "start": start,
        "cutoff": cutoff,
        "exponent": exponent,
        "spelling_weight": spelling_weight,
        "rank_weight": rank_weight,
        "seeds": len(seeds),
        "seeds_found": None if np.isnan(found) else found,
        "failure": reason or ended,
    }
    mapping = replace(
        mapping,
        method="self-trained",
        n_pairs=len(pairs),
        converged=not (reason or ended),
        n_iter=len(history),
        history=tuple(history),
        options=options,
    )
    return SelfTrained(mapping, pairs, weights)


def best_unsupervised(
    src: WordVectors, tgt: WordVectors, *, seed: int = 0, progress: Progress | None = None
) -> RankedInducer:
    """Learn to translate words without a dictionary: the preset ``best-unsupervised``.

    The pairs of :func:`self_trained` take the place of the dictionary of
    :func:`align.induction.presets.best_from_pairs`.

    Parameters
    ----------
    src, tgt : WordVectors
        Words by falling frequency.
    seed : int
    progress : callable, optional
        As for :func:`self_trained`.

    Returns
    -------
    RankedInducer

    Raises
    ------
    ConvergenceError
        If no translations were found; the message says what shows it.

    Notes
    -----
    Cost: ten rounds of :func:`self_trained`, then that of ``best_from_pairs``.
    """
    X, Y = (normalize(vectors.matrix)[0] for vectors in (src, tgt))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=_FAILED)  # the error says the same
        found = self_trained(X, Y, src.words, tgt.words, seed=seed, progress=progress)
    reason = str(found.mapping.options["failure"])
    if reason not in ("", _INTERRUPTED):
        raise ConvergenceError(
            "no translations were found without a dictionary",
            got=reason,
            hint="A dictionary of a few hundred pairs would do",
        )
    return best_from_pairs(src, tgt, found.pairs, found.weights, seed=seed, method="best-unsupervised")


@dataclass(frozen=True, eq=False)
class _Evidence:
    """What is known of the words of both sides besides their vectors."""

    ngrams: NgramVectors
    src_alike: NDArray[np.int64]
    tgt_alike: NDArray[np.int64]
    spelling_weight: float
    rank_weight: float

    @classmethod
    def of(
        cls, src_words: list[str], tgt_words: list[str], spelling_weight: float, rank_weight: float
    ) -> _Evidence:
        ngrams = ngram_vectors(spellings(src_words, tgt_words))
        mirrored = NgramVectors(ngrams.tgt, ngrams.src)
        alike = [
            vectors.nearest(np.arange(n), min(_BY_STRINGS, m)).indices
            for vectors, n, m in (
                (ngrams, len(src_words), len(tgt_words)),
                (mirrored, len(tgt_words), len(src_words)),
            )
        ]
        return cls(ngrams, alike[0], alike[1], spelling_weight, rank_weight)

    def mutual(
        self, M: NDArray[np.floating], N: NDArray[np.floating]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Pairs that are each other's best, and their lead over the source word's second best."""
        M, N = unit(M), unit(N)
        near = sweep(M, N)
        dense = near.src_spread, near.tgt_spread
        forward, lead = self._best(M, N, dense[0], dense[1], self.src_alike, mirrored=False)
        backward, _ = self._best(N, M, dense[1], dense[0], self.tgt_alike, mirrored=True)
        rows = np.flatnonzero(backward[forward] == np.arange(len(M)))
        return np.stack((rows, forward[rows]), axis=1), lead[rows]

    def _best(
        self,
        M: NDArray[np.floating],
        N: NDArray[np.floating],
        dense: NDArray[np.float32],
        other_dense: NDArray[np.float32],
        alike: NDArray[np.int64],
        *,
        mirrored: bool,
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        near = csls(M, N, min(_BY_VECTORS, len(N)), src_density=dense, tgt_density=other_dense).indices
        columns = np.concatenate((near, np.where(alike < 0, near[:, :1], alike)), axis=1)
        scores = np.empty(columns.shape)
        logs = np.log(np.arange(max(len(M), len(N))) + 10.0)  # the first ten words count as one rank
        for start in range(0, len(M), 1000):
            part = columns[start : start + 1000]
            row = np.repeat(np.arange(start, start + len(part)), part.shape[1])
            column = part.ravel()
            cosines = np.einsum("nd,nkd->nk", M[start : start + len(part)], N[part]).ravel()
            spelled = self.ngrams.cosines(*((column, row) if mirrored else (row, column)))
            value = 2 * cosines - dense[row] - other_dense[column] + self.spelling_weight * spelled
            value -= self.rank_weight * np.abs(logs[row] - logs[column])
            scores[start : start + len(part)] = value.reshape(part.shape)
        every = np.arange(len(M))
        best = columns[every, scores.argmax(axis=1)]
        rival = np.where(columns == best[:, None], -np.inf, scores).max(axis=1)
        lead = np.clip(scores.max(axis=1) - rival, 0.0, 0.3) + 0.02  # a pair in doubt still counts a little
        return best, lead


def _fit(
    X: NDArray[np.floating],
    Y: NDArray[np.floating],
    pairs: NDArray[np.int64],
    weights: NDArray[np.float64] | None,
    exponent: float,
) -> BilingualMap:
    # few first pairs leave directions out, of which `whitened` would warn; the next rounds have more
    moments = pair_moments(X, Y, pairs, weights=weights)
    maps = whitened_maps(moments, src_exponent=exponent, tgt_exponent=exponent)
    return BilingualMap(maps.src_matrix, maps.tgt_matrix, "self-trained", len(pairs))


def _spelled_alike(src_words: Sequence[str], tgt_words: Sequence[str]) -> NDArray[np.int64]:
    """Rows of equal words and of equal numbers, shape (n, 2)."""
    pairs = dict.fromkeys([*identical_words(src_words, tgt_words), *numerals(src_words, tgt_words)])
    src, tgt = ({word: row for row, word in enumerate(words)} for words in (src_words, tgt_words))
    return np.array([(src[s], tgt[t]) for s, t in pairs], np.int64).reshape(-1, 2)


def _share(pairs: NDArray[np.int64], before: NDArray[np.int64]) -> float:
    old = {(int(i), int(j)) for i, j in before}
    return sum((int(i), int(j)) in old for i, j in pairs) / max(len(pairs), 1)


def _held_out(
    X: NDArray[np.floating],
    Y: NDArray[np.floating],
    A: NDArray[np.float32],
    B: NDArray[np.float32],
    seeds: NDArray[np.int64],
    pairs: NDArray[np.int64],
    weights: NDArray[np.float64],
    exponent: float,
) -> float:
    """Share of words spelled alike that vectors alone bring together, under a map that does not know them.

    The map is fitted on one half of the pairs, and asked for the seeds whose words are not in it.
    """
    seeds = seeds[(seeds < (len(A), len(B))).all(axis=1)]
    hits = tried = 0
    for half in (0, 1):
        use = pairs[:, 0] % 2 == half
        mapping = _fit(X, Y, pairs[use], weights[use], exponent)
        new = ~np.isin(seeds[:, 0], pairs[use, 0]) & ~np.isin(seeds[:, 1], pairs[use, 1])
        M, N = unit(mapping.map_src(A)), unit(mapping.map_tgt(B))
        best = csls(M[seeds[new, 0]], N, 1, src_space=M).indices[:, 0]
        hits += int((best == seeds[new, 1]).sum())
        tried += int(new.sum())
    return hits / max(tried, 1)
