"""The tokens that a script needs."""

from __future__ import annotations

import unicodedata
from collections.abc import Container, Iterable, Mapping
from functools import cache

import langcodes
import numpy as np
from numpy.typing import NDArray

from align.errors import UsageError
from align.scripts import COMMON, script_of, word_script
from vocab.tokens import Vocabulary

_BATCH = 4096
_N_CODES = 0x33480  # beyond are tags and what nobody has assigned
# Scripts whose name in Unicode is not the English name of their ISO 15924 code
_UNICODE_NAMES: Mapping[str, tuple[str, ...]] = {
    "Beng": ("BENGALI",),
    "Cans": ("CANADIAN",),
    "Hans": ("CJK",),
    "Hant": ("CJK",),
    "Hani": ("CJK",),
    "Jpan": ("CJK",),
    "Kore": ("HANGUL", "CJK"),
    "Lisu": ("LISU",),
    "Mtei": ("MEETEI",),
    "Nkoo": ("NKO",),
    "Orkh": ("OLD",),
    "Orya": ("ORIYA",),
}


def tokens_of_scripts(vocabulary: Vocabulary, scripts: Iterable[str]) -> NDArray[np.int64]:
    """Ids of the tokens without letters or marks of other scripts, in order.

    Of the tokens that begin or end within a character, as byte-level BPE has them, those are taken by which
    a character of the scripts, or one of none, is spelled by itself or after a space: such characters are
    cut as before. Other characters can still be spelled, by single bytes.

    Raises
    ------
    UsageError
        For an unknown script.
    """
    wanted = {COMMON, *(name for script in scripts for name in script_names(script))}
    found: list[int] = []
    fragments: dict[int, bytes] = {}
    for i, surface in enumerate(vocabulary.surfaces):
        if not surface or vocabulary.byte_fallback[i]:
            continue
        try:
            text = surface.decode()
        except UnicodeDecodeError:
            fragments[i] = surface
            continue
        if all(_character_script(char) in wanted for char in text):
            found.append(i)
    if fragments:
        spelling = _spelling(vocabulary, _characters(wanted, set(fragments.values())))
        found = sorted({*found, *(spelling & fragments.keys())})
    return np.array(found, np.int64)


def _characters(wanted: Container[str], fragments: Container[bytes]) -> list[str]:
    """Characters of these scripts that hold a fragment of several bytes, with a space before them or without.

    None that are not assigned, or for private use.
    """
    found = []
    for char in map(chr, range(0x80, _N_CODES)):
        if unicodedata.category(char) in ("Cn", "Co", "Cs") or _character_script(char) not in wanted:
            continue
        spelled = f" {char}".encode()
        n = len(spelled)
        if any(spelled[i:j] in fragments for i in range(n) for j in range(i + 2, n + 1)):
            found.append(char)
    return found


def _spelling(vocabulary: Vocabulary, characters: list[str]) -> set[int]:
    """Ids of the tokens of these characters, by themselves and after a space."""
    used: set[int] = set()
    for start in range(0, len(characters), _BATCH):
        batch = characters[start : start + _BATCH]
        for ids in vocabulary.encode([*batch, *(f" {char}" for char in batch)]):
            used.update(ids)
    return used


def script_names(script: str) -> tuple[str, ...]:
    """Names by which Unicode calls the letters of a script, given by ISO 15924 code or by name.

    Raises
    ------
    UsageError
        For an unknown one.
    """
    code = script.strip().title()
    if code in _UNICODE_NAMES:
        return _UNICODE_NAMES[code]
    name = code
    if len(code) == 4 and langcodes.Language.make(script=code).is_valid():
        name = langcodes.Language.make(script=code).script_name()
    name = word_script_name(name)
    if name not in _known_scripts():
        raise UsageError(
            "unknown script", got=script, wanted="a name such as Latin or Cyrillic, or a code such as Latn"
        )
    return (name,)


def word_script_name(name: str) -> str:
    """A script's name as :func:`align.scripts.word_script` has it; Han and the kana are one."""
    name = name.upper().split()[0]
    return "CJK" if name in ("HAN", "HIRAGANA", "KATAKANA", "BOPOMOFO") else name


@cache
def _known_scripts() -> frozenset[str]:
    return frozenset(word_script(chr(code)) for code in range(0x20000)) - {COMMON}


@cache
def _character_script(char: str) -> str:
    if unicodedata.category(char)[0] == "M":  # vowel signs; accents that go with any script are "COMBINING"
        script = script_of(char)
        return script if script in _known_scripts() else COMMON
    return word_script(char)
