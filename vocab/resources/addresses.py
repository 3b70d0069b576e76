"""Addresses of all sources, each of which an environment variable overrides (mirrors, tests)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from align.errors import UsageError


@dataclass(frozen=True)
class Address:
    """Where a source is.

    Attributes
    ----------
    url : str
        Its own address.
    variable : str
        The environment variable that overrides it.
    """

    url: str
    variable: str


ADDRESSES = {
    "opus": Address("https://opus.nlpl.eu/opusapi/", "VOCAB_TRANSFER_OPUS_URL"),
    "opus-files": Address("https://object.pouta.csc.fi/", "VOCAB_TRANSFER_OPUS_FILES_URL"),
    "fasttext": Address(
        "https://dl.fbaipublicfiles.com/fasttext/vectors-crawl/", "VOCAB_TRANSFER_FASTTEXT_URL"
    ),
    "hub": Address("https://huggingface.co/", "HF_ENDPOINT"),
}
"""The hub's variable is huggingface_hub's own."""


def address(source: str) -> str:
    """Address of a source, from the environment at the time of the call; ends with ``/``.

    Raises
    ------
    UsageError
        The variable holds no address.
    """
    known = ADDRESSES[source]
    url = os.environ.get(known.variable) or known.url
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
        raise UsageError("not an address", got=url, wanted="http(s)://...", where=known.variable)
    return url.rstrip("/") + "/"


def mirrored(url: str) -> str:
    """`url`, or the same file on the mirror where OPUS's own files are to come from one."""
    own = ADDRESSES["opus-files"].url
    return address("opus-files") + url[len(own) :] if url.startswith(own) else url
