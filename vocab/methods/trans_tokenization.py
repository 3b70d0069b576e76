"""Trans-tokenization: a new token is what its occurrences are translated by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from align.errors import InputError, UsageError
from align.wordalign import AlignOptions, Bitext, align
from vocab.plan import Origin, TransferPlan
from vocab.tokens import AnyTokenizer, Vocabulary


def trans_tokenization(
    src_tokenizer: AnyTokenizer | Vocabulary,
    tgt_tokenizer: AnyTokenizer | Vocabulary,
    *,
    parallel: tuple[Sequence[str], Sequence[str]] | None = None,
    counts: sp.csr_array | None = None,
    sharpen: float = 0.8,
    min_count: float = 0.5,
    top: int = 32,
    options: AlignOptions = AlignOptions(),  # noqa: B008 - frozen
) -> TransferPlan:
    """Each new row is the mean of old rows weighted by how often they translate the token.

    Both sides are tokenised and the tokens aligned directly; a row is ``c(s, t)**sharpen``, normalised over
    the old tokens *s*, where *c* is the expected number of links.

    Parameters
    ----------
    parallel : (sequence of str, sequence of str)
        Sentences of the source model's language and of the new language, line by line.
    counts : csr_array, shape (n_src, n_tgt), optional
        Link counts from elsewhere, instead of `parallel`; :func:`vocab.tokens.links.token_counts` makes them
        from links of words.
    sharpen : float
        Exponent on the counts: above 1 prefers the main translation, below 1 spreads. The default was chosen
        on the development set of the retrieval benchmark.
    min_count : float
        Tokens with fewer expected links in all stay empty.
    top : int
        Old tokens kept in a row, the heaviest.
    options : AlignOptions
        Settings of the aligner.

    Returns
    -------
    TransferPlan
        Tokens without evidence are empty. Deterministic for any thread count.

    Raises
    ------
    UsageError
        For numbers out of range.
    InputError
        Without parallel text or counts, or when they do not fit the vocabularies.

    Notes
    -----
    Time and memory are the aligner's: see :func:`align.wordalign.align`. After Remy et al. 2024
    ("Trans-Tokenization and Cross-lingual Vocabulary Transfers", COLM), who align words with fast_align and
    spread the counts over their tokens; here the tokens are aligned, which measured better. Their first and
    last characters help with rare ones.
    """
    if top < 1 or not sharpen > 0:
        raise UsageError("top and sharpen must be positive", got=f"{top} and {sharpen}")
    src, tgt = Vocabulary.of(src_tokenizer), Vocabulary.of(tgt_tokenizer)
    if counts is None:
        if parallel is None:
            raise InputError(
                "trans-tokenization needs parallel text", hint="give --parallel FILE.src FILE.tgt"
            )
        counts = align(
            Bitext.from_ids(
                src.encode(parallel[0]), tgt.encode(parallel[1]), n_src_types=len(src), n_tgt_types=len(tgt)
            ),
            options=options,
            src_words=_spellings(src),
            tgt_words=_spellings(tgt),
        ).counts
    if counts.shape != (len(src), len(tgt)):
        raise InputError(
            "link counts do not fit the vocabularies", got=counts.shape, wanted=(len(src), len(tgt))
        )
    evidence = sp.csr_array(counts.T.astype(np.float64))
    if not (np.isfinite(evidence.data) & (evidence.data >= 0)).all():
        raise InputError("link counts that are negative or not finite")
    evidence.sort_indices()
    rows = np.repeat(np.arange(len(tgt)), np.diff(evidence.indptr))
    total = np.bincount(rows, weights=evidence.data, minlength=len(tgt))
    # a special token that stands in the text as text must not be what an ordinary token is made of
    usable = (total[rows] >= min_count) & ~tgt.special[rows] & ~src.special[evidence.indices]
    usable &= evidence.data > 0
    rows, cols = rows[usable], evidence.indices[usable]
    largest = evidence.max(axis=1).toarray().ravel()  # relative to it no power underflows a whole row
    weights = (evidence.data[usable] / largest[rows]) ** sharpen
    order = np.lexsort((cols, -weights, rows))
    rows, cols, weights = rows[order], cols[order], weights[order]
    rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
    rows, cols, weights = rows[rank < top], cols[rank < top], weights[rank < top]
    weights /= np.bincount(rows, weights=weights, minlength=len(tgt))[rows]
    return TransferPlan.from_entries(
        rows,
        cols,
        weights,
        Origin.MIXED,
        src_tokens=src.tokens,
        tgt_tokens=tgt.tokens,
        method="trans-tokenization",
        options={"sharpen": sharpen, "min_count": min_count, "top": top, "alpha": options.alpha},
    )


def _spellings(vocabulary: Vocabulary) -> list[str]:
    """Tokens as the aligner compares their forms: in lower case, those inside words marked at the end."""
    texts = [surface.decode("utf-8", "replace").lower() for surface in vocabulary.surfaces]
    return [text.lstrip() or "_" if text[:1].isspace() else f"{text}~" for text in texts]
