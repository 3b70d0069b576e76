"""Filters of sentence pairs: each reason on its own, with its count."""

from __future__ import annotations

import pytest

from align.errors import UsageError
from align.wordalign import filters
from align.wordalign.filters import PairFilter, Sieve


def _kept(wanted: PairFilter, pairs: list[tuple[str, str]]) -> tuple[list[int], dict[str, int]]:
    sieve = Sieve(wanted)
    kept = [n for n, (s, t) in enumerate(pairs) if sieve.keeps(s, t, s.split(), t.split())]
    return kept, dict(sieve.dropped)


PAIRS = [
    ("a b", "x y"),
    ("", "x"),
    ("a", "  "),
    ("a \0", "x y"),
    ("a", "x\x1b"),
    ("a b c d", "x"),
    ("a b c d e f", "x y z u v w"),
    ("same here", "same  here"),
    ("a  b", "x y"),
    ("a\tb\x0c", "x\x1dy z"),
]


@pytest.mark.parametrize(
    ("wanted", "dropped", "reason"),
    [
        (PairFilter(), [], None),
        (PairFilter(max_len=5), [6], filters.LONG),
        (PairFilter(max_ratio=3.9), [5], filters.UNEVEN),
        (PairFilter(max_ratio=4), [], None),
        (PairFilter(identical=True), [7], filters.IDENTICAL),
        (PairFilter(duplicates=True), [8], filters.DUPLICATE),
    ],
)
def test_each_filter_drops_what_it_names(wanted: PairFilter, dropped: list[int], reason: str | None) -> None:
    always = {filters.EMPTY: 2, filters.CONTROL: 2}
    kept, counts = _kept(wanted, PAIRS)
    assert kept == [n for n in range(len(PAIRS)) if n not in {1, 2, 3, 4, *dropped}]
    assert counts == always | ({reason: len(dropped)} if reason else {})


def test_what_is_dropped_for_another_reason_is_no_first_occurrence() -> None:
    kept, _ = _kept(
        PairFilter(duplicates=True, max_len=1), [("a b", "x"), ("a b", "x"), ("a", "x"), ("a", "x")]
    )
    assert kept == [2]


@pytest.mark.parametrize("wrong", [{"max_len": 0}, {"max_ratio": 0.5}, {"max_ratio": float("nan")}])
def test_options_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="1 or more"):
        PairFilter(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("src_scripts", "tgt_scripts", "dropped"),
    [
        ((), (), []),
        (("LATIN",), (), [1]),
        (("LATIN",), ("SINHALA",), [0, 1, 2, 3]),
        ((), ("SINHALA", "LATIN"), []),
        ((), ("CYRILLIC",), [0, 1, 2, 3, 4]),
    ],
)
def test_wrong_script(src_scripts: tuple[str, ...], tgt_scripts: tuple[str, ...], dropped: list[int]) -> None:
    pairs = [
        ("the house", "nyumba"),
        ("ගෙදර", "nyumba"),
        ("the wine (වයින්)", "divai"),
        ("дом and", "nyumba"),  # half is enough
        ("the house", "ගෙදර ගෙදර abcd"),
        ("12 - 34", "12 : 34"),
    ]
    kept, counts = _kept(PairFilter(src_scripts=src_scripts, tgt_scripts=tgt_scripts), pairs)
    assert kept == [n for n in range(len(pairs)) if n not in dropped]
    assert counts == ({filters.SCRIPT: len(dropped)} if dropped else {})
