"""Which words changed between two slices, how much more than words as frequent, and what cannot be said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from align.compass.measures import similarity
from align.errors import InputError, UsageError
from align.short_repr import short_repr

if TYPE_CHECKING:
    from align.compass.result import Compass

CONTROLS = ("residual", "rank", "none")


@dataclass(frozen=True, eq=False)
class Shift:
    """Change of every word between two slices.

    Attributes
    ----------
    from_slice, to_slice, measure : str
    words : tuple of str
        Those that can be judged: with a letter, and `min_count` occurrences in both slices.
    change : float64 array, shape (n_words,)
        1 - similarity.
    counts : int64 array, shape (n_words, 2)
        Occurrences in either slice.
    residual : float64 array, shape (n_words,)
        What is left of `change` after a least-squares fit on the logarithms of both counts and their squares:
        rare words come out different for want of text.
    rank : float64 array, shape (n_words,)
        Share of the words most like it in frequency that changed as much or more.
    min_count : int
    too_few : tuple of str
        Words of both slices with fewer occurrences in one of them: nothing is said of these.
    only_from, only_to : tuple of str
        Words of `min_count` occurrences in one slice and none in the other, most frequent first.
    low, high : float64 arrays, shape (n_words,), optional
        Bootstrap interval of `change`; see :func:`align.compass.resampling.bootstrap_shift`.
    p_value, p_pooled, q_value : float64 arrays, shape (n_words,), optional
        Of the permutation test: by the word's own permutations, by those of words as frequent too, and the
        latter after Benjamini and Hochberg's correction for the number of words; see
        :func:`align.compass.resampling.permutation_test`.
    n_resamples : int
        Of either.
    """

    from_slice: str
    to_slice: str
    measure: str
    words: tuple[str, ...]
    change: NDArray[np.float64]
    counts: NDArray[np.int64]
    residual: NDArray[np.float64]
    rank: NDArray[np.float64]
    min_count: int
    too_few: tuple[str, ...]
    only_from: tuple[str, ...]
    only_to: tuple[str, ...]
    n_neighbors: int | None = None
    weight: float = 0.5
    low: NDArray[np.float64] | None = None
    high: NDArray[np.float64] | None = None
    p_value: NDArray[np.float64] | None = None
    p_pooled: NDArray[np.float64] | None = None
    q_value: NDArray[np.float64] | None = None
    n_resamples: int = 0

    __repr__ = short_repr

    def order(self, control: str = "residual") -> NDArray[np.int64]:
        """Rows from the word that moved most to the one that moved least.

        Parameters
        ----------
        control : {"residual", "rank", "none"}
            By `residual`, by `rank` (and `change` among equals), or by `change` as it is.

        Raises
        ------
        UsageError
            For another control.
        """
        if control not in CONTROLS:
            raise UsageError("unknown control of frequency", got=control, wanted=", ".join(CONTROLS))
        if control == "rank":
            return np.lexsort((-self.change, self.rank))
        return np.argsort(-(self.residual if control == "residual" else self.change), kind="stable")


def shift(
    compass: Compass,
    from_slice: str,
    to_slice: str,
    *,
    measure: str = "cosine",
    min_count: int = 20,
    n_neighbors: int | None = None,
    weight: float = 0.5,
    n_alike: int = 400,
) -> Shift:
    """Measure the change of every word between two slices.

    Parameters
    ----------
    compass : Compass
    from_slice, to_slice : str
    measure, n_neighbors, weight
        As :func:`align.compass.measures.similarity`; neighbours are sought among the words that `min_count`
        admits.
    min_count : int
        Occurrences a word needs in both slices.
    n_alike : int
        Words nearest in frequency (the lesser count of the two) that `rank` compares a word with.

    Returns
    -------
    Shift

    Raises
    ------
    UsageError
        For a slice that is not there, twice the same, an unknown measure.
    InputError
        If no word has `min_count` occurrences in both.
    """
    if from_slice == to_slice:
        raise UsageError("a slice is compared with another", got=from_slice)
    if min_count < 1 or n_alike < 1:
        raise UsageError("option out of range", got=(min_count, n_alike), wanted="1 or more")
    x, y = compass.slice(from_slice), compass.slice(to_slice)
    both = compass.counts[[compass.names.index(name) for name in (from_slice, to_slice)]]
    have = np.array([[word in space.index for word in compass.words] for space in (x, y)])
    enough = (both >= min_count).all(axis=0) & have.all(axis=0)
    if not enough.any():
        raise InputError(
            "no word to compare",
            got=f"none of {min_count} occurrences in both slices",
            hint="lower min_count, or give more text",
        )
    used = np.flatnonzero(enough)
    names = tuple(compass.words[i] for i in used.tolist())
    judged = np.flatnonzero([any(c.isalpha() for c in word) for word in names])
    if not len(judged):
        raise InputError("no word with a letter to compare", where=f"{from_slice}, {to_slice}")
    change = 1 - similarity(
        x.vectors_of(names),
        y.vectors_of(names),
        judged,
        measure=measure,
        n_neighbors=n_neighbors,
        weight=weight,
    )
    counts = both[:, used[judged]].T
    few = (both > 0).all(axis=0) & ~enough

    def only(here: int) -> tuple[str, ...]:
        rows = np.flatnonzero((both[here] >= min_count) & (both[1 - here] == 0))
        rows = rows[np.argsort(-both[here, rows], kind="stable")]
        return tuple(compass.words[i] for i in rows.tolist())

    return Shift(
        from_slice,
        to_slice,
        measure,
        tuple(names[i] for i in judged.tolist()),
        change,
        counts,
        frequency_residual(change, counts),
        frequency_rank(change, counts, n_alike=n_alike),
        min_count,
        tuple(compass.words[i] for i in np.flatnonzero(few).tolist()),
        only(0),
        only(1),
        n_neighbors,
        weight,
    )


def frequency_residual(change: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """What a least-squares fit on log counts and their squares leaves of `change`.

    Parameters
    ----------
    change : float64 array, shape (n_words,)
    counts : int64 array, shape (n_words, 2)
        1 or more.

    Returns
    -------
    float64 array, shape (n_words,)
    """
    logs = np.log(counts.astype(np.float64))
    logs -= logs.mean(axis=0)
    design = np.column_stack((np.ones(len(logs)), logs, logs**2))
    return change - design @ np.linalg.lstsq(design, change, rcond=None)[0]


def frequency_rank(
    change: NDArray[np.float64], counts: NDArray[np.int64], *, n_alike: int = 400
) -> NDArray[np.float64]:
    """Share of the words most like each in frequency, itself included, that changed as much or more.

    Words stand in the order of the lesser of their two counts; a window of `n_alike` + 1 is taken about each
    (at the ends, the window nearest). It says how unusual a change is, and is no test of no change: some word
    of every window is first.
    """
    order, starts, size = _alike(counts, n_alike)
    windows = sliding_window_view(change[order], size)
    rank = np.empty(len(change))
    for start in range(0, len(order), 4096):
        part = slice(start, start + 4096)
        rank[order[part]] = (windows[starts[part]] >= change[order[part], None]).mean(axis=1)
    return rank


def pooled_p(
    change: NDArray[np.float64],
    null: NDArray[np.float64],
    counts: NDArray[np.int64],
    *,
    n_alike: int = 400,
) -> NDArray[np.float64]:
    """P-values from the permutations of all words as frequent.

    Of every change, observed or permuted, the mean of the word's others is taken off; the observed ones are
    then compared with the permuted ones of the words in a window of :func:`frequency_rank`. What is assumed
    is that under permutation words as frequent differ in the mean of their change alone, not in its spread.

    Parameters
    ----------
    change : float64 array, shape (n_words,)
    null : float64 array, shape (n_permutations, n_words)
        Change in every permutation, NaN where it is not known.
    counts : int64 array, shape (n_words, 2)
    n_alike : int

    Returns
    -------
    float64 array, shape (n_words,)
        1 / (1 + n_permutations (n_alike + 1)) at the least.
    """
    every = np.concatenate((change[None], null))
    known = ~np.isnan(every)
    filled = np.where(known, every, 0.0)
    others = (filled.sum(axis=0) - filled) / np.maximum(known.sum(axis=0) - 1, 1)
    # an unknown one counts as a large change
    apart = np.where(known, every - others, np.inf)
    order, starts, size = _alike(counts, n_alike)
    windows = sliding_window_view(apart[1:, order], size, axis=1)
    p = np.empty(len(change))
    for start in range(0, len(order), 256):
        part = slice(start, start + 256)
        as_large = windows[:, starts[part]] >= apart[0, order[part], None]
        p[order[part]] = (1 + as_large.sum(axis=(0, 2))) / (1 + len(null) * size)
    return p


def _alike(counts: NDArray[np.int64], n_alike: int) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Words by the lesser of their counts, the start of each one's window in that order, and its size."""
    order = np.lexsort((np.arange(len(counts)), counts.min(axis=1)))
    size = min(n_alike + 1, len(counts))
    starts = np.clip(np.arange(len(counts)) - size // 2, 0, len(counts) - size)
    return order, starts, size
