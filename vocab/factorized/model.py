"""Open a model whose input embeddings were kept as two factors, and fold them back.

On disk, kept factors are no model that transformers knows, and it must not take them for one: missing rows
would be drawn at random. ``config.json`` names a model type that it refuses, holding the real config inside,
and the weights lie in ``factorized/``, where it does not look. :func:`load_factorized` opens it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from align.errors import InputError, UsageError
from vocab.factorized.output import FACTORS, MODEL_TYPE, PRIMITIVES
from vocab.model_files.checkpoint import open_checkpoint
from vocab.model_files.layout import (
    VocabLayout,
    find_vocabulary,
    match_checkpoint,
    model_class,
    quiet_transformers,
    read_config,
)

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class FactorizedEmbedding(nn.Module):
    """``nn.Embedding`` of rank k: coordinates of a token, then shared primitives."""

    def __init__(self, coordinates: torch.Tensor, primitives: torch.Tensor, padding_idx: int | None) -> None:
        super().__init__()
        (self.num_embeddings, k), self.embedding_dim = coordinates.shape, primitives.shape[1]
        self.padding_idx = padding_idx
        self.coordinates = nn.Embedding(self.num_embeddings, k, padding_idx, _weight=coordinates)
        self.primitives = nn.Linear(k, self.embedding_dim, bias=False, device="meta")
        self.primitives.weight = nn.Parameter(primitives.T.contiguous())

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Rows of full size."""
        return self.primitives(self.coordinates(input_ids))

    @property
    def weight(self) -> torch.Tensor:
        """The matrix at full size, computed."""
        return self.coordinates.weight @ self.primitives.weight.T


class FactorizedHead(nn.Module):
    """``nn.Linear`` that shares the parameters of a :class:`FactorizedEmbedding`."""

    def __init__(self, embedding: FactorizedEmbedding, bias: nn.Parameter | None) -> None:
        super().__init__()
        self.coordinates, self.primitives = embedding.coordinates, embedding.primitives
        self.in_features, self.out_features = embedding.embedding_dim, embedding.num_embeddings
        self.bias = bias

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Logits."""
        narrow = states @ self.primitives.weight
        return nn.functional.linear(narrow, self.coordinates.weight, self.bias)

    @property
    def weight(self) -> torch.Tensor:
        """The matrix at full size, computed."""
        return self.coordinates.weight @ self.primitives.weight.T


class _Factorized:
    """Of a model with factors: what would tie or save it as if it had none."""

    def tie_weights(self, *args: Any, **kwargs: Any) -> None:
        """Nothing is to be done: a tied head has the factors themselves."""

    def save_pretrained(self, *args: Any, **kwargs: Any) -> None:
        """Refused: transformers would draw the embeddings anew when it opens it."""
        raise UsageError(
            "a model with factorised embeddings cannot be saved as an ordinary one",
            hint="Fold it first: vocab.fold_factorized(model).save_pretrained(...)",
        )


def load_factorized(folder: str | Path, *, dtype: str = "auto") -> PreTrainedModel:
    """Open a directory that was written with ``--keep-factorized``.

    Parameters
    ----------
    folder : path
    dtype : str
        As transformers takes it.

    Returns
    -------
    PreTrainedModel
        With a :class:`FactorizedEmbedding` for its input embeddings, and for a tied head a
        :class:`FactorizedHead` with the same parameters. It trains as it is; :func:`fold_factorized` makes an
        ordinary model of it. Its tokenizer is ``AutoTokenizer.from_pretrained(folder)``.

    Raises
    ------
    InputError
        For another directory, or a damaged one.

    Notes
    -----
    While loading, the embeddings are in memory once at full size.
    """
    folder = Path(folder)
    layout = factorized_layout(folder)
    checkpoint = open_checkpoint(folder / FACTORS)
    try:
        with safe_open(folder / FACTORS / PRIMITIVES, framework="pt") as file:
            primitives = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  (no mapping)
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"weights that cannot be read: {error}", where=folder / FACTORS / PRIMITIVES
        ) from error
    names = match_checkpoint(layout, checkpoint)
    state = {key: checkpoint.read(key) for key in checkpoint.tensors}
    factors: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    for key, directions in primitives.items():
        if key not in names or state[key].shape[1:] != directions.shape[:1]:
            raise InputError("factors that do not fit each other", where=f"{folder}: {key}")
        factors[names[key].name] = state[key], directions
        state[key] = (state[key] @ directions).movedim(0, names[key].axis)
    cls: Any = layout.model_class
    try:
        with quiet_transformers():
            model, info = cls.from_pretrained(
                None, config=layout.config, state_dict=state, dtype=dtype, output_loading_info=True
            )
    except (RuntimeError, ValueError, KeyError) as error:
        raise InputError(f"the model cannot be loaded: {str(error).splitlines()[0]}", where=folder) from error
    if info["mismatched_keys"] or set(info["missing_keys"]) & {tensor.name for tensor in layout.tensors}:
        raise InputError("tensors of the vocabulary were not loaded", where=folder)
    made: dict[int, FactorizedEmbedding] = {}
    owners = dict(model.named_modules(remove_duplicate=False))
    for name, (coordinates, directions) in factors.items():
        old = owners.get(name.rpartition(".")[0])
        if isinstance(old, nn.Embedding) and id(old.weight) not in made:
            check_plain(old, name)
            kind = old.weight.dtype
            made[id(old.weight)] = FactorizedEmbedding(
                coordinates.to(kind), directions.to(kind), old.padding_idx
            )
    _replace(model, lambda old: _factored(old, made))
    model._tied_before = model.all_tied_weights_keys
    model.all_tied_weights_keys = {}
    model.__class__ = type(f"Factorized{type(model).__name__}", (_Factorized, type(model)), {})
    return model.eval()


def factorized_layout(folder: Path) -> VocabLayout:
    """Architecture and config of a directory with kept factors.

    Raises
    ------
    InputError
        When it is none.
    """
    path = folder / "config.json"
    try:
        outer = json.loads(path.read_text(encoding="utf-8"))
        inner = outer["model"] if outer["model_type"] == MODEL_TYPE else None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"no factorised model: {error!r}", where=path) from error
    if inner is None:
        raise InputError(
            "an ordinary model, without factors", where=folder, hint="Open it with AutoModel.from_pretrained"
        )
    with tempfile.TemporaryDirectory() as temporary:
        (Path(temporary) / "config.json").write_text(json.dumps(inner), encoding="utf-8")
        config = read_config(temporary)
        return find_vocabulary(model_class(config, temporary), config)


def check_plain(module: nn.Module, name: str) -> None:
    """Refuse embeddings that do more than look rows up."""
    if type(module).forward is not nn.Embedding.forward:
        raise InputError(
            "factors cannot be kept: these embeddings are more than a table",
            got=type(module).__name__,
            where=name,
            hint="leave out --keep-factorized, and they are folded back to full size",
        )


def _factored(old: nn.Module, made: Mapping[int, FactorizedEmbedding]) -> nn.Module | None:
    embedding = made.get(id(getattr(old, "weight", None)))
    if embedding is None or isinstance(old, nn.Embedding):
        return embedding
    return FactorizedHead(embedding, getattr(old, "bias", None))


def _replace(model: nn.Module, new_one: Callable[[nn.Module], nn.Module | None]) -> None:
    """Put ``new_one(module)``, where it is not None, in the place of every module; one for one."""
    done: dict[int, nn.Module | None] = {}
    for name, old in list(model.named_modules(remove_duplicate=False)):
        if id(old) not in done:
            done[id(old)] = new_one(old)
        new = done[id(old)]
        if new is not None:
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, new)


def fold_factorized(model: PreTrainedModel) -> PreTrainedModel:
    """Make an ordinary model of what :func:`load_factorized` gave, in place; then it can be saved.

    Raises
    ------
    UsageError
        For a model without factors.
    """
    if not isinstance(model, _Factorized):
        raise UsageError("a model without factors has nothing to fold", got=type(model).__name__)
    weights: dict[int, nn.Parameter] = {}

    def full(old: nn.Module) -> nn.Module | None:
        if not isinstance(old, FactorizedEmbedding | FactorizedHead):
            return None
        with torch.no_grad():
            weight = weights.setdefault(id(old.coordinates), nn.Parameter(old.weight.clone()))
        rows, dim = weight.shape
        if isinstance(old, FactorizedEmbedding):
            return nn.Embedding(rows, dim, old.padding_idx, _weight=weight)
        head = nn.Linear(dim, rows, bias=False, device="meta")
        head.weight = weight
        head.register_parameter("bias", old.bias)
        return head

    _replace(model, full)
    model.__class__ = type(model).__mro__[2]
    model.all_tied_weights_keys = model._tied_before
    return model
