"""New tokens from the old pieces at their places in text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from align.errors import InputError
from tests.vocab.tokens.test_token_links import pieces
from vocab.methods.corpus_align import _cuts_at_words, corpus_align, place_counts
from vocab.plan import Origin
from vocab.tokens import BYTE_TO_CHAR, Vocabulary
from vocab.tokens.byte_spans import token_bytes

LINES = [
    "the old man's naïve dog_2 walked, slowly!",
    " habari  za asubuhi — mpira 12 ",
    "x",
    "",
    "€uro 日本 ok",
    "watoto\twanacheza 🙂 mpira",
]


def byte_bpe(*merges: str) -> Vocabulary:
    """A byte-level BPE vocabulary: all bytes, and these merges (two byte strings, a blank between)."""
    tokens = ["<unk>", *BYTE_TO_CHAR.values()]
    pairs = [
        tuple("".join(BYTE_TO_CHAR[b] for b in part.encode("latin-1")) for part in m.split("|"))
        for m in merges
    ]
    tokens += ["".join(pair) for pair in pairs]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, pairs, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens([AddedToken("<unk>")])
    return Vocabulary.of(tokenizer)


def test_every_family_covers_every_byte_once(tokenizers: Mapping[str, Any]) -> None:
    text = "\n".join(LINES).encode()
    solid = np.array([not bytes([b]).isspace() for b in text])
    for tokenizer in tokenizers.values():
        vocabulary = Vocabulary.of(tokenizer)
        found = token_bytes(vocabulary, LINES)
        covered = np.zeros(len(text), int)
        for token_id, start, stop in zip(found.ids, found.starts, found.stops, strict=True):
            covered[start:stop] += 1
            surface = vocabulary.surfaces[token_id].strip()
            if surface and vocabulary.kind == "byte-level":
                assert text[start:stop] == surface
        assert covered.max() == 1
        # what is missing is what the tokenizer does not know
        unknown = any(vocabulary.special[i] for ids in vocabulary.encode(LINES) for i in ids)
        assert unknown or covered[solid].all()


def test_fragments_of_a_character_meet_those_of_the_other_tokenizer() -> None:
    # the two bytes of ï, in one token with what stands before or after
    text = ["naïve"]
    before, after = byte_bpe("n|a", "na|\xc3"), byte_bpe("\xaf|v", "\xafv|e")
    counts = place_counts(before, after, text)
    cells = sp.coo_array(counts)
    name = {
        (before.tokens[s], after.tokens[t]): share
        for t, s, share in zip(cells.row, cells.col, cells.data, strict=True)
    }
    mark = BYTE_TO_CHAR[0xC3]
    inside = f"na{mark}"
    assert name == {
        (inside, "n"): 1,
        (inside, "a"): 1,
        (inside, mark): 1,
        (BYTE_TO_CHAR[0xAF], f"{BYTE_TO_CHAR[0xAF]}ve"): 1 / 3,
        ("v", f"{BYTE_TO_CHAR[0xAF]}ve"): 1 / 3,
        ("e", f"{BYTE_TO_CHAR[0xAF]}ve"): 1 / 3,
    }


OLD = pieces("ab", "##c", "e", "##f", "ef", "pq", "##rs")
NEW = pieces("abc", "ab", "e", "##f", "ef", "##e", "p", "##qr", "##s", "g")


def test_rows_are_means_over_the_places() -> None:
    # in pqrs, p and ##s lie within an old piece, and ##qr straddles the edge of two
    plan = corpus_align(OLD, NEW, texts=["abc abc pqrs", "ef g"])
    rows = {
        new: {OLD.tokens[i]: row[i] for i in np.flatnonzero(row)}
        for new, row in zip(NEW.tokens, plan.weights.toarray(), strict=True)
    }
    assert rows["abc"] == {"ab": 0.5, "##c": 0.5}
    assert rows["p"] == {"pq": 1}
    assert rows["##s"] == {"##rs": 1}
    origins = dict(zip(NEW.tokens, plan.origins.tolist(), strict=True))
    assert origins["abc"] == origins["p"] == origins["##s"] == Origin.COMPOSED
    assert origins["ab"] == origins["ef"] == Origin.COPIED
    assert origins["g"] == origins["##e"] == origins["##qr"] == Origin.EMPTY
    assert origins["[UNK]"] == Origin.SPECIAL


def naive_counts(src: Vocabulary, tgt: Vocabulary, lines: list[str]) -> np.ndarray:
    """The published loops over both tokenizers' offsets, on each line."""
    counts = np.zeros((len(tgt), len(src)))
    for line in lines:
        old, new = (v.tokenizer.encode(line, add_special_tokens=False) for v in (src, tgt))
        for t, (start, end) in zip(new.ids, new.offsets, strict=True):
            inside = [
                s
                for s, (low, high) in zip(old.ids, old.offsets, strict=True)
                if (start <= low and end >= high) or (low <= start and high >= end)
            ]
            for s in inside:
                if not src.special[s] and not tgt.special[t]:
                    counts[t, s] += 1 / sum(not src.special[i] for i in inside)
    return counts


def test_words_count_as_lines_do() -> None:
    rng = np.random.default_rng(0)
    words = ["abc", "ab", "ef", "eff", "pqrs", "pq", "g", "e"]
    lines = [" ".join(rng.choice(words, rng.integers(1, 9))) for _ in range(300)]
    assert _cuts_at_words(OLD, lines)
    np.testing.assert_allclose(
        place_counts(OLD, NEW, lines).toarray(), naive_counts(OLD, NEW, lines), atol=1e-9
    )


def test_tokens_of_two_words_are_counted_line_by_line() -> None:
    phrases = Tokenizer(models.BPE({"a": 0, " ": 1, "b": 2, "a ": 3, "a b": 4}, [("a", " "), ("a ", "b")]))
    tgt = Vocabulary.of(phrases)
    assert not _cuts_at_words(tgt, ["a b"])
    counts = place_counts(pieces("a", "b"), tgt, ["a b", "a b b"])
    np.testing.assert_array_equal(counts.toarray()[4], [0, 1, 1])


@pytest.mark.parametrize("texts", [[], [""], ["  ", "\t"]])
def test_no_text(texts: list[str]) -> None:
    with pytest.raises(InputError, match="no token in the text"):
        corpus_align(OLD, NEW, texts=texts)


def test_nothing_shared_and_nothing_spelled() -> None:
    plan = corpus_align(pieces("z"), NEW, texts=["abc ef"])
    assert set(plan.origins.tolist()) == {Origin.EMPTY, Origin.SPECIAL}
