from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from tests.vocab.real_tokenizers import vocabulary_of
from tests.vocab.tokenizer_families import FAMILIES, SENTENCES, WITH_BYTES, byte_level_of, family, joined
from vocab.tokens import BYTE_TO_CHAR, Vocabulary

FEW = settings(max_examples=60, deadline=None)
MARK = "▁".encode()
WORDS = sorted({word for sentence in SENTENCES for word in sentence.split()})


def spelled(vocabulary: Vocabulary, surface: bytes) -> list[str]:
    return [vocabulary.tokens[i] for i in vocabulary.pieces([surface])[0]]


@FEW
@given(
    surfaces=st.lists(
        st.one_of(st.binary(max_size=12), st.text(max_size=8).map(lambda text: text.encode())), max_size=4
    )
)
@pytest.mark.parametrize("name", WITH_BYTES)
def test_pieces_join_to_the_surface(name: str, surfaces: list[bytes]) -> None:
    # see test_tokens: the mark is a space, and text that spells a special token becomes that token
    surfaces = [surface.replace(MARK, b"").replace(b"<", b"") for surface in surfaces]
    vocabulary = family(name)
    assert [joined(vocabulary, ids) for ids in vocabulary.pieces(surfaces)] == surfaces


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("start", ["", " "])
def test_word_start_stays_and_none_is_added(name: str, start: str) -> None:
    vocabulary = family(name)
    # WordPiece knows a continuation only where it has seen it inside a word
    words = [word if start else word[1:] for word in WORDS if word.isalpha() and len(word) > 1]
    surfaces = [(start + word).encode() for word in words if word.isascii()]
    if name == "wordpiece, uncased":
        surfaces = [surface.lower() for surface in surfaces]
    pieces = vocabulary.pieces(surfaces)
    assert [joined(vocabulary, ids) for ids in pieces] == surfaces
    for ids in pieces:
        assert vocabulary.surfaces[ids[0]].startswith(b" ") == bool(start)


@pytest.mark.parametrize("name", FAMILIES)
def test_own_tokens_of_the_alphabet(name: str) -> None:
    """A single character is its own token, not what its spelling would be cut into."""
    vocabulary = family(name)
    for char in "aé":
        if name == "wordpiece, uncased" and char == "é":
            continue
        assert joined(vocabulary, vocabulary.pieces([char.encode()])[0]) == char.encode()


def test_merges_apply_to_fragments() -> None:
    tokens = [bytes([byte]) for byte in range(256)] + [b"\xe4\xbd", b"\x80\x81"]
    names = ["".join(BYTE_TO_CHAR[byte] for byte in token) for token in tokens]
    tokenizer = byte_level_of({name: i for i, name in enumerate(names)})
    tokenizer.model = models.BPE(
        {name: i for i, name in enumerate(names)}, [(names[0xE4], names[0xBD]), (names[0x80], names[0x81])]
    )
    vocabulary = Vocabulary.of(tokenizer)
    pieces = vocabulary.pieces([b"\xe4\xbd", b"\xbd", b"a\xe4\xbd\x80\x81", "佀".encode()])
    assert pieces == [[256], [0xBD], [0x61, 256, 257], [256, 0x80]]


def test_fragments_are_byte_tokens_or_nothing() -> None:
    assert spelled(family("llama"), b"\xe4\xbda\xff") == ["<0xE4>", "<0xBD>", "a", "<0xFF>"]
    for name in ("unigram", "wordpiece, cased"):
        assert family(name).pieces([b"\xe4\xbd", b"", b"\xff"]) == [[], [], []]


def test_unknown_characters_are_left_out() -> None:
    unigram = family("unigram")
    assert joined(unigram, unigram.pieces([" ☃habari☃".encode()])[0]).decode().replace(" ", "") == "habari"
    assert unigram.pieces(["☃".encode()]) == [[]]
    # WordPiece gives up on the whole word, as it does in text
    wordpiece = family("wordpiece, cased")
    assert wordpiece.pieces([" ☃".encode(), " habari\u20e0q".encode()]) == [[], []]
    assert unigram.roles["unk"] not in unigram.pieces(["☃a".encode()])[0]


def test_special_tokens_are_never_pieces() -> None:
    for name in FAMILIES:
        vocabulary = family(name)
        for surface in (b"<s>", b" </s>", b"[CLS]", b" [UNK]", b"<unk>habari"):
            assert not vocabulary.special[vocabulary.pieces([surface])[0]].any()
    assert joined(family("byte-level"), family("byte-level").pieces([b" <s>"])[0]) == b" <s>"


def test_ordinary_added_tokens_may_be_pieces() -> None:
    tokenizer = byte_level_of({name: i for i, name in enumerate(BYTE_TO_CHAR.values())})
    tokenizer.add_tokens(["ab"])  # in no merge: reachable in text only as an added token
    vocabulary = Vocabulary.of(tokenizer)
    assert joined(vocabulary, vocabulary.pieces([b"xab"])[0]) == b"xab"


def test_wordpiece_prefers_reachable_punctuation() -> None:
    names = ["[UNK]", "##.", ".", "com", "##com", "早", "##早", "##好", "好"]
    tokenizer = Tokenizer(models.WordPiece({name: i for i, name in enumerate(names)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    vocabulary = Vocabulary.of(tokenizer)
    assert spelled(vocabulary, b".com") == [".", "com"]
    assert spelled(vocabulary, b"com") == ["##com"]
    assert spelled(vocabulary, " 早好".encode()) == spelled(vocabulary, "早好".encode()) == ["早", "好"]


def test_normalisation_applies() -> None:
    assert spelled(family("wordpiece, uncased"), " CAFÉ".encode()) == spelled(
        family("wordpiece, uncased"), b" cafe"
    )


@pytest.mark.data
def test_xlmr_normaliser_keeps_the_word_start(shared_data: Path) -> None:
    """Its Precompiled step turns the mark U+2581 back into a space, which a later step may strip."""
    vocabulary = vocabulary_of("sw-unigram", shared_data)
    own = [surface for surface in vocabulary.surfaces[::20] if surface.strip().isalpha()]
    words = [b" habari", b" nyumbani", b"habari", "ﬁ".encode(), b"fi"]
    pieces = vocabulary.pieces([*words, *own])  # in one call: each reads the whole tokenizer again
    tokens = [[vocabulary.tokens[i] for i in ids] for ids in pieces]
    assert tokens[:2] == [["▁habari"], ["▁nyumbani"]]
    assert "".join(tokens[2]) == "habari"
    assert tokens[3] == tokens[4]
    # every ordinary token of plain letters is a single piece or re-spells itself, and starts as it started
    assert sum(len(ids) == 1 for ids in pieces[5:]) > 0.95 * len(own)
    assert [joined(vocabulary, ids) for ids in pieces[5:]] == own


@pytest.mark.data
def test_byte_level_pieces_of_a_real_vocabulary_join(shared_data: Path) -> None:
    """Every token of the German vocabulary, fragments included, is spelled out in full."""
    vocabulary, other = vocabulary_of("gpt2", shared_data), vocabulary_of("de", shared_data)
    sample = [surface for surface in other.surfaces[::7] if surface]
    assert [joined(vocabulary, ids) for ids in vocabulary.pieces(sample)] == sample
