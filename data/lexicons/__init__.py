"""Lexicons and parallel sentences that come with the package; see README.md beside this file."""

from __future__ import annotations

from pathlib import Path

_HERE = Path(__file__).parent
_SENTENCES = ".sentences"


def available() -> list[tuple[str, str]]:
    """Language pairs ``(src_lang, tgt_lang)`` of the bundled lexicons, sorted, as in the files' names."""
    names = (file.stem.partition("-") for file in _HERE.glob("*.tsv") if not file.stem.endswith(_SENTENCES))
    return sorted((src, tgt) for src, _, tgt in names)


def path(src_lang: str, tgt_lang: str) -> Path | None:
    """File of the bundled lexicon from `src_lang` to `tgt_lang`, or None; the reverse is not looked for."""
    return _file(src_lang, tgt_lang, "")


def sentences_path(src_lang: str, tgt_lang: str) -> Path | None:
    """File of the bundled sentence pairs from `src_lang` to `tgt_lang`, or None."""
    return _file(src_lang, tgt_lang, _SENTENCES)


def _file(src_lang: str, tgt_lang: str, kind: str) -> Path | None:
    # compared with the listing, not joined to a path: a "language" such as "../x" finds nothing
    wanted = f"{src_lang}-{tgt_lang}{kind}.tsv"
    return next((file for file in _HERE.glob("*.tsv") if file.name == wanted), None)
