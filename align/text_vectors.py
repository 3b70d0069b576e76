"""Word vectors in text, read in blocks of bytes whose numbers a numba kernel parses."""

from __future__ import annotations

import contextlib
import itertools
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numba as nb
import numpy as np
from numpy.typing import NDArray

from align.errors import InputError
from align.textfiles import DamagedFile, open_binary
from align.vector_intake import Intake, VectorSize
from align.vectors import WordVectors

_BLOCK_BYTES = 1 << 24
_MAX_LINE_BYTES = 1 << 26
_SAMPLE_BYTES = 1 << 18
_MAX_DIM = 1 << 20
_N_LINES = 16  # whose width counts where there is no header
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


def text_size(path: Path) -> VectorSize:
    """Rows and width: from the header, else estimated from the length of the first lines.

    Raises
    ------
    InputError
        If the first lines are not word vectors, or a compressed file is damaged.
    """
    n_bytes, packed = path.stat().st_size, path.name.lower().endswith((".gz", ".zst"))
    with _opened(path) as file:
        header, n_rows, dim, rest = _start(file, path)
        if header:
            return VectorSize(n_rows if packed else min(n_rows, n_bytes // (2 * dim + 1) + 1), dim)
        sample = rest + file.read(max(0, _SAMPLE_BYTES - len(rest)))
    if packed:  # the rest is taken to pack as well as the sample
        n_bytes = n_bytes * len(sample) // len(zlib.compress(sample))
    if len(sample) < _SAMPLE_BYTES:
        return VectorSize(sample.count(b"\n") + 1, dim)
    return VectorSize(int(n_bytes * max(1, sample.count(b"\n")) / len(sample)) + 1, dim)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    try:
        with open_binary(path) as file:
            yield file
    except DamagedFile as error:
        raise InputError("the compressed file is damaged or cut off", where=path, got=error) from error


def _start(file: BinaryIO, path: Path) -> tuple[bool, int, int, bytes]:
    """Whether there is a header, its number of rows, the width, and what was read beyond the header."""
    first = file.readline(_MAX_LINE_BYTES).removeprefix(b"\xef\xbb\xbf")
    columns = first.split()
    if len(columns) == 2 and all(c.isdigit() and len(c) < 16 for c in columns):
        n_rows, dim = int(columns[0]), int(columns[1])
        if not (n_rows and 0 < dim <= _MAX_DIM):
            raise InputError("the header is wrong", where=f"{path}:1", got=first.decode().strip())
        return True, n_rows, dim, b""
    lines = [first, *(file.readline(_MAX_LINE_BYTES) for _ in range(_N_LINES - 1))]
    widths = Counter(width for line in lines if (width := _n_numbers(line)))
    if not widths:
        raise InputError(
            "not a file of word vectors", where=f"{path}:1", got=f"{len(columns)} columns", wanted=">= 2"
        )
    return False, 0, widths.most_common(1)[0][0], b"".join(lines)


def _n_numbers(line: bytes) -> int:
    """Numbers at the end of a line, the first column aside; what is no number may be part of the word."""
    numbers = itertools.takewhile(_is_number, reversed(line.split()[1:]))
    return sum(1 for _ in numbers)


def read_text_vectors(path: Path, intake: Intake) -> NDArray[np.float32]:
    """Read a ``.vec`` or GloVe text file, compressed or not; ``intake`` says which rows are kept.

    Parameters
    ----------
    path : Path
        UTF-8, one word a line with its numbers, columns separated by spaces or tabs. The first line may be a
        header ``n_words dim``; without one the commonest width among the first lines counts. The numbers are
        the last ``dim`` columns, so that words may hold spaces; blank lines are passed over.

    Returns
    -------
    ndarray of float32, shape (len(intake.words), dim)

    Raises
    ------
    InputError
        A header that the rows contradict, a damaged compressed file; with ``intake.strict`` also, with file
        and line, a wrong number of columns, what is not a number, NaN or infinity, a word that is not UTF-8.

    Notes
    -----
    One pass in blocks of 16 MiB, up to the last word that is wanted; memory is that of the result.
    """
    with _opened(path) as file:
        header, n_rows, dim, rest = _start(file, path)
        return _read(file, path, intake, n_rows if header else None, dim, rest)


def _read(
    file: BinaryIO, path: Path, intake: Intake, n_rows: int | None, dim: int, rest: bytes
) -> NDArray[np.float32]:
    n_bytes, n_read = path.stat().st_size, len(rest)
    plain_bound = n_bytes // (2 * dim + 1) + 1  # a number needs two bytes at least
    wanted = min(n_rows or 0, intake.limit or 1 << 62)
    matrix = np.empty((min(plain_bound, wanted), dim), np.float32)
    line_no, n_lines = 1 if n_rows is None else 2, 0
    while not intake.full:
        block = file.read(_BLOCK_BYTES)
        text, n_read = rest + block, n_read + len(block)
        if not text:
            break
        cut = text.rfind(b"\n") + 1 if block else len(text)
        if block and not cut:
            if len(text) > _MAX_LINE_BYTES:
                raise InputError("a line of more than 64 MiB", where=f"{path}:{line_no}")
            rest = text
            continue
        text, rest = (text[:cut], text[cut:]) if block else (text + b"\n" * (text[-1:] != b"\n"), b"")
        data = np.frombuffer(text, np.uint8)
        bounds = np.concatenate([np.zeros(1, np.int64), np.flatnonzero(data == 10) + 1])
        while len(bounds) > 1 and not intake.full:
            taken, room = len(intake.words), intake.room
            some = bounds if room is None else bounds[: room + 1]
            n = len(some) - 1
            if taken + n > len(matrix):
                whole = int(1.05 * (taken + n) * n_bytes / n_read)  # too few if it is compressed
                if intake.limit is not None:
                    whole = min(whole, intake.limit)
                bigger = np.empty((max(whole, taken + n, 3 * taken // 2), dim), np.float32)
                bigger[:taken] = matrix[:taken]
                matrix = bigger
            rows = matrix[taken : taken + n]
            words, places = _parse(text, data, some, rows, intake, line_no)
            kept = intake.take(words, places)
            if len(kept) < n:
                rows[: len(kept)] = rows[kept]
            n_lines += len(words)
            line_no += n
            bounds = bounds[n:]
    if n_rows is not None and n_lines not in (0, n_rows) and not intake.full:
        raise InputError(
            "the header contradicts the file",
            where=f"{path}:1",
            got=f"{n_lines} rows",
            wanted=f"{n_rows} rows",
            hint="The file may be cut off; correct the header if it is whole",
        )
    return matrix[: len(intake.words)]


def _parse(
    text: bytes,
    data: NDArray[np.uint8],
    bounds: NDArray[np.int64],
    rows: NDArray[np.float32],
    intake: Intake,
    line_no: int,
) -> tuple[list[bytes | None], Sequence[int]]:
    """Words of the lines between `bounds`, None for a malformed one, and line numbers; fills `rows`."""
    stops = np.empty(len(bounds) - 1, np.int64)
    _parse_lines(data, bounds, _POWERS, rows, stops)
    words: list[bytes | None] = []
    blank = []
    for i, (start, stop) in enumerate(zip(bounds[:-1].tolist(), stops.tolist(), strict=True)):
        if stop >= 0:
            words.append(text[start:stop])
            continue
        line = text[start : bounds[i + 1]]
        if not line.strip():
            blank.append(i)
            continue
        try:
            word, rows[i] = _parse_line(line, rows.shape[1], f"{intake.path}:{line_no + i}")
            words.append(word)
        except InputError as error:
            intake.malformed(error)
            words.append(None)
    places: Sequence[int] = range(line_no, line_no + len(stops))
    if blank:
        full = np.delete(np.arange(len(stops)), blank)
        rows[: len(full)] = rows[full]
        places = (line_no + full).tolist()
    return words, places


def write_text(vectors: WordVectors, path: Path) -> None:
    """Write text with a header, nine digits a number, which is float32 exactly."""
    row_format = " ".join(["%.9g"] * vectors.dim)
    with path.open("w", encoding="utf-8", newline="\n") as out:
        out.write(f"{len(vectors)} {vectors.dim}\n")
        for word, row in zip(vectors.words, vectors.matrix, strict=True):
            out.write(f"{word} {row_format % tuple(row.tolist())}\n")
