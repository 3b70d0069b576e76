"""Words of one slice that stand where a word of another stands, and one word through all slices."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from align.compass.measures import unit_rows
from align.errors import InputError, UsageError
from align.neighbors import retrieve
from align.vectors import WordVectors

if TYPE_CHECKING:
    from align.compass.result import Compass

_N_NAMED = 3


@dataclass(frozen=True)
class Neighbor:
    """A word, its score and its occurrences in the slice."""

    word: str
    score: float
    count: int


@dataclass(frozen=True)
class Moment:
    """A word in one slice.

    Attributes
    ----------
    name : str
        Of the slice.
    count : int
        Occurrences.
    to_first, to_previous : float, optional
        Cosine to the word's vector in the first slice that has it, and in the last one before.
    neighbors : tuple of Neighbor
        Nearest words of the same slice; none where the slice has no vector of the word.
    """

    name: str
    count: int
    to_first: float | None
    to_previous: float | None
    neighbors: tuple[Neighbor, ...]


def trace(compass: Compass, word: str, *, top: int = 5, min_count: int = 5) -> tuple[Moment, ...]:
    """Follow a word through all slices.

    Parameters
    ----------
    compass : Compass
    word : str
    top : int
        Neighbours of a slice.
    min_count : int
        Occurrences in the slice that neighbours need.

    Returns
    -------
    tuple of Moment
        One a slice, in order.

    Raises
    ------
    InputError
        If no slice has the word.
    """
    _check(top, min_count)
    if word not in compass.words or not any(word in space.index for space in compass.slices.values()):
        raise _no_such_word(compass, word)
    column = compass.words.index(word)
    first = previous = None
    moments = []
    for k, (name, space) in enumerate(compass.slices.items()):
        count = int(compass.counts[k, column])
        if word not in space.index:
            moments.append(Moment(name, count, None, None, ()))
            continue
        here = unit_rows(space.vectors_of([word]).astype(np.float64))[0]
        moments.append(
            Moment(
                name,
                count,
                None if first is None else float(first @ here),
                None if previous is None else float(previous @ here),
                near(compass, [word], name, top=top, min_count=min_count)[0],
            )
        )
        first, previous = here if first is None else first, here
    return tuple(moments)


def correspond(
    compass: Compass,
    word: str,
    from_slice: str,
    to_slice: str,
    *,
    top: int = 10,
    min_count: int = 5,
    retrieval: str = "nn",
) -> tuple[Neighbor, ...]:
    """Words of `to_slice` nearest to where `word` stands in `from_slice`: a cross-slice analogy.

    Parameters
    ----------
    compass : Compass
    word : str
    from_slice, to_slice : str
    top : int
    min_count : int
        Occurrences in `to_slice` that answers need.
    retrieval : {"nn", "csls"}
        Cosine, or cosine less the mean of each side's nearest.

    Returns
    -------
    tuple of Neighbor
        Best first; the word itself too, where it is among them.

    Raises
    ------
    InputError
        If `from_slice` does not have the word.
    UsageError
        For a slice that is not there.
    """
    answers = correspond_all(
        compass, [word], from_slice, to_slice, top=top, min_count=min_count, retrieval=retrieval
    )
    return answers[0]


def correspond_all(
    compass: Compass,
    words: Sequence[str],
    from_slice: str,
    to_slice: str,
    *,
    top: int = 10,
    min_count: int = 5,
    retrieval: str = "nn",
) -> list[tuple[Neighbor, ...]]:
    """As :func:`correspond`, of many words at once."""
    _check(top, min_count)
    src, tgt = compass.slice(from_slice), compass.slice(to_slice)
    missing = [word for word in words if word not in src.index]
    if missing:
        raise _no_such_word(compass, missing[0], from_slice)
    return nearest(
        tgt,
        src.vectors_of(list(words)),
        top=top,
        min_count=min_count,
        retrieval=retrieval,
        src_space=src.matrix,
    )


def near(
    compass: Compass, words: Sequence[str], name: str, *, top: int = 5, min_count: int = 5
) -> list[tuple[Neighbor, ...]]:
    """Nearest words of each word, itself left out, in one slice."""
    _check(top, min_count)
    space = compass.slice(name)
    found = nearest(space, space.vectors_of(list(words)), top=top + 1, min_count=min_count)
    return [
        tuple(n for n in of_word if n.word != word)[:top] for word, of_word in zip(words, found, strict=True)
    ]


def nearest(
    space: WordVectors,
    queries: NDArray[np.float32],
    *,
    top: int,
    min_count: int = 1,
    retrieval: str = "nn",
    src_space: NDArray[np.float32] | None = None,
) -> list[tuple[Neighbor, ...]]:
    """The words of a slice nearest to each query, among those of `min_count` occurrences."""
    counts = space.counts if space.counts is not None else np.full(len(space), min_count)
    rows = np.flatnonzero(counts >= min_count)
    if not len(rows):
        return [()] * len(queries)
    if retrieval not in ("nn", "csls"):
        raise UsageError("unknown retrieval", got=retrieval, wanted="nn or csls")
    found = retrieve(
        queries, space.matrix[rows], top, method="nn" if retrieval == "nn" else "csls", src_space=src_space
    )
    return [
        tuple(
            Neighbor(space.words[rows[i]], float(score), int(counts[rows[i]]))
            for i, score in zip(of_query, scores, strict=True)
        )
        for of_query, scores in zip(found.indices.tolist(), found.scores.tolist(), strict=True)
    ]


def _no_such_word(compass: Compass, word: str, name: str | None = None) -> InputError:
    """The error for a word without a vector: how often the text has it, or which words are like it."""
    what = "no slice has this word" if name is None else "the slice does not have this word"
    if word in compass.words:
        counts = compass.counts[:, compass.words.index(word)]
        most = [k for k in np.argsort(-counts, kind="stable")[:_N_NAMED].tolist() if counts[k]]
        times = ", ".join(f"{counts[k]:,} times in {compass.names[k]}" for k in most)
        return InputError(what, got=repr(word), where=name, hint=f"it occurs {times}")
    known = compass.words if name is None else compass.slices[name].words
    alike = [one for one in known if one.casefold() == word.casefold()]
    alike = alike or difflib.get_close_matches(word, known, n=_N_NAMED)
    hint = f"perhaps {' or '.join(alike)} is meant" if alike else "it is rare, or not in the text at all"
    return InputError(what, got=repr(word), where=name, hint=hint)


def _check(top: int, min_count: int) -> None:
    if top < 1 or min_count < 0:
        raise UsageError("option out of range", got=(top, min_count), wanted="top >= 1, min_count >= 0")
