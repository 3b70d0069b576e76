"""Archives from the network: zip files read member by member, gzip files unpacked, neither ever trusted.

Nothing is written to a name that an archive gives. What an archive says of itself is checked before it is
opened, and what comes out of it is counted.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import IO, NoReturn

from align.errors import InputError, OutputError
from vocab.fetching.cache import Progress, final_name

MAX_RATIO = 100
"""Text shrinks to a third or a fifth; what unpacks to a hundred times its size is no text."""
ALWAYS_ALLOWED_BYTES = 64 << 20
"""Whatever the ratio: small files of repeated lines are harmless."""

_CHUNK = 1 << 20
_PIECE = 64 << 20
_BAD_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, ValueError)


@dataclass(frozen=True)
class Member:
    """A file in a zip: its name as the archive gives it, and its size unpacked, in bytes."""

    name: str
    size_bytes: int


def zip_members(path: str | PathLike[str], *, max_bytes: int | None = None) -> list[Member]:
    """Name the files in a zip, after checking what it says of itself.

    Parameters
    ----------
    path : path
    max_bytes : int, optional
        What it may unpack to; by default :data:`MAX_RATIO` times its size, or 64 MiB.

    Raises
    ------
    InputError
        No zip; a member outside of its folder, a link, an encrypted one; more than `max_bytes` in all.
    """
    with _open_zip(Path(path), max_bytes) as archive:
        return [Member(info.filename, info.file_size) for info in archive.infolist() if not info.is_dir()]


def check_zip(
    path: str | PathLike[str], *, max_bytes: int | None = None, progress: Progress | None = None
) -> None:
    """Read a zip whole and compare its checksums; see :func:`zip_members` for what else is refused.

    Memory: one block. Time: a second for every few hundred megabytes unpacked.
    """
    path = Path(path)
    with _open_zip(path, max_bytes) as archive:
        infos = archive.infolist()
        n_done, n_all = 0, sum(info.file_size for info in infos)
        for info in infos:
            with _open_member(archive, info.filename, path) as file:
                while block := file.read(_CHUNK):
                    n_done += len(block)
                    if progress is not None:
                        progress(f"check {final_name(path)}", n_done, n_all)


@contextlib.contextmanager
def open_member(path: str | PathLike[str], name: str, *, max_bytes: int | None = None) -> Iterator[IO[bytes]]:
    """Read one file of a zip as a stream of bytes; nothing is written anywhere.

    Raises
    ------
    InputError
        As :func:`zip_members`; no such member; damaged, which may show only at its end.
    """
    path = Path(path)
    with _open_zip(path, max_bytes) as archive, _open_member(archive, name, path) as file:
        yield file


@contextlib.contextmanager
def open_moses(
    path: str | PathLike[str], src: str, tgt: str, *, max_bytes: int | None = None
) -> Iterator[tuple[IO[str], IO[str]]]:
    """Read the two sides of a Moses zip as two streams of lines, side by side.

    Parameters
    ----------
    path : path
        A zip that holds one file a side, ``*.SRC`` and ``*.TGT``, and perhaps a README and a licence.
    src, tgt : str
        The two endings: the languages' codes as the corpus writes them.
    max_bytes : int, optional
        As :func:`zip_members`.

    Yields
    ------
    tuple of two text streams
        Lines end in a line feed and nowhere else; what is not UTF-8 comes as U+FFFD.

    Raises
    ------
    InputError
        As :func:`zip_members`; not exactly one file a side.
    """
    path = Path(path)
    with _open_zip(path, max_bytes) as archive, contextlib.ExitStack() as stack:
        sides = []
        for code in (src, tgt):
            names = [i.filename for i in archive.infolist() if i.filename.endswith(f".{code}")]
            if len(names) != 1:
                raise InputError(
                    f"not one file of language {code!r} in this zip",
                    got=", ".join(i.filename for i in archive.infolist()[:8]),
                    wanted=f"one *.{code}",
                    where=path.name,
                )
            file = stack.enter_context(_open_member(archive, names[0], path))
            sides.append(io.TextIOWrapper(file, encoding="utf-8", errors="replace", newline="\n"))
        yield sides[0], sides[1]


def gunzip(
    packed: Path, unpacked: Path, *, max_bytes: int | None = None, progress: Progress | None = None
) -> None:
    """Unpack a .gz, with no more room than there is.

    Where both forms fit on the disk `packed` is left to the caller. Where they do not, it is given up piece
    by piece (64 MiB) while it is read, so that together they never take much more than the larger of the two.

    Parameters
    ----------
    packed, unpacked : Path
        `unpacked` is written, and is incomplete when this raises.
    max_bytes : int, optional
        What it may unpack to; by default :data:`MAX_RATIO` times its size, or 64 MiB.
    progress : callable, optional
        Hears of bytes of `packed` read, and of all.

    Raises
    ------
    InputError
        Damaged, or larger than `max_bytes`.
    OutputError
        No room even so.
    """
    n_packed = packed.stat().st_size
    limit = _limit(n_packed, max_bytes)
    n_unpacked = min(_unpacked_size(packed), limit)
    n_free = shutil.disk_usage(unpacked.parent).free
    if n_unpacked - n_packed + _PIECE > n_free and n_unpacked > n_free:
        raise OutputError(
            f"no room to unpack {packed.name}",
            got=f"{n_free / 1e6:,.0f} MB free",
            wanted=f"{(n_unpacked - n_packed + _PIECE) / 1e6:,.0f} MB",
            where=unpacked.parent,
        )
    source = packed.open("rb") if n_unpacked <= n_free else io.BufferedReader(_GivenUp(packed))
    n_done = 0
    with source, gzip.GzipFile(fileobj=source) as stream, unpacked.open("wb") as out:
        while block := _unzip_some(stream, packed):
            n_done += len(block)
            if n_done > limit:
                raise InputError(f"unpacks to more than {limit:,} bytes", where=packed.name)
            out.write(block)
            if progress is not None:
                progress(f"unpack {final_name(unpacked)}", source.tell(), n_packed)


class _GivenUp(io.RawIOBase):
    """A file read once from its start, whose pieces are deleted when they have been read.

    The pieces are cut from its end, so that a kill meanwhile leaves a true beginning of it.
    """

    def __init__(self, path: Path) -> None:
        self._pieces: list[Path] = []  # the last one first
        self._position = 0
        try:
            with path.open("r+b") as file:
                for start in reversed(range(0, path.stat().st_size, _PIECE)):
                    file.seek(start)
                    self._pieces.append(path.with_name(f"{path.name}.{start // _PIECE}.tmp"))
                    self._pieces[-1].write_bytes(file.read(_PIECE))
                    file.truncate(start)
            self._file = self._pieces[-1].open("rb")
        except BaseException:
            self._delete()
            raise

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        n_read = self._file.readinto(buffer)
        while not n_read and len(self._pieces) > 1:
            self._file.close()
            self._pieces.pop().unlink()
            self._file = self._pieces[-1].open("rb")
            n_read = self._file.readinto(buffer)
        self._position += n_read
        return n_read

    def close(self) -> None:
        if not self.closed and hasattr(self, "_file"):
            self._file.close()
            self._delete()
        super().close()

    def _delete(self) -> None:
        for piece in self._pieces:
            piece.unlink(missing_ok=True)


def _unzip_some(stream: gzip.GzipFile, packed: Path) -> bytes:
    try:
        return stream.read(_CHUNK)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"a damaged gzip file: {error}", where=packed.name) from error


def _unpacked_size(packed: Path) -> int:
    # the last four bytes say it modulo 4 GiB, and text never becomes larger
    n_packed = packed.stat().st_size
    with packed.open("rb") as file:
        if file.read(2) != b"\x1f\x8b":
            raise InputError("not a gzip file", where=packed.name)
        file.seek(max(0, n_packed - 4))
        size = int.from_bytes(file.read(4), "little")
    while size < n_packed * 0.9:
        size += 1 << 32
    return size


def _limit(n_packed: int, max_bytes: int | None) -> int:
    return max(ALWAYS_ALLOWED_BYTES, MAX_RATIO * n_packed) if max_bytes is None else max_bytes


@contextlib.contextmanager
def _open_zip(path: Path, max_bytes: int | None) -> Iterator[zipfile.ZipFile]:
    limit = _limit(path.stat().st_size, max_bytes)
    try:
        archive = zipfile.ZipFile(path)
    except _BAD_ZIP as error:
        _damaged(path, error)
    with archive:
        for info in archive.infolist():
            _check_member(info, path)
        n_all = sum(info.file_size for info in archive.infolist())
        if n_all > limit:
            raise InputError(
                "unpacks to too much", got=f"{n_all:,} bytes", wanted=f"at most {limit:,}", where=path.name
            )
        yield archive


def _check_member(info: zipfile.ZipInfo, path: Path) -> None:
    parts = re.split(r"[/\\]", info.orig_filename)
    if ".." in parts or not parts[0] or ":" in parts[0] or "\0" in info.orig_filename:
        raise InputError(
            "a member that would lie outside of its folder", got=repr(info.filename), where=path.name
        )
    if stat.S_ISLNK(info.external_attr >> 16):
        raise InputError("a member that is a link", got=repr(info.filename), where=path.name)
    if info.flag_bits & 0x1:
        raise InputError("an encrypted member", got=repr(info.filename), where=path.name)


@contextlib.contextmanager
def _open_member(archive: zipfile.ZipFile, name: str, path: Path) -> Iterator[IO[bytes]]:
    try:
        file = archive.open(name)
    except KeyError:
        raise InputError("no such file in this zip", got=name, where=path.name) from None
    except _BAD_ZIP as error:
        _damaged(path, error)
    with io.BufferedReader(_Told(file, path), _CHUNK) as told:
        yield told


class _Told(io.RawIOBase):
    """A member of a zip whose damage is told as ours; the zip's directory says where it ends."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file, self._path = file, path

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            block = self._file.read(len(buffer))
        except _BAD_ZIP as error:
            _damaged(self._path, error)
        buffer[: len(block)] = block
        return len(block)

    def close(self) -> None:
        self._file.close()
        super().close()


def _damaged(path: Path, error: BaseException) -> NoReturn:
    raise InputError(f"a damaged zip: {error or type(error).__name__}", where=path.name) from error
