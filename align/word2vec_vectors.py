"""word2vec's binary format: ``n dim``, then every word, a space and its numbers as they lie in memory.

Mikolov's program writes a line break after each vector and gensim does not; both are read.
"""

from __future__ import annotations

import mmap
import re
from pathlib import Path

import numba as nb
import numpy as np
from numpy.typing import NDArray

from align.errors import InputError
from align.vector_intake import Intake, VectorSize
from align.vectors import WordVectors, existing_file

_HEADER = re.compile(rb"([0-9]{1,15})[ \t]+([0-9]{1,9})[ \t]*\r?\n")
_MAX_WORD_BYTES = 1 << 14
_BATCH = 1 << 15


@nb.njit(cache=True)
def _scan(
    data: NDArray[np.uint8], at: int, row_bytes: int, starts: NDArray[np.int64], stops: NDArray[np.int64]
) -> tuple[int, int]:
    """Where the words of the next ``len(starts)`` rows lie; how many are whole, and where the next begins."""
    for i in range(starts.size):
        while at < data.size and data[at] == 10:
            at += 1
        begin = at
        while at < data.size and data[at] != 32 and at - begin < _MAX_WORD_BYTES:
            at += 1
        if at + 1 + row_bytes > data.size or data[at] != 32:
            return i, begin
        starts[i], stops[i] = begin, at
        at += 1 + row_bytes
    return starts.size, at


@nb.njit(cache=True)
def _copy_rows(data: NDArray[np.uint8], starts: NDArray[np.int64], rows: NDArray[np.uint8]) -> None:
    for i in range(starts.size):
        for j in range(rows.shape[1]):
            rows[i, j] = data[starts[i] + j]


def word2vec_size(path: Path) -> VectorSize:
    """Rows and width, from the header.

    Raises
    ------
    InputError
        If there is no header, or the file is too short for what it says.
    """
    return _header(existing_file(path))[0]


def _header(path: Path) -> tuple[VectorSize, int]:
    with path.open("rb") as file:
        match = _HEADER.match(file.read(64))
    if match is None:
        raise InputError("not a word2vec .bin file", where=path, wanted="a first line `n_words dim`")
    n_rows, dim = int(match[1]), int(match[2])
    if n_rows < 1 or dim < 1:
        raise InputError("the header is wrong", where=f"{path}:byte 0", got=match[0].decode().strip())
    got, least = path.stat().st_size, match.end() + n_rows * (1 + 4 * dim)
    if got < least:
        raise InputError(
            "the file is cut off",
            where=f"{path}:byte {got}",
            got=f"{got} bytes",
            wanted=f"more than {least} for {n_rows} words of {dim} numbers",
            hint="Copy or download it again",
        )
    return VectorSize(n_rows, dim), match.end()


def read_word2vec(path: Path, intake: Intake) -> NDArray[np.float32]:
    """Read a word2vec ``.bin`` file; ``intake`` says which rows are kept.

    Parameters
    ----------
    path : Path
        Numbers are little-endian float32.

    Returns
    -------
    ndarray of float32, shape (len(intake.words), dim)

    Raises
    ------
    InputError
        With the byte where the file is cut off or damaged.

    Notes
    -----
    The file is memory-mapped and read up to the last word that is wanted; memory is that of the result.
    """
    size, at = _header(path)
    with path.open("rb") as file:
        # not closed by hand: it goes with its last view, which an error's traceback may hold for a while
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    matrix, n, at = _rows(path, mapped, at, size, intake)
    if n == size.n_rows and (rest := mapped[at : at + 256].strip(b"\r\n \0")):
        raise InputError(
            "bytes are left after the last vector",
            where=f"{path}:byte {at}",
            got=rest[:16],
            wanted=f"{size.n_rows} words of {size.dim} numbers, as the header says",
        )
    return matrix


def _rows(
    path: Path, mapped: mmap.mmap, at: int, size: VectorSize, intake: Intake
) -> tuple[NDArray[np.float32], int, int]:
    data, row_bytes, n = np.frombuffer(mapped, np.uint8), 4 * size.dim, 0
    capacity = size.n_rows if intake.limit is None else min(size.n_rows, intake.limit)
    matrix = np.empty((capacity, size.dim), "<f4")
    while n < size.n_rows and not intake.full:
        room = intake.room
        starts = np.empty(min(size.n_rows - n, _BATCH if room is None else min(room, _BATCH)), np.int64)
        stops = np.empty_like(starts)
        n_whole, at = _scan(data, at, row_bytes, starts, stops)
        if n_whole < len(starts):
            raise InputError(
                "the file is damaged or cut off",
                where=f"{path}:byte {at}",
                got=f"{n + n_whole} words",
                wanted=f"{size.n_rows} words of {size.dim} numbers",
                hint="Copy or download it again",
            )
        places = [f"byte {start}" for start in starts.tolist()]
        taken = len(intake.words)
        kept = intake.take(
            [mapped[a:b] for a, b in zip(starts.tolist(), stops.tolist(), strict=True)], places
        )
        rows = matrix[taken : taken + len(kept)]
        _copy_rows(data, stops[kept] + 1, rows.view(np.uint8))
        n += n_whole
    return matrix[: len(intake.words)].astype(np.float32, copy=False), n, at


def write_word2vec(vectors: WordVectors, path: Path) -> None:
    """Write word2vec's binary format, with line breaks; whatever reads either kind reads it."""
    with path.open("wb") as out:
        out.write(f"{len(vectors)} {vectors.dim}\n".encode())
        for word, row in zip(vectors.words, vectors.matrix.astype("<f4", copy=False), strict=True):
            out.write(word.encode() + b" " + row.tobytes() + b"\n")
