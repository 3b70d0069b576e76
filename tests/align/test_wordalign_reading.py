"""Parallel text of every format, and from text to ids."""

from __future__ import annotations

import gettext
import gzip
import io
import struct
import tracemalloc
import unicodedata
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from align.errors import InputError, UsageError
from align.wordalign.filters import PairFilter
from align.wordalign.reading import UNKNOWN, number_words, read_bitext, read_parallel, splitter

PAIRS = [("Good day.", "Habari."), ("", "tupu"), ("water & fire", "maji «na» moto")]

TMX = """\
<?xml version="1.0" encoding="{encoding}"?>
<!DOCTYPE tmx SYSTEM "tmx14.dtd">
<tmx version="1.4"><header srclang="en" datatype="plaintext"/><body>
<tu><tuv xml:lang="sw-KE"><seg>Habari.</seg></tuv><tuv xml:lang="EN-us"><prop>x</prop>\
<seg>Good <bpt i="1">&lt;b></bpt>day<ept i="1">&lt;/b></ept>.</seg></tuv></tu>
<tu><tuv lang="en"><seg>alone</seg></tuv></tu>
<tu><tuv lang="en"><seg></seg></tuv><tuv lang="sw-KE"><seg>tupu</seg></tuv></tu>
<tu><tuv lang="en"><seg>water <hi>&amp;</hi> fire</seg></tuv>
<tuv lang="sw_KE"><seg>maji «na» moto</seg></tuv></tu>
</body></tmx>
"""

PO = """\
# translators
msgid ""
msgstr ""
"Content-Type: text/plain; charset={charset}\\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\\n"

#: a.c:1
msgid "Good "
"day\\n"
msgstr ""
"H\\"ab\\303\\251ri\\t"
"\\\\"

#, c-format, fuzzy
msgid "unsure"
msgstr "sijui"
msgctxt "menu"
msgid "File"
msgstr "Faili é"
msgid "%d dog"
msgid_plural "%d dogs"
msgstr[0] "mbwa %d"
msgstr[1] "mbwa wengi"

msgid "later"
msgstr ""

#~ msgid "old"
#~ msgstr "zee"
"""
PO_PAIRS = [
    ("Good day\n", 'H"abéri\t\\'),
    ("File", "Faili é"),
    ("%d dog", "mbwa %d"),
    ("%d dogs", "mbwa wengi"),
]


def _write(path: Path, data: str | bytes) -> Path:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def _mo(order: str, pairs: dict[str, str], encoding: str = "utf-8") -> bytes:
    texts = [[text.encode(encoding) for text in side] for side in zip(*sorted(pairs.items()), strict=True)]
    n = len(pairs)
    start = 28 + 16 * n
    tables, data = b"", b""
    for side in texts:
        for text in side:
            tables += struct.pack(f"{order}2I", len(text), start + len(data))
            data += text + b"\0"
    return struct.pack(f"{order}7I", 0x950412DE, 0, n, 28, 28 + 8 * n, 0, start) + tables + data


COMPRESS: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress}


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("kind", ["tsv", "moses"])
def test_one_file(tmp_path: Path, suffix: str, named: bool, kind: str) -> None:
    mark = {"tsv": "\t", "moses": " ||| "}[kind]
    data = "".join(f"{s}{mark}{t}{mark}more\r\n" for s, t in PAIRS).encode()
    path = _write(tmp_path / f"{kind if named else 'text'}{suffix}", COMPRESS[suffix](data))
    assert list(read_parallel(path, format=kind if named else "auto")) == PAIRS


def test_two_files_and_a_difference_in_length(tmp_path: Path) -> None:
    paths = [
        _write(tmp_path / f"a.{k}", "".join(f"{pair[side]}\n" for pair in PAIRS))
        for side, k in enumerate(("en", "sw"))
    ]
    assert list(read_parallel(*paths)) == PAIRS
    _write(paths[1], "moja\n" * 7)
    with pytest.raises(InputError, match=r"differ in length \(got 3 lines in .*a\.en and 7 in .*a\.sw"):
        list(read_parallel(*paths))
    with pytest.raises(InputError, match=r"got 7 lines in .*a\.sw and 3 in .*a\.en"):
        list(read_parallel(*reversed(paths)))


def test_columns(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.tsv", "1\ta b\tx\tx y\n\n2\tc\t\tz\n")
    assert list(read_parallel(path, columns=(3, 1))) == [("x y", "a b"), ("", ""), ("z", "c")]
    with pytest.raises(InputError, match=r"a\.tsv:1: a line without both sides"):
        list(read_parallel(path, columns=(0, 4)))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
@pytest.mark.parametrize("languages", [None, ("en", "sw"), ("EN", "sw_ke")])
def test_tmx(tmp_path: Path, encoding: str, languages: tuple[str, str] | None) -> None:
    path = _write(tmp_path / "a.tmx", TMX.format(encoding=encoding).encode(encoding))
    with pytest.warns(UserWarning, match=r"passed over 1 without one of the languages"):
        assert list(read_parallel(path, languages=languages)) == PAIRS


def test_tmx_by_content_and_other_way_round(tmp_path: Path) -> None:
    path = _write(tmp_path / "memory.gz", gzip.compress(TMX.format(encoding="utf-8").encode()))
    with pytest.warns(UserWarning, match="passed over"):
        assert list(read_parallel(path, languages=("sw", "en"))) == [(t, s) for s, t in PAIRS]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</body>", "", r"a\.tmx:9: not well-formed XML: mismatched tag"),
        ("</tmx>", "", r"a\.tmx:10: not well-formed XML: no element found"),
        (
            '"tmx14.dtd"',
            '"x" [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]',
            r"a\.tmx:2: the file declares entities",
        ),
        ('"tmx14.dtd"', '"x" [<!ENTITY a SYSTEM "file:///etc/passwd">]', "declares entities"),
        ('lang="en"><seg>alone', 'lang="fr"><seg>seul', r"a\.tmx:5: a file of more than two languages"),
    ],
)
def test_bad_tmx(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = _write(tmp_path / "a.tmx", TMX.format(encoding="utf-8").replace(old, new))
    with pytest.raises(InputError, match=message):
        list(read_parallel(path))


def test_language_that_is_not_there(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.tmx", TMX.format(encoding="utf-8"))
    with pytest.raises(
        InputError, match=r"no unit has both languages \(got sw-ke, en-us, en, wanted en and yo"
    ):
        list(read_parallel(path, languages=("en", "yo")))


def test_tmx_memory_is_bounded(tmp_path: Path) -> None:
    unit = "<tu><tuv lang='en'><seg>a b</seg></tuv><tuv lang='sw'><seg>x</seg></tuv></tu>\n"
    path = _write(tmp_path / "a.tmx", f"<tmx><body>{unit * 50_000}</body></tmx>")
    tracemalloc.start()
    n = sum(pair == ("a b", "x") for pair in read_parallel(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert n == 50_000
    assert peak < path.stat().st_size / 3


def test_po(tmp_path: Path) -> None:
    path = _write(tmp_path / "sw.po", PO.format(charset="UTF-8"))
    with pytest.warns(UserWarning, match=r"sw\.po: passed over 1 fuzzy, 1 untranslated, 1 obsolete"):
        assert list(read_parallel(path)) == PO_PAIRS
    text = PO.format(charset="ISO-8859-1").replace("\\303\\251", "\\xe9")
    _write(path, text.encode("latin-1"))
    with pytest.warns(UserWarning, match="passed over"):
        assert list(read_parallel(path)) == PO_PAIRS


def test_po_of_one_plural_form(tmp_path: Path) -> None:
    path = _write(tmp_path / "x", 'msgid "a day"\nmsgid_plural "days"\nmsgstr[0] "ri"')
    assert list(read_parallel(path)) == [("days", "ri")]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'msgid "a"\nmsgstr "b\n', r"a\.po:2: not a line of a gettext catalogue"),
        (b'"a"\n', r"a\.po:1: not a line"),
        (b'msgid "a"\nmsgstr "b\\"\n', r"a\.po:2: not a line"),
        (b'msgid "a"\nmsgstr "b" c"\n', r"a\.po:2: not a line"),
        (b'msgid "a"\nmsgstr "\xff"\n', r"a\.po:2: the catalogue is not UTF-8 \(got byte 0xff\)"),
        (b'msgid "a"\nmsgstr "\\377"\n', r"a\.po:2: escaped bytes are not UTF-8"),
        (b'msgid ""\nmsgstr "charset=klingon"\n\n', r"a\.po:3: unknown charset \(got klingon\)"),
        (b'msgid ""\nmsgstr "charset=hex"\n\n', "unknown charset"),
    ],
)
def test_bad_po(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        list(read_parallel(_write(tmp_path / "a.po", data)))


MESSAGES = {
    "": "Content-Type: text/plain; charset=UTF-8\nPlural-Forms: nplurals=2; plural=n != 1;\n",
    "Good day": "Habari é",
    "menu\x04File": "Faili",
    "%d dog\0%d dogs": "mbwa\0mbwa wengi",
    "later": "",
}


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("name", ["a.mo", "catalogue"])
def test_mo(tmp_path: Path, order: str, name: str) -> None:
    data = _mo(order, MESSAGES)
    assert gettext.GNUTranslations(io.BytesIO(data)).gettext("Good day") == "Habari é"  # it is a real one
    path = _write(tmp_path / name, data)
    with pytest.warns(UserWarning, match="passed over 1 untranslated"):
        got = list(read_parallel(path))
    wanted = [("Good day", "Habari é"), ("File", "Faili"), ("%d dog", "mbwa"), ("%d dogs", "mbwa wengi")]
    assert sorted(got) == sorted(wanted)


@given(st.data())
def test_damaged_mo_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    whole = _mo("<", MESSAGES)
    raw = bytearray(whole[: data.draw(st.integers(4, len(whole)))])
    for at in data.draw(st.lists(st.integers(4, len(raw) - 1), max_size=3)) if len(raw) > 4 else []:
        raw[at] = data.draw(st.integers(0, 255))
    path = _write(tmp_path_factory.mktemp("mo") / "a.mo", bytes(raw))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            list(read_parallel(path))
        except InputError as error:
            assert "a.mo" in str(error.where)  # noqa: PT017 - either is right


@pytest.mark.parametrize(
    ("paths", "options"),
    [
        ([], {}),
        (["a", "b", "c"], {}),
        (["a"], {"format": "lines"}),
        (["a", "b"], {"format": "tsv"}),
        (["a"], {"format": "xliff"}),
    ],
)
def test_wrong_use(paths: list[str], options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        list(read_parallel(*paths, **options))


def test_files_that_hold_something_else(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"text: not a file of parallel text .* Two line-aligned files"):
        list(read_parallel(_write(tmp_path / "text", "one side only\n")))
    with pytest.raises(InputError, match="the file is empty"):
        list(read_parallel(_write(tmp_path / "void", "")))
    with pytest.raises(InputError, match="damaged or cut off"):
        list(read_parallel(_write(tmp_path / "x.gz", gzip.compress(b"a\tb\n" * 99)[:-9])))
    with pytest.raises(InputError, match="damaged or cut off"):
        list(read_parallel(_write(tmp_path / "x.po.gz", gzip.compress(b'msgid "a"\nmsgstr "b"\n' * 99)[:-9])))
    with pytest.raises(InputError, match="damaged or cut off"):
        list(read_parallel(_write(tmp_path / "x.tmx.gz", gzip.compress(TMX.encode())[:90])))


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_words(line: str) -> None:
    wanted: list[str] = []
    inside = False
    for char in line:
        letter = unicodedata.category(char)[0] in "LMN" or char.isalnum()
        if letter and inside:
            wanted[-1] += char
        elif not char.isspace():
            wanted.append(char)
        inside = letter
    assert splitter("words")(line) == wanted


def test_words_of_every_mark() -> None:
    marks = [chr(code) for code in range(0x110000) if unicodedata.category(chr(code))[0] == "M"]
    assert [mark for mark in marks if splitter("words")(f"a{mark}b") != [f"a{mark}b"]] == []
    assert splitter("words")("snake_case, don't\u00a0go") == [
        "snake",
        "_",
        "case",
        ",",
        "don",
        "'",
        "t",
        "go",
    ]
    assert splitter("whitespace")("a-b  c\u00a0d") == ["a-b", "c", "d"]
    with pytest.raises(UsageError, match="words or whitespace"):
        splitter("bpe")


def test_numbers_lines_and_tokens() -> None:
    pairs = [("The dog.", "Mbwa."), ("", "x"), ("the DOG barks", "mbwa anabweka"), ("a\0", "b")]
    with pytest.warns(
        UserWarning, match="2 of 4 sentence pairs are left out: 1 with an empty side, 1 with control"
    ):
        text = number_words(pairs)
    assert text.src_words == ("the", "dog", ".", "barks")
    assert text.tgt_words == ("mbwa", ".", "anabweka")
    np.testing.assert_array_equal(text.bitext.src_ids, [0, 1, 2, 0, 1, 3])
    np.testing.assert_array_equal(text.bitext.tgt_offsets, [0, 2, 4])
    np.testing.assert_array_equal(text.lines, [0, 2])
    assert (text.n_lines, text.dropped) == (4, {"with an empty side": 1, "with control characters": 1})
    assert list(text.tokens()) == ["the dog . ||| mbwa .", "", "the dog barks ||| mbwa anabweka", ""]
    assert number_words(pairs[:1], lower=False).src_words == ("The", "dog", ".")
    assert number_words(pairs[:1], tokenize="whitespace").src_words == ("the", "dog.")


def test_rare_words_become_one() -> None:
    text = number_words([("a b a", "x <unk>"), ("a c", "x y x")], tokenize="whitespace", min_count=2)
    assert (text.src_words, text.tgt_words) == (("a", UNKNOWN), ("x", UNKNOWN))
    np.testing.assert_array_equal(text.bitext.src_ids, [0, 1, 0, 0, 1])
    np.testing.assert_array_equal(text.bitext.tgt_ids, [0, 1, 0, 1, 0])
    assert text.bitext.n_tgt_types == 2
    with pytest.raises(UsageError, match="min_count"):
        number_words([("a", "b")], min_count=0)


def test_nothing_left_and_identical_text() -> None:
    with pytest.raises(InputError, match="no sentence pair is left"):
        number_words([("", "a"), ("b", "")])
    with pytest.raises(InputError, match=r"no sentence pair is left \(got none\)"):
        number_words([])
    with pytest.warns(UserWarning, match="2 of 3 sentence pairs have the same words on both sides"):
        number_words([("a b", "a b"), ("c", "C"), ("d", "e")])


def test_from_file_to_ids(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.tsv", "a b\tx y\na b\tx y\nc\tz\n")
    with pytest.warns(UserWarning, match="1 that came before"):
        text = read_bitext(path, filters=PairFilter(duplicates=True))
    np.testing.assert_array_equal(text.lines, [0, 2])


@pytest.mark.data
def test_words_are_those_of_the_recorded_runs(shared_data: Path) -> None:
    text = read_bitext(shared_data / "parallel" / "lafand-en-swa" / "train.tsv.gz")
    sizes = (text.bitext.n_pairs, len(text.bitext.src_ids), len(text.bitext.tgt_ids))
    assert sizes == (30_782, 670_749, 662_287)
    assert (len(text.src_words), len(text.tgt_words)) == (34_294, 55_668)
