"""Requests to a server: which redirects are followed, what is tried again, and how long to wait.

The standard library's client is enough for this: it knows proxies (``http_proxy``, ``https_proxy``,
``no_proxy``), and what a larger client would add, retries of a request, stops where a body begins.
"""

from __future__ import annotations

import email.utils
import http.client
import random
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, TypeVar

from align._version import __version__
from align.errors import UnavailableError, UsageError

Response = http.client.HTTPResponse
T = TypeVar("T")

TIMEOUT_S = 30.0
"""How long a connection may take to be made, or to say nothing."""
RETRY_WAIT_S = 2.0
_LOOK_WAIT_S = 0.5  # somebody waits before the first word on the screen
N_TRIES = 4
MAX_WAIT_S = 120.0
"""A server that asks for a longer pause is left alone until another day."""

_LONG_WAIT_S = 3.0
_MISSING = (403, 404, 410)
_TRANSIENT = (408, 425, 429)


class Interrupted(Exception):
    """The server failed, or the connection ended before the body did; another try may help."""

    def __init__(self, why: str, *, retry_after_s: float = 0.0) -> None:
        super().__init__(why)
        self.retry_after_s = retry_after_s


class Refused(Exception):
    """An answer that another try would not change."""

    def __init__(self, why: str, *, status: int | None = None) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True)
class Announced:
    """What a server says of a file: its size in bytes and its tag, where it says them."""

    size_bytes: int | None
    etag: str | None


class _Redirects(urllib.request.HTTPRedirectHandler):
    # to another host: yes, stores of large files work so; to another kind of address: no
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: object, newurl: str
    ) -> urllib.request.Request | None:
        kinds = ("https",) if req.full_url.lower().startswith("https:") else ("http", "https")
        if urllib.parse.urlsplit(newurl).scheme.lower() not in kinds:
            raise Refused(f"redirected from {req.full_url} to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]

    http_error_308 = urllib.request.HTTPRedirectHandler.http_error_302  # the standard library's since 3.11


def check_address(url: str) -> None:
    """Refuse, with a UsageError, what is no http(s) address."""
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        raise _no_address(url) from None
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
        raise _no_address(url)


def open_url(
    url: str, *, method: str = "GET", headers: dict[str, str] | None = None, timeout_s: float = TIMEOUT_S
) -> Response:
    """One request; the answer's body is not read yet.

    Raises
    ------
    Interrupted, Refused
    UsageError
        `url` is no http(s) address.
    """
    check_address(url)
    own = {"User-Agent": f"vocab-transfer/{__version__}", "Accept-Encoding": "identity"}
    try:
        request = urllib.request.Request(url, method=method, headers=own | (headers or {}))
        # an opener of its own, since the proxies are those of the environment when it is made
        return urllib.request.build_opener(_Redirects).open(request, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        error.close()
        why = f"status {error.code}"
        if error.code in _TRANSIENT or error.code >= 500:
            raise Interrupted(why, retry_after_s=_retry_after_s(error.headers.get("Retry-After"))) from error
        raise Refused(why, status=error.code) from error
    except (http.client.InvalidURL, ValueError):
        raise _no_address(url) from None
    except (OSError, http.client.HTTPException) as error:
        if isinstance(getattr(error, "reason", None), ssl.SSLCertVerificationError):
            raise Refused(f"its certificate is not trusted: {_reason(error)}") from error
        raise Interrupted(_reason(error)) from error


def read_some(answer: Response, n_bytes: int) -> bytes:
    """What has arrived of a body, at most `n_bytes`, none at its end; a broken connection is Interrupted.

    Ask no more when the announced length is reached: the server may keep the connection open.
    """
    try:
        return answer.read1(n_bytes)  # read() would lose what came before a connection stalls
    except (OSError, http.client.HTTPException) as error:
        raise Interrupted(_reason(error)) from error


def insist(
    attempt: Callable[[], T],
    *,
    retry_wait_s: float,
    position: Callable[[], int] = lambda: 0,
    notice: Callable[[str], None] | None = None,
) -> T:
    """Call `attempt` until it is not :class:`Interrupted`, and :data:`N_TRIES` times at most.

    Between calls it waits `retry_wait_s`, twice as long each time, less a random part so that many clients do
    not come back at once; or as long as the server asks, and `notice` is told. A connection that breaks often
    but moves on (`position` grows) is let go on.
    """
    n_failed, n_best = 0, position()
    while True:
        try:
            return attempt()
        except Interrupted as error:
            n_failed = 1 if position() > n_best else n_failed + 1
            n_best = max(n_best, position())
            if n_failed >= N_TRIES:
                raise
            if error.retry_after_s > MAX_WAIT_S:
                raise Interrupted(f"{error}, come back in {error.retry_after_s:,.0f} s") from error
            wait_s = max(retry_wait_s * 2 ** (n_failed - 1) * random.uniform(0.5, 1.0), error.retry_after_s)
            if notice is not None and wait_s >= _LONG_WAIT_S:
                notice(f"{error}; trying again in {wait_s:.0f} s")
            time.sleep(wait_s)


def probe(
    url: str, *, name: str, timeout_s: float = TIMEOUT_S, retry_wait_s: float = _LOOK_WAIT_S
) -> Announced | None:
    """Ask for a file's size without fetching it; None when there is no such file (status 403, 404, 410).

    Raises
    ------
    UnavailableError
        The server does not answer, or not with a file.
    UsageError
        `url` is no address.
    """

    def ask() -> Announced:
        with open_url(url, method="HEAD", timeout_s=timeout_s) as answer:
            return Announced(content_length(answer), answer.headers.get("ETag"))

    try:
        return insist(ask, retry_wait_s=retry_wait_s)
    except Refused as error:
        if error.status in _MISSING:
            return None
        raise UnavailableError(f"{name} could not be looked up: {error}", where=url) from error
    except Interrupted as error:
        raise UnavailableError(f"{name} could not be looked up: {error}", where=url) from error


def read_url(
    url: str,
    *,
    name: str,
    max_bytes: int = 16 << 20,
    timeout_s: float = TIMEOUT_S,
    retry_wait_s: float = _LOOK_WAIT_S,
) -> bytes:
    """The body of a small answer, such as that of an index or an API.

    Raises
    ------
    UnavailableError
        No answer, or one of more than `max_bytes`.
    UsageError
        `url` is no address.
    """

    def ask() -> bytes:
        with open_url(url, timeout_s=timeout_s) as answer:
            length = content_length(answer)
            body = b""
            while len(body) <= max_bytes and len(body) != length and (block := read_some(answer, 1 << 16)):
                body += block
        if len(body) > max_bytes:
            raise Refused(f"the answer is longer than {max_bytes:,} bytes")
        if length not in (None, len(body)):
            raise Interrupted(f"the connection ended after {len(body):,} of {length:,} bytes")
        return body

    try:
        return insist(ask, retry_wait_s=retry_wait_s)
    except (Refused, Interrupted) as error:
        raise UnavailableError(f"{name} could not be looked up: {error}", where=url) from error


def content_length(answer: Response) -> int | None:
    """The announced length of an answer's body in bytes, None where there is none."""
    length = answer.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


def _no_address(url: str) -> UsageError:
    return UsageError("not an address", got=url, wanted="http(s)://...")


def _retry_after_s(value: str | None) -> float:
    """Seconds that a server asks to wait, given as seconds or as a date."""
    if value is None:
        return 0.0
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0


def _reason(error: BaseException) -> str:
    if isinstance(error, http.client.IncompleteRead):
        return "the connection ended early"
    reason = getattr(error, "reason", error)
    return str(getattr(reason, "strerror", None) or reason) or type(error).__name__
