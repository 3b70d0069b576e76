"""WECHSEL: new rows as mixtures of the old tokens nearest in an aligned space of word vectors.

Minixhofer, Paischer, Rekabsaz (2022), "WECHSEL: Effective initialization of subword embeddings for
cross-lingual transfer of monolingual language models", section 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from align.errors import InputError, UsageError
from align.lexicon import Lexicon
from align.mapping import LinearMap, procrustes
from align.vectors import Vectors
from vocab.methods.similarity import (
    TokenVectors,
    means_of_words,
    nearest_mix,
    to_one_space,
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
    mapping: Callable[..., LinearMap] | str | None = procrustes,
    seeds: Literal["identical", "numerals", "cognates"] | None = None,
    neighbors: int = 10,
    temperature: float = 0.1,
    use_subword_info: bool = True,
    max_n_word_vectors: int | None = None,
    seed: int = 0,
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
    mapping : callable, str or None
        ``mapping(X, Y, pairs=..., weights=...) -> LinearMap``; the published one is Procrustes. A name of
        :data:`align.mapping.methods.METHODS` is fitted on the words of both spaces, with the normalisation
        that goes with it; those that need no pairs need no lexicon. None says that the spaces are aligned
        already.
    seeds : {"identical", "numerals", "cognates"}, optional
        For a mapping that is named: pairs made from strings instead of the lexicon.
    neighbors : int
        Old tokens mixed into a new row.
    temperature : float
        Of the softmax; smaller is sharper.
    use_subword_info : bool
        If false, or if the vectors know whole words only, a token's vector is the mean of the words that
        hold it after tokenisation, weighted by how often they occur (by 1 / rank where that is not known).
    max_n_word_vectors : int, optional
        Of these words only the most frequent.
    seed : int
        For mappings that draw.

    Returns
    -------
    TransferPlan
        Rows are ``MIXED``; tokens without a vector (special tokens, white space, fragments of characters) are
        left ``EMPTY`` for a fallback. Overlapping tokens are not copied: chain :func:`vocab.methods.copy`
        before it for that.

    Raises
    ------
    UsageError
        For a mapping without the lexicon it needs, an unknown one, seeds without a named mapping, or numbers
        out of range.
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
    if neighbors < 1 or not temperature > 0 or (max_n_word_vectors is not None and max_n_word_vectors < 1):
        raise UsageError(
            "neighbors, temperature and max_n_word_vectors must be positive",
            got=f"{neighbors}, {temperature} and {max_n_word_vectors}",
        )
    src, tgt = Vocabulary.of(src_tokenizer), Vocabulary.of(tgt_tokenizer)
    options: dict[str, Any] = {
        "neighbors": neighbors,
        "temperature": temperature,
        "use_subword_info": use_subword_info,
        "max_n_word_vectors": max_n_word_vectors,
        "mapping": None,
    }
    src_side = _token_vectors(src, src_vectors, use_subword_info, max_n_word_vectors)
    tgt_side = _token_vectors(tgt, tgt_vectors, use_subword_info, max_n_word_vectors)
    if mapping is not None:
        spaces, sides = (src_vectors, tgt_vectors), (src_side, tgt_side)
        src_side, tgt_side, facts = to_one_space(mapping, lexicon, spaces, sides, seeds=seeds, seed=seed)
        options |= facts
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


def _token_vectors(
    vocabulary: Vocabulary, vectors: Vectors, use_subword_info: bool, n_words: int | None
) -> TokenVectors:
    if use_subword_info and vectors.has_subwords:
        return vectors_of_texts(vocabulary, vectors)
    # a word counts once for being tokenised at the start of a text and once after a space
    forms = (str, " {}".format)
    return means_of_words(vocabulary, vectors, forms=forms, by_count=True, n_words=n_words)
