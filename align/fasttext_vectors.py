"""fastText models, opened without loading them: the .bin file is memory-mapped and n-grams are hashed here.

Bojanowski et al. (2017), "Enriching Word Vectors with Subword Information": the vector of a string is the
mean of its own row, where it is in the vocabulary, and of the rows of its character n-grams. The n-grams of
``<word>`` are hashed into a fixed number of buckets, so every string has a vector.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from align.errors import InputError
from align.fasttext_kernels import build_table, find_strings, mean_rows, scan_dictionary
from align.vector_intake import Intake, VectorSize
from align.vectors import WordVectors, as_bytes, existing_file

_MAGIC, _VERSIONS = 793712314, (11, 12)
_HEADER = struct.Struct("<14i d i i i q q")  # magic, version, 12 arguments, t, then the dictionary's sizes
_SUPERVISED = 3
_BATCH = 1 << 15
_END_OF_SENTENCE = b"</s>"


def _joined(strings: Sequence[bytes], left: bytes = b"", right: bytes = b"") -> tuple[NDArray, NDArray]:
    lengths = np.fromiter((len(s) for s in strings), np.int64, len(strings)) + len(left) + len(right)
    text = np.frombuffer(b"".join(left + s + right for s in strings), np.uint8)
    return text, np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])


class FastTextVectors:
    """A fastText model as vectors for any string, read from disk row by row as strings are asked for.

    Made by :func:`open_fasttext` or :func:`align.fasttext_training.train_fasttext`.

    Attributes
    ----------
    path : Path
    dim, n_words, n_buckets, min_n, max_n : int
        Width, vocabulary size, hash buckets, shortest and longest n-gram in characters.
    counts : ndarray of int64, shape (n_words,)
        Occurrences in the training text.
    """

    def __init__(
        self,
        path: Path,
        *,
        data: NDArray[np.uint8],
        starts: NDArray[np.int64],
        lengths: NDArray[np.int64],
        counts: NDArray[np.int64],
        matrix: NDArray[np.float32],
        min_n: int,
        max_n: int,
    ) -> None:
        self.path, self.counts, self.min_n, self.max_n = path, counts, min_n, max_n
        self.n_words, self.dim = len(counts), matrix.shape[1]
        self.n_buckets = matrix.shape[0] - self.n_words
        self._data, self._starts, self._lengths, self._matrix = data, starts, lengths, matrix

    def __repr__(self) -> str:
        return f"FastTextVectors({str(self.path)!r}, n_words={self.n_words}, dim={self.dim})"

    @property
    def has_subwords(self) -> bool:
        """Whether strings that are not words have vectors too."""
        return self.max_n > 0

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The vocabulary, most frequent first; bytes that are not UTF-8 become U+FFFD."""
        return tuple(
            self._data[start : start + length].tobytes().decode("utf-8", "replace")
            for start, length in zip(self._starts[: self.n_words], self._lengths[: self.n_words], strict=True)
        )

    @cached_property
    def _slots(self) -> NDArray[np.int32]:
        n_slots = 1 << max(4, (2 * self.n_words).bit_length())
        return build_table(self._data, self._starts, self._lengths, self.n_words, n_slots)

    def indices_of(self, strings: Sequence[str | bytes]) -> NDArray[np.int64]:
        """Vocabulary index of every string, -1 where it is not a word of the vocabulary."""
        text, bounds = _joined([as_bytes(s) for s in strings])
        return find_strings(self._data, self._starts, self._lengths, self._slots, text, bounds)

    def vectors_of(self, strings: Sequence[str | bytes]) -> NDArray[np.float32]:
        """Vectors of any strings, from the rows of the word and of its n-grams.

        Parameters
        ----------
        strings : sequence of str or UTF-8 bytes

        Returns
        -------
        ndarray of float32, shape (len(strings), dim)
            A row of zeros where a string has neither a row nor an n-gram.

        Raises
        ------
        InputError
            If a row that is touched holds NaN or infinity.

        Notes
        -----
        Only the touched rows are read: about ``4 * dim`` bytes for each n-gram.
        """
        texts = [as_bytes(s) for s in strings]
        inner, inner_bounds = _joined(texts)
        ids = find_strings(self._data, self._starts, self._lengths, self._slots, inner, inner_bounds)
        marked, bounds = _joined(texts, b"<", b">")
        whole = np.fromiter((t == _END_OF_SENTENCE for t in texts), np.bool_, len(texts))
        out = mean_rows(
            self._matrix, ids, whole, marked, bounds, self.n_words, self.n_buckets, self.min_n, self.max_n
        )
        finite = np.isfinite(out).all(axis=1)
        if not finite.all():
            bad = texts[int(np.argmin(finite))].decode("utf-8", "replace")
            raise InputError("the model holds NaN or infinity", where=self.path, got=f"vector of {bad!r}")
        return out

    def table(self, limit: int | None = None, *, lower: bool = False) -> WordVectors:
        """The most frequent ``limit`` words with their vectors as an array; other strings still resolve.

        Parameters
        ----------
        lower : bool
            Lower-case the words; the first spelling of each is kept.

        Warns
        -----
        UserWarning
            Once, with counts, for words that are not UTF-8, left out, and spellings that were dropped.
        """
        intake, kept, texts = Intake(self.path, limit, lower), [np.empty(0, np.int64)], []
        for first in range(0, self.n_words, _BATCH):
            entries = range(first, min(first + _BATCH, self.n_words))
            words = [self._word(entry) for entry in entries]
            kept.append(intake.take(words, [f"entry {entry}" for entry in entries]) + first)
            texts += [words[i - first] for i in kept[-1].tolist()]
            if intake.full:
                break
        matrix, rows = self.vectors_of(texts), np.concatenate(kept)
        intake.report(n_zero=int(np.count_nonzero(~matrix.any(axis=1))))
        return WordVectors(tuple(intake.words), matrix, counts=self.counts[rows], subword=self)

    def _word(self, entry: int) -> bytes:
        start = self._starts[entry]
        return self._data[start : start + self._lengths[entry]].tobytes()


def fasttext_size(path: Path, *, whole: bool) -> VectorSize:
    """Words and width of a model, from its header.

    Parameters
    ----------
    whole : bool
        Whether a table of its words is wanted, which does not stay on disk.
    """
    fields = _header(np.memmap(existing_file(path), np.uint8, mode="r"), path)
    return VectorSize(fields[16], fields[2], mapped=not whole)


def _header(data: NDArray[np.uint8], path: Path) -> tuple[Any, ...]:
    if data.size < 4 or int(data[:4].view("<i4")[0]) != _MAGIC:
        raise InputError(
            "not a fastText model",
            where=path,
            wanted="a .bin file of fastText, or of word2vec with a first line `n_words dim`",
        )
    if data.size < _HEADER.size:
        raise _truncated(path, data.size, _HEADER.size)
    fields = _HEADER.unpack(data[: _HEADER.size].tobytes())
    version, dim, n_entries, n_words = fields[1], fields[2], fields[15], fields[16]
    if version not in _VERSIONS:
        raise InputError("unknown version of the fastText format", where=path, got=version, wanted=_VERSIONS)
    if dim < 1 or not 1 <= n_words <= n_entries:
        raise InputError(
            "the header is wrong", where=path, got=f"{n_words} of {n_entries} entries are words, dim {dim}"
        )
    if _HEADER.size + 10 * n_entries > data.size:
        raise _truncated(path, data.size, "a whole dictionary")
    return fields


def open_fasttext(path: str | os.PathLike[str]) -> FastTextVectors:
    """Open a fastText ``.bin`` model (format version 11 or 12) without reading its matrix.

    Parameters
    ----------
    path : path of a model as ``save_model`` writes it, for example ``cc.sw.300.bin``

    Returns
    -------
    FastTextVectors
        Its vectors equal those of the library's ``get_word_vector``.

    Raises
    ------
    InputError
        For a missing file, a quantised model (``.ftz``), a file of another kind, and a truncated one.

    Notes
    -----
    Reads the header and scans the dictionary: about 50 ms for two million words. The matrix stays on disk.
    """
    path = existing_file(path)
    data = np.memmap(path, np.uint8, mode="r")
    fields = _header(data, path)
    version, dim, model = fields[1], fields[2], fields[9]
    min_n, max_n = fields[11], fields[12]
    n_entries, n_words, pruned = fields[15], fields[16], fields[19]
    if version == 11 and model == _SUPERVISED:
        max_n = 0  # such models were trained without character n-grams
    starts, lengths, counts = scan_dictionary(data, _HEADER.size, n_entries)
    if lengths[-1] < 0:
        raise _truncated(path, data.size, "a whole dictionary")
    at = int(starts[-1]) + 8 * max(pruned, 0)
    if at + 17 > data.size:
        raise _truncated(path, data.size, at + 17)
    if data[at] or pruned >= 0:
        raise InputError(
            "a quantised fastText model does not hold exact vectors", where=path, hint="Use the .bin model"
        )
    n_rows, n_cols = struct.unpack("<2q", data[at + 1 : at + 17].tobytes())
    if n_cols != dim or n_rows < n_words + (max_n > 0):
        raise InputError(
            "the matrix does not fit the header",
            where=path,
            got=f"{n_rows} x {n_cols}",
            wanted=f"... x {dim}",
        )
    end = at + 17 + 4 * n_rows * n_cols
    if data.size < end + 17:
        raise _truncated(path, data.size, end + 17)
    n_out, out_cols = struct.unpack("<2q", data[end + 1 : end + 17].tobytes())
    if not data[end] and data.size < end + 17 + 4 * n_out * out_cols:
        raise _truncated(path, data.size, end + 17 + 4 * n_out * out_cols)
    matrix = np.ndarray((n_rows, n_cols), "<f4", buffer=data, offset=at + 17)
    return FastTextVectors(
        path,
        data=data,
        starts=starts,
        lengths=lengths,
        counts=counts[:n_words],
        matrix=matrix,
        min_n=min_n,
        max_n=max_n,
    )


def _truncated(path: Path, got: int, wanted: object) -> InputError:
    size = f"{wanted} bytes" if isinstance(wanted, int) else wanted
    return InputError(
        "the fastText model is truncated",
        where=path,
        got=f"{got} bytes",
        wanted=size,
        hint="Copy or download it again",
    )
