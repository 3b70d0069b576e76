"""New tokens for a tokenizer that stays."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from align.errors import InputError, OutputError, UsageError
from tests.vocab.conftest import train, wrap
from tests.vocab.tokenizer.test_bpe_trainer import naive_merges
from tests.vocab.tokenizer_families import FAMILIES, byte_level_of, family
from vocab.modes.continued_merges import continue_merges, spelling_hashes
from vocab.modes.extended_pieces import best_split
from vocab.modes.extending import check_reachable, extend_tokenizer
from vocab.tokenizer.bpe_trainer import learn_merges
from vocab.tokenizer.report import changed_share
from vocab.tokens import Vocabulary

PAIRS = Path(__file__).parents[3] / "data/lexicons/en-sw.sentences.tsv"
SINGLE_WORDS = tuple(name for name in FAMILIES if name != "llama")  # whose tokens hold one word each


def wrapped(name: str) -> Any:
    bert = name.startswith("wordpiece")
    roles = ("[UNK]", "[PAD]") if bert else ("<unk>", "<pad>")
    return wrap(family(name).tokenizer, dict(zip(("unk_token", "pad_token"), roles, strict=True)))


@pytest.fixture(scope="module")
def pairs() -> list[tuple[str, str]]:
    lines = PAIRS.read_text(encoding="utf-8").splitlines()[:200]
    return [(line.split("\t")[0], line.split("\t")[1]) for line in lines]


def produced(vocabulary: Vocabulary, token: str, words: list[str]) -> bool:
    """Whether the model makes the token of its own spelling, or a continuation inside one of the words."""
    model = vocabulary.tokenizer.model
    if vocabulary.kind == "wordpiece" and token.startswith("##"):
        return any(token == part.value for word in words for part in model.tokenize(word))
    return [part.value for part in model.tokenize(token)] == [token]


WORDS = st.lists(st.text("abciшй", min_size=1, max_size=8), min_size=4, max_size=12)


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=7, deadline=None)
@given(words=WORDS)
def test_every_new_token_is_produced_by_its_own_spelling(name: str, words: list[str]) -> None:
    source = wrapped(name)
    lines = [" ".join(words)] * 2 + words
    try:
        extended = extend_tokenizer(source, lines)
    except InputError:  # nothing to add: see test_what_cannot_be_extended
        return
    vocabulary = Vocabulary.of(extended.tokenizer)
    for token in extended.new_tokens:
        assert len(token.removeprefix("##")) == 1 or produced(vocabulary, token, words), token


@pytest.mark.parametrize("name", FAMILIES)
def test_old_ids_stay_and_new_ones_follow_all_added_tokens(name: str, pairs: list[tuple[str, str]]) -> None:
    source = wrapped(name)
    source = wrap(
        type(source.backend_tokenizer).from_str(source.backend_tokenizer.to_str()), source.special_tokens_map
    )
    source.add_tokens([f"<extra-{i}>" for i in range(300)], special_tokens=True)
    extended = extend_tokenizer(source, [target for _, target in pairs], n_new=50)
    before, after = source.get_vocab(), extended.tokenizer.get_vocab()
    assert {token: after[token] for token in before} == before
    assert extended.n_old == max(before.values()) + 1
    assert [after[token] for token in extended.new_tokens] == list(range(extended.n_old, extended.n_old + 50))
    text = "habari <extra-7> rafiki <extra-299>"
    assert set(source(text, add_special_tokens=False).input_ids) & {before["<extra-7>"]}
    ids = extended.tokenizer(text, add_special_tokens=False).input_ids
    assert {before["<extra-7>"], before["<extra-299>"]} <= set(ids)


@pytest.mark.parametrize("name", ["byte-level", "byte-level, prefix space", "llama"])
def test_merges_only_join_what_the_old_tokenizer_leaves_apart(
    name: str, pairs: list[tuple[str, str]]
) -> None:
    source = wrapped(name)
    extended = extend_tokenizer(source, [target for _, target in pairs]).tokenizer.backend_tokenizer
    old_ids = set(source.get_vocab().values())
    for text, _ in pairs[:100]:
        old, new = (
            side.encode(text, add_special_tokens=False) for side in (source.backend_tokenizer, extended)
        )
        kept = [(i, span) for i, span in zip(new.ids, new.offsets, strict=True) if i in old_ids]
        had = Counter(zip(old.ids, old.offsets, strict=True))
        assert not Counter(kept) - had  # an old token stands only where it stood
        assert {span[0] for span in new.offsets} <= {span[0] for span in old.offsets}


@pytest.mark.parametrize("name", SINGLE_WORDS)
def test_the_text_needs_fewer_tokens(name: str, pairs: list[tuple[str, str]]) -> None:
    source, texts = wrapped(name), [target for _, target in pairs]
    extended = extend_tokenizer(source, texts, src_texts=[english for english, _ in pairs])
    lengths = [
        sum(len(ids) for ids in side(texts, add_special_tokens=False).input_ids)
        for side in (source, extended.tokenizer)
    ]
    assert lengths[1] < 0.8 * lengths[0]  # a word of unknown characters was a single token
    assert extended.changed is not None
    assert 0.0 < extended.changed < 1.0
    assert (extended.n_old + len(extended.new_tokens)) % 64 == 0
    again = extend_tokenizer(source, texts).tokenizer.backend_tokenizer
    assert again.to_str() == extended.tokenizer.backend_tokenizer.to_str()


@pytest.mark.parametrize("name", ["wordpiece, cased", "unigram", "byte-level"])
@pytest.mark.parametrize("n_new", [1, 90])
def test_as_many_as_asked_for(name: str, n_new: int, pairs: list[tuple[str, str]]) -> None:
    extended = extend_tokenizer(wrapped(name), [target for _, target in pairs], n_new=n_new)
    assert len(extended.new_tokens) == n_new


def test_unigram_scores_of_the_source_stay(pairs: list[tuple[str, str]]) -> None:
    source = wrapped("unigram")
    extended = extend_tokenizer(source, [target for _, target in pairs], n_new=60).tokenizer
    old, new = (json.loads(side.backend_tokenizer.to_str())["model"]["vocab"] for side in (source, extended))
    assert new[: len(old)] == old
    # the lowest score sets the price of unknown characters
    assert min(score for _, score in new) == min(score for _, score in old)


def test_best_split_is_the_best_of_all_splits() -> None:
    scores = {"a": -1.0, "b": -2.0, "ab": -2.5, "ba": -1.5, "aba": 0.0}
    assert best_split("aba", scores, -20.0) == -2.5  # a + ba, not the whole
    assert best_split("abb", scores, -20.0) == -4.5  # ab + b
    assert best_split("ac", scores, -20.0) == -21.0


def test_source_text_changes_by_the_tokens_that_are_joined() -> None:
    first = Vocabulary.of(byte_level_of({"a": 0, "b": 1}))
    assert changed_share(first, first, ["ab"]) == 0.0
    tokenizer = extend_tokenizer(wrap(first.tokenizer, {}), ["ab", "ab"], n_new=1).tokenizer
    assert tokenizer.get_vocab() == {"a": 0, "b": 1, "ab": 2}
    assert changed_share(first, Vocabulary.of(tokenizer), ["aba"]) == pytest.approx(2 / 3)


def test_merges_continue_as_if_training_had_never_stopped() -> None:
    words = {"habari": 5, "habarini": 3, "nzuri": 4, "hababa": 2, "zuri": 9}
    whole = learn_merges(words, max_merges=100, min_count=1)
    for n_first in (0, 3, 6):
        tokens = [*whole.alphabet, *whole.tokens[:n_first]]
        segments = []
        for word in words:
            parts = list(word)
            for left, right in whole.pairs[:n_first]:
                i = 0
                while i + 1 < len(parts):
                    if parts[i : i + 2] == [left, right]:
                        parts[i : i + 2] = [left + right]
                    i += 1
            segments.append([tokens.index(part) for part in parts])
        more = continue_merges(
            segments,
            list(words.values()),
            tokens,
            boundary=np.zeros(len(tokens), bool),
            max_merges=100,
            min_count=1,
        )
        assert more.pairs == whole.pairs[n_first:]
        np.testing.assert_array_equal(more.counts, whole.counts[n_first:])
    assert naive_merges(words, 100, 1, "", 0)[0] == whole.pairs


@pytest.mark.parametrize("prefix", ["", "##"])
def test_hashes_tell_spellings_apart(prefix: str) -> None:
    tokens = ["a", "##a", "ab", "##ab", "ba", "", "a##", "aaaa", "aaa"]
    hashes, powers, lengths = spelling_hashes(tokens, prefix)
    assert len(set(hashes.tolist())) == len(tokens)
    cut = len(prefix)
    assert lengths.tolist() == [len(t) - cut * t.startswith(prefix or "\0") for t in tokens]
    # joining hashes as the trainer does gives the hash of the joined spelling
    right = tokens.index("##ab") if prefix else tokens.index("ab")
    joined, _, _ = spelling_hashes(["a" + "ab"], prefix)
    with np.errstate(over="ignore"):
        assert hashes[0] * powers[right] + hashes[right] == joined[0]


def test_a_token_without_a_merge_fails_the_run() -> None:
    bare_token = Vocabulary.of(byte_level_of({"a": 0, "b": 1, "ab": 2}))
    with pytest.raises(OutputError, match=r"1 new tokens can never be produced \(got 'ab'"):
        check_reachable(bare_token, [2], {"ab": 1})
    check_reachable(bare_token, [0, 1], {"ab": 1})


@pytest.mark.parametrize(
    ("texts", "n_new", "error", "said"),
    [
        ([], "auto", InputError, "is empty"),
        (["a", "b"], "auto", InputError, "no new tokens"),
        (["zuri zuri"], 500, InputError, "got 500, wanted at most"),
        (["zuri"], 0, UsageError, "number of new tokens"),
        ("zuri", "auto", UsageError, "one string"),
    ],
)
def test_what_cannot_be_extended(texts: Any, n_new: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        extend_tokenizer(wrapped("byte-level"), texts, n_new=n_new)


def test_roles_templates_and_settings_stay(pairs: list[tuple[str, str]]) -> None:
    source = train("bert")
    extended = extend_tokenizer(source, [target for _, target in pairs], n_new=20).tokenizer
    assert extended.special_tokens_map == source.special_tokens_map
    ids = extended("habari").input_ids
    assert (ids[0], ids[-1]) == (source.cls_token_id, source.sep_token_id)
