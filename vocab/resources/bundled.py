"""What comes with the package: sentence pairs and lexicons."""

from __future__ import annotations

from pathlib import Path

from align import lexicons  # type: ignore[attr-defined]  # installed from data/lexicons
from vocab.languages import Language
from vocab.resources.description import Kind, Resource

_LICENCE = "Apache-2.0"


def find(src: Language, tgt: Language) -> list[Resource]:
    """Sentence pairs of the two languages, and a lexicon in either direction, where there are."""
    paths: list[tuple[Kind, Path | None]] = [
        ("parallel", lexicons.sentences_path(src.code, tgt.code)),
        ("lexicon", lexicons.path(src.code, tgt.code) or lexicons.path(tgt.code, src.code)),
    ]
    return [
        Resource(
            kind,
            "bundled",
            path.name,
            "",
            src.code,
            tgt.code,
            _n_lines(path),
            path.stat().st_size,
            "",
            _LICENCE,
            path,
        )
        for kind, path in paths
        if path is not None
    ]


def _n_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)
