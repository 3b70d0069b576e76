"""Write input embeddings of low rank: folded back to full size, or kept as two factors.

After Liu et al. (2024), arXiv:2311.08849, section 3.1. With ``E ~ C P`` and the rows of ``P`` orthonormal,
lengths of rows are those of their coordinates, so a plan's norm policy and distributions mean the same for
``C`` as for ``E``: ``plan(E_k) = plan(C) P``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from align.errors import InputError, OutputError, ToolkitError, UsageError
from vocab.factorized.factors import factorize
from vocab.model_files.checkpoint import Change, Checkpoint, open_checkpoint
from vocab.model_files.layout import (
    VocabTensor,
    build_empty,
    find_vocabulary,
    match_checkpoint,
    model_class,
    read_config,
)
from vocab.model_files.surgery import side_of

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

FACTORS = "factorized"
PRIMITIVES = "primitives.safetensors"
MODEL_TYPE = "factorized-embeddings, opened by vocab.load_factorized"


@dataclass(eq=False)
class LowRankRows:
    """The change of a matrix through its coordinates; after it, `primitives` and `explained` are known."""

    change: Change
    axis: int
    n_src: int
    rank: int
    keep: bool
    primitives: NDArray[np.float32] = field(init=False)
    explained: float = field(init=False)

    def __call__(self, old: torch.Tensor) -> torch.Tensor:
        """New coordinates if kept, or new rows of full size."""
        import torch

        rows = old.movedim(self.axis, 0).to(torch.float32).numpy()
        with threadpool_limits(1, user_api="blas"):  # the same bits for any number of threads
            found = factorize(rows[: self.n_src], self.rank)
            self.primitives, self.explained = found.directions(), found.explained
            coordinates = np.ascontiguousarray(rows @ self.primitives.T)
            new = self.change.compute(torch.from_numpy(coordinates).movedim(0, self.axis))
            if self.keep:
                return new.movedim(self.axis, 0).contiguous()
            full = new.movedim(self.axis, 0).to(torch.float32).numpy() @ self.primitives
        return torch.from_numpy(full).movedim(0, self.axis)


def low_rank_changes(
    checkpoint: Checkpoint,
    tensors: Mapping[str, VocabTensor],
    changes: Mapping[str, Change],
    *,
    rank: int,
    keep: bool,
    n_src: int,
) -> dict[str, Change]:
    """The same changes with the input embeddings, and heads tied to them, of rank `rank`.

    Raises
    ------
    UsageError
        For a rank that is not from 1 to the embeddings' width.
    """
    out = dict(changes)
    for key, tensor in tensors.items():
        if tensor.role == "bias" or side_of(key, tensor, tensors, checkpoint) == "head":
            continue
        dim = checkpoint.tensors[key].shape[1 - tensor.axis]
        if not 1 <= rank <= dim:
            raise UsageError("--rank is out of range", got=rank, wanted=f"1 to {dim}, the embeddings' width")
        n_rows = changes[key].shape[tensor.axis]
        shape = (n_rows, rank) if keep else changes[key].shape
        out[key] = Change(shape, LowRankRows(changes[key], tensor.axis, n_src, rank, keep))
    return out


def check_rank(folder: str | Path, rank: int, *, keep: bool, trust_remote_code: bool = False) -> None:
    """Refuse early what cannot be factorised: see :func:`low_rank_changes`.

    Raises
    ------
    UsageError
        For a rank out of range.
    InputError
        Where the factors are to be kept, for a model with code of its own or with embeddings that are more
        than a table.
    """
    config = read_config(folder, trust_remote_code=trust_remote_code)
    layout = find_vocabulary(model_class(config, folder, trust_remote_code=trust_remote_code), config)
    checkpoint = open_checkpoint(folder)
    tensors = match_checkpoint(layout, checkpoint)
    whole = {key: Change(checkpoint.tensors[key].shape, lambda old: old) for key in tensors}
    low_rank_changes(checkpoint, tensors, whole, rank=rank, keep=keep, n_src=1)
    if not keep:
        return
    if getattr(config, "auto_map", None):
        raise InputError("factors cannot be kept in a model with code of its own", where=folder)
    from vocab.factorized.model import check_plain

    empty = build_empty(layout.model_class, config)
    for tensor in layout.tensors:
        if tensor.role == "input":
            check_plain(empty.get_submodule(tensor.name.rpartition(".")[0]), tensor.name)


def low_rank_notes(changes: Mapping[str, Change]) -> list[str]:
    """What is kept of each matrix, known once it was written."""
    return [
        f"{key} is of rank {part.rank} and keeps {part.explained:.1%} of the old matrix's sum of squares"
        for key, part in _parts(changes).items()
    ]


def _parts(changes: Mapping[str, Change]) -> dict[str, LowRankRows]:
    return {key: change.compute for key, change in changes.items() if isinstance(change.compute, LowRankRows)}


def write_factors(folder: Path, changes: Mapping[str, Change], config: Mapping[str, Any]) -> dict[str, Any]:
    """Write the primitives beside the coordinates in `folder`; returns config.json of the model directory."""
    import torch
    from safetensors.torch import save_file

    written = open_checkpoint(folder)
    parts = _parts(changes)
    save_file(
        {key: torch.from_numpy(part.primitives).to(written.read(key).dtype) for key, part in parts.items()},
        folder / PRIMITIVES,
        {"format": "pt"},
    )
    return {"model_type": MODEL_TYPE, "rank": next(iter(parts.values())).rank, "model": dict(config)}


def open_written(folder: Path) -> PreTrainedModel:
    """Open kept factors that have just been written, for :func:`vocab.model_files.verify.verify_directory`.

    Raises
    ------
    OutputError
        They cannot be opened.
    """
    from vocab.factorized.model import load_factorized

    try:
        return load_factorized(folder)
    except ToolkitError as error:
        raise OutputError(f"the written model failed its check: {error.what}", where=error.where) from error
