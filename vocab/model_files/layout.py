"""Which tensors and config fields have the vocabulary's dimension, found out for any architecture.

The architecture is built twice without memory (torch's meta device), the second time with one more token.
Dimensions that moved are vocabulary dimensions, and no others: equal numbers do not mislead.
"""

from __future__ import annotations

import contextlib
import copy
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from align.errors import InputError
from vocab.model_files.checkpoint import Checkpoint, TensorInfo, size_of

if TYPE_CHECKING:
    from torch import nn
    from transformers import PretrainedConfig, PreTrainedModel

Role = Literal["input", "head", "bias"]

VOCAB_FIELDS = ("vocab_size", "decoder_vocab_size")


@dataclass(frozen=True)
class VocabTensor:
    """A tensor with one row (or column) a token.

    ``axis`` is the vocabulary's axis. ``tied_to`` is the tensor whose values it shares in the model, or
    ``None``. ``shape`` is that of the old model.
    """

    name: str
    axis: int
    role: Role
    shape: tuple[int, ...]
    tied_to: str | None = None


@dataclass(frozen=True)
class PositionTable:
    """Positions counted from the padding id, as RoBERTa does: a padding token reads row ``pad_id``, the first
    real token row ``pad_id + 1``.

    ``tensor`` is the learned table, ``None`` if positions are computed. ``follows_config`` is false where
    the padding id is written in the model's code instead of read from ``config.pad_token_id``.
    """

    module: str
    tensor: str | None
    pad_id: int
    follows_config: bool


@dataclass(frozen=True, eq=False)
class VocabLayout:
    """Where a vocabulary lives in one architecture.

    ``config_path`` leads from config.json to the section with the vocabulary: ``()`` or ``("text_config",)``.
    """

    model_class: type[PreTrainedModel]
    config: PretrainedConfig
    config_path: tuple[str, ...]
    vocab_fields: tuple[str, ...]
    vocab_size: int
    tensors: tuple[VocabTensor, ...]
    positions: tuple[PositionTable, ...]
    state_names: frozenset[str]

    @property
    def text_config(self) -> PretrainedConfig:
        """The section of the config that holds the vocabulary."""
        return _section(self.config, self.config_path)


def _section(config: PretrainedConfig, path: Iterable[str]) -> PretrainedConfig:
    for key in path:
        config = getattr(config, key)
    return config


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Hold back transformers' log lines and progress bars: its load report is read by us."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def read_config(folder: str | Path, *, trust_remote_code: bool = False) -> PretrainedConfig:
    """The config of a model directory.

    Raises
    ------
    InputError
        When there is none, it is damaged, or its model type is unknown.
    """
    from transformers import AutoConfig

    path = Path(folder) / "config.json"
    if not path.is_file():
        raise InputError("no model here: config.json is missing", where=folder)
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"a damaged config.json: {error}", where=path) from error
    try:
        with quiet_transformers():
            return AutoConfig.from_pretrained(
                folder, local_files_only=True, trust_remote_code=trust_remote_code
            )
    except Exception as error:  # the library raises many kinds for a config it does not understand
        raise InputError(
            f"transformers cannot read this config: {_first_line(error)}",
            where=path,
            hint="a model with code of its own needs --trust-remote-code"
            if "remote_code" in str(error)
            else None,
        ) from error


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def model_class(
    config: PretrainedConfig, folder: str | Path, *, trust_remote_code: bool = False
) -> type[PreTrainedModel]:
    """The class named in ``config.architectures``, or the base model's where none is named.

    Raises
    ------
    InputError
        For a class that is not part of transformers, unless its code may be run.
    """
    import transformers
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    names = config.architectures or []
    known = getattr(transformers, names[0], None) if names else None
    if known is not None:
        return known
    references = getattr(config, "auto_map", None) or {}
    wanted = [ref for ref in references.values() if isinstance(ref, str) and ref.split(".")[-1] in names[:1]]
    if wanted and trust_remote_code:
        return get_class_from_dynamic_module(wanted[0], str(folder), local_files_only=True)
    if not names and type(config) in transformers.MODEL_MAPPING:
        return cast("type[PreTrainedModel]", transformers.MODEL_MAPPING[type(config)])
    raise InputError(
        "an architecture that transformers does not know",
        got=names[0] if names else config.model_type,
        where=Path(folder) / "config.json",
        hint="a model with code of its own needs --trust-remote-code" if wanted else None,
    )


def build_empty(cls: type[PreTrainedModel], config: PretrainedConfig) -> PreTrainedModel:
    """The model's modules on the meta device: shapes without memory."""
    import torch

    with quiet_transformers(), torch.device("meta"):
        return cls._from_config(copy.deepcopy(config))


def find_vocabulary(cls: type[PreTrainedModel], config: PretrainedConfig) -> VocabLayout:
    """Find the vocabulary's tensors by building the model with ``V`` and with ``V + 1`` tokens.

    The padding id is moved by one as well, which shows the position tables that depend on it.

    Raises
    ------
    InputError
        When the config has no vocabulary size or a dimension depends on it in another way than 1 : 1.

    Notes
    -----
    Well under a second for any size of model; no weights are read.
    """
    path: tuple[str, ...] = ()
    text = config.get_text_config()
    if text is not config:
        path = next(((key,) for key in config.sub_configs if getattr(config, key, None) is text), ())
    size = getattr(text, "vocab_size", None)
    if not isinstance(size, int) or size < 1:
        raise InputError("a config without a vocabulary size", got=size, where=config.model_type)
    fields = tuple(field for field in VOCAB_FIELDS if getattr(text, field, None) == size)

    larger = copy.deepcopy(config)
    sections = {id(section): section for section in (larger, _section(larger, path))}
    for section in sections.values():
        for field in fields:
            if getattr(section, field, None) == size:
                setattr(section, field, size + 1)
    pad_id = getattr(text, "pad_token_id", None)
    moved_pad = pad_id if pad_id is None or pad_id < 0 else (pad_id + 1) % (size + 1)
    for section in sections.values():
        if pad_id is not None and getattr(section, "pad_token_id", None) == pad_id:
            section.pad_token_id = moved_pad
    first, second = build_empty(cls, config), build_empty(cls, larger)
    after = {name: tuple(tensor.shape) for name, tensor in second.state_dict().items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in first.state_dict().items()}
    tied = getattr(first, "all_tied_weights_keys", None) or {}
    roles = _roles(first)
    tensors = []
    for name, shape in shapes.items():
        axes = [i for i, (old, new) in enumerate(zip(shape, after[name], strict=True)) if old != new]
        if not axes:
            continue
        axis = axes[0]
        if len(axes) > 1 or shape[axis] != size or after[name][axis] != size + 1 or len(shape) > 2:
            raise InputError(
                "an architecture whose tensors depend on the vocabulary in an unknown way",
                got=f"{shape} becoming {after[name]} with one more token",
                where=f"{cls.__name__}.{name}",
            )
        is_bias = size_of(shape) == size
        role: Role = "bias" if is_bias else roles.get(name, "head" if "head" in name else "input")
        tensors.append(VocabTensor(name, axis, role, shape, tied.get(name)))
    if not any(tensor.role == "input" for tensor in tensors):
        raise InputError("no tensor of this architecture has the vocabulary's size", got=cls.__name__)
    return VocabLayout(
        model_class=cls,
        config=config,
        config_path=path,
        vocab_fields=fields,
        vocab_size=size,
        tensors=tuple(tensors),
        positions=_position_tables(first, second, {tensor.name for tensor in tensors}),
        state_names=frozenset(shapes),
    )


def _roles(model: PreTrainedModel) -> dict[str, Role]:
    """Roles of matrices by name: an embedding module reads ids, the output module writes logits."""
    from torch import nn

    output = model.get_output_embeddings()
    roles: dict[str, Role] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, nn.Embedding):
            roles[f"{name}.weight"] = "input"
        elif module is output or isinstance(module, nn.Linear):
            roles[f"{name}.weight"] = "head"
    return roles


def _position_tables(
    model: PreTrainedModel, moved: PreTrainedModel, vocabulary: set[str]
) -> tuple[PositionTable, ...]:
    """Modules other than token embeddings that hold a padding index and are named for positions."""
    from torch import nn

    state = model.state_dict()
    others: Mapping[str, nn.Module] = dict(moved.named_modules())
    tables = []
    for name, module in model.named_modules():
        index = getattr(module, "padding_idx", None)
        weight = f"{name}.weight"
        is_table = isinstance(module, nn.Embedding) or "Position" in type(module).__name__
        if index is None or not is_table or weight in vocabulary:
            continue
        follows = getattr(others[name], "padding_idx", None) != index
        tables.append(PositionTable(name, weight if weight in state else None, int(index), follows))
    return tuple(tables)


def match_checkpoint(layout: VocabLayout, checkpoint: Checkpoint) -> dict[str, VocabTensor]:
    """The checkpoint's names of the vocabulary's tensors.

    Names are matched exactly, with or without the base model's prefix (``bert.``), and by their last two
    parts for names of older versions; an output head also by its shape, where one tensor is left. Tensors
    that ``config.architectures`` does not use, such as a masked language model's head next to a base model,
    are found through the other classes of the model type.

    Raises
    ------
    InputError
        When the input embeddings are missing, or rows disagree with ``config.vocab_size``.
    """
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSeq2SeqLM

    names = checkpoint.tensors
    found = _match(layout, names)
    found |= _renamed_head(layout, names, found)
    known = {key for key in names if _model_name(layout, key) in layout.state_names} | set(found)
    suspects = [key for key, info in names.items() if key not in known and layout.vocab_size in info.shape]
    for auto in (AutoModelForMaskedLM, AutoModelForCausalLM, AutoModelForSeq2SeqLM):
        if suspects and type(layout.config) in auto._model_mapping:
            cls = cast("type[PreTrainedModel]", auto._model_mapping[type(layout.config)])
            other = find_vocabulary(cls, layout.config)
            extra = _match(other, {key: names[key] for key in suspects})
            found |= extra
            suspects = [key for key in suspects if key not in extra]
    if suspects:
        warnings.warn(
            f"{len(suspects)} tensors that no class of this model type uses have an axis as long as the "
            f"vocabulary and are copied unchanged: {', '.join(suspects[:5])}",
            stacklevel=2,
        )

    inputs = [key for key, tensor in found.items() if tensor.role == "input"]
    tied_heads = [key for key, tensor in found.items() if tensor.tied_to is not None]
    if not inputs and not tied_heads:
        wanted = [tensor.name for tensor in layout.tensors if tensor.role == "input"]
        raise InputError("the checkpoint has no input embeddings", wanted=wanted[0], where=checkpoint.folder)
    for key, tensor in found.items():
        info = names[key]
        if len(info.shape) != len(tensor.shape) or info.shape[tensor.axis] != layout.vocab_size:
            raise InputError(
                "the checkpoint and its config disagree about the vocabulary",
                got=f"shape {info.shape}",
                wanted=f"{layout.vocab_size} rows, as config.vocab_size says",
                where=f"{checkpoint.folder}: {key}",
                hint="save the model again with save_pretrained, or correct config.json",
            )
        if not info.is_float:
            raise InputError(
                "quantised embeddings cannot be recombined",
                got=info.dtype,
                where=f"{checkpoint.folder}: {key}",
                hint="start from the model in float16, bfloat16 or float32",
            )
    return found


def _model_name(layout: VocabLayout, key: str) -> str:
    """The model's name of a checkpoint tensor, up to the base model's prefix."""
    prefix = f"{layout.model_class.base_model_prefix}."
    for candidate in (key, prefix + key, key.removeprefix(prefix)):
        if candidate in layout.state_names:
            return candidate
    return key


def _match(layout: VocabLayout, names: Mapping[str, TensorInfo]) -> dict[str, VocabTensor]:
    by_name = {tensor.name: tensor for tensor in layout.tensors}
    found = {key: by_name[name] for key in names if (name := _model_name(layout, key)) in by_name}
    taken = {tensor.name for tensor in found.values()}
    for key, info in names.items():
        if key in found or _model_name(layout, key) in layout.state_names:
            continue
        ending = key.split(".")[-2:]
        alike = [tensor for tensor in layout.tensors if tensor.name.split(".")[-2:] == ending]
        if len(alike) == 1 and alike[0].name not in taken and layout.vocab_size in info.shape:
            found[key] = alike[0]
    return found


def _renamed_head(
    layout: VocabLayout, names: Mapping[str, TensorInfo], found: Mapping[str, VocabTensor]
) -> dict[str, VocabTensor]:
    """An untied head under a name that is not the model's (``embed_out`` of GPT-NeoX), told by its shape."""
    taken = {tensor.name for tensor in found.values()}
    missing = [
        tensor
        for tensor in layout.tensors
        if tensor.role == "head" and tensor.tied_to is None and tensor.name not in taken
    ]
    strangers = [
        key
        for key, info in names.items()
        if key not in found
        and _model_name(layout, key) not in layout.state_names
        and missing
        and tuple(info.shape) == missing[0].shape
    ]
    return {strangers[0]: missing[0]} if len(missing) == len(strangers) == 1 else {}
