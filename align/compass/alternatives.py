"""Other ways to comparable slices: trained apart and rotated, one after the other, or through a lexicon."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from align.compass.corpus import SlicedText, number_slices
from align.compass.options import CompassOptions, check_options
from align.compass.result import Compass
from align.compass.training import (
    LEARNED,
    counts_of_slice,
    frequency_loss,
    slice_options,
    table_of_slice,
    train,
)
from align.compass.word2vec import Fit, train_word2vec
from align.errors import InputError, UsageError
from align.mapping.procrustes import procrustes
from align.normalize import UNIT_CENTRE_UNIT, normalize
from align.vectors import WordVectors

METHODS = ("cade", "procrustes", "procrustes-centred", "histwords", "histwords-centred", "incremental")


def train_by(
    slices: SlicedText | Mapping[str, str | os.PathLike[str] | Iterable[str]],
    *,
    method: str = "cade",
    options: CompassOptions = CompassOptions(),  # noqa: B008 - frozen
) -> Compass:
    """Train vectors of every slice by CADE or one of its alternatives.

    Parameters
    ----------
    slices
        As :func:`align.compass.train`.
    method : str
        ``cade`` is :func:`align.compass.train`. ``procrustes``: every slice is trained by itself and, its
        rows made unit, rotated onto the largest on the words they share. ``histwords``: the same from slice
        to slice, each onto the one before. Either with ``-centred``: the mean is taken off before.
        ``incremental``: every slice goes on from the matrices of the one before, no rotation.
    options : CompassOptions
        The alternatives have no compass: `slice_epochs`, `slice_learning_rate` and `slice_min_count` are
        theirs, `init` is not.

    Returns
    -------
    Compass
        With `method`; without the compass's matrices but for ``cade``.

    Raises
    ------
    UsageError
        For an unknown method, and as :func:`align.compass.train`.
    InputError
        As there; if two slices that are rotated onto each other share no word.

    Warns
    -----
    UserWarning
        If a slice's loss is less than a tenth below that of its word frequencies alone.

    References
    ----------
    Hamilton, Leskovec and Jurafsky 2016, "Diachronic Word Embeddings Reveal Statistical Laws of Semantic
    Change", equation 4 (``histwords``); Kim et al. 2014, "Temporal Analysis of Language through Neural
    Language Models" (``incremental``).
    """
    if method not in METHODS:
        raise UsageError("unknown method", got=method, wanted=", ".join(METHODS))
    if method == "cade":
        return train(slices, options=options)
    check_options(options)
    text = slices if isinstance(slices, SlicedText) else number_slices(slices)
    spaces: dict[str, WordVectors] = {}
    history, learned = {}, []
    last: Fit | None = None
    for k, name in enumerate(text.names):
        used = counts_of_slice(text, k, options)
        own = slice_options(options, k)
        if method == "incremental" and last is not None:
            last = train_word2vec(
                [text.streams[k]],
                used,
                options=own,
                words=text.words,
                inputs=last.inputs,
                output=last.output,
            )
        else:
            last = train_word2vec([text.streams[k]], used, options=own, words=text.words)
        history[name] = last.history
        learned.append(1 - last.history[-1] / frequency_loss(used, own))
        spaces[name] = table_of_slice(text, k, used, last.vectors)
    way, _, centred = method.partition("-")
    steps = UNIT_CENTRE_UNIT if centred else ("unit",)
    if way == "procrustes":
        largest = text.names[int(text.counts.sum(axis=1).argmax())]
        spaces = rotate(spaces, dict.fromkeys(text.names, largest), steps)
    elif way == "histwords":
        spaces = rotate(spaces, dict(zip(text.names[1:], text.names, strict=False)), steps)
    worst = min(learned)
    if worst < LEARNED:
        warnings.warn(
            f"the slice {text.names[int(np.argmin(learned))]} has not converged: its loss is "
            f"{100 * worst:.1f} % below that of word frequencies alone, {100 * LEARNED:.0f} % or more is "
            "wanted. Give more `epochs`, a higher `learning_rate` or more text",
            stacklevel=2,
        )
    return Compass(
        words=text.words,
        counts=text.counts,
        slices=spaces,
        options=options,
        method=method,
        history=history,
        learned=worst,
        converged=worst >= LEARNED,
    )


def rotate(
    spaces: Mapping[str, WordVectors], onto: Mapping[str, str], steps: Sequence[str] = ("unit",)
) -> dict[str, WordVectors]:
    """Normalise slices and rotate each onto the (rotated) one that `onto` names.

    Parameters
    ----------
    spaces : mapping of str to WordVectors
        In an order in which every goal but one that stays where it is comes before what is turned to it.
    onto : mapping of str to str
        Goal of a slice; one that has none, or itself, stays.
    steps : sequence of str
        Of :func:`align.normalize.normalize`.

    Returns
    -------
    dict of str to WordVectors

    Raises
    ------
    InputError
        If two share no word.
    """
    done: dict[str, WordVectors] = {}
    for name, space in spaces.items():
        matrix = normalize(space.matrix, steps)[0]
        done[name] = WordVectors(space.words, matrix.astype(np.float32), space.counts)
    for name, space in spaces.items():
        goal = onto.get(name, name)
        if goal == name:
            continue
        shared = [word for word in space.words if word in done[goal].index]
        if not shared:
            raise InputError("two slices share no word", where=f"{name}, {goal}")
        turn = procrustes(done[name].vectors_of(shared), done[goal].vectors_of(shared))
        done[name] = WordVectors(space.words, turn(done[name].matrix), space.counts)
    return done
