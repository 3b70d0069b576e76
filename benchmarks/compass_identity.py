"""The identity test of the compass: two random halves of one corpus, trained as if they were slices.

Text and division are those of a study of the original CADE: its example corpus, cut into lines of 30 tokens,
these divided at random, words from 5 occurrences on. A row is one setting of that study, with as many passes
over compass and slices, its figures, and ours at our learning rate and at the original's. Then our defaults,
on this text and on the Brown corpus.
"""

from __future__ import annotations

import time
from typing import Any

from align.compass import CompassOptions, IdentityTest, SlicedText, number_slices
from align.compass.identity import compare_halves, halves
from align.compass.options import first_rate
from align.compass.training import train
from align.textfiles import read_lines
from benchmarks.shared import shared

_LINE = 30
_FIRST = 500
# init, epochs, slice epochs, the original's learning rate, its share found of all words and of the first 500
_STUDY = (
    ("hidden", 10, 10, 0.025, 0.030, 0.072),
    ("hidden", 10, 50, 0.025, 0.025, 0.096),
    ("hidden", 50, 50, 0.025, 0.349, 0.954),
    ("hidden", 50, 50, 0.1, 0.002, 0.002),
    ("both", 10, 10, 0.025, 0.088, 0.184),
    ("copy", 50, 50, 0.025, 0.999, 1.000),
)


def run() -> dict[str, Any]:
    """Figures of the study and ours.

    Raises
    ------
    UnavailableError
        The text is not on this machine.
    """
    tokens = " ".join(read_lines(shared("data/temporal/arxiv_9.cade-example.txt.gz"))).split()
    lines = [" ".join(tokens[k : k + _LINE]) for k in range(0, len(tokens), _LINE)]
    text = _halves(lines, tokenize="whitespace", lower=False)
    rows = []
    for init, epochs, slice_epochs, rate, theirs, theirs_first in _STUDY:
        row: dict[str, Any] = {
            "init": init,
            "epochs": [epochs, slice_epochs],
            "original": {"learning_rate": rate, "all": theirs, "first_500": theirs_first},
        }
        options = CompassOptions(init=init, epochs=epochs, slice_epochs=slice_epochs)
        row["ours"] = _figures(text, options)
        if rate != row["ours"]["learning_rate"]:
            row["ours_same_rate"] = _figures(
                text, CompassOptions(init=init, epochs=epochs, slice_epochs=slice_epochs, learning_rate=rate)
            )
        rows.append(row)
    brown = _halves(read_lines(shared("data/corpora/english/brown-1961.txt.gz")))
    return {
        "text": {"sentences": len(lines), "words": len(text.words), "tokens": text.n_tokens},
        "rule": "share of the words of both halves that are nearest to themselves by cosine, one seed",
        "study": rows,
        "defaults": {
            "text of the study": _figures(text, CompassOptions()),
            "Brown": _figures(brown, CompassOptions()),
        },
    }


def _halves(lines: list[str], *, tokenize: str = "words", lower: bool = True) -> SlicedText:
    whole = number_slices({"a": lines[::2], "b": lines[1::2]}, tokenize=tokenize, lower=lower)
    return halves(whole)


def _figures(text: SlicedText, options: CompassOptions) -> dict[str, Any]:
    started = time.perf_counter()
    test: IdentityTest = compare_halves(train(text, options=options))
    return {
        "learning_rate": first_rate(options),
        "all": round(test.accuracy(), 3),
        "first_500": round(test.accuracy(_FIRST), 3),
        "mean_cosine": round(test.mean_cosine(), 3),
        "n_words": len(test.words),
        "epochs": [len(losses) for losses in test.compass.history.values()],
        "loss_below_frequencies": round(test.compass.learned or 0.0, 3),
        "converged": test.compass.converged,
        "wall_s": round(time.perf_counter() - started, 1),
    }
