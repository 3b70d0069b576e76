"""Train the embedded source model: ``python -m benchmarks.train_demo --out DIR``.

A small English masked language model in RoBERTa's layout, from public-domain text only: the English novels of
ELTeC (1840-1920) and four public-domain English Bibles. The same command with the same seed, versions and
number of threads gives the same model.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import RobertaConfig, RobertaForMaskedLM, RobertaTokenizerFast
from transformers.utils.logging import disable_progress_bar

from align.errors import InputError, UsageError
from benchmarks.demo_text import (
    BIBLES,
    BOS,
    EOS,
    HELD_OUT_BOOKS,
    HELD_OUT_NOVELS,
    N_SPECIAL,
    PAD,
    Rows,
    batches,
    documents,
    endless,
    is_held_out,
    mask,
    n_words,
    pack,
    train_tokenizer,
)
from benchmarks.record import machine
from benchmarks.shared import SHARED


@dataclass(frozen=True)
class Options:
    """Everything that decides what is trained; recorded in training.json."""

    steps: int = 5000
    seed: int = 0
    threads: int = 2
    vocab_size: int = 8000
    hidden_size: int = 128
    layers: int = 4
    heads: int = 4
    intermediate_size: int = 384
    max_length: int = 128
    batch_tokens: int = 4096
    learning_rate: float = 2.5e-3
    warmup: float = 0.05
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    mask_rate: float = 0.2
    validation_mask_rate: float = 0.15
    cooccurrence_window: int = 5


def embed_cooccurrence(rows: Rows, vocab_size: int, *, dim: int, window: int, seed: int) -> np.ndarray:
    """First word embeddings: a truncated SVD of the tokens' positive pointwise mutual information.

    With hardly more than one pass over the text the transformer alone would leave rare rows near their random
    start. Levy & Goldberg (2014), with the square root of the singular values; O(V^2) memory, V = 8,000.
    """
    row_of = np.repeat(np.arange(len(rows.lengths)), rows.lengths)
    counts = np.zeros(vocab_size * vocab_size, dtype=np.float32)
    for distance in range(1, window + 1):
        same = row_of[distance:] == row_of[:-distance]
        pairs = rows.ids[:-distance][same].astype(np.int64) * vocab_size + rows.ids[distance:][same]
        # nearer pairs weigh more, as word2vec's drawn windows do
        counts += (np.bincount(pairs, minlength=len(counts)) * ((window + 1 - distance) / window)).astype(
            np.float32
        )
    joint = counts.reshape(vocab_size, vocab_size)
    joint = joint + joint.T
    marginal = np.maximum(joint.sum(axis=1), 1.0)
    smoothed = marginal**0.75
    smoothed /= smoothed.sum()
    with np.errstate(divide="ignore"):
        ppmi = np.maximum(np.log(joint / marginal[:, None] / smoothed), 0.0)
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(ppmi @ rng.standard_normal((vocab_size, dim + 40)).astype(np.float32))[0]
    for _ in range(4):
        basis = np.linalg.qr(ppmi @ (ppmi.T @ basis))[0]
    u, s, _ = np.linalg.svd(basis.T @ ppmi, full_matrices=False)
    vectors = (basis @ u)[:, :dim] * np.sqrt(s[:dim])
    # spread the variance over all coordinates: LayerNorm and the heads treat coordinates alike
    vectors = vectors @ np.linalg.qr(rng.standard_normal((dim, dim)))[0]
    vectors -= vectors[N_SPECIAL:].mean(axis=0)
    vectors *= 0.05 / vectors.std()
    unseen = joint.sum(axis=1) == 0
    vectors[unseen] = rng.standard_normal((unseen.sum(), dim)) * 0.02
    return vectors.astype(np.float32)


def sinusoids(options: Options) -> np.ndarray:
    """First position embeddings (Vaswani et al. 2017): neighbours can be attended to from the first step."""
    position = np.arange(options.max_length + 2)[:, None]
    half = options.hidden_size // 2
    angle = position / 10000.0 ** (np.arange(half) / half)
    table = 0.05 * np.concatenate([np.sin(angle), np.cos(angle)], axis=1)
    table[PAD] = 0.0
    return table.astype(np.float32)


def build_model(options: Options, rows: Rows) -> RobertaForMaskedLM:
    """A RoBERTa whose embeddings start from co-occurrence and whose output bias starts from log frequency."""
    torch.manual_seed(options.seed)
    config = RobertaConfig(
        vocab_size=options.vocab_size,
        hidden_size=options.hidden_size,
        num_hidden_layers=options.layers,
        num_attention_heads=options.heads,
        intermediate_size=options.intermediate_size,
        max_position_embeddings=options.max_length + 2,
        type_vocab_size=1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        # 0.02 is made for a width of 768; this has the same share of 1 / sqrt(width)
        initializer_range=0.045,
        bos_token_id=BOS,
        pad_token_id=PAD,
        eos_token_id=EOS,
    )
    model = RobertaForMaskedLM(config)
    vectors = embed_cooccurrence(
        rows,
        options.vocab_size,
        dim=options.hidden_size,
        window=options.cooccurrence_window,
        seed=options.seed,
    )
    frequency = np.bincount(rows.ids, minlength=options.vocab_size) + 1.0
    with torch.no_grad():
        vectors[PAD] = 0.0
        model.roberta.embeddings.word_embeddings.weight.copy_(torch.from_numpy(vectors))
        model.roberta.embeddings.position_embeddings.weight.copy_(torch.from_numpy(sinusoids(options)))
        model.lm_head.bias.copy_(torch.from_numpy(np.log(frequency / frequency.sum())))
    return model


def masked_scores(
    model: RobertaForMaskedLM, batch: np.ndarray, corrupted: np.ndarray, chosen: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits at the chosen places only (the head is most of the work), and the tokens that belong there."""
    ids = torch.from_numpy(corrupted)
    attention = (ids != PAD).long()
    hidden = model.roberta(input_ids=ids, attention_mask=attention).last_hidden_state
    where = torch.from_numpy(chosen)
    return model.lm_head(hidden[where]), torch.from_numpy(batch)[where]


@torch.no_grad()
def validate(
    model: RobertaForMaskedLM, rows: Rows, options: Options, mask_id: int, n_rows: int
) -> tuple[float, float]:
    """Mean masked-token loss (nats) and accuracy over evenly spread held-out rows; always the same masks."""
    rng = np.random.default_rng(12345)
    order = np.unique(np.linspace(0, len(rows.lengths) - 1, n_rows).astype(int))
    loss, correct, total = 0.0, 0, 0
    for batch in batches(rows, order, options.batch_tokens, None):
        corrupted, chosen = mask(batch, options.validation_mask_rate, mask_id, rng)
        scores, wanted = masked_scores(model, batch, corrupted, chosen)
        loss += torch.nn.functional.cross_entropy(scores, wanted, reduction="sum").item()
        correct += int((scores.argmax(-1) == wanted).sum())
        total += len(wanted)
    return loss / total, correct / total


def save(
    model: RobertaForMaskedLM, tokenizer: RobertaTokenizerFast, record: dict[str, Any], out: Path
) -> None:
    """Write the model in float16, the tokenizer and training.json."""
    weights = {key: value.half() for key, value in model.state_dict().items()}
    half = RobertaForMaskedLM(model.config).half()
    half.load_state_dict(weights)
    half.config.dtype = torch.float16
    half.save_pretrained(out)
    (out / "generation_config.json").unlink(missing_ok=True)
    tokenizer.save_pretrained(out)
    (out / "training.json").write_text(json.dumps(record, indent=1) + "\n")


def train(options: Options, shared: Path, out: Path) -> dict[str, Any]:
    """Train, writing a usable model at every tenth of the way; returns what training.json holds."""
    if options.steps < 10:
        raise UsageError("too few steps", got=options.steps, wanted="at least 10", where="--steps")
    start = time.perf_counter()
    docs = documents(shared)
    held_out = {key: texts for key, texts in docs.items() if is_held_out(key)}
    training = {key: texts for key, texts in docs.items() if key not in held_out}
    tokenizer = train_tokenizer(training, options.vocab_size, options.max_length)
    mask_id = tokenizer.mask_token_id
    rows = pack(training, tokenizer, options.max_length, options.seed)
    held_out_rows = pack(held_out, tokenizer, options.max_length, options.seed)
    model = build_model(options, rows)
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=options.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=options.weight_decay,
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        options.learning_rate,
        total_steps=options.steps,
        # a first phase of one step has no length, and the schedule divides by it
        pct_start=max(options.warmup, 2 / options.steps),
        cycle_momentum=False,
    )
    record: dict[str, Any] = {
        "options": asdict(options),
        "corpus": {
            "training": [f"ELTeC English, level 1: {sum('.' not in d for d in training)} novels"]
            + [f"Bible: {name}" for name in BIBLES],
            "held_out": [*HELD_OUT_NOVELS, *(f"{book} of each Bible" for book in HELD_OUT_BOOKS)],
            "training_words": n_words(training),
            "held_out_words": n_words(held_out),
            "training_tokens": len(rows.ids),
            "held_out_tokens": len(held_out_rows.ids),
        },
        "parameters": model.num_parameters(),
        "preparation_s": round(time.perf_counter() - start, 1),
        "machine": machine(),
        "curve": [],
    }
    print(json.dumps({key: record[key] for key in ("corpus", "parameters", "preparation_s")}), flush=True)
    rng = np.random.default_rng(options.seed)
    every = max(1, options.steps // 40)
    recent: list[float] = []
    n_tokens = 0
    begin = time.perf_counter()
    for step, batch in enumerate(endless(rows, options.batch_tokens, rng), start=1):
        corrupted, chosen = mask(batch, options.mask_rate, mask_id, rng)
        scores, wanted = masked_scores(model, batch, corrupted, chosen)
        loss = torch.nn.functional.cross_entropy(scores, wanted)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), options.clip_norm)
        optimizer.step()
        schedule.step()
        recent.append(loss.item())
        n_tokens += int((batch != PAD).sum())
        if not math.isfinite(recent[-1]):
            raise InputError(
                "training diverged", got=f"loss {recent[-1]} at step {step}", hint="lower the learning rate"
            )
        if step == 1 or step % every == 0 or step == options.steps:
            held_out_loss, accuracy = validate(model, held_out_rows, options, mask_id, 600)
            point = {
                "step": step,
                "train_loss": round(float(np.mean(recent)), 4),
                "validation_loss": round(held_out_loss, 4),
                "validation_accuracy": round(accuracy, 4),
                "time_s": round(time.perf_counter() - begin, 1),
            }
            recent = []
            record["curve"].append(point)
            record["tokens_seen"] = n_tokens
            print(json.dumps(point), flush=True)
            if len(record["curve"]) % 4 == 0:
                save(model, tokenizer, record, out)
        if step == options.steps:
            break
    final_loss, final_accuracy = validate(model, held_out_rows, options, mask_id, len(held_out_rows.lengths))
    record["final"] = {
        "validation_loss": round(final_loss, 4),
        "validation_accuracy": round(final_accuracy, 4),
        "uniform_loss": round(math.log(options.vocab_size), 4),
        "training_s": round(time.perf_counter() - begin, 1),
    }
    save(model, tokenizer, record, out)
    return record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=Options.steps)
    parser.add_argument("--seed", type=int, default=Options.seed)
    parser.add_argument("--out", type=Path, default=Path("out/demo-model"), help="directory that is written")
    flags = parser.parse_args()
    options = Options(steps=flags.steps, seed=flags.seed)
    torch.set_num_threads(options.threads)
    torch.use_deterministic_algorithms(True)
    disable_progress_bar()
    record = train(options, SHARED, flags.out)
    print(json.dumps(record["final"]))


if __name__ == "__main__":
    main()
