"""A model directory taken apart: what belongs to its vocabulary, and the body that is left."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from align.errors import InputError
from vocab.model_files.checkpoint import Checkpoint, open_checkpoint
from vocab.model_files.layout import (
    PositionTable,
    VocabLayout,
    VocabTensor,
    find_vocabulary,
    match_checkpoint,
    model_class,
    read_config,
)
from vocab.model_files.small_files import module_files
from vocab.model_files.special_ids import is_id_field

_CHUNK = 1 << 22

# Config fields that say nothing of the body.
_FREE = ("transformers_version", "tokenizer_class", "_name_or_path", "dtype", "torch_dtype")


@dataclass(frozen=True, eq=False)
class Anatomy:
    """A model directory's tensors by what they belong to, under the checkpoint's names.

    ``vocabulary`` are those with a vocabulary axis, ``positions`` the learned tables that are counted from
    the padding id; all others are the body.
    """

    folder: Path
    layout: VocabLayout
    checkpoint: Checkpoint
    vocabulary: Mapping[str, VocabTensor]
    positions: Mapping[str, PositionTable]

    @property
    def n_rows(self) -> int:
        """Rows of the vocabulary's matrices."""
        return self.layout.vocab_size

    def digest(self, name: str) -> str:
        """SHA-256 of a tensor's bytes."""
        digest = hashlib.sha256()
        for chunk in self.chunks(name):
            digest.update(chunk)
        return digest.hexdigest()

    def chunks(self, name: str, *, first_row: int = 0) -> Iterator[bytes]:
        """A tensor's bytes in pieces of 4 MiB, from one of its rows on."""
        info = self.checkpoint.tensors[name]
        row_bytes = (info.stop - info.start) // max(info.shape[0], 1) if first_row else 0
        position = info.start + first_row * row_bytes
        with (self.checkpoint.folder / info.file).open("rb") as file:
            file.seek(position)
            while position < info.stop:
                chunk = file.read(min(_CHUNK, info.stop - position))
                if not chunk:
                    raise InputError("weights that end too early", where=file.name)
                position += len(chunk)
                yield chunk


def take_apart(folder: str | Path, *, trust_remote_code: bool = False) -> Anatomy:
    """Find what of a model directory belongs to its vocabulary; no weights are read.

    Raises
    ------
    InputError
        When it is no model directory, or its config and weights disagree.
    """
    folder = Path(folder)
    config = read_config(folder, trust_remote_code=trust_remote_code)
    layout = find_vocabulary(model_class(config, folder, trust_remote_code=trust_remote_code), config)
    checkpoint = open_checkpoint(folder)
    prefix = f"{layout.model_class.base_model_prefix}."
    positions = {}
    for table in layout.positions:
        name = table.tensor or ""
        for key in (name, name.removeprefix(prefix), prefix + name):
            if key in checkpoint.tensors:
                positions[key] = table
                break
    return Anatomy(folder, layout, checkpoint, match_checkpoint(layout, checkpoint), positions)


def check_same_body(own: Anatomy, other: Anatomy) -> tuple[dict[str, str], list[str]]:
    """Compare two models bit for bit in everything but their vocabularies.

    Returns
    -------
    digests : dict
        SHA-256 of the body's tensors.
    moved : list of str
        Position tables that differ by the distance of the padding ids alone; they go with the vocabulary.

    Raises
    ------
    InputError
        Naming the first tensor, config field or file that differs.

    Notes
    -----
    Reads both checkpoints once; memory is a few megabytes.
    """
    _check_configs(own, other)
    _check_names(own, other)
    digests: dict[str, str] = {}
    moved: list[str] = []
    for name in own.checkpoint.tensors:
        if name in own.vocabulary:
            continue
        if own.checkpoint.tensors[name].shape == other.checkpoint.tensors[name].shape:
            digest = _same_bytes(own, other, name)
            if digest is not None:
                digests[name] = digest
                continue
        if name not in own.positions or not _is_shifted(own, other, name):
            raise _other_body(own, other, f"tensor {name} differs")
        moved.append(name)
    for path in module_files(own.folder):
        counterpart = other.folder / path.relative_to(own.folder)
        if not counterpart.is_file() or counterpart.read_bytes() != path.read_bytes():
            raise _other_body(own, other, f"{path.relative_to(own.folder).as_posix()} differs")
    return digests, moved


def _other_body(own: Anatomy, other: Anatomy, why: str) -> InputError:
    return InputError(
        f"another body than that of {own.folder}: {why}",
        where=other.folder,
        hint="several vocabularies can share a body only as long as nothing but them was changed or trained",
    )


def _check_configs(own: Anatomy, other: Anatomy) -> None:
    if own.layout.model_class is not other.layout.model_class:
        names = [part.layout.model_class.__name__ for part in (other, own)]
        raise _other_body(own, other, f"{names[0]} is not {names[1]}")
    skipped = {*_FREE, *own.layout.vocab_fields}
    if own.positions:
        skipped.add("max_position_embeddings")
    ours, theirs = own.layout.config.to_dict(), other.layout.config.to_dict()
    for field in _differences(ours, theirs, skipped):
        raise _other_body(own, other, f"config field {field} differs")


def _differences(ours: Mapping[str, Any], theirs: Mapping[str, Any], skipped: set[str]) -> Iterator[str]:
    for key in sorted({*ours, *theirs}):
        a, b = ours.get(key), theirs.get(key)
        if key in skipped or is_id_field(key) or a == b:
            continue
        if isinstance(a, dict) and isinstance(b, dict):
            yield from (f"{key}.{inner}" for inner in _differences(a, b, skipped))
        else:
            yield key


def _check_names(own: Anatomy, other: Anatomy) -> None:
    ours, theirs = own.checkpoint.tensors, other.checkpoint.tensors
    for name in sorted(ours.keys() ^ theirs.keys()):
        holder = own if name in ours else other
        raise _other_body(own, other, f"tensor {name} is in {holder.folder.name} only")
    for name, info in ours.items():
        if info.dtype != theirs[name].dtype:
            raise _other_body(own, other, f"tensor {name} is {theirs[name].dtype} and not {info.dtype}")


def _same_bytes(own: Anatomy, other: Anatomy, name: str) -> str | None:
    digest = hashlib.sha256()
    for ours, theirs in zip(own.chunks(name), other.chunks(name), strict=True):
        if ours != theirs:
            return None
        digest.update(ours)
    return digest.hexdigest()


def _is_shifted(own: Anatomy, other: Anatomy, name: str) -> bool:
    shapes = own.checkpoint.tensors[name].shape, other.checkpoint.tensors[name].shape
    first = own.positions[name].pad_id, other.positions[name].pad_id
    if shapes[0][0] - first[0] != shapes[1][0] - first[1] or shapes[0][1:] != shapes[1][1:]:
        return False
    ours, theirs = own.chunks(name, first_row=first[0]), other.chunks(name, first_row=first[1])
    return all(a == b for a, b in zip(ours, theirs, strict=True))
