"""Every initialisation method on English to Swahili, before any training.

Retrieval: all-MiniLM-L6-v2, 30,782 sentence pairs, 16,000 tokens, 1,012 pairs of the FLORES-200 devtest; all
settings are the defaults, which were chosen elsewhere. Tokens deleted and made again: the same model, and the
bundled demo model with the bundled pairs, whose bits per byte are of pairs held out of them. The methods that
need a donor are left to :mod:`benchmarks.donors`.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from benchmarks.retrieval import VOCAB_SIZE, flores, parallel_text, source_model
from benchmarks.shared import shared

if TYPE_CHECKING:
    from vocab.comparison.held_out import Evaluation
    from vocab.options import TransferOptions


def run() -> dict[str, Any]:
    """Compare all methods that have what they need, with the control, on both models."""
    return {"demo": demo(), "all-MiniLM-L6-v2": minilm()}


def demo() -> dict[str, Any]:
    """The bundled model with the bundled pairs."""
    from vocab.options import TransferOptions

    return compared(TransferOptions(src="demo", tgt="sw"))


def minilm() -> dict[str, Any]:
    """all-MiniLM-L6-v2 on FLORES; word vectors are trained on the text."""
    from vocab.comparison.held_out import Evaluation
    from vocab.options import TransferOptions

    english, swahili = flores()
    options = TransferOptions(
        src=str(source_model()),
        tgt="sw",
        parallel=parallel_text("train"),
        lexicon=shared("data/lexicons/wechsel/en-sw.tsv.gz"),
        vocab_size=VOCAB_SIZE,
    )
    return compared(options, Evaluation(swahili, english, "FLORES-200 devtest"))


def compared(
    options: TransferOptions, evaluation: Evaluation | None = None, methods: Sequence[str] = ("all",)
) -> dict[str, Any]:
    """Compare the methods with the control; the record, with the table in Markdown."""
    from vocab.comparison.comparing import compare
    from vocab.comparison.table import as_json, explained, formatted

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lexicon entries without a vector, once for each method
        comparison = compare(
            options,
            methods=methods,
            evaluation=evaluation,
            control=True,
            tell=lambda result: print(formatted([result]), file=sys.stderr, flush=True),
        )
    print(formatted(comparison.results), *explained(comparison), sep="\n", file=sys.stderr, flush=True)
    return {**as_json(comparison), "table": formatted(comparison.results, "md").splitlines()}
