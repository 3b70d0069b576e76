"""How much of the bundled English-Swahili lexicon an independent dictionary confirms."""

from __future__ import annotations

from typing import Any

from align import lexicons  # type: ignore[attr-defined]  # installed from data/lexicons
from align.errors import UnavailableError
from benchmarks.shared import read_columns

_DICTIONARY = "data/lexicons/wechsel/en-sw.tsv.gz"


def confirmed(pairs: list[tuple[str, str]], dictionary: set[tuple[str, str]]) -> dict[str, Any]:
    """Shares of `pairs` (exact, after lower-casing) that `dictionary` has.

    Parameters
    ----------
    pairs, dictionary : pairs of (source, target)
        `dictionary` is lower-case; `pairs` is lower-cased here.

    Returns
    -------
    dict
        ``pairs`` and ``share`` over all pairs; ``known_pairs`` and ``known_share`` over those whose source
        side the dictionary has; ``known_words`` and ``known_words_share`` count source words, each confirmed
        when one of its translations is. Shares are rounded to 4 digits, and 0 where nothing is counted.
    """
    lowered = [(src.lower(), tgt.lower()) for src, tgt in pairs]
    sources = {src for src, _ in dictionary}
    known = [pair for pair in lowered if pair[0] in sources]
    words = {src for src, _ in known}
    agreed = {src for src, tgt in known if (src, tgt) in dictionary}
    n_confirmed = sum(pair in dictionary for pair in known)
    return {
        "pairs": len(lowered),
        "share": round(n_confirmed / max(len(lowered), 1), 4),
        "known_pairs": len(known),
        "known_share": round(n_confirmed / max(len(known), 1), 4),
        "known_words": len(words),
        "known_words_share": round(len(agreed) / max(len(words), 1), 4),
    }


def without_infinitives(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Drop ``ku-`` infinitives beside their bare stem: many dictionaries list the stem alone."""
    present = set(pairs)
    return [(src, tgt) for src, tgt in pairs if not (tgt.startswith("ku") and (src, tgt[2:]) in present)]


def run() -> dict[str, Any]:
    """Compare the bundled lexicon with the WECHSEL English-Swahili dictionary.

    Raises
    ------
    UnavailableError
        The dictionary is not on this machine.
    """
    dictionary = {(row[0].lower(), row[1].lower()) for row in read_columns(_DICTIONARY) if len(row) >= 2}
    bundled = lexicons.path("en", "sw")
    if bundled is None:
        raise UnavailableError("The bundled English-Swahili lexicon is not installed")
    pairs = _pairs(bundled.read_text(encoding="utf-8"))
    return {
        "reference": "WECHSEL en-sw",
        "reference_pairs": len(dictionary),
        "src_words": len({src for src, _ in pairs}),
        "tgt_words": len({tgt for _, tgt in pairs}),
        "one_word_share": round(sum(" " not in src + tgt for src, tgt in pairs) / len(pairs), 4),
        "all": confirmed(pairs, dictionary),
        "without_infinitives": confirmed(without_infinitives(pairs), dictionary),
    }


def _pairs(text: str) -> list[tuple[str, str]]:
    rows = (line.split("\t") for line in text.splitlines())
    return [(row[0], row[1]) for row in rows if len(row) >= 2]
