"""How good a transfer is before any training: sentence retrieval, and bits per byte of text."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from align.errors import InputError, UsageError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_MAX_LOGITS = 1 << 27  # of a batch: 0.5 GiB in float32
_N_MASKS = 7  # about one token in seven is masked at a time, as models are trained


@dataclass(frozen=True)
class BitsPerByte:
    """What it costs a model to say a text; fewer is better, and tokenizers do not matter.

    Parameters
    ----------
    kind : {"causal", "masked"}
        Figures of one kind do not compare with those of the other.
    bits_per_byte : float
        Bits of all tokens over bytes of the text.
    n_bytes, n_tokens : int
    n_unknown : int
        Tokens that stand for any text that the tokenizer does not know. They are cheap, so that a model with
        many of them looks better than it is.
    """

    kind: Literal["causal", "masked"]
    bits_per_byte: float
    n_bytes: int
    n_tokens: int
    n_unknown: int


@dataclass(frozen=True)
class Retrieval:
    """Sentence retrieval in both directions over the same pairs; all figures are fractions.

    ``mrr`` is the mean reciprocal rank over the two directions.
    """

    n_pairs: int
    tgt_to_src: float
    src_to_tgt: float
    mrr: float


def sentence_vectors(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sentences: Sequence[str],
    *,
    batch_size: int = 64,
    max_length: int = 128,
) -> NDArray[np.float32]:
    """Unit vectors of sentences: the mean of the last hidden states over the attention mask.

    Parameters
    ----------
    model : PreTrainedModel
        A base model, whose output has ``last_hidden_state``.
    max_length : int
        Tokens a sentence; the rest is cut.

    Returns
    -------
    ndarray of float32, shape (len(sentences), dim)

    Notes
    -----
    Sentences are sorted by length for the batches, and returned in their order.
    """
    import torch

    order = np.argsort([len(sentence) for sentence in sentences], kind="stable")
    vectors: NDArray[np.float32] | None = None
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        inputs = tokenizer(
            [sentences[i] for i in rows],
            padding=True,
            truncation=True,
            max_length=max_length,
            return_tensors="pt",
        ).to(model.device)
        with torch.inference_mode():
            hidden = model(**inputs).last_hidden_state.float()
        mask = inputs["attention_mask"][:, :, None]
        pooled = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1).clamp(min=1), dim=1)
        if vectors is None:
            vectors = np.empty((len(sentences), pooled.shape[1]), dtype=np.float32)
        vectors[rows] = pooled.cpu().numpy()
    if vectors is None:
        raise InputError("no sentences to encode", wanted="one or more")
    return vectors


def retrieval(src_vectors: NDArray[np.floating], tgt_vectors: NDArray[np.floating]) -> Retrieval:
    """Find each sentence's translation by cosine among all sentences of the other side.

    Parameters
    ----------
    src_vectors, tgt_vectors : ndarray, shape (n, dim)
        Row *i* of both belongs to pair *i*. Need not be normalised.

    Raises
    ------
    InputError
        When the shapes differ or hold no pair, or a vector is not finite.

    Notes
    -----
    A tie counts against the translation, so that identical vectors do not score; cosines within 1e-6 are
    tied, because a matrix product rounds equal rows differently. O(n**2 * dim) time, n**2 floats of memory:
    meant for test sets of thousands.
    """
    if src_vectors.shape != tgt_vectors.shape or len(src_vectors) == 0:
        raise InputError(
            "retrieval needs one vector a sentence on both sides",
            got=f"{src_vectors.shape} and {tgt_vectors.shape}",
        )
    if not (np.isfinite(src_vectors).all() and np.isfinite(tgt_vectors).all()):
        raise InputError("sentence vectors that are not finite", hint="the model's output holds NaN")

    def unit(matrix: NDArray[np.floating]) -> NDArray[np.floating]:
        return matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)

    similarity = unit(tgt_vectors) @ unit(src_vectors).T
    own = np.diagonal(similarity) - 1e-6
    tgt_rank = (similarity >= own[:, None]).sum(axis=1)
    src_rank = (similarity >= own[None, :]).sum(axis=0)
    return Retrieval(
        n_pairs=len(own),
        tgt_to_src=float((tgt_rank == 1).mean()),
        src_to_tgt=float((src_rank == 1).mean()),
        mrr=float(np.concatenate([1 / tgt_rank, 1 / src_rank]).mean()),
    )


def bits_per_byte(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    max_length: int = 512,
    seed: int = 0,
) -> BitsPerByte:
    """Cross-entropy of a model on texts, in bits per byte of UTF-8.

    A causal model says each token after those before it, the first after the token that begins a text. A
    masked one says each token once from those around it: the tokens of a text are divided at random into 7
    groups, which are masked one after the other.

    Parameters
    ----------
    model : PreTrainedModel
        A causal or a masked language model, in the dtype and on the device where it is.
    texts : sequence of str
        Scored one by one; empty ones are passed over.
    max_length : int
        Tokens that are read at once, special tokens included; longer texts are cut there and each part read
        by itself.
    seed : int
        Of the masks.

    Raises
    ------
    InputError
        For another kind of model, a tokenizer without a token to begin with or without a mask, or no text.
    UsageError
        For a `max_length` of fewer tokens than frame a text.

    Notes
    -----
    One pass over the text, 7 of a masked model. A batch has at most 2**27 logits.
    """
    import torch

    kind = _kind(model)
    texts = [text for text in texts if text]
    if not texts:
        raise InputError("no text to score", wanted="one or more that are not empty")
    limit = getattr(model.config.get_text_config(), "max_position_embeddings", None) or max_length
    padding = getattr(model.config, "pad_token_id", None) or 0
    before, after = _frame(tokenizer, texts[0]) if kind == "masked" else ([_first_id(tokenizer)], [])
    room = min(max_length, limit - _first_position(model)) - len(before) - len(after)
    if room < 1:
        raise UsageError("no room for a token", got=f"max_length={max_length}", wanted="more")
    pieces, n_tokens, n_unknown = [], 0, 0
    for text in texts:
        ids = list(tokenizer(text, add_special_tokens=False).input_ids)
        n_tokens += len(ids)
        n_unknown += ids.count(tokenizer.unk_token_id)
        pieces += [ids[start : start + room] for start in range(0, len(ids), room)]
    pieces.sort(key=len)
    rng = np.random.default_rng(seed)
    nats = 0.0
    for batch in _batches(pieces, len(before) + len(after), model.config.get_text_config().vocab_size):
        rows = [[*before, *ids, *after] for ids in batch]
        width = max(map(len, rows))
        inputs = torch.full((len(rows), width), tokenizer.pad_token_id or padding)
        mask = torch.zeros_like(inputs)
        wanted = torch.full_like(inputs, -1)  # the token to be said at each place, and where none is
        for i, row in enumerate(rows):
            inputs[i, : len(row)] = torch.tensor(row)
            mask[i, : len(row)] = 1
            wanted[i, len(before) : len(before) + len(batch[i])] = torch.tensor(batch[i])
        if kind == "causal":
            wanted = torch.cat([wanted[:, 1:], torch.full_like(wanted[:, :1], -1)], dim=1)
            nats += _nats(model, inputs, mask, wanted)
            continue
        group = torch.from_numpy(_groups([len(ids) for ids in batch], len(before), width, rng))
        for k in range(_N_MASKS):
            hidden = inputs.masked_fill(group == k, int(tokenizer.mask_token_id or 0))
            nats += _nats(model, hidden, mask, wanted.masked_fill(group != k, -1))
    n_bytes = sum(len(text.encode()) for text in texts)
    return BitsPerByte(kind, nats / math.log(2) / n_bytes, n_bytes, n_tokens, n_unknown)


def _kind(model: PreTrainedModel) -> Literal["causal", "masked"]:
    from transformers.models.auto import modeling_auto as auto

    name = type(model).__name__
    if name in auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values():
        return "causal"
    if name in auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES.values() and not model.config.is_encoder_decoder:
        return "masked"
    raise InputError(
        "bits per byte of another kind of model", got=name, wanted="...ForCausalLM or ...ForMaskedLM"
    )


def _first_position(model: PreTrainedModel) -> int:
    """The first token's row of the position table: RoBERTa and its relatives count from the padding id."""
    for name, module in model.named_modules():
        padding = getattr(module, "padding_idx", None)
        if padding is not None and name.endswith("position_embeddings"):
            return int(padding) + 1
    return 0


def _first_id(tokenizer: PreTrainedTokenizerBase) -> int:
    for role in ("bos", "cls", "eos", "sep", "pad"):
        found = getattr(tokenizer, f"{role}_token_id", None)
        if found is not None:
            return int(found)
    raise InputError("the tokenizer has no token to begin a text with", wanted="a bos, cls, eos or pad token")


def _frame(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[list[int], list[int]]:
    """Special tokens before and after a text."""
    if tokenizer.mask_token_id is None:
        raise InputError("the tokenizer of a masked language model has no mask token")
    whole, bare = list(tokenizer(text).input_ids), list(tokenizer(text, add_special_tokens=False).input_ids)
    at = next(i for i in range(len(whole)) if whole[i : i + len(bare)] == bare)
    return whole[:at], whole[at + len(bare) :]


def _batches(pieces: list[list[int]], n_special: int, vocab_size: int) -> Iterator[list[list[int]]]:
    """Neighbours in length, as many as have no more logits than a batch may have."""
    batch: list[list[int]] = []
    for piece in pieces:
        if batch and (len(batch) + 1) * (len(piece) + n_special) * vocab_size > _MAX_LOGITS:
            yield batch
            batch = []
        batch.append(piece)
    if batch:
        yield batch


def _groups(lengths: list[int], start: int, width: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Which group each place is masked with; -1 for special tokens and padding."""
    groups = np.full((len(lengths), width), -1)
    for row, n in zip(groups, lengths, strict=True):
        row[start : start + n] = rng.permutation(np.arange(n) % _N_MASKS)
    return groups


def _nats(model: PreTrainedModel, inputs: torch.Tensor, mask: torch.Tensor, wanted: torch.Tensor) -> float:
    import torch

    call: Any = model
    with torch.inference_mode():
        logits = call(input_ids=inputs.to(model.device), attention_mask=mask.to(model.device)).logits
        said = (wanted >= 0).to(logits.device)
        chosen = logits[said].float()
        loss = torch.nn.functional.cross_entropy(chosen, wanted.to(logits.device)[said], reduction="sum")
    return float(loss.double().cpu())
