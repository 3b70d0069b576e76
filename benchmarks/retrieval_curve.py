"""Sentence retrieval right after a transfer, by the amount of parallel text and by the vocabulary's size.

Amount: the first 1,000 to 30,000 pairs of lafand are all that is known; the vocabulary's size is chosen from
them. Tokens are aligned by the default aligner and by Model 1. Size: all pairs, five sizes.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from align.wordalign import Bitext, align
from benchmarks.retrieval import flores, parallel_text, source_model
from vocab import methods
from vocab.evaluation import retrieval, sentence_vectors
from vocab.methods.recipes import FALLBACK_NOISE
from vocab.plan import TransferPlan
from vocab.tokenizer.training import train_tokenizer
from vocab.tokens import Vocabulary

AMOUNTS = (1000, 3000, 10_000, 30_782)
SIZES = (6000, 10_000, 16_000, 30_000, 45_000)


def run() -> dict[str, Any]:
    """P@1 and MRR on FLORES for every amount with both aligners, and for every size.

    Raises
    ------
    UnavailableError
        The text or the source model is not on this machine.
    """
    source = source_model()
    old_tokenizer: Any = AutoTokenizer.from_pretrained(source)
    model = AutoModel.from_pretrained(source).eval()
    embeddings = model.get_input_embeddings().weight
    old_rows = embeddings.detach().numpy().copy()
    text, (english, swahili) = parallel_text("train"), flores()
    wanted = sentence_vectors(model, old_tokenizer, english)
    src = Vocabulary.of(old_tokenizer)

    def measure(tokenizer: Any, plan: TransferPlan) -> dict[str, Any]:
        embeddings.data = torch.from_numpy(np.ascontiguousarray(plan.apply(old_rows)))
        return asdict(retrieval(wanted, sentence_vectors(model, tokenizer, swahili)))

    by_amount, by_size = [], []
    for amount in AMOUNTS:
        pairs = text[0][:amount], text[1][:amount]
        trained = train_tokenizer(old_tokenizer, pairs[1])
        tgt = Vocabulary.of(trained.tokenizer)
        ids = Bitext.from_ids(
            src.encode(pairs[0]), tgt.encode(pairs[1]), n_src_types=len(src), n_tgt_types=len(tgt)
        )
        plans = {
            "default": methods.trans_tokenization(src, tgt, parallel=pairs, smooth=True),
            "not smoothed": methods.trans_tokenization(src, tgt, parallel=pairs),
            "ibm1": methods.trans_tokenization(src, tgt, counts=align(ids, model="ibm1").counts),
        }
        found = {name: measure(trained.tokenizer, _chain(plan, src, tgt)) for name, plan in plans.items()}
        by_amount.append({"pairs": amount, "vocabulary": len(tgt), **found})
        print(by_amount[-1], flush=True)
    for size in SIZES:
        trained = train_tokenizer(old_tokenizer, text[1], vocab_size=size)
        tgt = Vocabulary.of(trained.tokenizer)
        plan = _chain(methods.trans_tokenization(src, tgt, parallel=text, smooth=True), src, tgt)
        by_size.append({"vocabulary": len(tgt), **measure(trained.tokenizer, plan)})
        print(by_size[-1], flush=True)
    return {"source": "all-MiniLM-L6-v2", "set": "FLORES devtest", "by_amount": by_amount, "by_size": by_size}


def _chain(plan: TransferPlan, src: Vocabulary, tgt: Vocabulary) -> TransferPlan:
    """The plan with the fallbacks that a transfer gives it."""
    plan = methods.special(src, tgt).then(plan).then(methods.copy(src, tgt))
    plan = plan.then(methods.constituents(src, tgt)).then(methods.mean(src, tgt, noise=FALLBACK_NOISE))
    return plan.with_norm("sources")
