"""A model's body in memory, loaded once, whose vocabulary rows are exchanged from plan to plan."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from align.errors import InputError
from vocab.evaluation import BitsPerByte, bits_per_byte, sentence_vectors
from vocab.methods import special
from vocab.model_files.checkpoint import Checkpoint, open_checkpoint
from vocab.model_files.layout import (
    VocabLayout,
    VocabTensor,
    find_vocabulary,
    match_checkpoint,
    model_class,
    quiet_transformers,
    read_config,
)
from vocab.model_files.output import prepare_model
from vocab.model_files.surgery import target_rows, vocabulary_changes
from vocab.plan import TransferPlan

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from vocab.source_model import Source

_MAX_LENGTH = 128  # tokens of a sentence that is embedded


@dataclass(frozen=True, eq=False)
class LiveModel:
    """A model in memory and the tokenizer that it reads.

    The model is in float32, whatever its checkpoint is in.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    layout: VocabLayout
    checkpoint: Checkpoint
    tensors: Mapping[str, VocabTensor]

    @classmethod
    def of_source(cls, source: Source, *, device: str = "cpu", trust_remote_code: bool = False) -> LiveModel:
        """The source model as it is."""
        config = read_config(source.path, trust_remote_code=trust_remote_code)
        layout = find_vocabulary(
            model_class(config, source.path, trust_remote_code=trust_remote_code), config
        )
        checkpoint = open_checkpoint(source.path)
        tensors = match_checkpoint(layout, checkpoint)
        model = _loaded(source, layout, config, device=device, trust_remote_code=trust_remote_code)
        return cls(model, _own_copy(source.tokenizer), layout, checkpoint, tensors)

    @classmethod
    def for_target(
        cls,
        source: Source,
        tgt_tokenizer: PreTrainedTokenizerFast,
        *,
        device: str = "cpu",
        trust_remote_code: bool = False,
    ) -> LiveModel:
        """The source's body with rows for another tokenizer, which :meth:`put` fills.

        Raises
        ------
        InputError
            As :func:`vocab.model_files.output.prepare_model`.
        """
        empty = special(source.vocabulary, tgt_tokenizer)
        prepared = prepare_model(
            source.path, empty, source.tokenizer, tgt_tokenizer, trust_remote_code=trust_remote_code
        )
        layout = prepared.layout
        config = type(layout.config).from_dict(dict(prepared.config))
        tensors = match_checkpoint(layout, prepared.checkpoint)
        model = _loaded(source, layout, config, device=device, trust_remote_code=trust_remote_code)
        live = cls(model, _own_copy(tgt_tokenizer), layout, prepared.checkpoint, tensors)
        for key, change in prepared.changes.items():
            if key not in tensors:  # position tables that move along with the padding id
                live._write(_names(layout, key), change.compute(prepared.checkpoint.read(key)))
        return live

    def put(self, plan: TransferPlan, head_plan: TransferPlan | None = None) -> None:
        """Fill the rows of embeddings, head and biases from plans; memory that of one changed tensor."""
        changes = vocabulary_changes(
            self.checkpoint, self.tensors, plan, n_rows=target_rows(plan), head_plan=head_plan
        )
        inputs_first = sorted(changes, key=lambda key: self.tensors[key].role != "input")
        for key in inputs_first:
            if self.tensors[key].tied_to is not None and self._shares_inputs(self.tensors[key]):
                continue
            self._write((self.tensors[key].name,), changes[key].compute(self.checkpoint.read(key)))

    def _shares_inputs(self, tensor: VocabTensor) -> bool:
        state = self.model.state_dict()
        partner = state.get(str(tensor.tied_to))
        own = state.get(tensor.name)
        in_file = any(other.name == tensor.tied_to for other in self.tensors.values())
        return own is not None and partner is not None and in_file and own.data_ptr() == partner.data_ptr()

    def _write(self, names: Sequence[str], values: Any) -> None:
        state = self.model.state_dict()
        # tensors that only other classes of the model type use are not there
        for name in names:
            if name in state:
                state[name].copy_(values)
                return

    def embed(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors of sentences: see :func:`vocab.evaluation.sentence_vectors`.

        Raises
        ------
        InputError
            Where the tokenizer has nothing to pad with.
        """
        if self.tokenizer.pad_token_id is None:
            raise InputError("a tokenizer without a token to pad sentences with")
        config = self.model.config.get_text_config()
        room = getattr(config, "max_position_embeddings", None) or _MAX_LENGTH
        # RoBERTa and its relatives count positions from behind the padding id
        room -= max((table.pad_id + 1 for table in self.layout.positions), default=0)
        body: Any = self.model.base_model
        if self.model.config.is_encoder_decoder:
            body = self.model.get_encoder()
        return sentence_vectors(body, self.tokenizer, sentences, max_length=max(min(_MAX_LENGTH, room), 1))

    def score(self, texts: Sequence[str]) -> BitsPerByte:
        """Cross-entropy on texts: see :func:`vocab.evaluation.bits_per_byte`."""
        return bits_per_byte(self.model, self.tokenizer, texts)


def _names(layout: VocabLayout, key: str) -> tuple[str, ...]:
    prefix = f"{layout.model_class.base_model_prefix}."
    return key, prefix + key, key.removeprefix(prefix)


def _own_copy(tokenizer: PreTrainedTokenizerFast) -> PreTrainedTokenizerFast:
    """A copy: padding and truncation are settings of the object, and others read text with it too."""
    own = copy.deepcopy(tokenizer)
    own.padding_side = "right"
    if own.pad_token_id is None and own.eos_token is not None:
        own.pad_token = own.eos_token
    return own


def _loaded(
    source: Source, layout: VocabLayout, config: Any, *, device: str, trust_remote_code: bool
) -> PreTrainedModel:
    import torch

    options: dict[str, Any] = {"trust_remote_code": True} if trust_remote_code else {}
    cls: Any = layout.model_class
    with quiet_transformers():
        model: PreTrainedModel = cls.from_pretrained(
            source.path,
            config=copy.deepcopy(config),
            ignore_mismatched_sizes=True,
            local_files_only=True,
            dtype=torch.float32,
            **options,
        )
    return model.eval().to(device)
