"""A prior over word forms: related words share evidence through classes, equal strings attract.

A word seen twice cannot show its translation, but the class of words that begin like it can. Each class map
gives every type a class; the prior of a pair (s, t) in the direction s to t is

    alpha + class_weight * mean over maps [ p(class(t) | class(s)) * n(t) / n(class(t)) ]
          + form_weight * [s = t]

with p(class | class) from the present expected counts, so it is computed anew at each M-step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba as nb
import numpy as np
from numpy.typing import NDArray

from align.errors import InputError
from align.wordalign.bitext import Bitext
from align.wordalign.pairs import PairTable


@dataclass(frozen=True, eq=False)
class WordClasses:
    """Class maps of the types of both sides.

    Parameters
    ----------
    src, tgt : tuple of int32 arrays, shapes (n_src_types,) and (n_tgt_types,)
        Class of each type, one array a map, as many maps on either side. Classes count from 0.
    src_forms, tgt_forms : int32 arrays, same shapes
        Number of each type's string, common to both sides; -1 for a string that the other side lacks.
    """

    src: tuple[NDArray[np.int32], ...]
    tgt: tuple[NDArray[np.int32], ...]
    src_forms: NDArray[np.int32]
    tgt_forms: NDArray[np.int32]

    @classmethod
    def of_words(
        cls,
        src_words: Sequence[str],
        tgt_words: Sequence[str],
        *,
        lengths: tuple[int, ...] = (1, 2, 3, 4),
        endings: tuple[int, ...] = (2,),
    ) -> WordClasses:
        """Classes of words that share their first characters, or their last: one map for each number."""
        common = {w: k for k, w in enumerate(sorted(set(src_words) & set(tgt_words)))}

        def maps(words: Sequence[str]) -> tuple[NDArray[np.int32], ...]:
            starts = [numbered([w[:n] for w in words]) for n in lengths]
            return (*starts, *(numbered([w[-n:] for w in words]) for n in endings))

        return cls(
            maps(src_words),
            maps(tgt_words),
            np.array([common.get(w, -1) for w in src_words], dtype=np.int32),
            np.array([common.get(w, -1) for w in tgt_words], dtype=np.int32),
        )

    def check(self, n_src_types: int, n_tgt_types: int) -> None:
        """Raise InputError unless the maps fit vocabularies of these sizes."""
        for side, n_types in (("src", n_src_types), ("tgt", n_tgt_types)):
            for array in (*getattr(self, side), getattr(self, f"{side}_forms")):
                if len(array) != n_types:
                    raise InputError(
                        "class map of the wrong length",
                        got=len(array),
                        wanted=n_types,
                        where=f"{side} classes",
                    )
        if len(self.src) != len(self.tgt) or not self.src:
            raise InputError("class maps must come in pairs", got=f"{len(self.src)} and {len(self.tgt)}")


def numbered(keys: Sequence[str]) -> NDArray[np.int32]:
    """Number of each key, in order of first occurrence."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.int32)


def frequencies(bitext: Bitext) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Occurrences of every source and of every target type."""
    return (
        np.bincount(bitext.src_ids, minlength=bitext.n_src_types).astype(np.float64),
        np.bincount(bitext.tgt_ids, minlength=bitext.n_tgt_types).astype(np.float64),
    )


class ClassPrior:
    """The prior of every row, in both directions, from the present counts.

    ``frequency`` has the number of occurrences of every source and of every target type.

    Memory: 8 bytes a row for the prior and, on the way, 4 bytes for each row with a count and 28 bytes x the
    target classes for each thread.
    """

    def __init__(
        self,
        frequency: tuple[NDArray[np.float64], NDArray[np.float64]],
        pairs: PairTable,
        classes: WordClasses,
        *,
        alpha: float,
        class_weight: float,
        form_weight: float,
    ) -> None:
        n_src, n_tgt = frequency
        classes.check(len(n_src), len(n_tgt))
        self.alpha, self.class_weight, self.form_weight = alpha, class_weight, form_weight
        self.pairs, self.classes = pairs, classes
        self.maps = []
        for src, tgt in zip(classes.src, classes.tgt, strict=True):
            src_share = n_src / np.maximum(np.bincount(src, weights=n_src), 1.0)[src]
            tgt_share = n_tgt / np.maximum(np.bincount(tgt, weights=n_tgt), 1.0)[tgt]
            # source types in order of their classes, and where each class begins in that order
            order = np.argsort(src, kind="stable")
            n_src_classes = int(src.max(initial=-1)) + 1
            first = np.searchsorted(src[order], np.arange(n_src_classes + 1))
            # shares of source classes with equally many rows, many enough for any number of threads
            n_rows = np.concatenate(([0], np.cumsum(np.diff(pairs.indptr)[order])))[first]
            shares = np.searchsorted(n_rows, np.linspace(0, pairs.n_rows, 33))
            shares[0], shares[-1] = 0, n_src_classes
            self.maps.append(
                (tgt, src_share.astype(np.float32), tgt_share.astype(np.float32), order, first, shares)
            )

    def __call__(self, counts: NDArray[np.float32]) -> NDArray[np.float32]:
        """Dirichlet parameters, float32, shape (n_rows, 2), from counts of one or two columns."""
        prior = np.full((self.pairs.n_rows, 2), self.alpha, dtype=np.float32)
        # most rows have no count at all
        counted, counted_first = _counted_rows(self.pairs.indptr, counts)
        of_types = _tgt_counts(self.pairs.tgt, counts, counted, len(self.classes.tgt_forms))
        for class_map in self.maps:
            totals = np.bincount(class_map[0], weights=of_types).astype(np.float64)
            _add_shares(
                self.pairs.indptr, self.pairs.tgt, counts, counted, counted_first, *class_map, totals,
                np.float32(self.class_weight / len(self.maps)), prior,
            )  # fmt: skip
        _add_form_prior(
            self.pairs.indptr,
            self.pairs.tgt,
            self.classes.src_forms,
            self.classes.tgt_forms,
            self.form_weight,
            prior,
        )
        return prior


@nb.njit(cache=True)
def _counted_rows(
    indptr: NDArray[np.int64], counts: NDArray[np.float32]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    # rows with a count, and where those of each source type begin among them
    last = counts.shape[1] - 1
    n = 0
    for row in range(len(counts)):
        n += counts[row, 0] > 0.0 or counts[row, last] > 0.0
    rows = np.empty(n, dtype=np.int32)
    first = np.empty(len(indptr), dtype=np.int64)
    n = 0
    for s in range(len(indptr) - 1):
        first[s] = n
        for row in range(indptr[s], indptr[s + 1]):
            if counts[row, 0] > 0.0 or counts[row, last] > 0.0:
                rows[n] = row
                n += 1
    first[-1] = n
    return rows, first


@nb.njit(cache=True)
def _tgt_counts(
    row_tgt: NDArray[np.int32], counts: NDArray[np.float32], counted: NDArray[np.int32], n_types: int
) -> NDArray[np.float64]:
    last = counts.shape[1] - 1
    totals = np.zeros(n_types)
    for row in counted:
        totals[row_tgt[row]] += counts[row, last]
    return totals


@nb.njit(parallel=True, cache=True)
def _add_shares(
    indptr: NDArray[np.int64],
    row_tgt: NDArray[np.int32],
    counts: NDArray[np.float32],
    counted: NDArray[np.int32],
    counted_first: NDArray[np.int64],
    tgt_class: NDArray[np.int32],
    src_share: NDArray[np.float32],
    tgt_share: NDArray[np.float32],
    order: NDArray[np.int64],
    first: NDArray[np.int64],
    shares: NDArray[np.int64],
    totals: NDArray[np.float64],
    weight: np.float32,
    prior: NDArray[np.float32],
) -> None:
    for share in nb.prange(len(shares) - 1):
        _add_share(
            indptr, row_tgt, counts, counted, counted_first, tgt_class, src_share, tgt_share, order, first,
            shares[share], shares[share + 1], totals, weight, prior,
        )  # fmt: skip


@nb.njit(cache=True)
def _add_share(
    indptr: NDArray[np.int64],
    row_tgt: NDArray[np.int32],
    counts: NDArray[np.float32],
    counted: NDArray[np.int32],
    counted_first: NDArray[np.int64],
    tgt_class: NDArray[np.int32],
    src_share: NDArray[np.float32],
    tgt_share: NDArray[np.float32],
    order: NDArray[np.int64],
    first: NDArray[np.int64],
    start: int,
    stop: int,
    totals: NDArray[np.float64],
    weight: np.float32,
    prior: NDArray[np.float32],
) -> None:
    last = counts.shape[1] - 1
    # counts of the present source class with every target class, and p(class | class), in both directions
    joint = np.zeros((len(totals), 2))
    given = np.zeros((len(totals), 2), dtype=np.float32)
    met = np.empty(len(totals), dtype=np.int32)
    for c in range(start, stop):
        total = 0.0
        n_met = 0
        for x in range(first[c], first[c + 1]):
            for k in range(counted_first[order[x]], counted_first[order[x] + 1]):
                row = counted[k]
                d = tgt_class[row_tgt[row]]
                if joint[d, 0] == 0.0 and joint[d, 1] == 0.0:
                    met[n_met] = d
                    n_met += 1
                joint[d, 0] += counts[row, 0]
                joint[d, 1] += counts[row, last]
                total += counts[row, 0]
        for k in range(n_met):
            d = met[k]
            given[d, 0] = joint[d, 0] / total if total > 0.0 else 0.0
            given[d, 1] = joint[d, 1] / totals[d] if totals[d] > 0.0 else 0.0
        for x in range(first[c], first[c + 1]):
            s = order[x]
            share = weight * src_share[s]
            # unsigned numbers spare the test for negative ones: half the time
            for row in range(np.uintp(indptr[s]), np.uintp(indptr[s + 1])):
                t = np.uintp(row_tgt[row])
                d = np.uintp(tgt_class[t])
                prior[row, 0] += weight * tgt_share[t] * given[d, 0]
                prior[row, 1] += share * given[d, 1]
        for k in range(n_met):
            joint[met[k]] = 0.0
            given[met[k]] = 0.0


@nb.njit(cache=True)
def _add_form_prior(
    indptr: NDArray[np.int64],
    row_tgt: NDArray[np.int32],
    src_forms: NDArray[np.int32],
    tgt_forms: NDArray[np.int32],
    weight: float,
    prior: NDArray[np.float32],
) -> None:
    for s in range(len(indptr) - 1):
        if src_forms[s] >= 0:
            for row in range(indptr[s], indptr[s + 1]):
                if tgt_forms[row_tgt[row]] == src_forms[s]:
                    prior[row, 0] += weight
                    prior[row, 1] += weight
