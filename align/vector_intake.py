"""Which rows of a file of vectors become words of a table, and the one report about the others."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from align.errors import InputError

_WORD_BYTES = 200  # a short string, its place in the tuple and in the index


@dataclass(frozen=True)
class VectorSize:
    """What a file holds, known before it is read.

    Parameters
    ----------
    n_rows, dim : int
        For text without header an estimate.
    mapped : bool
        Whether the matrix stays on disk.
    """

    n_rows: int
    dim: int
    mapped: bool = False

    def n_bytes(self, limit: int | None) -> int:
        """Memory of a table of the first ``limit`` words, in bytes."""
        n = self.n_rows if limit is None else min(self.n_rows, limit)
        return n * (_WORD_BYTES + (0 if self.mapped else 4 * self.dim))


@dataclass
class Intake:
    """Takes rows in the order of the file, the first of every word, until ``limit`` words are there.

    Parameters
    ----------
    path : Path
    limit : int, optional
        Words to take.
    lower : bool
        Lower-case words before they are compared (MUSE's rule: the first, most frequent spelling wins).
    strict : bool
        Raise for a row that cannot be used instead of leaving it out.

    Attributes
    ----------
    words : list of str
        Words taken so far.
    n_rows : int
        Rows seen so far.
    """

    path: Path
    limit: int | None = None
    lower: bool = False
    strict: bool = False
    words: list[str] = field(default_factory=list)
    n_rows: int = 0
    _seen: set[str] = field(default_factory=set)
    _spellings: set[str] = field(default_factory=set)
    _n_repeated: int = 0
    _n_folded: int = 0
    _n_malformed: int = 0
    _n_not_utf8: int = 0
    _first: dict[str, str] = field(default_factory=dict)

    @property
    def full(self) -> bool:
        """Whether ``limit`` words are there."""
        return self.limit is not None and len(self.words) >= self.limit

    @property
    def room(self) -> int | None:
        """Words still to come; None without a limit."""
        return None if self.limit is None else max(0, self.limit - len(self.words))

    def take(self, words: Sequence[str | bytes | None], places: Sequence[object]) -> NDArray[np.int64]:
        """Take the next rows of the file; as many as there are, or until ``limit`` words are there.

        Parameters
        ----------
        words : sequence of str, UTF-8 bytes, or None
            None stands for a row that :meth:`malformed` was told of.
        places : sequence
            Where every row stands, for messages: any type that reads well in them.

        Returns
        -------
        ndarray of int64
            Positions in `words` of the rows that were taken.

        Raises
        ------
        InputError
            With ``strict``, for a word that is not UTF-8.
        """
        kept: list[int] = []
        own, seen, lower, room = self.words, self._seen, self.lower, self.room
        done = 0
        for i, given in enumerate(words):
            if room is not None and len(kept) >= room:
                break
            done = i + 1
            if given is None:
                continue
            try:
                word = given.decode("utf-8") if isinstance(given, bytes) else given
            except UnicodeDecodeError:
                self._not_utf8(given, places[i])
                continue
            if lower:
                spelling, word = word, word.lower()
            if word in seen:
                if lower and spelling not in self._spellings:
                    self._spellings.add(spelling)
                    self._n_folded += 1
                else:
                    self._n_repeated += 1
                continue
            seen.add(word)
            if lower:
                self._spellings.add(spelling)
            own.append(word)
            kept.append(i)
        self.n_rows += done
        return np.array(kept, np.int64)

    def malformed(self, error: InputError) -> None:
        """Note a row that cannot be used; its place is ``error.where``.

        Raises
        ------
        InputError
            The same, with ``strict``.
        """
        if self.strict:
            raise error
        self._n_malformed += 1
        got = f" ({error.got})" if error.got is not None else ""
        self._first.setdefault("malformed", f"{error.where}: {error.what}{got}")

    def _not_utf8(self, word: str | bytes, place: object) -> None:
        if self.strict:
            raise InputError("the word is not UTF-8", where=f"{self.path}:{place}", got=word)
        self._n_not_utf8 += 1
        self._first.setdefault("not_utf8", f"{self.path}:{place}: {word!r}")

    def report(self, *, n_zero: int = 0) -> None:
        """Say once, with counts, what was left out or cannot be used.

        Raises
        ------
        InputError
            If no word was taken at all.

        Warns
        -----
        UserWarning
            If there is anything to say.
        """
        n = self.n_rows
        if not self.words:
            reasons = "; ".join(self._first.values())
            raise InputError(
                "the file holds no vectors", where=self.path, got=reasons or None, wanted="a word and numbers"
            )
        parts = []
        if self._n_malformed:
            parts.append(f"{self._n_malformed} of {n} rows are malformed, first {self._first['malformed']}")
        if self._n_not_utf8:
            parts.append(f"{self._n_not_utf8} of {n} words are not UTF-8, first {self._first['not_utf8']}")
        if parts:
            parts[-1] += "; they are left out"
        if self._n_repeated:
            parts.append(f"{self._n_repeated} of {n} rows repeat a word; the first is kept")
        if self._n_folded:
            parts.append(f"{self._n_folded} of {n} rows differ in case only; the first is kept")
        if n_zero:
            parts.append(f"{n_zero} of {len(self.words)} vectors are zero")
        if parts:
            warnings.warn(f"{self.path}: {'; '.join(parts)}", stacklevel=3)
