"""Sentence pairs from TMX, the exchange format of translation memories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from xml.parsers import expat

from align.errors import InputError
from align.textfiles import DamagedFile, open_binary

_CHUNK_BYTES = 1 << 16
# what these hold is markup of a word processor, not text
_MARKUP = frozenset({"bpt", "ept", "it", "ph", "ut"})


def iter_tmx(
    path: Path, skipped: Counter[str], *, languages: tuple[str, str] | None = None
) -> Iterator[tuple[str, str]]:
    """Segments of the two languages of every translation unit.

    Parameters
    ----------
    path : path
        Compressed or not.
    skipped : Counter
        Gets the number of units that lack one of the languages, which are passed over.
    languages : (str, str), optional
        Such as ``("en", "sw")``; ``en`` takes ``en-GB`` too. Without them: the source language of the header
        and the other one of the file.

    Raises
    ------
    InputError
        With file and line, for XML that is not well-formed or declares entities (which could blow up, or name
        other files), for a file of three languages when none are named, and if a language is not in it.

    Notes
    -----
    Memory: one chunk of 64 KiB and its units, whatever the size of the file.
    """
    reader = _Reader(path, skipped, languages)
    with open_binary(path) as stream:
        try:
            while chunk := stream.read(_CHUNK_BYTES):
                reader.parser.Parse(chunk, False)
                yield from reader.take()
            reader.parser.Parse(b"", True)
        except expat.ExpatError as error:
            raise InputError(
                f"not well-formed XML: {expat.errors.messages[error.code]}", where=f"{path}:{error.lineno}"
            ) from None
        except DamagedFile as error:
            raise InputError(
                f"the compressed file is damaged or cut off ({error})",
                where=f"{path}:{reader.parser.CurrentLineNumber}",
            ) from None
    yield from reader.take()
    reader.finish()


class _Reader:
    def __init__(self, path: Path, skipped: Counter[str], languages: tuple[str, str] | None) -> None:
        self.path = path
        self.skipped = skipped
        self.named = languages is not None
        self.languages = [tag(language) for language in languages or ()]
        self.seen: dict[str, None] = {}
        self.found: list[tuple[str, str]] = []
        self.n_found = 0
        self.unit: dict[int, str] = {}
        self.side = -1
        self.text: list[str] | None = None
        self.markup = 0
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.characters
        self.parser.EntityDeclHandler = self.entity

    @property
    def place(self) -> str:
        return f"{self.path}:{self.parser.CurrentLineNumber}"

    def take(self) -> list[tuple[str, str]]:
        taken, self.found = self.found, []
        self.n_found += len(taken)
        return taken

    def finish(self) -> None:
        if not self.n_found:
            raise InputError(
                "no unit has both languages",
                where=self.path,
                got=", ".join(self.seen) or "no units",
                wanted=" and ".join(self.languages) or "two languages",
            )

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "header" and not self.languages:
            source = tag(attributes.get("srclang", ""))
            if source and source != "*all*":
                self.languages = [source]
        elif name == "tu":
            self.unit = {}
        elif name == "tuv":
            self.side = self.side_of(tag(attributes.get("xml:lang") or attributes.get("lang") or ""))
        elif name == "seg":
            self.text, self.markup = [], 0
        elif name in _MARKUP:
            self.markup += 1

    def end(self, name: str) -> None:
        if name in _MARKUP:
            self.markup -= 1
        elif name == "seg" and self.text is not None:
            if self.side >= 0:
                self.unit.setdefault(self.side, "".join(self.text))
            self.text = None
        elif name == "tu":
            if len(self.unit) == 2:
                self.found.append((self.unit[0], self.unit[1]))
            else:
                self.skipped["without one of the languages"] += 1

    def characters(self, text: str) -> None:
        if self.text is not None and not self.markup:
            self.text.append(text)

    def entity(self, *_: object) -> None:
        raise InputError("the file declares entities, which are not read", where=self.place)

    def side_of(self, language: str) -> int:
        self.seen.setdefault(language)
        for side, wanted in enumerate(self.languages):
            if language == wanted or language.startswith(f"{wanted}-"):
                return side
        if self.named:
            return -1
        if len(self.languages) == 2:
            raise InputError(
                "a file of more than two languages",
                where=self.place,
                got=", ".join(self.seen),
                hint="name the two that are wanted",
            )
        self.languages.append(language)
        return len(self.languages) - 1


def tag(language: str) -> str:
    """A language tag in the form in which they are compared."""
    return language.strip().lower().replace("_", "-")
