"""Rows of the input and rows of the head: how the two sides combine pieces, and how long rows should be.

A masked model (the demo's, its head untied by a copy) and a small causal one with a head of its own, trained
here for a few minutes, get a larger vocabulary of their own language; bits per byte of held-out text before
any further training. Documents are divided as those of the demo model were.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.demo_text import BOS, EOS, PAD, documents, is_held_out, pack, train_tokenizer
from benchmarks.shared import shared
from vocab import demo
from vocab.evaluation import bits_per_byte
from vocab.methods import constituents, mean
from vocab.methods.constituents import Weighting
from vocab.plan import TransferPlan
from vocab.plan.norms import Norm, script_numbers
from vocab.tokenizer.loading import load_tokenizer
from vocab.tokens import Vocabulary

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

_SEED = 0
_CAUSAL_SIZES = (2_000, 8_000)
_MASKED_SIZE = 20_000
_N_STEPS, _N_ROWS, _LENGTH = 800, 24, 64
_N_TEXTS = {"causal": 150, "masked": 50}
_WEIGHTINGS: tuple[Weighting, ...] = ("mean", "first", "last")
_NORMS: tuple[Norm, ...] = ("sources", "source-mean", "script-median")


def run() -> dict[str, Any]:
    """Bits per byte of every pair of sides, and of every length.

    Raises
    ------
    UnavailableError
        The text is not on this machine.
    """
    from transformers import AutoModelForMaskedLM

    docs = documents(shared("data").parent)
    train = {name: text for name, text in docs.items() if not is_held_out(name)}
    held_out = [line for name, text in docs.items() if is_held_out(name) for line in text if len(line) > 40]
    order = np.random.default_rng(_SEED).permutation(len(held_out))
    texts = {kind: [held_out[i] for i in order[:n].tolist()] for kind, n in _N_TEXTS.items()}

    small, large = (train_tokenizer(train, size, _LENGTH) for size in _CAUSAL_SIZES)
    causal = _causal_model(pack(train, small, _LENGTH, _SEED), len(small))
    masked = AutoModelForMaskedLM.from_pretrained(demo.path()).float().eval()
    masked.config.tie_word_embeddings = False
    head = masked.get_output_embeddings()
    head.weight = _parameter(head.weight.detach().numpy().copy())
    return {
        "causal": _measure(causal, small, large, texts["causal"]),
        "masked": _measure(
            masked,
            load_tokenizer(demo.path()),
            train_tokenizer(train, _MASKED_SIZE, _LENGTH),
            texts["masked"],
        ),
    }


def _measure(
    model: PreTrainedModel,
    old: PreTrainedTokenizerFast,
    new: PreTrainedTokenizerFast,
    texts: list[str],
) -> dict[str, Any]:
    src, tgt = Vocabulary.of(old), Vocabulary.of(new)
    rest, scripts = mean(src, tgt), script_numbers(src, tgt)
    plans = {name: constituents(src, tgt, weighting=name).then(rest) for name in _WEIGHTINGS}

    def score(plan: TransferPlan, head_plan: TransferPlan) -> float:
        changed = _with_rows(model, plan, head_plan)
        return round(bits_per_byte(changed, new, texts, max_length=_LENGTH).bits_per_byte, 4)

    sides = [
        {"input": first, "head": second, "bits_per_byte": score(plans[first], plans[second])}
        for first, second in itertools.product(_WEIGHTINGS, repeat=2)
    ]
    even = plans["mean"]
    lengths = [
        {
            "side": side,
            "norm": norm,
            "bits_per_byte": score(
                even.with_norm(norm if side == "input" else "none", scripts=scripts),
                even.with_norm("none", norm if side == "head" else "none", scripts=scripts),
            ),
        }
        for side in ("input", "head")
        for norm in _NORMS
    ]
    found = bits_per_byte(model, old, texts, max_length=_LENGTH)
    return {
        "tokens": [len(src), len(tgt)],
        "rows": {share.origin: share.n_rows for share in even.summary()},
        "texts": len(texts),
        "bytes": found.n_bytes,
        "untouched": round(found.bits_per_byte, 4),
        "sides": sides,
        "norms": lengths,
    }


def _with_rows(model: PreTrainedModel, plan: TransferPlan, head_plan: TransferPlan) -> PreTrainedModel:
    changed = copy.deepcopy(model)
    embeddings: Any
    head: Any
    embeddings, head = changed.get_input_embeddings(), changed.get_output_embeddings()
    embeddings.weight = _parameter(plan.apply(embeddings.weight.detach().numpy()))
    head.weight = _parameter(head_plan.apply(head.weight.detach().numpy(), side="head"))
    if head.bias is not None:
        head.bias = _parameter(head_plan.apply(head.bias.detach().numpy(), side="head"))
    changed.config.vocab_size = plan.n_tgt
    return changed


def _parameter(values: np.ndarray) -> torch.nn.Parameter:
    import torch

    return torch.nn.Parameter(torch.from_numpy(values))


def _causal_model(rows: Any, vocab_size: int) -> PreTrainedModel:
    """Three layers of Llama with an untied head, after a few minutes of training."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(_SEED)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocab_size,
            hidden_size=128,
            intermediate_size=352,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=_LENGTH,
            tie_word_embeddings=False,
            bos_token_id=BOS,
            eos_token_id=EOS,
            pad_token_id=PAD,
        )
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, betas=(0.9, 0.98))
    decay: Callable[[int], float] = lambda step: min(1, (step + 1) / 50) * (1 - step / _N_STEPS)  # noqa: E731
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, decay)
    for batch in _batches(rows):
        loss = model(input_ids=batch, labels=batch.masked_fill(batch == PAD, -100)).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


def _batches(rows: Any) -> Iterable[torch.Tensor]:
    import torch

    rng = np.random.default_rng(_SEED)
    for _ in range(_N_STEPS):
        batch = np.full((_N_ROWS, _LENGTH), PAD)
        batch[:, 0] = BOS
        for i, row in enumerate(rng.integers(0, len(rows.starts) - 1, _N_ROWS)):
            ids = rows.ids[rows.starts[row] : rows.starts[row + 1]][: _LENGTH - 2]
            batch[i, 1 : 1 + len(ids)] = ids
            batch[i, 1 + len(ids)] = EOS
        yield torch.from_numpy(batch)
