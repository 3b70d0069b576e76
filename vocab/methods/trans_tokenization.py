"""Trans-tokenization: a new token is what its occurrences are translated by."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from align.errors import InputError, UsageError
from align.wordalign import AlignOptions, Bitext, align
from vocab.methods.overlapping import overlapping
from vocab.plan import Origin, TransferPlan
from vocab.tokens import AnyTokenizer, Vocabulary

Entries = tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.float64]]  # new rows, old rows, weights


def trans_tokenization(
    src_tokenizer: AnyTokenizer | Vocabulary,
    tgt_tokenizer: AnyTokenizer | Vocabulary,
    *,
    parallel: tuple[Sequence[str], Sequence[str]] | None = None,
    counts: sp.csr_array | None = None,
    sharpen: float = 0.8,
    min_count: float = 0.5,
    top: int = 32,
    smooth: bool = False,
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
    smooth : bool
        Fill tokens without evidence: by the old token of the same bytes where there is one, else by the mean
        of the rows of the tokens that overlap them (:func:`vocab.methods.overlapping.overlapping`), in
        which old tokens that begin a word count twice.
    options : AlignOptions
        Settings of the aligner.

    Returns
    -------
    TransferPlan
        Tokens without evidence are empty, with `smooth` those without overlap to a token that has a row.
        Deterministic for any thread count.

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

    Their smoothing also takes from tokens that were smoothed before, in the order of a hash table, and knows
    the beginning of a word by ``▁`` alone; here only tokens with evidence and copied ones give, and bytes
    decide. It takes 3 seconds for 44,000 tokens. What it gains is measured in
    :func:`vocab.methods.choose_method`.
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
    entries = _heaviest(rows, cols, (evidence.data[usable] / largest[rows]) ** sharpen, top)
    origins = np.full(len(tgt), Origin.MIXED, np.uint8)
    if smooth:
        same_bytes, _ = tgt.match(src)
        same_bytes[entries[0]] = -1
        copied = np.flatnonzero(same_bytes >= 0)
        origins[copied] = Origin.COPIED
        entries = _both(entries, (copied, same_bytes[copied], np.ones(len(copied))))
        smoothed = _smoothed(*entries, src=src, tgt=tgt, top=top)
        origins[smoothed[0]] = Origin.COMPOSED
        entries = _both(entries, smoothed)
    return TransferPlan.from_entries(
        *entries,
        origins,
        src_tokens=src.tokens,
        tgt_tokens=tgt.tokens,
        method="trans-tokenization",
        options={
            "sharpen": sharpen,
            "min_count": min_count,
            "top": top,
            "smooth": smooth,
            "alpha": options.alpha,
        },
    )


def _heaviest(
    rows: NDArray[np.integer], cols: NDArray[np.integer], weights: NDArray[np.float64], top: int
) -> Entries:
    """The `top` heaviest entries of each row, of equal ones those of lower columns; they sum to 1."""
    order = np.lexsort((cols, -weights, rows))
    rows, cols, weights = rows[order], cols[order], weights[order]
    rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
    rows, cols, weights = rows[rank < top], cols[rank < top], weights[rank < top]
    return rows, cols, weights / np.bincount(rows, weights=weights)[rows]


def _both(some: Entries, more: Entries) -> Entries:
    rows, cols, weights = (np.concatenate(parts) for parts in zip(some, more, strict=True))
    return rows, cols, weights


def _smoothed(
    rows: NDArray[np.integer],
    cols: NDArray[np.integer],
    weights: NDArray[np.float64],
    *,
    src: Vocabulary,
    tgt: Vocabulary,
    top: int,
) -> Entries:
    """Rows of tokens that have none, from those of the tokens that overlap them."""
    known = np.zeros(len(tgt), bool)
    known[rows] = True
    begins_word = np.array([surface.startswith(b" ") for surface in src.surfaces], bool)
    given = sp.csr_array((weights * (1 + begins_word[cols]), (rows, cols)), shape=(len(tgt), len(src)))
    mixed = (overlapping(tgt.surfaces, known) @ given).tocoo()
    return _heaviest(mixed.row, mixed.col, mixed.data, top)


def _spellings(vocabulary: Vocabulary) -> list[str]:
    """Tokens as the aligner compares their forms: in lower case, those inside words marked at the end."""
    texts = [surface.decode("utf-8", "replace").lower() for surface in vocabulary.surfaces]
    return [text.lstrip() or "_" if text[:1].isspace() else f"{text}~" for text in texts]
