"""Reading word vectors from text: blocks of bytes, numbers parsed by a numba kernel."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path
from typing import BinaryIO

import numba as nb
import numpy as np
from numpy.typing import NDArray

from align.errors import InputError

_BLOCK_BYTES = 1 << 24
_POWERS = np.array(
    [float(f"1e{i}") for i in range(23)]
)  # exactly representable, so one multiplication or division rounds once


@nb.njit(cache=True)
def _parse_lines(
    data: NDArray[np.uint8],
    line_starts: NDArray[np.int64],
    powers: NDArray[np.float64],
    rows: NDArray[np.float32],
    word_stops: NDArray[np.int64],
) -> None:
    """Parse ``word number ... number`` lines into ``rows``.

    ``word_stops[i]`` is where the word of line i ends, or -1 where the line is anything but one word and
    ``dim`` plain finite numbers, which the caller then reads the slow way.
    """
    dim = rows.shape[1]
    for line in range(rows.shape[0]):
        at, stop = line_starts[line], line_starts[line + 1] - 1
        word_stops[line] = -1
        while stop > at and (data[stop - 1] == 13 or data[stop - 1] == 32 or data[stop - 1] == 9):
            stop -= 1
        begin = at
        while at < stop and data[at] != 32 and data[at] != 9:
            at += 1
        word_stop = at
        if word_stop == begin:
            continue
        good = True
        for column in range(dim):
            while at < stop and (data[at] == 32 or data[at] == 9):
                at += 1
            negative = at < stop and data[at] == 45
            if at < stop and (data[at] == 45 or data[at] == 43):
                at += 1
            mantissa, n_digits, exponent, seen = np.int64(0), 0, 0, False
            point = False
            while at < stop:
                byte = data[at]
                if 48 <= byte <= 57:
                    seen = True
                    if n_digits < 15 and (mantissa > 0 or byte > 48):
                        mantissa = mantissa * 10 + (byte - 48)
                        n_digits += 1
                        exponent -= point
                    elif n_digits >= 15:
                        exponent += not point  # beyond double precision: the digit only scales
                    else:
                        exponent -= point  # a leading zero
                elif byte == 46 and not point:
                    point = True
                else:
                    break
                at += 1
            if seen and at < stop and (data[at] == 101 or data[at] == 69):
                at += 1
                down = at < stop and data[at] == 45
                if at < stop and (data[at] == 45 or data[at] == 43):
                    at += 1
                scale, any_digit = 0, False
                while at < stop and 48 <= data[at] <= 57 and scale < 1000:
                    scale = scale * 10 + (data[at] - 48)
                    any_digit = True
                    at += 1
                seen = any_digit
                exponent += -scale if down else scale
            if mantissa == 0:
                exponent = 0
            if (
                not seen
                or exponent < -22
                or exponent > 22
                or (at < stop and data[at] != 32 and data[at] != 9)
            ):
                good = False
                break
            value = mantissa / powers[-exponent] if exponent < 0 else mantissa * powers[exponent]
            rows[line, column] = np.float32(-value if negative else value)
        if good and at >= stop:
            word_stops[line] = word_stop


def _parse_line(line: bytes, dim: int, where: str) -> tuple[bytes, NDArray[np.float32]]:
    """The word and the numbers of one line; the reference of :func:`_parse_lines`.

    The numbers are the last ``dim`` columns, so a word may hold spaces, as some GloVe files have them.
    """
    columns = line.rstrip(b" \t\r\n").replace(b"\t", b" ").split(b" ")
    columns = [columns[0], *(c for c in columns[1:] if c)]
    n_words = len(columns) - dim
    surplus = [c for c in columns[1:n_words] if _is_number(c)]
    if n_words < 1 or not columns[0] or surplus:
        raise InputError(
            "wrong number of columns", where=where, got=len(columns), wanted=f"a word and {dim} numbers"
        )
    try:
        with np.errstate(over="ignore"):
            row = np.array([float(c) for c in columns[n_words:]]).astype(np.float32)
    except ValueError as error:
        raise InputError("not a number", where=where, got=error.args[0].split(": ")[-1]) from error
    if not np.isfinite(row).all():
        raise InputError("the vector holds NaN or infinity", where=where, wanted="finite float32 numbers")
    return b" ".join(columns[:n_words]), row


def _is_number(column: bytes) -> bool:
    try:
        float(column)
    except ValueError:
        return False
    return True


def read_text_vectors(path: Path, *, limit: int | None = None) -> tuple[list[str], NDArray[np.float32]]:
    """Words and matrix of a ``.vec`` or GloVe text file, gzipped or not.

    Parameters
    ----------
    path : Path
        UTF-8, one word a line with its numbers, columns separated by spaces or tabs. The first line may be a
        header ``n_words dim``.
    limit : int, optional
        Stop after so many rows.

    Returns
    -------
    words : list of str
        As they stand, repetitions included.
    matrix : ndarray of float32, shape (len(words), dim)

    Raises
    ------
    InputError
        With file and line: wrong number of columns, not a number, NaN or infinity, not UTF-8, a header that
        the rows contradict, no rows.

    Notes
    -----
    One pass in blocks of 16 MiB; memory is that of the result.
    """
    opener = gzip.open if path.name.endswith(".gz") else open
    try:
        with opener(path, "rb") as file:
            return _read(file, path, limit)  # type: ignore[arg-type]
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError("the gzip file is damaged or cut off", where=path, got=error) from error


def _read(file: BinaryIO, path: Path, limit: int | None) -> tuple[list[str], NDArray[np.float32]]:
    first = file.readline().removeprefix(b"\xef\xbb\xbf")
    columns = first.split()
    header = len(columns) == 2 and all(c.isdigit() for c in columns)
    if header:
        n_rows, dim, rest, line_no = int(columns[0]), int(columns[1]), b"", 2
        if dim < 1:
            raise InputError("the header is wrong", where=f"{path}:1", got=first.decode().strip())
    else:
        n_rows, dim, rest, line_no = None, len(columns) - 1, first, 1
        if dim < 1:
            raise InputError(
                "not a file of word vectors", where=f"{path}:1", got=f"{len(columns)} columns", wanted=">= 2"
            )
    wanted = limit if n_rows is None else n_rows if limit is None else min(n_rows, limit)
    plain_bound = os.fstat(file.fileno()).st_size // (2 * dim + 1) + 1  # a number needs two bytes at least
    capacity = min(plain_bound, 1 << 16 if wanted is None else wanted + 1)
    matrix, words, n = np.empty((capacity, dim), np.float32), [], 0
    while limit is None or n < limit:
        block = file.read(_BLOCK_BYTES)
        text = rest + block
        if not text:
            break
        cut = text.rfind(b"\n") + 1 if block else len(text)
        if block and not cut:
            rest = text
            continue
        text, rest = (text[:cut], text[cut:]) if block else (text + b"\n" * (text[-1:] != b"\n"), b"")
        data = np.frombuffer(text, np.uint8)
        ends = np.flatnonzero(data == 10) + 1
        if limit is not None:
            ends = ends[: limit - n]
        starts = np.concatenate([np.zeros(1, np.int64), ends])
        if n + len(ends) > len(matrix):
            bigger = np.empty((max(2 * len(matrix), n + len(ends)), dim), np.float32)
            bigger[:n] = matrix[:n]
            matrix = bigger
        stops = np.empty(len(ends), np.int64)
        rows = matrix[n : n + len(ends)]
        _parse_lines(data, starts, _POWERS, rows, stops)
        for i, (start, stop) in enumerate(zip(starts[:-1].tolist(), stops.tolist(), strict=True)):
            word = text[start:stop]
            if stop < 0:
                word, rows[i] = _parse_line(text[start : ends[i]], dim, f"{path}:{line_no + i}")
            try:
                words.append(word.decode("utf-8"))
            except UnicodeDecodeError as error:
                raise InputError("the word is not UTF-8", where=f"{path}:{line_no + i}", got=word) from error
        n += len(ends)
        line_no += len(ends)
        if not block:
            break
    if n == 0:
        raise InputError("the file holds no vectors", where=path)
    if n_rows is not None and n != min(n_rows, limit or n_rows):
        raise InputError(
            "the header contradicts the file",
            where=f"{path}:1",
            got=f"{n} rows",
            wanted=f"{n_rows} rows",
            hint="The file may be cut off; correct the header if it is whole",
        )
    return words, matrix[:n]
