"""Letters and groups of letters that correspond in cognates, learned from pairs of words.

A pair of cognates is a row of *units*, each a group of up to three source letters with a group of up to three
target letters (or one letter with none), drawn independently: ``^-^ n-n a-a t-t ion-ón $-$``. Which units
there are and how often is found by expectation maximisation over all ways to cut the pairs up, beside a
second model in which both words are spelled independently of each other, so that pairs that are no cognates
(most of a dictionary, for distant languages) teach nothing. Bisani and Ney (2008), "Joint-sequence models for
grapheme-to-phoneme conversion", call the units graphones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numba as nb
import numpy as np
from numpy.typing import NDArray

from align.errors import InputError

_LONGEST = 40  # letters of a word that are looked at
_GROUP = 3  # letters in a group
_MAX_LETTERS, _MAX_GROUPS, _MIN_TIMES = 400, 1500, 4
_DISCOUNT = 0.3  # expected uses that a unit of groups has to exceed, or it goes
_LIMIT = 30.0
_OTHER = "\x00"  # stands for letters that the pairs do not have


@dataclass(frozen=True, eq=False)
class Correspondences:
    """Probabilities of units.

    Parameters
    ----------
    src_groups, tgt_groups : tuple of str
        Groups of letters, the empty one first; ``^`` and ``$`` are the ends of a word.
    probabilities : ndarray of float64, shape (n_src_groups, n_tgt_groups)
        Of the units; they sum to 1.
    share : float
        Share of cognates among the pairs it was learned from.
    history : tuple of float
        Mean log-likelihood of a pair, iteration by iteration.
    """

    src_groups: tuple[str, ...]
    tgt_groups: tuple[str, ...]
    probabilities: NDArray[np.float64]
    share: float
    history: tuple[float, ...] = ()

    def top(self, n: int = 50) -> list[tuple[str, str, float]]:
        """The most probable units whose two groups differ."""
        order = np.argsort(-self.probabilities, axis=None, kind="stable")
        found: list[tuple[str, str, float]] = []
        for place in order:
            i, j = divmod(int(place), self.probabilities.shape[1])
            if len(found) == n or self.probabilities[i, j] == 0:
                break
            if self.src_groups[i] != self.tgt_groups[j]:
                found.append((self.src_groups[i], self.tgt_groups[j], float(self.probabilities[i, j])))
        return found


@dataclass(frozen=True, eq=False)
class LetterModel:
    """Two vocabularies, each spelled on its own: log-probability of every word by letter bigrams.

    Parameters
    ----------
    src_words, tgt_words : tuple of str
    src_logs, tgt_logs : ndarray of float64, shape (n_words,)
    """

    src_words: tuple[str, ...]
    tgt_words: tuple[str, ...]
    src_logs: NDArray[np.float64]
    tgt_logs: NDArray[np.float64]


def letter_model(src_words: Sequence[str], tgt_words: Sequence[str]) -> LetterModel:
    """Fit letter bigrams, smoothed by a tenth of an occurrence, on the words of each vocabulary."""
    return LetterModel(tuple(src_words), tuple(tgt_words), _bigram_logs(src_words), _bigram_logs(tgt_words))


def learn_correspondences(
    letters: LetterModel,
    pairs: NDArray[np.integer],
    *,
    weights: NDArray[np.floating] | None = None,
    n_iter: int = 10,
) -> Correspondences:
    """Learn units from pairs of words.

    Parameters
    ----------
    letters : LetterModel
        Of the vocabularies that the pairs count in.
    pairs : ndarray of int, shape (n, 2)
    weights : ndarray, shape (n,), optional
    n_iter : int

    Returns
    -------
    Correspondences

    Raises
    ------
    InputError
        Without pairs.

    Notes
    -----
    A second or two for 4,000 pairs; two tables of 8 bytes for each source group and target group, at most
    1,900 x 1,900.
    """
    if len(pairs) == 0:
        raise InputError("there is nothing to learn from", got="no pairs")
    pairs = np.ascontiguousarray(pairs, np.int64)
    w = np.ones(len(pairs)) if weights is None else np.asarray(weights, np.float64)
    src_rows, src = np.unique(pairs[:, 0], return_inverse=True)
    tgt_rows, tgt = np.unique(pairs[:, 1], return_inverse=True)
    src_words = [letters.src_words[i] for i in src_rows]
    tgt_words = [letters.tgt_words[i] for i in tgt_rows]
    src_groups, tgt_groups = _groups(src_words), _groups(tgt_words)
    src_cuts, src_lengths = _cut(src_words, src_groups)
    tgt_cuts, tgt_lengths = _cut(tgt_words, tgt_groups)
    apart = letters.src_logs[pairs[:, 0]] + letters.tgt_logs[pairs[:, 1]]

    src_size = np.array([len(g) for g in src_groups])[:, None]
    tgt_size = np.array([len(g) for g in tgt_groups])[None, :]
    single = (src_size <= 1) & (tgt_size <= 1) & (src_size + tgt_size > 0)
    allowed = single | ((src_size > 0) & (tgt_size > 0))
    # a start that prefers one letter for one, and the same letter most
    P = 0.02 * 0.025 ** np.maximum(src_size, tgt_size) * np.where(src_size == tgt_size, 1.0, 0.3) * allowed
    same = {g: j for j, g in enumerate(tgt_groups) if len(g) == 1}
    for i, group in enumerate(src_groups):
        if group in same:
            P[i, same[group]] = 0.02
    share, history = 0.5, []
    places = np.stack([src, tgt], axis=1).astype(np.int64)
    for _ in range(n_iter):
        expected, posterior, logs = np.zeros_like(P), np.empty(len(pairs)), np.empty(len(pairs))
        odds = apart + np.log((1 - share) / share)
        _expect(src_cuts, src_lengths, tgt_cuts, tgt_lengths, places, w, P, odds, expected, posterior, logs)
        history.append(float(w @ (logs + np.log(share)) / w.sum()))
        share = float(np.clip(w @ posterior / w.sum(), 0.01, 0.99))
        P = np.where(single, expected + 0.02, np.maximum(expected - _DISCOUNT, 0.0))
        P /= P.sum()
    return Correspondences(tuple(src_groups), tuple(tgt_groups), P, share, tuple(history))


@dataclass(frozen=True, eq=False)
class CognateScorer:
    """Correspondences applied to two vocabularies.

    Parameters
    ----------
    model : Correspondences
    letters : LetterModel
    """

    model: Correspondences
    letters: LetterModel

    @cached_property
    def _cuts(self) -> tuple[tuple[NDArray[np.int32], NDArray[np.int64]], ...]:
        return (
            _cut(self.letters.src_words, self.model.src_groups),
            _cut(self.letters.tgt_words, self.model.tgt_groups),
        )

    def __call__(self, rows: NDArray[np.integer], columns: NDArray[np.integer]) -> NDArray[np.float32]:
        """Log-odds that word pairs are cognates, shape (n_pairs,), within -30 and 30."""
        out = np.empty(len(rows))
        rows, columns = np.ascontiguousarray(rows, np.int64), np.ascontiguousarray(columns, np.int64)
        (src_cuts, src_lengths), (tgt_cuts, tgt_lengths) = self._cuts
        P = self.model.probabilities
        _score(src_cuts, src_lengths, tgt_cuts, tgt_lengths, rows, columns, P, nb.get_num_threads(), out)
        out -= self.letters.src_logs[rows] + self.letters.tgt_logs[columns]
        out += np.log(self.model.share / (1 - self.model.share))
        return np.clip(out, -_LIMIT, _LIMIT).astype(np.float32)


def _marked(word: str) -> str:
    return "^" + word[:_LONGEST] + "$"


def _groups(words: Sequence[str]) -> list[str]:
    """The empty group, one for letters not seen, the letters, and the frequent groups of two and three."""
    single: Counter[str] = Counter()
    longer: Counter[str] = Counter()
    for word in map(_marked, words):
        single.update(word)
        for size in range(2, _GROUP + 1):
            longer.update(word[i : i + size] for i in range(len(word) - size + 1))
    kept = sorted(longer.items(), key=lambda item: (-item[1], item[0]))[:_MAX_GROUPS]
    letters = sorted(single.items(), key=lambda item: (-item[1], item[0]))[:_MAX_LETTERS]
    return ["", _OTHER, *(g for g, _ in letters), *(g for g, times in kept if times >= _MIN_TIMES)]


def _cut(words: Sequence[str], groups: Sequence[str]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The group of every size at every place of every word, -1 where it is none, and the words' lengths."""
    index = {group: i for i, group in enumerate(groups)}
    lengths = np.array([len(_marked(word)) for word in words], np.int64)
    cuts = np.full((len(words), int(lengths.max()), _GROUP), -1, np.int32)
    for row, word in enumerate(map(_marked, words)):
        for i in range(len(word)):
            for size in range(1, min(_GROUP, len(word) - i) + 1):
                cuts[row, i, size - 1] = index.get(word[i : i + size], index[_OTHER] if size == 1 else -1)
    return cuts, lengths


def _bigram_logs(words: Sequence[str]) -> NDArray[np.float64]:
    times = Counter(pair for word in map(_marked, words) for pair in pairwise(word))
    first: Counter[str] = Counter()
    for (a, _), n in times.items():
        first[a] += n
    n_letters = len({b for _, b in times})
    logs = {(a, b): np.log((n + 0.1) / (first[a] + 0.1 * n_letters)) for (a, b), n in times.items()}
    return np.array([sum(logs[pair] for pair in pairwise(w)) for w in map(_marked, words)], np.float64)


@nb.njit(cache=True)
def _forward(src, n, tgt, m, P, sums):  # type: ignore[no-untyped-def]
    for i in range(n + 1):
        for j in range(m + 1):
            total = 1.0 if i == 0 and j == 0 else 0.0
            if i > 0 and src[i - 1, 0] >= 0:
                total += sums[i - 1, j] * P[src[i - 1, 0], 0]
            if j > 0 and tgt[j - 1, 0] >= 0:
                total += sums[i, j - 1] * P[0, tgt[j - 1, 0]]
            for a in range(1, min(i, _GROUP) + 1):
                s = src[i - a, a - 1]
                if s >= 0:
                    for b in range(1, min(j, _GROUP) + 1):
                        t = tgt[j - b, b - 1]
                        if t >= 0:
                            total += sums[i - a, j - b] * P[s, t]
            sums[i, j] = total
    return sums[n, m]


@nb.njit(cache=True)
def _backward(src, n, tgt, m, P, sums, back, factor, expected):  # type: ignore[no-untyped-def]
    """Sums from the other end; what passes through every unit goes into `expected`, times `factor`."""
    for i in range(n, -1, -1):
        for j in range(m, -1, -1):
            total = 1.0 if i == n and j == m else 0.0
            here = factor * sums[i, j]
            if i < n and src[i, 0] >= 0:
                part = back[i + 1, j] * P[src[i, 0], 0]
                total += part
                expected[src[i, 0], 0] += here * part
            if j < m and tgt[j, 0] >= 0:
                part = back[i, j + 1] * P[0, tgt[j, 0]]
                total += part
                expected[0, tgt[j, 0]] += here * part
            for a in range(1, min(n - i, _GROUP) + 1):
                s = src[i, a - 1]
                if s >= 0:
                    for b in range(1, min(m - j, _GROUP) + 1):
                        t = tgt[j, b - 1]
                        if t >= 0 and P[s, t] > 0:
                            part = back[i + a, j + b] * P[s, t]
                            total += part
                            expected[s, t] += here * part
            back[i, j] = total


@nb.njit(cache=True)
def _expect(src, src_n, tgt, tgt_n, pairs, weights, P, odds, expected, posterior, logs):  # type: ignore[no-untyped-def]
    shape = (src.shape[1] + 1, tgt.shape[1] + 1)
    sums, back = np.zeros(shape), np.zeros(shape)
    for p in range(len(pairs)):
        r, c = pairs[p, 0], pairs[p, 1]
        together = _forward(src[r], src_n[r], tgt[c], tgt_n[c], P, sums)
        apart = np.exp(odds[p])
        posterior[p] = together / (together + apart) if together > 0 else 0.0
        logs[p] = np.log(together + apart + 1e-300)
        if posterior[p] > 1e-9:
            factor = weights[p] * posterior[p] / together
            _backward(src[r], src_n[r], tgt[c], tgt_n[c], P, sums, back, factor, expected)


@nb.njit(cache=True, parallel=True)
def _score(src, src_n, tgt, tgt_n, rows, columns, P, n_threads, out):  # type: ignore[no-untyped-def]
    for thread in nb.prange(n_threads):
        _score_of_thread(src, src_n, tgt, tgt_n, rows, columns, P, thread, n_threads, out)


@nb.njit(cache=True)
def _score_of_thread(src, src_n, tgt, tgt_n, rows, columns, P, thread, n_threads, out):  # type: ignore[no-untyped-def]
    sums = np.zeros((src.shape[1] + 1, tgt.shape[1] + 1))
    for p in range(thread, len(rows), n_threads):
        r, c = rows[p], columns[p]
        out[p] = np.log(_forward(src[r], src_n[r], tgt[c], tgt_n[c], P, sums) + 1e-300)
