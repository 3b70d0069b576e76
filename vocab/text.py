"""Plain text and parallel text from files: one sentence a line, UTF-8, gzipped or not."""

from __future__ import annotations

import gzip
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import BinaryIO

from align.errors import InputError

_GZIP_MAGIC = b"\x1f\x8b"
_BOM_UTF8 = b"\xef\xbb\xbf"
_BOMS_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class ParallelText:
    """Sentence pairs: `src[i]` and `tgt[i]` say the same; neither is empty.

    Attributes
    ----------
    src, tgt : list of str
        Of one length; leading and trailing white space removed.
    n_dropped : int
        Pairs of the file that had an empty side.
    """

    src: list[str]
    tgt: list[str]
    n_dropped: int = 0

    def __len__(self) -> int:
        return len(self.src)


def iter_lines(path: str | PathLike[str]) -> Iterator[str]:
    """Lines of a text file, without their line ends, one at a time; blank lines are kept.

    Lines end at `\\n` or `\\r\\n` and nowhere else: sentence pairs are matched by line, and U+2028 or a form
    feed inside a sentence must not shift one side. A gzipped file is known by its content, not by its name.

    Parameters
    ----------
    path : path
        UTF-8, with or without a byte order mark.

    Yields
    ------
    str

    Raises
    ------
    InputError
        On the first `next`: no such file, a directory, not readable, empty. Later: not UTF-8 (file and line),
        a damaged gzip file.
    """
    path = Path(path)
    n_line = 0
    with _open(path) as stream:
        try:
            for raw in stream:
                n_line += 1
                if n_line == 1:
                    _refuse_utf16(raw, path)
                    raw = raw.removeprefix(_BOM_UTF8)
                try:
                    line = raw.decode("utf-8")
                except UnicodeDecodeError as error:
                    raise InputError(
                        "not UTF-8",
                        got=f"byte 0x{raw[error.start]:02x} in column {error.start + 1}",
                        where=f"{path}:{n_line}",
                        hint="Convert it first, for example `iconv -f ISO-8859-1 -t UTF-8`",
                    ) from None
                if line.endswith("\n"):
                    line = line[:-2] if line.endswith("\r\n") else line[:-1]
                yield line
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise InputError(
                f"damaged gzip file ({error})",
                where=f"{path}:{n_line + 1}",
                hint="Fetch or copy it again",
            ) from None
    if n_line == 0:
        raise InputError("the file is empty", where=path, wanted="one sentence a line")


def read_lines(path: str | PathLike[str]) -> list[str]:
    """All lines of a text file; see :func:`iter_lines`.

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
    kept = [(s, t) for s, t in pairs if s and t]
    n_dropped = len(pairs) - len(kept)
    if not kept:
        raise InputError("no sentence pair has text on both sides", where=where, got=f"{len(pairs):,} pairs")
    if n_dropped:
        warnings.warn(
            f"{where}: dropped {n_dropped:,} of {len(pairs):,} pairs with an empty side", stacklevel=3
        )
    return ParallelText([s for s, _ in kept], [t for _, t in kept], n_dropped)


def _open(path: Path) -> BinaryIO:
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        raise InputError("no such file", where=path) from None
    except IsADirectoryError:
        raise InputError("a directory where a text file was expected", where=path) from None
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", where=path) from None
    start = stream.read(len(_GZIP_MAGIC))
    stream.seek(0)
    if start != _GZIP_MAGIC:
        return stream
    stream.close()
    return gzip.open(path, "rb")  # type: ignore[return-value]


def _refuse_utf16(raw: bytes, path: Path) -> None:
    if raw.startswith(_BOMS_UTF16):
        raise InputError(
            "UTF-16, not UTF-8", where=f"{path}:1", hint="Convert it first: `iconv -f UTF-16 -t UTF-8`"
        )
