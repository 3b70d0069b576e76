"""The text of the demo model: documents, tokenizer, rows of tokens, batches and masks.

Public-domain English only: the novels of ELTeC (1840-1920) and four Bibles.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import RobertaTokenizerFast

from align.errors import InputError

BIBLES = ("KJV", "ASV1901", "WEBP", "BSB")
# whole novels, and the same books of every Bible: the translations are too alike to hold out one of them
HELD_OUT_NOVELS = ("ENG18610_Eliot", "ENG18900_Doyle", "ENG19020_Nesbit", "ENG19150_Buchan")
HELD_OUT_BOOKS = ("RUT", "ACT")
SENTENCE_END = re.compile(
    r"(?<!Mr\.)(?<!Mrs\.)(?<!Dr\.)(?<!St\.)(?:(?<=[.!?])|(?<=[.!?][\"'”’]))\s+(?=[\"'“‘(]?[A-Z])"
)
BOS, PAD, EOS = 0, 1, 2
N_SPECIAL = 4  # <s> <pad> </s> <unk> come first, <mask> last, as in RoBERTa


@dataclass(frozen=True)
class Rows:
    """Token rows without their ``<s>`` and ``</s>``: row i is ``ids[starts[i]:starts[i + 1]]``."""

    ids: np.ndarray
    starts: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.starts)


def documents(shared: Path) -> dict[str, list[str]]:
    """Paragraphs (or verses) by document: a novel, or one book of one Bible."""
    docs: dict[str, list[str]] = {}
    paths = [shared / "data/corpora/eltec/eng.tsv.gz"]
    paths += [shared / f"data/bible/eng_{name}.tsv.gz" for name in BIBLES]
    for path in paths:
        if not path.is_file():
            raise InputError(
                "a training text is missing",
                where=path,
                hint="set VOCAB_TRANSFER_SHARED to the evaluation data",
            )
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                *head, text = line.rstrip("\n").split("\t")
                key = head[1] if len(head) == 2 else f"{path.name[4:-7]}.{head[0].split('.')[0]}"
                docs.setdefault(key, []).append(" ".join(text.split()))
    return docs


def is_held_out(document: str) -> bool:
    return document in HELD_OUT_NOVELS or document.split(".")[-1] in HELD_OUT_BOOKS


def n_words(docs: dict[str, list[str]]) -> int:
    return sum(len(text.split()) for texts in docs.values() for text in texts)


def train_tokenizer(docs: dict[str, list[str]], vocab_size: int, max_length: int) -> RobertaTokenizerFast:
    """Byte-level BPE; ``<mask>`` takes the last id, as in RoBERTa."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - 1,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator((text for texts in docs.values() for text in texts), trainer)
    state = json.loads(bpe.to_str())["model"]
    if len(state["vocab"]) != vocab_size - 1:
        raise InputError(
            "the text is too small for the vocabulary", got=len(state["vocab"]) + 1, wanted=vocab_size
        )
    # "the <mask>" reads as "the" and a mask that stands for a word with its space
    mask_token: Any = AddedToken("<mask>", lstrip=True, normalized=False, special=True)
    merges: Any = [tuple(pair) for pair in state["merges"]]
    return RobertaTokenizerFast(
        vocab=state["vocab"] | {"<mask>": len(state["vocab"])},
        merges=merges,
        mask_token=mask_token,
        model_max_length=max_length,
    )


def pack(docs: dict[str, list[str]], tokenizer: RobertaTokenizerFast, max_length: int, seed: int) -> Rows:
    """Whole sentences, one after another, until a length drawn for each row is reached.

    Lengths are drawn log-uniformly: single sentences are what the demo feeds, and short rows train faster.
    """
    rng = np.random.default_rng(seed)
    backend = tokenizer.backend_tokenizer
    parts: list[np.ndarray] = []
    for texts in docs.values():
        sentences = [sentence for text in texts for sentence in SENTENCE_END.split(text) if sentence]
        # inside a row a sentence follows a space, at its start it does not: both spellings are tokenized
        spaced = backend.encode_batch_fast([" " + s for s in sentences], add_special_tokens=False)
        initial = backend.encode_batch_fast(sentences, add_special_tokens=False)
        row: list[int] = []
        limit = 0
        for i in range(len(sentences)):
            if not row:
                limit = round(np.exp(rng.uniform(np.log(8), np.log(max_length - 2))))
                row = list(initial[i].ids)
            else:
                row += spaced[i].ids
            if len(row) >= limit or i == len(sentences) - 1:
                parts.append(np.array(row[: max_length - 2], dtype=np.int16))
                row = []
    starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    return Rows(np.concatenate(parts), starts)


def batches(
    rows: Rows, order: np.ndarray, batch_tokens: int, rng: np.random.Generator | None
) -> Iterator[np.ndarray]:
    """Padded ``(n, length)`` id arrays; in pools, rows of like length stand together: little is padding."""
    pool_size = 4096
    for at in range(0, len(order), pool_size):
        pool = order[at : at + pool_size]
        pool = pool[np.argsort(rows.lengths[pool], kind="stable")]
        groups: list[list[int]] = [[]]
        for row in pool:
            length = rows.lengths[row] + 2
            if (len(groups[-1]) + 1) * length > batch_tokens:
                groups.append([])
            groups[-1].append(row)
        for g in rng.permutation(len(groups)) if rng is not None else range(len(groups)):
            width = rows.lengths[groups[g]].max() + 2
            batch = np.full((len(groups[g]), width), PAD, dtype=np.int64)
            for i, row in enumerate(groups[g]):
                ids = rows.ids[rows.starts[row] : rows.starts[row + 1]]
                batch[i, 0], batch[i, 1 : len(ids) + 1], batch[i, len(ids) + 1] = BOS, ids, EOS
            yield batch


def endless(rows: Rows, batch_tokens: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    while True:
        yield from batches(rows, rng.permutation(len(rows.lengths)), batch_tokens, rng)


def mask(
    batch: np.ndarray, rate: float, mask_id: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """BERT's corruption: of the chosen places 80 % become ``<mask>``, 10 % a random token, 10 % stay."""
    chosen = (rng.random(batch.shape) < rate) & (batch >= N_SPECIAL)
    kind = rng.random(batch.shape)
    corrupted = batch.copy()
    corrupted[chosen & (kind < 0.8)] = mask_id
    swap = chosen & (kind >= 0.9)
    corrupted[swap] = rng.integers(N_SPECIAL, mask_id, swap.sum())
    return corrupted, chosen
