"""What ``--fetch`` may say."""

from __future__ import annotations

from dataclasses import dataclass

from align.errors import UsageError

AUTO = "opus:auto"
NONE = "none"
FORMS = (
    "opus:auto, opus:NAME[@VERSION], text:NAME, vectors:cc, vectors:cc.vec, hf:ORG/NAME/PATH[@REVISION], none"
)


@dataclass(frozen=True)
class Request:
    """One thing to fetch.

    Attributes
    ----------
    source : {"opus", "text", "vectors", "hf", "none"}
    name : str
        Corpus, kind of vectors, or path on the hub.
    version : str or None
        Version or revision.
    """

    source: str
    name: str
    version: str | None = None


def parse(item: str) -> Request:
    """Read one request.

    Raises
    ------
    UsageError
        For anything else than :data:`FORMS`.
    """
    source, _, rest = item.partition(":")
    name, _, version = rest.partition("@")
    request = Request(source, name, version or None)
    if item == NONE or item in ("vectors:cc", "vectors:cc.vec"):
        return request
    is_name = bool(name) and "/" not in name
    if (source == "opus" and is_name) or (source == "text" and is_name and not version):
        return request
    if source == "hf" and name.count("/") >= 2 and all(name.split("/")):
        return request
    raise UsageError("nothing to fetch by that name", got=item, wanted=FORMS)
