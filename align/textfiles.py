"""Text files, line by line: UTF-8, plain or compressed, with the place of every error."""

from __future__ import annotations

import difflib
import gzip
import io
import os
import zlib
from collections.abc import Iterator
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import BinaryIO, cast

from align.errors import InputError, UnavailableError

_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_BOM_UTF8 = b"\xef\xbb\xbf"
_BOMS_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_MAX_LINE_BYTES = 1 << 26
_MAX_NAMES = 10_000  # of a directory, looked through for what was meant
_ZSTD_BLOCK_BYTES = 1 << 10  # of compressed data; a block expands to a hundred thousand times that at most


class DamagedFile(EOFError):
    """A compressed file that ends too early or is not what its first bytes say."""


def missing_file(path: str | PathLike[str]) -> InputError:
    """The error for a file that is not there: it names what in its directory may be meant."""
    path = Path(path)
    try:
        with os.scandir(path.parent) as entries:
            names = sorted(entry.name for entry in islice(entries, _MAX_NAMES) if not entry.is_dir())
    except OSError:
        return InputError("no such file", where=path, hint=f"there is no directory {path.parent} either")
    alike = difflib.get_close_matches(path.name, names, n=2)
    alike = alike or [name for name in names if path.suffix and name.endswith(path.suffix)][:3]
    if not alike:
        where = path.parent.resolve()
        return InputError("no such file", where=path, hint=f"nothing in {where} has a name like it")
    return InputError("no such file", where=path, hint=f"perhaps {' or '.join(alike)} is meant")


def open_binary(path: str | PathLike[str]) -> BinaryIO:
    """Open a file for reading, decompressing gzip and Zstandard, which are known by their first bytes.

    Reading from it raises :class:`DamagedFile` where the compressed data are damaged or cut off.

    Raises
    ------
    InputError
        No such file, a directory, not readable.
    UnavailableError
        For Zstandard without the package zstandard.
    """
    path = Path(path)
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        raise missing_file(path) from None
    except IsADirectoryError:
        raise InputError("a directory where a text file was expected", where=path) from None
    except OSError as error:
        raise InputError(f"the file cannot be read: {error.strerror}", where=path) from None
    start = stream.peek(len(_ZSTD_MAGIC))
    if start.startswith(_GZIP_MAGIC):
        return cast(BinaryIO, io.BufferedReader(_Gzip(stream), 1 << 17))
    if start.startswith(_ZSTD_MAGIC):
        return cast(BinaryIO, io.BufferedReader(_Zstd(stream, path), 1 << 17))
    return stream


def iter_lines(path: str | PathLike[str], *, wanted: str = "one sentence a line") -> Iterator[str]:
    """Lines of a text file, without their line ends, one at a time; blank lines are kept.

    Lines end at ``\\n`` or ``\\r\\n`` and nowhere else: sentence pairs are matched by line, and U+2028 or a
    form feed inside a sentence must not shift one side.

    Parameters
    ----------
    path : path
        UTF-8, with or without a byte order mark; gzip and Zstandard are known by content, not by name.
    wanted : str
        What the file should hold, for the message about an empty one.

    Yields
    ------
    str

    Raises
    ------
    InputError
        On the first `next`: no such file, a directory, not readable, empty. Later: not UTF-8 (file and line),
        a damaged compressed file, a line of more than 64 MiB.
    UnavailableError
        For Zstandard without the package zstandard.
    """
    path = Path(path)
    n_line = 0
    with open_binary(path) as stream:
        try:
            while raw := stream.readline(_MAX_LINE_BYTES):
                n_line += 1
                if n_line == 1:
                    _refuse_utf16(raw, path)
                    raw = raw.removeprefix(_BOM_UTF8)
                if len(raw) >= _MAX_LINE_BYTES:
                    raise InputError("a line of more than 64 MiB", where=f"{path}:{n_line}")
                yield _decoded(raw, path, n_line)
        except DamagedFile as error:
            raise InputError(
                f"the compressed file is damaged or cut off ({error})",
                where=f"{path}:{n_line + 1}",
                hint="Fetch or copy it again",
            ) from None
    if n_line == 0:
        raise InputError("the file is empty", where=path, wanted=wanted)


def read_lines(path: str | PathLike[str]) -> list[str]:
    """All lines of a text file; see :func:`iter_lines`."""
    return list(iter_lines(path, wanted="text"))


def _decoded(raw: bytes, path: Path, n_line: int) -> str:
    try:
        line = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            "the file is not UTF-8",
            got=f"byte 0x{raw[error.start]:02x} in column {error.start + 1}",
            where=f"{path}:{n_line}",
            hint="Convert it first, for example `iconv -f ISO-8859-1 -t UTF-8`",
        ) from None
    if line.endswith("\n"):
        return line[:-2] if line.endswith("\r\n") else line[:-1]
    return line


def _refuse_utf16(raw: bytes, path: Path) -> None:
    if raw.startswith(_BOMS_UTF16):
        raise InputError(
            "UTF-16, not UTF-8", where=f"{path}:1", hint="Convert it first: `iconv -f UTF-16 -t UTF-8`"
        )


class _Gzip(io.RawIOBase):
    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._inner = gzip.GzipFile(fileobj=source)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        try:
            data = self._inner.read1(len(buffer))
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DamagedFile(error) from error
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._source.close()
        super().close()


class _Zstd(io.RawIOBase):
    # the package's own stream reader takes a frame that is cut off for a whole one
    def __init__(self, source: BinaryIO, path: Path) -> None:
        self._source = source  # first of all: close() needs it even where this fails
        try:
            import zstandard
        except ImportError as error:
            source.close()
            raise UnavailableError(
                "a .zst file needs the package zstandard",
                where=path,
                hint="run: pip install 'vocab-transfer[zstd]'",
            ) from error
        self._errors = zstandard.ZstdError
        self._new = zstandard.ZstdDecompressor().decompressobj
        self._frame = self._new()
        self._fresh = True  # nothing of this frame was read yet
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        rest = b""
        while not self._ready:
            data = rest or self._source.read(_ZSTD_BLOCK_BYTES)
            if not data:
                if not self._fresh:
                    raise DamagedFile("it ends inside a frame")
                return 0
            try:
                self._ready = memoryview(self._frame.decompress(data))
            except self._errors as error:
                raise DamagedFile(error) from error
            self._fresh, rest = False, b""
            if self._frame.eof:
                rest = self._frame.unused_data
                self._frame, self._fresh = self._new(), True
                if rest and self._ready:
                    self._source.seek(-len(rest), io.SEEK_CUR)
        n = min(len(buffer), len(self._ready))
        buffer[:n] = self._ready[:n]
        self._ready = self._ready[n:]
        return n

    def close(self) -> None:
        self._source.close()
        super().close()
