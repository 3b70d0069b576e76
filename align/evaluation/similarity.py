"""Word similarity: cosines of word pairs against the judgements of people, in one space or across two."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from align.errors import InputError, UsageError
from align.mapping.bilingual import BilingualMap
from align.normalize import unit
from align.short_repr import short_repr
from align.textfiles import read_lines
from align.vectors import Vectors

ScoredPair = tuple[str, str, float]


@dataclass(frozen=True, eq=False)
class SimilarityResult:
    """Agreement of cosines with judgements.

    Attributes
    ----------
    spearman, pearson : float
        Over the scored pairs.
    coverage : float
        Share of the pairs with a vector on both sides.
    n_pairs : int
        Pairs that were scored: the known ones, or all with ``oov="mean"``.
    cosines : ndarray of float64, shape (n,)
        Of all pairs in their order, NaN where a side has no vector.
    """

    spearman: float
    pearson: float
    coverage: float
    n_pairs: int
    cosines: NDArray[np.float64]

    __repr__ = short_repr

    @property
    def harmonic_mean(self) -> float:
        """Of both correlations, the score of SemEval-2017 task 2; 0 unless both are positive."""
        if min(self.spearman, self.pearson) <= 0:
            return 0.0
        return 2 * self.spearman * self.pearson / (self.spearman + self.pearson)


def read_similarity(path: str | os.PathLike[str]) -> list[ScoredPair]:
    """Read judged pairs: two words with tabs between, then a score.

    Parameters
    ----------
    path : path
        UTF-8 text, gzipped if the name ends in ``.gz``. SemEval-2017 task 2, SimLex-999 and WordSim-353 are
        read as they are: the score is the first number after the two words in the first line that has one,
        and in that column everywhere; a first line without one is a header.

    Raises
    ------
    InputError
        For a missing or empty file, and with file and line for a line without two words and a number.
    """
    lines = [(n, line) for n, line in enumerate(read_lines(path), start=1) if line.strip()]
    rows = [(n, [cell.strip() for cell in line.split("\t")]) for n, line in lines]
    column = next((i for _, cells in rows[:2] for i, c in enumerate(cells) if i > 1 and _is_number(c)), 2)
    if len(rows) > 1 and len(rows[0][1]) > column and not _is_number(rows[0][1][column]):
        rows = rows[1:]
    pairs = []
    for number, cells in rows:
        if len(cells) <= column or not cells[0] or not cells[1] or not _is_number(cells[column]):
            raise InputError(
                "not a judged pair", where=f"{path}:{number}", got=cells[:4], wanted="word TAB word TAB score"
            )
        pairs.append((cells[0], cells[1], float(cells[column])))
    return pairs


def word_similarity(
    pairs: Sequence[ScoredPair],
    src: Vectors,
    tgt: Vectors | None = None,
    mapping: BilingualMap | None = None,
    *,
    lower: bool = False,
    phrases: Literal["mean", "oov"] = "mean",
    oov: Literal["drop", "mean"] = "drop",
) -> SimilarityResult:
    """Correlate the cosines of word pairs with judgements.

    Parameters
    ----------
    pairs : sequence of (str, str, float)
    src : Vectors
        Of the first word of every pair.
    tgt : Vectors, optional
        Of the second word; the source space by default.
    mapping : BilingualMap, optional
        Of both spaces into a common one.
    lower : bool
        Lower-case the pairs.
    phrases : {"mean", "oov"}
        An entry of several words that has no vector of its own has the mean of its words' unit vectors if all
        are known, or none.
    oov : {"drop", "mean"}
        A pair without a vector on both sides is left out, or given the mean cosine of the others.

    Raises
    ------
    UsageError
        For an unknown rule.
    InputError
        If fewer than two pairs are known, or judgements or cosines are all equal.
    """
    if phrases not in ("mean", "oov") or oov not in ("drop", "mean"):
        raise UsageError("unknown rule", got=f"{phrases}, {oov}", wanted="mean or oov, drop or mean")
    X = _rows([a.lower() if lower else a for a, _, _ in pairs], src, phrases)
    Y = _rows([b.lower() if lower else b for _, b, _ in pairs], src if tgt is None else tgt, phrases)
    known = X.any(axis=1) & Y.any(axis=1)
    n_known = int(known.sum())
    if n_known < 2:
        raise InputError("too few pairs are known", got=f"{n_known} of {len(pairs)}", wanted="2 or more")
    if mapping is not None:
        X = mapping.map_src(X)
        Y = mapping.map_src(Y) if tgt is None else mapping.map_tgt(Y)
    if X.shape[1] != Y.shape[1]:
        raise InputError("spaces of different width need a map", got=f"{X.shape[1]} and {Y.shape[1]}")
    cosines = np.einsum("ij,ij->i", unit(X).astype(np.float64), unit(Y).astype(np.float64))
    cosines[~known] = np.nan
    judged = np.array([score for _, _, score in pairs])
    predicted = np.where(known, cosines, cosines[known].mean())
    used = known if oov == "drop" else np.ones_like(known)
    a, b = predicted[used], judged[used]
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        raise InputError("all cosines or all judgements are equal", got=f"{n_known} known pairs")
    return SimilarityResult(
        spearman=float(np.corrcoef(rankdata(a), rankdata(b))[0, 1]),
        pearson=float(np.corrcoef(a, b)[0, 1]),
        coverage=n_known / len(pairs),
        n_pairs=len(a),
        cosines=cosines,
    )


def _rows(words: Sequence[str], space: Vectors, phrases: str) -> NDArray[np.float32]:
    """One vector a word or phrase, zeros where there is none."""
    rows = space.vectors_of(words)
    if phrases == "mean":
        # subwords give any string a vector, but not a meaning to two words written as one
        strangers = (space.indices_of(words) < 0) | ~rows.any(axis=1)
        for place in np.flatnonzero(strangers).tolist():
            parts = words[place].split()
            if len(parts) > 1:
                vectors = unit(space.vectors_of(parts))
                rows[place] = vectors.mean(axis=0) if vectors.any(axis=1).all() else 0
    return rows


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False
