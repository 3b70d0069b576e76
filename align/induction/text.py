"""Lexicons from parallel text: what its words are linked with, how often and how surely."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from align.errors import InputError, OutputError, UsageError
from align.induction.translations import Translations
from align.lexicon import Lexicon
from align.short_repr import short_repr
from align.wordalign import AlignOptions, Bitext, align

_HEADER = "source\ttarget\tcount\tp(target|source)\tp(source|target)\tsignificance\n"


@dataclass(frozen=True, eq=False)
class TextLexicon:
    """Pairs of words that parallel text links, best first.

    Parameters
    ----------
    src_words, tgt_words : tuple of str
        Vocabularies of the text.
    src, tgt : ndarray of int64, shape (n,)
        Words of each pair, by falling score.
    counts : ndarray of float64, shape (n,)
        Expected number of links.
    src_to_tgt, tgt_to_src : ndarray of float64, shape (n,)
        Share of the links of the source word that lead to the target word, and the other way round.
    significance : ndarray of float64, shape (n,)
        Log-likelihood ratio G2 of the links against independence (Dunning 1993, "Accurate methods for the
        statistics of surprise and coincidence"): above 10.8 chance is less likely than 1 in 1,000.
    """

    src_words: tuple[str, ...]
    tgt_words: tuple[str, ...]
    src: NDArray[np.int64]
    tgt: NDArray[np.int64]
    counts: NDArray[np.float64]
    src_to_tgt: NDArray[np.float64]
    tgt_to_src: NDArray[np.float64]
    significance: NDArray[np.float64]

    __repr__ = short_repr

    @property
    def method(self) -> str:
        """For results that name their method."""
        return "text"

    @property
    def scores(self) -> NDArray[np.float64]:
        """What pairs are ordered by, shape (n,): both shares, that of the source word above all.

        ``c / (n_s + 1) * (c / (n_t + 1))**0.25`` with the links c of the pair and n of each word. The
        exponent was chosen on the bundled lexicon.
        """
        n_src = self.counts / self.src_to_tgt
        n_tgt = self.counts / self.tgt_to_src
        return self.counts / (n_src + 1) * (self.counts / (n_tgt + 1)) ** 0.25

    def lexicon(self) -> Lexicon:
        """The pairs alone."""
        pairs = zip(self.src.tolist(), self.tgt.tolist(), strict=True)
        return Lexicon(tuple((self.src_words[s], self.tgt_words[t]) for s, t in pairs))

    def only(self, words: Sequence[str]) -> TextLexicon:
        """The pairs of these source words."""
        asked = set(words)
        kept = np.array([word in asked for word in self.src_words])[self.src]
        return self._at(np.flatnonzero(kept))

    def _at(self, places: NDArray[np.integer]) -> TextLexicon:
        return replace(
            self,
            src=self.src[places],
            tgt=self.tgt[places],
            counts=self.counts[places],
            src_to_tgt=self.src_to_tgt[places],
            tgt_to_src=self.tgt_to_src[places],
            significance=self.significance[places],
        )

    def __call__(self, *, queries: Sequence[str], top: int) -> Translations:
        """:meth:`translate`, as :func:`align.evaluation.bli` calls it."""
        return self.translate(queries, top=top)

    def translate(self, words: Sequence[str] | None = None, *, top: int = 10) -> Translations:
        """Translate source words, all of the text by default."""
        if top < 1:
            raise UsageError("top is not positive", got=top, wanted="1 or more")
        names = tuple(dict.fromkeys(self.src_words if words is None else words))
        rows = np.array([self._index.get(name, -1) for name in names], np.int64)
        indices = np.full((len(names), top), -1, np.int64)
        values = np.full((len(names), top), -np.inf, np.float32)
        by_source = np.argsort(self.src, kind="stable")  # within a source word still best first
        starts = np.searchsorted(self.src[by_source], np.arange(len(self.src_words) + 1))
        scores = self.scores
        for n in np.flatnonzero(rows >= 0):
            best = by_source[starts[rows[n]] : starts[rows[n] + 1]][:top]
            indices[n, : len(best)], values[n, : len(best)] = self.tgt[best], scores[best]
        return Translations(
            names,
            self.tgt_words,
            indices,
            values,
            rows >= 0,
            method=self.method,
            retrieval="links",
            n_candidates=len(self.tgt_words),
        )

    @cached_property
    def _index(self) -> dict[str, int]:
        return {word: n for n, word in enumerate(self.src_words)}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a table with a header: words, count, both shares, significance; best first.

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        rows = zip(
            self.src.tolist(),
            self.tgt.tolist(),
            self.counts.tolist(),
            self.src_to_tgt.tolist(),
            self.tgt_to_src.tolist(),
            self.significance.tolist(),
            strict=True,
        )
        try:
            with open(path, "w", encoding="utf-8", newline="\n") as out:
                out.write(_HEADER)
                out.writelines(
                    f"{self.src_words[s]}\t{self.tgt_words[t]}\t{c:.2f}\t{p:.4f}\t{q:.4f}\t{g:.1f}\n"
                    for s, t, c, p, q, g in rows
                )
        except OSError as error:
            raise OutputError("the lexicon cannot be written", where=path, got=error.strerror) from error


def lexicon_from_text(
    bitext: Bitext,
    src_words: Sequence[str],
    tgt_words: Sequence[str],
    *,
    min_count: float = 2.0,
    letters_only: bool = True,
    options: AlignOptions = AlignOptions(),  # noqa: B008 - frozen
) -> TextLexicon:
    """Align parallel text word by word and read a lexicon off its links.

    Parameters
    ----------
    bitext : Bitext
    src_words, tgt_words : sequence of str
        The word of each id.
    min_count : float
        Pairs with fewer expected links are left out.
    letters_only : bool
        Leave out pairs with a word that has no letter: numbers and punctuation.
    options : AlignOptions

    Returns
    -------
    TextLexicon

    Raises
    ------
    InputError
        If no pair is left.

    Notes
    -----
    Time and memory are the aligner's: :func:`align.wordalign.align`.
    """
    found = align(bitext, options=options, src_words=src_words, tgt_words=tgt_words)
    lexicon = lexicon_from_links(
        found.counts,
        src_words,
        tgt_words,
        src_frequency=np.bincount(bitext.src_ids, minlength=bitext.n_src_types),
        tgt_frequency=np.bincount(bitext.tgt_ids, minlength=bitext.n_tgt_types),
        min_count=min_count,
        letters_only=letters_only,
    )
    if not len(lexicon.src):
        raise InputError(
            "the text gives no pair of words",
            got=f"{bitext.n_pairs} sentence pairs",
            wanted=f"a pair with {min_count:g} links or more",
            hint="Lower --min-count, or give more text",
        )
    return lexicon


def lexicon_from_links(
    counts: sp.csr_array,
    src_words: Sequence[str],
    tgt_words: Sequence[str],
    *,
    src_frequency: NDArray[np.integer],
    tgt_frequency: NDArray[np.integer],
    min_count: float = 2.0,
    letters_only: bool = True,
) -> TextLexicon:
    """A lexicon from expected link counts, shape (n_src_words, n_tgt_words), and word frequencies.

    Parameters and result as in :func:`lexicon_from_text`; it may be empty.
    """
    table = sp.coo_array(counts)
    src, tgt = table.row.astype(np.int64), table.col.astype(np.int64)
    links = table.data.astype(np.float64)
    n_src = np.bincount(src, weights=links, minlength=len(src_words))
    n_tgt = np.bincount(tgt, weights=links, minlength=len(tgt_words))
    kept = links >= max(min_count, 1e-12)
    if letters_only:
        spelled = [np.array([any(map(str.isalpha, w)) for w in words]) for words in (src_words, tgt_words)]
        kept &= spelled[0][src] & spelled[1][tgt]
    src, tgt, links = src[kept], tgt[kept], links[kept]
    total = float(max(src_frequency.sum(), tgt_frequency.sum()))
    lexicon = TextLexicon(
        tuple(src_words),
        tuple(tgt_words),
        src,
        tgt,
        links,
        links / n_src[src],
        links / n_tgt[tgt],
        _log_likelihood_ratio(links, src_frequency[src], tgt_frequency[tgt], total),
    )
    return lexicon._at(np.lexsort((tgt, src, -lexicon.scores)))


def _log_likelihood_ratio(
    both: NDArray[np.float64], n_src: NDArray[np.integer], n_tgt: NDArray[np.integer], total: float
) -> NDArray[np.float64]:
    """``2 sum O log(O / E)`` over the four cells of each table; 0 for pairs rarer than chance."""
    a, b = n_src.astype(np.float64), n_tgt.astype(np.float64)
    both = np.minimum(both, np.minimum(a, b))  # expected counts may exceed a frequency by rounding
    observed = np.stack([both, a - both, b - both, np.maximum(total - a - b + both, 0.0)])
    expected = np.stack([a * b, a * (total - b), (total - a) * b, (total - a) * (total - b)]) / total
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(observed > 0, observed * np.log(observed / expected), 0.0)
    ratio: NDArray[np.float64] = np.where(both > expected[0], 2 * terms.sum(axis=0), 0.0)
    return np.maximum(ratio, 0.0)
