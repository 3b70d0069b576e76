"""Is a change more than chance? Slices drawn anew from their text, trained again, and compared."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from align.compass.alternatives import counts_of_slice, slice_options, table_of_slice, train_by
from align.compass.change import Shift, pooled_p
from align.compass.corpus import SlicedText
from align.compass.kernels import SENTENCE_END
from align.compass.measures import similarity
from align.compass.options import CompassOptions
from align.compass.result import Compass
from align.compass.word2vec import train_word2vec
from align.errors import InputError, UsageError
from align.vectors import WordVectors

Draw = Callable[[np.random.Generator, Sequence[Sequence[NDArray[np.int32]]]], tuple[NDArray[np.int32], ...]]


def permutation_test(
    found: Shift,
    compass: Compass,
    text: SlicedText,
    *,
    n_permutations: int = 19,
    seed: int = 0,
    block: int | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> Shift:
    """How often text that belongs to no slice gives as large a change.

    What is permuted are the slices' names over passages: the passages of both slices are thrown together and
    dealt out again, as many to each as before; the vectors of both are trained anew, for ``cade`` against
    the same compass, which does not depend on the names; and all words are measured again. The hypothesis is
    that a passage is as likely in the one slice as in the other, in the use of words and in how often they
    occur; a word that merely became more frequent can therefore come out with a low p-value, and `residual`
    should be read beside it.

    Parameters
    ----------
    found : Shift
    compass : Compass
        That of `found`.
    text : SlicedText
        What it was trained on, with all slices or those two; see :func:`on_words_of`.
    n_permutations : int
    seed : int
    block : int, optional
        Lines of a passage, which stay together because words come in flocks; by default as many as make 500
        passages of a slice, 1 to 100.
    progress : callable, optional
        Called with the number of the permutation and the mean change.

    Returns
    -------
    Shift
        `found` with `p_value`, which is exact and no less than 1 / (n_permutations + 1), `p_pooled` and
        `q_value`, which few permutations suffice for (:func:`align.compass.change.pooled_p`), and
        `n_resamples`.

    Raises
    ------
    InputError
        If the text is another.
    UsageError
        For fewer than one permutation, or a compass whose slices cannot be trained again: one with n-grams
        begun at the compass's vectors.

    Notes
    -----
    Each permutation takes as long as training the two slices did.

    References
    ----------
    Phipson and Smyth 2010, "Permutation P-values Should Never Be Zero"; Liu, Medlar and Glowacka 2021,
    "Statistically Significant Detection of Semantic Shifts using Contextual Word Embeddings", for the test
    and the correction, Benjamini and Hochberg 1995.
    """
    changes = _resample(found, compass, text, n_permutations, _dealt, [seed, 1], block, progress)
    # what could not be measured counts as a large change, against the claim
    n_as_large = (np.where(np.isnan(changes), np.inf, changes) >= found.change).sum(axis=0)
    p = (n_as_large + 1) / (n_permutations + 1)
    pooled = pooled_p(found.change, changes, found.counts)
    return replace(
        found, p_value=p, p_pooled=pooled, q_value=false_discovery(pooled), n_resamples=n_permutations
    )


def bootstrap_shift(
    found: Shift,
    compass: Compass,
    text: SlicedText,
    *,
    n_resamples: int = 20,
    level: float = 0.9,
    seed: int = 0,
    block: int | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> Shift:
    """Intervals of every word's change: passages of each slice are drawn with replacement, and trained on.

    The basic bootstrap interval, ``2 change - quantile``: what is drawn from a sample differs from it as the
    sample does from the language, so that vectors of resamples lie further apart than they should, and
    quantiles as they are would lie too high.

    Parameters
    ----------
    found, compass, text, seed, block, progress
        As :func:`permutation_test`.
    n_resamples : int
        2 or more.
    level : float
        Share of the resamples between the ends.

    Returns
    -------
    Shift
        `found` with `low`, `high` and `n_resamples`; NaN where a word was in no resample.

    References
    ----------
    Davison and Hinkley 1997, "Bootstrap Methods and their Application", equation 2.10; section 8.2.3 for
    blocks.
    """
    if not 0 < level < 1:
        raise UsageError("the level is no share", got=level, wanted="between 0 and 1")
    if n_resamples < 2:
        raise UsageError("n_resamples", got=n_resamples, wanted="2 or more")
    changes = _resample(found, compass, text, n_resamples, _drawn, [seed, 2], block, progress)
    low, high = np.full((2, len(found.words)), np.nan)
    seen = ~np.isnan(changes).all(axis=0)
    ends = np.nanquantile(changes[:, seen], [(1 + level) / 2, (1 - level) / 2], axis=0)
    low[seen], high[seen] = 2 * found.change[seen] - ends
    return replace(found, low=low, high=high, n_resamples=n_resamples)


def on_words_of(compass: Compass, text: SlicedText, *, names: Sequence[str] | None = None) -> SlicedText:
    """Text as the compass numbers its words, checked to be what it was trained on.

    Parameters
    ----------
    compass : Compass
    text : SlicedText
        Read with any `min_count` up to the compass's own.
    names : sequence of str, optional
        Slices to keep; all of the compass's by default.

    Raises
    ------
    InputError
        If a slice is missing or a word's count is another.
    """
    number = {word: k for k, word in enumerate(compass.words)}
    new = np.fromiter((number.get(word, -2) for word in text.words), np.int32, len(text.words))
    new = np.append(new, np.int32(SENTENCE_END))
    streams, counts = [], []
    names = compass.names if names is None else tuple(names)
    for name in names:
        if name not in text.names:
            raise InputError("the text has no slice of this name", got=", ".join(text.names), wanted=name)
        ids = new[text.streams[text.names.index(name)]]
        ids = ids[ids != -2]
        streams.append(ids)
        counts.append(np.bincount(ids[ids >= 0], minlength=len(compass.words)))
        differ = np.flatnonzero(counts[-1] != compass.counts[compass.names.index(name)])
        if len(differ):
            word = int(differ[0])
            raise InputError(
                "this is not the text that the compass was trained on",
                where=name,
                got=f"{compass.words[word]!r} {int(counts[-1][word]):,} times",
                wanted=f"{int(compass.counts[compass.names.index(name), word]):,} times",
                hint="give the same files, read in the same way",
            )
    stacked = np.stack(counts)
    return SlicedText(compass.words, tuple(names), tuple(streams), stacked, stacked.sum(axis=1))


def false_discovery(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Benjamini and Hochberg's q-values: the least rate of false discoveries at which each is one."""
    order = np.argsort(-p, kind="stable")
    ranks = np.arange(len(p), 0, -1)
    q = np.empty(len(p))
    q[order] = np.minimum(np.minimum.accumulate(p[order] * len(p) / ranks), 1)
    return q


def passages(stream: NDArray[np.int32], *, block: int | None = None) -> list[NDArray[np.int32]]:
    """Parts of a stream of `block` lines each (the last has fewer); see :func:`permutation_test`."""
    ends = np.flatnonzero(stream == SENTENCE_END) + 1
    size = block if block is not None else max(1, min(100, len(ends) // 500))
    if size < 1:
        raise UsageError("block", got=size, wanted="1 or more")
    return [part for part in np.split(stream, ends[size - 1 :: size]) if len(part)]


def _dealt(
    rng: np.random.Generator, parts: Sequence[Sequence[NDArray[np.int32]]]
) -> tuple[NDArray[np.int32], ...]:
    together = [part for of_slice in parts for part in of_slice]
    order = rng.permutation(len(together))
    cut = len(parts[0])
    return tuple(np.concatenate([together[i] for i in side]) for side in (order[:cut], order[cut:]))


def _drawn(
    rng: np.random.Generator, parts: Sequence[Sequence[NDArray[np.int32]]]
) -> tuple[NDArray[np.int32], ...]:
    return tuple(
        np.concatenate([of_slice[i] for i in rng.integers(len(of_slice), size=len(of_slice))])
        for of_slice in parts
    )


def _resample(
    found: Shift,
    compass: Compass,
    text: SlicedText,
    n: int,
    draw: Draw,
    seed: Sequence[int],
    block: int | None,
    progress: Callable[[int, float], None] | None,
) -> NDArray[np.float64]:
    """Change of every word of `found` in n resamples, NaN where one has it not; shape (n, n_words)."""
    if n < 1:
        raise UsageError("there are no resamples", got=n, wanted="1 or more")
    pair = (found.from_slice, found.to_slice)
    if text.words != compass.words or text.names != pair:
        text = on_words_of(compass, text, names=pair)
    parts = [passages(stream, block=block) for stream in text.streams]
    rng, judged = np.random.default_rng(seed), set(found.words)
    changes = np.full((n, len(found.words)), np.nan)
    for i in range(n):
        streams = draw(rng, parts)
        counts = np.stack([np.bincount(s[s >= 0], minlength=len(text.words)) for s in streams])
        drawn = replace(text, streams=streams, counts=counts, n_read=counts.sum(axis=1))
        fresh = replace(compass.options, seed=int(rng.integers(2**31)))
        with warnings.catch_warnings():  # of convergence: the first training has said it
            warnings.simplefilter("ignore", UserWarning)
            x, y = _train_again(compass, drawn, fresh)
        # neighbours are sought among words that are frequent enough, as in the slices themselves
        often = counts.min(axis=0) >= found.min_count
        kept = [
            word
            for word, enough in zip(text.words, often.tolist(), strict=True)
            if word in x.index and word in y.index and (enough or word in judged)
        ]
        row = {word: k for k, word in enumerate(kept)}
        at = np.array([k for k, word in enumerate(found.words) if word in row], np.int64)
        if len(at):
            rows = np.array([row[found.words[k]] for k in at.tolist()])
            changes[i, at] = 1 - similarity(
                x.vectors_of(kept),
                y.vectors_of(kept),
                rows,
                measure=found.measure,
                n_neighbors=found.n_neighbors,
                weight=found.weight,
            )
        if progress is not None:
            progress(i + 1, float(np.nanmean(changes[i])) if len(at) else 0.0)
    return changes


def _train_again(
    compass: Compass, text: SlicedText, options: CompassOptions
) -> tuple[WordVectors, WordVectors]:
    if compass.method == "pooled":
        raise UsageError("slices in different languages cannot be shuffled", got="method pooled")
    if compass.method != "cade":
        again = train_by(text, method=compass.method, options=options)
        return again.slice(text.names[0]), again.slice(text.names[1])
    begun = options.init != "hidden"
    if compass.output is None or (begun and (options.min_n or compass.vectors is None)):
        raise UsageError(
            "slices of this compass cannot be trained again",
            got=f"init {options.init}, n-grams from {options.min_n}",
            wanted="init hidden, or no n-grams",
        )
    total = compass.counts.sum(axis=0)
    x, y = (
        table_of_slice(
            text,
            k,
            total if options.init == "copy" else counts_of_slice(text, k, options),
            train_word2vec(
                [text.streams[k]],
                total if options.init == "copy" else counts_of_slice(text, k, options),
                options=slice_options(options, k, n_epochs=len(compass.history.get("", ()))),
                words=text.words,
                inputs=compass.vectors if begun else None,
                output=compass.output,
                learn_output=False,
            ).vectors,
        )
        for k in (0, 1)
    )
    return x, y
