"""From a plan to changed tensors: token embeddings, output head, biases, padding rows, position tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from align.errors import InputError, UsageError
from vocab.model_files.checkpoint import Change, Checkpoint, open_checkpoint
from vocab.model_files.layout import (
    VocabLayout,
    VocabTensor,
    find_vocabulary,
    match_checkpoint,
    model_class,
    read_config,
)
from vocab.plan import Side, TransferPlan

if TYPE_CHECKING:
    import torch

# A padding id far from the old one needs a table with that many unused rows in front.
_LARGEST_SHIFT = 4096


def target_rows(plan: TransferPlan, *, pad_to_multiple_of: int | None = None) -> int:
    """Rows of the new matrices: one a token, rounded up only where a multiple is asked for.

    The padding of the source is not kept: it served the source's size.
    """
    multiple = 1 if pad_to_multiple_of is None else pad_to_multiple_of
    if multiple < 1:
        raise UsageError("--pad-to-multiple-of is too small", got=multiple, wanted="1 or more")
    return -(-plan.n_tgt // multiple) * multiple


def new_rows(
    old: NDArray[Any], plan: TransferPlan, *, n_rows: int, is_bias: bool = False, side: Side = "input"
) -> NDArray[Any]:
    """Apply a plan and append padding rows.

    Parameters
    ----------
    old : ndarray, shape (rows, dim) or (rows,)
        Old matrix or bias; rows past ``plan.n_src`` are the source's padding.
    n_rows : int
        Rows wanted, ``plan.n_tgt`` or more.

    Returns
    -------
    ndarray, shape (n_rows, dim) or (n_rows,)
        Padding rows are the mean of the source's padding rows, or of all its rows where it has none; padding
        entries of a bias are the bias's minimum, so that padding is not predicted. Sampled entries of a bias
        are its mean.
    """
    rows = plan.apply(old, side=side)
    n_pad = n_rows - plan.n_tgt
    if not n_pad:
        return rows
    if is_bias:
        return np.concatenate([rows, np.full(n_pad, rows.min(), rows.dtype)])
    padding = old[plan.n_src :] if len(old) > plan.n_src else old
    filler = padding.mean(axis=0, dtype=np.float64).astype(rows.dtype)
    return np.concatenate([rows, np.broadcast_to(filler, (n_pad, *filler.shape))])


def vocabulary_changes(
    checkpoint: Checkpoint,
    tensors: Mapping[str, VocabTensor],
    plan: TransferPlan,
    *,
    n_rows: int,
    head_plan: TransferPlan | None = None,
) -> dict[str, Change]:
    """The change of every tensor with a vocabulary axis, by the checkpoint's names.

    Parameters
    ----------
    head_plan : TransferPlan, optional
        For a head with values of its own and for the biases; by default they follow `plan`. Tied embeddings
        have one plan.

    Raises
    ------
    InputError
        When the source tokenizer has more tokens than the model has rows.
    """
    changes = {}
    sides = {key: side_of(key, tensor, tensors, checkpoint) for key, tensor in tensors.items()}
    own_head = "head" in sides.values()
    for key, tensor in tensors.items():
        shape = checkpoint.tensors[key].shape
        if shape[tensor.axis] < plan.n_src:
            raise InputError(
                "the source tokenizer has more tokens than the model has rows",
                got=f"{plan.n_src} tokens, {shape[tensor.axis]} rows",
                where=f"{checkpoint.folder}: {key}",
                hint="is it this model's tokenizer? Otherwise resize the model's embeddings first",
            )
        new_shape = tuple(n_rows if i == tensor.axis else size for i, size in enumerate(shape))
        is_head = own_head and (sides[key] == "head" or tensor.role == "bias")
        chosen = head_plan if head_plan is not None and is_head else plan
        changes[key] = Change(new_shape, _RowChange(key, tensor, chosen, n_rows, sides[key]))
    return changes


def has_own_head(checkpoint: Checkpoint, tensors: Mapping[str, VocabTensor]) -> bool:
    """Whether there is an output head that is not a copy of the input embeddings."""
    return any(side_of(key, tensor, tensors, checkpoint) == "head" for key, tensor in tensors.items())


def head_of(folder: str | Path, *, trust_remote_code: bool = False) -> Literal["own", "tied", "none"]:
    """Whether a model directory has an output head with values of its own, one that is the input, or none.

    Raises
    ------
    InputError
        For a model that cannot be read.
    """
    config = read_config(folder, trust_remote_code=trust_remote_code)
    layout = find_vocabulary(model_class(config, folder, trust_remote_code=trust_remote_code), config)
    checkpoint = open_checkpoint(Path(folder))
    tensors = match_checkpoint(layout, checkpoint)
    if has_own_head(checkpoint, tensors):
        return "own"
    heads = [tensor for tensor in (*layout.tensors, *tensors.values()) if tensor.role == "head"]
    return "tied" if heads else "none"


def side_of(
    key: str, tensor: VocabTensor, tensors: Mapping[str, VocabTensor], checkpoint: Checkpoint
) -> Side:
    """``"head"`` for a head with values of its own: a tied copy has to stay equal to the embeddings."""
    if tensor.role != "head":
        return "input"
    if tensor.tied_to is not None:
        import torch

        partners = [other for other, found in tensors.items() if found.name == tensor.tied_to]
        if not partners or torch.equal(checkpoint.read(key), checkpoint.read(partners[0])):
            return "input"
    return "head"


@dataclass(frozen=True, eq=False)
class _RowChange:
    key: str
    tensor: VocabTensor
    plan: TransferPlan
    n_rows: int
    side: Side

    def __call__(self, old: torch.Tensor) -> torch.Tensor:
        import torch

        is_bias = self.tensor.role == "bias"
        # numpy has no bfloat16; float32 holds bfloat16 and float16 exactly
        values = old if old.dtype == torch.float64 else old.to(torch.float32)
        rows = values.reshape(-1) if is_bias else values.movedim(self.tensor.axis, 0)
        try:
            new = new_rows(
                rows.contiguous().numpy(), self.plan, n_rows=self.n_rows, is_bias=is_bias, side=self.side
            )
        except InputError as error:
            raise InputError(
                error.what, got=error.got, wanted=error.wanted, where=self.key, hint=error.hint
            ) from error
        shape = [self.n_rows if i == self.tensor.axis else size for i, size in enumerate(old.shape)]
        out = torch.from_numpy(np.ascontiguousarray(new))
        return out.reshape(shape) if is_bias else out.movedim(0, self.tensor.axis)


def position_changes(
    checkpoint: Checkpoint, layout: VocabLayout, pad_id: int | None
) -> tuple[dict[str, Change], dict[str, int]]:
    """Shift the position tables of models that count positions from the padding id.

    RoBERTa and its relatives read row ``pad + 1 + i`` of the position table for token ``i``, and row ``pad``
    for padding. If the new padding id differs, the rows move by the difference, and the table grows or
    shrinks by it, so the same positions are read.

    Returns
    -------
    changes, config : dict
        Changes by the checkpoint's names, and new values of config fields.

    Raises
    ------
    InputError
        When the padding id cannot change: it is written in the model's code, or the positions are computed
        from it, or it is too far away.
    """
    changes: dict[str, Change] = {}
    config: dict[str, int] = {}
    for table in layout.positions:
        shift = 0 if pad_id is None else pad_id - table.pad_id
        if pad_id is not None and not shift:
            continue
        key = _checkpoint_key(checkpoint, layout, table.tensor)
        if pad_id is None or not table.follows_config or key is None or abs(shift) > _LARGEST_SHIFT:
            raise InputError(
                "this model counts positions from its padding id, which the target tokenizer changes",
                got="no padding token" if pad_id is None else pad_id,
                wanted=table.pad_id,
                where=f"{layout.model_class.__name__}.{table.module}",
                hint=f"give the target tokenizer's padding token the id {table.pad_id}",
            )
        n_old, dim = checkpoint.tensors[key].shape
        changes[key] = Change((n_old + shift, dim), _Shift(table.pad_id, pad_id))
        if getattr(layout.text_config, "max_position_embeddings", None) == n_old:
            config["max_position_embeddings"] = n_old + shift
    return changes, config


def _checkpoint_key(checkpoint: Checkpoint, layout: VocabLayout, name: str | None) -> str | None:
    if name is None:
        return None
    prefix = f"{layout.model_class.base_model_prefix}."
    candidates = (name, name.removeprefix(prefix), prefix + name)
    return next((key for key in candidates if key in checkpoint.tensors), None)


@dataclass(frozen=True)
class _Shift:
    old_pad: int
    new_pad: int

    def __call__(self, old: torch.Tensor) -> torch.Tensor:
        import torch

        # rows before the padding row are never read
        unread = old[self.old_pad].expand(self.new_pad, old.shape[1])
        return torch.cat([unread, old[self.old_pad :]])
