import re
import unicodedata
from pathlib import Path

import pytest

from align import lexicons
from align.errors import UnavailableError
from benchmarks import lexicon_check

ALLOWED = re.compile(r"[^\W\d_]+(?:[ '-][^\W\d_]+)*\Z")
EVERYDAY = {
    ("water", "maji"),
    ("mother", "mama"),
    ("father", "baba"),
    ("child", "mtoto"),
    ("food", "chakula"),
    ("house", "nyumba"),
    ("today", "leo"),
    ("night", "usiku"),
    ("one", "moja"),
    ("name", "jina"),
    ("and", "na"),
}


def _rows(path: Path | None) -> list[list[str]]:
    assert path is not None
    text = path.read_bytes().decode("utf-8")
    assert text.endswith("\n")
    assert "\r" not in text
    assert not text.startswith("\ufeff")
    return [line.split("\t") for line in text[:-1].split("\n")]


def test_the_lexicon_is_found_in_its_own_direction_only() -> None:
    assert lexicons.available() == [("en", "sw")]
    path = lexicons.path("en", "sw")
    assert path is not None
    assert path.name == "en-sw.tsv"
    for src, tgt in [("sw", "en"), ("en", "xx"), ("", ""), ("../lexicons/en", "sw")]:
        assert lexicons.path(src, tgt) is None
        assert lexicons.sentences_path(src, tgt) is None


def test_rows_are_two_clean_columns() -> None:
    rows = _rows(lexicons.path("en", "sw"))
    for number, row in enumerate(rows, start=1):
        assert len(row) == 2, f"line {number}: {row}"
        for cell in row:
            assert cell, f"line {number}: empty column"
            assert cell == " ".join(cell.split()), f"line {number}: stray white space in {cell!r}"
            assert cell == unicodedata.normalize("NFC", cell), f"line {number}: {cell!r} is not NFC"
    assert len({tuple(row) for row in rows}) == len(rows)


def test_lexicon_has_words_only_and_enough_of_them() -> None:
    rows = _rows(lexicons.path("en", "sw"))
    assert len(rows) >= 2000
    assert [cell for row in rows for cell in row if not ALLOWED.match(cell)] == []
    assert sum(" " not in cell for row in rows for cell in row) >= 0.9 * 2 * len(rows)


def test_lexicon_starts_with_everyday_words() -> None:
    rows = _rows(lexicons.path("en", "sw"))
    assert EVERYDAY - {tuple(row) for row in rows[:100]} == set()


def test_confirmed_counts_pairs_known_pairs_and_words() -> None:
    dictionary = {("water", "maji"), ("god", "mungu"), ("big", "kubwa"), ("read", "soma")}
    pairs = [("water", "maji"), ("God", "Mungu"), ("big", "mkubwa"), ("big", "kubwa"), ("small", "ndogo")]
    assert lexicon_check.confirmed(pairs, dictionary) == {
        "pairs": 5,
        "share": 0.6,
        "known_pairs": 4,
        "known_share": 0.75,
        "known_words": 3,
        "known_words_share": 1.0,
    }


def test_infinitives_are_dropped_only_beside_their_stem() -> None:
    pairs = [("read", "kusoma"), ("read", "soma"), ("eat", "kula"), ("teach", "kusoma"), ("chicken", "kuku")]
    assert lexicon_check.without_infinitives(pairs) == [pair for pair in pairs if pair != ("read", "kusoma")]


def test_check_without_the_dictionary_says_what_to_set(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("benchmarks.shared.SHARED", tmp_path)
    with pytest.raises(UnavailableError, match="VOCAB_TRANSFER_SHARED"):
        lexicon_check.run()


def test_readme_states_the_sizes_of_both_files() -> None:
    readme = (Path(lexicons.__file__).parent / "README.md").read_text(encoding="utf-8")
    for path in (lexicons.path("en", "sw"), lexicons.sentences_path("en", "sw")):
        assert path is not None
        row = next(line for line in readme.splitlines() if line.startswith(f"| `{path.name}`"))
        assert f" {len(_rows(path)):,} pairs" in row


@pytest.mark.data
def test_readme_states_what_the_check_measures(shared_data: Path) -> None:
    assert (shared_data / "lexicons/wechsel/en-sw.tsv.gz").is_file()
    result = lexicon_check.run()
    path = lexicons.path("en", "sw")
    assert path is not None
    readme = path.with_name("README.md").read_text(encoding="utf-8")
    for part in (result["all"], result["without_infinitives"]):
        assert f"{part['pairs']:,}" in readme
        for share in ("share", "known_share", "known_words_share"):
            assert f"{100 * part[share]:.1f} %" in readme
