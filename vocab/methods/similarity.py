"""Vectors of tokens in spaces of words, and mixtures of the nearest: what WECHSEL, FOCUS and OFA share."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from align.errors import InputError, UsageError
from align.lexicon import Lexicon, case_forms
from align.mapping import LinearMap
from align.mapping.methods import fit
from align.neighbors import top_k
from align.normalize import unit
from align.vectors import Vectors
from vocab.tokens import Vocabulary

_LARGE = 1 << 42  # multiplications


@dataclass(frozen=True, eq=False)
class TokenVectors:
    """Distinct vectors, and whose they are.

    Parameters
    ----------
    rows : ndarray of float32, shape (m, dim)
        None of them zero, each of some token.
    of : ndarray of int64, shape (n_tokens,)
        Row of every token, -1 for those without a vector.
    """

    rows: NDArray[np.float32]
    of: NDArray[np.int64]

    @classmethod
    def nonzero(cls, rows: NDArray[np.float32], of: NDArray[np.int64]) -> TokenVectors:
        """Drop rows of zeros, which are no vectors, and rows of no token, which must not be neighbours."""
        owned = of >= 0
        usable = np.zeros(len(rows), bool)
        usable[of[owned]] = True
        usable &= rows.any(axis=1)
        numbers = np.where(usable, np.cumsum(usable) - 1, -1)
        kept = np.full(len(of), -1, np.int64)
        kept[owned] = numbers[of[owned]]
        return cls(rows if usable.all() else rows[usable], kept)

    def only(self, tokens: NDArray[np.bool_]) -> TokenVectors:
        """The vectors of some tokens; the others have none."""
        kept = tokens & (self.of >= 0)
        used, numbers = np.unique(self.of[kept], return_inverse=True)
        of = np.full(len(self.of), -1, np.int64)
        of[kept] = numbers
        return TokenVectors(self.rows[used], of)


def vectors_of_texts(vocabulary: Vocabulary, vectors: Vectors) -> TokenVectors:
    """Vectors of the tokens' texts without surrounding white space; ``the`` and `` the`` share one."""
    texts: dict[str, int] = {}
    of = np.full(len(vocabulary), -1, np.int64)
    for token, surface in enumerate(vocabulary.surfaces):
        try:
            text = surface.decode("utf-8").strip()
        except UnicodeDecodeError:  # a fragment of a character has no meaning of its own
            continue
        if text:
            of[token] = texts.setdefault(text, len(texts))
    return TokenVectors.nonzero(vectors.vectors_of(list(texts)), of)


def means_of_words(
    vocabulary: Vocabulary,
    vectors: Vectors,
    *,
    forms: Sequence[Callable[[str], str]],
    by_count: bool,
    n_words: int | None = None,
) -> TokenVectors:
    """Vector of each token: the mean of the words it occurs in.

    Parameters
    ----------
    forms : sequence of callable
        Spellings in which a word is tokenised; it counts once for each that holds the token.
    by_count : bool
        Weigh words by their occurrences (1 / rank where those are not known) instead of equally.
    n_words : int, optional
        Only the most frequent ones.
    """
    table = vectors.table(n_words)
    counts: NDArray[np.floating | np.integer] = np.ones(len(table))
    if by_count:
        counts = 1.0 / np.arange(1, len(table) + 1) if table.counts is None else table.counts
    tokens: list[int] = []
    words: list[int] = []
    for form in forms:
        for word, ids in enumerate(vocabulary.encode([form(w) for w in table.words])):
            distinct = set(ids)
            tokens.extend(distinct)
            words.extend([word] * len(distinct))
    weights = sp.csr_array(
        (counts[words].astype(np.float64), (tokens, words)), shape=(len(vocabulary), len(table))
    )
    totals = weights.sum(axis=1)
    rows = weights @ table.matrix
    of = np.arange(len(vocabulary))
    of[vocabulary.special] = -1
    return TokenVectors.nonzero((rows / np.where(totals > 0, totals, 1.0)[:, None]).astype(np.float32), of)


def to_one_space(
    mapping: Callable[..., LinearMap] | str,
    lexicon: Lexicon | None,
    spaces: tuple[Vectors, Vectors],
    sides: tuple[TokenVectors, TokenVectors],
    *,
    seeds: Literal["identical", "numerals", "cognates"] | None = None,
    seed: int = 0,
) -> tuple[TokenVectors, TokenVectors, dict[str, Any]]:
    """Both sides' vectors where translations are close, and how: for a plan's options.

    Parameters
    ----------
    mapping : callable or str
        A callable is fitted by :func:`fit_lexicon` and takes the source side to the target's space. A name
        of :data:`align.mapping.methods.METHODS` is fitted by :func:`align.mapping.methods.fit` on the
        spaces' words, and takes both sides to a common space.
    seeds, seed
        As for :func:`align.mapping.methods.fit`.
    """
    src, tgt = sides
    if isinstance(mapping, str):
        fitted = fit(*spaces, lexicon, method=mapping, seeds=seeds, seed=seed)
        facts = {"mapping": mapping, "lexicon_entries": fitted.n_pairs, "converged": fitted.converged}
        return (
            replace(src, rows=np.asarray(fitted.map_src(src.rows), np.float32)),
            replace(tgt, rows=np.asarray(fitted.map_tgt(tgt.rows), np.float32)),
            facts,
        )
    if seeds is not None:
        raise UsageError("only a mapping that is named takes seeds", got=f"seeds={seeds}")
    if lexicon is None:
        raise UsageError(
            "a lexicon is needed to align the two spaces",
            hint="Pass mapping=None if they are aligned already, or a method that needs none",
        )
    linear, n_entries = fit_lexicon(mapping, lexicon, *spaces)
    facts = {
        "mapping": linear.method,
        "lexicon_entries": n_entries,
        "residual": round(linear.residual, 6),
    }
    return replace(src, rows=linear(src.rows)), tgt, facts


def fit_lexicon(
    mapping: Callable[..., LinearMap], lexicon: Lexicon, src_vectors: Vectors, tgt_vectors: Vectors
) -> tuple[LinearMap, int]:
    """The map fitted on the lexicon's entries, and how many of them have vectors on both sides."""
    variants = lexicon.case_variants()
    known: list[set[str]] = []
    for side, vectors in enumerate((src_vectors, tgt_vectors)):
        forms = sorted({pair[side] for pair in variants})
        found = vectors.indices_of(forms) >= 0
        known.append({form for form, is_word in zip(forms, found, strict=True) if is_word})
    used = [pair for pair in variants if pair[0] in known[0] and pair[1] in known[1]]
    if not used:
        raise InputError(
            "no entry of the lexicon has vectors on both sides",
            got=f"{len(lexicon)} entries",
            hint="Check the direction of the lexicon and the languages of the vectors; those trained on "
            "little text know few words",
        )
    n_entries = sum(
        not known[0].isdisjoint(case_forms(src)) and not known[1].isdisjoint(case_forms(tgt))
        for src, tgt in lexicon
    )
    if n_entries < len(lexicon):
        warnings.warn(
            f"{len(lexicon) - n_entries} of {len(lexicon)} lexicon entries lack a vector on a side",
            stacklevel=4,
        )
    src_words, tgt_words = (list(dict.fromkeys(pair[side] for pair in used)) for side in (0, 1))
    src_row, tgt_row = ({word: i for i, word in enumerate(words)} for words in (src_words, tgt_words))
    pairs = np.array([(src_row[s], tgt_row[t]) for s, t in used], np.int64)
    fitted = mapping(
        src_vectors.vectors_of(src_words),
        tgt_vectors.vectors_of(tgt_words),
        pairs=pairs,
        weights=np.array([variants[pair] for pair in used], np.float64),
    )
    return fitted, n_entries


def nearest_mix(
    src: TokenVectors, tgt: TokenVectors, *, neighbors: int, temperature: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Plan entries (new id, old id, weight): softmax of the cosines of the nearest old tokens.

    Where the tokens at the last place are equally near, the lower ids are taken.

    Raises
    ------
    InputError
        If no token of a side has a vector.
    """
    if len(src.rows) == 0 or len(tgt.rows) == 0:
        side = "source" if len(src.rows) == 0 else "target"
        raise InputError(
            f"no {side} token has a vector", hint="Check that vectors and tokenizer share a language"
        )
    found, scores = _nearest(unit(src.rows), unit(tgt.rows), neighbors)
    # from vectors to the tokens that share them, still nearest first and lower ids first
    members = np.argsort(src.of, kind="stable")
    bounds = np.searchsorted(src.of[members], np.arange(len(src.rows) + 1))
    vector, k = found.ravel(), found.shape[1]
    size = bounds[vector + 1] - bounds[vector]
    row = np.repeat(np.arange(len(tgt.rows)), size.reshape(-1, k).sum(axis=1))
    token = members[ranges(bounds[vector], size)]
    score = np.repeat(scores.ravel(), size)
    # in order already, but where vectors that are equally near belong to several tokens
    wrong = (row[1:] == row[:-1]) & (score[1:] == score[:-1]) & (token[1:] < token[:-1])
    if wrong.any():
        mixed_up = np.zeros(len(tgt.rows), bool)
        mixed_up[row[1:][wrong]] = True
        at = np.flatnonzero(mixed_up[row])
        token[at] = token[at[np.lexsort((token[at], -score[at], row[at]))]]
    starts = np.searchsorted(row, np.arange(len(tgt.rows) + 1))
    kept = np.arange(len(row)) - starts[row] < neighbors
    row, token, score = row[kept], token[kept], score[kept]
    starts = np.searchsorted(row, np.arange(len(tgt.rows) + 1))
    weight = np.exp((score - score[starts[row]]) / temperature)
    weight /= np.add.reduceat(weight, starts[:-1])[row]
    # from target vectors to the tokens that share them
    new = np.flatnonzero(tgt.of >= 0)
    size = np.diff(starts)[tgt.of[new]]
    entries = ranges(starts[tgt.of[new]], size)
    return np.repeat(new, size), token[entries], weight[entries]


def _nearest(
    src_rows: NDArray[np.float32], tgt_rows: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The nearest unit source rows of each unit target row, and their cosines; the rows are overwritten.

    With the means apart, ``x.y = x.m + n.(y - m) + (x - n).(y - m)``, what is searched for is short wherever
    rows have much in common: the 8 bits of a shortlist then tell them apart. The longest go last, as a
    block's margin is that of its longest.
    """
    src_mean, tgt_mean = (
        rows.mean(axis=0, dtype=np.float64).astype(np.float32) for rows in (src_rows, tgt_rows)
    )
    src_rows -= src_mean
    along = np.einsum("ij,j->i", tgt_rows, src_mean, dtype=np.float64)
    bias = np.einsum("ij,j->i", src_rows, tgt_mean, dtype=np.float64).astype(np.float32)
    tgt_rows -= tgt_mean
    order = np.argsort(np.einsum("ij,ij->i", tgt_rows, tgt_rows), kind="stable")
    # until torch and a device's driver are loaded, the processor has found what is found here
    small = len(tgt_rows) * src_rows.size < _LARGE
    nearest = top_k(
        tgt_rows[order], src_rows, k, metric="inner", bias=bias, backend="cpu" if small else "auto"
    )
    back = np.argsort(order)
    return nearest.indices[back], nearest.scores[back].astype(np.float64) + along[:, None]


def ranges(starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """``start, start + 1, ..., start + size - 1`` for each, end to end."""
    before = np.cumsum(sizes) - sizes
    return np.repeat(starts - before, sizes) + np.arange(int(sizes.sum()))
