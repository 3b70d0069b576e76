"""What is known of translations before training: pseudo-counts of pairs of words."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from align.errors import InputError, UsageError
from align.lexicon import Lexicon
from align.short_repr import short_repr
from align.textfiles import read_lines
from align.wordalign.bitext import Bitext
from align.wordalign.links import Links
from align.wordalign.pairs import PairTable
from align.wordalign.unseen import match_rows

if TYPE_CHECKING:
    from align.wordalign.aligner import Aligner

# what word aligners call the word that stands for nothing
NULL_NAMES = ("<eps>", "NULL", "<NULL>")


@dataclass(frozen=True, eq=False)
class Prior:
    """Pseudo-counts of pairs of words, added to the Dirichlet parameters of both directions.

    A weight of n says as much as n certain links in the text. Pairs whose words the text lacks, or has in no
    sentence pair together, play no part.

    Parameters
    ----------
    src_words, tgt_words : tuple of str
        Distinct words.
    counts : scipy CSR array, float32, shape (len(src_words), len(tgt_words))
        Pseudo-counts, 0 or more.
    """

    src_words: tuple[str, ...]
    tgt_words: tuple[str, ...]
    counts: sp.csr_array

    __repr__ = short_repr

    def __post_init__(self) -> None:
        counts = sp.csr_array(self.counts, dtype=np.float32)
        counts.sum_duplicates()
        object.__setattr__(self, "counts", counts)
        wanted = (len(self.src_words), len(self.tgt_words))
        if counts.shape != wanted:
            raise InputError("pseudo-counts do not fit the words", got=counts.shape, wanted=wanted)
        if not (np.isfinite(counts.data) & (counts.data >= 0)).all():
            raise InputError("pseudo-counts that are negative or not finite")

    @classmethod
    def of_pairs(cls, pairs: Iterable[tuple[str, str, float]]) -> Prior:
        """From (source word, target word, pseudo-count); those of equal pairs add up."""
        src: dict[str, int] = {}
        tgt: dict[str, int] = {}
        rows = [(src.setdefault(s, len(src)), tgt.setdefault(t, len(tgt)), weight) for s, t, weight in pairs]
        array = np.array(rows, dtype=np.float64).reshape(-1, 3)
        index = array[:, :2].astype(np.int64)
        counts = sp.csr_array((array[:, 2], (index[:, 0], index[:, 1])), shape=(len(src), len(tgt)))
        return cls(tuple(src), tuple(tgt), counts)

    @classmethod
    def of_lexicon(cls, lexicon: Lexicon, *, weight: float = 1.0) -> Prior:
        """``weight`` for every distinct pair of a lexicon; write its words as the text has them."""
        return cls.of_pairs((src, tgt, weight) for src, tgt in dict.fromkeys(lexicon.pairs))

    @classmethod
    def of_equal_strings(
        cls, src_words: Sequence[str], tgt_words: Sequence[str], *, weight: float = 1.0
    ) -> Prior:
        """``weight`` for every word that both sides have."""
        other = set(tgt_words)
        return cls.of_pairs((word, word, weight) for word in src_words if word in other)

    @classmethod
    def of_table(
        cls,
        path: str | os.PathLike[str],
        *,
        weight: float = 1.0,
        given: Literal["src", "tgt"] = "src",
    ) -> Prior:
        """``weight`` times the probability of every row of a table.

        Parameters
        ----------
        path : path
            UTF-8 text, gzipped if the name ends in ``.gz``: word TAB translation TAB p(translation | word),
            or its natural logarithm, as ``fast_align -p`` writes it: logarithms where no value is above 0.
            Rows of NULL (``<eps>``) are passed over.
        weight : float
        given : {"src", "tgt"}
            Which side the first column is.

        Raises
        ------
        InputError
            With file and line, for a row that is not two words and a number, and for a value above 1.
        """
        rows = []
        for number, line in enumerate(read_lines(path), start=1):
            if not line.strip():
                continue
            columns = line.split("\t")
            try:
                if len(columns) != 3:
                    raise ValueError
                value = float(columns[2])
                if not value <= 1:
                    raise ValueError
            except ValueError:
                raise InputError(
                    "not a row of a probability table",
                    where=f"{path}:{number}",
                    got=repr(line[:60]),
                    wanted="word TAB translation TAB probability or its logarithm",
                ) from None
            rows.append((columns[0], columns[1], value))
        logarithms = all(value <= 0 for _, _, value in rows)
        if not logarithms and any(value < 0 for _, _, value in rows):
            raise InputError("a table of both probabilities and logarithms", where=path)
        return cls.of_pairs(
            (
                *((word, other) if given == "src" else (other, word)),
                weight * (math.exp(v) if logarithms else v),
            )
            for word, other, v in rows
            if word not in NULL_NAMES and other not in NULL_NAMES
        )

    @classmethod
    def of_links(
        cls,
        links: Links,
        bitext: Bitext,
        src_words: Sequence[str],
        tgt_words: Sequence[str],
        *,
        weight: float = 1.0,
    ) -> Prior:
        """``weight`` times the number of links of each pair of words, from any aligner's links of a text.

        Raises
        ------
        InputError
            If the links are not those of the text: another number of lines, or a link outside a sentence.
        """
        if links.n_pairs != bitext.n_pairs:
            raise InputError("links of another text", got=f"{links.n_pairs} lines", wanted=bitext.n_pairs)
        pair = np.repeat(np.arange(links.n_pairs), np.diff(links.offsets))
        for side, at, offsets in (
            ("source", links.src, bitext.src_offsets),
            ("target", links.tgt, bitext.tgt_offsets),
        ):
            outside = np.flatnonzero(at >= np.diff(offsets)[pair])
            if len(outside):
                n = int(pair[outside[0]])
                raise InputError(
                    f"a link to a {side} word that is not there",
                    where=f"line {n + 1}",
                    got=f"position {int(at[outside[0]])}",
                    wanted=f"below {int(np.diff(offsets)[n])}",
                )
        src = bitext.src_ids[bitext.src_offsets[pair] + links.src]
        tgt = bitext.tgt_ids[bitext.tgt_offsets[pair] + links.tgt]
        shape = (bitext.n_src_types, bitext.n_tgt_types)
        counts = sp.csr_array((weight * links.weights, (src, tgt)), shape=shape)
        return cls(tuple(src_words), tuple(tgt_words), counts)

    @classmethod
    def of_aligner(cls, aligner: Aligner, *, weight: float = 1.0) -> Prior:
        """``weight`` times the expected number of links in the text that ``aligner`` was trained on.

        To train on another text, rather hand the aligner itself to :func:`align.wordalign.train`: that passes
        on what its class maps say too.

        Raises
        ------
        UsageError
            If it does not know its words.
        """
        if aligner.src_words is None or aligner.tgt_words is None:
            raise UsageError(
                "the aligner does not know its words", hint="train it with src_words and tgt_words"
            )
        return cls(aligner.src_words, aligner.tgt_words, weight * aligner.counts)

    def rows(
        self, pairs: PairTable, src_words: Sequence[str], tgt_words: Sequence[str], *, needed: bool = True
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Rows of the pair table that have a pseudo-count, and the pseudo-counts, shape (n, 1).

        Warns
        -----
        UserWarning
            If there are pairs but none occurs in the text, and they are ``needed``.
        """
        src_number = {word: k for k, word in enumerate(self.src_words)}
        tgt_number = {word: k for k, word in enumerate(self.tgt_words)}
        found = match_rows(
            pairs,
            np.array([src_number.get(w, len(src_number)) for w in src_words], dtype=np.int64),
            np.array([tgt_number.get(w, len(tgt_number)) for w in tgt_words], dtype=np.int64),
            self.counts.indptr.astype(np.int64),
            self.counts.indices.astype(np.int32),
            len(tgt_number),
        )
        rows = np.flatnonzero(found >= 0)
        if needed and self.counts.nnz and not len(rows):
            warnings.warn(
                f"none of the {self.counts.nnz} pairs of the prior occurs in the text; it has no effect",
                stacklevel=4,
            )
        return rows, self.counts.data[found[rows], None]
