"""Fetching one file: resumed, checked, in its place in one move, and once for all runs."""

from __future__ import annotations

import glob
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import NoReturn

from align.errors import InputError, OutputError, UnavailableError
from vocab.fetching import web
from vocab.fetching.archives import gunzip as unpack_gzip
from vocab.fetching.cache import (
    PART,
    STATE,
    Progress,
    beside,
    is_good,
    locked,
    put,
    write_json,
)
from vocab.hub import is_offline

_CHUNK = 1 << 18
_UNPACKED_RATIO = 1.5
"""How much larger than its .gz an unpacked file is taken to be before that is known."""


@dataclass(frozen=True)
class _State:
    """Of which file a `.part` is a part."""

    url: str
    etag: str | None
    last_modified: str | None
    size_bytes: int | None


@dataclass(frozen=True)
class _Job:
    url: str
    path: Path
    name: str
    size_bytes: int | None
    progress: Progress | None
    timeout_s: float
    hint: str

    @property
    def part(self) -> Path:
        return beside(self.path, PART)

    @property
    def n_have(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def discard(self) -> None:
        pieces = self.path.parent.glob(f"{glob.escape(self.part.name)}.*.tmp")  # of a run that was killed
        for path in (self.part, beside(self.path, STATE), *pieces):
            path.unlink(missing_ok=True)

    def fail(self, what: str, cause: BaseException | None = None) -> NoReturn:
        raise UnavailableError(what, where=self.url, hint=self.hint) from cause


def download(
    url: str,
    path: str | PathLike[str],
    *,
    name: str | None = None,
    size_bytes: int | None = None,
    gunzip: bool = False,
    check: Callable[[Path], object] | None = None,
    progress: Progress | None = None,
    notice: Callable[[str], None] | None = None,
    offline: bool | None = None,
    hint: str | None = None,
    retry_wait_s: float = web.RETRY_WAIT_S,
    timeout_s: float = web.TIMEOUT_S,
) -> Path:
    """Fetch a file to its place in the cache, unless it is there and good.

    What arrives is kept in a `.part` file and continued after an interruption, by the same call or by a later
    one, if the server's file is still the same (ETag, or time of change, and length). `path` appears in one
    move, complete and checked, with a record of where it came from and its SHA-256. One process at a time
    fetches a file; others wait, and find it there.

    Parameters
    ----------
    url : str
        http(s) address; proxies as the environment says.
    path : path
        Where the file will lie.
    name : str, optional
        What messages call it; by default the last part of `path`.
    size_bytes : int, optional
        Length that was announced, and that has to be true.
    gunzip : bool
        What `url` serves is a .gz; `path` is the unpacked file.
    check : callable, optional
        Called with the complete file before it is moved to `path`; raises InputError when it is damaged.
    progress, notice : callable, optional
        See :data:`vocab.fetching.cache.Progress`; `notice` gets sentences for a person.
    offline : bool, optional
        Use what is there, and ask nobody. By default as :func:`vocab.hub.is_offline` says.
    hint : str, optional
        What a person can do when the file cannot be had.
    retry_wait_s : float
        Seconds before the first further try; twice as many before each next one, or what the server asks.
    timeout_s : float
        How long a connection may say nothing.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    UnavailableError
        Offline and not there; the server failed repeatedly; what it sent is damaged, or is not as long as
        announced.
    OutputError
        The cache cannot be written, or the disk is full or too small.
    UsageError
        `url` is no address.

    Notes
    -----
    Needs room for the file; with `gunzip` for both forms of it where there is room, else for the larger one.
    Time is the network's, plus one to three seconds a gigabyte for the SHA-256.
    """
    path = Path(path)
    name = name or path.name
    found = is_good(path, progress=progress)
    if found:
        return path
    if hint is None:
        unpack = "unpack it to" if gunzip else "put it at"
        hint = f"Where there is a network, fetch {url} and {unpack} {path}"
    job = _Job(url, path, name, size_bytes, progress, timeout_s, hint)
    state = (
        f"is not at {path}"
        if found is None
        else f"at {path} is not what was fetched (its size or SHA-256 differs)"
    )
    if is_offline() if offline is None else offline:
        job.fail(f"{name} {state}, and offline mode is on")
    web.check_address(url)
    if found is False and notice is not None:
        notice(f"{name} {state}; fetching it again")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path, notice=notice):
            if not is_good(path):  # another run may have fetched it meanwhile
                _fetch(job, gunzip=gunzip, check=check, notice=notice, retry_wait_s=retry_wait_s)
    except OSError as error:
        raise OutputError(
            f"{name} cannot be written: {error.strerror or error}",
            where=path.parent,
            hint="Make room, or name another place with VOCAB_TRANSFER_CACHE",
        ) from error
    return path


def _fetch(
    job: _Job,
    *,
    gunzip: bool,
    check: Callable[[Path], object] | None,
    notice: Callable[[str], None] | None,
    retry_wait_s: float,
) -> None:
    try:
        web.insist(
            lambda: _continue(job, gunzip=gunzip),
            retry_wait_s=retry_wait_s,
            position=lambda: job.n_have,
            notice=notice,
        )
    except web.Interrupted as error:
        kept = f"; {job.n_have:,} bytes are kept, the same command continues there" if job.n_have else ""
        job.fail(f"{job.name} could not be fetched: {error}{kept}", error)
    except web.Refused as error:
        job.fail(f"{job.name} could not be fetched: {error}", error)
    state = _read_state(job)
    new = job.part
    try:
        if gunzip:
            new = beside(job.path, ".tmp")
            unpack_gzip(job.part, new, progress=job.progress)
        if check is not None:
            check(new)
        put(
            new,
            job.path,
            url=job.url,
            etag=state.etag,
            last_modified=state.last_modified,
            progress=job.progress,
        )
    except InputError as error:
        job.discard()  # kept, it would fail every later run in the same way
        got = "" if error.got is None else f" ({error.got})"
        raise UnavailableError(
            f"{job.name} arrived, and is refused: {error.what}{got}",
            where=job.url,
            hint="Nothing of it is kept, the same command fetches it anew",
        ) from error
    finally:
        if gunzip:
            new.unlink(missing_ok=True)
    job.discard()


def _continue(job: _Job, *, gunzip: bool) -> None:
    """One request: all of the file, or what is missing of it."""
    state = _read_state(job)
    n_have = job.n_have if state.url == job.url else 0
    if n_have and n_have == state.size_bytes and job.size_bytes in (None, n_have):
        return
    # If-Range takes a strong tag or a time; without either nothing tells whether a continuation fits
    strong = state.etag if state.etag and not state.etag.startswith("W/") else None
    tag = strong or state.last_modified
    headers = {"Range": f"bytes={n_have}-", "If-Range": tag} if n_have and tag else {}
    try:
        answer = web.open_url(job.url, headers=headers, timeout_s=job.timeout_s)
    except web.Refused as error:
        if error.status != 416:
            raise
        job.discard()  # nothing lies beyond what we have, so what we have is not of this file
        raise web.Interrupted(str(error)) from error
    with answer:
        is_rest = answer.status == 206 and bool(headers)
        if answer.status != 200 and not is_rest:
            raise web.Refused(f"status {answer.status}")
        found = _state_of(job, answer, n_have if is_rest else 0)
        if is_rest and not _same(found, state):
            job.discard()
            raise web.Interrupted("the file on the server has changed")
        n_have = n_have if is_rest else 0
        n_all = found.size_bytes
        if job.size_bytes is not None and n_all not in (None, job.size_bytes):
            if is_rest:  # else what is kept may be of the true file, and this a page that asks to log in
                job.discard()
            raise web.Refused(f"it has {n_all:,} bytes, and {job.size_bytes:,} were announced")
        if n_all is None and job.size_bytes is None and not answer.chunked:
            raise web.Refused("the server does not say how long it is, so that an end would look like a drop")
        _need_room(job, (n_all or 0) - n_have, n_all or 0, gunzip=gunzip)
        if not is_rest:
            job.discard()
            write_json(beside(job.path, STATE), found)
        with job.part.open("ab") as out:
            while n_have != n_all and (chunk := web.read_some(answer, _CHUNK)):
                out.write(chunk)
                n_have += len(chunk)
                if job.progress is not None:
                    job.progress(f"fetch {job.name}", n_have, n_all or 0)
    wanted = n_all if n_all is not None else job.size_bytes
    if wanted is not None and n_have > wanted:
        job.discard()
        raise web.Refused(f"it has more than the {wanted:,} bytes that were announced")
    if wanted is not None and n_have < wanted:
        raise web.Interrupted(f"the connection ended after {n_have:,} of {wanted:,} bytes")


def _state_of(job: _Job, answer: web.Response, first: int) -> _State:
    length = web.content_length(answer)
    if first:
        span, _, total = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        if not span.startswith(f"{first}-"):
            job.discard()
            raise web.Refused(f"asked for its bytes from {first:,} on, the server sent {span or 'others'}")
        length = int(total) if total.isdecimal() else None
    return _State(job.url, answer.headers.get("ETag"), answer.headers.get("Last-Modified"), length)


def _same(found: _State, state: _State) -> bool:
    # what a server leaves out of a later answer says nothing
    pairs = ((found.etag, state.etag), (found.size_bytes, state.size_bytes))
    return all(a == b for a, b in pairs if a is not None and b is not None)


def _read_state(job: _Job) -> _State:
    try:
        return _State(**json.loads(beside(job.path, STATE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return _State(job.url, None, None, None)


def _need_room(job: _Job, n_missing: int, n_all: int, *, gunzip: bool) -> None:
    n_needed = n_missing
    if gunzip:  # the .gz is given up piece by piece where both do not fit
        n_needed += int(n_all * (_UNPACKED_RATIO - 1))
    n_free = shutil.disk_usage(job.path.parent).free
    if n_needed > n_free:
        raise OutputError(
            f"no room for {job.name}",
            got=f"{n_free / 1e6:,.0f} MB free",
            wanted=f"{n_needed / 1e6:,.0f} MB",
            where=job.path.parent,
            hint="Make room, or name another place with VOCAB_TRANSFER_CACHE",
        )
