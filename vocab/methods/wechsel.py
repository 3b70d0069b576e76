"""WECHSEL: new rows as mixtures of the old tokens nearest in an aligned space of word vectors.

Minixhofer, Paischer, Rekabsaz (2022), "WECHSEL: Effective initialization of subword embeddings for
cross-lingual transfer of monolingual language models", section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from align.errors import InputError, UsageError
from align.lexicon import Lexicon
from align.mapping import LinearMap, procrustes
from align.vectors import Vectors
from vocab.methods.similarity import (
    TokenVectors,
    fit_lexicon,
    means_of_words,
    nearest_mix,
    vectors_of_texts,
)
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
    src_side = _token_vectors(src, src_vectors, use_subword_info)
    tgt_side = _token_vectors(tgt, tgt_vectors, use_subword_info)
    if mapping is not None:
        if lexicon is None:
            raise UsageError(
                "wechsel needs a lexicon to align the two spaces",
                hint="Pass mapping=None if they are aligned already",
            )
        fitted, n_entries = fit_lexicon(mapping, lexicon, src_vectors, tgt_vectors)
        src_side = replace(src_side, rows=fitted(src_side.rows))
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
    rows, cols, values = nearest_mix(src_side, tgt_side, neighbors=neighbors, temperature=temperature)
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


def _token_vectors(vocabulary: Vocabulary, vectors: Vectors, use_subword_info: bool) -> TokenVectors:
    if use_subword_info and vectors.has_subwords:
        return vectors_of_texts(vocabulary, vectors)
    # a word counts once for being tokenised at the start of a text and once after a space
    return means_of_words(vocabulary, vectors, forms=(str, " {}".format), by_count=True)
