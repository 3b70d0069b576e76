"""One vocabulary of several, written with the body as an ordinary model directory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from align.errors import InputError
from align.place import put_in_place, temporary_sibling
from vocab.heads.adding import META, Head, copy_files, find_head, own_files, read_notes, read_weights
from vocab.heads.body import Anatomy, take_apart
from vocab.model_files.checkpoint import Change, rewrite_checkpoint
from vocab.model_files.layout import quiet_transformers
from vocab.model_files.output import PROVENANCE, WrittenModel, check_output
from vocab.model_files.small_files import copy_small_files, file_digests, write_json
from vocab.model_files.verify import verify_directory
from vocab.tokenizer.loading import load_tokenizer

if TYPE_CHECKING:
    import torch


def use_head(
    folder: str | Path,
    name: str,
    out: str | Path,
    *,
    overwrite: bool = False,
    link: bool = False,
    device: str = "cpu",
    trust_remote_code: bool = False,
) -> WrittenModel:
    """Write one vocabulary with the body as an ordinary model directory, verified by reloading it.

    Its state dict has the bits of the model that was added.

    Parameters
    ----------
    folder, name
        The model directory and the vocabulary's name.
    out : path
        Must not exist, unless `overwrite`.
    link, device
        See :func:`vocab.model_files.output.write_model_directory`.

    Raises
    ------
    UsageError
        For a name that no vocabulary has.
    InputError
        For a damaged file, or a body that has been changed since.
    OutputError
        When the place is taken, or the reloaded model fails its check.
    """
    own = take_apart(folder, trust_remote_code=trust_remote_code)
    out = check_output(out, overwrite=overwrite, keep=own.folder)
    head = find_head(own, name, trust_remote_code=trust_remote_code)
    tensors = {} if head.is_default else read_weights(head.folder)
    if not head.is_default:
        _check_body(own, read_notes(head.folder / META)["body"], head)
    changes = {key: Change(tuple(new.shape), _Replace(new)) for key, new in tensors.items()}
    shapes = {key: (own.checkpoint.tensors[key].shape, change.shape) for key, change in changes.items()}
    n_bytes = sum(info.stop - info.start for info in own.checkpoint.tensors.values()) + head.n_bytes
    with temporary_sibling(out, n_bytes=n_bytes) as target:
        digests = rewrite_checkpoint(own.checkpoint, target, changes, link=link)
        if head.is_default:
            digests = {key: own.digest(key) for key in own.vocabulary}
        copy_files(own_files(head.folder), head.folder, target)
        has_code = getattr(own.layout.config, "auto_map", None) is not None
        copy_small_files(own.folder, target, with_code=has_code, link=link)
        verification = verify_directory(
            target,
            _auto_tokenizer(head.folder, trust_remote_code=trust_remote_code),
            own.layout,
            digests,
            n_rows=head.n_rows,
            device=device,
            trust_remote_code=trust_remote_code,
        )
        known = target / PROVENANCE
        provenance = json.loads(known.read_text(encoding="utf-8")) if known.is_file() else {}
        provenance["taken_from"] = {"name": own.folder.resolve().name, "vocabulary": head.name}
        known.unlink(missing_ok=True)
        write_json(known, {**provenance, "sha256": file_digests(target)})
        put_in_place(target, out, overwrite=overwrite)
    return WrittenModel(out, head.n_rows, shapes, (), verification)


def _auto_tokenizer(folder: Path, *, trust_remote_code: bool) -> Any:
    """The tokenizer that the copied files must give again, right or wrong."""
    from transformers import AutoTokenizer

    load_tokenizer(folder, trust_remote_code=trust_remote_code)  # for its clear errors
    with quiet_transformers():
        return AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=trust_remote_code
        )


@dataclass(frozen=True, eq=False)
class _Replace:
    new: torch.Tensor

    def __call__(self, old: torch.Tensor) -> torch.Tensor:
        return self.new


def _check_body(own: Anatomy, recorded: Mapping[str, str], head: Head) -> None:
    for key, digest in recorded.items():
        if key not in own.checkpoint.tensors or own.digest(key) != digest:
            raise InputError(
                f"the body is no longer the one to which {head.name!r} was added: {key} differs",
                where=own.folder,
                hint="restore the model directory, or add the vocabulary of a model with this body",
            )
