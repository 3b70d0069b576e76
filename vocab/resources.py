"""What exists for a language on the network, and fetching it: fastText vectors."""

from __future__ import annotations

import gzip
import http.client
import os
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import NoReturn

from align.errors import OutputError, UnavailableError, UsageError
from vocab.hub import is_offline

FASTTEXT_URL = "https://dl.fbaipublicfiles.com/fasttext/vectors-crawl"
"""Where the vectors are; VOCAB_TRANSFER_FASTTEXT_URL overrides it."""

# fastText trained one model of both written forms of Norwegian under `no`, and one of Nynorsk.
_FASTTEXT_CODES = {"nb": "no"}
_FASTTEXT_MAGIC = (793712314).to_bytes(4, "little")

_TIMEOUT_S = 30.0
_N_TRIES = 4
_CHUNK = 1 << 20

Progress = Callable[[str, int, int], None]
"""Called with what is going on (`fetch` or `unpack`), bytes done and bytes in all."""


@dataclass(frozen=True)
class Resource:
    """One file that can be had for a language.

    Attributes
    ----------
    kind : str
        `vectors`.
    name, language : str
        Its published name (`cc.sw.300.bin`) and the language's code.
    url : str
        Of the compressed file.
    path : Path
        Where it lies, or will lie, unpacked.
    size_bytes : int or None
        Of the compressed file; None when it is already at `path`, and nothing was asked.
    """

    kind: str
    name: str
    language: str
    url: str
    path: Path
    size_bytes: int | None

    @property
    def is_cached(self) -> bool:
        """Whether `path` is there, so that fetching would do nothing."""
        return self.path.is_file()

    @property
    def notice(self) -> str:
        """One line for a person, before anything large is fetched."""
        if self.is_cached:
            return f"{self.name} is at {self.path}"
        size = (
            "unknown size" if self.size_bytes is None else f"{self.size_bytes / 1e9:.2f} GB, larger unpacked"
        )
        return f"{self.name}: {size}, from {self.url} to {self.path}"


def default_cache() -> Path:
    """VOCAB_TRANSFER_CACHE, else `vocab-transfer` in XDG_CACHE_HOME or ~/.cache."""
    own = os.environ.get("VOCAB_TRANSFER_CACHE")
    shared = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(own or os.path.join(shared, "vocab-transfer")).expanduser()


def fasttext_vectors(
    language: str,
    cache_dir: str | PathLike[str] | None = None,
    *,
    base_url: str | None = None,
    offline: bool | None = None,
) -> Resource:
    """Look up the fastText vectors (Common Crawl and Wikipedia, 300 dimensions) of a language; fetch nothing.

    Parameters
    ----------
    language : str
        Code, as :attr:`vocab.languages.Language.code`.
    cache_dir : path, optional
        By default :func:`default_cache`.
    base_url : str, optional
        By default VOCAB_TRANSFER_FASTTEXT_URL, else :data:`FASTTEXT_URL`.
    offline : bool, optional
        By default as HF_HUB_OFFLINE says.

    Raises
    ------
    UnavailableError
        Not in the cache, and none published for the language, or no network.
    UsageError
        `base_url` is no address.
    """
    name = f"cc.{_FASTTEXT_CODES.get(language, language)}.300.bin"
    base = base_url or os.environ.get("VOCAB_TRANSFER_FASTTEXT_URL") or FASTTEXT_URL
    url = f"{base.rstrip('/')}/{name}.gz"
    path = Path(cache_dir or default_cache()).expanduser() / "fasttext" / name
    if path.is_file():
        return Resource("vectors", name, language, url, path, None)
    if is_offline() if offline is None else offline:
        _unavailable(f"{name} is not at {path}, and offline mode is on", url, path)
    try:
        request = urllib.request.Request(url, method="HEAD")
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            size = answer.headers.get("Content-Length")
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (403, 404):
            _unavailable(
                f"no fastText vectors are published for {language!r} (status {error.code})", url, None
            )
        _unavailable(f"{name} could not be looked up: status {error.code}", url, path)
    except (OSError, http.client.HTTPException) as error:
        _unavailable(f"{name} is not at {path}, and its server does not answer: {_reason(error)}", url, path)
    except ValueError:
        raise UsageError(
            "not an address", got=base, wanted="http(s)://...", where="source of vectors"
        ) from None
    return Resource("vectors", name, language, url, path, None if size is None else int(size))


def fetch(resource: Resource, *, progress: Progress | None = None, retry_wait_s: float = 2.0) -> Path:
    """Fetch and unpack a resource, unless it is there already.

    What arrived before an interruption is kept in a `.part` file next to the target and continued by the next
    call, if the file on the server is still the same one (ETag). The target appears in one move, complete.

    Parameters
    ----------
    resource : Resource
        From :func:`fasttext_vectors`.
    progress : callable, optional
        See :data:`Progress`.
    retry_wait_s : float
        Seconds before the first further try; twice as many before each next one.

    Returns
    -------
    Path
        `resource.path`.

    Raises
    ------
    UnavailableError
        The server failed repeatedly, or what it sent is damaged.
    OutputError
        The cache cannot be written, or the disk is full.
    """
    if resource.is_cached:
        return resource.path
    archive = resource.path.with_name(resource.path.name + ".gz")
    try:
        resource.path.parent.mkdir(parents=True, exist_ok=True)
        if not archive.is_file():
            _download(resource, archive, progress, retry_wait_s)
        _unpack(resource, archive, progress)
    except OSError as error:
        raise OutputError(
            f"{resource.name} cannot be written: {error.strerror or error}",
            where=resource.path.parent,
            hint="Make room, or name another place with VOCAB_TRANSFER_CACHE",
        ) from error
    return resource.path


def fetch_fasttext_vectors(
    language: str,
    cache_dir: str | PathLike[str] | None = None,
    *,
    base_url: str | None = None,
    offline: bool | None = None,
    progress: Progress | None = None,
    notice: Callable[[str], None] | None = None,
) -> Path:
    """Look up the vectors of a language, give notice of their size, and fetch them.

    Parameters and errors are those of :func:`fasttext_vectors` and :func:`fetch`.
    """
    resource = fasttext_vectors(language, cache_dir, base_url=base_url, offline=offline)
    if notice is not None:
        notice(resource.notice)
    return fetch(resource, progress=progress)


def _download(resource: Resource, archive: Path, progress: Progress | None, retry_wait_s: float) -> None:
    part = archive.with_name(archive.name + ".part")
    n_failed = 0
    while True:
        n_before = _size(part)
        try:
            _continue(resource, part, progress)
            break
        except _Interrupted as error:
            n_now = _size(part)
            # a connection that breaks often but moves on is let go on
            n_failed = 1 if n_now > n_before else n_failed + 1
            if n_failed >= _N_TRIES:
                kept = f"; {n_now:,} bytes are kept, the same command continues there" if n_now else ""
                what = f"{resource.name} could not be fetched: {error}{kept}"
                _unavailable(what, resource.url, resource.path)
            time.sleep(retry_wait_s * 2 ** (n_failed - 1))
    os.replace(part, archive)
    _etag_file(part).unlink(missing_ok=True)


class _Interrupted(Exception):
    """The connection ended before the file did; another try may help."""


def _continue(resource: Resource, part: Path, progress: Progress | None) -> None:
    """One request: all of the file, or what is missing of it."""
    etag_file = _etag_file(part)
    n_have = _size(part) if etag_file.is_file() else 0
    if n_have and n_have == resource.size_bytes:
        return
    headers = {"Accept-Encoding": "identity"}
    if n_have:
        headers |= {"Range": f"bytes={n_have}-", "If-Range": etag_file.read_text(encoding="utf-8")}
    with _open(resource, headers, part) as answer:
        n_have = n_have if answer.status == 206 else 0
        length = answer.headers.get("Content-Length")
        n_all = resource.size_bytes if length is None else n_have + int(length)
        if resource.size_bytes not in (None, n_all):
            _discard(part)
            what = f"{resource.name} has {n_all:,} bytes, and {resource.size_bytes:,} were announced"
            _unavailable(what, resource.url, resource.path)
        etag = answer.headers.get("ETag", "W/")
        if etag.startswith("W/"):  # without a strong one nothing tells whether a continuation fits
            etag_file.unlink(missing_ok=True)
        else:
            etag_file.write_text(etag, encoding="utf-8")
        with part.open("ab" if n_have else "wb") as out:
            while chunk := _read(answer):
                out.write(chunk)
                n_have += len(chunk)
                if progress is not None:
                    progress("fetch", n_have, n_all or n_have)
    if n_all is not None and n_have != n_all:
        raise _Interrupted(f"the connection ended after {n_have:,} of {n_all:,} bytes")


def _open(resource: Resource, headers: dict[str, str], part: Path) -> http.client.HTTPResponse:
    try:
        request = urllib.request.Request(resource.url, headers=headers)
        answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # nothing lies beyond what we have, so what we have is not of this file
            _discard(part)
        elif error.code < 500 and error.code not in (408, 429):
            what = f"{resource.name} could not be fetched: status {error.code}"
            _unavailable(what, resource.url, resource.path)
        raise _Interrupted(f"status {error.code}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _Interrupted(_reason(error)) from error
    return answer


def _read(answer: http.client.HTTPResponse) -> bytes:
    # apart from writing, whose errors are also OSErrors and mean something else
    try:
        return answer.read(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _Interrupted(_reason(error)) from error


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _etag_file(part).unlink(missing_ok=True)


def _unpack(resource: Resource, archive: Path, progress: Progress | None) -> None:
    # a name of our own, so that two runs at once do not write into one file
    unpacked = resource.path.with_name(f"{resource.path.name}.{os.getpid()}.tmp")
    n_all = archive.stat().st_size
    try:
        with archive.open("rb") as packed, gzip.open(packed) as stream, unpacked.open("wb") as out:
            start = stream.read(len(_FASTTEXT_MAGIC))
            if start != _FASTTEXT_MAGIC:
                raise gzip.BadGzipFile("not a fastText model")
            out.write(start)
            while chunk := stream.read(_CHUNK):
                out.write(chunk)
                if progress is not None:
                    progress("unpack", packed.tell(), n_all)
        os.replace(unpacked, resource.path)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        archive.unlink()  # kept, it would fail every later run in the same way
        _unavailable(f"{resource.name} arrived damaged ({error})", resource.url, resource.path)
    finally:
        unpacked.unlink(missing_ok=True)
    archive.unlink()


def _etag_file(part: Path) -> Path:
    return part.with_name(part.name + ".etag")


def _reason(error: BaseException) -> str:
    return str(getattr(error, "reason", error)) or type(error).__name__


def _unavailable(what: str, url: str, path: Path | None) -> NoReturn:
    hint = "Pass vectors of your own, or text to train them on"
    if path is not None:
        hint = f"Where there is a network, fetch {url} and unpack it to {path}; or pass vectors of your own"
    raise UnavailableError(what, where=url if path is None else None, hint=hint)
