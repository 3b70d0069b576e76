from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from vocab.tokenizer.unigram_kernels import best_path
from vocab.tokenizer.unigram_trainer import _expected_counts, _seed, learn_pieces

SENTENCES = Path(__file__).parents[3] / "data/lexicons/en-sw.sentences.tsv"


def swahili() -> list[str]:
    return [line.split("\t")[1] for line in SENTENCES.read_text("utf-8").splitlines()]


def segmentations(word: str, pieces: dict[str, int]) -> list[list[int]]:
    if not word:
        return [[]]
    return [
        [pieces[word[:n]], *rest]
        for n in range(1, len(word) + 1)
        if word[:n] in pieces
        for rest in segmentations(word[n:], pieces)
    ]


def test_expected_counts_and_best_paths_are_those_of_all_segmentations():
    words = {"banana": 3, "bandana": 2, "nab": 4, "aaaa": 1}
    codes, lattice = _seed(words, frozenset("band"))
    spelled = {
        "".join(map(chr, codes[at : at + n])): p
        for p, (at, n) in enumerate(zip(lattice.where, lattice.length, strict=True))
    }
    assert len(spelled) == lattice.n_pieces
    scores = np.log(np.random.default_rng(0).dirichlet(np.ones(lattice.n_pieces)))
    expected = np.zeros(lattice.n_pieces)
    at = 0
    for word in sorted(words, key=lambda word: (-words[word], word)):
        paths = segmentations(word, spelled)
        weights = np.exp([scores[path].sum() for path in paths])
        for path, weight in zip(paths, weights / weights.sum(), strict=True):
            np.add.at(expected, path, words[word] * weight)
        last = best_path(lattice.begin, lattice.edge_length, lattice.edge_piece, scores, at, len(word), -1)
        best, j = [], len(word)
        while j:
            best.append(int(lattice.edge_piece[last[j]]))
            j -= int(lattice.edge_length[last[j]])
        assert best[::-1] == paths[int(np.argmax(weights))]
        at += len(word)
    np.testing.assert_allclose(_expected_counts(lattice, scores), expected, rtol=1e-12)


def test_seeds_are_repeated_substrings_that_branch():
    _, lattice = _seed({"habari": 5, "habati": 1, "zuri": 1}, frozenset("habritzu"))
    # "hab" always goes on with "a", so it is no seed; "haba" branches; "zur" was seen once
    codes, _ = _seed({"habari": 5, "habati": 1, "zuri": 1}, frozenset("habritzu"))
    seeds = {
        "".join(map(chr, codes[at : at + n])) for at, n in zip(lattice.where, lattice.length, strict=True)
    }
    assert {"haba", "habari", "ari", "ri", *"habritzu"} <= seeds
    assert not {"hab", "zur", "habat", "habati"} & seeds


def test_finds_the_planted_pieces_of_a_made_up_language():
    rng = np.random.default_rng(1)
    planted = sorted({"".join(rng.choice(list("ptkbdgmnlsaieo"), rng.integers(3, 6))) for _ in range(60)})
    words: Counter[str] = Counter()
    for _ in range(4000):
        words["".join(rng.choice(planted, rng.integers(1, 5)))] += 1
    for _ in range(400):
        words["".join(rng.choice(list("ptkbdgmnlsaieo"), 6))] += 1
    pieces = learn_pieces(words, frozenset("".join(words)), n_pieces=len(planted) + 14)
    assert len(pieces.pieces) == len(planted) + 14
    assert len(set(planted) & set(pieces.pieces)) >= 0.9 * len(planted)


def test_pieces_are_ordered_complete_and_independent_of_the_order_of_words():
    words = Counter(f"▁{word}" for line in swahili() for word in line.split())
    alphabet = frozenset("".join(words))
    pieces = learn_pieces(words, alphabet, n_pieces=1500)
    assert len(pieces.pieces) == len(set(pieces.pieces)) == 1500
    assert alphabet <= set(pieces.pieces)
    keys = list(zip(-pieces.scores, pieces.pieces, strict=True))
    assert keys == sorted(keys)
    assert all(a >= b for a, b in pairwise(pieces.history))
    again = learn_pieces(dict(reversed(list(words.items()))), alphabet, n_pieces=1500)
    assert again.pieces == pieces.pieces
    np.testing.assert_array_equal(again.scores, pieces.scores)


def test_segments_held_out_text_into_no_more_tokens_than_the_tokenizers_library():
    lines = swahili()
    train, held_out = lines[:-200], lines[-200:]
    cut = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    words = Counter(word for line in train for word, _ in cut.pre_tokenize_str(line))
    pieces = learn_pieces(words, frozenset("".join(words)), n_pieces=1499)
    model = models.Unigram([("<unk>", 0.0), *zip(pieces.pieces, pieces.scores.tolist(), strict=True)], 0)
    ours, theirs = Tokenizer(model), Tokenizer(models.Unigram())
    ours.pre_tokenizer = theirs.pre_tokenizer = cut
    trainer = trainers.UnigramTrainer(
        vocab_size=1500, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False
    )
    theirs.train_from_iterator(train, trainer)
    n_ours, n_theirs = (sum(len(t.encode(line)) for line in held_out) for t in (ours, theirs))
    assert n_ours < n_theirs


@pytest.mark.parametrize("words", [{"a": 1}, {"xyz": 1}, {"??": 3, "a": 1}])
def test_little_text_gives_its_characters(words):
    pieces = learn_pieces(words, frozenset("axyz"), n_pieces=10)
    assert set(pieces.pieces) == set("".join(words)) - {"?"}
