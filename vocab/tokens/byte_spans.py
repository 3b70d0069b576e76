"""Which bytes of a text each token stands for, whatever family its tokenizer is of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vocab.tokens.spans import token_spans
from vocab.tokens.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class TokenBytes:
    """Tokens and their bytes, in the order of the text; white space at either end belongs to none.

    Attributes
    ----------
    ids : int64 array, shape (n_tokens,)
    units : int64 array, shape (n_tokens,)
        The text that each is in.
    starts, stops : int64 arrays, shape (n_tokens,)
        In UTF-8 bytes of all texts set one after another, one byte between them. Both rise, or stay.
    """

    ids: NDArray[np.int64]
    units: NDArray[np.int64]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]


def token_bytes(vocabulary: Vocabulary, texts: Sequence[str]) -> TokenBytes:
    """Bytes of each token of texts, without special tokens and tokens that stand for nothing there.

    Fragments of a character, which the tokenizers library gives the span of the whole character, divide its
    bytes among them by the lengths of their surfaces.

    Notes
    -----
    Time: the tokenizer's, and about as much again for its Python objects.
    """
    spans, ids = token_spans(vocabulary, texts)
    codes = np.frombuffer("\n".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    begins = np.concatenate(([0], np.cumsum(1 + (codes >= 0x80) + (codes >= 0x800) + (codes >= 0x10000))))
    is_blank = _blank(codes)
    starts, stops = _trimmed(spans.starts, spans.stops, is_blank)
    own = np.array([len(surface.strip()) for surface in vocabulary.surfaces], np.int64)[ids]
    # a mark of the word's start that stands alone is placed on the word's first character
    blank_places = np.concatenate(([0], np.cumsum(is_blank)))
    misplaced = (own == 0) & (blank_places[stops] - blank_places[starts] < stops - starts)
    kept = np.flatnonzero(~vocabulary.special[ids] & (stops > starts) & ~misplaced)
    units = np.repeat(np.arange(spans.n_lines), spans.counts)[kept]
    starts, stops = _divided(starts[kept], stops[kept], begins, own[kept])
    return TokenBytes(ids[kept], units, starts, stops)


def _blank(codes: NDArray[np.uint32]) -> NDArray[np.bool_]:
    kinds, of = np.unique(codes, return_inverse=True)
    return np.array([chr(code).isspace() for code in kinds.tolist()], bool)[of]


def _trimmed(
    starts: NDArray[np.int64], stops: NDArray[np.int64], is_blank: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Spans without the white space at their ends; spans of white space only stay as they are."""
    places = np.arange(len(is_blank) + 1)
    solid = np.append(~is_blank, True)
    following = np.minimum.accumulate(np.where(solid, places, len(is_blank))[::-1])[::-1]
    last = np.concatenate(([0], np.maximum.accumulate(np.where(solid[:-1], places[1:], 0))))
    first, end = following[starts], last[stops]
    is_kept = first < end
    return np.where(is_kept, first, starts), np.where(is_kept, end, stops)


def _divided(
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
    begins: NDArray[np.int64],
    own: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """From spans of characters to spans of bytes: tokens that share a character lie one after another."""
    first, end = begins[starts], begins[stops]
    if not len(first):
        return first, end
    shares = np.concatenate(([False], starts[1:] < stops[:-1]))
    run = np.cumsum(~shares) - 1
    head = np.flatnonzero(~shares)[run]
    before = np.cumsum(own) - own
    low = first[head] + before - before[head]
    inside = np.concatenate((shares[1:], [False]))
    low = np.where(shares, np.minimum(np.maximum(low, first), end), first)
    high = np.where(inside, np.minimum(low + own, end), end)
    return np.maximum.accumulate(low), np.maximum.accumulate(high)
