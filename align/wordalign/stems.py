"""Words as their first and their last characters: coarser models that vote beside that of whole words.

Each kind of stem is a model of its own, a table p(stem | stem) estimated from the same expected counts. While
an HMM trains, its emissions are the weighted geometric mean of the tables (a product of experts; Hinton 2002,
"Training products of experts by minimizing contrastive divergence"), so a rare form is drawn to where its
stem goes, and the end of a word, which tells its part of speech, keeps it from words of another kind.
"""

from __future__ import annotations

from collections.abc import Sequence

import numba as nb
import numpy as np
from numpy.typing import NDArray

from align.wordalign.bitext import Bitext
from align.wordalign.classes import ClassPrior, WordClasses, frequencies, numbered
from align.wordalign.expectation import Parameters
from align.wordalign.maximization import dirichlet_totals, maximize, maximize_null
from align.wordalign.options import AlignOptions
from align.wordalign.pairs import PairTable

STEM_LENGTH = 3


class Stems:
    """The tables of both kinds of stem.

    Parameters
    ----------
    bitext : Bitext
    pairs : PairTable
        Rows of the words.
    src_words, tgt_words : sequences of str
        Word of each type.
    options : AlignOptions
        ``stem_weight`` is the weight of each kind; the words have the rest. The prior of the stems is that of
        words, with the classes of stems that share their first, or last, one and two characters.

    Notes
    -----
    Memory: 4 bytes a row and kind, and what the tables of the stems need, which have fewer rows.
    """

    def __init__(
        self,
        bitext: Bitext,
        pairs: PairTable,
        src_words: Sequence[str],
        tgt_words: Sequence[str],
        options: AlignOptions,
    ) -> None:
        self.weight = options.stem_weight
        self.pairs = pairs
        frequency = frequencies(bitext)
        starts = ([w[:STEM_LENGTH] for w in words] for words in (src_words, tgt_words))
        # turned round, so that classes by first characters are classes by last ones
        ends = ([w[-STEM_LENGTH:][::-1] for w in words] for words in (src_words, tgt_words))
        self.kinds = [_Kind(pairs, frequency, *stems, options=options) for stems in (starts, ends)]

    def join(
        self,
        parameters: Parameters,
        counts: NDArray[np.float32],
        null_tgt: NDArray[np.float64],
        null_src: NDArray[np.float64],
    ) -> Parameters:
        """Parameters of the product, from those of the words and the counts that they were made from.

        Time: linear in the rows. The tables of a product do not sum to 1; the HMM compares positions only.
        """
        own = 1.0 - self.weight * len(self.kinds)
        nulls = [parameters.null_tgt**own, parameters.null_src**own]
        factors = []
        for kind in self.kinds:
            factor, null_factors = kind.factors(counts, (null_tgt, null_src), self.weight)
            factors.append(factor)
            for null, of_stem in zip(nulls, null_factors, strict=True):
                null *= of_stem
        table = parameters.table
        starts, ends = self.kinds
        _multiply(table, np.float32(own), starts.row_of, factors[0], ends.row_of, factors[1])
        return Parameters(
            table,
            nulls[0].astype(np.float32),
            nulls[1].astype(np.float32),
            parameters.null_prob,
            parameters.jumps,
        )


class _Kind:
    # one kind of stem: its table of pairs, and the row in it of every row of the words
    def __init__(
        self,
        pairs: PairTable,
        frequency: tuple[NDArray[np.float64], NDArray[np.float64]],
        src_stems: list[str],
        tgt_stems: list[str],
        *,
        options: AlignOptions,
    ) -> None:
        self.alpha = options.alpha
        self.src, self.tgt = numbered(src_stems), numbered(tgt_stems)
        src_names, tgt_names = tuple(dict.fromkeys(src_stems)), tuple(dict.fromkeys(tgt_stems))
        self.frequency = (
            np.bincount(self.src, weights=frequency[0], minlength=len(src_names)).astype(np.float64),
            np.bincount(self.tgt, weights=frequency[1], minlength=len(tgt_names)).astype(np.float64),
        )
        order = np.argsort(self.src, kind="stable")
        indptr = np.empty(len(src_names) + 1, dtype=np.int64)
        self.row_of = np.empty(pairs.n_rows, dtype=np.int32)
        tgt = np.empty(pairs.n_rows, dtype=np.int32)
        n_rows = _number(
            pairs.indptr, pairs.tgt, self.src, self.tgt, order, len(tgt_names), indptr, tgt, self.row_of
        )
        self.pairs = PairTable(indptr, tgt[:n_rows].copy(), np.zeros(1, dtype=np.int64))
        self.prior = ClassPrior(
            self.frequency,
            self.pairs,
            WordClasses.of_words(src_names, tgt_names, lengths=(1, 2), endings=()),
            alpha=options.alpha,
            # as much for each map as the five of words have
            class_weight=0.4 * options.class_weight,
            form_weight=options.form_weight,
        )

    def factors(
        self,
        counts: NDArray[np.float32],
        nulls: tuple[NDArray[np.float64], NDArray[np.float64]],
        weight: float,
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """Probabilities of the stems to the power of their weight: of every row of the stems, shape (n, 2),
        and given NULL of every target and source type of the words."""
        own = np.zeros((self.pairs.n_rows, counts.shape[1]), dtype=np.float32)
        _add_rows(self.row_of, counts, own)
        prior = self.prior(own)
        totals = dirichlet_totals(self.pairs, own, prior, n_tgt_types=len(self.frequency[1]))
        table = maximize(self.pairs, own, prior, totals, variational=True)
        given_null = []
        for of, null, frequency in zip((self.tgt, self.src), nulls, self.frequency[::-1], strict=True):
            stem_null = np.bincount(of, weights=null, minlength=len(frequency)).astype(np.float64)
            given_null.append(
                maximize_null(stem_null, frequency > 0, self.alpha, variational=True)[of]
                ** np.float32(weight)
            )
        _raise_to(table, np.float32(weight))
        return table, given_null


@nb.njit(cache=True)
def _number(
    indptr: NDArray[np.int64],
    row_tgt: NDArray[np.int32],
    src_stem: NDArray[np.int32],
    tgt_stem: NDArray[np.int32],
    order: NDArray[np.int64],
    n_tgt_stems: int,
    stem_indptr: NDArray[np.int64],
    stem_tgt: NDArray[np.int32],
    row_of: NDArray[np.int32],
) -> int:
    # rows grow with the stems, so a number below the first of a stem was left by an earlier one
    number = np.full(n_tgt_stems, -1, dtype=np.int64)
    n, first, done = 0, 0, 0
    stem_indptr[0] = 0
    for s in order:
        if src_stem[s] == done:
            first = n
            done += 1
        for row in range(indptr[s], indptr[s + 1]):
            t = tgt_stem[row_tgt[row]]
            if number[t] < first:
                number[t] = n
                stem_tgt[n] = t
                n += 1
            row_of[row] = number[t]
        stem_indptr[done] = n
    return n


@nb.njit(parallel=True, cache=True)
def _raise_to(table: NDArray[np.float32], power: np.float32) -> None:
    for share in nb.prange(64):
        _raise_rows(table[share * len(table) // 64 : (share + 1) * len(table) // 64], power)


@nb.njit(cache=True)
def _raise_rows(table: NDArray[np.float32], power: np.float32) -> None:
    for row in range(len(table)):
        table[row, 0] **= power
        table[row, 1] **= power


@nb.njit(cache=True)
def _add_rows(row_of: NDArray[np.int32], counts: NDArray[np.float32], out: NDArray[np.float32]) -> None:
    for row in range(len(row_of)):
        for column in range(counts.shape[1]):
            if counts[row, column] > 0.0:
                out[row_of[row], column] += counts[row, column]


@nb.njit(parallel=True, cache=True)
def _multiply(
    table: NDArray[np.float32],
    own: np.float32,
    row_of: NDArray[np.int32],
    factor: NDArray[np.float32],
    other_row_of: NDArray[np.int32],
    other_factor: NDArray[np.float32],
) -> None:
    for share in nb.prange(64):
        first, last = share * len(table) // 64, (share + 1) * len(table) // 64
        _multiply_rows(
            table[first:last], own, row_of[first:last], factor, other_row_of[first:last], other_factor
        )


@nb.njit(cache=True)
def _multiply_rows(
    table: NDArray[np.float32],
    own: np.float32,
    row_of: NDArray[np.int32],
    factor: NDArray[np.float32],
    other_row_of: NDArray[np.int32],
    other_factor: NDArray[np.float32],
) -> None:
    for row in range(len(table)):
        for column in range(2):
            factors = factor[row_of[row], column] * other_factor[other_row_of[row], column]
            table[row, column] = table[row, column] ** own * factors
