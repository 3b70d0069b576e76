"""Two small models for the methods that take another model's embeddings.

The first is trained on the source language with the source's tokenizer. The second keeps its body, frozen,
and learns embeddings for the target's tokenizer on target text: the recipe of de Vries and Nissim (2021), "As
good as new", which ``recycle`` needs; the other methods take any model that speaks that tokenizer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    DataCollatorForLanguageModeling,
    PreTrainedTokenizerBase,
)


@dataclass(frozen=True)
class Training:
    """How both models are trained."""

    steps: int = 600
    batch_tokens: int = 4096
    max_length: int = 128
    learning_rate: float = 3e-3
    warmup: float = 0.1
    hidden_size: int = 128
    layers: int = 2
    seed: int = 0


def train_donors(
    src_tokenizer: str | Path,
    src_text: Sequence[str],
    tgt_tokenizer: str | Path,
    tgt_text: Sequence[str],
    *,
    out: Path,
    training: Training | None = None,
) -> dict[str, Any]:
    """Train both, write ``donor-src`` and ``donor`` into `out`, and return how it went."""
    training = training or Training()
    source, target = (AutoTokenizer.from_pretrained(name) for name in (src_tokenizer, tgt_tokenizer))
    torch.manual_seed(training.seed)
    model = BertForMaskedLM(_config(source, training))
    facts: dict[str, Any] = {
        "training": asdict(training),
        "source": _train(model, source, src_text, training),
    }
    model.save_pretrained(out / "donor-src")
    source.save_pretrained(out / "donor-src")
    model = _with_body_of(model, BertForMaskedLM(_config(target, training)))
    facts["target"] = _train(model, target, tgt_text, training)
    model.save_pretrained(out / "donor")
    target.save_pretrained(out / "donor")
    return facts


def _with_body_of(old: BertForMaskedLM, new: BertForMaskedLM) -> BertForMaskedLM:
    """The new model's embeddings and bias, which alone may change, on the old one's body."""
    own, body = new.bert.embeddings.word_embeddings, old.bert
    body.embeddings.word_embeddings, body.config = own, new.config
    new.bert, new.cls.predictions.transform = body, old.cls.predictions.transform
    new.tie_weights()
    decoder = new.cls.predictions.decoder
    for parameter in new.parameters():
        parameter.requires_grad_(parameter is own.weight or parameter is decoder.bias)
    return new


def _config(tokenizer: PreTrainedTokenizerBase, training: Training) -> BertConfig:
    return BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=training.hidden_size,
        num_hidden_layers=training.layers,
        num_attention_heads=training.hidden_size // 64,
        intermediate_size=4 * training.hidden_size,
        max_position_embeddings=training.max_length,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.05,  # 0.02 is made for a width of 768
        pad_token_id=tokenizer.pad_token_id,
    )


def _train(
    model: BertForMaskedLM, tokenizer: PreTrainedTokenizerBase, text: Sequence[str], training: Training
) -> dict[str, Any]:
    start = time.perf_counter()
    collate = DataCollatorForLanguageModeling(tokenizer, seed=training.seed)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=training.learning_rate, betas=(0.9, 0.98), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        training.learning_rate,
        total_steps=training.steps,
        pct_start=training.warmup,
        cycle_momentum=False,
    )
    ids = tokenizer(list(text), truncation=True, max_length=training.max_length)["input_ids"]
    losses: list[float] = []
    batches = _batches([np.array(line) for line in ids], training)
    for _, batch in zip(range(training.steps), batches, strict=False):
        made = collate([{"input_ids": line} for line in batch])
        hidden = model.bert(
            input_ids=made["input_ids"], attention_mask=(made["input_ids"] != tokenizer.pad_token_id).long()
        ).last_hidden_state
        masked = made["labels"] >= 0  # the head is most of the work
        loss = torch.nn.functional.cross_entropy(model.cls(hidden[masked]), made["labels"][masked])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return {
        "lines": len(text),
        "tokens_a_pass": sum(map(len, ids)),
        "first_loss": round(losses[0], 3),
        "last_loss": round(float(np.mean(losses[-50:])), 3),
        "uniform_loss": round(math.log(len(tokenizer)), 3),
        "seconds": round(time.perf_counter() - start, 1),
    }


def _batches(lines: list[np.ndarray], training: Training) -> Iterator[list[np.ndarray]]:
    """Lines of like length together, in a new random order each pass, without end."""
    rng = np.random.default_rng(training.seed)
    lengths = np.array([len(line) for line in lines])
    while True:
        order = np.argsort(lengths + rng.random(len(lines)), kind="stable")
        ends = np.cumsum(lengths[order]) // training.batch_tokens
        parts = np.split(order, np.flatnonzero(np.diff(ends)) + 1)
        for n in rng.permutation(len(parts)):
            yield [lines[i] for i in parts[n]]
