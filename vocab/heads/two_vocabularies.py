"""A model in memory that reads one of its vocabularies and writes another."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from align.errors import InputError, UsageError
from vocab.heads.adding import Head, find_head, head_tensors
from vocab.heads.body import Anatomy, take_apart
from vocab.model_files.layout import VocabTensor, match_checkpoint, quiet_transformers, read_config
from vocab.tokenizer.loading import load_tokenizer

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model, what tokenizes for it, and what its logits are over.

    Parameters
    ----------
    model : PreTrainedModel
    input_tokenizer, output_tokenizer : PreTrainedTokenizerFast
        The same object where the vocabularies are the same.
    output_offset : int
        Of a decoder with two vocabularies: an id that was written is read back as ``id + output_offset``
        (:meth:`generate` of the model does it by itself). 0 for all others.
    """

    model: PreTrainedModel
    input_tokenizer: PreTrainedTokenizerFast
    output_tokenizer: PreTrainedTokenizerFast
    output_offset: int = 0


def load(
    folder: str | Path,
    *,
    input: str | None = None,
    output: str | None = None,
    dtype: str = "auto",
    trust_remote_code: bool = False,
) -> LoadedModel:
    """Load a model directory with one of its vocabularies, or with one to read and another to write.

    Parameters
    ----------
    folder : path
        A model directory, with or without vocabularies added by :func:`vocab.heads.adding.add_head`.
    input, output : str, optional
        Names of vocabularies; the default one where none is given.
    dtype : str
        As transformers takes it.

    Returns
    -------
    LoadedModel
        With two vocabularies, tied embeddings are tied no more. What reads are the input embeddings of
        `input`, and its positions; what writes are the output head and biases of `output`. The decoder of a
        sequence-to-sequence model reads what it writes, so its embeddings are of `output` too. So does a lone
        decoder after its prompt: its input embeddings are the rows of `input`, then those of `output`.

    Raises
    ------
    UsageError
        For a name that no vocabulary has.
    InputError
        For damaged files, or an architecture without an output head.

    Notes
    -----
    In ``model.config``, ``vocab_size`` is the number of logits and ids are those of the side that they
    concern: ``eos`` of `output`; ``bos`` and ``pad`` of `input`, but for a sequence-to-sequence model, whose
    config speaks of its decoder. What fills up finished sequences in generation is the padding of `output`.
    Settings of generation that look at the prompt's ids, such as ``repetition_penalty``, take them for ids of
    `output`. A model with two vocabularies is not saved: it has no form on disk that others could open.

    Memory: the model, and the vocabularies' tensors once more.
    """
    own = take_apart(folder, trust_remote_code=trust_remote_code)
    reads = find_head(own, input, trust_remote_code=trust_remote_code)
    writes = find_head(own, output, trust_remote_code=trust_remote_code)
    model = _ordinary(own, reads, dtype=dtype, trust_remote_code=trust_remote_code)
    tokenizer = load_tokenizer(reads.folder, trust_remote_code=trust_remote_code)
    if reads.name == writes.name:
        return LoadedModel(model, tokenizer, tokenizer)
    if model.get_output_embeddings() is None:
        raise InputError(
            "a model without an output head writes no vocabulary", where=folder, hint="leave out `output`"
        )
    generates = model.can_generate() and not model.config.is_encoder_decoder
    _graft(model, own, writes, appended=generates)
    _set_ids(model, own, writes, trust_remote_code=trust_remote_code)
    kind = _Reading if generates else _Apart
    model.__class__ = type(f"{type(model).__name__}OfTwoVocabularies", (kind, type(model)), {})
    offset = reads.n_rows if generates else 0
    model._output_offset = offset  # type: ignore[assignment]
    model._input_pad = tokenizer.pad_token_id
    other = load_tokenizer(writes.folder, trust_remote_code=trust_remote_code)
    return LoadedModel(model, tokenizer, other, offset)


class _Apart:
    """Of a model with two vocabularies: what would tie or save it as if it had one."""

    _output_offset: int
    _input_pad: int | None

    def tie_weights(self, *args: Any, **kwargs: Any) -> None:
        """Nothing is tied."""

    def save_pretrained(self, *args: Any, **kwargs: Any) -> None:
        """Refused: nothing could open it again."""
        raise UsageError(
            "a model that reads one vocabulary and writes another cannot be saved",
            hint="`vocab-transfer heads use` writes an ordinary model of one",
        )

    def generate(self, inputs: torch.Tensor | None = None, **kwargs: Any) -> Any:
        """As ever; padding of the input is known by the input's padding id."""
        ids = inputs if inputs is not None else kwargs.get("input_ids")
        if ids is not None and self._input_pad is not None and kwargs.get("attention_mask") is None:
            kwargs["attention_mask"] = (ids != self._input_pad).long()
        self._n_read = 0 if ids is None else ids.shape[1]
        return super().generate(inputs, **kwargs)  # type: ignore[misc]


class _Reading(_Apart):
    """A decoder that reads its prompt in one vocabulary and what it has written in the other."""

    def prepare_inputs_for_generation(self, input_ids: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """As ever, with written ids moved to their rows."""
        ids = input_ids.clone()
        ids[:, self._n_read :] += self._output_offset
        return super().prepare_inputs_for_generation(ids, *args, **kwargs)  # type: ignore[misc]


def _ordinary(own: Anatomy, head: Head, *, dtype: str, trust_remote_code: bool) -> PreTrainedModel:
    """The model of one vocabulary, as its ordinary directory would give it."""
    from transformers import GenerationConfig

    config = read_config(head.folder, trust_remote_code=trust_remote_code)
    state = {key: own.checkpoint.read(key) for key in own.checkpoint.tensors if key not in own.vocabulary}
    state |= head_tensors(own, head)
    cls: Any = own.layout.model_class
    try:
        with quiet_transformers():
            model, info = cls.from_pretrained(
                None, config=config, state_dict=state, dtype=dtype, output_loading_info=True
            )
    except (RuntimeError, ValueError, KeyError) as error:
        raise InputError(
            f"the model cannot be loaded: {str(error).splitlines()[0]}", where=own.folder
        ) from error
    lost = {tensor.name for tensor in own.layout.tensors} & set(info["missing_keys"])
    if info["mismatched_keys"] or lost:
        names = sorted(map(str, info["mismatched_keys"])) or sorted(lost)
        raise InputError(
            "tensors of the vocabulary were not loaded", got=", ".join(names[:3]), where=own.folder
        )
    path = head.folder / "generation_config.json"
    if path.is_file() and model.can_generate():
        model.generation_config = GenerationConfig.from_pretrained(head.folder)
    return model.eval()


def _graft(model: PreTrainedModel, own: Anatomy, writes: Head, *, appended: bool) -> None:
    """Put what writes in the place of what is there, one parameter object for what is one in the model."""
    import torch

    values = _by_model_name(own, writes)
    made: dict[str, torch.Tensor] = {}
    for tensor in own.layout.tensors:
        path, _, attribute = tensor.name.rpartition(".")
        module: Any = model.get_submodule(path)
        reads = tensor.role == "input"
        of_decoder = reads and model.config.is_encoder_decoder and "decoder" in path.split(".")
        if reads and not (of_decoder or appended):
            continue
        key = f"{reads and appended} {tensor.tied_to or tensor.name}"
        old = getattr(module, attribute)
        if key not in made:
            new = _value(values, tensor, own).to(old.device, old.dtype)
            new = torch.cat([old.data, new], dim=tensor.axis) if reads and appended else new.clone()
            is_parameter = isinstance(old, torch.nn.Parameter)
            made[key] = torch.nn.Parameter(new, requires_grad=old.requires_grad) if is_parameter else new
        if of_decoder and module is model.get_input_embeddings():  # one module for both sides
            module = copy.copy(module)
            module._parameters = dict(module._parameters)
            parent, _, name = path.rpartition(".")
            setattr(model.get_submodule(parent), name, module)
        setattr(module, attribute, made[key])
        _set_size(module, made[key].shape[tensor.axis])


def _set_size(module: nn.Module, size: int) -> None:
    for field in ("num_embeddings", "out_features"):
        if hasattr(module, field):
            setattr(module, field, size)


def _by_model_name(own: Anatomy, head: Head) -> dict[str, torch.Tensor]:
    names = match_checkpoint(own.layout, own.checkpoint)
    return {names[key].name: value for key, value in head_tensors(own, head).items() if key in names}


def _value(values: Mapping[str, torch.Tensor], tensor: VocabTensor, own: Anatomy) -> torch.Tensor:
    """A tensor of the model, stored under its own name or under one that it is tied to."""
    root = tensor.tied_to or tensor.name
    alike = [tensor.name, root, *(other.name for other in own.layout.tensors if other.tied_to == root)]
    for name in alike:
        if name in values:
            return values[name]
    raise InputError("a tensor of the vocabulary is missing", where=f"{own.folder}: {tensor.name}")


def _set_ids(model: PreTrainedModel, own: Anatomy, writes: Head, *, trust_remote_code: bool) -> None:
    """Sizes and ids of the config by the side that they concern."""
    from transformers import GenerationConfig

    theirs = read_config(writes.folder, trust_remote_code=trust_remote_code)
    sections: dict[int, tuple[Any, Any]] = {}
    for ours, other in ((model.config, theirs), (model.config.get_text_config(), theirs.get_text_config())):
        sections[id(ours)] = (ours, other)
    written = ["eos_token_id"]
    if model.config.is_encoder_decoder:
        written += ["bos_token_id", "pad_token_id", "decoder_start_token_id", "forced_bos_token_id"]
        written += ["forced_eos_token_id"]
    for ours, other in sections.values():
        ours.tie_word_embeddings = False
        for key in written:
            if hasattr(other, key):
                setattr(ours, key, getattr(other, key))
        for key in own.layout.vocab_fields:
            if hasattr(ours, key):
                setattr(ours, key, writes.n_rows)
    model.all_tied_weights_keys = {}
    if hasattr(model, "vocab_size"):
        model.vocab_size = writes.n_rows
    if not model.can_generate():
        return
    bos = getattr(model.generation_config, "bos_token_id", None)
    path = writes.folder / "generation_config.json"
    if path.is_file():
        settings = GenerationConfig(**json.loads(path.read_text(encoding="utf-8")))
    else:
        with quiet_transformers():
            settings = GenerationConfig.from_model_config(theirs)
    if not model.config.is_encoder_decoder:
        settings.bos_token_id = bos
    model.generation_config = settings
