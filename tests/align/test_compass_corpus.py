"""Slices of text as streams of word ids."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from align.compass import SlicedText, number_slices, read_slices
from align.compass.corpus import iter_rows
from align.errors import InputError, UsageError


def sentences(text: SlicedText, k: int) -> list[list[str]]:
    out: list[list[str]] = [[]]
    for number in text.streams[k].tolist():
        if number < 0:
            out.append([])
        else:
            out[-1].append(text.words[number])
    assert out.pop() == []
    return out


_LINES = st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=6), min_size=1, max_size=30)


@settings(deadline=None)
@given(_LINES, _LINES, st.integers(1, 4), st.sampled_from([0, 64, 1 << 20]))
def test_streams_are_the_text_without_rare_words(
    first: list[list[str]], second: list[list[str]], min_count: int, memory_bytes: int
) -> None:
    texts = {"x": [" ".join(line) for line in first], "y": [" ".join(line) for line in second]}
    count = Counter(word for line in first + second for word in line)
    kept = {word for word, n in count.items() if n >= min_count}
    wanted = [
        [words for line in lines if (words := [word for word in line if word in kept])]
        for lines in (first, second)
    ]
    if not all(wanted):
        with pytest.raises(InputError):
            number_slices(texts, min_count=min_count)
        return
    text = number_slices(texts, min_count=min_count, memory_bytes=memory_bytes)
    assert [sentences(text, k) for k in (0, 1)] == wanted
    assert set(text.words) == kept
    totals = [count[word] for word in text.words]
    assert totals == sorted(totals, reverse=True)
    np.testing.assert_array_equal(text.counts.sum(axis=0), totals)
    np.testing.assert_array_equal(text.n_read, [sum(map(len, first)), sum(map(len, second))])


def test_files_are_slices_by_their_names(tmp_path: Path) -> None:
    (tmp_path / "1850s.txt").write_text("Old words, old.\n\nwords\n", encoding="utf-8")
    with gzip.open(tmp_path / "1950s.txt.gz", "wt", encoding="utf-8") as file:
        file.write("new words\n")
    paths = [tmp_path / "1850s.txt", tmp_path / "1950s.txt.gz"]
    text = read_slices(*paths, min_count=1)
    assert text.names == ("1850s", "1950s")
    assert sentences(text, 0) == [["old", "words", "old"], ["words"]]
    assert sentences(text, 1) == [["new", "words"]]
    cased = read_slices(*paths, names=["then", "now"], min_count=1, lower=False, tokenize="whitespace")
    assert cased.names == ("then", "now")
    assert sentences(cased, 0)[0] == ["Old", "words,", "old."]
    assert read_slices(*paths, min_count=1, max_words=1).words == ("words",)


def test_punctuation_is_no_word() -> None:
    lines = ["Don't; 3.5 (a_b) é … — 字。", "; ."]
    text = number_slices({"a": lines, "b": ["a; b"]}, min_count=1)
    assert sentences(text, 0) == [["don", "t", "3", "5", "a", "b", "é", "字"]]
    assert text.n_read.tolist() == [8, 2]
    as_it_is = number_slices({"a": lines, "b": ["a; b"]}, min_count=1, tokenize="whitespace")
    assert sentences(as_it_is, 0)[1] == [";", "."]


def test_years_of_a_table_are_put_in_bins(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text("1865\td1\tc c\n1840\td2\ta a\n1859\td3\tb b\n\n1861\td4\td d\n", encoding="utf-8")
    text = read_slices(path, bin_years=20, min_count=1)
    assert text.names == ("1840", "1860")
    assert sentences(text, 0) == [["a", "a"], ["b", "b"]]
    assert sentences(text, 1) == [["c", "c"], ["d", "d"]]
    assert read_slices(path, min_count=1).names == ("1840", "1859", "1861", "1865")
    path.write_text("north\ta\tb\nsouth\ta\tb\n", encoding="utf-8")
    assert read_slices(path, min_count=1).names == ("north", "south")


def test_bad_input_is_refused_with_its_place(tmp_path: Path) -> None:
    table = tmp_path / "t.tsv"
    table.write_text("1840\ta\n18x0\tb\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"t\.tsv:2: the year is not a number"):
        read_slices(table, bin_years=20)
    table.write_text("1840\ta\nno tab\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"t\.tsv:2: a line without a tab"):
        read_slices(table)
    with pytest.raises(UsageError, match="bin_years"):
        list(iter_rows(table, bin_years=0))
    with pytest.raises(UsageError, match="names its slices itself"):
        read_slices(table, names=["a"])
    one, same, empty, blank = (tmp_path / name for name in ("a.txt", "a.txt.gz", "e.txt", "b.txt"))
    one.write_text("word word\n", encoding="utf-8")
    same.write_text("word\n", encoding="utf-8")
    empty.write_text("", encoding="utf-8")
    blank.write_text("\n \n", encoding="utf-8")
    with pytest.raises(UsageError, match="1 slice"):
        read_slices(one, min_count=1)
    with pytest.raises(UsageError, match="two slices of one name"):
        read_slices(one, same)
    with pytest.raises(UsageError, match="differ in number"):
        read_slices(one, blank, names=["a"])
    with pytest.raises(UsageError, match="one \\.tsv file"):
        read_slices(one, blank, bin_years=20)
    with pytest.raises(InputError, match="file is empty"):
        read_slices(one, empty)
    with pytest.raises(InputError, match="b: a slice without words"):
        read_slices(one, blank, min_count=1)
    with pytest.raises(InputError, match="y: a slice without a word of the compass"):
        number_slices({"x": ["a a"], "y": ["b"]}, min_count=2)
    with pytest.raises(InputError, match="no word is frequent enough"):
        number_slices({"x": ["a a"], "y": ["b"]}, min_count=9)
    with pytest.raises(UsageError, match="out of range"):
        number_slices({"x": ["a"], "y": ["b"]}, min_count=0)
