"""Sentence pairs from gettext catalogues, ``.po`` and ``.mo``: original and translation of every message."""

from __future__ import annotations

import codecs
import re
import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from align.errors import InputError
from align.textfiles import DamagedFile, open_binary

_KEYWORD = re.compile(r'(msgctxt|msgid_plural|msgid|msgstr)(?:\[([0-9]{1,3})\])?\s*"(.*)"')
_CONTINUED = re.compile(r'"(.*)"')
_GOOD = re.compile(r'(?:[^"\\]|\\.)*')
_ESCAPE = re.compile(r"((?:\\(?:[0-7]{1,3}|x[0-9A-Fa-f]{2}))+)|\\(.)")
_CODE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|([0-7]{1,3}))")
_SIMPLE = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_CHARSET = re.compile(r"charset=([\w.:-]+)", re.IGNORECASE)
_MO_MAGIC = {b"\xde\x12\x04\x95": "<", b"\x95\x04\x12\xde": ">"}


@dataclass
class _Entry:
    texts: dict[str, list[str]] = field(default_factory=dict)
    fuzzy: bool = False

    def text(self, key: str) -> str:
        return "".join(self.texts.get(key, ()))

    @property
    def forms(self) -> list[str]:
        """Translations by number of the plural form."""
        keys = [key for key in self.texts if key.startswith("msgstr")]
        return [self.text(key) for key in sorted(keys, key=lambda key: int(key[6:] or 0))]


def iter_po(path: Path, skipped: Counter[str]) -> Iterator[tuple[str, str]]:
    """Messages of a ``.po`` catalogue with their translations.

    A message with a plural gives two pairs or more: the singular with the first form, the plural with each of
    the others (with the first, in a language of one form). The charset is what the header says.

    Parameters
    ----------
    path : path
        Compressed or not.
    skipped : Counter
        Gets the numbers of fuzzy, obsolete and untranslated entries, which are passed over.

    Raises
    ------
    InputError
        With file and line, for a line that is not gettext's or not in the charset.
    """
    charset = "utf-8"
    entry = _Entry()
    key = ""
    with open_binary(path) as stream:
        number = 0
        try:
            for number, raw in enumerate(stream, start=1):
                try:
                    line = raw.decode("utf-8-sig" if number == 1 else charset).strip()
                except UnicodeDecodeError as error:
                    raise InputError(
                        f"the catalogue is not {charset.upper()}",
                        got=f"byte 0x{raw[error.start]:02x}",
                        where=f"{path}:{number}",
                    ) from None
                keyword = _KEYWORD.fullmatch(line)
                starts = keyword is not None and keyword[1] in ("msgctxt", "msgid")
                if entry.forms and (not line or line.startswith("#") or starts):
                    charset = _charset(entry, charset, f"{path}:{number}")
                    yield from _translated(entry, skipped)
                    entry = _Entry()
                if line.startswith("#"):
                    entry.fuzzy |= line[1:2] in (",", "=") and "fuzzy" in line
                    if re.match(r"#~\s*msgid\s", line):
                        skipped["obsolete"] += 1
                    continue
                if not line:
                    continue
                more = _CONTINUED.fullmatch(line)
                text = keyword[3] if keyword else more[1] if more and key else None
                if text is None or not _GOOD.fullmatch(text):
                    raise InputError(
                        "not a line of a gettext catalogue",
                        got=repr(line[:40]),
                        wanted='msgid "..." or msgstr "..."',
                        where=f"{path}:{number}",
                    )
                if keyword:
                    key = keyword[1] + (keyword[2] or "")
                entry.texts.setdefault(key, []).append(_unescaped(text, charset, f"{path}:{number}"))
        except DamagedFile as error:
            raise InputError(
                f"the compressed file is damaged or cut off ({error})", where=f"{path}:{number + 1}"
            ) from None
    if entry.forms:
        yield from _translated(entry, skipped)


def iter_mo(path: Path, skipped: Counter[str]) -> Iterator[tuple[str, str]]:
    """Messages of a compiled catalogue, of either byte order, with their translations; see :func:`iter_po`.

    Raises
    ------
    InputError
        If the file is no catalogue, is cut off, or is not in its charset.
    """
    try:
        with open_binary(path) as stream:
            data = stream.read()
    except DamagedFile as error:
        raise InputError(f"the compressed file is damaged or cut off ({error})", where=path) from None
    order = _MO_MAGIC.get(data[:4])
    if order is None or len(data) < 20:
        raise InputError("not a compiled gettext catalogue", where=path)
    n, ids_at, texts_at = struct.unpack_from(f"{order}3I", data, 8)
    if max(ids_at, texts_at) + 8 * n > len(data):
        raise InputError("the catalogue is cut off", where=path, got=f"{len(data)} bytes for {n} messages")

    def bytes_at(table: int, k: int) -> bytes:
        length, start = struct.unpack_from(f"{order}2I", data, table + 8 * k)
        if start + length > len(data):
            raise InputError(
                "a message beyond the end of the catalogue",
                where=path,
                got=f"message {k} of {n}, byte {start + length}",
                wanted=f"at most {len(data)}",
            )
        return data[start : start + length]

    charset = "utf-8"
    for k in range(n):
        if not bytes_at(ids_at, k):
            header = _Entry({"msgid": [""], "msgstr": [bytes_at(texts_at, k).decode("latin-1")]})
            charset = _charset(header, charset, str(path))
    for k in range(n):
        try:
            ids = bytes_at(ids_at, k).decode(charset).rpartition("\x04")[2].split("\0")
            forms = bytes_at(texts_at, k).decode(charset).split("\0")
        except UnicodeDecodeError:
            raise InputError(
                f"the catalogue is not {charset.upper()}", where=path, got=f"message {k}"
            ) from None
        yield from _pairs(ids[0], ids[1] if len(ids) > 1 else "", forms, skipped)


def _translated(entry: _Entry, skipped: Counter[str]) -> Iterator[tuple[str, str]]:
    if entry.fuzzy and entry.text("msgid"):
        skipped["fuzzy"] += 1
        return
    yield from _pairs(entry.text("msgid"), entry.text("msgid_plural"), entry.forms, skipped)


def _pairs(msgid: str, plural: str, forms: list[str], skipped: Counter[str]) -> Iterator[tuple[str, str]]:
    if not msgid:  # the header
        return
    if not any(forms):
        skipped["untranslated"] += 1
        return
    if not plural:
        yield msgid, forms[0]
    elif len(forms) == 1:
        yield plural, forms[0]
    else:
        yield msgid, forms[0]
        for form in forms[1:]:
            yield plural, form


def _charset(entry: _Entry, before: str, where: str) -> str:
    if entry.text("msgid") or "msgctxt" in entry.texts:
        return before
    found = _CHARSET.search(entry.text("msgstr"))
    if found is None or found[1] == "CHARSET":  # as in a template that nobody filled in
        return before
    try:
        name = codecs.lookup(found[1]).name
        "".encode(name)  # not one of those from bytes to bytes
    except LookupError:
        raise InputError("unknown charset", got=found[1], where=where) from None
    return name


def _unescaped(text: str, charset: str, where: str) -> str:
    if "\\" not in text:
        return text

    def plain(match: re.Match[str]) -> str:
        if match[2] is not None:
            return _SIMPLE.get(match[2], match[2])
        codes = [int(a, 16) if a else int(b, 8) & 0xFF for a, b in _CODE.findall(match[1])]
        return bytes(codes).decode(charset)

    try:
        return _ESCAPE.sub(plain, text)
    except UnicodeDecodeError:
        raise InputError(
            f"escaped bytes are not {charset.upper()}", got=repr(text[:40]), where=where
        ) from None
