"""Sentence pairs that were fetched, through the filters, with a count for each reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from align.wordalign.filters import PairFilter, Sieve
from vocab.languages import Language

_MAX_CHARS = 1000
_MAX_RATIO = 4.0
_MAX_RATIO_CJK = 9.0  # a Chinese sentence has a third of the characters of an English one

# ISO 15924 to the first word of the characters' Unicode names
_SCRIPTS = {
    "Adlm": "ADLAM",
    "Arab": "ARABIC",
    "Armn": "ARMENIAN",
    "Beng": "BENGALI",
    "Cans": "CANADIAN",
    "Cher": "CHEROKEE",
    "Cyrl": "CYRILLIC",
    "Deva": "DEVANAGARI",
    "Ethi": "ETHIOPIC",
    "Geor": "GEORGIAN",
    "Grek": "GREEK",
    "Gujr": "GUJARATI",
    "Guru": "GURMUKHI",
    "Hang": "HANGUL",
    "Hebr": "HEBREW",
    "Khmr": "KHMER",
    "Knda": "KANNADA",
    "Laoo": "LAO",
    "Latn": "LATIN",
    "Mlym": "MALAYALAM",
    "Mong": "MONGOLIAN",
    "Mtei": "MEETEI",
    "Mymr": "MYANMAR",
    "Nkoo": "NKO",
    "Olck": "OL",
    "Orya": "ORIYA",
    "Sinh": "SINHALA",
    "Syrc": "SYRIAC",
    "Taml": "TAMIL",
    "Telu": "TELUGU",
    "Tfng": "TIFINAGH",
    "Thaa": "THAANA",
    "Thai": "THAI",
    "Tibt": "TIBETAN",
}
_HAN = ("CJK",)
_KANA = ("CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA")
_SEVERAL = {
    "Hani": _HAN,
    "Hans": _HAN,
    "Hant": (*_HAN, "BOPOMOFO"),
    "Jpan": _KANA,
    "Kore": ("HANGUL", "CJK"),
}


@dataclass(frozen=True)
class Arrived:
    """What came of one corpus.

    Attributes
    ----------
    src, tgt : list of str
    n_read : int
        Pairs in the file, as far as it was read.
    n_drawn : int
        Pairs of these that were looked at: all, or an even sample.
    dropped : dict
        Reason to number of pairs.
    """

    src: list[str]
    tgt: list[str]
    n_read: int
    n_drawn: int
    dropped: dict[str, int]

    def __len__(self) -> int:
        return len(self.src)


def arrival_sieve(src_lang: Language, tgt_lang: Language) -> Sieve:
    """The filters of fetched text: one for all corpora, so that what came before is known.

    Empty and identical sides, control characters, duplicates, sides of more than 1,000 characters or of more
    than four times the other one's length (nine times with Chinese or Japanese), and sides of which less than
    half of the letters are of the language's script.
    """
    scripts = [scripts_of(lang) for lang in (src_lang, tgt_lang)]
    n_cjk = sum("CJK" in names and "HANGUL" not in names for names in scripts)
    return Sieve(
        PairFilter(
            max_len=_MAX_CHARS,
            max_ratio=_MAX_RATIO_CJK if n_cjk == 1 else _MAX_RATIO,
            identical=True,
            duplicates=True,
            src_scripts=scripts[0],
            tgt_scripts=scripts[1],
        )
    )


def scripts_of(lang: Language) -> tuple[str, ...]:
    """Scripts of a language's letters, as :func:`align.scripts.script_of` names them; empty if unknown."""
    if lang.script is None:
        return ()
    if lang.script in _SEVERAL:
        return _SEVERAL[lang.script]
    return (_SCRIPTS[lang.script],) if lang.script in _SCRIPTS else ()


def receive(
    pairs: Iterable[tuple[str, str]],
    sieve: Sieve,
    *,
    max_pairs: int | None = None,
    n_announced: int | None = None,
) -> Arrived:
    """Filter the pairs of one corpus.

    Parameters
    ----------
    pairs : iterable of (str, str)
    sieve : Sieve
        Knows the pairs of the corpora before.
    max_pairs : int, optional
        Look at so many only: drawn evenly from `n_announced`, or the first ones where that is unknown.
    n_announced : int, optional

    Returns
    -------
    Arrived

    Notes
    -----
    Memory: the pairs that are kept. Lengths are counted in characters without white space, which needs no
    division into words and so serves every language.
    """
    sieve.dropped = Counter()
    src: list[str] = []
    tgt: list[str] = []
    n_read = n_drawn = 0
    thin = max_pairs is not None and n_announced is not None and max_pairs < n_announced
    for n_read, texts in enumerate(_first(pairs, max_pairs, n_announced), start=1):
        # every so-many-th, so that the sample is even
        if thin and n_read * max_pairs // n_announced == (n_read - 1) * max_pairs // n_announced:  # type: ignore[operator]
            continue
        n_drawn += 1
        left, right = (text.strip() for text in texts)
        if sieve.keeps(left, right, _bare(left), _bare(right)):
            src.append(left)
            tgt.append(right)
    return Arrived(src, tgt, n_read, n_drawn, dict(sieve.dropped))


def _bare(text: str) -> str:
    return "".join(text.casefold().split())


def _first(
    pairs: Iterable[tuple[str, str]], max_pairs: int | None, n_announced: int | None
) -> Iterable[tuple[str, str]]:
    return islice(pairs, max_pairs) if max_pairs is not None and not n_announced else pairs
