"""Small JSON answers of servers, kept in the cache so that a second run asks nobody."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from align.errors import OutputError, UnavailableError
from vocab.fetching.cache import keep
from vocab.fetching.web import read_url

FRESH_S = 7 * 24 * 3600.0
_RETRY_WAIT_S = 0.5  # somebody waits before the first word on the screen
T = TypeVar("T")


def ask(url: str, folder: Path, *, label: str, name: str, understand: Callable[[Any], T], offline: bool) -> T:
    """What a server answers as JSON, or answered within the last week.

    Parameters
    ----------
    url : str
    folder : Path
        Where answers are kept. One of any age serves when the server cannot be asked.
    label : str
        With what the kept file's name begins.
    name : str
        What messages call it, in the plural.
    understand : callable
        Makes the result of the JSON; raises UnavailableError for what it does not understand, which is then
        not kept.
    offline : bool
        Ask nobody.

    Raises
    ------
    UnavailableError
        No answer, or none that can be understood, and none was kept.
    OutputError
        The cache cannot be written.
    """
    kept = folder / f"{label}.{hashlib.sha256(url.encode()).hexdigest()[:12]}.json"
    with contextlib.suppress(OSError, ValueError, UnavailableError):
        old = understand(json.loads(kept.read_text(encoding="utf-8")))
        if offline or time.time() - kept.stat().st_mtime < FRESH_S:
            return old
        with contextlib.suppress(UnavailableError):
            return _fresh(url, kept, name, understand)
        return old
    if offline:
        # the address last: the sentence is about what it lists
        raise UnavailableError(f"offline mode is on, and {name} were never looked up here ({url})")
    return _fresh(url, kept, name, understand)


def _fresh(url: str, kept: Path, name: str, understand: Callable[[Any], T]) -> T:
    text = read_url(url, name=name, retry_wait_s=_RETRY_WAIT_S)
    try:
        answer = json.loads(text)
    except ValueError:
        start = text[:40].decode(errors="replace")
        raise UnavailableError(f"{name}: the answer is no JSON", got=repr(start), where=url) from None
    understood = understand(answer)
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        keep(kept, text, url=url)
    except OSError as error:
        raise OutputError(
            f"the cache cannot be written: {error.strerror}",
            where=kept.parent,
            hint="Make room, or name another place with VOCAB_TRANSFER_CACHE",
        ) from error
    return understood
