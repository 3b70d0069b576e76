"""Which sentence pairs are left out before training, and how many for which reason."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from align.errors import UsageError
from align.scripts import COMMON, script_of

# tabs and what Unicode calls white space are none; they separate words
_CONTROL = re.compile(r"[\0-\x08\x0e-\x1b\x7f]")

EMPTY = "with an empty side"
CONTROL = "with control characters"
LONG = "with a side that is too long"
UNEVEN = "of sides too unequal in length"
IDENTICAL = "of identical sides"
SCRIPT = "in another script"
DUPLICATE = "that came before"


@dataclass(frozen=True)
class PairFilter:
    """What is asked of a sentence pair besides text on both sides without control characters such as NUL.

    Attributes
    ----------
    max_len : int, optional
        Most words of a side.
    max_ratio : float, optional
        Most words of the longer side for each of the shorter one.
    identical, duplicates : bool
        Leave out pairs whose sides are the same words; pairs of the same words as an earlier pair.
    src_scripts, tgt_scripts : tuple of str
        The scripts a side is written in, as :func:`align.scripts.script_of` names them; at least half of a
        side's letters must be of one of these. Empty: any.
    """

    max_len: int | None = None
    max_ratio: float | None = None
    identical: bool = False
    duplicates: bool = False
    src_scripts: tuple[str, ...] = ()
    tgt_scripts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("max_len", "max_ratio"):
            value = getattr(self, name)
            if value is not None and not value >= 1:
                raise UsageError("option out of range", got=value, wanted="1 or more", where=name)


class Sieve:
    """A filter at work on one text: it counts, and it remembers what came before.

    Duplicates are told by 64 bits of a hash: among a hundred million pairs the chance that one is dropped
    wrongly is 3 in 10,000.
    """

    def __init__(self, wanted: PairFilter) -> None:
        self.wanted = wanted
        self.dropped: Counter[str] = Counter()
        self.n_identical = 0  # among those that are kept
        self._seen: set[bytes] = set()
        self._letters = _Letters(wanted.src_scripts), _Letters(wanted.tgt_scripts)

    def keeps(self, src_text: str, tgt_text: str, src: Sequence[str], tgt: Sequence[str]) -> bool:
        """Whether a pair stays, given as text and as words; if not, it is counted."""
        reason = self._against(src_text, tgt_text, src, tgt)
        if reason:
            self.dropped[reason] += 1
        return reason is None

    def _against(self, src_text: str, tgt_text: str, src: Sequence[str], tgt: Sequence[str]) -> str | None:
        if not src or not tgt:
            return EMPTY
        if _CONTROL.search(src_text) or _CONTROL.search(tgt_text):
            return CONTROL
        wanted = self.wanted
        long, short = max(len(src), len(tgt)), min(len(src), len(tgt))
        if wanted.max_len is not None and long > wanted.max_len:
            return LONG
        if wanted.max_ratio is not None and long > wanted.max_ratio * short:
            return UNEVEN
        identical = src == tgt
        if identical and wanted.identical:
            return IDENTICAL
        if not (self._letters[0].mostly_ours(src_text) and self._letters[1].mostly_ours(tgt_text)):
            return SCRIPT
        if wanted.duplicates:
            words = f"{' '.join(src)}\t{' '.join(tgt)}".encode("utf-8", "surrogatepass")
            key = hashlib.blake2b(words, digest_size=8).digest()
            if key in self._seen:
                return DUPLICATE
            self._seen.add(key)
        self.n_identical += identical
        return None


class _Letters(dict[str, str]):
    """Character to ``"o"`` (a letter of our scripts), ``"x"`` (of another) or ``""``; found on first use."""

    def __init__(self, scripts: tuple[str, ...]) -> None:
        super().__init__()
        self.scripts = scripts

    def __missing__(self, char: str) -> str:
        script = script_of(char)
        self[char] = kind = "" if script == COMMON else "o" if script in self.scripts else "x"
        return kind

    def mostly_ours(self, text: str) -> bool:
        """Whether at least half of the letters are ours; so it is where there are none."""
        if not self.scripts or ("LATIN" in self.scripts and text.isascii()):
            return True
        letters = "".join(map(self.__getitem__, text))
        return 2 * letters.count("o") >= len(letters)
