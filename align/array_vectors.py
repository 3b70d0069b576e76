"""Word vectors as numpy arrays: .npz, read row by row, and .npy with .words, memory-mapped."""

from __future__ import annotations

import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from align.errors import InputError
from align.textfiles import iter_lines
from align.vector_intake import Intake, VectorSize
from align.vectors import WordVectors

_BATCH = 1 << 15
# what numpy and zipfile raise for files that are damaged, encrypted or of another kind
_DAMAGE = (
    ValueError, OSError, EOFError, KeyError, IndexError, TypeError, RuntimeError, OverflowError, SyntaxError,
    struct.error, zlib.error, zipfile.BadZipFile, tokenize.TokenError,
)  # fmt: skip
_Matrix = tuple[NDArray[np.float32], NDArray[np.int64] | None]


class _Array:
    """One array of numpy's format in a stream, read forwards by rows."""

    def __init__(self, stream: IO[bytes], n_bytes: int) -> None:
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"version {version} of numpy's format")
        read = np.lib.format.read_array_header_1_0 if version[0] == 1 else np.lib.format.read_array_header_2_0
        self.shape, self.fortran, self.dtype = read(stream)
        if self.dtype.hasobject:
            raise ValueError("an array of Python objects")
        if any(type(n) is not int or n < 0 for n in self.shape):
            raise ValueError(f"shape {self.shape}")
        self.offset = stream.tell()
        if self.offset + math.prod(self.shape) * self.dtype.itemsize > n_bytes:
            raise ValueError(f"cut off: {n_bytes} bytes do not hold {self.shape} of {self.dtype}")
        self._stream, self._left = stream, self.shape[0] if self.shape else 0

    def read(self, n: int) -> NDArray[Any]:
        """The next n rows, fewer at the end."""
        n = min(n, self._left)
        row_shape = self.shape[1:]
        n_bytes = n * math.prod(row_shape) * self.dtype.itemsize
        data = self._stream.read(n_bytes)
        if len(data) < n_bytes:
            raise ValueError("cut off inside an array")
        self._left -= n
        return (
            np.frombuffer(data, self.dtype).reshape(n, *row_shape) if n_bytes else np.empty((n, *row_shape))
        )


def _npz_array(archive: zipfile.ZipFile, name: str) -> _Array:
    info = archive.getinfo(f"{name}.npy")
    return _Array(archive.open(info), info.file_size)


def npz_size(path: Path) -> VectorSize:
    """Rows and width of a ``.npz`` file."""
    try:
        with zipfile.ZipFile(path) as archive:
            words, matrix, _ = _npz_arrays(archive, path)
            return VectorSize(words.shape[0], matrix.shape[1])
    except _DAMAGE as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(
        "not a readable .npz file", where=path, got=error, wanted="plain arrays: words as text, not objects"
    )


def read_npz(path: Path, intake: Intake) -> _Matrix:
    """Read arrays ``words`` (n,), ``matrix`` (n, dim) and, optionally, ``counts`` (n,), up to the last row
    that is wanted.

    Raises
    ------
    InputError
        For a file that is damaged, lacks an array, or holds others than words and numbers.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            words, matrix, names = _npz_arrays(archive, path)
            batches = iter(lambda: words.read(_BATCH).tolist(), [])
            rows = _take(batches, intake)
            if matrix.fortran:
                flat = np.frombuffer(matrix._stream.read(), matrix.dtype)
                table = flat.reshape(matrix.shape[::-1]).T[rows].astype(np.float32)
            else:
                table = _pick(matrix.read, rows, matrix.shape[1])
            counts = None
            if "counts" in names:
                array = _npz_array(archive, "counts")
                if array.shape != words.shape or array.dtype.kind not in "iuf":
                    raise InputError(
                        "counts do not fit the words",
                        where=path,
                        got=f"{array.dtype} {array.shape}",
                        wanted=f"whole numbers {words.shape}",
                    )
                with np.errstate(invalid="ignore"):
                    counts = array.read(int(rows.max(initial=-1)) + 1)[rows].astype(np.int64)
            return table, counts
    except _DAMAGE as error:
        raise _unreadable(path, error) from error


def _npz_arrays(archive: zipfile.ZipFile, path: Path) -> tuple[_Array, _Array, list[str]]:
    names = sorted(name.removesuffix(".npy") for name in archive.namelist())
    if not {"words", "matrix"} <= set(names):
        raise InputError("arrays are missing", where=path, got=names, wanted="words and matrix")
    words, matrix = _npz_array(archive, "words"), _npz_array(archive, "matrix")
    fit = len(words.shape) == 1 and len(matrix.shape) == 2 and words.shape[0] == matrix.shape[0]
    if not fit or words.dtype.kind not in "US" or matrix.dtype.kind not in "fiu" or 0 in matrix.shape:
        raise InputError(
            "words and matrix do not fit",
            where=path,
            got=f"words {words.dtype} {words.shape}, matrix {matrix.dtype} {matrix.shape}",
            wanted="text (n,) and numbers (n, dim)",
        )
    return words, matrix, names


def _take(batches: Iterator[Sequence[str | bytes]], intake: Intake) -> NDArray[np.int64]:
    """Rows that are kept, from their words in the order of the file."""
    kept, n = [np.empty(0, np.int64)], 0
    for batch in batches:
        places = [f"row {row}" for row in range(n, n + len(batch))]
        kept.append(intake.take(batch, places) + n)
        n += len(batch)
        if intake.full:
            break
    return np.concatenate(kept)


def _pick(read: Callable[[int], NDArray[Any]], rows: NDArray[np.int64], dim: int) -> NDArray[np.float32]:
    """Ascending ``rows`` of what ``read`` gives batch by batch."""
    out = np.empty((len(rows), dim), np.float32)
    stop = int(rows[-1]) + 1 if len(rows) else 0
    for first in range(0, stop, _BATCH):
        batch = read(min(_BATCH, stop - first))
        begin, end = np.searchsorted(rows, (first, first + len(batch)))
        with np.errstate(over="ignore"):  # an infinity is refused later, with its word
            out[begin:end] = batch[rows[begin:end] - first]
    return out


def _npy_array(path: Path) -> _Array:
    try:
        with path.open("rb") as file:
            array = _Array(file, path.stat().st_size)
    except _DAMAGE as error:
        raise InputError("not a readable .npy file", where=path, got=error) from error
    if len(array.shape) != 2 or 0 in array.shape or array.dtype.kind not in "fiu":
        raise InputError(
            "not a matrix of numbers",
            where=path,
            got=f"{array.dtype} {array.shape}",
            wanted="numbers (n, dim)",
        )
    return array


def npy_size(path: Path) -> VectorSize:
    """Rows and width of a ``.npy`` file; float32 stays on disk."""
    array = _npy_array(path)
    n_rows, dim = array.shape
    return VectorSize(n_rows, dim, mapped=array.dtype == np.float32 and not array.fortran)


def read_npy(path: Path, intake: Intake) -> _Matrix:
    """Map a ``.npy`` matrix (n, dim); its words stand in the ``.words`` file of the same stem, one a line.

    Raises
    ------
    InputError
        For files that are missing, damaged, or differ in number.
    """
    array = _npy_array(path)
    order: Literal["F", "C"] = "F" if array.fortran else "C"
    matrix: NDArray[Any] = np.memmap(path, array.dtype, "c", array.offset, array.shape, order)
    return mapped_rows(matrix, words_beside(path), intake)[0], None


def words_beside(path: Path) -> Iterator[list[str]]:
    """Lines of the ``.words`` file of the same stem, in batches."""
    lines = iter_lines(path.with_suffix(".words"), wanted="one word a line")
    return iter(lambda: list(islice(lines, _BATCH)), [])


def mapped_rows(
    matrix: NDArray[Any], batches: Iterator[Sequence[str | bytes]], intake: Intake, *, bfloat16: bool = False
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The rows whose words are taken, and their numbers; a mapped prefix of float32 is not copied."""
    rows = _take(batches, intake)
    n = len(matrix)
    if intake.n_rows > n or (intake.n_rows < n and not intake.full):
        raise InputError(
            "words and rows differ in number",
            where=intake.path,
            got=f"{intake.n_rows}{'+' * intake.full} words, {n} rows",
            wanted="a word for every row",
        )
    prefix = len(rows) > 0 and int(rows[-1]) == len(rows) - 1
    if matrix.dtype == np.float32 and prefix and matrix.flags.aligned and matrix.flags.c_contiguous:
        return np.asarray(matrix[: len(rows)]), rows
    at = 0

    def read(count: int) -> NDArray[Any]:
        nonlocal at
        batch = matrix[at : at + count]
        at += count
        return (batch.astype(np.uint32) << 16).view(np.float32) if bfloat16 else batch

    return _pick(read, rows, matrix.shape[1]), rows


def write_npz(vectors: WordVectors, path: Path) -> None:
    """Write arrays ``words``, ``matrix`` and, where there are, ``counts``."""
    arrays: dict[str, Any] = {"words": np.array(vectors.words), "matrix": vectors.matrix}
    if vectors.counts is not None:
        arrays["counts"] = vectors.counts
    with path.open("wb") as out:
        np.savez(out, **arrays)


def write_npy(vectors: WordVectors, path: Path) -> None:
    """Write the matrix; :func:`write_words` writes what belongs beside it."""
    with path.open("wb") as out:
        np.save(out, vectors.matrix, allow_pickle=False)


def write_words(vectors: WordVectors, path: Path) -> None:
    """Write the words, one a line."""
    with path.open("w", encoding="utf-8", newline="\n") as out:
        out.writelines(f"{word}\n" for word in vectors.words)
