"""Bilingual lexicons: pairs of words, read from tables or taken from the bundled ones."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from align.errors import InputError, UnavailableError, UsageError
from align.vectors import read_lines


@dataclass(frozen=True)
class Lexicon:
    """Pairs of source and target words; several translations of a word are several pairs.

    Parameters
    ----------
    pairs : sequence of (str, str)
        Source and target word or phrase. Order and repetitions are kept.
    """

    pairs: tuple[tuple[str, str], ...]

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


def case_forms(word: str) -> tuple[str, str, str]:
    """A word as written, in lower case and in title case."""
    return word, word.lower(), word.title()


def read_lexicon(
    path: str | os.PathLike[str], *, separator: Literal["auto", "tab", "space"] = "auto"
) -> Lexicon:
    """Read a lexicon, one pair a line.

    Parameters
    ----------
    path : path
        UTF-8 text, gzipped if the name ends in ``.gz``. Empty lines and columns after the second are ignored.
    separator : {"auto", "tab", "space"}
        ``"space"`` is the format of the MUSE dictionaries: two words divided by blanks or tabs. ``"auto"``
        reads the file as ``"tab"`` if its first line has one, else as ``"space"``.

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
    pairs = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        columns = [c.strip() for c in line.split("\t")] if separator == "tab" else line.split()
        enough = len(columns) >= 2 if separator == "tab" else len(columns) == 2
        if not enough or not columns[0] or not columns[1]:
            shown = line if len(line) <= 60 else line[:57] + "..."
            raise InputError(
                "not a pair of words",
                where=f"{path}:{number}",
                got=repr(shown),
                wanted="source TAB target"
                if separator == "tab"
                else "two words, or phrases with a tab between",
            )
        pairs.append((columns[0], columns[1]))
    if not pairs:
        raise InputError("the lexicon holds no pairs", where=path)
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
