from __future__ import annotations

from cli.columns import columns


def test_columns() -> None:
    rows = [("name", "MB", "from"), ("a", "1,000.5", "here"), ("longer", "2.0", "")]
    assert columns(rows, numbers=(1,)) == [
        "name         MB  from",
        "a       1,000.5  here",
        "longer      2.0",
    ]
    assert columns(rows)[2] == "longer  2.0"


def test_wide_characters() -> None:
    assert columns([("word", "count"), ("東京", "3"), ("rome", "2")]) == ["word  count", "東京  3", "rome  2"]


def test_nothing() -> None:
    assert columns([]) == []
