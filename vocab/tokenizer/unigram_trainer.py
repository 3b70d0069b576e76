"""Learning of a unigram language model over word pieces, with one answer for one text.

Kudo (2018): begin with every frequent substring, fit piece probabilities by expectation maximisation over all
segmentations, and drop the pieces whose loss the text feels least, until the wanted number is left. The sums
run over fixed blocks of words in fixed order, so the result does not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import digamma

from vocab.tokenizer.bpe_trainer import HASH_BASE, mixed
from vocab.tokenizer.unigram_kernels import best_counts, forward_backward, replacement_loss

_MAX_LENGTH = 16  # characters of a piece
_MAX_SEEDS = 1_000_000
_MAX_CHARACTERS = 4_000_000  # of all different words together; rarer words are left out
_SHRINK = 0.75
_N_BLOCKS = 16


@dataclass(frozen=True, eq=False)
class Pieces:
    """A unigram model.

    Attributes
    ----------
    pieces : list of str
        By falling probability, equal ones by spelling.
    scores : (n,) float64
        Natural logarithm of each probability.
    history : tuple of int
        Number of pieces after each round of pruning.
    """

    pieces: list[str]
    scores: np.ndarray
    history: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class _Lattice:
    """All segmentations of all words.

    ``begin[i] .. begin[i + 1]`` are the edges that leave character `i`, each with its length and piece;
    ``starts``/``ends``/``weights`` are the runs of known characters. Piece `p` first occurs at
    ``where[p]`` and has ``length[p]`` characters; the first `n_required` pieces are the single characters.
    """

    begin: np.ndarray
    edge_length: np.ndarray
    edge_piece: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    weights: np.ndarray
    where: np.ndarray
    length: np.ndarray
    n_required: int

    @property
    def n_pieces(self) -> int:
        return len(self.length)

    def keep(self, kept: np.ndarray) -> _Lattice:
        """The lattice without the pieces that the boolean mask `kept` leaves out."""
        renumbered = np.cumsum(kept, dtype=np.int32) - np.int32(1)
        stays = kept[self.edge_piece]
        before = np.concatenate([[0], np.cumsum(stays)])
        return _Lattice(
            before[self.begin],
            self.edge_length[stays],
            renumbered[self.edge_piece[stays]],
            self.starts,
            self.ends,
            self.weights,
            self.where[kept],
            self.length[kept],
            self.n_required,
        )


def learn_pieces(words: Mapping[str, int], alphabet: frozenset[str], *, n_pieces: int) -> Pieces:
    """Learn a unigram model from counted words.

    Parameters
    ----------
    words : mapping of str to int
        Words, as the pre-tokenizer spells them, with their counts. Pieces never cross words.
    alphabet : frozenset of str
        Characters to cover; each that occurs becomes a piece. One outside is a boundary.
    n_pieces : int
        Wanted number of pieces, the characters included. Fewer come back where the text has fewer substrings
        of any use.

    Returns
    -------
    Pieces

    Notes
    -----
    The steps are those of SentencePiece (Kudo and Richardson 2018): seeds are substrings of at most 16
    characters that occur twice and branch to the right; two EM steps a round with the digamma (variational)
    M-step; pieces ranked by the loss of likelihood when each is replaced by its next best segmentation; a
    quarter dropped in each round. Time about 10 s a million characters of different words, memory about
    250 bytes for each of these characters, of which the most frequent words give at most four million.
    """
    codes, lattice = _seed(words, alphabet)
    scores = np.log(_seed_probabilities(lattice))
    enough = max(int(1.1 * n_pieces), lattice.n_required)
    history = [lattice.n_pieces]
    while True:
        for _ in range(2):
            expected = _expected_counts(lattice, scores)
            kept = expected >= 0.5
            kept[: lattice.n_required] = True
            lattice = lattice.keep(kept)
            expected = np.maximum(expected[kept], 0.5)
            scores = digamma(expected) - digamma(expected.sum())
        if lattice.n_pieces <= enough:
            break
        kept = _most_needed(lattice, scores, max(enough, int(_SHRINK * lattice.n_pieces)))
        lattice, scores = lattice.keep(kept), scores[kept]
        history.append(lattice.n_pieces)
    spelled = [
        "".join(map(chr, codes[begin : begin + size].tolist()))
        for begin, size in zip(lattice.where.tolist(), lattice.length.tolist(), strict=True)
    ]
    # rounded, so that the last bit of a sum never shows in a file
    scores = np.round(scores, 9)
    required = sorted(range(lattice.n_required), key=lambda p: (-scores[p], spelled[p]))
    others = sorted(range(lattice.n_required, lattice.n_pieces), key=lambda p: (-scores[p], spelled[p]))
    chosen = required + others[: max(0, n_pieces - len(required))]
    chosen.sort(key=lambda p: (-scores[p], spelled[p]))
    return Pieces([spelled[p] for p in chosen], scores[chosen], tuple(history))


def _seed(words: Mapping[str, int], alphabet: frozenset[str]) -> tuple[np.ndarray, _Lattice]:
    """Code points of all words, and the lattice of all seed pieces."""
    spelled = sorted(words, key=lambda word: (-words[word], word))
    sizes = np.fromiter(map(len, spelled), np.int64, len(spelled))
    n_used = max(1, int(np.searchsorted(np.cumsum(sizes), _MAX_CHARACTERS, side="right")))
    spelled, sizes = spelled[:n_used], sizes[:n_used]
    counts = np.fromiter((words[word] for word in spelled), np.int64, n_used)
    codes = np.frombuffer("".join(spelled).encode("utf-32-le"), dtype=np.uint32).astype(np.int64)
    known = np.isin(codes, np.array(sorted(map(ord, alphabet)), np.int64))

    # runs of known characters within a word; `run_end[i]` is where the run that holds i ends
    word_of = np.repeat(np.arange(n_used), sizes)
    opens = known & np.concatenate([[True], ~known[:-1] | (word_of[1:] != word_of[:-1])])
    closes = known & np.concatenate([~known[1:] | (word_of[1:] != word_of[:-1]), [True]])
    starts, ends = np.flatnonzero(opens), np.flatnonzero(closes) + 1
    run_end = np.zeros(len(codes), np.int64)
    run_end[known] = np.repeat(ends, ends - starts)
    weight = counts[word_of]

    positions, lengths, numbers, where, length, frequency = [], [], [], [], [], []
    window = np.zeros(len(codes), np.uint64)
    hashes = mixed(codes)
    n_pieces = n_required = 0
    at = np.flatnonzero(known)
    group, first_at, total = _groups(hashes[at], weight[at])
    window[at] = hashes[at]
    for size in range(1, _MAX_LENGTH + 1):
        # the next longer windows say which of these substrings always go on in the same way
        longer = at[run_end[at] > at + size]
        window[longer] = window[longer] * HASH_BASE + hashes[longer + size]
        next_group, next_first, next_total = _groups(window[longer], weight[longer])
        useful = total >= 2
        if size == 1:
            useful[:] = True
        elif size < _MAX_LENGTH:
            in_longer = np.flatnonzero(run_end[at] > at + size)
            fixed = next_total[next_group] == total[group[in_longer]]
            useful[group[in_longer[fixed]]] = False
        number = np.where(useful, np.cumsum(useful) - 1 + n_pieces, -1)
        stays = useful[group]
        positions.append(at[stays])
        lengths.append(np.full(int(stays.sum()), size, np.int8))
        numbers.append(number[group[stays]].astype(np.int32))
        where.append(at[first_at[useful]])
        length.append(np.full(int(useful.sum()), size, np.int64))
        frequency.append(total[useful])
        n_pieces += int(useful.sum())
        if size == 1:
            n_required = n_pieces
        at, group, first_at, total = longer, next_group, next_first, next_total
        if not len(at):
            break
    all_positions = np.concatenate(positions)
    order = np.argsort(all_positions, kind="stable")
    lattice = _Lattice(
        np.searchsorted(all_positions[order], np.arange(len(codes) + 1)),
        np.concatenate(lengths)[order],
        np.concatenate(numbers)[order],
        starts,
        ends,
        weight[starts],
        np.concatenate(where),
        np.concatenate(length),
        n_required,
    )
    if n_pieces > _MAX_SEEDS:
        value = np.concatenate(frequency) * lattice.length
        value[:n_required] = np.iinfo(np.int64).max
        kept = np.zeros(n_pieces, bool)
        kept[np.argsort(-value, kind="stable")[:_MAX_SEEDS]] = True
        lattice = lattice.keep(kept)
    return codes, lattice


def _groups(keys: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number of each key's group, in order of first occurrence, each group's first index and its weight."""
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    group = rank[inverse]
    total = np.zeros(len(order), np.int64)
    np.add.at(total, group, weights)
    return group, first[order], total


def _seed_probabilities(lattice: _Lattice) -> np.ndarray:
    """Frequency times length of each seed, normalised: where the fit begins."""
    per_run = np.repeat(lattice.weights, lattice.ends - lattice.starts)
    weight = np.zeros(len(lattice.begin) - 1, np.int64)
    inside = np.zeros(len(weight) + 1, np.int64)
    np.add.at(inside, lattice.starts, 1)
    np.add.at(inside, lattice.ends, -1)
    weight[np.cumsum(inside[:-1]) > 0] = per_run
    edge_weight = np.repeat(weight, np.diff(lattice.begin))
    value = np.bincount(lattice.edge_piece, edge_weight, lattice.n_pieces) * lattice.length
    return value / value.sum()


def _expected_counts(lattice: _Lattice, scores: np.ndarray) -> np.ndarray:
    counts = forward_backward(
        lattice.begin,
        lattice.edge_length,
        lattice.edge_piece,
        lattice.starts,
        lattice.ends,
        lattice.weights,
        scores,
        _block_bounds(lattice),
    )
    return counts.sum(axis=0)


def _most_needed(lattice: _Lattice, scores: np.ndarray, n_kept: int) -> np.ndarray:
    """Mask of the `n_kept` pieces whose absence would cost the likelihood most, and all characters."""
    parts = (lattice.begin, lattice.edge_length, lattice.edge_piece)
    runs = (lattice.starts, lattice.ends, lattice.weights)
    used = best_counts(*parts, *runs, scores, _block_bounds(lattice)).sum(axis=0)
    loss = replacement_loss(*parts, lattice.where, lattice.length, scores, used)
    loss[: lattice.n_required] = np.inf
    kept = np.zeros(lattice.n_pieces, bool)
    kept[np.argsort(-loss, kind="stable")[: max(n_kept, lattice.n_required)]] = True
    return kept


def _block_bounds(lattice: _Lattice) -> np.ndarray:
    """Bounds of blocks of runs with about equally many edges; the same on every machine."""
    done = lattice.begin[lattice.ends]
    goals = np.linspace(0, done[-1], _N_BLOCKS + 1)
    bounds = np.searchsorted(done, goals)
    bounds[-1] = len(done)
    return bounds
