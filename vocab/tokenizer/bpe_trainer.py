"""Learning of byte-pair merges, with one order for equal counts.

The merges serve byte-level BPE, SentencePiece-style BPE and WordPiece (whose vocabulary is made by the same
merges over ``##`` continuation characters). The result depends on the words and their counts alone: not on
hash seeds, the number of threads or the order in which the text came.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

CONTINUES = 0x110000  # added to the code point of a character that does not begin its word
Scalar = int | np.signedinteger[Any]
HASH_BASE = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no character is multiplied away


@dataclass(frozen=True, eq=False)
class Merges:
    """Merges in the order in which they were learnt.

    Attributes
    ----------
    alphabet : tuple of str
        Single characters, by code point; with a continuation prefix, those that begin a word come first.
    pairs : list of (str, str)
        What is joined, as it is spelled in the vocabulary.
    counts : (n_merges,) int64
        How often the two stood side by side when they were joined; never increases.
    prefix : str
        Continuation prefix (``"##"`` for WordPiece), or the empty string.
    """

    alphabet: tuple[str, ...]
    pairs: list[tuple[str, str]]
    counts: np.ndarray
    prefix: str = ""

    @property
    def tokens(self) -> list[str]:
        """The token each merge makes; all different."""
        cut = len(self.prefix)
        return [left + right[cut:] for left, right in self.pairs]

    def n_supported(self, min_count: int) -> int:
        """Number of merges whose token was seen at least `min_count` times when it was made."""
        return int(np.searchsorted(-self.counts, -min_count, side="right"))


def learn_merges(
    words: Mapping[str, int],
    alphabet: frozenset[str] | None = None,
    *,
    max_merges: int,
    min_count: int = 2,
    prefix: str = "",
    max_length: int = 0,
) -> Merges:
    """Learn byte-pair merges from counted words.

    The most frequent adjacent pair is joined again and again (Sennrich, Haddow, Birch 2016); of equally
    frequent pairs the one whose parts have the lower ids, that is, the older ones. A pair that would spell a
    token that exists already (``aa a`` after ``a aa``) is passed over.

    Parameters
    ----------
    words : mapping of str to int
        Words, as the pre-tokenizer spells them, with their counts. Merges never cross words.
    alphabet : frozenset of str, optional
        Characters to keep; a character outside is a boundary. All by default.
    max_merges : int
        Most merges to learn.
    min_count : int
        A pair seen less often is not joined.
    prefix : str
        Marks a token that does not begin its word; ``"##"`` for WordPiece.
    max_length : int
        Longest token in characters, 0 for no limit.

    Returns
    -------
    Merges

    Notes
    -----
    Time about O(n log n) and memory about 100 n bytes, with n the characters of all different words together.
    Only counts of pairs around a merge are touched, and new pairs always hold the new token, so each step
    sorts its new neighbours and no table of pairs is needed.
    """
    spelled = sorted(filter(None, words))
    if not spelled:
        return Merges((), [], np.empty(0, np.int64), prefix)
    codes = np.frombuffer("".join(spelled).encode("utf-32-le"), dtype=np.uint32).astype(np.int64)
    sizes = np.fromiter(map(len, spelled), np.int64, len(spelled))
    spelled_counts = np.fromiter((words[word] for word in spelled), np.int64, len(spelled))
    first = np.cumsum(sizes) - sizes
    if alphabet is not None:
        keep = np.array(sorted(map(ord, alphabet)), np.int64)
        codes[~np.isin(codes, keep)] = -1
    if prefix:
        inner = np.ones(len(codes), bool)
        inner[first] = False
        codes[inner & (codes >= 0)] += CONTINUES
    known = np.unique(codes[codes >= 0])
    symbols = np.where(codes >= 0, np.searchsorted(known, codes), -1).astype(np.int32)

    position = np.arange(len(codes), dtype=np.int32)
    after, before = position + np.int32(1), position - np.int32(1)
    after[first + sizes - 1] = -1
    before[first] = -1
    left, right, counts = merge_pairs(
        symbols,
        after,
        before,
        np.repeat(spelled_counts, sizes),
        mixed(known),
        np.full(len(known), HASH_BASE),
        np.ones(len(known), np.int64),
        np.empty(0, np.uint64),
        min(max_merges, len(codes)),
        max(min_count, 1),
        max_length or len(codes) + 1,
    )
    tokens = [chr(code) if code < CONTINUES else prefix + chr(code - CONTINUES) for code in known.tolist()]
    characters = tuple(tokens)
    pairs = []
    for a, b in zip(left.tolist(), right.tolist(), strict=True):
        pairs.append((tokens[a], tokens[b]))
        tokens.append(tokens[a] + tokens[b][len(prefix) :])
    return Merges(characters, pairs, counts, prefix)


def mixed(codes: np.ndarray) -> np.ndarray:
    """Splitmix64 of code points: the one-character values of the rolling hash of tokens."""
    x = codes.astype(np.uint64) + HASH_BASE
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@numba.njit(cache=True)
def merge_pairs(
    symbols: np.ndarray,
    after: np.ndarray,
    before: np.ndarray,
    weights: np.ndarray,
    hashes: np.ndarray,
    powers: np.ndarray,
    lengths: np.ndarray,
    taken: np.ndarray,
    max_merges: int,
    min_count: int,
    max_length: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Left ids, right ids and counts of the merges; the four arrays by position are used up.

    Of each symbol that is there from the start: the rolling hash of its spelling, the power of the hash's
    base that shifts by it, its length in characters; ``taken`` are hashes of spellings that nothing may have.
    Each position holds a symbol, linked to its neighbours in the word, and the number of the pair that it
    begins: -1 for none, -2 for one that the running merge has yet to number. Occurrences of a pair lie
    together, ascending; those that have gone stale are known by the position's other pair number.
    """
    n = len(symbols)
    n_symbols = len(hashes)
    capacity = n_symbols + max_merges
    token_hash = np.empty(capacity, np.uint64)
    token_power = np.empty(capacity, np.uint64)
    token_length = np.empty(capacity, np.int64)
    # open addressing, 0 is free
    spelled = np.zeros(4 * (1 << int(np.log2(capacity + len(taken) + 1))), np.uint64)
    for s in range(n_symbols):
        token_hash[s], token_power[s], token_length[s] = hashes[s], powers[s], lengths[s]
        _add(spelled, hashes[s])
    for s in range(len(taken)):
        _add(spelled, taken[s])
    out_left = np.empty(max_merges, np.int32)
    out_right = np.empty(max_merges, np.int32)
    out_count = np.empty(max_merges, np.int64)

    # a merge touches two neighbours and removes one position, so 3 n bounds them all; pages that are never
    # written cost no memory
    pair_of = np.full(n, -1, np.int32)
    occurrences = np.empty(3 * n, np.int32)
    pair_left = np.empty(3 * n, np.int32)
    pair_right = np.empty(3 * n, np.int32)
    pair_count = np.empty(3 * n, np.int64)
    pair_begin = np.empty(3 * n + 1, np.int64)
    pair_begin[0] = 0
    heap_count = np.empty(3 * n, np.int64)
    heap_pair = np.empty(3 * n, np.int32)
    n_heap = n_pairs = n_occurrences = n_merges = n_touched = 0

    touched = np.empty(n, np.int32)
    for i in range(n):
        if symbols[i] >= 0 and after[i] >= 0 and symbols[after[i]] >= 0:
            touched[n_touched] = i
            n_touched += 1
    while True:
        # number the pairs that begin at the touched positions
        keys = np.empty(n_touched, np.int64)
        for k in range(n_touched):
            keys[k] = (np.int64(symbols[touched[k]]) << 32) | np.int64(symbols[after[touched[k]]])
        order = np.argsort(keys, kind="mergesort")
        k = 0
        while k < n_touched:
            key = keys[order[k]]
            total = np.int64(0)
            while k < n_touched and keys[order[k]] == key:
                i = touched[order[k]]
                pair_of[i] = n_pairs
                total += weights[i]
                occurrences[n_occurrences] = i
                n_occurrences += 1
                k += 1
            pair_left[n_pairs] = key >> 32
            pair_right[n_pairs] = key & 0xFFFFFFFF
            pair_count[n_pairs] = total
            pair_begin[n_pairs + 1] = n_occurrences
            if total >= min_count:
                _push(heap_count, heap_pair, n_heap, total, n_pairs, pair_left, pair_right)
                n_heap += 1
            n_pairs += 1

        # the most frequent pair that is still worth joining; counts in the heap may be too high
        chosen = -1
        new_hash = np.uint64(0)
        while n_merges < max_merges and n_heap > 0:
            count, pair = heap_count[0], heap_pair[0]
            n_heap -= 1
            _pop(heap_count, heap_pair, n_heap, pair_left, pair_right)
            if pair_count[pair] < min_count:
                continue
            if pair_count[pair] != count:
                _push(heap_count, heap_pair, n_heap, pair_count[pair], pair, pair_left, pair_right)
                n_heap += 1
                continue
            a, b = pair_left[pair], pair_right[pair]
            new_hash = token_hash[a] * token_power[b] + token_hash[b]
            if token_length[a] + token_length[b] <= max_length and _add(spelled, new_hash):
                chosen = pair
                break
        if chosen < 0:
            break
        a, b = pair_left[chosen], pair_right[chosen]
        new = n_symbols + n_merges
        token_hash[new] = new_hash
        token_power[new] = token_power[a] * token_power[b]
        token_length[new] = token_length[a] + token_length[b]
        out_left[n_merges] = a
        out_right[n_merges] = b
        out_count[n_merges] = pair_count[chosen]
        n_merges += 1

        n_touched = 0
        for k in range(pair_begin[chosen], pair_begin[chosen + 1]):
            i = occurrences[k]
            if pair_of[i] != chosen:
                continue
            weight = weights[i]
            j, previous = after[i], before[i]
            following = after[j]
            if pair_of[j] >= 0:
                pair_count[pair_of[j]] -= weight
            pair_of[j] = -1
            symbols[i] = new
            symbols[j] = -1
            after[i] = following
            pair_of[i] = -1
            if previous >= 0 and symbols[previous] >= 0 and pair_of[previous] != -2:
                pair_count[pair_of[previous]] -= weight
                pair_of[previous] = -2
                touched[n_touched] = previous
                n_touched += 1
            if following >= 0:
                before[following] = i
                if symbols[following] >= 0:
                    pair_of[i] = -2
                    touched[n_touched] = i
                    n_touched += 1
    return out_left[:n_merges], out_right[:n_merges], out_count[:n_merges]


@numba.njit(cache=True)
def _add(table: np.ndarray, key: np.uint64) -> bool:
    """Put a hash into the table; False if it was there."""
    slot = key & np.uint64(len(table) - 1)
    while table[slot] != 0:
        if table[slot] == key:
            return False
        slot = (slot + np.uint64(1)) & np.uint64(len(table) - 1)
    table[slot] = key
    return True


@numba.njit(cache=True)
def _comes_first(
    count: Scalar, pair: Scalar, other_count: Scalar, other: Scalar, left: np.ndarray, right: np.ndarray
) -> bool | np.bool_:
    if count != other_count:
        return count > other_count
    if left[pair] != left[other]:
        return left[pair] < left[other]
    return right[pair] < right[other]


@numba.njit(cache=True)
def _push(
    counts: np.ndarray,
    pairs: np.ndarray,
    size: int,
    count: Scalar,
    pair: Scalar,
    left: np.ndarray,
    right: np.ndarray,
) -> None:
    """Add to a binary heap of `size` entries."""
    i = size
    while i > 0:
        parent = (i - 1) >> 1
        if not _comes_first(count, pair, counts[parent], pairs[parent], left, right):
            break
        counts[i], pairs[i] = counts[parent], pairs[parent]
        i = parent
    counts[i], pairs[i] = count, pair


@numba.njit(cache=True)
def _pop(counts: np.ndarray, pairs: np.ndarray, size: int, left: np.ndarray, right: np.ndarray) -> None:
    """Take the top off a binary heap, after which it has `size` entries."""
    count, pair = counts[size], pairs[size]
    i = 0
    while True:
        child = 2 * i + 1
        if child >= size:
            break
        if child + 1 < size and _comes_first(
            counts[child + 1], pairs[child + 1], counts[child], pairs[child], left, right
        ):
            child += 1
        if not _comes_first(counts[child], pairs[child], count, pair, left, right):
            break
        counts[i], pairs[i] = counts[child], pairs[child]
        i = child
    counts[i], pairs[i] = count, pair
