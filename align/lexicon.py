"""Bilingual lexicons: pairs of words, read from tables or taken from the bundled ones."""

from __future__ import annotations

import os
import random
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from align.errors import InputError, OutputError, UnavailableError, UsageError
from align.short_repr import short_repr
from align.textfiles import read_lines
from align.vectors import Vectors


@dataclass(frozen=True)
class Lexicon:
    """Pairs of source and target words; several translations of a word are several pairs.

    Parameters
    ----------
    pairs : sequence of (str, str)
        Source and target word or phrase. Order and repetitions are kept.
    """

    pairs: tuple[tuple[str, str], ...]

    __repr__ = short_repr

    def __post_init__(self) -> None:
        object.__setattr__(self, "pairs", tuple((src, tgt) for src, tgt in self.pairs))

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self.pairs)

    @cached_property
    def translations(self) -> dict[str, tuple[str, ...]]:
        """Distinct target words of every source word, in order of appearance."""
        found: dict[str, dict[str, None]] = {}
        for src, tgt in self.pairs:
            found.setdefault(src, {})[tgt] = None
        return {src: tuple(tgts) for src, tgts in found.items()}

    def reversed(self) -> Lexicon:
        """The same pairs from target to source."""
        return Lexicon(tuple((tgt, src) for src, tgt in self.pairs))

    def case_variants(self) -> Counter[tuple[str, str]]:
        """Each pair as written, in lower case and in title case on both sides, with its number of times.

        Three forms a side make nine pairs of each, and equal forms count again: a lower-case pair weighs four
        for itself, as in the WECHSEL implementation's fit of the rotation.
        """
        return Counter((s, t) for src, tgt in self.pairs for s in case_forms(src) for t in case_forms(tgt))

    def split(self, n_test: int, *, seed: int = 0) -> tuple[Lexicon, Lexicon]:
        """A training and a test lexicon without a source word in common.

        Parameters
        ----------
        n_test : int
            Source words of the test lexicon, drawn at random; all their pairs go with them.
        seed : int

        Returns
        -------
        train, test : Lexicon
            In the order of this one.

        Raises
        ------
        InputError
            If either would be empty.
        """
        words = list(self.translations)
        if not 0 < n_test < len(words):
            raise InputError(
                "the lexicon cannot be split",
                got=f"{n_test} of {len(words)} source words",
                wanted="some left",
            )
        chosen = set(random.Random(seed).sample(words, n_test))
        return (
            Lexicon(tuple(pair for pair in self.pairs if pair[0] not in chosen)),
            Lexicon(tuple(pair for pair in self.pairs if pair[0] in chosen)),
        )

    def lower(self) -> Lexicon:
        """Both sides in lower case, each pair once."""
        return Lexicon(tuple(dict.fromkeys((src.lower(), tgt.lower()) for src, tgt in self.pairs)))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``source<TAB>target`` lines.

        Raises
        ------
        OutputError
            If the file cannot be written, or a word holds a tab or a line break.
        """
        if any(not set(word).isdisjoint("\t\n") for pair in self.pairs for word in pair):
            raise OutputError("a word holds a tab or a line break", where=path)
        try:
            with open(path, "w", encoding="utf-8", newline="\n") as out:
                out.writelines(f"{src}\t{tgt}\n" for src, tgt in self.pairs)
        except OSError as error:
            raise OutputError("the lexicon cannot be written", where=path, got=error.strerror) from error


def known_pairs(lexicon: Lexicon, src: Vectors, tgt: Vectors) -> NDArray[np.int64]:
    """Rows of the distinct pairs that have both words in the vocabularies.

    Returns
    -------
    ndarray of int64, shape (n, 2)
        Source row, target row, in the lexicon's order.

    Warns
    -----
    UserWarning
        Once, if pairs are not in the vocabularies.
    """
    pairs = list(dict.fromkeys(lexicon))
    rows = np.stack([src.indices_of([s for s, _ in pairs]), tgt.indices_of([t for _, t in pairs])], axis=1)
    known = (rows >= 0).all(axis=1)
    if not known.all():
        warnings.warn(
            f"{int((~known).sum())} of {len(pairs)} pairs of the lexicon are not in the vocabularies",
            stacklevel=2,
        )
    return rows[known]


def in_case_of(lexicon: Lexicon, src: Vectors, tgt: Vectors) -> Lexicon:
    """The lexicon, with a side in lower case if the vocabulary of that side has no upper-case letter.

    Each pair comes once.
    """
    pairs: list[tuple[str, ...]] = list(lexicon)
    for side, vectors in enumerate((src, tgt)):
        if all(word == word.lower() for word in vectors.words):
            pairs = [(*p[:side], p[side].lower(), *p[side + 1 :]) for p in pairs]
    return Lexicon(tuple(dict.fromkeys((src_word, tgt_word) for src_word, tgt_word in pairs)))


def case_forms(word: str) -> tuple[str, str, str]:
    """A word as written, in lower case and in title case."""
    return word, word.lower(), word.title()


def read_lexicon(
    path: str | os.PathLike[str],
    *,
    separator: Literal["auto", "tab", "space"] = "auto",
    columns: tuple[int, int] = (0, 1),
    where: Mapping[int, str] | None = None,
) -> Lexicon:
    """Read a lexicon, one pair a line.

    Parameters
    ----------
    path : path
        UTF-8 text, gzipped if the name ends in ``.gz``. Empty lines and further columns are ignored.
    separator : {"auto", "tab", "space"}
        ``"space"`` is the format of the MUSE dictionaries: two words divided by blanks or tabs. ``"auto"``
        reads the file as ``"tab"`` if its first line has one, else as ``"space"``.
    columns : (int, int)
        Which columns of a table with tabs hold the source and the target word, from 0.
    where : mapping of int to str, optional
        Read only the lines that have these texts in these columns: a table of several languages or parts,
        such as ``{0: "eo-fi", 1: "train"}``.

    Raises
    ------
    InputError
        For a missing or empty file, and with file and line for text that is not UTF-8 and for a line without
        exactly two words or without a tab.
    """
    if separator not in ("auto", "tab", "space"):
        raise UsageError("unknown separator", got=separator, wanted="auto, tab or space")
    lines = read_lines(path)
    if separator == "auto":
        separator = "tab" if any("\t" in line for line in lines[:1]) else "space"
    where = where or {}
    last = max(*columns, *where)
    if separator == "space" and (where or columns != (0, 1)):
        raise UsageError("columns can be chosen of a table with tabs", got="words between blanks", where=path)
    pairs = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        cells = [c.strip() for c in line.split("\t")] if separator == "tab" else line.split()
        enough = len(cells) > last if separator == "tab" else len(cells) == 2
        if enough and any(cells[column] != text for column, text in where.items()):
            continue
        if not enough or not cells[columns[0]] or not cells[columns[1]]:
            shown = line if len(line) <= 60 else line[:57] + "..."
            raise InputError(
                "not a pair of words",
                where=f"{path}:{number}",
                got=repr(shown),
                wanted="source TAB target"
                if separator == "tab"
                else "two words, or phrases with a tab between",
            )
        pairs.append((cells[columns[0]], cells[columns[1]]))
    if not pairs:
        raise InputError("the lexicon holds no pairs", where=path)
    return Lexicon(tuple(pairs))


def read_concepts(path: str | os.PathLike[str], src: str, tgt: str) -> Lexicon:
    """Read a lexicon from lists of words by concept, such as Swadesh lists of many languages.

    Parameters
    ----------
    path : path
        Lines ``language<TAB>concept<TAB>word|word|...``, gzipped if the name ends in ``.gz``.
    src, tgt : str
        Names of the two languages in the first column. Every word of a concept pairs with every other.

    Raises
    ------
    InputError
        As :func:`read_lexicon`, and for a language that is not in the file.
    """
    words: dict[str, dict[str, list[str]]] = {src: {}, tgt: {}}
    for number, line in enumerate(read_lines(path), start=1):
        cells = line.split("\t")
        if len(cells) < 3 and line.strip():
            raise InputError(
                "not a list of words",
                where=f"{path}:{number}",
                got=repr(line[:60]),
                wanted="language TAB concept TAB words",
            )
        if cells[0] in words:
            found = [word.strip() for word in cells[2].split("|") if word.strip()]
            words[cells[0]].setdefault(cells[1], []).extend(found)
    for language, concepts in words.items():
        if not concepts:
            raise InputError("the language is not in the file", where=path, got=language)
    pairs = [
        (s, t) for concept, found in words[src].items() for s in found for t in words[tgt].get(concept, ())
    ]
    if not pairs:
        raise InputError("the languages share no concept", where=path, got=f"{src} and {tgt}")
    return Lexicon(tuple(pairs))


def bundled_lexicon(src: str, tgt: str) -> Lexicon:
    """The lexicon that comes with the package for two languages, in either direction.

    Parameters
    ----------
    src, tgt : str
        Language codes, such as ``"en"`` and ``"sw"``.

    Raises
    ------
    UnavailableError
        If there is none for this pair.
    """
    from align import lexicons  # type: ignore[attr-defined]  # installed from data/lexicons

    path = lexicons.path(src, tgt)
    if path is not None:
        return read_lexicon(path, separator="tab")
    path = lexicons.path(tgt, src)
    if path is not None:
        return read_lexicon(path, separator="tab").reversed()
    raise UnavailableError(
        "no lexicon is bundled for these languages",
        got=f"{src}-{tgt}",
        hint="Pass a file of your own: source TAB target",
    )
