from __future__ import annotations

import gzip

import pytest

from align.errors import InputError, UnavailableError, UsageError
from align.lexicon import Lexicon, bundled_lexicon, case_forms, read_lexicon


@pytest.mark.parametrize("packed", [False, True])
def test_tab_separated(tmp_path, packed):
    data = b"water\tmaji\npaternal uncle\tami\n\nhouse\tnyumba\tnoun\r\n"
    path = tmp_path / ("l.tsv.gz" if packed else "l.tsv")
    path.write_bytes(gzip.compress(data) if packed else data)
    assert read_lexicon(path).pairs == (("water", "maji"), ("paternal uncle", "ami"), ("house", "nyumba"))


def test_blank_separated_is_recognised_or_asked_for(tmp_path):
    path = tmp_path / "l.txt"
    path.write_text("the der\nthe\tdie\n")
    assert read_lexicon(path).pairs == (("the", "der"), ("the", "die"))
    path.write_text("the\tdie\nthe der\n")
    with pytest.raises(InputError, match=r"l\.txt:2"):
        read_lexicon(path)
    assert len(read_lexicon(path, separator="space")) == 2
    with pytest.raises(UsageError, match="separator"):
        read_lexicon(path, separator="comma")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("data", "where", "what"),
    [
        (b"a\tb\nno tab here\n", ":2", "not a pair"),
        (b"a\tb\n\tb\n", ":2", "not a pair"),
        (b"a b\na b c\n", ":2", "not a pair"),
        (b"a\tb\n\xff\tc\n", ":2", "not UTF-8"),
        (b"", "l.tsv", "empty"),
        (b"\n \n", "l.tsv", "no pairs"),
    ],
)
def test_bad_lines_name_file_and_line(tmp_path, data, where, what):
    path = tmp_path / "l.tsv"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        read_lexicon(path)
    assert what in caught.value.message
    assert str(caught.value.where).endswith(where)


def test_missing_file_and_damaged_gzip(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_lexicon(tmp_path / "none.tsv")
    (tmp_path / "l.tsv.gz").write_bytes(gzip.compress(b"a\tb\n" * 99)[:-9])
    with pytest.raises(InputError, match="damaged"):
        read_lexicon(tmp_path / "l.tsv.gz")


def test_many_translations_and_the_other_direction():
    lexicon = Lexicon((("a", "x"), ("a", "y"), ("b", "x"), ("a", "x")))
    assert lexicon.translations == {"a": ("x", "y"), "b": ("x",)}
    assert lexicon.reversed().translations == {"x": ("a", "b"), "y": ("a",)}
    assert lexicon.reversed().reversed() == lexicon


def test_case_variants_count_repetitions():
    assert case_forms("uncle Bob") == ("uncle Bob", "uncle bob", "Uncle Bob")
    variants = Lexicon((("cat", "paka"),)).case_variants()
    assert variants == {("cat", "paka"): 4, ("cat", "Paka"): 2, ("Cat", "paka"): 2, ("Cat", "Paka"): 1}
    twice = Lexicon((("UN", "UM"), ("UN", "UM"))).case_variants()
    assert sum(twice.values()) == 18
    assert twice["UN", "Um"] == 2


def test_bundled_in_both_directions():
    there, back = bundled_lexicon("en", "sw"), bundled_lexicon("sw", "en")
    assert len(there) >= 2000
    assert ("water", "maji") in there.pairs
    assert back == there.reversed()
    with pytest.raises(UnavailableError, match="en-xx"):
        bundled_lexicon("en", "xx")


@pytest.mark.data
def test_formats_in_use(shared_data):
    lexicons = shared_data / "lexicons"
    assert len(read_lexicon(lexicons / "wechsel" / "en-sw.tsv.gz")) == 5325
    assert len(read_lexicon(lexicons / "sinhala" / "cc-en-si.full.txt.gz", separator="space")) > 60000
    muse = read_lexicon(lexicons / "iso-study" / "en-es.test.2000.muse.trans")
    assert ("impression", "impresión") in muse.pairs
    tagged = read_lexicon(lexicons / "muse-test-pos" / "en-de.5000-6500.tsv")
    assert all(" " not in tgt for _, tgt in tagged)
