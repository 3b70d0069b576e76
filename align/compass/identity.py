"""The identity test: is a word of one random half of a corpus nearest to itself in the other half?"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from align.compass.corpus import SlicedText
from align.compass.kernels import SENTENCE_END
from align.compass.options import CompassOptions
from align.compass.result import Compass
from align.compass.training import train
from align.errors import InputError
from align.neighbors import top_k
from align.short_repr import short_repr

_HALVES = ("first half", "second half")


@dataclass(frozen=True, eq=False)
class IdentityTest:
    """How far two halves of one corpus come out the same.

    Attributes
    ----------
    words : tuple of str
        Words of both halves, most frequent first.
    found : bool array, shape (n_words,)
        Whether the nearest vector of the other half, by cosine, is the word's own.
    cosines : float64 array, shape (n_words,)
        Between the two vectors of each word.
    compass : Compass
        That of the two halves.
    """

    words: tuple[str, ...]
    found: NDArray[np.bool_]
    cosines: NDArray[np.float64]
    compass: Compass

    __repr__ = short_repr

    def accuracy(self, n_words: int | None = None) -> float:
        """Share of the first `n_words` words that are nearest to themselves."""
        return float(self.found[:n_words].mean())

    def mean_cosine(self, n_words: int | None = None) -> float:
        """Mean cosine between the two vectors of the first `n_words` words."""
        return float(self.cosines[:n_words].mean())


def identity_test(
    text: SlicedText,
    *,
    options: CompassOptions = CompassOptions(),  # noqa: B008 - frozen
    seed: int = 0,
) -> IdentityTest:
    """Train on two random halves of a corpus as if they were slices, and compare.

    Nothing changed between the halves. What comes out different is due to too little text or training, and
    as large a change between real slices of this size says nothing.

    Parameters
    ----------
    text : SlicedText
        All its sentences are divided anew.
    options : CompassOptions
    seed : int
        Of the division.

    Returns
    -------
    IdentityTest
    """
    return compare_halves(train(halves(text, seed=seed), options=options))


def halves(text: SlicedText, *, seed: int = 0) -> SlicedText:
    """The sentences of all slices in two halves, drawn at random."""
    rng = np.random.default_rng(seed)
    parts: tuple[list[NDArray[np.int32]], ...] = ([], [])
    for stream in text.streams:
        sentence = np.cumsum(np.concatenate(([0], stream[:-1] == SENTENCE_END)))
        side = rng.permutation(int(sentence[-1]) + 1) % 2
        for k in (0, 1):
            parts[k].append(stream[side[sentence] == k])
    streams = tuple(np.concatenate(part) for part in parts)
    counts = np.stack([np.bincount(s[s >= 0], minlength=len(text.words)) for s in streams])
    return replace(text, names=_HALVES, streams=streams, counts=counts, n_read=counts.sum(axis=1))


def compare_halves(compass: Compass) -> IdentityTest:
    """Nearest neighbours from the first slice of a compass to its second.

    Raises
    ------
    InputError
        If they share no word.
    """
    first, second = (compass.slice(name) for name in compass.names[:2])
    words = tuple(word for word in compass.words if word in first.index and word in second.index)
    if not words:
        raise InputError("the halves share no word", hint="Give more text")
    x, y = _unit(first.vectors_of(words)), _unit(second.vectors_of(words))
    nearest = top_k(x, y, 1).indices[:, 0]
    return IdentityTest(
        words, nearest == np.arange(len(words)), (x * y).sum(axis=1, dtype=np.float64), compass
    )


def _unit(matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    return matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), np.float32(1e-30))
