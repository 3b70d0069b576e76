"""Several vocabularies on one body: a model directory that carries more than its own.

``DIR`` stays the ordinary model directory that it is, its own vocabulary the default. Each further one lies
in ``DIR/heads/NAME/``: tokenizer files, config.json, the tensors with a vocabulary axis
(``vocabulary.safetensors``) and ``head.json`` with the SHA-256 of everything, the body included. Weights lie
under a name that no loader looks for, so such a folder is never taken for a model.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open

from align import __version__, place
from align.errors import InputError, OutputError, UsageError
from align.place import new_file, put_in_place, temporary_sibling
from vocab.fetching.cache import sha256_of
from vocab.heads.body import Anatomy, check_same_body, take_apart
from vocab.model_files.checkpoint import INDEX as WEIGHTS_INDEX
from vocab.model_files.checkpoint import copy_file, tensor_bytes
from vocab.model_files.output import PROVENANCE, check_output
from vocab.model_files.small_files import copy_small_files, file_digests, write_json
from vocab.plan.files import FOLDER, HEAD_FOLDER
from vocab.tokenizer.loading import load_tokenizer

if TYPE_CHECKING:
    import torch

HEADS = "heads"
INDEX = "heads.json"
META = "head.json"
WEIGHTS = "vocabulary.safetensors"
DEFAULT = "default"
_SCHEMA = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

# Everything of a model directory that depends on its vocabulary and is no tensor; copied as it is.
_OWN_FILES = (
    *("config.json", "generation_config.json"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "merges.txt", "vocab.txt", "*.model", "tekken.json", "*.tiktoken"),
    *("chat_template.jinja", "chat_template.json", "additional_chat_templates/*.jinja"),
    *("README.md", PROVENANCE, f"{FOLDER}/*", f"{HEAD_FOLDER}/*"),
)


@dataclass(frozen=True)
class Head:
    """One of a model directory's vocabularies.

    Parameters
    ----------
    folder : Path
        Where its files are; of the default one the model directory itself.
    n_tokens, n_rows : int
        Tokens of its tokenizer, rows of its matrices.
    n_bytes : int
        Bytes of its tensors.
    source : str or None
        Name of the directory that it was added from.
    """

    name: str
    folder: Path
    n_tokens: int
    n_rows: int
    n_bytes: int
    is_default: bool
    source: str | None = None


def list_heads(folder: str | Path, *, trust_remote_code: bool = False) -> list[Head]:
    """The vocabularies of a model directory, the default one first; an ordinary directory has that alone.

    Raises
    ------
    InputError
        When it is no model directory or its notes are damaged.
    """
    own = take_apart(folder, trust_remote_code=trust_remote_code)
    default = _default(own, trust_remote_code=trust_remote_code)
    return [default, *(_added(path) for path in _added_folders(own.folder))]


def _default(own: Anatomy, *, trust_remote_code: bool) -> Head:
    tokenizer = load_tokenizer(own.folder, trust_remote_code=trust_remote_code)
    tensors = own.checkpoint.tensors
    n_bytes = sum(tensors[name].stop - tensors[name].start for name in own.vocabulary)
    return Head(_default_name(own.folder), own.folder, len(tokenizer), own.n_rows, n_bytes, True)


def _added_folders(folder: Path) -> list[Path]:
    return sorted(path.parent for path in (folder / HEADS).glob(f"[!.]*/{WEIGHTS}"))


def _added(folder: Path) -> Head:
    facts = read_notes(folder / META)
    try:
        n_tokens, n_rows, n_bytes = (int(facts[key]) for key in ("tokens", "rows", "bytes"))
        dict(facts["files"]), dict(facts["body"])
        return Head(folder.name, folder, n_tokens, n_rows, n_bytes, False, str(facts["source"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"damaged notes on a vocabulary: {error!r}", where=folder / META) from error


def _default_name(folder: Path) -> str:
    path = folder / HEADS / INDEX
    return str(read_notes(path).get("default", DEFAULT)) if path.exists() else DEFAULT


def read_notes(path: Path) -> dict[str, Any]:
    """A JSON file of notes on vocabularies, of the version that is known here."""
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if facts["schema"] != _SCHEMA:
            raise InputError("notes of another version", got=facts["schema"], wanted=_SCHEMA, where=path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"damaged notes on a vocabulary: {error!r}", where=path) from error
    return facts


def add_head(
    folder: str | Path,
    source: str | Path,
    name: str,
    *,
    out: str | Path | None = None,
    default_name: str | None = None,
    overwrite: bool = False,
    trust_remote_code: bool = False,
) -> Head:
    """Add the vocabulary of one model directory to another with the same body.

    Parameters
    ----------
    folder : path
        The model directory that shall carry it.
    source : path
        A model directory made from it, by :func:`vocab.transfer` for example.
    name : str
        What the vocabulary is called: letters, digits, ``.``, ``_``, ``-``.
    out : path, optional
        Write a copy of `folder` with the vocabulary added, instead of adding it in place.
    default_name : str, optional
        What the vocabulary of `folder` itself is called from now on; ``default`` at first.
    overwrite : bool
        Replace a vocabulary of this name, and `out`.

    Raises
    ------
    InputError
        When the bodies differ in a tensor, a config field or a sentence-transformers module.
    UsageError
        For a name that cannot be one, or that the default vocabulary has.
    OutputError
        When the name or the place is taken.

    Notes
    -----
    Reads both checkpoints once, writes the vocabulary's tensors. The new folder appears by one rename.
    """
    folder, source = Path(folder), Path(source)
    own = take_apart(folder, trust_remote_code=trust_remote_code)
    renamed = default_name is not None
    default = default_name if default_name is not None else _default_name(folder)
    for one in (name, default):
        if not _NAME.fullmatch(one):
            raise UsageError("not a name for a vocabulary", got=one, wanted="letters, digits, . _ -")
    existing = {path.name for path in _added_folders(folder)}
    if name == default or default in existing:
        taken = name if name == default else default
        raise UsageError("two vocabularies of one name", got=taken, hint="choose another --name")
    if folder.resolve() == source.resolve():
        raise UsageError("the model has this vocabulary already", where=source, hint="give another --from")
    home = folder if out is None else check_output(out, overwrite=overwrite, keep=folder)
    if name in existing and not overwrite:
        raise OutputError(
            "there is a vocabulary of this name already", where=folder, got=name, hint="add --overwrite"
        )
    other = take_apart(source, trust_remote_code=trust_remote_code)
    tokenizer = load_tokenizer(source, trust_remote_code=trust_remote_code)
    if len(tokenizer) > other.n_rows:
        raise InputError(
            "its tokenizer has more tokens than it has rows",
            where=source,
            got=len(tokenizer),
            wanted=other.n_rows,
        )
    digests, moved = check_same_body(own, other)
    names = [*own.vocabulary, *moved]
    infos = [other.checkpoint.tensors[key] for key in names]
    n_bytes = sum(info.stop - info.start for info in infos)
    facts: dict[str, Any] = {
        "schema": _SCHEMA,
        "tool": {"name": "vocab-transfer", "version": __version__},
        "utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "source": source.resolve().name,
        "tokens": len(tokenizer),
        "rows": other.n_rows,
        "bytes": n_bytes,
        "body": digests,
    }
    if out is not None:
        paths = _model_files(own)
        size = sum(path.stat().st_size for path in paths)
        with temporary_sibling(home, n_bytes=size + n_bytes) as copy:
            has_code = getattr(own.layout.config, "auto_map", None) is not None
            copy_small_files(folder, copy, with_code=has_code)
            copy_files(paths, folder, copy)
            _write_index(copy, default)
            _place_head(other, names, facts, copy / HEADS / name, n_bytes, overwrite=True)
            put_in_place(copy, home, overwrite=overwrite)
    else:
        if renamed or not (folder / HEADS / INDEX).exists():
            _write_index(folder, default)
        _place_head(other, names, facts, folder / HEADS / name, n_bytes, overwrite=overwrite)
    return Head(name, home / HEADS / name, len(tokenizer), other.n_rows, n_bytes, False, facts["source"])


def _model_files(own: Anatomy) -> list[Path]:
    """The model's weights, the files of its own vocabulary, and the vocabularies it has already."""
    weights = [*own.checkpoint.files, *([WEIGHTS_INDEX] if own.checkpoint.index is not None else [])]
    added = [path for folder in _added_folders(own.folder) for path in sorted(folder.rglob("*"))]
    return [*(own.folder / name for name in weights), *own_files(own.folder), *filter(Path.is_file, added)]


def own_files(folder: Path) -> list[Path]:
    """What of a model directory depends on its vocabulary and is no tensor."""
    return [path for pattern in _OWN_FILES for path in sorted(folder.glob(pattern)) if path.is_file()]


def copy_files(paths: Iterable[Path], source: Path, target: Path) -> None:
    """Copy files under `source` to the same places under `target`."""
    for path in paths:
        file = target / path.relative_to(source)
        file.parent.mkdir(parents=True, exist_ok=True)
        copy_file(path, file)


def _write_index(folder: Path, default: str) -> None:
    (folder / HEADS).mkdir(exist_ok=True)
    with new_file(folder / HEADS / INDEX, overwrite=True) as path:
        write_json(path, {"schema": _SCHEMA, "default": default})


def _place_head(
    other: Anatomy, names: list[str], facts: dict[str, Any], home: Path, n_bytes: int, *, overwrite: bool
) -> None:
    from safetensors.torch import save_file

    home = place.check_output(home, kind="vocabulary", marks=(META, WEIGHTS), overwrite=overwrite)
    code = sorted(other.folder.glob("*.py")) if getattr(other.layout.config, "auto_map", None) else []
    with temporary_sibling(home, n_bytes=n_bytes) as folder:
        copy_files([*own_files(other.folder), *code], other.folder, folder)
        save_file({key: other.checkpoint.read(key) for key in names}, folder / WEIGHTS, {"format": "pt"})
        facts["files"] = file_digests(folder)
        for key, tensor in read_weights(folder).items():
            if not _same_tensor(tensor, other.checkpoint.read(key)):
                raise OutputError("the written vocabulary failed its check", where=key)
        write_json(folder / META, facts)
        put_in_place(folder, home, overwrite=overwrite)


def _same_tensor(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and tensor_bytes(a) == tensor_bytes(b)


def read_weights(folder: Path) -> dict[str, torch.Tensor]:
    """The tensors of an added vocabulary."""
    try:
        with safe_open(folder / WEIGHTS, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (no mapping)
    except (SafetensorError, OSError) as error:
        raise InputError(f"weights that cannot be read: {error}", where=folder / WEIGHTS) from error


def find_head(own: Anatomy, name: str | None, *, trust_remote_code: bool = False) -> Head:
    """A vocabulary by name, checked against the recorded SHA-256; ``None`` is the default one.

    Raises
    ------
    UsageError
        For a name that no vocabulary has.
    InputError
        For a file that is not what was added.
    """
    default = _default_name(own.folder)
    if name in (None, default):
        return _default(own, trust_remote_code=trust_remote_code)
    folders = {path.name: path for path in _added_folders(own.folder)}
    if name not in folders:
        known = ", ".join((default, *folders))
        raise UsageError("no vocabulary of this name", where=own.folder, got=name, wanted=known)
    found = _added(folders[name])
    for path, digest in read_notes(found.folder / META)["files"].items():
        file = found.folder / path
        if not file.is_file() or sha256_of(file) != digest:
            raise InputError(
                "damaged: not what was added" if file.is_file() else "a file of a vocabulary is missing",
                where=file,
                hint=f"Add it again: heads add ... --name {found.name} --overwrite",
            )
    return found


def head_tensors(own: Anatomy, head: Head) -> dict[str, torch.Tensor]:
    """The tensors of a vocabulary, by the checkpoint's names."""
    if head.is_default:
        return {key: own.checkpoint.read(key) for key in own.vocabulary}
    return read_weights(head.folder)
