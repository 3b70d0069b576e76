"""word2vec's binary format, as its makers write it and damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from align.errors import InputError
from align.vectors import read_vectors
from align.word2vec_vectors import _BATCH

WORDS = [b"</s>", "日本語".encode(), b"new_york", b"don't"]
ROWS = np.random.default_rng(0).standard_normal((4, 3)).astype("<f4")


def binary(words: list[bytes], rows: np.ndarray, *, end: bytes = b"\n", header: bytes = b"") -> bytes:
    body = b"".join(word + b" " + row.tobytes() + end for word, row in zip(words, rows, strict=True))
    return (header or b"%d %d\n" % rows.shape) + body


def reference(data: bytes) -> tuple[list[bytes], np.ndarray]:
    """Read as the original program does, one byte after the other."""
    header, _, rest = data.partition(b"\n")
    n, dim = map(int, header.split())
    words, rows = [], []
    for _ in range(n):
        word, _, rest = rest.lstrip(b"\n").partition(b" ")
        words.append(word)
        rows.append(np.frombuffer(rest[: 4 * dim], "<f4"))
        rest = rest[4 * dim :]
    return words, np.array(rows)


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("end", [b"\n", b""])
@pytest.mark.parametrize("header", [b"4 3\n", b"4 3\r\n", b"4\t3 \n"])
def test_both_makers(tmp_path, end, header):
    path = write(tmp_path / "v.bin", binary(WORDS, ROWS, end=end, header=header))
    vectors = read_vectors(path)
    assert [word.encode() for word in vectors.words] == WORDS
    assert not vectors.has_subwords
    np.testing.assert_array_equal(vectors.matrix, ROWS)
    np.testing.assert_array_equal(read_vectors(path, limit=2).matrix, ROWS[:2])


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_bytes_of_numbers_are_not_taken_for_text(tmp_path, data):
    """Numbers may hold the bytes of a space or a line break anywhere."""
    n, dim = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 3))
    values = st.lists(st.sampled_from([0x20, 0x0A, 0x3F, 0x31]), min_size=4 * n * dim, max_size=4 * n * dim)
    rows = np.frombuffer(bytes(data.draw(values)), "<f4").reshape(n, dim)
    raw = binary([b"w%d" % i for i in range(n)], rows)  # a line break after each: none is part of a word
    words, expected = reference(raw)
    vectors = read_vectors(write(tmp_path / "v.bin", raw))
    assert [word.encode() for word in vectors.words] == words
    np.testing.assert_array_equal(vectors.matrix, expected)


def test_many_words_in_batches(tmp_path):
    n = _BATCH + 100
    rows = np.arange(2 * n, dtype="<f4").reshape(n, 2) + 1
    words = [b"w%d" % (i - i % 3 // 2) for i in range(n)]  # every third repeats the one before
    path = write(tmp_path / "v.bin", binary(words, rows))
    first = [i for i in range(n) if i % 3 != 2]
    with pytest.warns(UserWarning, match=f"{n - len(first)} of {n} rows repeat a word"):
        vectors = read_vectors(path)
    np.testing.assert_array_equal(vectors.matrix, rows[first])
    with pytest.warns(UserWarning, match="rows repeat a word"):
        capped = read_vectors(path, limit=20_000)
    np.testing.assert_array_equal(capped.matrix, rows[first[:20_000]])


def test_words_that_are_not_utf8_are_left_out_once(tmp_path):
    words = [b"a", b"\xff\xfe", b"caf\xe9", b"b"]
    path = write(tmp_path / "v.bin", binary(words, ROWS))
    with pytest.warns(UserWarning, match=r"2 of 4 words are not UTF-8, first .*v\.bin:byte 19") as caught:
        vectors = read_vectors(path)
    assert len(caught) == 1
    assert vectors.words == ("a", "b")
    np.testing.assert_array_equal(vectors.matrix, ROWS[[0, 3]])
    with pytest.raises(InputError, match="byte 19: the word is not UTF-8"):
        read_vectors(path, strict=True)


def test_damaged_files_name_the_byte(tmp_path):
    whole = binary(WORDS, ROWS)
    nan = ROWS.copy()
    nan[2, 1] = np.nan
    cases = {
        r"byte 40: the file is cut off": whole[:40],
        r"byte \d+: the file is damaged or cut off.*got 3 words": whole[:-6],
        r"byte 19: the file is damaged or cut off": binary([b"a", b"x" * 20_000], ROWS[:2]),
        r"bytes are left after the last vector": whole + b"more 123",
        r"damaged|bytes are left": b"4 2\n" + whole[4:],
        r"byte 0: the header is wrong": b"4 0\n" + whole[4:],
        r"not a fastText model": b"four 3\n" + whole[4:],
        r"NaN or infinity \(got 'new_york'\)": binary(WORDS, nan),
    }
    for message, data in cases.items():
        with pytest.raises(InputError, match=message) as caught:
            read_vectors(write(tmp_path / "v.bin", data))
        assert "v.bin" in str(caught.value.where)
    huge = b"999999999999999 999999999\n" + whole[4:]
    with pytest.raises(InputError, match="cut off"):
        read_vectors(write(tmp_path / "v.bin", huge), limit=1)
