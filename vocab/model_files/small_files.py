"""The small files of a model directory, those beside weights and tokenizer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from align.errors import InputError
from vocab.fetching.cache import sha256_of
from vocab.model_files.checkpoint import copy_file

# What loaders read besides config, weights and tokenizer. Everything else stays behind: the tokenizer files
# are the old ones, and the weights of other frameworks would be too.
_CARRIED = (
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_*_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "LICENSE*",
    "NOTICE*",
    "USE_POLICY*",
)


def copy_small_files(src_dir: Path, folder: Path, *, with_code: bool, link: bool = False) -> None:
    """Copy what loaders read besides config, weights and tokenizer, and Python code if asked."""
    for pattern in [*_CARRIED, *(["*.py"] if with_code else [])]:
        for path in sorted(src_dir.glob(pattern)):
            if path.is_file() and not (folder / path.name).exists():
                copy_file(path, folder / path.name)
    for path in module_files(src_dir):
        target = folder / path.relative_to(src_dir)
        target.parent.mkdir(parents=True, exist_ok=True)
        copy_file(path, target, link=link)


def module_files(src_dir: Path) -> list[Path]:
    """Files of what stands after the model in a sentence-transformers folder: pooling, projections.

    Raises
    ------
    InputError
        For a damaged modules.json, or one that names a folder outside the model.
    """
    modules = src_dir / "modules.json"
    if not modules.exists():
        return []
    try:
        parts = [Path(module["path"]) for module in json.loads(modules.read_text(encoding="utf-8"))]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"a damaged modules.json: {error!r}", where=src_dir) from error
    files: list[Path] = []
    for part in parts:
        if part == Path("."):
            continue
        if part.is_absolute() or ".." in part.parts:
            raise InputError("modules.json names a folder outside the model", got=part, where=src_dir)
        # modules without parameters, such as 2_Normalize, often have no folder
        found = sorted((src_dir / part).rglob("*"))
        files += [path for path in found if path.is_file() and path.suffix in (".json", ".safetensors")]
    return files


def file_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file under `folder`, by its path there."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in paths}


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON as transformers does: indented, UTF-8, a newline at the end."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
