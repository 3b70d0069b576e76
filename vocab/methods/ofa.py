"""OFA: a wide overlap is taken over, the other tokens are mixed in a multilingual space of words.

Liu, Lin, Wang, Schuetze (2024), "OFA: A framework of initializing unseen subword embeddings for efficient
large-scale multilingual continued pretraining", arXiv:2311.08849, section 3. For its factorised matrices see
:func:`vocab.factorized.factors.factorize`: the plan applies to the coordinates.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from align.errors import InputError, UsageError
from align.lexicon import Lexicon
from align.mapping import LinearMap, procrustes
from align.vectors import Vectors
from vocab.methods.overlap import overlap
from vocab.methods.similarity import means_of_words, nearest_mix, to_one_space
from vocab.plan import Origin, TransferPlan
from vocab.tokens import AnyTokenizer, Vocabulary


def _capitalised(word: str) -> str:
    return f" {word[:1].upper()}{word[1:]}"


_FORMS: tuple[Callable[[str], str], ...] = (str, " {}".format, _capitalised)


def ofa(
    src_tokenizer: AnyTokenizer | Vocabulary,
    tgt_tokenizer: AnyTokenizer | Vocabulary,
    *,
    src_vectors: Vectors,
    tgt_vectors: Vectors,
    lexicon: Lexicon | None = None,
    mapping: Callable[..., LinearMap] | str = procrustes,
    neighbors: int = 10,
    temperature: float = 0.1,
    fuzzy: bool = True,
) -> TransferPlan:
    """Copy the tokens that both have; mix each other one from the old tokens nearest in a space of words.

    A token's vector is the plain mean of the words that hold it, each tokenised as it is, after a space, and
    after a space with a capital. A new row is ``softmax(cosine / temperature)`` over the nearest old tokens.

    Parameters
    ----------
    src_tokenizer, tgt_tokenizer : tokenizer or Vocabulary
    src_vectors, tgt_vectors : Vectors
        Words of the source model's languages and of the new ones, in one space. One multilingual table may be
        given as both.
    lexicon : Lexicon, optional
        Where the spaces differ: translations on which `mapping` is fitted, as in
        :func:`vocab.methods.wechsel`.
    mapping : callable or str
        As for :func:`vocab.methods.wechsel`; not used without a lexicon.
    neighbors : int
        Old tokens mixed into a new row.
    temperature : float
        Of the softmax; smaller is sharper.
    fuzzy : bool
        Also take over rows of tokens that differ in case only, as published.

    Returns
    -------
    TransferPlan
        ``COPIED``, ``MAPPED`` (fuzzy), ``SPECIAL`` and ``MIXED`` rows; tokens that occur in no word are left
        ``EMPTY`` for a fallback.

    Raises
    ------
    UsageError
        For numbers out of range.
    InputError
        If the spaces differ in width and there is no lexicon, or no entry of it has vectors on both sides.

    Warns
    -----
    UserWarning
        If no token of a side has a vector (then nothing is mixed), and for lexicon entries without vectors.

    Notes
    -----
    Time ``2 m_src m_new dim`` operations for the numbers of tokens with vectors, and three passes of the
    tokenizers over the words; memory about 4 float32 matrices of (tokens, dim) and the table of words. The
    same bits for any number of threads.
    """
    if neighbors < 1 or not temperature > 0:
        raise UsageError("neighbors and temperature must be positive", got=f"{neighbors} and {temperature}")
    if lexicon is None and src_vectors.dim != tgt_vectors.dim:
        raise InputError(
            "the spaces differ in width and are not mapped",
            got=f"{src_vectors.dim} and {tgt_vectors.dim}",
            hint="Pass a lexicon",
        )
    src, tgt = Vocabulary.of(src_tokenizer), Vocabulary.of(tgt_tokenizer)
    options: dict[str, Any] = {
        "neighbors": neighbors,
        "temperature": temperature,
        "fuzzy": fuzzy,
        "mapping": None,
    }
    taken = overlap(src, tgt, fuzzy="case" if fuzzy else None)
    src_side = means_of_words(src, src_vectors, forms=_FORMS, by_count=False)
    tgt_side = means_of_words(tgt, tgt_vectors, forms=_FORMS, by_count=False)
    if lexicon is not None:
        spaces, sides = (src_vectors, tgt_vectors), (src_side, tgt_side)
        src_side, tgt_side, facts = to_one_space(mapping, lexicon, spaces, sides)
        options |= facts
    copies = np.flatnonzero(~taken.new)
    rows, cols, values = copies, taken.found[copies], np.ones(len(copies))
    for side, vectors in (("source", src_side), ("target", tgt_side)):
        if len(vectors.rows) == 0:
            warnings.warn(
                f"no {side} token occurs in a word that has a vector: nothing is mixed", stacklevel=2
            )
            break
    else:
        new = tgt_side.only(taken.new)
        if len(new.rows):
            mixed = nearest_mix(src_side, new, neighbors=neighbors, temperature=temperature)
            rows, cols, values = (
                np.concatenate(pair) for pair in zip((rows, cols, values), mixed, strict=True)
            )
    return TransferPlan.from_entries(
        rows,
        cols,
        values,
        np.where(taken.new, np.uint8(Origin.MIXED), taken.origins),
        src_tokens=src.tokens,
        tgt_tokens=tgt.tokens,
        method="ofa",
        options=options,
    )
