"""A directory for ``--resources``: what ``vocab-transfer fetch --to`` wrote, or a person filled.

A written one describes itself in ``resources.json``. In one filled by hand names say what a file is, with the
languages' codes (`en` and `sw` here): ``NAME.en`` beside ``NAME.sw`` are line-aligned sentence pairs,
``*en-sw*.tsv`` pairs in two columns, ``*en-sw*.zip`` a Moses archive, ``*en-sw*.lexicon.tsv`` or
``lexicon*.tsv`` a lexicon, ``*.sw.txt`` and ``sw.txt`` text, ``*.sw.*`` with the endings .bin, .vec,
.safetensors and .npz word vectors. ``.gz`` after these is understood.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from align import __version__
from align.errors import InputError
from vocab.languages import Language
from vocab.resources.choice import Taken
from vocab.resources.description import Kind, Resource

MANIFEST = "resources.json"
SCHEMA = 1
WHY = "in the directory"
_VECTORS = (".bin", ".vec", ".safetensors", ".npz")


def find(folder: Path, src: Language, tgt: Language) -> list[Taken]:
    """What a directory holds for two languages; all of it is taken.

    Raises
    ------
    InputError
        No such directory; a description that cannot be read, or that names what is not there.
    """
    if not folder.is_dir():
        raise InputError("no such directory", where=folder, wanted="what `vocab-transfer fetch --to` wrote")
    if (folder / MANIFEST).is_file():
        return _described(folder, src, tgt)
    return _by_name(folder, src, tgt)


def describe(folder: Path, taken: list[Taken], src: Language, tgt: Language, choice: Any) -> Path:
    """Write the description of a directory; the files of `taken` lie in it already.

    Parameters
    ----------
    folder : Path
    taken : list of Taken
        Their resources with `file` relative to `folder`, and `sha256`.
    src, tgt : Language
    choice : object
        How they were chosen, as JSON.
    """
    text = {
        "schema": SCHEMA,
        "tool": {"name": "vocab-transfer", "version": __version__},
        "languages": [src.code, tgt.code],
        "choice": choice,
        "resources": [
            asdict(t.resource) | {"file": t.resource.file.as_posix(), "max_pairs": t.max_pairs} for t in taken
        ],
    }
    path = folder / MANIFEST
    new = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    new.write_text(json.dumps(text, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(new, path)
    return path


def _described(folder: Path, src: Language, tgt: Language) -> list[Taken]:
    path = folder / MANIFEST
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        wanted = [str(code) for code in told["languages"]]
        taken = [_taken(dict(entry)) for entry in told["resources"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError("not a description of resources", got=str(error), where=path) from None
    if wanted != [src.code, tgt.code]:
        raise InputError(
            "resources of other languages", got="-".join(wanted), wanted=f"{src.code}-{tgt.code}", where=path
        )
    for entry in taken:
        file = folder / entry.resource.file
        if not file.resolve().is_relative_to(folder.resolve()):
            raise InputError("a file outside of the directory", got=str(entry.resource.file), where=path)
        if not file.is_file():
            raise InputError(f"{entry.resource.label} is not there", got=str(entry.resource.file), where=path)
    return [
        replace(t, resource=replace(t.resource, file=(folder / t.resource.file).absolute())) for t in taken
    ]


def _taken(entry: dict[str, Any]) -> Taken:
    max_pairs = entry.pop("max_pairs")
    return Taken(Resource(**entry | {"file": Path(entry["file"])}), max_pairs, WHY)


def _by_name(folder: Path, src: Language, tgt: Language) -> list[Taken]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    found = []
    for path in files:
        told = _understand(path, src, tgt)
        if told is not None:
            kind, languages = told
            found.append(Taken(_resource(path.absolute(), kind, *languages), None, WHY))
    return found


def _understand(path: Path, src: Language, tgt: Language) -> tuple[Kind, tuple[str | None, str]] | None:
    name = path.name.removesuffix(".gz").removesuffix(".zst")
    stem, _, suffix = name.rpartition(".")
    pair, both = f"{src.code}-{tgt.code}", (src.code, tgt.code)
    parts = stem.replace("_", ".").replace("-", ".").split(".")
    if suffix == "tsv" and "lexicon" in stem:
        return "lexicon", both
    if suffix in ("tsv", "zip") and (pair in stem or f"{tgt.code}-{src.code}" in stem):
        return "parallel", both
    for lang in (src, tgt):
        if suffix == lang.code or (suffix == "txt" and parts[-1] == lang.code):
            return "text", (None, lang.code)
        if f".{suffix}" in _VECTORS and lang.code in parts:
            return "vectors", (None, lang.code)
    return None


def _resource(path: Path, kind: Kind, src: str | None, tgt: str) -> Resource:
    size = path.stat().st_size
    return Resource(kind, "folder", path.name, "", src, tgt, None, size, "", "its owner's", path)
