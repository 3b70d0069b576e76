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

    Memory: 8 bytes a row for the prior, and 8 bytes x the target classes for each thread on the way.
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
            self.maps.append((tgt, src_share, tgt_share, order, first, shares))

    def __call__(self, counts: NDArray[np.float32]) -> NDArray[np.float32]:
        """Dirichlet parameters, float32, shape (n_rows, 2), from counts of one or two columns."""
        prior = np.full((self.pairs.n_rows, 2), self.alpha, dtype=np.float32)
        for class_map in self.maps:
            _add_class_prior(
                self.pairs.indptr,
                self.pairs.tgt,
                counts,
                *class_map,
                self.class_weight / len(self.maps),
                prior,
            )
        _add_form_prior(
            self.pairs.indptr,
            self.pairs.tgt,
            self.classes.src_forms,
            self.classes.tgt_forms,
            self.form_weight,
            prior,
        )
        return prior


def _add_class_prior(
    indptr: NDArray[np.int64],
    row_tgt: NDArray[np.int32],
    counts: NDArray[np.float32],
    tgt_class: NDArray[np.int32],
    src_share: NDArray[np.float64],
    tgt_share: NDArray[np.float64],
    order: NDArray[np.int64],
    first: NDArray[np.int64],
    shares: NDArray[np.int64],
    weight: float,
    prior: NDArray[np.float32],
) -> None:
    totals = _class_totals(row_tgt, counts, tgt_class)
    _add_shares(
        indptr, row_tgt, counts, tgt_class, src_share, tgt_share, order, first, shares, totals, weight, prior
    )


@nb.njit(cache=True)
def _class_totals(
    row_tgt: NDArray[np.int32], counts: NDArray[np.float32], tgt_class: NDArray[np.int32]
) -> NDArray[np.float64]:
    last = counts.shape[1] - 1
    totals = np.zeros(tgt_class.max() + 1)
    for row in range(len(row_tgt)):
        totals[tgt_class[row_tgt[row]]] += counts[row, last]
    return totals


@nb.njit(parallel=True, cache=True)
def _add_shares(
    indptr: NDArray[np.int64],
    row_tgt: NDArray[np.int32],
    counts: NDArray[np.float32],
    tgt_class: NDArray[np.int32],
    src_share: NDArray[np.float64],
    tgt_share: NDArray[np.float64],
    order: NDArray[np.int64],
    first: NDArray[np.int64],
    shares: NDArray[np.int64],
    totals: NDArray[np.float64],
    weight: float,
    prior: NDArray[np.float32],
) -> None:
    for share in nb.prange(len(shares) - 1):
        _add_share(
            indptr, row_tgt, counts, tgt_class, src_share, tgt_share, order, first,
            shares[share], shares[share + 1], totals, weight, prior,
        )  # fmt: skip


@nb.njit(cache=True)
def _add_share(
    indptr: NDArray[np.int64],
    row_tgt: NDArray[np.int32],
    counts: NDArray[np.float32],
    tgt_class: NDArray[np.int32],
    src_share: NDArray[np.float64],
    tgt_share: NDArray[np.float64],
    order: NDArray[np.int64],
    first: NDArray[np.int64],
    start: int,
    stop: int,
    totals: NDArray[np.float64],
    weight: float,
    prior: NDArray[np.float32],
) -> None:
    last = counts.shape[1] - 1
    # counts of the present source class with every target class, in both directions
    joint = np.zeros((len(totals), 2))
    for c in range(start, stop):
        total = 0.0
        for x in range(first[c], first[c + 1]):
            for row in range(indptr[order[x]], indptr[order[x] + 1]):
                joint[tgt_class[row_tgt[row]], 0] += counts[row, 0]
                joint[tgt_class[row_tgt[row]], 1] += counts[row, last]
                total += counts[row, 0]
        for x in range(first[c], first[c + 1]):
            s = order[x]
            for row in range(indptr[s], indptr[s + 1]):
                t = row_tgt[row]
                d = tgt_class[t]
                if total > 0.0:
                    prior[row, 0] += weight * tgt_share[t] * joint[d, 0] / total
                if totals[d] > 0.0:
                    prior[row, 1] += weight * src_share[s] * joint[d, 1] / totals[d]
        for x in range(first[c], first[c + 1]):
            for row in range(indptr[order[x]], indptr[order[x] + 1]):
                joint[tgt_class[row_tgt[row]], 0] = 0.0
                joint[tgt_class[row_tgt[row]], 1] = 0.0


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
