"""Which script a character and a word are written in, and words of the script of most."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from align.errors import UsageError

COMMON = "COMMON"
_WIDTHS = ("FULLWIDTH", "HALFWIDTH")  # go before the script in a character's name
# Japanese writes one word in several
_TOGETHER = {"HIRAGANA": "CJK", "KATAKANA": "CJK", "KATAKANA-HIRAGANA": "CJK", "BOPOMOFO": "CJK"}
# letters of every script by their use: ordinals, modifiers, the micro sign
_ANY = frozenset({"FEMININE", "MASCULINE", "MODIFIER", "MICRO", "COMBINING"})


@cache
def script_of(char: str) -> str:
    """Script of a letter or mark, by the first word of its Unicode name; ``"COMMON"`` for all others."""
    if unicodedata.category(char)[0] not in "LM":
        return COMMON
    words = unicodedata.name(char, COMMON).split()
    return words[words[0] in _WIDTHS]


def word_script(word: str) -> str:
    """Script of most letters of a word, ``"COMMON"`` if it has none; Han and the kana are one, ``"CJK"``.

    Of scripts with equally many letters it is that of the first letter.
    """
    found = Counter(_script_of_letter(char) for char in word)
    found.pop(COMMON, None)
    return found.most_common(1)[0][0] if found else COMMON


def in_script(words: Sequence[str], script: str = "auto") -> tuple[NDArray[np.bool_], str]:
    """Which words are of a script; those without letters (numbers, punctuation) are of every one.

    Parameters
    ----------
    words : sequence of str
    script : str
        As in :func:`word_script` (``"LATIN"``, ``"SINHALA"``, ``"CJK"``), in any case, or ``"auto"``: the
        script of most words.

    Returns
    -------
    mask : ndarray of bool, shape (len(words),)
    script : str
        The one that was used; ``"COMMON"`` if no word has letters.

    Raises
    ------
    UsageError
        If no word is of the script that is asked for.
    """
    scripts = [word_script(word) for word in words]
    sizes = Counter(scripts)
    sizes.pop(COMMON, None)
    if script == "auto":
        script = sizes.most_common(1)[0][0] if sizes else COMMON
    else:
        script = _TOGETHER.get(script.upper(), script.upper())
        if script not in sizes:
            wanted = ", ".join(name for name, _ in sizes.most_common(5))
            raise UsageError("no word is of this script", got=script, wanted=wanted or None)
    return np.fromiter((s in (script, COMMON) for s in scripts), np.bool_, len(words)), script


@cache
def _script_of_letter(char: str) -> str:
    script = script_of(char) if unicodedata.category(char)[0] == "L" else COMMON
    return COMMON if script in _ANY else _TOGETHER.get(script, script)
