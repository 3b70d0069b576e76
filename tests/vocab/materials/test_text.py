from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from align.errors import InputError
from align.textfiles import iter_lines
from vocab.materials.text import read_lines, read_parallel, read_parallel_tsv

# everything that some splitter takes for the end of a line, and is not one here
_INSIDE = "a\u2028b\x0bc\x0cd\x85e\rf"


def _write(path: Path, content: bytes, *, zipped: bool = False) -> Path:
    path.write_bytes(gzip.compress(content) if zipped else content)
    return path


@pytest.mark.parametrize("zipped", [False, True])
def test_lines_are_kept_one_for_one(tmp_path: Path, zipped: bool) -> None:
    content = f"\ufeffmoja\r\n\n{_INSIDE}\n mbili \n\ntatu".encode()
    # the name does not decide: a zipped file without .gz, and a plain one with it
    path = _write(tmp_path / ("plain.txt" if zipped else "zipped.txt.gz"), content, zipped=zipped)
    assert read_lines(path) == ["moja", "", _INSIDE, " mbili ", "", "tatu"]


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\ufeff")), min_size=1)
)
def test_what_was_written_is_read(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    path = tmp_path_factory.mktemp("text") / "lines.txt"
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())
    assert list(iter_lines(path)) == lines


@pytest.mark.parametrize("zipped", [False, True])
def test_not_utf8_names_file_line_and_byte(tmp_path: Path, zipped: bool) -> None:
    path = _write(tmp_path / "latin.txt", b"habari\nsawa\nna\xefve\n", zipped=zipped)
    with pytest.raises(InputError, match=r"latin.txt:3: the file is not UTF-8 \(got byte 0xef in column 3\)"):
        read_lines(path)


def test_utf16_is_named(tmp_path: Path) -> None:
    path = _write(tmp_path / "wide.txt", "habari\n".encode("utf-16"))
    with pytest.raises(InputError, match="UTF-16, not UTF-8"):
        read_lines(path)


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "the file is empty"), (b"\n \n\t\n", "every line is blank")]
)
@pytest.mark.parametrize("zipped", [False, True])
def test_nothing_in_it(tmp_path: Path, content: bytes, message: str, zipped: bool) -> None:
    path = _write(tmp_path / "void.txt", content, zipped=zipped)
    with pytest.raises(InputError, match=f"void.txt: {message}"):
        read_lines(path)


def test_no_file_and_directory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.txt: no such file"):
        read_lines(tmp_path / "gone.txt")
    with pytest.raises(InputError, match="a directory where a text file"):
        read_lines(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_not_readable(tmp_path: Path) -> None:
    path = _write(tmp_path / "closed.txt", b"x\n")
    path.chmod(0)
    with pytest.raises(InputError, match="cannot be read: Permission denied"):
        read_lines(path)


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_damaged_gzip(tmp_path: Path, damage: str) -> None:
    data = bytearray(gzip.compress(os.urandom(5000).hex().encode()))
    if damage == "cut":
        del data[len(data) // 2 :]
    else:
        data[-6] ^= 0xFF  # the checksum
    path = tmp_path / "bad.txt.gz"
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged or cut off"):
        read_lines(path)


def test_parallel(tmp_path: Path) -> None:
    src = _write(tmp_path / "a.en", b"one \ntwo\nthree\n")
    tgt = _write(tmp_path / "a.sw", b"moja\n mbili\ntatu\n", zipped=True)
    pairs = read_parallel(src, tgt)
    assert pairs.src == ["one", "two", "three"]
    assert pairs.tgt == ["moja", "mbili", "tatu"]
    assert (len(pairs), pairs.n_dropped) == (3, 0)


def test_pairs_with_an_empty_side_are_dropped_with_one_warning(tmp_path: Path) -> None:
    src = _write(tmp_path / "a.en", b"one\n\nthree\nfour\n\n")
    tgt = _write(tmp_path / "a.sw", b"moja\nmbili\n \nnne\n\n")
    with pytest.warns(UserWarning, match="dropped 3 of 5 pairs with an empty side") as caught:
        pairs = read_parallel(src, tgt)
    assert len(caught) == 1
    assert caught[0].filename == __file__  # the caller's line, not ours
    assert (pairs.src, pairs.tgt, pairs.n_dropped) == (["one", "four"], ["moja", "nne"], 3)


def test_unequal_lengths_say_both(tmp_path: Path) -> None:
    src = _write(tmp_path / "a.en", b"one\ntwo\n" * 1000)
    tgt = _write(tmp_path / "a.sw", b"moja\n")
    with pytest.raises(InputError, match=r"2,000 lines in .*a\.en and 1 in .*a\.sw"):
        read_parallel(src, tgt)


def test_no_pair_left(tmp_path: Path) -> None:
    src = _write(tmp_path / "a.en", b"one\n\n")
    tgt = _write(tmp_path / "a.sw", b"\nmbili\n")
    with pytest.raises(InputError, match="no sentence pair has text on both sides"):
        read_parallel(src, tgt)


@pytest.mark.parametrize("zipped", [False, True])
def test_tsv(tmp_path: Path, zipped: bool) -> None:
    path = _write(tmp_path / "a.tsv", b"one\tmoja\ntwo\tmbili\tCC-BY\n", zipped=zipped)
    pairs = read_parallel_tsv(path)
    assert (pairs.src, pairs.tgt) == (["one", "two"], ["moja", "mbili"])


def test_tsv_empty_sides(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.tsv", b"one\tmoja\n\n\tmbili\ntwo\t\n")
    with pytest.warns(UserWarning, match="dropped 3 of 4 pairs"):
        assert len(read_parallel_tsv(path)) == 1


def test_tsv_without_a_tab(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.tsv", b"one\tmoja\ntwo mbili\n")
    with pytest.raises(InputError, match=r"a\.tsv:2: no tab in the line"):
        read_parallel_tsv(path)


@pytest.mark.data
def test_real_files(shared_data: Path) -> None:
    flores = shared_data / "parallel" / "flores200-devtest"
    assert len(read_parallel(flores / "eng_Latn.txt.gz", flores / "swh_Latn.txt.gz")) == 1012
    assert len(read_parallel_tsv(shared_data / "parallel" / "lafand-en-swa" / "train.tsv.gz")) > 30_000
