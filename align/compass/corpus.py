"""Text in slices - by time, region, topic - as streams of word ids over one vocabulary."""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from align.compass.kernels import SENTENCE_END
from align.errors import InputError, UsageError
from align.short_repr import short_repr
from align.textfiles import iter_lines
from align.wordalign.reading import splitter

_BLOCK = 1 << 20
MEMORY_BYTES = 1 << 30


@dataclass(frozen=True, eq=False)
class SlicedText:
    """Slices of a text as word ids.

    Attributes
    ----------
    words : tuple of str
        The vocabulary of all slices together, most frequent first.
    names : tuple of str
        Of the slices, in order.
    streams : tuple of int32 arrays
        For each slice the ids of its words, -1 after every sentence, without words outside the vocabulary. In
        memory, or mapped from an unnamed temporary file.
    counts : int64 array, shape (n_slices, n_words)
        Occurrences of every word in every slice.
    n_read : int64 array, shape (n_slices,)
        Words of every slice before the rare ones were left out.
    """

    words: tuple[str, ...]
    names: tuple[str, ...]
    streams: tuple[NDArray[np.int32], ...]
    counts: NDArray[np.int64]
    n_read: NDArray[np.int64]

    __repr__ = short_repr

    @property
    def n_tokens(self) -> int:
        """Words of the vocabulary in all slices."""
        return int(self.counts.sum())


def number_slices(
    texts: Mapping[str, str | os.PathLike[str] | Iterable[str]] | Iterable[tuple[str, str]],
    *,
    tokenize: str = "words",
    lower: bool = True,
    min_count: int = 5,
    max_words: int | None = None,
    memory_bytes: int = MEMORY_BYTES,
) -> SlicedText:
    """Divide the lines of slices into words and number these.

    Parameters
    ----------
    texts : mapping from the name of a slice to a file or its lines, or pairs (name, line) in any order
        A line is a sentence or a paragraph. Files are UTF-8, plain, gzip or Zstandard.
    tokenize : {"words", "whitespace"}
        ``words``: runs of letters, marks and digits; punctuation is passed over. ``whitespace``: whatever
        stands between white space.
    lower : bool
        Lower-case all text.
    min_count : int
        Words of fewer occurrences in all slices together are left out.
    max_words : int, optional
        Keep the most frequent words only.
    memory_bytes : int
        Beyond this much the ids go to a temporary file (in ``$TMPDIR``).

    Returns
    -------
    SlicedText
        Words of equal count in the order of their first occurrence.

    Raises
    ------
    InputError
        For a slice without words, or without one that is frequent enough, and as
        :func:`align.textfiles.iter_lines`.
    UsageError
        For fewer than two slices and options out of range.

    Notes
    -----
    The text is read once. Memory: the vocabulary before rare words are left out, and 4 bytes a word of the
    text up to `memory_bytes`; the same on disk beyond.
    """
    if min_count < 1 or (max_words is not None and max_words < 1):
        raise UsageError(
            "option out of range", got=(min_count, max_words), wanted="min_count, max_words >= 1"
        )
    words_of = _words_of(tokenize)
    numbers = _Numbers()
    streams: dict[str, _Stream] = {}
    with ExitStack() as files:
        if isinstance(texts, Mapping):
            streams = {str(name): _Stream(files) for name in texts}
            texts = _lines_of(texts)
        held = 0
        for name, line in texts:
            stream = streams.get(name)
            if stream is None:
                stream = streams[name] = _Stream(files)
            words = words_of(line.lower() if lower else line)
            if not words:
                continue
            stream.ids.extend(map(numbers.__getitem__, words))
            stream.ids.append(SENTENCE_END)
            held += 4 * len(words) + 4
            if held > memory_bytes:
                for other in streams.values():
                    other.flush()
                held = 0
        if len(streams) < 2:
            raise UsageError("slices are compared", got=f"{len(streams)} slice", wanted="two or more")
        raw = {name: stream.finish() for name, stream in streams.items()}
    for name, ids in raw.items():
        if not len(ids):
            raise InputError("a slice without words", where=name, hint="Leave it out, or make slices longer")
    counts = np.stack([_counts(ids, len(numbers)) for ids in raw.values()])
    totals = counts.sum(axis=0)
    order = np.argsort(-totals, kind="stable")
    order = order[totals[order] >= min_count][:max_words]
    if not len(order):
        raise InputError(
            "no word is frequent enough",
            got=f"{len(numbers):,} words, the most frequent {int(totals.max())} times",
            wanted=f"{min_count} times",
            hint="Lower `min_count`",
        )
    new = np.full(len(numbers), -2, np.int32)
    new[order] = np.arange(len(order), dtype=np.int32)
    kept = tuple(_renumber(ids, new) for ids in raw.values())
    for name, ids in zip(raw, kept, strict=True):
        if not len(ids):
            raise InputError(
                "a slice without a word of the compass",
                where=name,
                wanted=f"words that occur {min_count} times in all slices together",
                hint="Lower `min_count`, or leave the slice out",
            )
    listed = list(numbers)
    return SlicedText(
        tuple(listed[k] for k in order.tolist()), tuple(raw), kept, counts[:, order], counts.sum(axis=1)
    )


def _words_of(tokenize: str) -> Callable[[str], list[str]]:
    """The function that divides a line into words, without punctuation marks and symbols among them."""
    divide = splitter(tokenize)
    if tokenize != "words":
        return divide
    return lambda line: [word for word in divide(line) if len(word) > 1 or word.isalnum()]


def read_slices(
    *paths: str | os.PathLike[str],
    names: Sequence[str] | None = None,
    bin_years: int | None = None,
    tokenize: str = "words",
    lower: bool = True,
    min_count: int = 5,
    max_words: int | None = None,
) -> SlicedText:
    """Read slices: a file each, or one table with a slice column; then :func:`number_slices`.

    Parameters
    ----------
    *paths : paths
        Several text files, a sentence or paragraph a line. Or one ``.tsv`` (also ``.gz``, ``.zst``):
        ``slice TAB text`` or ``slice TAB document TAB text``.
    names : sequence of str, optional
        Of the slices, a file each; by default the files' names without their endings.
    bin_years : int, optional
        The slice column holds years: put this many in a slice, which is named by its first (1840 for 1840 to
        1859 with 20). Slices come in order of time.
    tokenize, lower, min_count, max_words
        As in :func:`number_slices`.

    Raises
    ------
    UsageError
        For two slices of one name, names that do not fit the files, fewer than two slices.
    InputError
        For a line without a tab, a year that is no whole number (file and line), and as
        :func:`number_slices`.
    """
    if len(paths) == 1 and ".tsv" in Path(paths[0]).suffixes[-2:]:
        if names is not None:
            raise UsageError("a table names its slices itself", got=f"names {', '.join(names)}")
        rows = iter_rows(paths[0], bin_years=bin_years)
        text = number_slices(rows, tokenize=tokenize, lower=lower, min_count=min_count, max_words=max_words)
        return in_order_of_time(text) if all(_is_year(name) for name in text.names) else text
    if bin_years is not None:
        raise UsageError(
            "years are put in bins where a table gives them",
            got=f"bins of {bin_years}",
            wanted="one .tsv file",
        )
    names = [_stem(path) for path in paths] if names is None else list(names)
    if len(names) != len(paths):
        raise UsageError("slices and names differ in number", got=len(names), wanted=len(paths))
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError("two slices of one name", got=", ".join(twice), hint="Give each its own name")
    return number_slices(
        dict(zip(names, paths, strict=True)),
        tokenize=tokenize,
        lower=lower,
        min_count=min_count,
        max_words=max_words,
    )


def iter_rows(path: str | os.PathLike[str], *, bin_years: int | None = None) -> Iterator[tuple[str, str]]:
    """Slice and text of every line of a table; see :func:`read_slices`."""
    if bin_years is not None and bin_years < 1:
        raise UsageError("bin_years", got=bin_years, wanted="1 or more")
    for number, line in enumerate(iter_lines(path, wanted="slice, tab, text"), start=1):
        if not line.strip():
            continue
        cells = line.split("\t", 2)
        if len(cells) < 2:
            raise InputError(
                "a line without a tab",
                got=repr(line[:60]),
                wanted="slice, tab, text",
                where=f"{path}:{number}",
            )
        name = cells[0].strip()
        if bin_years is not None:
            if not _is_year(name):
                raise InputError(
                    "the year is not a number", got=repr(name), wanted="a year", where=f"{path}:{number}"
                )
            name = str(int(name) // bin_years * bin_years)
        yield name, cells[-1]


def in_order_of_time(text: SlicedText) -> SlicedText:
    """The same with slices, whose names are numbers, from the least to the greatest."""
    order = sorted(range(len(text.names)), key=lambda k: int(text.names[k]))
    return SlicedText(
        text.words,
        tuple(text.names[k] for k in order),
        tuple(text.streams[k] for k in order),
        text.counts[order],
        text.n_read[order],
    )


class _Numbers(dict[str, int]):
    def __missing__(self, word: str) -> int:
        self[word] = number = len(self)
        return number


class _Stream:
    """Ids of one slice: in memory, then in a file without a name."""

    def __init__(self, files: ExitStack) -> None:
        self.ids, self.files = array("i"), files
        self.file: BinaryIO | None = None

    def flush(self) -> None:
        if self.file is None:
            file = self.files.enter_context(tempfile.TemporaryFile(prefix="vocab-transfer-"))  # noqa: SIM115
            self.file = cast(BinaryIO, file)
        self.ids.tofile(self.file)
        self.ids = array("i")

    def finish(self) -> NDArray[np.int32]:
        if self.file is None:
            return np.frombuffer(self.ids, np.int32) if self.ids else np.empty(0, np.int32)
        self.flush()
        self.file.flush()
        # the mapping keeps the data when the file is closed
        return np.asarray(np.memmap(self.file, np.int32, "r+")) if self.file.tell() else np.empty(0, np.int32)


def _lines_of(texts: Mapping[str, str | os.PathLike[str] | Iterable[str]]) -> Iterator[tuple[str, str]]:
    for name, source in texts.items():
        for line in iter_lines(source) if isinstance(source, (str, os.PathLike)) else source:
            yield str(name), line


def _counts(ids: NDArray[np.int32], n: int) -> NDArray[np.int64]:
    counts = np.zeros(n, np.int64)
    for start in range(0, len(ids), _BLOCK):
        counts += np.bincount(ids[start : start + _BLOCK] + 1, minlength=n + 1)[1:]
    return counts


def _renumber(ids: NDArray[np.int32], new: NDArray[np.int32]) -> NDArray[np.int32]:
    """Put new ids over the old ones, without those of -2 and without empty sentences."""
    new = np.append(new, np.int32(SENTENCE_END))
    end, last = 0, SENTENCE_END
    for start in range(0, len(ids), _BLOCK):
        block = new[ids[start : start + _BLOCK]]
        block = block[block != -2]
        if not len(block):
            continue
        before = np.concatenate(([last], block[:-1]))
        block = block[(block != SENTENCE_END) | (before != SENTENCE_END)]
        if len(block):
            ids[end : end + len(block)] = block
            end, last = end + len(block), int(block[-1])
    return ids[:end]


def _is_year(name: str) -> bool:
    return name.removeprefix("-").isdecimal()


def _stem(path: str | os.PathLike[str]) -> str:
    name = Path(path).name
    for ending in (".gz", ".zst", ".txt", ".tsv"):
        name = name.removesuffix(ending)
    return name
