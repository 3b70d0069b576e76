from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from vocab.tokenizer.bpe_trainer import learn_merges

SENTENCES = Path(__file__).parents[3] / "data/lexicons/en-sw.sentences.tsv"


def naive_merges(words: dict[str, int], max_merges: int, min_count: int, prefix: str, max_length: int):
    """Recount every pair before every merge."""
    split = {word: [c if i == 0 else prefix + c for i, c in enumerate(word)] for word in words}

    def age(token: str) -> tuple[int, str]:
        return (0, token) if not (prefix and token.startswith(prefix)) else (1, token)

    ids = {t: i for i, t in enumerate(sorted({t for parts in split.values() for t in parts}, key=age))}
    pairs, counts = [], []
    while len(pairs) < max_merges:
        seen: Counter[tuple[str, str]] = Counter()
        for word, parts in split.items():
            for pair in pairwise(parts):
                seen[pair] += words[word]
        joined = {(a, b): a + b[len(prefix) :] for a, b in seen}
        fit = [
            (-count, ids[a], ids[b], a, b)
            for (a, b), count in seen.items()
            if count >= min_count
            and joined[a, b] not in ids
            and (
                not max_length or len(joined[a, b]) - len(prefix) * a.startswith(prefix or "\0") <= max_length
            )
        ]
        if not fit:
            break
        count, _, _, a, b = min(fit)
        ids[joined[a, b]] = len(ids)
        pairs.append((a, b))
        counts.append(-count)
        for word, parts in split.items():
            merged, i = [], 0
            while i < len(parts):
                if parts[i : i + 2] == [a, b]:
                    merged.append(joined[a, b])
                    i += 2
                else:
                    merged.append(parts[i])
                    i += 1
            split[word] = merged
    return pairs, counts


@settings(max_examples=150, deadline=None)
@given(
    words=st.dictionaries(st.text("abc", min_size=1, max_size=9), st.integers(1, 4), min_size=1, max_size=12),
    min_count=st.integers(1, 3),
    prefix=st.sampled_from(["", "##"]),
    max_length=st.sampled_from([0, 4]),
)
def test_same_merges_as_recounting_everything(words, min_count, prefix, max_length):
    merges = learn_merges(words, max_merges=30, min_count=min_count, prefix=prefix, max_length=max_length)
    pairs, counts = naive_merges(words, 30, min_count, prefix, max_length)
    assert merges.pairs == pairs
    np.testing.assert_array_equal(merges.counts, counts)


def test_same_merges_as_the_tokenizers_library_on_real_text():
    lines = SENTENCES.read_text("utf-8").splitlines()
    cut = pre_tokenizers.ByteLevel(add_prefix_space=False)
    words = Counter(word for line in lines for word, _ in cut.pre_tokenize_str(line))
    theirs = Tokenizer(models.BPE())
    theirs.pre_tokenizer = cut
    trainer = trainers.BpeTrainer(vocab_size=3000, show_progress=False)
    theirs.train_from_iterator(lines, trainer)
    vocab = theirs.get_vocab()
    ours = learn_merges(words, max_merges=3000 - len(learn_merges(words, max_merges=0).alphabet))
    assert len(vocab) == 3000
    assert set(vocab) == {*ours.alphabet, *ours.tokens}
    assert [token for token, _ in sorted(vocab.items(), key=lambda item: item[1])] == [
        *ours.alphabet,
        *ours.tokens,
    ]


def test_counts_never_rise_and_support_is_read_off_them():
    lines = SENTENCES.read_text("utf-8").splitlines()
    merges = learn_merges(Counter(" ".join(lines).split()), max_merges=10**6, min_count=1)
    assert (np.diff(merges.counts) <= 0).all()
    for least in (1, 2, 7):
        assert merges.n_supported(least) == (merges.counts >= least).sum()
        again = learn_merges(Counter(" ".join(lines).split()), max_merges=10**6, min_count=least)
        assert again.pairs == merges.pairs[: merges.n_supported(least)]


def test_a_character_outside_the_alphabet_is_a_boundary():
    merges = learn_merges({"abXab": 5, "aXb": 9}, frozenset("ab"), max_merges=10, min_count=1)
    assert merges.pairs == [("a", "b")]
    assert merges.counts.tolist() == [10]


@pytest.mark.parametrize("words", [{}, {"a": 3}, {"": 1}])
def test_nothing_to_merge(words):
    assert learn_merges(words, max_merges=5).pairs == []
