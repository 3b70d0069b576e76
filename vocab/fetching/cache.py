"""The cache of fetched files: where it is, what is recorded of each file, and looking after it.

Beside a fetched file ``NAME`` lies its record ``NAME.record.json`` and its lock ``.NAME.lock``; while it is
fetched also ``NAME.part``, ``NAME.part.json`` and ``NAME.tmp``. A file is good when its size and its time of
change are those of the record; only when the time differs it is read whole and its SHA-256 compared, which
for the largest files (7 GB) takes from ten seconds to a minute. :func:`verify` reads all of them whole.
"""

from __future__ import annotations

import calendar
import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

Progress = Callable[[str, int, int], None]
"""Called with what is going on (`fetch NAME`, `check NAME`), bytes done, and bytes in all (0: unknown)."""

RECORD, PART, STATE = ".record.json", ".part", ".part.json"
_UNFINISHED = re.compile(r"((\.part|\.record\.json|\.part\.json)?(\.\d+)?\.tmp|\.part)$")
_UNTRUSTED = -1  # a time of change that no file has: the next use reads it whole, too
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Record:
    """What is known of a fetched file.

    Attributes
    ----------
    url : str
        Where it came from.
    etag, last_modified : str or None
        What the server said of it.
    size_bytes : int
        Of the file as it lies here.
    mtime_ns : int
        Its time of change when its contents were last compared with `sha256`; -1 when they differed.
    sha256 : str
        Of the file as it lies here, taken when it was first fetched.
    fetched_at, verified_at : str
        UTC, ``2025-01-31T12:00:00Z``.
    """

    url: str
    etag: str | None
    last_modified: str | None
    size_bytes: int
    mtime_ns: int
    sha256: str
    fetched_at: str
    verified_at: str


@dataclass(frozen=True)
class Entry:
    """One file of the cache.

    Attributes
    ----------
    path : Path
    kind : str
        The folder of the cache that it lies in: ``fasttext``, ``opus``...
    size_bytes : int
    fetched_at, verified_at, url : str or None
        None for what was put there by hand and has no record.
    is_part : bool
        A download that was interrupted, and can be continued.
    """

    path: Path
    kind: str
    size_bytes: int
    fetched_at: str | None
    verified_at: str | None
    url: str | None
    is_part: bool


def default_cache() -> Path:
    """VOCAB_TRANSFER_CACHE, else `vocab-transfer` in XDG_CACHE_HOME or ~/.cache."""
    own = os.environ.get("VOCAB_TRANSFER_CACHE")
    shared = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(own or os.path.join(shared, "vocab-transfer")).expanduser()


def is_good(path: Path, *, thorough: bool = False, progress: Progress | None = None) -> bool | None:
    """Whether a file is what was fetched; None when it is not there.

    A file without a record was put there by hand and is taken as it is.

    Parameters
    ----------
    path : Path
    thorough : bool
        Read it whole, even when its size and its time of change are those of its record.
    progress : callable, optional
        Hears of a file that is read whole.
    """
    if not path.is_file():
        return None
    record = read_record(path)
    if record is None:
        return True
    found = path.stat()
    if found.st_size != record.size_bytes:
        return False
    if found.st_mtime_ns == record.mtime_ns and not thorough:
        return True
    good = sha256_of(path, progress=progress) == record.sha256
    new = replace(record, mtime_ns=found.st_mtime_ns if good else _UNTRUSTED, verified_at=now())
    with contextlib.suppress(OSError):  # a cache that others own may be used, too
        write_json(beside(path, RECORD), new if good else replace(new, verified_at=record.verified_at))
    return good


def read_record(path: Path) -> Record | None:
    """The record of a fetched file; None when there is none that can be read."""
    try:
        return Record(**json.loads(beside(path, RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def put(
    new: Path,
    path: Path,
    *,
    url: str,
    etag: str | None = None,
    last_modified: str | None = None,
    progress: Progress | None = None,
) -> None:
    """Move a complete file from beside `path` to `path`, and record where it came from and its SHA-256."""
    digest, found = sha256_of(new, progress=progress), new.stat()
    with new.open("rb") as file:
        os.fsync(file.fileno())
    record = Record(url, etag, last_modified, found.st_size, found.st_mtime_ns, digest, now(), now())
    write_json(beside(path, RECORD), record)  # before the move: one without the other is not taken for good
    os.replace(new, path)


def keep(path: Path, content: bytes, *, url: str) -> None:
    """Write a small file, such as the answer of an API, and its record."""
    new = beside(path, ".tmp")
    with locked(path):
        new.write_bytes(content)
        put(new, path, url=url)


def final_name(path: Path) -> str:
    """The name that a file will have when it is finished: without ``.part`` or ``.tmp``."""
    return _UNFINISHED.sub("", path.name)


def beside(path: Path, ending: str) -> Path:
    """The file of that ending that belongs to a fetched file."""
    return path.with_name(path.name + ending)


def write_json(path: Path, record: Any) -> None:
    """Write a dataclass in one move."""
    new = beside(path, f".{os.getpid()}.tmp")
    new.write_text(json.dumps(asdict(record), indent=1) + "\n", encoding="utf-8")
    os.replace(new, path)


def now() -> str:
    """The time, UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def sha256_of(path: Path, *, progress: Progress | None = None) -> str:
    """SHA-256 of a file, in hexadecimal; one to three seconds a gigabyte, and what reading it takes."""
    digest, n_done, n_all = hashlib.sha256(), 0, path.stat().st_size
    step = f"check {final_name(path)}"
    with path.open("rb") as file:
        while block := file.read(_CHUNK):
            digest.update(block)
            n_done += len(block)
            if progress is not None:
                progress(step, n_done, n_all)
    return digest.hexdigest()


@contextlib.contextmanager
def locked(path: Path, *, notice: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold the lock of a file of the cache, waiting for another run that holds it.

    The lock is the operating system's, so that none stays behind when a run is killed.
    """
    lock = file_lock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        if notice is not None:
            notice(f"another run is fetching {path.name}; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def file_lock(path: Path) -> FileLock:
    """The lock of a file of the cache, not held."""
    return FileLock(path.with_name(f".{path.name}.lock"))


def list_cache(cache: str | PathLike[str] | None = None) -> list[Entry]:
    """Name the files in the cache, by path; its own small files (records, locks) are left out."""
    root = Path(cache or default_cache())
    found = []
    for folder, folders, names in os.walk(root):  # which enters no linked folder
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            # other people's *.part and *.tmp have no lock beside them
            target = path.with_name(final_name(path))
            is_part = target.name != name and Path(file_lock(target).lock_file).exists()
            is_own = name.endswith((RECORD, STATE)) or (name.startswith(".") and name.endswith(".lock"))
            if is_own or not path.is_file():
                continue
            record = None if is_part else read_record(path)
            kind = path.relative_to(root).parts[0] if path.parent != root else ""
            found.append(
                Entry(
                    path=path,
                    kind=kind,
                    size_bytes=path.stat().st_size,
                    fetched_at=record.fetched_at if record else None,
                    verified_at=record.verified_at if record and record.mtime_ns != _UNTRUSTED else None,
                    url=record.url if record else None,
                    is_part=is_part,
                )
            )
    return found


def verify(
    cache: str | PathLike[str] | None = None, *, progress: Progress | None = None
) -> Iterator[tuple[Entry, bool | None]]:
    """Read every file of the cache whole and compare its SHA-256, one after the other.

    Yields
    ------
    tuple of Entry and bool
        Whether it is what was fetched; None for what has no record. A damaged file is fetched again by the
        next run that needs it.
    """
    for entry in list_cache(cache):
        if not entry.is_part:
            good = is_good(entry.path, thorough=True, progress=progress)
            yield entry, good if entry.fetched_at else None


def to_prune(
    cache: str | PathLike[str] | None = None,
    *,
    older_than_days: float | None = None,
    parts_only: bool = False,
) -> list[Entry]:
    """Say what :func:`prune` is to delete: what was fetched, and what remained of interrupted downloads.

    What was put into the cache by hand has no record, and is never deleted.

    Parameters
    ----------
    cache : path, optional
    older_than_days : float, optional
        Only what was fetched, or interrupted, longer ago.
    parts_only : bool
        Only interrupted downloads.
    """
    limit = None if older_than_days is None else time.time() - older_than_days * 86400
    found = []
    for entry in list_cache(cache):
        is_ours = entry.is_part or (entry.fetched_at is not None and not parts_only)
        if is_ours and (limit is None or _time_of(entry) < limit):
            found.append(entry)
    return found


def prune(entries: Iterable[Entry]) -> list[Entry]:
    """Delete files of :func:`to_prune`; returns those that were deleted, and not being fetched just now.

    Their locks stay behind, which are empty: a lock that is deleted protects nothing.
    """
    gone = []
    for entry in entries:
        path = entry.path
        own = path.with_suffix(STATE) if path.suffix == PART else beside(path, RECORD)
        try:
            with file_lock(path.with_name(final_name(path))).acquire(timeout=0):
                path.unlink(missing_ok=True)
                own.unlink(missing_ok=True)
        except Timeout:
            continue
        gone.append(entry)
    return gone


def _time_of(entry: Entry) -> float:
    if entry.fetched_at is None:
        return entry.path.stat().st_mtime
    return calendar.timegm(time.strptime(entry.fetched_at, "%Y-%m-%dT%H:%M:%SZ"))
