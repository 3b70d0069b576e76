"""Links of a whole bitext as arrays."""

from __future__ import annotations

import os
import re
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np
from numpy.typing import NDArray

from align.errors import InputError
from align.short_repr import short_repr
from align.textfiles import iter_lines

MAX_WORDS = 1 << 20  # what a file may claim of a sentence

_PLAIN = re.compile(r"(?:[0-9]{1,9}-[0-9]{1,9}(?: +[0-9]{1,9}-[0-9]{1,9})*)? *")
_LINK = re.compile(r"([0-9]{1,9})[-p]([0-9]{1,9})(?::([0-9]+(?:\.[0-9]+)?(?:e-[0-9]+)?))?")
_GIZA_GROUP = re.compile(r"\(\{ ((?:[0-9]{1,9} )*)\}\)")


@dataclass(frozen=True, eq=False)
class Links:
    """Links by sentence pair; those of pair ``n`` are rows ``offsets[n]`` to ``offsets[n + 1] - 1``.

    Attributes
    ----------
    offsets : int64 array, shape (n_pairs + 1,)
    src, tgt : int32 arrays, shape (n_links,)
        Positions within the sentences, from 0, sorted by (src, tgt) within each pair.
    weights : float32 array, shape (n_links,)
        Posterior of each link; 1 where the source of the links gives none.
    """

    offsets: NDArray[np.int64]
    src: NDArray[np.int32]
    tgt: NDArray[np.int32]
    weights: NDArray[np.float32]

    __repr__ = short_repr

    @property
    def n_pairs(self) -> int:
        """Number of sentence pairs."""
        return len(self.offsets) - 1

    def pair(self, n: int) -> list[tuple[int, int]]:
        """Links of one sentence pair as (source position, target position)."""
        part = slice(self.offsets[n], self.offsets[n + 1])
        return list(zip(self.src[part].tolist(), self.tgt[part].tolist(), strict=True))

    def pharaoh(self, *, probabilities: bool = False) -> list[str]:
        """One line ``i-j i-j ...`` for each sentence pair, or ``i-j:0.93`` with the weights."""
        return list(self.iter_pharaoh(probabilities=probabilities))

    def iter_pharaoh(self, *, probabilities: bool = False) -> Iterator[str]:
        """The lines of :meth:`pharaoh`, one at a time."""
        bounds = self.offsets.tolist()
        for start, stop in pairwise(bounds):
            src, tgt = self.src[start:stop].tolist(), self.tgt[start:stop].tolist()
            if probabilities:
                weights = self.weights[start:stop].tolist()
                yield " ".join(f"{i}-{j}:{w:.4g}" for i, j, w in zip(src, tgt, weights, strict=True))
            else:
                yield " ".join(f"{i}-{j}" for i, j in zip(src, tgt, strict=True))

    def rows(self, pairs: NDArray[np.integer]) -> Links:
        """Links of some of the sentence pairs, given by number, in that order."""
        counts = np.diff(self.offsets)[pairs]
        offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
        take = np.repeat(self.offsets[:-1][pairs] - offsets[:-1], counts) + np.arange(offsets[-1])
        return Links(offsets, self.src[take], self.tgt[take], self.weights[take])

    def spread(self, pairs: NDArray[np.integer], n_pairs: int) -> Links:
        """The same links in a text of ``n_pairs`` pairs, of which this one has those numbered ``pairs``.

        The others have no links. ``pairs`` must rise.
        """
        counts = np.zeros(n_pairs, dtype=np.int64)
        counts[pairs] = np.diff(self.offsets)
        return Links(np.concatenate(([0], np.cumsum(counts))), self.src, self.tgt, self.weights)

    def check(self, n_src: NDArray[np.integer], n_tgt: NDArray[np.integer], *, where: object = None) -> None:
        """Raise InputError unless there are as many pairs as sentences and every link lies inside them.

        Parameters
        ----------
        n_src, n_tgt : integer arrays, shape (n_pairs,)
            Words of each sentence.
        where : path, optional
            The file of the links, for the message.
        """
        if self.n_pairs != len(n_src):
            raise InputError(
                "links of another text", got=f"{self.n_pairs} lines", wanted=len(n_src), where=where
            )
        pair = np.repeat(np.arange(self.n_pairs), np.diff(self.offsets))
        outside = np.flatnonzero((self.src >= n_src[pair]) | (self.tgt >= n_tgt[pair]))
        if len(outside):
            at, n = int(outside[0]), int(pair[outside[0]])
            raise InputError(
                "a link to a word that is not there",
                got=f"{self.src[at]}-{self.tgt[at]}",
                wanted=f"positions in sentences of {n_src[n]} and {n_tgt[n]} words",
                where=_place(where, n + 1),
                hint="Are text and links divided into words alike?",
            )

    @classmethod
    def from_pairs(
        cls,
        pair: NDArray[np.integer],
        src: NDArray[np.integer],
        tgt: NDArray[np.integer],
        weights: NDArray[np.floating] | None = None,
        *,
        n_pairs: int,
    ) -> Links:
        """Sort links given as (pair number, source position, target position) arrays."""
        # an aligner finds them in order, and sorting takes more memory than the links
        order = slice(None) if _rise(pair, src, tgt) else np.lexsort((tgt, src, pair))
        offsets = np.zeros(n_pairs + 1, dtype=np.int64)
        np.cumsum(np.bincount(pair, minlength=n_pairs), out=offsets[1:])
        if weights is None:
            weights = np.ones(len(src))
        return cls(
            offsets,
            src[order].astype(np.int32),
            tgt[order].astype(np.int32),
            weights[order].astype(np.float32),
        )

    @classmethod
    def from_pharaoh(cls, lines: Iterable[str], *, where: object = None, one_based: bool = False) -> Links:
        """Read lines of links as fast_align, eflomal, awesome-align and Moses write them.

        A link is ``i-j``, ``ipj`` (a possible one, which is taken too) or, with its weight, ``i-j:0.93``.
        What follows `` ||| `` (fast_align's score of the pair) is passed over; a link that comes twice counts
        once.

        Parameters
        ----------
        lines : iterable of str
        where : path, optional
            The file, for messages.
        one_based : bool
            Whether positions count from 1.

        Raises
        ------
        InputError
            With file and line, at the first item that is not a link.
        """
        numbers = array("q")
        weights = array("f")
        counts = array("q")
        for n, line in enumerate(lines):
            before = len(weights)
            if _PLAIN.fullmatch(line):  # nearly always, and quickly read
                numbers.extend(map(int, line.replace("-", " ").split()))
                weights.extend([1.0] * (len(numbers) // 2 - before))
            else:
                _slow_line(line, n, where, numbers, weights)
            counts.append(len(weights) - before)
        positions = (
            np.frombuffer(numbers, dtype=np.int64).reshape(-1, 2) if numbers else np.empty((0, 2), int)
        )
        pair = np.repeat(np.arange(len(counts)), np.array(counts, dtype=np.int64))
        positions = positions - int(one_based)
        wrong = np.flatnonzero(((positions < 0) | (positions >= MAX_WORDS)).any(axis=1))
        if len(wrong):
            i, j = positions[wrong[0]] + int(one_based)
            raise InputError(
                "a position that no sentence has",
                got=f"{i}-{j}",
                wanted=f"{int(one_based)} to {MAX_WORDS}",
                where=_place(where, int(pair[wrong[0]]) + 1),
            )
        order = np.lexsort((positions[:, 1], positions[:, 0], pair))
        key = np.column_stack((pair, positions))[order]
        first = np.ones(len(order), dtype=bool)
        first[1:] = (key[1:] != key[:-1]).any(axis=1)
        order = order[first]
        return cls.from_pairs(
            pair[order],
            positions[order, 0],
            positions[order, 1],
            np.array(weights, dtype=np.float32)[order],
            n_pairs=len(counts),
        )

    @classmethod
    def from_giza(cls, lines: Iterable[str], *, where: object = None) -> Links:
        """Read GIZA++'s ``A3.final``: three lines a pair, the third one ``NULL ({ 4 }) word ({ 1 2 }) ...``.

        The source is the side of the third line; positions, from 1 there, are from 0 here.

        Raises
        ------
        InputError
            With file and line, where the file is something else.
        """
        rows: list[tuple[int, int, int]] = []
        n_lines = 0
        for n_lines, line in enumerate(lines, start=1):
            if n_lines % 3 == 1 and not line.startswith("# Sentence pair"):
                raise InputError(
                    "not an A3 file",
                    got=repr(line[:40]),
                    wanted="# Sentence pair",
                    where=_place(where, n_lines),
                )
            if n_lines % 3 == 0:
                groups = _GIZA_GROUP.findall(line)
                if not groups:
                    raise InputError(
                        "not an A3 file", wanted="NULL ({ ... }) ...", where=_place(where, n_lines)
                    )
                for i, group in enumerate(groups[1:]):
                    rows.extend((n_lines // 3 - 1, i, int(j) - 1) for j in group.split())
        if n_lines % 3:
            raise InputError("an A3 file that is cut off", where=_place(where, n_lines))
        found = np.array(rows, dtype=np.int64).reshape(-1, 3)
        return cls.from_pairs(found[:, 0], found[:, 1], found[:, 2], n_pairs=n_lines // 3)


def read_links(path: str | os.PathLike[str], *, one_based: bool = False) -> Links:
    """Read a file of links: Pharaoh lines or GIZA++'s A3, known by its first line; compressed or not.

    Raises
    ------
    InputError
        With file and line; see :meth:`Links.from_pharaoh` and :func:`align.textfiles.iter_lines`.
    """
    lines = iter_lines(path, wanted="one line of links a sentence pair")
    first = next(lines)
    lines = chain((first,), lines)
    if first.startswith("# Sentence pair"):
        return Links.from_giza(lines, where=path)
    return Links.from_pharaoh(lines, where=path, one_based=one_based)


def _rise(*keys: NDArray[np.integer]) -> bool:
    # whether rows are in order by the first key, equal ones by the second, and so on
    in_order = np.ones(max(len(keys[0]) - 1, 0), dtype=bool)
    for key in reversed(keys):
        in_order &= key[1:] == key[:-1]
        in_order |= key[1:] > key[:-1]
    return bool(in_order.all())


def _slow_line(line: str, n: int, where: object, numbers: array[int], weights: array[float]) -> None:
    for item in line.partition("|||")[0].split():
        link = _LINK.fullmatch(item)
        if link is None:
            raise InputError(
                "not a link", got=repr(item[:40]), wanted="i-j, ipj or i-j:0.93", where=_place(where, n + 1)
            )
        numbers.extend((int(link[1]), int(link[2])))
        weights.append(float(link[3] or 1))


def _place(where: object, n_line: int) -> str:
    return f"line {n_line}" if where is None else f"{where}:{n_line}"
