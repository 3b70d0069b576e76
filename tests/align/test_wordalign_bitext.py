"""Bitext, pair table and links."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from align.errors import InputError
from align.wordalign import Bitext, Links
from align.wordalign.pairs import build_pairs, chunk_cells

sentences = st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=5), min_size=1, max_size=8)


def test_from_words_numbers_words_by_first_occurrence():
    bitext, src_words, tgt_words = Bitext.from_words([["b", "a"], ["a"]], [["x"], ["y", "x", "x"]])
    assert src_words == ("b", "a")
    assert tgt_words == ("x", "y")
    np.testing.assert_array_equal(bitext.src_ids, [0, 1, 1])
    np.testing.assert_array_equal(bitext.tgt_ids, [0, 1, 0, 0])
    np.testing.assert_array_equal(bitext.tgt_offsets, [0, 1, 4])
    assert bitext.src_ids.dtype == np.int32
    assert (bitext.n_src_types, bitext.n_tgt_types, bitext.n_pairs) == (2, 2, 2)


def test_empty_sides_stay_with_one_warning():
    with pytest.warns(UserWarning, match="2 of 3 sentence pairs have an empty side") as caught:
        bitext = Bitext.from_ids([[0], [], [1]], [[0], [0], []])
    assert len(caught) == 1
    assert bitext.n_pairs == 3


@pytest.mark.parametrize(
    ("src", "tgt", "message"),
    [
        ([[0], [0]], [[0]], "unequal length"),
        ([[0, 7]], [[0]], "out of range"),
        ([[-1]], [[0]], "out of range"),
        ([[2**40]], [[0]], "32 bits"),
    ],
)
def test_bad_bitext(src, tgt, message):
    with pytest.raises(InputError, match=message):
        Bitext.from_ids(src, tgt, n_src_types=5, n_tgt_types=5)


def test_offsets_must_describe_the_ids():
    ids = np.zeros(3, dtype=np.int32)
    with pytest.raises(InputError, match="offsets"):
        Bitext(ids, np.array([0, 2]), ids, np.array([0, 3]), 1, 1)


@settings(deadline=None, max_examples=50)
@given(sentences, st.integers(2, 5), st.data())
def test_pair_table_names_every_cell(src, max_len, data):
    tgt = [data.draw(st.lists(st.integers(0, 6), min_size=1, max_size=5)) for _ in src]
    bitext = Bitext.from_ids(src, tgt, n_src_types=7, n_tgt_types=7)
    pairs = build_pairs(bitext, max_len=max_len)
    src_of_row = np.repeat(np.arange(7), np.diff(pairs.indptr))
    expected = []
    for s, t in zip(src, tgt, strict=True):
        if len(s) <= max_len and len(t) <= max_len:
            expected += [(a, b) for a in s for b in t]
    # all at once, and in two parts
    part = data.draw(st.integers(0, bitext.n_pairs))
    parts = [chunk_cells(bitext, pairs, *ends) for ends in ((0, part), (part, bitext.n_pairs))]
    for cells in (chunk_cells(bitext, pairs, 0, bitext.n_pairs), np.concatenate(parts)):
        found = list(zip(src_of_row[cells].tolist(), pairs.tgt[cells].tolist(), strict=True))
        assert found == expected
    rows = list(zip(src_of_row.tolist(), pairs.tgt.tolist(), strict=True))
    assert len(set(rows)) == len(rows)
    assert set(rows) == set(expected)


def test_links_from_pharaoh_and_back():
    links = Links.from_pharaoh(["1-0 0-0", "", "2p3 0-1"])
    assert links.pharaoh() == ["0-0 1-0", "", "0-1 2-3"]
    assert links.pair(2) == [(0, 1), (2, 3)]
    np.testing.assert_array_equal(links.offsets, [0, 2, 2, 4])


@pytest.mark.parametrize("item", ["3", "a-b", "1-", "-1-2"])
def test_bad_pharaoh_names_the_line(item):
    with pytest.raises(InputError, match="line 2"):
        Links.from_pharaoh(["0-0", item])
