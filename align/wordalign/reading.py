"""Parallel text from files: line-aligned, TSV, Moses, TMX, gettext; then words, then ids."""

from __future__ import annotations

import os
import re
import unicodedata
import warnings
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from align.errors import InputError, UsageError
from align.short_repr import short_repr
from align.textfiles import DamagedFile, iter_lines, open_binary
from align.wordalign.bitext import Bitext
from align.wordalign.catalogues import iter_mo, iter_po
from align.wordalign.filters import PairFilter, Sieve
from align.wordalign.tmx import iter_tmx

FORMATS = ("auto", "lines", "tsv", "moses", "tmx", "po", "mo")
UNKNOWN = "<unk>"

_BY_NAME = {"tsv": "tsv", "tmx": "tmx", "po": "po", "pot": "po", "mo": "mo", "gmo": "mo"}
_BY_CONTENT = (
    (re.compile(rb"\xde\x12\x04\x95|\x95\x04\x12\xde"), "mo"),
    (re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:\?xml|tmx|!DOCTYPE tmx)"), "tmx"),
    (re.compile(rb'(?s).*(?:^|\n)msgid "'), "po"),
    (re.compile(rb"\s*[^\n]*\|\|\|"), "moses"),
    (re.compile(rb"\s*[^\n]*\t"), "tsv"),
)


@dataclass(frozen=True, eq=False)
class NumberedText:
    """Parallel text as ids, and where it came from.

    Attributes
    ----------
    bitext : Bitext
        The pairs that were kept.
    src_words, tgt_words : tuple of str
        Word of each id, in order of first occurrence.
    lines : int64 array, shape (n_pairs,)
        Number of each kept pair among all that were read, from 0.
    n_lines : int
        Pairs that were read.
    dropped : dict of str to int
        How many were left out, by reason.
    """

    bitext: Bitext
    src_words: tuple[str, ...]
    tgt_words: tuple[str, ...]
    lines: NDArray[np.int64]
    n_lines: int
    dropped: dict[str, int]

    __repr__ = short_repr

    def tokens(self) -> Iterator[str]:
        """For every pair that was read ``source words ||| target words``; an empty line for one left out."""
        sides = (
            (self.bitext.src_ids, self.bitext.src_offsets, self.src_words),
            (self.bitext.tgt_ids, self.bitext.tgt_offsets, self.tgt_words),
        )
        at = 0
        for n, line in enumerate(self.lines.tolist()):
            for _ in range(at, line):
                yield ""
            at = line + 1
            yield " ||| ".join(
                " ".join(words[k] for k in ids[offsets[n] : offsets[n + 1]].tolist())
                for ids, offsets, words in sides
            )
        for _ in range(at, self.n_lines):
            yield ""


def read_parallel(
    *paths: str | os.PathLike[str],
    format: str = "auto",
    columns: tuple[int, int] = (0, 1),
    languages: tuple[str, str] | None = None,
) -> Iterator[tuple[str, str]]:
    """Sentence pairs of one file or two, one at a time; pairs with an empty side are kept.

    Parameters
    ----------
    *paths : one or two paths
        Two line-aligned files, or one that holds both sides; UTF-8 (TMX and gettext as they say themselves),
        gzip or Zstandard too.
    format : {"auto", "lines", "tsv", "moses", "tmx", "po", "mo"}
        Of one file: ``source TAB target``, ``source ||| target``, TMX, a gettext catalogue. ``auto`` goes by
        the name, then by what is in it.
    columns : (int, int)
        Columns of a TSV file that hold the two sides, from 0.
    languages : (str, str), optional
        Languages of a TMX file; see :func:`align.wordalign.tmx.iter_tmx`.

    Raises
    ------
    UsageError
        For a wrong number of files or an unknown format.
    InputError
        While it is read, with file and line where there is one: for a missing, empty or damaged file, text in
        another encoding, files of different length, a line without both sides.

    Warns
    -----
    UserWarning
        One message for all entries of a catalogue or units of a TMX file that were passed over.
    """
    if format not in FORMATS:
        raise UsageError("unknown format of parallel text", got=format, wanted=", ".join(FORMATS))
    if len(paths) not in (1, 2) or (format == "lines") > (len(paths) == 2):
        raise UsageError("parallel text", got=f"{len(paths)} files", wanted="two line-aligned files, or one")
    if len(paths) == 2:
        if format not in ("auto", "lines"):
            raise UsageError("two files of parallel text are line-aligned", got=f"format {format}")
        yield from _line_by_line(Path(paths[0]), Path(paths[1]))
        return
    path = Path(paths[0])
    kind = _kind(path) if format == "auto" else format
    skipped: Counter[str] = Counter()
    if kind == "tsv":
        yield from _columns(path, "\t", columns, "source, tab, target")
    elif kind == "moses":
        yield from _columns(path, "|||", (0, 1), "source ||| target")
    elif kind == "tmx":
        yield from iter_tmx(path, skipped, languages=languages)
    else:
        yield from (iter_po if kind == "po" else iter_mo)(path, skipped)
    passed = [f"{n:,} {what}" for what, n in skipped.items() if n]
    if passed:
        warnings.warn(f"{path}: passed over {', '.join(passed)}", stacklevel=2)


def read_bitext(
    *paths: str | os.PathLike[str],
    format: str = "auto",
    columns: tuple[int, int] = (0, 1),
    languages: tuple[str, str] | None = None,
    tokenize: str = "words",
    lower: bool = True,
    min_count: int = 1,
    filters: PairFilter = PairFilter(),  # noqa: B008 - frozen
) -> NumberedText:
    """Read parallel text as ids: :func:`read_parallel`, then :func:`number_words`."""
    pairs = read_parallel(*paths, format=format, columns=columns, languages=languages)
    return number_words(pairs, tokenize=tokenize, lower=lower, min_count=min_count, filters=filters)


def number_words(
    pairs: Iterable[tuple[str, str]],
    *,
    tokenize: str = "words",
    lower: bool = True,
    min_count: int = 1,
    filters: PairFilter = PairFilter(),  # noqa: B008 - frozen
) -> NumberedText:
    """Divide sentence pairs into words and number these.

    Parameters
    ----------
    pairs : iterable of (str, str)
    tokenize : {"words", "whitespace"}
        See :func:`splitter`.
    lower : bool
        Lower-case all text.
    min_count : int
        Words of fewer occurrences become one, ``<unk>``, each side apart.
    filters : PairFilter
        Pairs that are left out; their numbers stay free.

    Returns
    -------
    NumberedText

    Raises
    ------
    UsageError
        For an unknown way of dividing.
    InputError
        If no pair is left.

    Warns
    -----
    UserWarning
        One message for all pairs left out; another one if most pairs have the same words on both sides.

    Notes
    -----
    Memory: 4 bytes a word of the text, and the vocabularies; the text itself is never held.
    """
    words_of = splitter(tokenize)
    if min_count < 1:
        raise UsageError("option out of range", got=min_count, wanted="1 or more", where="min_count")
    sieve = Sieve(filters)
    numbers = (_Numbers(), _Numbers())
    ids = (array("i"), array("i"))
    lengths = (array("i"), array("i"))
    lines = array("q")
    n_lines = 0
    for n_lines, texts in enumerate(pairs, start=1):
        src, tgt = (words_of(text.lower() if lower else text) for text in texts)
        if not sieve.keeps(*texts, src, tgt):
            continue
        lines.append(n_lines - 1)
        for side, words in enumerate((src, tgt)):
            ids[side].extend(map(numbers[side].__getitem__, words))
            lengths[side].append(len(words))
    reasons = ", ".join(f"{n:,} {reason}" for reason, n in sieve.dropped.items())
    if not lines:
        raise InputError("no sentence pair is left", got=f"{n_lines:,}, {reasons}" if n_lines else "none")
    if reasons:
        warnings.warn(
            f"{n_lines - len(lines):,} of {n_lines:,} sentence pairs are left out: {reasons}", stacklevel=2
        )
    if sieve.n_identical > len(lines) / 2:
        warnings.warn(
            f"{sieve.n_identical:,} of {len(lines):,} sentence pairs have the same words on both sides",
            stacklevel=2,
        )
    sides = [_side(numbers[k], ids[k], lengths[k], min_count) for k in (0, 1)]
    (src_ids, src_offsets, src_words), (tgt_ids, tgt_offsets, tgt_words) = sides
    return NumberedText(
        Bitext(src_ids, src_offsets, tgt_ids, tgt_offsets, len(src_words), len(tgt_words)),
        src_words,
        tgt_words,
        np.frombuffer(lines, dtype=np.int64),
        n_lines,
        dict(sieve.dropped),
    )


def splitter(tokenize: str = "words") -> Callable[[str], list[str]]:
    """The function that divides a line into words.

    ``words``: runs of letters, marks and digits, and every other character but white space on its own.
    ``whitespace``: at white space only, for text that was divided before.
    """
    if tokenize == "whitespace":
        return str.split
    if tokenize == "words":
        return _words
    raise UsageError("unknown way of dividing into words", got=tokenize, wanted="words or whitespace")


class _Numbers(dict[str, int]):
    def __missing__(self, word: str) -> int:
        self[word] = number = len(self)
        return number


def _side(
    numbers: _Numbers, ids: array[int], lengths: array[int], min_count: int
) -> tuple[NDArray[np.int32], NDArray[np.int64], tuple[str, ...]]:
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(np.frombuffer(lengths, dtype=np.int32), out=offsets[1:])
    flat = np.frombuffer(ids, dtype=np.int32)
    words = tuple(numbers)
    rare = np.bincount(flat, minlength=len(words)) < min_count
    if not rare.any():
        return flat, offsets, words
    rare[numbers.get(UNKNOWN, 0)] |= UNKNOWN in numbers
    frequent = np.flatnonzero(~rare)
    new = np.full(len(words), len(frequent), dtype=np.int32)
    new[frequent] = np.arange(len(frequent))
    return new[flat], offsets, (*(words[k] for k in frequent), UNKNOWN)


def _words(line: str) -> list[str]:
    if "_" in line:  # which regular expressions take for a letter
        line = line.replace("_", " _ ")
    # a character class with ranges beyond 16 bits takes twice the time
    wide = len(line.encode("utf-16-le", "surrogatepass")) != 2 * len(line)
    return _pattern(wide).findall(line)


@cache
def _pattern(wide: bool) -> re.Pattern[str]:
    codes = [*range(0x300, 0x20000), *range(0xE0000, 0xE0200)] if wide else range(0x300, 0x10000)
    ranges: list[list[int]] = []
    for code in codes:
        if unicodedata.category(chr(code))[0] == "M":
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    marks = "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)
    return re.compile(rf"[\w{marks}]+|[^\w\s]")


def _kind(path: Path) -> str:
    suffixes = [suffix.lower().lstrip(".") for suffix in path.suffixes]
    while suffixes and suffixes[-1] in ("gz", "zst"):
        suffixes.pop()
    if suffixes and suffixes[-1] in _BY_NAME:
        return _BY_NAME[suffixes[-1]]
    try:
        with open_binary(path) as stream:
            start = stream.read(1 << 16)
    except DamagedFile as error:
        raise InputError(f"the compressed file is damaged or cut off ({error})", where=path) from None
    if not start:
        raise InputError("the file is empty", where=path, wanted="parallel text")
    for pattern, kind in _BY_CONTENT:
        if pattern.match(start):
            return kind
    raise InputError(
        "not a file of parallel text",
        where=path,
        wanted="source TAB target, source ||| target, TMX, .po or .mo",
        hint="Two line-aligned files are given as two",
    )


def _line_by_line(src_path: Path, tgt_path: Path) -> Iterator[tuple[str, str]]:
    counts = [0, 0]
    for pair in zip_longest(iter_lines(src_path), iter_lines(tgt_path)):
        for side, line in enumerate(pair):
            counts[side] += line is not None
        if counts[0] == counts[1]:
            yield pair
    if counts[0] != counts[1]:
        raise InputError(
            "parallel files differ in length",
            got=f"{counts[0]:,} lines in {src_path} and {counts[1]:,} in {tgt_path}",
            wanted="line n of one to be the translation of line n of the other",
        )


def _columns(path: Path, mark: str, columns: tuple[int, int], wanted: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(iter_lines(path, wanted=wanted), start=1):
        cells = line.split(mark)
        if not line.strip():
            yield "", ""
        elif len(cells) <= max(columns):
            raise InputError(
                "a line without both sides", got=repr(line[:60]), wanted=wanted, where=f"{path}:{number}"
            )
        else:
            yield cells[columns[0]].strip(), cells[columns[1]].strip()
