"""Byte-pair merges that go on where a tokenizer's own end.

Training goes on from words as the present tokenizer cuts them, so a new merge joins tokens that really stand
side by side, and each new token is what the tokenizer makes of its own spelling: no merge crossed its border
in the text, so none is missed where it stands alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vocab.tokenizer.bpe_trainer import CONTINUES, HASH_BASE, Merges, merge_pairs, mixed


def continue_merges(
    words: Sequence[Sequence[int]],
    counts: Sequence[int],
    tokens: Sequence[str],
    *,
    boundary: NDArray[np.bool_],
    max_merges: int,
    min_count: int = 2,
    prefix: str = "",
    max_length: int = 0,
) -> Merges:
    """Learn byte-pair merges on top of tokens that are there.

    As :func:`vocab.tokenizer.bpe_trainer.learn_merges`, but symbols are tokens instead of characters.

    Parameters
    ----------
    words : sequence of sequence of int
        Different words, each as the ids of its tokens. Merges never cross words.
    counts : sequence of int
        How often each word occurs.
    tokens : sequence of str
        All tokens that are there, by id; none of them is made again.
    boundary : ndarray of bool, shape (len(tokens),)
        Tokens that are never joined: special ones, bytes that stand in for characters.
    max_merges, min_count, prefix, max_length
        As there.

    Returns
    -------
    Merges
        Without an alphabet; ``pairs`` and ``tokens`` are the new ones.

    Notes
    -----
    Time O(n log n), memory about 100 n bytes, with n the tokens of all different words together, beside a
    pass over the vocabulary.
    """
    kept = [(word, count) for word, count in zip(words, counts, strict=True) if word]
    if not kept:
        return Merges((), [], np.empty(0, np.int64), prefix)
    ids = np.fromiter((i for word, _ in kept for i in word), np.int64)
    sizes = np.fromiter((len(word) for word, _ in kept), np.int64, len(kept))
    weights = np.repeat(np.fromiter((count for _, count in kept), np.int64, len(kept)), sizes)
    joinable = ~boundary[ids]
    known = np.unique(ids[joinable])
    symbols = np.where(joinable, np.searchsorted(known, ids), -1).astype(np.int32)
    position = np.arange(len(ids), dtype=np.int32)
    after, before = position + np.int32(1), position - np.int32(1)
    first = np.cumsum(sizes) - sizes
    after[first + sizes - 1] = -1
    before[first] = -1
    hashes, powers, lengths = spelling_hashes(tokens, prefix)
    left, right, found = merge_pairs(
        symbols,
        after,
        before,
        weights,
        hashes[known],
        powers[known],
        lengths[known],
        hashes,
        min(max_merges, len(ids)),
        max(min_count, 1),
        max_length or np.iinfo(np.int64).max,
    )
    spelled = [tokens[i] for i in known.tolist()]
    pairs = []
    for a, b in zip(left.tolist(), right.tolist(), strict=True):
        pairs.append((spelled[a], spelled[b]))
        spelled.append(spelled[a] + spelled[b][len(prefix) :])
    return Merges((), pairs, found, prefix)


def spelling_hashes(
    tokens: Sequence[str], prefix: str
) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.int64]]:
    """The trainer's rolling hash of each token, the power that shifts by it, and its length in characters.

    With a `prefix`, characters count as continuing except the first of a token without it.
    """
    bare = [token[len(prefix) :] if prefix and token.startswith(prefix) else token for token in tokens]
    lengths = np.fromiter(map(len, bare), np.int64, len(bare))
    text = "".join(bare).encode("utf-32-le", errors="surrogatepass")
    codes = np.frombuffer(text, dtype=np.uint32).astype(np.int64)
    begin = np.cumsum(lengths) - lengths
    if prefix:
        begins_word = np.array([len(a) == len(b) for a, b in zip(bare, tokens, strict=True)], bool)
        codes += CONTINUES
        codes[begin[begins_word & (lengths > 0)]] -= CONTINUES
    values = mixed(codes)
    hashes = np.zeros(len(bare), np.uint64)
    powers = np.ones(len(bare), np.uint64)
    active = np.flatnonzero(lengths > 0)
    at = 0
    while len(active):
        hashes[active] = hashes[active] * HASH_BASE + values[begin[active] + at]
        powers[active] *= HASH_BASE
        at += 1
        active = active[lengths[active] > at]
    return hashes, powers, lengths
