"""New pieces for a unigram model, scored so that the segmentation uses them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from vocab.tokenizer.bpe_trainer import learn_merges
from vocab.tokenizer.unigram_trainer import Pieces, learn_pieces

_MARGIN = 1e-3
_MAX_PIECE = 16
_MIN_COUNT = 2


def more_pieces(
    words: Mapping[str, int],
    known: Mapping[str, float],
    *,
    taken: Collection[str],
    limit: int,
    min_count: int,
    unknown: float,
    is_auto: bool,
) -> list[tuple[str, float]]:
    """Pieces of a model of the words that the old model lacks, with scores beside the old ones.

    A new piece has its log-probability in a model of the new text alone. It is raised to the old model's
    lowest score where it is lower, and above its best segmentation into old and shorter new pieces, so that
    its own spelling always gives it. The old scores stay: a text without new pieces is cut as before.

    Parameters
    ----------
    words : mapping of str to int
        Words of the new text with their counts.
    known : mapping of str to float
        Pieces of the old model with their scores.
    taken : collection of str
        Spellings that no new piece may have.
    limit : int
        Most new pieces.
    min_count : int
        A piece must have been seen so often when it was made by merging; decides how many `is_auto` learns.
    unknown : float
        Score of an unknown character.
    is_auto : bool
        Learn as many as the text supports instead of `limit`.

    Returns
    -------
    list of (str, float)
        New characters first, then by falling probability; fewer than `limit` where the text has no more.
    """
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            counts[character] += count
    alphabet = frozenset(c for c, count in counts.items() if c in known or count >= _MIN_COUNT)
    most = learn_merges(words, alphabet, max_merges=10**9, min_count=min_count, max_length=_MAX_PIECE)
    n_supported = len(most.pairs) + len(alphabet)
    n_pieces = n_supported if is_auto else min(limit + len(alphabet), n_supported)
    while True:
        learnt = learn_pieces(words, alphabet, n_pieces=n_pieces)
        new = _without(learnt, taken)
        if is_auto or len(new) >= limit or n_pieces >= n_supported:
            break
        n_pieces = min(n_supported, n_pieces + 2 * (limit - len(new)))
    new = sorted(new, key=lambda piece: len(piece) > 1)[:limit]
    scores = dict(zip(learnt.pieces, learnt.scores.tolist(), strict=True))
    return _placed(new, scores, known, unknown)


def _without(learnt: Pieces, taken: Collection[str]) -> list[str]:
    return [piece for piece in learnt.pieces if piece not in taken]


def _placed(
    new: list[str], scores: Mapping[str, float], known: Mapping[str, float], unknown: float
) -> list[tuple[str, float]]:
    """New pieces with scores above their best segmentations; the shorter first, as parts of the others."""
    lowest = min(known.values())
    placed = dict(known)
    for piece in sorted(new, key=len):
        best = best_split(piece, placed, unknown)
        placed[piece] = max(scores[piece], lowest, best + _MARGIN if len(piece) > 1 else lowest)
    return [(piece, placed[piece]) for piece in new]


def best_split(piece: str, scores: Mapping[str, float], unknown: float) -> float:
    """Score of the best segmentation of a piece into two or more (Viterbi)."""
    n = len(piece)
    best = [0.0] + [float("-inf")] * n
    for start in range(n):
        for stop in range(start + 1, n + 1):
            if stop - start == n:
                continue
            score = scores.get(piece[start:stop], unknown if stop == start + 1 else None)
            if score is not None and best[start] + score > best[stop]:
                best[stop] = best[start] + score
    return best[n]
