"""Word vectors: what every space offers, tables of them, and the files they come from."""

from __future__ import annotations

import os
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from align.errors import InputError, OutputError
from align.textfiles import read_lines


class Vectors(Protocol):
    """A space of word vectors, whether a table in memory or a fastText model on disk."""

    @property
    def dim(self) -> int: ...

    @property
    def words(self) -> tuple[str, ...]: ...

    @property
    def counts(self) -> NDArray[np.int64] | None: ...

    @property
    def has_subwords(self) -> bool:
        """Whether strings that are not words have vectors too."""

    def indices_of(self, strings: Sequence[str | bytes]) -> NDArray[np.int64]:
        """Vocabulary index of every string, -1 where it is not a word of the vocabulary."""

    def vectors_of(self, strings: Sequence[str | bytes]) -> NDArray[np.float32]:
        """One row for every string, zeros where the space has none for it."""

    def table(self, limit: int | None = None) -> WordVectors:
        """The first ``limit`` words as a table in memory."""


@dataclass(frozen=True, eq=False)
class WordVectors:
    """Words and their vectors, most frequent first by convention.

    Parameters
    ----------
    words : sequence of str
        Distinct words.
    matrix : ndarray, shape (len(words), dim)
        Kept as C-contiguous float32.
    counts : ndarray of int64, shape (len(words),), optional
        Occurrences of the words in the text they were trained on.
    subword : Vectors, optional
        Gives vectors to strings that are not among the words.

    Raises
    ------
    InputError
        For shapes that do not fit, repeated words, NaN or infinity.
    """

    words: tuple[str, ...]
    matrix: NDArray[np.float32]
    counts: NDArray[np.int64] | None = None
    subword: Vectors | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "words", tuple(self.words))
        object.__setattr__(self, "matrix", np.ascontiguousarray(self.matrix, np.float32))
        if self.counts is not None:
            object.__setattr__(self, "counts", np.ascontiguousarray(self.counts, np.int64))
        n = len(self.words)
        if self.matrix.ndim != 2 or len(self.matrix) != n:
            raise InputError("words and rows differ in number", got=self.matrix.shape, wanted=f"({n}, dim)")
        if self.counts is not None and self.counts.shape != (n,):
            raise InputError("words and counts differ in number", got=self.counts.shape, wanted=(n,))
        finite = np.isfinite(self.matrix).all(axis=1)
        if not finite.all():
            raise InputError("a vector holds NaN or infinity", got=repr(self.words[int(np.argmin(finite))]))
        if len(self.index) != n:
            raise InputError(
                "a word occurs twice", got=f"{n - len(self.index)} repetitions", wanted="distinct"
            )

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return int(self.matrix.shape[1])

    @property
    def has_subwords(self) -> bool:
        """Whether strings that are not among the words have vectors too."""
        return self.subword is not None

    @cached_property
    def index(self) -> dict[str, int]:
        """Row of every word."""
        return {word: row for row, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def indices_of(self, strings: Sequence[str | bytes]) -> NDArray[np.int64]:
        """Row of every string, -1 where it is not among the words."""
        texts = (s if isinstance(s, str) else s.decode("utf-8", "surrogateescape") for s in strings)
        return np.fromiter((self.index.get(text, -1) for text in texts), np.int64, len(strings))

    def vectors_of(self, strings: Sequence[str | bytes]) -> NDArray[np.float32]:
        """One row for every string: its word's row, else what ``subword`` says, else zeros.

        Returns
        -------
        ndarray of float32, shape (len(strings), dim)
        """
        rows = self.indices_of(strings)
        out = np.zeros((len(strings), self.dim), np.float32)
        known = rows >= 0
        out[known] = self.matrix[rows[known]]
        if self.subword is not None and not known.all():
            missing = np.flatnonzero(~known)
            out[missing] = self.subword.vectors_of([strings[int(i)] for i in missing])
        return out

    def table(self, limit: int | None = None) -> WordVectors:
        """The first ``limit`` words."""
        if limit is None or limit >= len(self):
            return self
        counts = None if self.counts is None else self.counts[:limit]
        return WordVectors(self.words[:limit], self.matrix[:limit], counts, self.subword)


def read_vectors(path: str | os.PathLike[str], *, limit: int | None = None) -> Vectors:
    """Read word vectors; the file's name says its kind.

    Parameters
    ----------
    path : path
        ``.vec``, ``.txt`` (with or without a ``words dim`` header; also ``.gz``): text, one word a line;
        ``.bin``: a fastText model, memory-mapped; ``.npz``: arrays ``words``, ``matrix`` and, optionally,
        ``counts``; ``.npy``: the matrix, with the words in a ``.words`` file of the same stem, one a line.
    limit : int, optional
        Keep the first ``limit`` words. For ``.bin`` the result is then a table in memory.

    Returns
    -------
    WordVectors or FastTextVectors

    Raises
    ------
    InputError
        For a missing, empty or malformed file; text files with file and line.

    Warns
    -----
    UserWarning
        Once, if words were repeated: the first row of each is kept.
    """
    path = existing_file(path)
    name = path.name.lower()
    if name.endswith((".bin", ".ftz")):
        from align.fasttext_vectors import open_fasttext

        model = open_fasttext(path)
        return model if limit is None else model.table(limit)
    if name.endswith((".vec", ".txt", ".vec.gz", ".txt.gz")):
        from align.text_vectors import read_text_vectors

        words, matrix = read_text_vectors(path, limit=limit)
        return _distinct(words, matrix, None, path)
    if name.endswith(".npz"):
        return _distinct(*_read_npz(path, limit), path)
    if name.endswith(".npy"):
        matrix = _load_array(path)
        words = read_lines(path.with_suffix(".words"))
        if matrix.ndim != 2 or len(matrix) != len(words):
            raise InputError(
                "words and rows differ in number", where=path, got=matrix.shape, wanted=f"({len(words)}, dim)"
            )
        return _distinct(words[:limit], matrix[:limit], None, path)
    raise InputError(
        "unknown kind of vector file",
        where=path,
        got=path.suffix or name,
        wanted=".vec .txt .bin .npz or .npy",
    )


def write_vec(vectors: WordVectors, path: str | os.PathLike[str]) -> None:
    """Write a ``.vec`` text file with header; reading it again gives the same float32 values.

    Raises
    ------
    InputError
        If a word holds a space or a line break, which the format cannot express.
    OutputError
        If the file cannot be written.
    """
    for word in vectors.words:
        if not word or not set(word).isdisjoint(" \t\r\n"):
            raise InputError("a .vec file cannot hold this word", got=repr(word), wanted="no spaces inside")
    row_format = " ".join(["%.9g"] * vectors.dim)
    try:
        with open(path, "w", encoding="utf-8", newline="\n") as out:
            out.write(f"{len(vectors)} {vectors.dim}\n")
            for word, row in zip(vectors.words, vectors.matrix, strict=True):
                out.write(f"{word} {row_format % tuple(row.tolist())}\n")
    except OSError as error:
        raise OutputError("the vectors cannot be written", where=path, got=error.strerror) from error


def existing_file(path: str | os.PathLike[str]) -> Path:
    """The path of a file that exists and is not empty.

    Raises
    ------
    InputError
        If it does not exist, is a directory, cannot be read or is empty.
    """
    path = Path(path)
    if not path.is_file():
        kind = "a directory" if path.is_dir() else "nothing"
        raise InputError("no such file", where=path, got=kind, wanted="a file")
    if not os.access(path, os.R_OK):
        raise InputError("the file cannot be read", where=path, hint="Check its permissions")
    if path.stat().st_size == 0:
        raise InputError("the file is empty", where=path)
    return path


def as_bytes(string: str | bytes) -> bytes:
    """UTF-8 bytes of a string."""
    return string if isinstance(string, bytes) else string.encode("utf-8", "surrogatepass")


def _load_array(path: Path) -> NDArray[np.float32]:
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError("not a readable numpy file", where=path, got=error) from error


def _read_npz(
    path: Path, limit: int | None
) -> tuple[list[str], NDArray[np.float32], NDArray[np.int64] | None]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            missing = {"words", "matrix"} - set(arrays.files)
            if missing:
                raise InputError(
                    "arrays are missing", where=path, got=sorted(arrays.files), wanted="words and matrix"
                )
            words, matrix = arrays["words"], arrays["matrix"]
            counts = arrays["counts"][:limit] if "counts" in arrays.files else None
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            "not a readable .npz file",
            where=path,
            got=error,
            wanted="plain arrays: words as text, not objects",
        ) from error
    if words.dtype.kind not in "US" or words.ndim != 1 or matrix.ndim != 2 or len(words) != len(matrix):
        raise InputError(
            "words and matrix do not fit",
            where=path,
            got=f"words {words.dtype} {words.shape}, matrix {matrix.dtype} {matrix.shape}",
            wanted="text (n,) and numbers (n, dim)",
        )
    names = words[:limit].tolist()
    return [w if isinstance(w, str) else w.decode("utf-8") for w in names], matrix[:limit], counts


def _distinct(
    words: Sequence[str], matrix: NDArray[np.float32], counts: NDArray[np.int64] | None, path: Path
) -> WordVectors:
    """A table of the first row of every word, with one warning about the rows that were dropped."""
    first: dict[str, int] = {}
    for row, word in enumerate(words):
        first.setdefault(word, row)
    if len(first) < len(words):
        warnings.warn(
            f"{path}: {len(words) - len(first)} of {len(words)} rows repeat a word; the first is kept",
            stacklevel=3,
        )
        rows = np.fromiter(first.values(), np.int64, len(first))
        words, matrix = list(first), matrix[rows]
        counts = None if counts is None else counts[rows]
    try:
        return WordVectors(tuple(words), matrix, counts)
    except InputError as error:
        raise InputError(error.what, got=error.got, wanted=error.wanted, where=path) from error
