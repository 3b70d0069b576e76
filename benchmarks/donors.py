"""The methods that take rows of a donor model, all-MiniLM-L6-v2 to Swahili, before any training.

No real model of the target tokenizer is at hand. The donor is made here: its input embeddings are skip-gram
vectors of the target tokens on the target side of the parallel text, the space that ``focus`` makes for
itself, so that figures tell the methods' ways of using a donor apart and say little about good donors.
``recycle`` needs a pair of models with one body and is left out.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.initialisations import compared
from benchmarks.retrieval import VOCAB_SIZE, flores, parallel_text, source_model

METHODS = ("omp", "omp(k=16)", "common-interpolation", "clp", "clp-plus", "focus", "constituents", "copy")
_DIM = 300


def run() -> dict[str, Any]:
    """Train the tokenizer and the donor, then compare."""
    from vocab import transfer
    from vocab.comparison.held_out import Evaluation
    from vocab.options import TransferOptions

    source, (english, swahili) = str(source_model()), parallel_text("train")
    with tempfile.TemporaryDirectory() as folder:
        made = transfer(source, tgt="sw", parallel=(english, swahili), vocab_size=VOCAB_SIZE, method="mean")
        seen = make_donor(made.tokenizer, swahili, Path(folder))
        flores_english, flores_swahili = flores()
        options = TransferOptions(src=source, tgt="sw", parallel=(english, swahili), donor=folder)
        evaluation = Evaluation(flores_swahili, flores_english, "FLORES-200 devtest")
        return {"donor": {"dim": _DIM, "tokens_seen": seen}, **compared(options, evaluation, METHODS)}


def make_donor(tokenizer: Any, text: Sequence[str], out: Path) -> int:
    """Write a model directory whose embeddings are trained on the text; how many tokens have a row."""
    import torch
    from transformers import BertConfig, BertModel

    from align.fasttext_training import train_fasttext

    lines = (" ".join(map(str, ids)) for ids in tokenizer(list(text), add_special_tokens=False)["input_ids"])
    vectors = train_fasttext(lines, dim=_DIM, min_count=1, min_n=0, max_n=0, split_punctuation=False)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=_DIM,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=_DIM,
        pad_token_id=tokenizer.pad_token_id,
    )
    model = BertModel(config)
    seen = [word for word in vectors.words if word.isdecimal()]
    with torch.no_grad():
        weight = model.get_input_embeddings().weight
        weight.zero_()
        weight[[int(word) for word in seen]] = torch.from_numpy(vectors.vectors_of(seen))
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return len(seen)
