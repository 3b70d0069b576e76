"""Every initialisation method on English to Swahili, before any training.

Retrieval: all-MiniLM-L6-v2, 30,782 sentence pairs, 16,000 tokens, 1,012 pairs of the FLORES-200 devtest; all
settings are the defaults, which were chosen elsewhere. Tokens deleted and made again: the same model, and the
bundled demo model with the bundled pairs, whose bits per byte are of pairs held out of them. The donor of the
methods that need one is a small model trained here on the same text (:mod:`benchmarks.donors`).
"""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.retrieval import VOCAB_SIZE, flores, parallel_text, source_model
from benchmarks.shared import shared

if TYPE_CHECKING:
    from vocab.comparison.held_out import Evaluation
    from vocab.options import TransferOptions


def run(donors: str | None = None) -> dict[str, Any]:
    """Compare all methods that have what they need, with the control, on both models.

    Parameters
    ----------
    donors : str, optional
        Where the tokenizer and the two donor models are kept between calls (ten minutes to make); without it
        a temporary directory is used.

    Returns
    -------
    dict
    """
    if donors is None:
        with tempfile.TemporaryDirectory() as folder:
            return run(folder)
    return {"demo": demo(), "all-MiniLM-L6-v2": minilm(Path(donors))}


def demo() -> dict[str, Any]:
    """The bundled model with the bundled pairs."""
    from vocab.options import TransferOptions

    return _compared(TransferOptions(src="demo", tgt="sw"))


def minilm(folder: Path) -> dict[str, Any]:
    """all-MiniLM-L6-v2 on FLORES; word vectors are trained on the text."""
    from benchmarks.donors import train_donors
    from vocab import transfer
    from vocab.comparison.held_out import Evaluation
    from vocab.options import TransferOptions

    source, (train_english, train_swahili) = str(source_model()), parallel_text("train")
    tokenizer, facts = folder / "tokenizer", folder / "donors.json"
    if not facts.exists():
        if not tokenizer.exists():
            parallel = train_english, train_swahili
            made = transfer(source, tgt="sw", parallel=parallel, vocab_size=VOCAB_SIZE, method="mean")
            made.tokenizer.save_pretrained(tokenizer)
        trained = train_donors(source, train_english, tokenizer, train_swahili, out=folder)
        facts.write_text(json.dumps(trained, indent=1))
    english, swahili = flores()
    options = TransferOptions(
        src=source,
        tgt="sw",
        parallel=(train_english, train_swahili),
        lexicon=shared("data/lexicons/wechsel/en-sw.tsv.gz"),
        donor=str(folder / "donor"),
        donor_src=str(folder / "donor-src"),
    )
    evaluation = Evaluation(swahili, english, "FLORES-200 devtest")
    return {"donors": json.loads(facts.read_text()), **_compared(options, evaluation)}


def _compared(options: TransferOptions, evaluation: Evaluation | None = None) -> dict[str, Any]:
    from vocab.comparison.comparing import compare
    from vocab.comparison.table import as_json, explained, formatted

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lexicon entries without a vector, once for each method
        comparison = compare(
            options,
            evaluation=evaluation,
            control=True,
            tell=lambda result: print(formatted([result]), file=sys.stderr, flush=True),
        )
    print(formatted(comparison.results), *explained(comparison), sep="\n", file=sys.stderr, flush=True)
    return {**as_json(comparison), "table": formatted(comparison.results, "md").splitlines()}
