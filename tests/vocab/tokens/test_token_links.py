"""Links of words become counts over tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from align.errors import InputError, UsageError
from align.wordalign import Links
from align.wordalign.reading import splitter
from vocab.tokens import Vocabulary
from vocab.tokens.links import SPREADS, divided_like, token_counts
from vocab.tokens.spans import token_spans, word_spans

LINES = ["the old man's naïve dog_2 walked, slowly!", "habari  za asubuhi — mpira 12", "x", "€uro 日本 ok"]


def pieces(*words: str) -> Vocabulary:
    """A WordPiece vocabulary of exactly these pieces."""
    tokens = ["[UNK]", *words]
    tokenizer = Tokenizer(models.WordPiece({token: i for i, token in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["[UNK]"])
    return Vocabulary.of(tokenizer)


SRC = pieces("aa", "##b", "c", "##ddd", "e")
TGT = pieces("v", "##w", "##xx", "y")


def one_link(src: str, tgt: str, weight: float = 1.0, **options: Any) -> np.ndarray:
    where = np.zeros(1, dtype=int)
    links = Links.from_pairs(where, where, where, np.array([weight]), n_pairs=1)
    return token_counts(links, [src], [tgt], SRC, TGT, **options).toarray()[1:, 1:]


@pytest.mark.parametrize("tokenize", ["words", "whitespace"])
def test_words_stand_where_they_are_found(tokenize: str) -> None:
    spans, text = word_spans(LINES, tokenize=tokenize), "\n".join(LINES)
    for n, line in enumerate(LINES):
        rows = range(spans.offsets[n], spans.offsets[n + 1])
        assert [text[spans.starts[k] : spans.stops[k]] for k in rows] == splitter(tokenize)(line)


def test_tokens_of_every_family_belong_to_their_words(tokenizers: Mapping[str, Any]) -> None:
    words = word_spans(LINES, tokenize="whitespace")
    for tokenizer in tokenizers.values():
        vocabulary = Vocabulary.of(tokenizer)
        tokens, ids = token_spans(vocabulary, LINES)
        stripped = vocabulary.kind == "wordpiece"  # of accents, by BERT's normaliser
        first, stop = words.within(tokens)
        assert (stop > first).all()
        for n, line in enumerate(LINES):
            for k, word in zip(range(words.offsets[n], words.offsets[n + 1]), line.split(), strict=True):
                surface = b"".join(vocabulary.surfaces[i] for i in ids[first[k] : stop[k]])
                unknown = any(vocabulary.special[i] for i in ids[first[k] : stop[k]])
                assert unknown or surface.decode().strip() == word.replace("ï", "i" if stripped else "ï")


def test_a_link_spread_by_hand() -> None:
    # aa|b beside v|w|xx: v takes 0 to 1/4, w 1/4 to 1/2, xx 1/2 to 1; aa ends at 2/3
    wanted = np.zeros((5, 4))
    wanted[0, :3], wanted[1, 2] = [1, 1, 1 / 3], 2 / 3
    np.testing.assert_allclose(one_link("aab", "vwxx"), wanted, atol=1e-6)
    wanted[:2, :3] = 1 / 2
    np.testing.assert_allclose(one_link("aab", "vwxx", spread="all"), wanted, atol=1e-6)
    wanted[:] = 0
    wanted[0, 0] = 1
    np.testing.assert_allclose(one_link("aab", "vwxx", spread="head"), wanted, atol=1e-6)
    np.testing.assert_allclose(one_link("aab", "vwxx", 0.25, spread="head"), 0.25 * wanted, atol=1e-6)


def naive(links: Links, src_lines: list[str], tgt_lines: list[str], spread: str) -> np.ndarray:
    """One link and one pair of tokens after another; lengths of the pieces are what they take up."""
    counts = np.zeros((len(SRC), len(TGT)))
    at = 0
    for n in range(links.n_pairs):
        for i, j in links.pair(n):
            weight, at = float(links.weights[at]), at + 1
            sides = []
            for side, word in ((SRC, src_lines[n].split()[i]), (TGT, tgt_lines[n].split()[j])):
                ids = side.encode([word])[0]
                edges = np.cumsum([0, *(len(side.tokens[k].removeprefix("##")) for k in ids)]) / len(word)
                sides.append((ids, edges))
            (src, src_edges), (tgt, tgt_edges) = sides
            if spread == "head":
                counts[src[0], tgt[0]] += weight
                continue
            for b, t in enumerate(tgt):
                share = np.full(len(src), 1 / len(src))
                if spread == "position":
                    low = np.maximum(src_edges[:-1], tgt_edges[b])
                    share = np.maximum(np.minimum(src_edges[1:], tgt_edges[b + 1]) - low, 0)
                    share /= tgt_edges[b + 1] - tgt_edges[b]
                for a, s in enumerate(src):
                    counts[s, t] += weight * share[a]
    return counts


SRC_WORD = st.sampled_from(["aa", "aab", "aabddd", "c", "cb", "cdddbddd", "e"])
TGT_WORD = st.sampled_from(["v", "vw", "vwxx", "vxxxxw", "y", "yw"])


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(SPREADS))
def test_counts_are_those_of_a_loop(data: st.DataObject, spread: str) -> None:
    lines = [
        [data.draw(st.lists(words, min_size=1, max_size=4)) for _ in range(3)]
        for words in (SRC_WORD, TGT_WORD)
    ]
    cells = [(n, i, j) for n in range(3) for i in range(len(lines[0][n])) for j in range(len(lines[1][n]))]
    chosen = np.array(sorted(data.draw(st.sets(st.sampled_from(cells)))), dtype=int).reshape(-1, 3)
    weights = np.array(data.draw(st.lists(st.floats(0.01, 1), min_size=len(chosen), max_size=len(chosen))))
    links = Links.from_pairs(chosen[:, 0], chosen[:, 1], chosen[:, 2], weights, n_pairs=3)
    src, tgt = ([" ".join(line) for line in side] for side in lines)
    counts = token_counts(links, src, tgt, SRC, TGT, spread=spread)
    assert counts.dtype == np.float32
    np.testing.assert_allclose(counts.toarray(), naive(links, src, tgt, spread), atol=1e-5)
    if spread != "head":  # each target token of a link gets what the link weighs
        n_tokens = [len(TGT.encode([lines[1][n][j]])[0]) for n, _, j in chosen]
        np.testing.assert_allclose(counts.sum(), (links.weights * n_tokens).sum(), rtol=1e-5)


def test_blocks_of_lines_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    src, tgt = ["aab e", "cddd", "e c"] * 5, ["vw y", "y", "vxx v"] * 5
    links = Links.from_pharaoh(["0-0:0.5 1-1", "0-0", "1-0 0-1:0.25"] * 5)
    whole = token_counts(links, src, tgt, SRC, TGT)
    monkeypatch.setattr("vocab.tokens.links._LINES", 4)
    np.testing.assert_allclose(token_counts(links, src, tgt, SRC, TGT).toarray(), whole.toarray(), rtol=1e-6)
    assert sp.issparse(whole)


def test_characters_that_no_token_keeps() -> None:
    from tokenizers import normalizers

    inner = Tokenizer.from_str(SRC.tokenizer.to_str())
    inner.normalizer = normalizers.Replace("q", "")
    dropping = Vocabulary.of(inner)
    links = Links.from_pharaoh(["0-0 1-1"])
    with pytest.warns(UserWarning, match="1 of 2 links are to words without tokens"):
        counts = token_counts(links, ["qq aaqqqq"], ["y vxx"], dropping, TGT).toarray()[1:, 1:]
    wanted = np.zeros((5, 4))
    wanted[0, [0, 2]] = 1  # nothing stands opposite to xx
    np.testing.assert_allclose(counts, wanted)


def test_how_the_text_of_links_was_divided() -> None:
    src, tgt = ["aab, c", "e (c)"], ["vw, y", "y v."]
    assert divided_like(Links.from_pharaoh(["1-1", "1-0"]), src, tgt, where="f") == "whitespace"
    assert divided_like(Links.from_pharaoh(["1-1 2-2", "1-0"]), src, tgt, where="f") == "words"
    with pytest.raises(InputError, match="f:2: a link to a word that is not there") as raised:
        divided_like(Links.from_pharaoh(["1-1", "4-0"]), src, tgt, where="f")
    assert "divided into words alike" in str(raised.value)


def test_what_is_refused() -> None:
    links = Links.from_pharaoh(["0-0"])
    with pytest.raises(UsageError, match="unknown way of spreading"):
        token_counts(links, ["aa"], ["v"], SRC, TGT, spread="tail")
    with pytest.raises(InputError, match="unequal length"):
        token_counts(links, ["aa"], ["v", "v"], SRC, TGT)
    with pytest.raises(InputError, match="links of another text"):
        token_counts(links, ["aa", "aa"], ["v", "v"], SRC, TGT)
    with pytest.raises(InputError, match="not there"):
        token_counts(links, ["aa"], [" "], SRC, TGT)
