"""Without parallel text: a lexicon and text of both languages, all-MiniLM-L6-v2 to Swahili, before training.

The text is the parallel text of the other cases, each side for itself; the lexicons are the bundled one and
WECHSEL's, which is public. Settings were chosen on the development set; FLORES is only reported.
"""

from __future__ import annotations

from typing import Any

from benchmarks.initialisations import compared
from benchmarks.retrieval import VOCAB_SIZE, flores, parallel_text, source_model
from benchmarks.shared import shared

METHODS = ("trans-tokenization > ofa", "trans-tokenization", "ofa", "constituents")


def run() -> dict[str, Any]:
    """Compare what ``auto`` takes with its rivals, by both lexicons."""
    from vocab.comparison.held_out import Evaluation
    from vocab.options import TransferOptions

    (text_english, text_swahili), (english, swahili) = parallel_text("train"), flores()
    found = {}
    for name, lexicon in (("bundled", None), ("wechsel", shared("data/lexicons/wechsel/en-sw.tsv.gz"))):
        options = TransferOptions(
            src=str(source_model()),
            tgt="sw",
            corpus=(text_swahili,),
            src_corpus=(text_english,),
            lexicon=lexicon,
            vocab_size=VOCAB_SIZE,
        )
        found[name] = compared(options, Evaluation(swahili, english, "FLORES-200 devtest"), METHODS)
    return found
