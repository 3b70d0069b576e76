"""Corpus alignment: a new token is the old pieces that stand at the same bytes of running text.

Yamaguchi, Villavicencio and Aletras (2024), "How can we effectively expand the vocabulary of LLMs with 0.01GB
of target language text?", arXiv:2406.11477: their ``align``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from align.errors import InputError
from vocab.methods.overlap import overlap
from vocab.plan import Origin, TransferPlan
from vocab.tokens import AnyTokenizer, Vocabulary
from vocab.tokens.byte_spans import TokenBytes, token_bytes

_LINES = 4096  # encoded at once; the tokenizers library holds kilobytes for a line
_PROBE = 256  # lines on which words alone must be cut as they are in their line
_WORDS = re.compile(r"\s*\S+")
_TWO_WORDS = re.compile(rb"\S\s+\S")


def corpus_align(
    src_tokenizer: AnyTokenizer | Vocabulary,
    tgt_tokenizer: AnyTokenizer | Vocabulary,
    *,
    texts: Iterable[str],
) -> TransferPlan:
    """Copy the tokens that both have; mix each other one from the old pieces found at its places in text.

    Both tokenizers read the same text. At each occurrence of a new token the old pieces that lie within it,
    or around it, share a weight of 1 evenly; a row is the mean over its occurrences. Unlike the pieces of the
    token alone, these are what the old tokenizer makes of it in its words.

    Parameters
    ----------
    src_tokenizer, tgt_tokenizer : tokenizer or Vocabulary
    texts : iterable of str
        Lines in the target language, read once.

    Returns
    -------
    TransferPlan
        ``COPIED``, ``SPECIAL`` and ``COMPOSED`` rows. Empty are tokens that the text does not have, or only
        where old pieces straddle their edges or are unknown.

    Raises
    ------
    InputError
        If the text has no token of the new tokenizer.

    Notes
    -----
    About 4 s for 30,000 sentences. Memory: the distinct words, or 4,096 lines where a tokenizer has
    tokens of several words, and the counts.

    The authors' code (lowres-cve) differs in three ways that are not followed: it keeps the last occurrence
    in a line only, counts a piece of no length that the tokenizer puts before a line (``<s>``) towards the
    line's first token, and compares places of characters, at which fragments of one character all lie. It
    also fills in the halves of merges first, which is ``constituents`` with ``weighting="merge"``.
    """
    src, tgt = Vocabulary.of(src_tokenizer), Vocabulary.of(tgt_tokenizer)
    shares = place_counts(src, tgt, texts)
    taken = overlap(src, tgt)
    shares = sp.coo_array(sp.diags_array(taken.new & ~tgt.special, dtype=np.float64) @ shares)
    total = np.asarray(shares.sum(axis=1)).ravel()
    found = shares.data > 0
    rows, cols = shares.row[found], shares.col[found]
    copies = np.flatnonzero(~taken.new)
    return TransferPlan.from_entries(
        np.concatenate([copies, rows]),
        np.concatenate([taken.found[copies], cols]),
        np.concatenate([np.ones(len(copies)), shares.data[found] / total[rows]]),
        np.where(taken.new, np.uint8(Origin.COMPOSED), taken.origins),
        src_tokens=src.tokens,
        tgt_tokens=tgt.tokens,
        method="corpus-align",
    )


def place_counts(
    src_tokenizer: AnyTokenizer | Vocabulary,
    tgt_tokenizer: AnyTokenizer | Vocabulary,
    texts: Iterable[str],
) -> sp.csr_array:
    """How often old pieces stand at the places of new tokens, shared evenly at each place.

    Returns
    -------
    csr_array of float64, shape (n_tgt, n_src)
        A row's sum is the number of occurrences of its token that have a piece within or around them.

    Raises
    ------
    InputError
        If the text has no token of the new tokenizer.
    """
    src, tgt = Vocabulary.of(src_tokenizer), Vocabulary.of(tgt_tokenizer)
    lines = iter(texts)
    probe = list(islice(lines, _PROBE))
    shape = (len(tgt), len(src))
    counts = sp.csr_array(shape, dtype=np.float64)
    n_seen = 0
    for block, numbers in _units(src, tgt, probe, lines):
        old, new = token_bytes(src, block), token_bytes(tgt, block)
        n_seen += len(new.ids)
        t, s, share = _shared_places(new, old)
        cells = sp.coo_array((share * numbers[new.units[t]], (new.ids[t], old.ids[s])), shape=shape)
        counts = counts + cells.tocsr()
    if not n_seen:
        raise InputError("corpus-align found no token in the text", hint="pass --corpus FILE")
    return sp.csr_array(counts)


def _units(
    src: Vocabulary, tgt: Vocabulary, probe: Sequence[str], lines: Iterator[str]
) -> Iterator[tuple[list[str], NDArray[np.float64]]]:
    """Texts to encode, in blocks, with how often each occurs: distinct words where that says the same."""
    if _cuts_at_words(src, probe) and _cuts_at_words(tgt, probe):
        words: Counter[str] = Counter()
        for line in chain(probe, lines):
            words.update(_WORDS.findall(line))
        distinct, numbers = list(words), np.fromiter(words.values(), np.float64, len(words))
        for start in range(0, len(distinct), 16 * _LINES):
            block = slice(start, start + 16 * _LINES)
            yield distinct[block], numbers[block]
        return
    everything = chain(probe, lines)
    while batch := list(islice(everything, _LINES)):
        yield batch, np.ones(len(batch))


def _cuts_at_words(vocabulary: Vocabulary, lines: Sequence[str]) -> bool:
    """Whether a tokenizer cuts a word, with the white space before it, as it does in its line."""
    if any(_TWO_WORDS.search(surface) for surface in vocabulary.surfaces):
        return False
    words = [_WORDS.findall(line) for line in lines]
    parts = iter(vocabulary.encode([word for line in words for word in line]))
    return all(
        whole == [i for _ in line for i in next(parts)]
        for line, whole in zip(words, vocabulary.encode([line.rstrip() for line in lines]), strict=True)
    )


def _shared_places(
    new: TokenBytes, old: TokenBytes
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Pairs of a new token and an old piece of which one lies within the other, and the piece's share."""
    first = np.searchsorted(old.stops, new.starts, side="right")
    stop = np.maximum(np.searchsorted(old.starts, new.stops, side="left"), first)
    t = np.repeat(np.arange(len(new.ids)), stop - first)
    s = np.arange(len(t)) - np.repeat(np.cumsum(stop - first) - (stop - first), stop - first) + first[t]
    starts_later, stops_later = new.starts[t] - old.starts[s], new.stops[t] - old.stops[s]
    nested = ((starts_later <= 0) & (stops_later >= 0)) | ((starts_later >= 0) & (stops_later <= 0))
    t, s = t[nested], s[nested]
    return t, s, 1 / np.bincount(t, minlength=len(new.ids))[t]
