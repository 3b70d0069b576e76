"""CADE: a compass from all slices, then each slice against the compass's output matrix, held fixed."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from align.compass.corpus import SlicedText, number_slices
from align.compass.options import CompassOptions, Word2VecOptions, check_options
from align.compass.passes import keep_thresholds
from align.compass.result import Compass
from align.compass.word2vec import train_word2vec
from align.errors import InputError
from align.vectors import WordVectors

# below this the vectors of a compass are mostly noise (`python -m benchmarks compass-identity`)
LEARNED = 0.1


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

    Warns
    -----
    UserWarning
        If the compass's loss is less than a tenth below that of word frequencies alone
        (:func:`frequency_loss`): then the vectors of the slices say next to nothing.

    Notes
    -----
    The words of a slice are the words of the compass that occur in it `slice_min_count` times. What negatives
    are drawn from, and what is left out for being frequent, goes by the slice's own counts; with ``copy`` by
    the compass's.

    References
    ----------
    Di Carlo, Bianchi and Palmonari 2019, "Training Temporal Word Embeddings with a Compass"; Bianchi et al.
    2020, "Compass-aligned Distributional Embeddings for Studying Semantic Differences across Corpora".
    """
    check_options(options)
    text = slices if isinstance(slices, SlicedText) else number_slices(slices)
    return train_against(text, text, options=options, method="cade")


def train_against(
    compass_text: SlicedText, text: SlicedText, *, options: CompassOptions, method: str
) -> Compass:
    """Train a compass on one text, and the slices of another of the same words against its output matrix."""
    total = compass_text.counts.sum(axis=0)
    whole = train_word2vec(compass_text.streams, total, options=options, words=text.words)
    learned = 1 - whole.history[-1] / frequency_loss(total, options)
    if learned < LEARNED:
        warnings.warn(
            f"the compass has not converged: after {whole.n_epochs} passes over {whole.n_tokens:,} words its "
            f"loss is {100 * learned:.1f} % below that of word frequencies alone, {100 * LEARNED:.0f} % "
            "or more is wanted. Give more `epochs`, a higher `learning_rate` or more text",
            stacklevel=3,
        )
    history = {"": whole.history}
    spaces = {}
    is_copy = options.init == "copy"
    for k, name in enumerate(text.names):
        used = counts_of_slice(text, k, options)
        fit = train_word2vec(
            [text.streams[k]],
            total if is_copy else used,
            options=slice_options(options, k, n_epochs=whole.n_epochs),
            words=text.words,
            inputs=None if options.init == "hidden" else whole.inputs,
            output=whole.output,
            learn_output=False,
        )
        spaces[name] = table_of_slice(text, k, np.ones_like(used) if is_copy else used, fit.vectors)
        history[name] = fit.history
    return Compass(
        words=text.words,
        counts=text.counts,
        slices=spaces,
        vectors=whole.vectors,
        output=whole.output,
        options=options,
        method=method,
        history=history,
        learned=learned,
        converged=learned >= LEARNED,
    )


def counts_of_slice(text: SlicedText, k: int, options: CompassOptions) -> NDArray[np.int64]:
    """Occurrences of every word in slice k, 0 for those of fewer than `slice_min_count`.

    Raises
    ------
    InputError
        If none is left.
    """
    used = np.where(text.counts[k] >= options.slice_min_count, text.counts[k], 0)
    if not used.any():
        raise InputError(
            "a slice without a word of the compass",
            where=text.names[k],
            wanted=f"words that occur {options.slice_min_count} times in it",
        )
    return used


def slice_options(options: CompassOptions, k: int, *, n_epochs: int | None = None) -> CompassOptions:
    """The options that slice k is trained with, as word2vec takes them; `n_epochs`: those of a compass."""
    return replace(
        options,
        epochs=options.slice_epochs or n_epochs or options.epochs,
        learning_rate=options.slice_learning_rate or options.learning_rate,
        seed=options.seed + 1 + k,
    )


def table_of_slice(
    text: SlicedText, k: int, used: NDArray[np.int64], vectors: NDArray[np.float32]
) -> WordVectors:
    """The words of slice k with their vectors and counts."""
    rows = np.flatnonzero(used)
    return WordVectors(tuple(text.words[i] for i in rows.tolist()), vectors[rows], text.counts[k, rows])


def frequency_loss(counts: NDArray[np.int64], options: Word2VecOptions) -> float:
    """Mean loss of a prediction that knows how frequent every word is and nothing else.

    The best logit of a word is then ``log p - log k q``, with p its share of the predicted words and q of the
    negatives, of which there are k: Levy and Goldberg 2014, "Neural Word Embedding as Implicit Matrix
    Factorization", equation 7 without a context.
    """
    used = counts[counts > 0]
    p = used * keep_thresholds(used, options.subsample).astype(np.float64)
    q = used**options.ns_exponent
    p, q = p / p.sum(), options.n_negatives * q / q.sum()
    logit = np.log(p / q)
    return float((p * np.logaddexp(0, -logit) + q * np.logaddexp(0, logit)).sum())
