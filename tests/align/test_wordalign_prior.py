"""Priors of the word aligner: each kind moves links the right way."""

from __future__ import annotations

import gzip
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp

from align.errors import InputError, UsageError
from align.lexicon import Lexicon
from align.wordalign import Aligner, AlignOptions, Bitext, Links, Prior, align, train
from align.wordalign.options import MODELS
from align.wordalign.pairs import build_pairs

# a and b always stand together, so do x and y: which is which the text does not say
SRC = [["a", "b", "c"], ["b", "a", "d"], ["c", "d"], ["a", "b"], ["b", "a"]] * 6
TGT = [["x", "y", "z"], ["x", "y", "w"], ["z", "w"], ["y", "x"], ["y", "x"]] * 6
FLAT = AlignOptions(class_weight=0.0, form_weight=0.0, stem_weight=0.0)


def links_of(prior: Prior | Aligner | None, model: str = "hmm") -> dict[str, str]:
    bitext, src_words, tgt_words = Bitext.from_words(SRC, TGT)
    result = align(bitext, model=model, options=FLAT, prior=prior, src_words=src_words, tgt_words=tgt_words)
    best = result.counts.toarray().argmax(axis=1)
    return {word: tgt_words[best[k]] for k, word in enumerate(src_words)}


def prior_of(kind: str, tmp_path, pairs: list[tuple[str, str]]) -> Prior | Aligner:
    if kind == "lexicon":
        return Prior.of_lexicon(Lexicon((*pairs, ("unknown", "word"))), weight=3.0)
    if kind == "table":
        (tmp_path / "p.tsv").write_text("".join(f"{s}\t{t}\t0.9\n" for s, t in pairs))
        return Prior.of_table(tmp_path / "p.tsv", weight=3.0)
    if kind == "logarithms":
        with gzip.open(tmp_path / "log.tsv.gz", "wt") as file:
            file.write("<eps>\tx\t-9.5\n" + "".join(f"{t}\t{s}\t-0.1\n" for s, t in pairs))
        return Prior.of_table(tmp_path / "log.tsv.gz", weight=3.0, given="tgt")
    foreign, src_words, tgt_words = Bitext.from_words(
        [[s] for s, _ in pairs] * 9, [[t] for _, t in pairs] * 9
    )
    if kind == "links":
        links = Links.from_pharaoh(["0-0"] * foreign.n_pairs)
        return Prior.of_links(links, foreign, src_words, tgt_words)
    aligner = train(foreign, src_words=src_words, tgt_words=tgt_words)
    return Prior.of_aligner(aligner) if kind == "counts" else aligner


@pytest.mark.parametrize("kind", ["lexicon", "table", "logarithms", "links", "counts", "aligner"])
def test_priors_decide_what_the_text_leaves_open(kind, tmp_path):
    straight = prior_of(kind, tmp_path, [("a", "x"), ("b", "y")])
    crossed = prior_of(kind, tmp_path, [("a", "y"), ("b", "x")])
    assert links_of(straight) == {"a": "x", "b": "y", "c": "z", "d": "w"}
    assert links_of(crossed) == {"a": "y", "b": "x", "c": "z", "d": "w"}


@pytest.mark.parametrize("model", MODELS)
def test_priors_move_every_model(model):
    for pairs in ([("a", "x"), ("b", "y")], [("a", "y"), ("b", "x")]):
        prior = Prior.of_lexicon(Lexicon(tuple(pairs)), weight=5.0)
        assert links_of(prior, model).items() >= dict(pairs).items()


def test_equal_strings_attract_without_class_maps():
    src = [["p", "q"], ["q", "p"], ["p", "q"], ["q", "p"]] * 3
    tgt = [["q", "p"], ["q", "p"], ["p", "q"], ["p", "q"]] * 3
    bitext, src_words, tgt_words = Bitext.from_words(src, tgt)
    words = {"src_words": src_words, "tgt_words": tgt_words}
    result = align(bitext, options=replace(FLAT, form_weight=2.0), **words)
    for n in range(len(src)):
        assert result.links.pair(n) == sorted((i, tgt[n].index(word)) for i, word in enumerate(src[n]))
    same = align(
        bitext, options=FLAT, prior=Prior.of_equal_strings(src_words, tgt_words, weight=2.0), **words
    )
    assert same.counts.data.tobytes() == result.counts.data.tobytes()


def test_rows_are_those_of_the_pair_table():
    rng = np.random.default_rng(0)
    src = [[f"s{k}" for k in rng.integers(0, 30, 6)] for _ in range(20)]
    tgt = [[f"t{k}" for k in rng.integers(0, 30, 6)] for _ in range(20)]
    bitext, src_words, tgt_words = Bitext.from_words(src, tgt)
    pairs = build_pairs(bitext, max_len=99)
    dense = rng.random((40, 40)) * (rng.random((40, 40)) < 0.3)
    names = [tuple(f"{side}{k}" for k in range(40)) for side in "st"]
    prior = Prior(names[0], names[1], sp.csr_array(dense))
    rows, weights = prior.rows(pairs, src_words, tgt_words)
    row_src = np.repeat(np.arange(bitext.n_src_types), np.diff(pairs.indptr))
    expected = np.array(
        [dense[int(src_words[s][1:]), int(tgt_words[t][1:])] for s, t in zip(row_src, pairs.tgt, strict=True)]
    )
    np.testing.assert_array_equal(rows, np.flatnonzero(expected))
    np.testing.assert_allclose(weights[:, 0], expected[rows], rtol=1e-6)


def test_training_goes_on_with_an_aligner():
    # the second text has one sentence only, its words are known from the first
    first, src_words, tgt_words = Bitext.from_words(
        SRC[2:3] * 9 + [["e"], ["f"]] * 5, TGT[2:3] * 9 + [["u"], ["v"]] * 5
    )
    before = train(first, src_words=src_words, tgt_words=tgt_words)
    second, *words = Bitext.from_words([["e", "f", "new"]], [["v", "u", "neu"]])
    after = align(second, prior=before, src_words=words[0], tgt_words=words[1])
    assert {(0, 1), (1, 0)} <= set(after.links.pair(0))
    alone = align(second, src_words=words[0], tgt_words=words[1])
    assert not {(0, 1), (1, 0)} & set(alone.links.pair(0))


def test_what_a_prior_may_not_be(tmp_path):
    with pytest.raises(InputError, match="do not fit the words"):
        Prior(("a",), ("b",), sp.csr_array(np.ones((2, 1))))
    with pytest.raises(InputError, match="negative or not finite"):
        Prior.of_pairs([("a", "b", -1.0)])
    bitext, src_words, tgt_words = Bitext.from_words(SRC, TGT)
    with pytest.raises(UsageError, match="a prior needs the words"):
        train(bitext, prior=Prior.of_pairs([("a", "x", 1.0)]))
    with pytest.raises(UsageError, match="does not know its words"):
        Prior.of_aligner(train(bitext))
    with pytest.warns(UserWarning, match="none of the 1 pairs of the prior"):
        train(bitext, prior=Prior.of_pairs([("no", "thing", 1.0)]), src_words=src_words, tgt_words=tgt_words)
    with pytest.raises(InputError, match="links of another text"):
        Prior.of_links(Links.from_pharaoh(["0-0"]), bitext, src_words, tgt_words)
    with pytest.raises(InputError, match="line 3: a link to a target word that is not there"):
        Prior.of_links(Links.from_pharaoh(["0-0", "0-0", "0-2"] + [""] * 27), bitext, src_words, tgt_words)
    path = tmp_path / "t.tsv"
    for text, match in (
        ("a\tb\n", "t.tsv:1: not a row"),
        ("a\tb\t0.5\na\tc\tnan\n", "t.tsv:2: not a row"),
        ("a\tb\t7\n", "not a row"),
        ("a\tb\t0.5\na\tc\t-1\n", "both probabilities and logarithms"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=match):
            Prior.of_table(path)
