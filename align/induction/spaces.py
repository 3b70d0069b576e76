"""A pair of spaces made ready for induction, and a map with the pairs it was fitted on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from align.errors import InputError
from align.induction.correspondences import LetterModel, letter_model
from align.induction.strings import NgramVectors, Spellings, ngram_vectors, spellings
from align.induction.text_evidence import TextEvidence
from align.mapping import BilingualMap, whitened
from align.neighbors import csls, mean_top_k, mutual
from align.normalize import Normalizer, normalize
from align.vectors import WordVectors

_EXPONENT = 0.25
_RIDGE = 1e-3  # of the mean eigenvalue: a dictionary smaller than the space has directions of its own
_FREQUENT = 10_000  # words of each side among which mutual neighbours are sought
_POOL = 12_000  # source words that stand for all in densities and among rivals


@dataclass(frozen=True, eq=False)
class Spaces:
    """Two spaces, normalised, and what their spellings give.

    Parameters
    ----------
    src, tgt : WordVectors
    src_rows, tgt_rows : ndarray of float32, shape (n_words, dim)
        Unit length, centred, unit length.
    src_normalizer, tgt_normalizer : Normalizer
    text : TextEvidence, optional
        What parallel text says of the words.
    """

    src: WordVectors
    tgt: WordVectors
    src_rows: NDArray[np.float32]
    tgt_rows: NDArray[np.float32]
    src_normalizer: Normalizer
    tgt_normalizer: Normalizer
    text: TextEvidence | None = None

    @classmethod
    def of(cls, src: WordVectors, tgt: WordVectors, text: TextEvidence | None = None) -> Spaces:
        """Normalise."""
        src_rows, src_normalizer = normalize(src.matrix)
        tgt_rows, tgt_normalizer = normalize(tgt.matrix)
        return cls(src, tgt, src_rows, tgt_rows, src_normalizer, tgt_normalizer, text)

    @cached_property
    def pool(self) -> NDArray[np.int64]:
        """Source rows that stand for all, evenly over the frequencies, so that rare queries fare alike."""
        return np.unique(np.linspace(0, len(self.src) - 1, min(_POOL, len(self.src))).astype(np.int64))

    @cached_property
    def spelled(self) -> Spellings:
        """Letters of both vocabularies."""
        return spellings(self.src.words, self.tgt.words)

    @cached_property
    def ngrams(self) -> NgramVectors:
        """Character n-grams of both vocabularies."""
        return ngram_vectors(self.spelled)

    @cached_property
    def letters(self) -> LetterModel:
        """Letter bigrams of both vocabularies."""
        return letter_model(self.src.words, self.tgt.words)


@dataclass(frozen=True, eq=False)
class AnchoredMap:
    """A map, the dictionary, and all pairs it was fitted on.

    Parameters
    ----------
    mapping : BilingualMap
        With the normalisers of the spaces.
    pairs : ndarray of int64, shape (n, 2)
        The dictionary.
    weights : ndarray of float64, shape (n,)
    anchors : ndarray of int64, shape (m, 2)
        The dictionary and then the mutual neighbours that joined it.
    anchor_weights : ndarray of float64, shape (m,)
    """

    mapping: BilingualMap
    pairs: NDArray[np.int64]
    weights: NDArray[np.float64]
    anchors: NDArray[np.int64]
    anchor_weights: NDArray[np.float64]


def fit_anchored(
    spaces: Spaces, pairs: NDArray[np.integer], weights: NDArray[np.floating], *, rounds: int = 1
) -> AnchoredMap:
    """Whiten, rotate, re-weight, de-whiten; then let mutual neighbours join the dictionary and fit again.

    Artetxe et al. (2018) with exponent 0.25 on both sides; the mutual neighbours are those by CSLS among the
    10,000 most frequent words of each side.

    Raises
    ------
    InputError
        Without pairs.
    """
    if len(pairs) == 0:
        raise InputError("there is nothing to align", got="no pairs")
    given: NDArray[np.int64] = np.asarray(pairs, np.int64)
    given_weights: NDArray[np.float64] = np.asarray(weights, np.float64)
    anchors, anchor_weights = given, given_weights
    for step in range(rounds + 1):
        mapping = exponent_map(spaces, anchors, anchor_weights, _EXPONENT)
        if step < rounds:
            A = mapping.map_src(spaces.src_rows[:_FREQUENT])
            B = mapping.map_tgt(spaces.tgt_rows[:_FREQUENT])
            src_density, tgt_density = mean_top_k(A, B), mean_top_k(B, A)
            found = mutual(
                csls(A, B, 1, src_density=src_density, tgt_density=tgt_density),
                csls(B, A, 1, src_density=tgt_density, tgt_density=src_density),
            )
            anchors = np.concatenate([given, found])
            anchor_weights = np.concatenate([given_weights, np.ones(len(found))])
    return AnchoredMap(
        mapping.normalized_by(spaces.src_normalizer, spaces.tgt_normalizer),
        given,
        given_weights,
        anchors,
        anchor_weights,
    )


def exponent_map(
    spaces: Spaces, pairs: NDArray[np.int64], weights: NDArray[np.float64], exponent: float
) -> BilingualMap:
    """The whitened map of normalised rows with one re-weighting exponent on both sides."""
    return whitened(
        spaces.src_rows,
        spaces.tgt_rows,
        pairs,
        weights=weights,
        src_exponent=exponent,
        tgt_exponent=exponent,
        ridge=_RIDGE,
    )
