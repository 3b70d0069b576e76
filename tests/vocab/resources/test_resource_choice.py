"""What `opus:auto` takes: the order, the shares, the budget."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vocab.resources.choice import Choice, choose, expected_pairs, in_order
from vocab.resources.corpora import GROUPS, group_of
from vocab.resources.description import Resource


def _corpus(name: str, n_pairs: int | None, size_mb: float = 1.0, tgt: str = "sw") -> Resource:
    return Resource(
        "parallel",
        "opus",
        name,
        "v1",
        "en",
        tgt,
        n_pairs,
        int(size_mb * 1e6),
        "http://x/y",
        "",
        Path("opus") / name / tgt,
    )


# English-Swahili as OPUS announced it in 2023: pairs and megabytes
SWAHILI = [
    _corpus("CCAligned", 2_044_993, 120.6),
    _corpus("CCMatrix", 5_756_664, 336.2),
    _corpus("ELRC-3073-wikipedia_health", 608, 0.06),
    _corpus("EUbookshop", 17, 0.002),
    _corpus("GNOME", 40, 0.002),
    _corpus("GlobalVoices", 32_307, 2.9),
    _corpus("GoURMET", 156_062, 11.8),
    _corpus("ParaCrawl", 132_520, 18.2),
    _corpus("TED2020", 9_745, 0.7),
    _corpus("Tanzil", 138_253, 8.2),
    _corpus("Ubuntu", None, 0.019),
    _corpus("WikiMatrix", 51_387, 5.1),
    _corpus("XLEnt", 871_902, 21.0),
    _corpus("tico-19", 3_071, 0.3),
    _corpus("wikimedia", 3_765, 0.5),
    _corpus("QED", 18_192, 1.3, "swa"),
    _corpus("Tatoeba", 395, 0.016, "swh"),
]


def _choose(corpora: list[Resource] = SWAHILI, **other: Any) -> Choice:
    values: dict[str, Any] = {"n_pairs": 300_000, "max_mb": 500}
    return choose(corpora, **values | other)


def _quotas(choice: Choice) -> dict[str, int | None]:
    return {t.resource.name: t.max_pairs for t in choice.taken}


def test_clean_text_first_mined_and_religious_text_last_and_weighed_down() -> None:
    choice = _choose()
    assert _quotas(choice) == {
        "GlobalVoices": None,
        "TED2020": None,
        "Tatoeba": None,
        "tico-19": None,
        "wikimedia": None,
        "QED": None,
        "ELRC-3073-wikipedia_health": None,
        "EUbookshop": None,
        "Ubuntu": None,
        "GNOME": None,
        "GoURMET": 150_000,  # half of the pairs wanted
        "Tanzil": 30_000,  # a tenth
    }
    left = {resource.name: why for resource, why in choice.left}
    assert left["CCMatrix"] == left["WikiMatrix"] == "mined: 50% of the pairs are there"
    assert "religious (at most 10% of the pairs)" in choice.rule
    assert "until 300,000 pairs" in choice.rule
    assert json.loads(json.dumps(choice.as_json()))["taken"][0]["why"] == "translated"


def test_it_ends_when_there_are_enough_pairs() -> None:
    choice = _choose(n_pairs=40_000)
    assert _quotas(choice) == {"GlobalVoices": None, "TED2020": 7_693}
    assert {why for _, why in choice.left} == {"enough pairs"}
    assert _quotas(_choose(n_pairs=40_000, n_have=39_000)) == {"GlobalVoices": 1000}
    assert _quotas(_choose(n_pairs=40_000, n_have=50_000)) == {}


def test_preferred_and_excluded() -> None:
    choice = _choose(prefer=["tanzil", "XL*"], exclude=["gourmet", "ELRC*", "ted2020"], n_pairs=200_000)
    names = list(_quotas(choice))
    assert names[0] == "XLEnt"  # mined before religious among the preferred, too, and without a share
    assert _quotas(choice)["XLEnt"] == 200_000
    left = {resource.name: why for resource, why in choice.left}
    assert left["TED2020"] == left["GoURMET"] == left["ELRC-3073-wikipedia_health"] == "excluded"


def test_the_megabytes_are_kept() -> None:
    choice = _choose(max_mb=16)
    assert sum(t.resource.size_bytes or 0 for t in choice.taken) <= 16e6
    left = {resource.name: why for resource, why in choice.left}
    assert left["GoURMET"] == "its 12 MB would exceed 16 MB"
    assert "WikiMatrix" in _quotas(choice)  # what is smaller still fits


def test_where_nothing_fits_the_smallest_is_named() -> None:
    corpora = [_corpus("CCMatrix", 5_000_000, 900), _corpus("NLLB", 4_000_000, 700)]
    choice = _choose(corpora)
    assert _quotas(choice) == {"NLLB": 150_000}
    assert [resource.name for resource, _ in choice.left] == ["CCMatrix"]
    assert _quotas(_choose(corpora, n_have=10)) == {}  # something else was asked for


def test_a_language_with_one_holy_book_gets_it() -> None:
    assert _quotas(_choose([_corpus("bible-uedin", 31_102)])) == {"bible-uedin": 30_000}


def test_nothing_to_choose_from() -> None:
    assert _choose([]).taken == ()
    assert _choose(exclude=["*"]).taken == ()


@pytest.mark.parametrize(
    ("corpus", "group"),
    [
        ("GlobalVoices", "translated"),
        ("ELRC-wikipedia_health", "other"),
        ("something-new", "other"),
        ("OpenSubtitles2018", "subtitles"),
        ("KDE4", "software"),
        ("NLLB", "mined"),
        ("JW300", "religious"),
        ("bible-uedin", "religious"),
    ],
)
def test_groups(corpus: str, group: str) -> None:
    assert GROUPS[group_of(corpus)[0]].name == group


_NAMES = ["GlobalVoices", "QED", "Books", "unknown", "GNOME", "CCMatrix", "NLLB", "Tanzil", "bible-uedin"]


@given(
    st.lists(
        st.tuples(st.sampled_from(_NAMES), st.integers(0, 10**6), st.floats(0.001, 600)),
        unique_by=lambda x: x[0],
    ),
    st.integers(1, 10**6),
    st.integers(1, 600),
)
def test_whatever_there_is(entries: list[tuple[str, int, float]], n_pairs: int, max_mb: int) -> None:
    corpora = [_corpus(*entry) for entry in entries]
    choice = _choose(corpora, n_pairs=n_pairs, max_mb=max_mb)
    taken = [t.resource for t in choice.taken]
    assert sorted(r.name for r in taken) + sorted(r.name for r, _ in choice.left) == sorted(
        r.name for r in taken
    ) + sorted({r.name for r in corpora} - {r.name for r in taken})
    drawn = {
        t.resource: expected_pairs(t.resource) if t.max_pairs is None else t.max_pairs for t in choice.taken
    }
    assert sum(drawn.values()) <= n_pairs
    for rank, group in enumerate(GROUPS):
        assert sum(n for r, n in drawn.items() if group_of(r.name)[0] == rank) <= group.share * n_pairs
    if len(taken) > 1:
        assert sum(r.size_bytes or 0 for r in taken) <= max_mb * 1e6
    assert taken == [r for r in in_order(corpora) if r in taken]
    assert choice == _choose(corpora[::-1], n_pairs=n_pairs, max_mb=max_mb)
