from __future__ import annotations

import unicodedata
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from align.errors import InputError
from tests.vocab.tokenizer_families import (
    FAMILIES,
    LETTERS,
    SENTENCES,
    WITH_BYTES,
    byte_level_of,
    family,
    joined,
    listed,
)
from vocab.tokens import BYTE_TO_CHAR, CHAR_TO_BYTE, Vocabulary, backend, spelled_bytes

# U+2581 is SentencePiece's own mark for a space, so those tokenizers cannot tell the two apart
# text that spells a special token becomes that token, so no "<"
ANY = st.text(st.characters(codec="utf-8", exclude_characters="▁<"), min_size=1, max_size=25)
LETTERS_ONLY = st.text(LETTERS, min_size=1, max_size=25)
# WordPiece knows a letter after another only where it has seen it there
BEGINNINGS = sorted({word[:n] for s in SENTENCES for word in s.split() for n in range(1, len(word) + 1)})
WORDS = st.lists(st.sampled_from(BEGINNINGS), min_size=1).map(" ".join)
FEW = settings(max_examples=60, deadline=None)


def text_of(vocabulary: Vocabulary, text: str) -> bytes:
    return joined(vocabulary, vocabulary.encode([text])[0])


def test_byte_alphabet() -> None:
    """The alphabet is the tokenizers library's own, in the order of the bytes it spells."""
    assert set(CHAR_TO_BYTE) == set(pre_tokenizers.ByteLevel.alphabet())
    for byte in range(128):
        spelled = pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str(chr(byte))
        assert spelled == [(BYTE_TO_CHAR[byte], (0, 1))]
    for first in (0xC2, 0xC3):
        for second in range(0x80, 0xC0):
            text = bytes([first, second]).decode()
            spelled = pre_tokenizers.ByteLevel(add_prefix_space=False).pre_tokenize_str(text)
            assert spelled[0][0] == BYTE_TO_CHAR[first] + BYTE_TO_CHAR[second]


@FEW
@given(text=ANY)
def test_byte_level_surfaces_are_the_text(text: str) -> None:
    assert text_of(family("byte-level"), text) == text.encode()
    prefix = "" if text.startswith(" ") else " "
    assert text_of(family("byte-level, prefix space"), text) == (prefix + text).encode()


@FEW
@given(text=ANY)
def test_sentencepiece_surfaces_are_the_text_after_a_space(text: str) -> None:
    assert text_of(family("llama"), text) == b" " + text.encode()
    prefix = "" if text.startswith(" ") else " "
    assert text_of(family("unigram, byte fallback"), text) == (prefix + text).encode()


@FEW
@given(text=LETTERS_ONLY)
def test_unigram_surfaces_are_the_text_of_known_letters(text: str) -> None:
    assert text_of(family("unigram"), text) == (b"" if text.startswith(" ") else b" ") + text.encode()


@FEW
@given(text=WORDS)
def test_wordpiece_surfaces_are_the_text_but_for_spaces(text: str) -> None:
    assert "".join(text_of(family("wordpiece, cased"), text).decode().split()) == "".join(text.split())
    plain = unicodedata.normalize("NFD", text.lower())
    plain = "".join(char for char in plain if unicodedata.category(char) != "Mn" and char != " ")
    assert text_of(family("wordpiece, uncased"), text).decode().replace(" ", "") == plain


@pytest.mark.parametrize(("target", "source"), list(permutations(FAMILIES, 2)))
def test_a_match_is_equal_bytes_and_none_is_missed(target: str, source: str) -> None:
    tgt, src = family(target), family(source)
    same_bytes, same_role = tgt.match(src)
    known = set(src.surfaces) - {b""}
    for i, (surface, found) in enumerate(zip(tgt.surfaces, same_bytes.tolist(), strict=True)):
        if tgt.special[i]:
            assert found == -1
            assert same_role[i] == -1 or src.special[same_role[i]]
            continue
        assert same_role[i] == -1
        if surface in known:
            assert src.surfaces[found] == surface
        elif found >= 0:  # punctuation of WordPiece stands for itself with and without a space before it
            assert src.surfaces[found].strip() == surface.strip()
            assert src.isolated[found] or tgt.isolated[i]


@pytest.mark.parametrize("name", WITH_BYTES)
def test_every_byte(name: str) -> None:
    vocabulary = family(name)
    singles = {surface for surface in vocabulary.surfaces if len(surface) == 1}
    assert singles == {bytes([byte]) for byte in range(256)}
    for other in WITH_BYTES:
        assert {vocabulary.find(single) is not None for single in singles} == {True}
        matched, _ = vocabulary.match(family(other))
        for i in np.flatnonzero(vocabulary.byte_fallback):
            assert family(other).surfaces[matched[i]] == vocabulary.surfaces[i]


def test_byte_fallback_is_the_second_choice() -> None:
    """``a`` and ``<0x61>`` share their bytes: each matches its own kind where there is one."""
    llama = family("llama")
    letter, byte = llama.tokens.index("a"), llama.tokens.index("<0x61>")
    assert llama.surfaces[letter] == llama.surfaces[byte] == b"a"
    matched, _ = llama.match(family("unigram, byte fallback"))
    other = family("unigram, byte fallback").tokens
    assert (other[matched[letter]], other[matched[byte]]) == ("a", "<0x61>")
    rare = llama.tokens.index("<0x71>")  # no sentence has a q
    assert family("byte-level").tokens[llama.match(family("byte-level"))[0][rare]] == "q"


def test_fragments_and_white_space_stay_apart() -> None:
    tokens = [b"\xe4\xbd", b"\xbd\xa0", b"\xe4", b" \xe4", b" ", b"  ", b"   ", b"\n", b"\t", b"\n\n", b" \n"]
    vocabulary = listed(tokens)
    assert list(vocabulary.surfaces) == tokens
    matched, _ = vocabulary.match(listed(tokens[::-1]))
    np.testing.assert_array_equal(matched, np.arange(len(tokens))[::-1])
    # what decoding would have made of them
    assert len({vocabulary.tokenizer.decode([i]).strip() for i in range(len(tokens))}) == 3


def test_continuation_and_word_start_are_different_tokens() -> None:
    matched, _ = listed([b"na", b" na"]).match(listed([b" na"]))
    assert matched.tolist() == [-1, 0]


def wordpiece(tokens: list[str]) -> Vocabulary:
    tokenizer = Tokenizer(
        models.WordPiece({token: i for i, token in enumerate(["[UNK]", *tokens])}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return Vocabulary.of(tokenizer)


def test_one_form_for_all_spellings() -> None:
    surfaces = (b" habari", " café".encode(), "é".encode())
    unigram = Tokenizer(models.Unigram([("<unk>", 0.0), ("▁habari", -1.0), ("▁café", -1.0), ("é", -1.0)], 0))
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()
    vocabularies = [listed(list(surfaces)), Vocabulary.of(unigram), wordpiece(["habari", "café", "##é"])]
    assert [vocabulary.kind for vocabulary in vocabularies] == ["byte-level", "sentencepiece", "wordpiece"]
    for vocabulary in vocabularies:
        assert vocabulary.surfaces[-3:] == surfaces
    assert len({vocabulary.tokens[-2] for vocabulary in vocabularies}) == 3


def test_wordpiece_surfaces() -> None:
    vocabulary = wordpiece(["na", "##na", "##", ",", "##,", "早", "é", "7"])
    assert vocabulary.surfaces == (
        b"",
        b" na",
        b"na",
        b" ##",
        b",",
        b",",
        "早".encode(),
        " é".encode(),
        b" 7",
    )
    assert vocabulary.isolated.nonzero()[0].tolist() == [4, 6]
    matched, _ = listed([b",", b" ,", b"na", b" na", "早".encode()]).match(vocabulary)
    assert matched.tolist() == [4, 4, 2, 1, 6]
    matched, _ = vocabulary.match(listed([b" ,", b" na"]))
    assert matched.tolist() == [-1, 1, -1, -1, 0, -1, -1, -1, -1]


def test_unreachable_wordpiece_punctuation_is_not_what_is_copied() -> None:
    vocabulary = wordpiece(["##,", ","])
    assert vocabulary.tokens[vocabulary.find(b",")] == ","


def test_gaps_in_the_ids() -> None:
    vocabulary = Vocabulary.of(byte_level_of({"a": 0, "Ġb": 4}))
    assert vocabulary.tokens == ("a", "", "", "", "Ġb")
    assert vocabulary.surfaces == (b"a", b"", b"", b"", b" b")
    assert len(vocabulary) == 5
    matched, same_role = vocabulary.match(vocabulary)
    assert matched.tolist() == [0, -1, -1, -1, 4]
    assert same_role.tolist() == [-1] * 5


def test_added_tokens_are_text_unless_special() -> None:
    tokenizer = byte_level_of({"a": 0, "Ġ": 1})
    tokenizer.add_tokens(["habari yako", "Ġx", "é"])
    tokenizer.add_special_tokens([AddedToken("<x>")])
    vocabulary = Vocabulary.of(tokenizer)
    assert vocabulary.surfaces == (b"a", b" ", b"habari yako", "Ġx".encode(), "é".encode(), b"")
    assert vocabulary.specials == {"<x>": 5}
    assert text_of(vocabulary, "aĠxé") == "aĠxé".encode()


def test_spelled_bytes() -> None:
    assert spelled_bytes("ĠÃ¤") == " ä".encode()
    assert spelled_bytes("日") == "日".encode()


def test_unsupported_tokenizers() -> None:
    suffixed = Tokenizer(models.BPE({"a</w>": 0}, [], end_of_word_suffix="</w>"))
    with pytest.raises(InputError, match="end-of-word suffix"):
        Vocabulary.of(suffixed)

    class Slow:
        backend_tokenizer = None

    with pytest.raises(InputError, match=r"without a fast backend .got Slow"):
        backend(Slow())  # type: ignore[arg-type]


def test_transformers_objects_and_vocabularies_are_taken_as_well() -> None:
    from transformers import PreTrainedTokenizerFast

    vocabulary = family("byte-level")
    wrapped = PreTrainedTokenizerFast(tokenizer_object=vocabulary.tokenizer, bos_token="<s>")
    assert Vocabulary.of(wrapped).surfaces == vocabulary.surfaces
    assert Vocabulary.of(vocabulary) is vocabulary


def test_a_tokenizer_of_whole_words() -> None:
    tokenizer = Tokenizer(models.WordLevel({"habari": 0, "[UNK]": 1}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece()
    vocabulary = Vocabulary.of(tokenizer)
    assert (vocabulary.kind, vocabulary.surfaces) == ("words", (b"habari", b""))
