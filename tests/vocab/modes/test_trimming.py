"""Fewer tokens, the same text."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from align.errors import InputError, UsageError
from tests.vocab.conftest import train, wrap
from tests.vocab.modes.test_extending import SINGLE_WORDS, wrapped
from tests.vocab.tokenizer_families import FAMILIES, SENTENCES
from vocab.modes.merge_parts import last_merge, merge_parts
from vocab.modes.script_tokens import script_names
from vocab.modes.trimming import trim_tokenizer
from vocab.tokens import Vocabulary


def ids_of(tokenizer: Any, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False).input_ids


@pytest.mark.parametrize("name", FAMILIES)
def test_the_text_is_cut_as_before(name: str) -> None:
    source, texts = wrapped(name), SENTENCES[:3]
    trimmed = trim_tokenizer(source, texts)
    assert len(trimmed.kept) < len(source)
    assert trimmed.tokenizer.get_vocab() == {
        source.convert_ids_to_tokens(int(old)): new for new, old in enumerate(trimmed.kept)
    }
    for text in texts:
        assert trimmed.kept[ids_of(trimmed.tokenizer, text)].tolist() == ids_of(source, text)
    assert trimmed.n_changed == 0
    if name in SINGLE_WORDS:
        assert trimmed.n_recut == 0


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=12, deadline=None)
@given(
    corpus=st.lists(st.text("abehir éш", min_size=1, max_size=12), min_size=1, max_size=4),
    probes=st.lists(st.text("abehir éш", min_size=1, max_size=12), min_size=1, max_size=6),
)
def test_text_of_kept_tokens_is_cut_as_before(name: str, corpus: list[str], probes: list[str]) -> None:
    source = wrapped(name)
    trimmed = trim_tokenizer(source, corpus)
    assert trimmed.n_changed == 0
    for text in [*probes, *corpus]:
        before = ids_of(source, text)
        if np.isin(before, trimmed.kept).all():
            assert trimmed.kept[ids_of(trimmed.tokenizer, text)].tolist() == before


@pytest.mark.parametrize("name", FAMILIES)
def test_nothing_is_left_out_where_everything_is_wanted(name: str) -> None:
    source = wrapped(name)
    kept = trim_tokenizer(source, scripts=["Latin", "Cyrl", "arabic", "Hans"])
    assert kept.tokenizer.get_vocab() == source.get_vocab()
    assert json.loads(kept.tokenizer.backend_tokenizer.to_str()) == json.loads(
        source.backend_tokenizer.to_str()
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_one_script(name: str) -> None:
    source = wrapped(name)
    trimmed = trim_tokenizer(source, scripts=["Latn"])
    surfaces = Vocabulary.of(trimmed.tokenizer).surfaces
    text = "".join(surface.decode(errors="ignore") for surface in surfaces)
    assert not set("Приветمرحبا早上") & set(text)
    assert (
        ids_of(source, "habari za jioni")
        == trimmed.kept[ids_of(trimmed.tokenizer, "habari za jioni")].tolist()
    )


def begun_characters() -> Any:
    """Byte-level BPE with tokens that end within characters: of Latin, of emoji, of Cyrillic, of Chinese."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocab = {char: i for i, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    # parts of ẳ, of 😀 after a space and without, of и after a space, of ии, of 你
    pairs = "á º|Ġ ð|Ġð Ł|ĠðŁ ĺ|ð Ł|Ġ á|Ġ Ð|Ð ¸|Ð¸ Ð|ä ½"
    merges = [(left, right) for left, right in (pair.split() for pair in pairs.split("|"))]
    for left, right in merges:
        vocab[left + right] = len(vocab)
    tokenizer = Tokenizer(models.BPE(vocab, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return wrap(tokenizer, {})


def test_characters_of_a_script_are_spelled_as_before() -> None:
    source = begun_characters()
    trimmed = trim_tokenizer(source, scripts=["Latin"])
    left_out = set(source.get_vocab()) - set(trimmed.tokenizer.get_vocab())
    assert left_out == {"ĠÐ", "Ð¸", "Ð¸Ð", "ä½"}
    for text in ("Tiếng Việt: ẳ ẵng", "naïve — “so” … 😀 👍 ✓", "ẳ😀"):
        ids = ids_of(trimmed.tokenizer, text)
        assert trimmed.kept[ids].tolist() == ids_of(source, text)
    for text in ("ẳ 😀", "Привет, мир и 你好", "مرحبا"):  # others too, by their bytes
        assert trimmed.tokenizer.decode(ids_of(trimmed.tokenizer, text)) == text
    assert len(ids_of(trimmed.tokenizer, " иП")) > len(ids_of(source, " иП"))
    assert "ĠÐ" in trim_tokenizer(source, scripts=["Cyrillic"]).tokenizer.get_vocab()


@pytest.mark.parametrize("name", ["byte-level", "unigram", "wordpiece, cased"])
def test_size_and_frequency(name: str) -> None:
    source, texts = wrapped(name), SENTENCES
    smallest = len(trim_tokenizer(source, texts, min_count=10**6).kept)
    whole = len(trim_tokenizer(source, texts).kept)
    assert smallest < whole
    size = (smallest + whole) // 2
    trimmed = trim_tokenizer(source, texts, vocab_size=size)
    assert size - 4 < len(trimmed.kept) <= size  # the last tokens come with their parts or not at all
    assert trimmed.n_recut > 0
    often = trim_tokenizer(source, texts, min_count=6)
    assert smallest < len(often.kept) < whole
    counts = np.bincount([i for text in texts for i in ids_of(source, text)], minlength=len(source))
    assert set(np.flatnonzero(counts >= 6)) <= set(often.kept.tolist())
    with pytest.raises(InputError, match="no room beside special tokens and alphabet"):
        trim_tokenizer(source, texts, vocab_size=smallest)


def test_special_tokens_template_and_roles_move_along() -> None:
    source = train("bert")
    # ids of special tokens at the end must move, and the template with them
    source.add_tokens(["<turn>", "<end>"], special_tokens=True)
    trimmed = trim_tokenizer(source, ["the old man"]).tokenizer
    assert trimmed.special_tokens_map == source.special_tokens_map
    ids = trimmed("the old man <end>").input_ids
    assert trimmed.convert_ids_to_tokens(ids) == ["[CLS]", "the", "old", "man", "<end>", "[SEP]"]
    assert trimmed.convert_tokens_to_ids("<end>") == len(trimmed) - 1 < len(source) - 1


def every_cut() -> dict[str, Any]:
    """A model as SentencePiece's are converted: every way to cut a token, by the rank of its parts."""
    tokens = ["h", "a", "b", "ha", "ba", "ab", "hab", "aba", "haba"]
    merges = [
        (left, right)
        for token in tokens
        for left, right in ((token[:i], token[i:]) for i in range(1, len(token)))
        if left in tokens and right in tokens
    ]
    return {"type": "BPE", "vocab": {t: i for i, t in enumerate(tokens)}, "merges": merges}


def test_parts_are_those_that_the_tokenizer_joins() -> None:
    from tokenizers import Tokenizer, models

    model = every_cut()
    tokenizer = Tokenizer(models.BPE(model["vocab"], model["merges"]))
    parts = merge_parts(model)
    # h a b a: `ha` first, then `ba`; the cuts h + aba and hab + a are never taken
    assert parts("haba") == ("ha", "ba")
    assert parts("h") == ()
    trimmed = trim_tokenizer(wrap(tokenizer, {}), ["haba"])
    assert set(trimmed.tokenizer.get_vocab()) == {"h", "a", "b", "ha", "ba", "haba"}
    assert trimmed.tokenizer.backend_tokenizer.encode("haba").tokens == ["haba"]


def test_merges_that_do_not_make_a_token() -> None:
    ranks = {("a", "b"): 0, ("ab", "b"): 1, ("b", "b"): 2, ("a", "bb"): 3}
    assert last_merge("abb", ranks) == ("ab", "b")
    assert last_merge("bba", ranks) is None
    model = {"merges": [["a", "b"], ["c", "c"], ["x", "cc"], ["xc", "c"]]}
    assert merge_parts(model)("xcc") == ("x", "cc")


@pytest.mark.parametrize(
    ("script", "names"),
    [
        ("Latn", ("LATIN",)),
        ("cyrillic", ("CYRILLIC",)),
        ("Beng", ("BENGALI",)),
        ("Jpan", ("CJK",)),
        ("Kore", ("HANGUL", "CJK")),
        ("Han", ("CJK",)),
        ("Sinh", ("SINHALA",)),
        ("Orya", ("ORIYA",)),
        ("Ethiopic", ("ETHIOPIC",)),
    ],
)
def test_names_of_scripts(script: str, names: tuple[str, ...]) -> None:
    assert script_names(script) == names


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "by text or by script"),
        ({"texts": ["a"], "scripts": ["Latin"]}, "by text or by script"),
        ({"scripts": ["Klingonese"]}, "unknown script .got Klingonese"),
        ({"scripts": ["Zzzz"]}, "unknown script"),
        ({"texts": ["a"], "min_count": 0}, "--min-count"),
    ],
)
def test_what_cannot_be_asked(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        trim_tokenizer(wrapped("byte-level"), **arguments)
