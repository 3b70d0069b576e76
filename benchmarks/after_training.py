"""Whether a better start is still better after training: all-MiniLM-L6-v2 to Swahili, by steps of training.

Every initialisation has the same body, tokenizer, sentences, order and schedule. Training is knowledge
distillation (Reimers and Gurevych 2020): the student's vector of the Swahili sentence is pulled to the
untouched model's vector of its English translation, both mean-pooled and of unit length. Their student is
pulled on the English side too, which is left out here, because the new tokenizer is Swahili's. The whole
student is trained (AdamW, warm-up, then a rate that falls to nothing), without dropout, and each sentence is
seen once. Measured is retrieval, Swahili by the student and English by the untouched model. The starts are
made of the same text as the training: ``trans-tokenization`` (not smoothed) of its pairs, the start from a
lexicon with word vectors of its two halves, ``focus`` and the tokenizer of the Swahili half. Rows have the
length that a transfer gives them by default: with ``trans-tokenization`` that of their sources.

One learning rate serves all. It was chosen with one method in the middle, ``constituents``, by retrieval on
the development set (lafand) after 100 steps of 32 sentences: MRR 0.342 with 1e-4, 0.366 with 3e-4, 0.314
with 1e-3. FLORES-200 devtest is only reported; a first run ended after 150 steps. One seed and one order of
the sentences: differences of a hundredth say nothing.
"""

from __future__ import annotations

import copy
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from align.errors import InputError
from benchmarks.retrieval import VOCAB_SIZE, flores, parallel_text, source_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from vocab.plan import TransferPlan

_SEED = 0


@dataclass(frozen=True)
class Options:
    """What is trained, and how; recorded.

    Retrieval is measured after each number of steps in ``measured``, whose last is the end. ``max_tokens``
    are of a Swahili sentence, and pairs with a longer one are left out; ``pool`` batches are sorted by length
    together.
    """

    measured: tuple[int, ...] = (0, 150, 300, 600)
    rate: float = 3e-4
    batch_size: int = 32
    max_tokens: int = 32
    pool: int = 20
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip_norm: float = 1.0


@dataclass(frozen=True, eq=False)
class Batch:
    """Token ids and attention mask, shape (n, width), and unit vectors that are wanted, shape (n, dim)."""

    ids: torch.Tensor
    mask: torch.Tensor
    wanted: torch.Tensor


def run() -> dict[str, Any]:
    """Train every initialisation and measure on the way.

    Raises
    ------
    UnavailableError
        The text or the source model is not on this machine.
    """
    from transformers import AutoModel, AutoTokenizer

    from vocab.evaluation import retrieval, sentence_vectors

    options, begin = Options(), time.perf_counter()
    source = source_model()
    teacher_tokenizer = AutoTokenizer.from_pretrained(source)
    teacher = AutoModel.from_pretrained(source).eval()
    english, swahili = parallel_text("train")
    with tempfile.TemporaryDirectory() as folder:
        tokenizer, plans = initialisations(source, (english, swahili), Path(folder))
    lengths = np.array([len(ids) for ids in tokenizer(swahili)["input_ids"]])
    rows = order(lengths, max(options.measured), options)
    vectors = sentence_vectors(teacher, teacher_tokenizer, [english[i] for i in np.concatenate(rows)])
    data = batches(tokenizer, swahili, rows, vectors)
    ready_s = time.perf_counter() - begin

    test_english, test_swahili = flores()
    wanted = sentence_vectors(teacher, teacher_tokenizer, test_english)

    def measure(model: PreTrainedModel) -> dict[str, Any]:
        return asdict(retrieval(wanted, sentence_vectors(model, tokenizer, test_swahili)))

    found = []
    for name, plan in plans.items():
        start = time.perf_counter()
        model = student(teacher, plan, tokenizer)
        points = train(model, data, measure=measure, options=options)
        found.append({"method": name, "points": points, "wall_s": round(time.perf_counter() - start, 1)})
        print(name, [round(point["mrr"], 3) for point in points], file=sys.stderr, flush=True)
    lines = table(found)
    print(*lines, sep="\n", file=sys.stderr, flush=True)
    return {
        "source": "all-MiniLM-L6-v2",
        "set": "FLORES-200 devtest",
        "vocabulary": len(tokenizer),
        "options": asdict(options),
        "pairs_seen": len(vectors),
        "pairs_too_long": int((lengths > options.max_tokens).sum()),
        "seed": _SEED,
        "torch_threads": torch.get_num_threads(),
        "plans_and_vectors_s": round(ready_s, 1),
        "wall_s": round(time.perf_counter() - begin, 1),
        "methods": found,
        "table": lines,
    }


def initialisations(
    source: Path, parallel: tuple[list[str], list[str]], folder: Path
) -> tuple[PreTrainedTokenizerFast, dict[str, TransferPlan]]:
    """A tokenizer of Swahili, written to the folder, and plans for it by name."""
    from vocab import transfer
    from vocab.options import TransferOptions
    from vocab.pipeline import execute, prepare

    first = transfer(source, tgt="sw", parallel=parallel, method="trans-tokenization", vocab_size=VOCAB_SIZE)
    first.tokenizer.save_pretrained(folder)
    bare = TransferOptions(src=str(source), tgt="sw", tokenizer=str(folder))
    given = replace(bare, parallel=parallel)
    text_alone = replace(bare, src_corpus=(parallel[0],), corpus=(parallel[1],))
    others = {
        "trans-tokenization > ofa (lexicon)": replace(text_alone, method="trans-tokenization > ofa"),
        **{name: replace(given, method=name) for name in ("constituents", "normal", "focus")},
    }
    plans = {"trans-tokenization": first.plan}
    for name, options in others.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # lexicon entries without a vector
            plans[name] = execute(prepare(options)).plan
    return first.tokenizer, plans


def student(
    teacher: PreTrainedModel, plan: TransferPlan, tokenizer: PreTrainedTokenizerFast
) -> PreTrainedModel:
    """A copy of the teacher with the plan's rows."""
    model = copy.deepcopy(teacher)
    embeddings: Any = teacher.get_input_embeddings()
    rows = torch.from_numpy(plan.apply(embeddings.weight.detach().numpy()))
    # a row at the padding id is not trained, and the new tokenizer pads with another id
    model.set_input_embeddings(
        torch.nn.Embedding.from_pretrained(rows, freeze=False, padding_idx=tokenizer.pad_token_id)
    )
    model.config.vocab_size = len(rows)
    return model


def order(lengths: NDArray[np.int64], n_steps: int, options: Options) -> list[NDArray[np.int64]]:
    """Sentences of each batch: drawn once each, of similar length, none over the limit.

    Raises
    ------
    InputError
        There are too few sentences for the steps.
    """
    rng = np.random.default_rng(_SEED)
    drawn = rng.permutation(np.flatnonzero(lengths <= options.max_tokens))
    n_wanted = n_steps * options.batch_size
    if len(drawn) < n_wanted:
        raise InputError("too few sentences to see each once", got=len(drawn), wanted=n_wanted)
    found: list[NDArray[np.int64]] = []
    size = options.batch_size * options.pool
    for start in range(0, n_wanted, size):
        pool = drawn[start : min(start + size, n_wanted)]
        pool = pool[np.argsort(lengths[pool], kind="stable")].reshape(-1, options.batch_size)
        found += list(rng.permutation(pool))
    return found


def batches(
    tokenizer: PreTrainedTokenizerFast,
    sentences: Sequence[str],
    rows: Sequence[NDArray[np.int64]],
    vectors: NDArray[np.float32],
) -> list[Batch]:
    """The sentences of each batch as tokens; `vectors` are those wanted for them, in the same order."""
    found, start = [], 0
    for batch in rows:
        inputs = tokenizer([sentences[i] for i in batch], padding=True, return_tensors="pt")
        wanted = torch.from_numpy(vectors[start : start + len(batch)])
        found.append(Batch(inputs["input_ids"], inputs["attention_mask"], wanted))
        start += len(batch)
    return found


def train(
    model: PreTrainedModel,
    data: Sequence[Batch],
    *,
    measure: Callable[[PreTrainedModel], dict[str, Any]],
    options: Options,
) -> list[dict[str, Any]]:
    """Train a model in place, a step a batch; what `measure` says of it on the way.

    With it the mean loss of the steps since the last measurement, and the seconds that all steps took. The
    loss of a sentence is the squared distance of two unit vectors: the mean squared error but for a factor
    that AdamW does not see.

    Raises
    ------
    InputError
        The loss is not finite.
    """
    model.eval()  # no dropout
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=options.rate, weight_decay=options.weight_decay, fused=True
    )
    n_warm = max(round(options.warmup * len(data)), 1)
    share: Callable[[int], float] = lambda step: min(  # noqa: E731
        (step + 1) / n_warm, (len(data) - step) / max(len(data) - n_warm, 1)
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, share)
    points: list[dict[str, Any]] = []
    losses: list[float] = []
    train_s = 0.0
    for step in range(len(data) + 1):
        if step in options.measured:
            loss = float(np.mean(losses)) if losses else None
            points.append({"step": step, "loss": loss, "train_s": round(train_s, 1), **measure(model)})
            losses = []
        if step == len(data):
            break
        start = time.perf_counter()
        loss_now = _distance(model, data[step])
        optimizer.zero_grad()
        loss_now.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), options.clip_norm)
        optimizer.step()
        schedule.step()
        losses.append(loss_now.item())
        if not np.isfinite(losses[-1]):
            raise InputError("training diverged", got=f"loss {losses[-1]} at step {step}")
        train_s += time.perf_counter() - start
    return points


def _distance(model: PreTrainedModel, batch: Batch) -> torch.Tensor:
    hidden = model(input_ids=batch.ids, attention_mask=batch.mask).last_hidden_state
    mask = batch.mask[:, :, None]
    said = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)
    return ((said - batch.wanted) ** 2).sum(1).mean()


def table(found: Sequence[dict[str, Any]]) -> list[str]:
    """MRR by steps in Markdown, the best at the end first."""
    steps = [point["step"] for point in found[0]["points"]]
    lines = [f"| method | {' | '.join(map(str, steps))} |", f"| --- |{' ---: |' * len(steps)}"]
    for one in sorted(found, key=lambda one: -one["points"][-1]["mrr"]):
        figures = " | ".join(f"{point['mrr']:.3f}" for point in one["points"])
        lines.append(f"| {one['method']} | {figures} |")
    return lines
