"""Everything that is known of a row before its counts: the Dirichlet parameters of the M-step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from align.errors import UsageError
from align.wordalign.bitext import Bitext
from align.wordalign.classes import ClassPrior, WordClasses, frequencies
from align.wordalign.options import AlignOptions
from align.wordalign.pairs import PairTable
from align.wordalign.prior import Prior
from align.wordalign.unseen import class_prior

if TYPE_CHECKING:
    from align.wordalign.aligner import Aligner


class RowPrior:
    """Dirichlet parameters of every row: flat, of classes, of equal strings and of a prior that was given.

    Parameters
    ----------
    bitext : Bitext
    pairs : PairTable
    options : AlignOptions
    classes : WordClasses, optional
    prior : Prior or Aligner, optional
        An aligner gives its expected links, and what its class maps say of all rows; these and the class maps
        of this text then share ``options.class_weight`` by the number of links and of words.
    src_words, tgt_words : sequences of str, optional
    """

    def __init__(
        self,
        bitext: Bitext,
        pairs: PairTable,
        options: AlignOptions,
        *,
        classes: WordClasses | None,
        prior: Prior | Aligner | None,
        src_words: Sequence[str] | None,
        tgt_words: Sequence[str] | None,
    ) -> None:
        self.alpha, self.n_rows = options.alpha, pairs.n_rows
        # rows and what they have in addition, in one column for both directions or in two
        self.given: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
        if prior is not None and (src_words is None or tgt_words is None):
            raise UsageError("a prior needs the words of the text", hint="give src_words and tgt_words")
        if src_words is not None and tgt_words is not None:
            if prior is not None and not isinstance(prior, Prior):
                n_old, n_new = float(prior.counts.sum()), min(len(bitext.src_ids), len(bitext.tgt_ids))
                old = n_old / (n_old + n_new)
                of_classes = class_prior(prior, bitext, pairs, src_words, tgt_words)
                self.given.append((np.arange(pairs.n_rows), np.float32(old) * of_classes))
                options = replace(options, class_weight=(1 - old) * options.class_weight)
                prior = Prior.of_aligner(prior)
            if prior is not None:
                self.given.append(prior.rows(pairs, src_words, tgt_words))
            if classes is None and options.form_weight:
                equal = Prior.of_equal_strings(src_words, tgt_words, weight=options.form_weight)
                self.given.append(equal.rows(pairs, src_words, tgt_words, needed=False))
        self.of_classes = None
        if classes is not None:
            self.of_classes = ClassPrior(
                frequencies(bitext),
                pairs,
                classes,
                alpha=options.alpha,
                class_weight=options.class_weight,
                form_weight=options.form_weight,
            )

    def __call__(self, counts: NDArray[np.float32]) -> NDArray[np.float32]:
        """Float32 array, shape (n_rows, 2), or (1, 1) if all rows have the same."""
        if self.of_classes is not None:
            prior = self.of_classes(counts)
        elif not self.given:
            return np.full((1, 1), self.alpha, dtype=np.float32)
        else:
            prior = np.full((self.n_rows, 2), self.alpha, dtype=np.float32)
        for rows, pseudo_counts in self.given:
            prior[rows] += pseudo_counts
        return prior
