"""Plain text and parallel text from files: one sentence a line, UTF-8, compressed or not."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from os import PathLike

from align.errors import InputError
from align.short_repr import short_repr
from align.textfiles import iter_lines


@dataclass(frozen=True)
class ParallelText:
    """Sentence pairs: `src[i]` and `tgt[i]` say the same; neither is empty.

    Attributes
    ----------
    src, tgt : list of str
        Of one length; leading and trailing white space removed.
    n_dropped : int
        Pairs of the file that had an empty side.
    numbers : list of int
        Which pairs of the file these are, from 0.
    """

    src: list[str]
    tgt: list[str]
    n_dropped: int = 0
    numbers: list[int] = field(default_factory=list)

    __repr__ = short_repr

    def __len__(self) -> int:
        return len(self.src)


def read_lines(path: str | PathLike[str]) -> list[str]:
    """All lines of a text file; see :func:`align.textfiles.iter_lines`.

    Raises
    ------
    InputError
        Also when every line is blank.
    """
    lines = list(iter_lines(path))
    if not any(line.strip() for line in lines):
        raise InputError("every line is blank", where=path, wanted="one sentence a line")
    return lines


def read_parallel(src_path: str | PathLike[str], tgt_path: str | PathLike[str]) -> ParallelText:
    """Sentence pairs from two files, line by line.

    Pairs with an empty side are dropped with one warning.

    Parameters
    ----------
    src_path, tgt_path : path
        Line n of one is the translation of line n of the other.

    Returns
    -------
    ParallelText

    Raises
    ------
    InputError
        As :func:`read_lines`; or the files differ in length, or no pair is left.
    """
    src, tgt = read_lines(src_path), read_lines(tgt_path)
    if len(src) != len(tgt):
        raise InputError(
            "parallel files differ in length",
            got=f"{len(src):,} lines in {src_path} and {len(tgt):,} in {tgt_path}",
            wanted="line n of one to be the translation of line n of the other",
        )
    return parallel_lines(src, tgt, where=f"{src_path} and {tgt_path}")


def read_parallel_tsv(path: str | PathLike[str]) -> ParallelText:
    """Sentence pairs from one file: source, tab, target. Further columns are ignored.

    Pairs with an empty side are dropped with one warning.

    Parameters
    ----------
    path : path

    Returns
    -------
    ParallelText

    Raises
    ------
    InputError
        As :func:`read_lines`; or a line without a tab (file and line), or no pair is left.
    """
    src, tgt = [], []
    for n_line, line in enumerate(read_lines(path), start=1):
        columns = line.split("\t")
        if len(columns) < 2 and line.strip():
            raise InputError(
                "no tab in the line",
                where=f"{path}:{n_line}",
                wanted="source sentence, tab, target sentence",
                hint="Two files are given as two paths, source first",
            )
        src.append(columns[0])
        tgt.append(columns[1] if len(columns) > 1 else "")
    return parallel_lines(src, tgt, where=str(path))


def parallel_lines(src: list[str], tgt: list[str], *, where: str) -> ParallelText:
    """Sentence pairs from lines of one number; those with an empty side are dropped with one warning."""
    pairs = [(s.strip(), t.strip()) for s, t in zip(src, tgt, strict=True)]
    numbers = [n for n, (s, t) in enumerate(pairs) if s and t]
    kept = [pairs[n] for n in numbers]
    n_dropped = len(pairs) - len(kept)
    if not kept:
        raise InputError("no sentence pair has text on both sides", where=where, got=f"{len(pairs):,} pairs")
    if n_dropped:
        warnings.warn(
            f"{where}: dropped {n_dropped:,} of {len(pairs):,} pairs with an empty side", stacklevel=3
        )
    return ParallelText([s for s, _ in kept], [t for _, t in kept], n_dropped, numbers)
