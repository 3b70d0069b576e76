"""Links between the words of two texts from the hidden states of a pretrained encoder."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from align.errors import InputError, UsageError
from align.wordalign import Links
from align.wordalign.contextual import contextual_links
from align.wordalign.reading import splitter
from vocab.tokens import backend
from vocab.tokens.spans import spans_of, word_spans

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_LONG = 1 << 20  # tokenizers without a limit claim far more


def encoder_links(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    src_lines: Sequence[str],
    tgt_lines: Sequence[str],
    *,
    layer: int | None = None,
    method: str = "itermax",
    tokenize: str = "words",
    batch_size: int = 32,
    device: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Links:
    """Align parallel text with a multilingual encoder, without training.

    Parameters
    ----------
    model : PreTrainedModel
        Any whose output has hidden states; of an encoder-decoder the encoder is used. It is set to evaluation
        and moved to `device`.
    tokenizer : PreTrainedTokenizerFast
        The model's.
    src_lines, tgt_lines : sequence of str
    layer : int, optional
        Hidden states to take, 0 for the embeddings, `n` for those after the n-th layer. By default two thirds
        of the way up: 8 of 12, which SimAlign and awesome-align take.
    method : {"argmax", "itermax", "match", "softmax"}
        See :func:`align.wordalign.contextual.contextual_links`.
    tokenize : {"words", "whitespace"}
        What a word is, see :func:`align.wordalign.reading.splitter`.
    batch_size : int
        Sentences of a side in one call of the model.
    device : str, optional
        By default where the model is.
    progress : callable, optional
        Called with (pairs done, pairs in all).

    Returns
    -------
    Links
        Between words; a line without words has none.

    Raises
    ------
    UsageError
        For an unknown method or `tokenize`, a layer that the model does not have, a batch of nothing.
    InputError
        If the texts differ in length, or the tokenizer is not a fast one.

    Warns
    -----
    UserWarning
        One message for all lines longer than the model's positions; what is cut off has no links.

    Notes
    -----
    Pairs are sorted by length for the batches. Time: the model's. Memory: the hidden states of all layers for
    one batch.
    """
    if batch_size < 1:
        raise UsageError("option out of range", got=batch_size, wanted="1 or more", where="batch_size")
    if len(src_lines) != len(tgt_lines):
        raise InputError(
            "parallel text of unequal length", got=f"{len(src_lines)} and {len(tgt_lines)} lines"
        )
    encoder: Any = (model.get_encoder() if model.config.is_encoder_decoder else model).base_model
    depth = int(encoder.config.num_hidden_layers)
    layer = round(depth * 2 / 3) if layer is None else layer
    if not 0 <= layer <= depth:
        raise UsageError("a layer that the model does not have", got=layer, wanted=f"0 to {depth}")
    parts = [contextual_links([], [], method=method)]  # an unknown method is told before the work begins
    splitter(tokenize)
    backend(tokenizer)
    encoder.to(device if device is not None else encoder.device).eval()
    room = _room(encoder, tokenizer)
    order = np.argsort(
        [max(map(len, pair)) for pair in zip(src_lines, tgt_lines, strict=True)], kind="stable"
    )
    is_cut = np.zeros(len(order), dtype=bool)
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        states, words = [], []
        for lines in (src_lines, tgt_lines):
            batch = _read(tokenizer, [lines[n] for n in rows], tokenize, room)
            states.append(_hidden(encoder, batch, layer))
            words.append(batch.words)
            is_cut[rows] |= batch.is_cut
        parts.append(contextual_links(*states, method=method, src_words=words[0], tgt_words=words[1]))
        if progress is not None:
            progress(start + len(rows), len(order))
    if is_cut.any():
        warnings.warn(
            f"{is_cut.sum():,} of {len(order):,} pairs are longer than the {room} tokens that the model "
            "reads; the rest of their words has no links",
            stacklevel=2,
        )
    ranks = np.repeat(np.arange(len(order)), np.concatenate([np.diff(part.offsets) for part in parts]))
    src, tgt, weights = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("src", "tgt", "weights")
    )
    return Links.from_pairs(order[ranks], src, tgt, weights, n_pairs=len(order))


@dataclass(frozen=True, eq=False)
class _Batch:
    """Ids of some lines with special tokens; where the text's own are, and their words' numbers."""

    ids: list[list[int]]
    own: list[NDArray[np.int64]]
    words: list[NDArray[np.int64]]
    is_cut: NDArray[np.bool_]


def _read(tokenizer: PreTrainedTokenizerFast, lines: list[str], tokenize: str, room: int) -> _Batch:
    read = tokenizer(
        lines,
        truncation=True,
        max_length=room,
        return_offsets_mapping=True,
        return_special_tokens_mask=True,
        return_attention_mask=False,
    )
    own = [np.flatnonzero(np.array(mask) == 0) for mask in read["special_tokens_mask"]]
    places = [
        [offsets[k] for k in rows.tolist()] for offsets, rows in zip(read["offset_mapping"], own, strict=True)
    ]
    words, tokens = word_spans(lines, tokenize=tokenize), spans_of(lines, places)
    first, stop = tokens.within(words)
    numbers = np.where(stop > first, first - np.repeat(words.offsets[:-1], tokens.counts), -1)
    full = np.array([len(ids) >= room for ids in read["input_ids"]])
    ends = np.array([max((stop for _, stop in line), default=0) for line in places])
    is_cut = full & (ends < [len(line.rstrip()) for line in lines])
    return _Batch(read["input_ids"], own, np.split(numbers, tokens.offsets[1:-1]), is_cut)


def _hidden(encoder: PreTrainedModel, batch: _Batch, layer: int) -> list[NDArray[np.float32]]:
    """States of each line's own tokens; padded here, for tokenizers without a token for it."""
    import torch

    ids = torch.zeros((len(batch.ids), max(map(len, batch.ids))), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for n, line in enumerate(batch.ids):
        ids[n, : len(line)] = torch.tensor(line, dtype=torch.long)
        mask[n, : len(line)] = 1
    if not ids.shape[1]:  # empty lines, and a tokenizer that adds nothing
        return [np.empty((0, encoder.config.hidden_size), dtype=np.float32) for _ in batch.ids]
    with torch.inference_mode():
        output = encoder(
            input_ids=ids.to(encoder.device),
            attention_mask=mask.to(encoder.device),
            output_hidden_states=True,
        )
        states = output.hidden_states[layer].float().cpu().numpy()
    return [states[n, rows] for n, rows in enumerate(batch.own)]


def _room(encoder: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> int:
    """Most tokens of a line, special ones included."""
    positions = getattr(encoder.config, "max_position_embeddings", None) or tokenizer.model_max_length
    # RoBERTa's positions begin after its padding token's
    padding = getattr(getattr(encoder, "embeddings", None), "padding_idx", None)
    return min(int(positions) - (0 if padding is None else padding + 1), tokenizer.model_max_length, _LONG)
