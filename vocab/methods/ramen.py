"""RAMEN: new rows as expected old rows under translation probabilities of sub-words.

Tran (2020), "From English to foreign languages: Transferring pre-trained language models", arXiv:2002.07306.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from align.errors import InputError
from align.lexicon import Lexicon
from align.mapping import LinearMap, procrustes
from align.normalize import unit
from align.vectors import Vectors
from align.wordalign import AlignOptions
from vocab.methods.similarity import fit_lexicon, means_of_words
from vocab.methods.sparsemax import sparsemax_mix
from vocab.methods.trans_tokenization import trans_tokenization
from vocab.plan import Origin, TransferPlan
from vocab.tokens import AnyTokenizer, Vocabulary


def ramen(
    src_tokenizer: AnyTokenizer | Vocabulary,
    tgt_tokenizer: AnyTokenizer | Vocabulary,
    *,
    src_vectors: Vectors,
    tgt_vectors: Vectors,
    lexicon: Lexicon | None = None,
    mapping: Callable[..., LinearMap] = procrustes,
) -> TransferPlan:
    """Mix each new row from old tokens by sparsemax of the cosines of their words' vectors.

    A token's vector is ``u_t = sum_w p(w) x_w / sum_w p(w)`` over the words *w* that hold it when tokenised
    after a space, with ``p(w) = 1 / rank``. With the source side mapped into the target's space, the new row
    is ``sum_s sparsemax_s(cos(u_t, u_s)) E_s`` over all old tokens *s*.

    Parameters
    ----------
    src_tokenizer, tgt_tokenizer : tokenizer or Vocabulary
    src_vectors, tgt_vectors : Vectors
        Words of the two languages, most frequent first. The paper takes the first 50,000.
    lexicon : Lexicon, optional
        Translations on which `mapping` is fitted. None says that the spaces are aligned already.
    mapping : callable
        ``mapping(X, Y, pairs=..., weights=...) -> LinearMap``.

    Returns
    -------
    TransferPlan
        Rows are ``MIXED``; tokens that occur in no word are left ``EMPTY`` for a fallback (drawn from
        N(0, 1 / dim), as published). Overlapping tokens are not copied, as published.

    Raises
    ------
    InputError
        If the spaces differ in width and there is no lexicon, no entry of it has vectors on both sides, or no
        token of a side occurs in a word.

    Warns
    -----
    UserWarning
        Once, with the number of lexicon entries that have no vectors.

    Notes
    -----
    Different from the paper's code: words weigh by their counts where the table has them, which 1 / rank
    stands for; a word that holds a token twice counts once; special tokens take no part; and the map is
    fitted on a lexicon instead of identical words. Time ``2 m_src m_tgt dim`` operations for the numbers
    of tokens with vectors, memory as :func:`vocab.methods.sparsemax.sparsemax_mix`. The same bits for any
    number of threads.
    """
    if lexicon is None and src_vectors.dim != tgt_vectors.dim:
        raise InputError(
            "the spaces differ in width and are not mapped",
            got=f"{src_vectors.dim} and {tgt_vectors.dim}",
            hint="Pass a lexicon",
        )
    src, tgt = Vocabulary.of(src_tokenizer), Vocabulary.of(tgt_tokenizer)
    sides = [
        means_of_words(vocabulary, vectors, forms=(" {}".format,), by_count=True)
        for vocabulary, vectors in ((src, src_vectors), (tgt, tgt_vectors))
    ]
    for side, name in zip(sides, ("source", "target"), strict=True):
        if len(side.rows) == 0:
            raise InputError(
                f"no {name} token occurs in a word that has a vector",
                hint="Check that vectors and tokenizer share a language",
            )
    options: dict[str, Any] = {"mapping": None}
    if lexicon is not None:
        fitted, n_entries = fit_lexicon(mapping, lexicon, src_vectors, tgt_vectors)
        sides[0] = replace(sides[0], rows=fitted(sides[0].rows))
        options = {"mapping": fitted.method, "lexicon_entries": n_entries}
    mixtures = sparsemax_mix(unit(sides[1].rows), unit(sides[0].rows))
    # each token that has a vector has one of its own, in the order of ids
    old, new = (np.flatnonzero(side.of >= 0) for side in sides)
    return TransferPlan.from_entries(
        np.repeat(new, np.diff(mixtures.indptr)),
        old[mixtures.indices],
        mixtures.data,
        Origin.MIXED,
        src_tokens=src.tokens,
        tgt_tokens=tgt.tokens,
        method="ramen",
        options=options,
    )


def ramen_parallel(
    src_tokenizer: AnyTokenizer | Vocabulary,
    tgt_tokenizer: AnyTokenizer | Vocabulary,
    *,
    parallel: tuple[Sequence[str], Sequence[str]] | None = None,
    counts: sp.csr_array | None = None,
    options: AlignOptions = AlignOptions(),  # noqa: B008 - frozen
) -> TransferPlan:
    """Mix each new row from old tokens by how often parallel text links them.

    The new row is ``sum_s p(s | t) E_s`` with ``p(s | t) = c(s, t) / sum_s c(s, t)``, where *c* counts links
    between the two sides' tokens.

    Parameters
    ----------
    src_tokenizer, tgt_tokenizer : tokenizer or Vocabulary
    parallel : (sequence of str, sequence of str)
        Sentences of the source model's language and of the new language, line by line.
    counts : csr_array, shape (n_src, n_tgt), optional
        Link counts from elsewhere, instead of `parallel`.
    options : AlignOptions
        Settings of the aligner.

    Returns
    -------
    TransferPlan
        Rows are ``MIXED``; tokens without links are left ``EMPTY`` for a fallback. Overlapping tokens are not
        copied, as published.

    Raises
    ------
    InputError
        Without parallel text or counts, or when they do not fit the vocabularies.

    Notes
    -----
    Published with the links of fast_align in both directions, joined by grow-diag-final-and; here with the
    expected number of links, which our aligner gives. Against :func:`vocab.methods.trans_tokenization` counts
    are taken as they are, and none is dropped. Time and memory are the aligner's.
    """
    src, tgt = Vocabulary.of(src_tokenizer), Vocabulary.of(tgt_tokenizer)
    plan = trans_tokenization(
        src,
        tgt,
        parallel=parallel,
        counts=counts,
        sharpen=1.0,
        min_count=0.0,
        top=max(len(src), 1),
        options=options,
    )
    return replace(plan, method="ramen-parallel", options={"ramen-parallel": {"alpha": options.alpha}})
