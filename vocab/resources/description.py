"""What can be had for a language: one description, whatever the source."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from align.errors import UnavailableError

Kind = Literal["parallel", "vectors", "text", "lexicon", "model"]
SEE_ARCHIVE = "see LICENSE in the archive"
_PLAIN_NAME = re.compile(r"[^\W_][\w.+-]*")


@dataclass(frozen=True)
class Resource:
    """One thing that can be had for a language.

    Attributes
    ----------
    kind : {"parallel", "vectors", "text", "lexicon", "model"}
    source : str
        ``opus``, ``fasttext``, ``hub``, ``bundled`` or ``folder``.
    name, version : str
        As its source calls it (`GlobalVoices`, `v2018q4`); `version` is empty where there are none.
    src : str or None
        Language of the first side, by the source's own code; None for what has one language.
    tgt : str
        Language of the second side or of the only one, by the source's own code.
    n_pairs : int or None
        Sentence pairs or entries, as announced.
    size_bytes : int or None
        Of the file that is fetched, as announced; None where nobody says.
    url : str
        Where it comes from; empty for what is on this machine.
    licence : str
        A note, no advice: what decides lies with the resource.
    file : Path
        Where it is, or will be: relative to the cache, or absolute.
    sha256 : str or None
        What the file must hash to, where that is known.
    """

    kind: Kind
    source: str
    name: str
    version: str
    src: str | None
    tgt: str
    n_pairs: int | None
    size_bytes: int | None
    url: str
    licence: str
    file: Path
    sha256: str | None = None

    def path(self, cache: Path) -> Path:
        """Where it lies, or will lie, given the cache's folder."""
        return cache / self.file

    @property
    def is_local(self) -> bool:
        """On this machine by itself, not by being fetched."""
        return not self.url

    @property
    def label(self) -> str:
        """``GlobalVoices v2018q4``."""
        return f"{self.name} {self.version}".strip()

    @property
    def languages(self) -> str:
        """``en-sw`` or ``sw``."""
        return self.tgt if self.src is None else f"{self.src}-{self.tgt}"


def plain_name(name: object, *, where: str) -> str:
    """A name that a server gave and that becomes a part of a path, if it can be one.

    Raises
    ------
    UnavailableError
        For ``../x``, and for everything that is no name.
    """
    if isinstance(name, str) and _PLAIN_NAME.fullmatch(name):
        return name
    raise UnavailableError("the answer holds a name that is none", got=repr(name), where=where)
