"""WECHSEL: new rows as mixtures of the old tokens nearest in an aligned space of word vectors.

Minixhofer, Paischer, Rekabsaz (2022), "WECHSEL: Effective initialization of subword embeddings for
cross-lingual transfer of monolingual language models", section 3.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from align.errors import InputError, UsageError
from align.lexicon import Lexicon, case_forms
from align.mapping import LinearMap, procrustes
from align.neighbors import top_k
from align.normalize import unit
from align.vectors import Vectors
from vocab.plan import Origin, TransferPlan
from vocab.tokens import AnyTokenizer, Vocabulary


def wechsel(
    src_tokenizer: AnyTokenizer | Vocabulary,
    tgt_tokenizer: AnyTokenizer | Vocabulary,
    *,
    src_vectors: Vectors,
    tgt_vectors: Vectors,
    lexicon: Lexicon | None = None,
    mapping: Callable[..., LinearMap] | None = procrustes,
    neighbors: int = 10,
    temperature: float = 0.1,
    use_subword_info: bool = True,
) -> TransferPlan:
    """Mix each new row from the old tokens whose word vectors are nearest to its own.

    A token's vector is that of its text without surrounding white space, so ``the`` and `` the`` share one.
    The source vectors are turned into the target's space by a map fitted on the lexicon; then the new row is
    the sum over its nearest old tokens of ``softmax(cosine / temperature)`` (equations 2 to 4). Where
    the tokens at the last place are equally near, the lower ids are taken.

    Parameters
    ----------
    src_tokenizer, tgt_tokenizer : tokenizer or Vocabulary
    src_vectors, tgt_vectors : Vectors
        Word vectors of the two languages. Where they have no sub-words, see `use_subword_info`.
    lexicon : Lexicon, optional
        Translations from source to target language; each is used in three case forms on both sides.
    mapping : callable or None
        ``mapping(X, Y, pairs=..., weights=...) -> LinearMap``. None says that the spaces are aligned already.
    neighbors : int
        Old tokens mixed into a new row.
    temperature : float
        Of the softmax; smaller is sharper.
    use_subword_info : bool
        If false, or if the vectors know whole words only, a token's vector is the mean of the words that
        hold it after tokenisation, weighted by how often they occur (by 1 / rank where that is not known).

    Returns
    -------
    TransferPlan
        Rows are ``MIXED``; tokens without a vector (special tokens, white space, fragments of characters) are
        left ``EMPTY`` for a fallback. Overlapping tokens are not copied: chain :func:`vocab.methods.copy`
        before it for that.

    Raises
    ------
    UsageError
        For a mapping without a lexicon, or numbers out of range.
    InputError
        If the spaces differ in width and are not mapped, or no lexicon entry has vectors on both sides.

    Warns
    -----
    UserWarning
        Once, with the number of lexicon entries that have no vectors.

    Notes
    -----
    Time ``2 m_src m_tgt dim`` operations for the numbers of distinct token texts, a few seconds for 50,000
    tokens a side; memory about 4 float32 matrices of (tokens, dim).
    """
    if neighbors < 1 or not temperature > 0:
        raise UsageError("neighbors and temperature must be positive", got=f"{neighbors} and {temperature}")
    src, tgt = Vocabulary.of(src_tokenizer), Vocabulary.of(tgt_tokenizer)
    options: dict[str, Any] = {
        "neighbors": neighbors,
        "temperature": temperature,
        "use_subword_info": use_subword_info,
        "mapping": None,
    }
    src_rows, src_of = _token_vectors(src, src_vectors, use_subword_info)
    tgt_rows, tgt_of = _token_vectors(tgt, tgt_vectors, use_subword_info)
    if mapping is not None:
        fitted, n_entries = _fit(mapping, lexicon, src_vectors, tgt_vectors)
        src_rows = fitted(src_rows)
        options |= {
            "mapping": fitted.method,
            "lexicon_entries": n_entries,
            "residual": round(fitted.residual, 6),
        }
    elif src_vectors.dim != tgt_vectors.dim:
        raise InputError(
            "the spaces differ in width and are not mapped",
            got=f"{src_vectors.dim} and {tgt_vectors.dim}",
            hint="Pass a lexicon and a mapping",
        )
    rows, cols, values = _mix(unit(src_rows), src_of, unit(tgt_rows), tgt_of, neighbors, temperature)
    return TransferPlan.from_entries(
        rows,
        cols,
        values,
        Origin.MIXED,
        src_tokens=src.tokens,
        tgt_tokens=tgt.tokens,
        method="wechsel",
        options=options,
    )


def _token_vectors(
    vocabulary: Vocabulary, vectors: Vectors, use_subword_info: bool
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Distinct non-zero vectors, shape (m, dim), and for each token which one is its own (-1: none)."""
    if use_subword_info and vectors.has_subwords:
        texts: dict[str, int] = {}
        of = np.full(len(vocabulary), -1, np.int64)
        for token, surface in enumerate(vocabulary.surfaces):
            try:
                text = surface.decode("utf-8").strip()
            except UnicodeDecodeError:  # a fragment of a character has no meaning of its own
                continue
            if text:
                of[token] = texts.setdefault(text, len(texts))
        rows = vectors.vectors_of(list(texts))
    else:
        rows = _mean_of_words(vocabulary, vectors)
        of = np.arange(len(vocabulary))
        of[vocabulary.special] = -1
    usable = rows.any(axis=1)
    numbers = np.where(usable, np.cumsum(usable) - 1, -1)
    return rows[usable], np.where(of >= 0, numbers[of], -1)


def _mean_of_words(vocabulary: Vocabulary, vectors: Vectors) -> NDArray[np.float32]:
    """Vector of each token: the mean of the words it occurs in, weighted by their counts.

    A word counts once for being tokenised at the start of a text and once after a space.
    """
    table = vectors.table()
    counts = 1.0 / np.arange(1, len(table) + 1) if table.counts is None else table.counts
    tokens: list[int] = []
    words: list[int] = []
    for prefix in ("", " "):
        for word, ids in enumerate(vocabulary.encode([prefix + w for w in table.words])):
            distinct = set(ids)
            tokens.extend(distinct)
            words.extend([word] * len(distinct))
    weights = sp.csr_array(
        (counts[words].astype(np.float64), (tokens, words)), shape=(len(vocabulary), len(table))
    )
    totals = weights.sum(axis=1)
    rows = weights @ table.matrix
    return (rows / np.where(totals > 0, totals, 1.0)[:, None]).astype(np.float32)


def _fit(
    mapping: Callable[..., LinearMap], lexicon: Lexicon | None, src_vectors: Vectors, tgt_vectors: Vectors
) -> tuple[LinearMap, int]:
    """The map fitted on the lexicon's entries, and how many of them have vectors on both sides."""
    if lexicon is None:
        raise UsageError(
            "wechsel needs a lexicon to align the two spaces",
            hint="Pass mapping=None if they are aligned already",
        )
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
            hint="Check the direction of the lexicon and the languages of the vectors",
        )
    n_entries = sum(
        not known[0].isdisjoint(case_forms(src)) and not known[1].isdisjoint(case_forms(tgt))
        for src, tgt in lexicon
    )
    if n_entries < len(lexicon):
        warnings.warn(
            f"{len(lexicon) - n_entries} of {len(lexicon)} lexicon entries lack a vector on a side",
            stacklevel=3,
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


def _mix(
    src_rows: NDArray[np.float32],
    src_of: NDArray[np.int64],
    tgt_rows: NDArray[np.float32],
    tgt_of: NDArray[np.int64],
    neighbors: int,
    temperature: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Plan entries (new id, old id, weight); vectors are unit rows, ``*_of`` says which is each token's."""
    if len(src_rows) == 0 or len(tgt_rows) == 0:
        side = "source" if len(src_rows) == 0 else "target"
        raise InputError(
            f"no {side} token has a vector", hint="Check that vectors and tokenizer share a language"
        )
    nearest = top_k(tgt_rows, src_rows, neighbors, metric="inner")
    # from vectors to the tokens that share them, still nearest first and lower ids first
    members = np.argsort(src_of, kind="stable")
    bounds = np.searchsorted(src_of[members], np.arange(len(src_rows) + 1))
    vector, k = nearest.indices.ravel(), nearest.indices.shape[1]
    size = bounds[vector + 1] - bounds[vector]
    row = np.repeat(np.arange(len(tgt_rows)), size.reshape(-1, k).sum(axis=1))
    token = members[_ranges(bounds[vector], size)]
    score = np.repeat(nearest.scores.ravel(), size).astype(np.float64)
    order = np.lexsort((token, -score, row))
    token, score = token[order], score[order]
    starts = np.searchsorted(row, np.arange(len(tgt_rows) + 1))
    kept = np.arange(len(row)) - starts[row] < neighbors
    row, token, score = row[kept], token[kept], score[kept]
    starts = np.searchsorted(row, np.arange(len(tgt_rows) + 1))
    weight = np.exp((score - score[starts[row]]) / temperature)
    weight /= np.add.reduceat(weight, starts[:-1])[row]
    # from target vectors to the tokens that share them
    new = np.flatnonzero(tgt_of >= 0)
    size = np.diff(starts)[tgt_of[new]]
    entries = _ranges(starts[tgt_of[new]], size)
    return np.repeat(new, size), token[entries], weight[entries]


def _ranges(starts: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """``start, start + 1, ..., start + size - 1`` for each, end to end."""
    before = np.cumsum(sizes) - sizes
    return np.repeat(starts - before, sizes) + np.arange(int(sizes.sum()))
