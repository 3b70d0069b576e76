"""Where the words and the tokens of many lines stand, and which tokens make which words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from align.wordalign.reading import splitter
from vocab.tokens.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class Spans:
    """Stretches of text; those of line ``n`` are rows ``offsets[n]`` to ``offsets[n + 1] - 1``.

    Attributes
    ----------
    offsets : int64 array, shape (n_lines + 1,)
    starts, stops : int64 arrays, shape (n_spans,)
        In characters of all lines set one after another, one place between them. Both rise, or stay.
    """

    offsets: NDArray[np.int64]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]

    @property
    def n_lines(self) -> int:
        """Number of lines."""
        return len(self.offsets) - 1

    @property
    def counts(self) -> NDArray[np.int64]:
        """Spans of each line."""
        return np.diff(self.offsets)

    def within(self, others: Spans) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For each span the first and the last + 1 of the others that share a character with it."""
        first = np.searchsorted(others.stops, self.starts, side="right")
        stop = np.searchsorted(others.starts, self.stops, side="left")
        return first, np.maximum(first, stop)


def word_spans(lines: Sequence[str], *, tokenize: str = "words") -> Spans:
    """Spans of the words that :func:`align.wordalign.reading.splitter` finds.

    Raises
    ------
    UsageError
        For an unknown way of dividing.
    """
    words_of = splitter(tokenize)
    places = []
    for line in lines:
        found, at = [], 0
        for word in words_of(line):  # what stands between two words is white space only
            at = line.index(word, at)
            found.append((at, at + len(word)))
            at += len(word)
        places.append(found)
    return spans_of(lines, places)


def token_spans(vocabulary: Vocabulary, lines: Sequence[str]) -> tuple[Spans, NDArray[np.int64]]:
    """Spans of the tokens of each line, without those that a tokenizer adds, and the tokens' ids.

    Tokens that are parts of one character have that character's span.
    """
    encodings = vocabulary.tokenizer.encode_batch(list(lines), add_special_tokens=False)
    ids = np.fromiter((i for encoding in encodings for i in encoding.ids), dtype=np.int64)
    return spans_of(lines, [encoding.offsets for encoding in encodings]), ids


def spans_of(lines: Sequence[str], places: Sequence[Sequence[tuple[int, int]]]) -> Spans:
    """Spans given as places (start, stop) within each line."""
    counts = np.array([len(line) for line in places], dtype=np.int64)
    begins = np.cumsum([0, *(len(line) + 1 for line in lines)], dtype=np.int64)[:-1]
    local = np.array([place for line in places for place in line], dtype=np.int64).reshape(-1, 2)
    local += np.repeat(begins, counts)[:, None]
    # normalisers may turn characters around; searching needs places that never fall
    starts, stops = np.maximum.accumulate(local, axis=0).T if len(local) else local.T
    return Spans(np.concatenate(([0], np.cumsum(counts))).astype(np.int64), starts, stops)
