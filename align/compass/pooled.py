"""One compass for slices in two languages: it reads their text with words exchanged for translations."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from align.compass.corpus import SlicedText
from align.compass.options import CompassOptions, check_options
from align.compass.result import Compass
from align.compass.training import train_against
from align.errors import InputError, UsageError


def train_pooled(
    text: SlicedText,
    lexicon: Iterable[tuple[str, str]],
    *,
    options: CompassOptions = CompassOptions(),  # noqa: B008 - frozen
    switch_rate: float = 0.5,
) -> Compass:
    """Train slices in different languages against one compass.

    The compass reads the text of :func:`code_switched`, so that words of both languages predict one another;
    then each slice is trained on its own text as it is, against the compass's output matrix held fixed.

    Parameters
    ----------
    text : SlicedText
    lexicon : pairs of str
        Source word, target word.
    options : CompassOptions
        With `init` ``hidden`` or ``both``.
    switch_rate : float

    Returns
    -------
    Compass
        Of the method ``pooled``; :meth:`~align.compass.Compass.correspond` translates between slices.

    Raises
    ------
    InputError
        If no pair of the lexicon has both its words in the text, and as :func:`align.compass.train`.
    UsageError
        For a rate outside of (0, 1], ``init`` ``copy``, other options out of range.
    """
    check_options(options)
    if options.init == "copy":
        raise UsageError("slices in different languages have different words", got="init copy")
    mixed = code_switched(text, lexicon, rate=switch_rate, seed=options.seed)
    return train_against(mixed, text, options=options, method="pooled")


def code_switched(
    text: SlicedText, lexicon: Iterable[tuple[str, str]], *, rate: float = 0.5, seed: int = 0
) -> SlicedText:
    """Exchange words of every slice for translations at random.

    A slice is taken for source or target text by which side of the lexicon covers more of its words, so that
    a word that both languages spell alike is translated one way. Of several translations one is drawn.

    Parameters
    ----------
    text : SlicedText
    lexicon : pairs of str
    rate : float
        Probability that an occurrence of a word that has a translation is exchanged.
    seed : int

    Returns
    -------
    SlicedText
        With its new counts.

    Raises
    ------
    InputError
        If no pair has both its words in the text.
    UsageError
        For a rate outside of (0, 1].
    """
    if not 0 < rate <= 1:
        raise UsageError("switch_rate", got=rate, wanted="above 0, 1 at most")
    number = {word: k for k, word in enumerate(text.words)}
    pairs = np.array(
        sorted({(number[s], number[t]) for s, t in lexicon if s in number and t in number and s != t}),
        np.int64,
    ).reshape(-1, 2)
    if not len(pairs):
        raise InputError("no pair of the lexicon has both its words in the text")
    tables = [_table(pairs, len(text.words)), _table(pairs[:, ::-1], len(text.words))]
    streams = []
    for k, stream in enumerate(text.streams):
        covered = [int(text.counts[k, np.diff(starts) > 0].sum()) for starts, _ in tables]
        starts, targets = tables[int(covered[1] > covered[0])]
        rng = np.random.default_rng([seed, 3, k])
        ids = np.maximum(stream, 0).astype(np.int64)
        n_choices = np.where(stream >= 0, np.diff(starts)[ids], 0)
        hit = np.flatnonzero((n_choices > 0) & (rng.random(len(stream)) < rate))
        chosen = starts[ids[hit]] + (rng.random(len(hit)) * n_choices[hit]).astype(np.int64)
        switched = np.array(stream, np.int32)
        switched[hit] = targets[chosen]
        streams.append(switched)
    counts = np.stack([np.bincount(s[s >= 0], minlength=len(text.words)) for s in streams])
    return replace(text, streams=tuple(streams), counts=counts)


def _table(pairs: NDArray[np.int64], n_words: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    order = np.argsort(pairs[:, 0], kind="stable")
    starts = np.concatenate(([0], np.cumsum(np.bincount(pairs[:, 0], minlength=n_words))))
    return starts, pairs[order, 1]
