"""Word vectors: what every space offers, tables of them, and the files they come from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from align.errors import InputError, UsageError
from align.memory import require_bytes
from align.place import new_file
from align.short_repr import short_repr
from align.textfiles import missing_file
from align.vector_intake import Intake

_BLOCK = 1 << 15  # rows that are checked at once


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

    __repr__ = short_repr

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
        for start in range(0, n, _BLOCK):
            finite = np.isfinite(self.matrix[start : start + _BLOCK]).all(axis=1)
            if not finite.all():
                word = self.words[start + int(np.argmin(finite))]
                raise InputError("a vector holds NaN or infinity", got=repr(word))
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


def read_vectors(
    path: str | os.PathLike[str], *, limit: int | None = None, lower: bool = False, strict: bool = False
) -> Vectors:
    """Read word vectors; the file's name, and for ``.bin`` its first bytes, say its kind.

    Parameters
    ----------
    path : path
        ``.vec``, ``.txt`` (also ``.gz``, ``.zst``): text, one word a line, with or without a header
        ``n_words dim``; ``.bin``: a fastText model, memory-mapped, or word2vec's binary format; ``.npz``:
        arrays ``words``, ``matrix`` and, optionally, ``counts``; ``.npy``: the matrix, memory-mapped, with
        the words in a ``.words`` file of the same stem, one a line; ``.safetensors``: see
        :func:`align.safetensors_vectors.read_safetensors`, memory-mapped.
    limit : int, optional
        Keep the first ``limit`` distinct words and read no further. For a fastText model the result is then a
        table in memory.
    lower : bool
        Lower-case the words (``str.lower``); of several spellings the first, by convention the most frequent,
        is kept, as MUSE does. A fastText model then becomes a table.
    strict : bool
        Raise for the first malformed row of a text file and the first word that is not UTF-8, instead of
        leaving them out; a fastText model is read as it is.

    Returns
    -------
    WordVectors or FastTextVectors

    Raises
    ------
    InputError
        For a missing, empty, damaged or cut-off file, with its line or byte; for vectors with NaN or infinity
        in files other than text; for a table that would exceed the memory that is available.
    UsageError
        For a limit below 1.

    Warns
    -----
    UserWarning
        Once, with counts: malformed rows and words that are not UTF-8, left out; repeated words and
        spellings, of which the first is kept; vectors of zeros.
    """
    if limit is not None and limit < 1:
        raise UsageError("limit", got=limit, wanted="a positive number")
    path = existing_file(path)
    kind = _kind(path)
    require_bytes(
        _size(path, kind, n_words=limit, whole=lower),
        where=path,
        hint="Read the first words only: `limit` (on the command line --src-limit, --tgt-limit)",
    )
    if kind == "fasttext":
        from align.fasttext_vectors import open_fasttext

        model = open_fasttext(path)
        return model if limit is None and not lower else model.table(limit, lower=lower)
    intake = Intake(path, limit, lower, strict)
    counts = None
    if kind == "text":
        from align.text_vectors import read_text_vectors

        matrix = read_text_vectors(path, intake)
    elif kind == "word2vec":
        from align.word2vec_vectors import read_word2vec

        matrix = read_word2vec(path, intake)
    elif kind == "npz":
        from align.array_vectors import read_npz

        matrix, counts = read_npz(path, intake)
    elif kind == "npy":
        from align.array_vectors import read_npy

        matrix, counts = read_npy(path, intake)
    else:
        from align.safetensors_vectors import read_safetensors

        matrix, counts = read_safetensors(path, intake)
    intake.report(n_zero=int(np.count_nonzero(~matrix.any(axis=1))))
    try:
        return WordVectors(tuple(intake.words), matrix, counts)
    except InputError as error:
        raise InputError(error.what, got=error.got, wanted=error.wanted, where=path) from error


def write_vectors(vectors: WordVectors, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write words and vectors whole or not at all; reading them again gives the same float32 values.

    Parameters
    ----------
    path : path
        ``.npz``, ``.safetensors``: words, matrix and counts. ``.npy`` with a ``.words`` file, ``.bin``
        (word2vec) and ``.vec``, ``.txt`` (text with header): words and matrix.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    UsageError
        For another suffix.
    InputError
        If a word cannot be expressed: spaces and line breaks in ``.vec``, ``.txt`` and ``.bin``, line breaks
        in ``.words``, what is not Unicode anywhere.
    OutputError
        If the file exists and `overwrite` is off, or it cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    check_words(vectors, suffix)
    with new_file(path, overwrite=overwrite) as partial:
        if suffix in (".vec", ".txt"):
            from align.text_vectors import write_text

            write_text(vectors, partial)
        elif suffix == ".bin":
            from align.word2vec_vectors import write_word2vec

            write_word2vec(vectors, partial)
        elif suffix == ".npz":
            from align.array_vectors import write_npz

            write_npz(vectors, partial)
        elif suffix == ".npy":
            from align.array_vectors import write_npy, write_words

            with new_file(path.with_suffix(".words"), overwrite=overwrite) as partial_words:
                write_words(vectors, partial_words)
                write_npy(vectors, partial)
        elif suffix == ".safetensors":
            from align.safetensors_vectors import write_safetensors

            write_safetensors(vectors, partial)
        else:
            raise UsageError(
                "unknown kind of vector file", got=suffix, wanted=".npz .safetensors .npy .bin .vec or .txt"
            )


def check_words(vectors: Vectors, suffix: str) -> None:
    """Make sure, before any long work, that a file of this suffix can hold the words.

    Raises
    ------
    InputError
        See :func:`write_vectors`.
    """
    spaced = suffix in (".vec", ".txt", ".bin")
    forbidden = " \t\r\n" if spaced else "\r\n" if suffix == ".npy" else ""
    for word in vectors.words:
        lost = any("\ud800" <= c <= "\udfff" for c in word) or (suffix == ".npz" and word.endswith("\0"))
        if lost or (spaced and not word) or not set(word).isdisjoint(forbidden):
            raise InputError(
                f"a {suffix} file cannot hold this word", got=repr(word), hint="Write .safetensors or .npz"
            )


def estimate_bytes(path: str | os.PathLike[str], limit: int | None = None) -> int:
    """Memory that :func:`read_vectors` would take, in bytes, from the header alone.

    What stays on disk (a fastText model, float32 of ``.npy`` and ``.safetensors``) counts for its words only.
    For text without a header the number of rows is estimated from the first 256 KiB.

    Raises
    ------
    InputError
        As :func:`read_vectors`.
    """
    path = existing_file(path)
    return _size(path, _kind(path), n_words=limit)


def _kind(path: Path) -> str:
    name = path.name.lower()
    if name.endswith((".bin", ".ftz")):
        with path.open("rb") as file:
            start = file.read(64)
        head = start.split(b"\n", 1)[0].split()
        return "word2vec" if len(head) == 2 and all(part.isdigit() for part in head) else "fasttext"
    if any(name.endswith((f".vec{c}", f".txt{c}")) for c in ("", ".gz", ".zst")):
        return "text"
    kind = name.rpartition(".")[2]
    if kind in ("npz", "npy", "safetensors"):
        return kind
    raise InputError(
        "unknown kind of vector file",
        where=path,
        got=path.suffix or name,
        wanted=".vec .txt .bin .npz .npy or .safetensors",
        hint="Unpack it first" if kind in ("gz", "zst", "zip") else None,
    )


def _size(path: Path, kind: str, *, n_words: int | None, whole: bool = False) -> int:
    if kind == "fasttext":
        from align.fasttext_vectors import fasttext_size

        return fasttext_size(path, whole=whole or n_words is not None).n_bytes(n_words)
    if kind == "text":
        from align.text_vectors import text_size

        return text_size(path).n_bytes(n_words)
    if kind == "word2vec":
        from align.word2vec_vectors import word2vec_size

        return word2vec_size(path).n_bytes(n_words)
    if kind == "safetensors":
        from align.safetensors_vectors import safetensors_size

        return safetensors_size(path).n_bytes(n_words)
    from align.array_vectors import npy_size, npz_size

    return (npz_size if kind == "npz" else npy_size)(path).n_bytes(n_words)


def existing_file(path: str | os.PathLike[str]) -> Path:
    """The path of a file that exists and is not empty.

    Raises
    ------
    InputError
        If it does not exist, is a directory, cannot be read or is empty.
    """
    path = Path(path)
    if not path.is_file():
        if path.is_dir():
            raise InputError("a directory where a file was expected", where=path)
        raise missing_file(path)
    if not os.access(path, os.R_OK):
        raise InputError("the file cannot be read", where=path, hint="Check its permissions")
    if path.stat().st_size == 0:
        raise InputError("the file is empty", where=path)
    return path


def as_bytes(string: str | bytes) -> bytes:
    """UTF-8 bytes of a string."""
    return string if isinstance(string, bytes) else string.encode("utf-8", "surrogatepass")
