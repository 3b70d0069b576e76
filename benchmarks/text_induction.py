"""English-Swahili lexicon induction from parallel text alone, from vectors alone, and from both.

Text: the lafand training pairs; vectors: fastText trained on the two sides of the same text; training
lexicon: the bundled one. Measured on a public dictionary, without the source words of the training lexicon,
over the queries that all can answer: a vector for the word and for one of its translations.
"""

from __future__ import annotations

import time
from typing import Any

from align.evaluation import BliResult, bli, bootstrap_interval
from align.evaluation.bli import Inducer
from align.fasttext_training import train_fasttext
from align.induction import best, lexicon_from_text
from align.induction.inducers import MappedInducer
from align.lexicon import Lexicon, bundled_lexicon, in_case_of, read_lexicon
from align.mapping.methods import fit
from align.vectors import WordVectors
from align.wordalign.reading import number_words, splitter
from benchmarks.retrieval import parallel_text
from benchmarks.shared import shared


def run() -> dict[str, Any]:
    """P@1, P@5 and P@10 of each kind of evidence, with 95 % intervals of P@1.

    Raises
    ------
    UnavailableError
        The text or the dictionary is not on this machine.
    """
    text = parallel_text("train")
    dictionary = read_lexicon(shared("data/lexicons/wechsel/en-sw.tsv.gz"))
    started = time.perf_counter()
    read = number_words(zip(*text, strict=True))
    words = lexicon_from_text(read.bitext, read.src_words, read.tgt_words, min_count=1.0)
    aligned_s = time.perf_counter() - started
    src, tgt = (_vectors(lines) for lines in text)
    train = in_case_of(bundled_lexicon("en", "sw"), src, tgt)
    test = in_case_of(dictionary, src, tgt)
    known = set(train.translations)
    test = Lexicon(tuple((s, t) for s, t in test if s not in known and s in src.index and t in tgt.index))
    started = time.perf_counter()
    inducers: dict[str, Inducer] = {
        "text alone": words,
        "vectors alone, vecmap": MappedInducer(src, tgt, fit(src, tgt, train, method="vecmap")),
        "vectors alone, best-vectors": best(src, tgt, train, strings=False),
        "vectors and spelling, best": best(src, tgt, train),
        "vectors and text": best(src, tgt, train, strings=False, text=words),
        "vectors, spelling and text": best(src, tgt, train, text=words),
    }
    rows = {name: _figures(bli(inducer, test, protocol="fasttext")) for name, inducer in inducers.items()}
    return {
        "pairs": read.bitext.n_pairs,
        "words": {"en": len(src), "sw": len(tgt)},
        "training_pairs": len(train),
        "test_words": len(test.translations),
        "rule": "queries with vectors for the word and a translation; not found counts as wrong",
        "text_lexicon_s": round(aligned_s, 1),
        "fits_s": round(time.perf_counter() - started, 1),
        "evidence": rows,
    }


def _vectors(lines: list[str]) -> WordVectors:
    split = splitter()
    return train_fasttext((" ".join(split(line.lower())) for line in lines), min_count=3).table()


def _figures(result: BliResult) -> dict[str, Any]:
    interval = bootstrap_interval(result.hits(1))
    return {
        "p_at": {k: round(100 * p, 2) for k, p in result.p_at.items()},
        "p_at_1_interval": [round(100 * interval.low, 2), round(100 * interval.high, 2)],
        "n_queries": result.n_queries,
    }
