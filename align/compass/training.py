"""CADE: a compass from all slices, then each slice against the compass's output matrix, held fixed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from align.compass.corpus import SlicedText, number_slices
from align.compass.options import CompassOptions, check_options
from align.compass.result import Compass
from align.compass.word2vec import train_word2vec
from align.errors import InputError
from align.vectors import WordVectors


def train(
    slices: SlicedText | Mapping[str, str | os.PathLike[str] | Iterable[str]],
    *,
    options: CompassOptions = CompassOptions(),  # noqa: B008 - frozen
) -> Compass:
    """Train vectors of every slice that can be compared as they are.

    Parameters
    ----------
    slices : SlicedText, or a mapping from the name of a slice to a file or its lines
        The latter are read by :func:`align.compass.number_slices` as it does by default.
    options : CompassOptions

    Returns
    -------
    Compass

    Raises
    ------
    InputError, UsageError
        As :func:`align.compass.number_slices`; for a slice without a word of `slice_min_count` occurrences.

    References
    ----------
    Di Carlo, Bianchi and Palmonari 2019, "Training Temporal Word Embeddings with a Compass"; Bianchi et al.
    2020, "Compass-aligned Distributional Embeddings for Studying Semantic Differences across Corpora".
    """
    check_options(options)
    text = slices if isinstance(slices, SlicedText) else number_slices(slices)
    whole = train_word2vec(text.streams, text.counts.sum(axis=0), options=options, words=text.words)
    history = {"": whole.history}
    spaces = {}
    for k, name in enumerate(text.names):
        counts = text.counts[k]
        used = np.where(counts >= options.slice_min_count, counts, 0)
        if not used.any():
            raise InputError(
                "a slice without a word of the compass",
                where=name,
                wanted=f"words that occur {options.slice_min_count} times in it",
            )
        own = replace(
            options,
            epochs=options.slice_epochs or options.epochs,
            learning_rate=options.slice_learning_rate or options.learning_rate,
            seed=options.seed + 1 + k,
        )
        fit = train_word2vec(
            [text.streams[k]],
            text.counts.sum(axis=0) if options.init == "copy" else used,
            options=own,
            words=text.words,
            vectors=None if options.init == "hidden" else whole.vectors,
            output=whole.output,
            learn_output=False,
        )
        rows = np.arange(len(text.words)) if options.init == "copy" else np.flatnonzero(used)
        spaces[name] = WordVectors(
            tuple(text.words[i] for i in rows.tolist()), fit.vectors[rows], counts[rows]
        )
        history[name] = fit.history
    return Compass(text.words, text.counts, spaces, whole.vectors, whole.output, options, "cade", history)
