"""Bilingual lexicon induction against a test lexicon, by the rules of the usual evaluators."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from align.errors import InputError, UsageError
from align.induction.translations import Translations
from align.lexicon import Lexicon
from align.neighbors.criteria import Method
from align.short_repr import short_repr
from align.vectors import Vectors

Unit = Literal["word", "pair"]
Oov = Literal["drop", "wrong"]


class Inducer(Protocol):
    """Something that translates words, such as ``functools.partial(induce, src, tgt, mapping)``."""

    def __call__(self, *, queries: Sequence[str], top: int) -> Translations: ...


@dataclass(frozen=True)
class ProtocolRules:
    """How an evaluator counts.

    Attributes
    ----------
    unit : {"word", "pair"}
        A query is a distinct source word, and any of its translations is a hit; or a query is a pair.
    oov : {"drop", "wrong"}
        A query with no vector, or no translation in the target vocabulary, is left out or counts as wrong.
    lower : bool
        The test lexicon is lower-cased. (Vocabularies are taken as they are: lower-case them on reading.)
    retrieval : str
        The criterion of its headline figure, for whoever makes the translations.
    """

    unit: Unit
    oov: Oov
    lower: bool
    retrieval: Method


PROTOCOLS = {
    "muse": ProtocolRules("word", "drop", lower=True, retrieval="csls"),
    "vecmap": ProtocolRules("word", "drop", lower=False, retrieval="csls"),
    "xling": ProtocolRules("pair", "drop", lower=True, retrieval="nn"),
    "fasttext": ProtocolRules("word", "wrong", lower=False, retrieval="csls"),
}


@dataclass(frozen=True, eq=False)
class BliResult:
    """What was found for every query of a test lexicon, and figures of it, all as fractions.

    Parameters
    ----------
    queries : tuple of str
        Source words; with pairs as the unit a word comes once for each of its pairs.
    known : ndarray of bool, shape (n,)
        Whether the query and a translation of it are in the vocabularies.
    ranks : ndarray of int64, shape (n,)
        Rank of the best gold translation, from 1; 0 if none is among the first `depth`.
    average_precisions : ndarray of float64, shape (n,)
        Over the known gold translations of the query; one gold translation makes it ``1 / rank``.
    ks : tuple of int
        Of :attr:`p_at`.
    depth : int
        Translations that were looked at. Ranks beyond it count 0 in :attr:`mrr` and :attr:`map`.
    unit, oov, protocol : str
    method, retrieval : str
        Of the translations.
    n_candidates : int
    """

    queries: tuple[str, ...]
    known: NDArray[np.bool_]
    ranks: NDArray[np.int64]
    average_precisions: NDArray[np.float64]
    ks: tuple[int, ...]
    depth: int
    unit: Unit
    oov: Oov
    protocol: str | None
    method: str
    retrieval: str
    n_candidates: int

    __repr__ = short_repr

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Queries that count, shape (n,): the known ones, or all where unknown ones are wrong."""
        return self.known if self.oov == "drop" else np.ones_like(self.known)

    @property
    def n_queries(self) -> int:
        """Queries that count."""
        return int(self.scored.sum())

    @property
    def coverage(self) -> float:
        """Share of the known among all queries."""
        return float(self.known.mean()) if len(self.known) else 0.0

    def hits(self, k: int = 1) -> NDArray[np.bool_]:
        """Whether a gold translation is among the first k, shape (n_queries,)."""
        ranks = self.ranks[self.scored]
        return (ranks > 0) & (ranks <= k)

    @property
    def reciprocal_ranks(self) -> NDArray[np.float64]:
        """``1 / rank`` of the best gold translation or 0, shape (n_queries,)."""
        ranks = self.ranks[self.scored]
        return np.where(ranks > 0, 1.0 / np.maximum(ranks, 1), 0.0)

    @property
    def p_at(self) -> dict[int, float]:
        """Share of the queries with a hit among the first k, for every k of `ks`; 0 without queries."""
        return {k: _mean(self.hits(k)) for k in self.ks}

    @property
    def mrr(self) -> float:
        """Mean reciprocal rank of the best gold translation."""
        return _mean(self.reciprocal_ranks)

    @property
    def map(self) -> float:
        """Mean average precision over all gold translations."""
        return _mean(self.average_precisions[self.scored])

    def only(self, mask: NDArray[np.bool_]) -> BliResult:
        """The result for some of the queries, given as flags of shape (n,)."""
        if mask.shape != self.known.shape:
            raise InputError("not one flag a query", got=mask.shape, wanted=self.known.shape)
        return replace(
            self,
            queries=tuple(q for q, kept in zip(self.queries, mask, strict=True) if kept),
            known=self.known[mask],
            ranks=self.ranks[mask],
            average_precisions=self.average_precisions[mask],
        )

    def as_dict(self) -> dict[str, float | int | str | None]:
        """The figures and how they came about, plain values for JSON."""
        return {
            **{f"p_at_{k}": p for k, p in self.p_at.items()},
            "mrr": self.mrr,
            "map": self.map,
            "coverage": self.coverage,
            "n_queries": self.n_queries,
            "n_candidates": self.n_candidates,
            "method": self.method,
            "retrieval": self.retrieval,
            "protocol": self.protocol,
            "unit": self.unit,
            "oov": self.oov,
            "depth": self.depth,
        }


def bli(
    translations: Translations | Inducer,
    test: Lexicon | Iterable[tuple[str, str]],
    *,
    unit: Unit | None = None,
    oov: Oov | None = None,
    protocol: str | None = None,
    ks: Sequence[int] = (1, 5, 10),
    depth: int = 1000,
) -> BliResult:
    """Score translations against a test lexicon.

    Parameters
    ----------
    translations : Translations or callable
        Made beforehand, of all source words of the test or of the whole vocabulary; or something that makes
        them when asked for `depth` translations, ``partial(induce, src, tgt, mapping, retrieval="csls")``.
        Which words are candidates is for the maker to say: ``induce(..., candidates=...)``.
    test : Lexicon
        Repeated pairs count once.
    unit, oov : optional
        As in :class:`ProtocolRules`; those of the protocol, else ``"word"`` and ``"drop"``.
    protocol : {"muse", "vecmap", "xling", "fasttext"}, optional
        The rules of :data:`PROTOCOLS`.
    ks : sequence of int
    depth : int
        For a callable. Translations that lie beyond it add less than ``1 / depth`` each to
        :attr:`BliResult.mrr` and :attr:`BliResult.map`, which leave them out.

    Returns
    -------
    BliResult

    Raises
    ------
    UsageError
        For an unknown rule, or more k than there are translations to look at.
    InputError
        For an empty test lexicon, or translations that lack some of its source words.

    Notes
    -----
    Section 5.2 of Glavaš et al. (2019), "How to (properly) evaluate cross-lingual word embeddings", argues
    for pairs and mean average precision; figures of different units or rules do not compare.
    """
    if protocol is not None and protocol not in PROTOCOLS:
        raise UsageError("unknown protocol", got=protocol, wanted=", ".join(PROTOCOLS))
    rules = PROTOCOLS[protocol] if protocol else ProtocolRules("word", "drop", lower=False, retrieval="csls")
    unit, oov = unit or rules.unit, oov or rules.oov
    if unit not in ("word", "pair") or oov not in ("drop", "wrong"):
        raise UsageError("unknown rule", got=f"{unit}, {oov}", wanted="word or pair, drop or wrong")
    if not ks or min(ks) < 1:
        raise UsageError("k is not positive", got=list(ks), wanted="k >= 1")
    pairs = [(s.lower(), t.lower()) if rules.lower else (s, t) for s, t in test]
    gold = Lexicon(tuple(pairs)).translations
    if not gold:
        raise InputError("the test lexicon holds no pairs")
    if not isinstance(translations, Translations):
        translations = translations(queries=tuple(gold), top=max(depth, *ks))
    absent = [word for word in gold if word not in translations.rows]
    if absent and not translations.whole_vocabulary:
        raise InputError("words of the test were not translated", got=f"{len(absent)}, first {absent[0]!r}")
    if max(ks) > translations.depth < translations.n_candidates:
        raise UsageError(
            "more translations are asked for than were made", got=translations.depth, wanted=max(ks)
        )
    tgt_rows = {word: row for row, word in enumerate(translations.tgt_words)}
    queries, known, ranks, precisions = [], [], [], []
    for word, answers in gold.items():
        row = translations.rows.get(word)
        listed = () if row is None else translations.indices[row]
        for group in [answers] if unit == "word" else [(answer,) for answer in answers]:
            inside = [tgt_rows[answer] for answer in group if answer in tgt_rows]
            usable = bool(inside) and row is not None and bool(translations.known[row])
            found = (np.flatnonzero(np.isin(listed, inside)) + 1).tolist() if usable else []
            queries.append(word)
            known.append(usable)
            ranks.append(found[0] if found else 0)
            precisions.append(sum(n / rank for n, rank in enumerate(found, start=1)) / max(1, len(inside)))
    return BliResult(
        tuple(queries),
        np.array(known, np.bool_),
        np.array(ranks, np.int64),
        np.array(precisions, np.float64),
        tuple(ks),
        translations.depth,
        unit,
        oov,
        protocol,
        translations.method,
        translations.retrieval,
        translations.n_candidates,
    )


def by_frequency(
    result: BliResult, src: Vectors, *, at_least: Sequence[int] = (0, 50, 200)
) -> dict[int, BliResult]:
    """The result for source words with at least so many occurrences in the text of their vectors.

    Words outside the vocabulary have none.

    Raises
    ------
    InputError
        If the space has no counts.
    """
    if src.counts is None:
        raise InputError("the source space has no counts", wanted="vectors with counts, as in .npz or .bin")
    rows = src.indices_of(result.queries)
    counts = np.where(rows >= 0, src.counts[rows], 0)
    return {least: result.only(counts >= least) for least in at_least}


def _mean(values: NDArray[np.bool_] | NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else 0.0
