from __future__ import annotations

import gzip

import numpy as np
import pytest

from align.errors import InputError, OutputError, UnavailableError, UsageError
from align.lexicon import (
    Lexicon,
    bundled_lexicon,
    case_forms,
    in_case_of,
    known_pairs,
    read_concepts,
    read_lexicon,
)
from align.vectors import WordVectors


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


def test_columns_of_a_table_of_many_languages(tmp_path):
    path = tmp_path / "l.tsv"
    path.write_text("eo-fi\ttrain\tnun\tnyt\neo-fi\ttest\tse\tjos\nhu-tr\ttrain\tnem\thayır\n")
    assert read_lexicon(path, columns=(2, 3), where={0: "eo-fi", 1: "train"}).pairs == (("nun", "nyt"),)
    with pytest.raises(InputError, match="no pairs"):
        read_lexicon(path, columns=(2, 3), where={0: "eo-hu"})
    path.write_text("a b\n")
    with pytest.raises(UsageError, match="columns"):
        read_lexicon(path, columns=(1, 0))


def test_lists_by_concept(tmp_path):
    path = tmp_path / "swadesh.tsv"
    path.write_text("eng\t1\tI|me\neng\t2\tyou\nswh\t1\tmimi\nswh\t3\tyeye\n")
    assert read_concepts(path, "eng", "swh").pairs == (("I", "mimi"), ("me", "mimi"))
    with pytest.raises(InputError, match="language is not"):
        read_concepts(path, "eng", "fra")
    path.write_text("eng\tone\n")
    with pytest.raises(InputError, match=r":1"):
        read_concepts(path, "eng", "swh")


def test_a_split_shares_no_source_word():
    lexicon = Lexicon(tuple((f"s{i % 40}", f"t{i}") for i in range(100)))
    train, test = lexicon.split(10, seed=3)
    assert len(test.translations) == 10
    assert set(train.translations).isdisjoint(test.translations)
    assert sorted(train.pairs + test.pairs) == sorted(lexicon.pairs)
    assert lexicon.split(10, seed=3)[1].pairs == test.pairs != lexicon.split(10, seed=4)[1].pairs
    for n_test in (0, 40):
        with pytest.raises(InputError, match="split"):
            lexicon.split(n_test)


def test_known_pairs_say_what_is_left_out():
    src, tgt = (WordVectors(words, np.eye(3)) for words in (("a", "b", "c"), ("x", "y", "z")))
    lexicon = Lexicon((("c", "x"), ("a", "z"), ("c", "x"), ("a", "unknown")))
    with pytest.warns(UserWarning, match="1 of 3 pairs"):
        rows = known_pairs(lexicon, src, tgt)
    np.testing.assert_array_equal(rows, [[2, 0], [0, 2]])


def test_a_saved_lexicon_comes_back(tmp_path):
    lexicon = Lexicon((("water", "maji"), ("paternal uncle", "ami"), ("Water", "Maji")))
    lexicon.save(tmp_path / "l.tsv")
    assert read_lexicon(tmp_path / "l.tsv").pairs == lexicon.pairs
    assert lexicon.lower().pairs == (("water", "maji"), ("paternal uncle", "ami"))
    with pytest.raises(OutputError, match="tab"):
        Lexicon((("a\tb", "c"),)).save(tmp_path / "bad.tsv")


@pytest.mark.data
def test_published_formats_are_read(shared_data):
    folder = shared_data / "lexicons"
    assert len(read_lexicon(folder / "iso-study/en-es.test.2000.muse.trans")) == 2975
    assert len(read_lexicon(folder / "muse-test-pos/bg-en.5000-6500.tsv")) > 2000
    assert len(read_lexicon(folder / "xling-eval/yacle.test.freq.2k.de-fr.tsv")) == 2000
    assert len(read_lexicon(folder / "wechsel/en-sw.tsv.gz")) == 5325
    assert len(read_lexicon(folder / "sinhala/cc_en-si_testset_1500_5000_200k.txt")) > 2000
    panlex = read_lexicon(
        folder / "panlex-bli/panlex-bli.36pairs.tsv.gz", columns=(2, 3), where={0: "eo-fi", 1: "train"}
    )
    assert 4000 < len(panlex) <= 5000
    swadesh = read_concepts(folder / "swadesh/panlex_swadesh207.tsv.gz", "eng-000", "swh-000")
    assert ("water", "maji") in swadesh.pairs


def test_case_follows_the_vocabulary():
    lower, cased = (WordVectors(words, np.eye(2)) for words in (("haus", "maus"), ("Haus", "maus")))
    lexicon = Lexicon((("Haus", "House"), ("haus", "House")))
    assert in_case_of(lexicon, lower, cased).pairs == (("haus", "House"),)
    assert in_case_of(lexicon, cased, lower).pairs == (("Haus", "house"), ("haus", "house"))
