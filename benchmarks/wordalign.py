"""Alignment error rate on nine gold standards, next to the recorded outputs of fast_align and eflomal.

Protocol: the text of a set is its training lines followed by its gold lines (the aligner sees the gold
sentences, never the gold links), lower-cased and split on white space; one configuration for all sets. The
peers' figures are read from the table of their recorded runs: the best of all directions and symmetrisations.
"""

from __future__ import annotations

import re
import time
from typing import Any

import numba

from align.errors import InputError
from align.evaluation import alignment_error_rate
from align.wordalign import AlignOptions, Bitext, WordClasses, align
from benchmarks.shared import read_columns, shared

_PEERS = "golden/wordalign/README.md"

GoldLinks = list[list[tuple[int, int]]]

# name: training file (or none), gold file, columns to skip in the gold file
SETS: dict[str, tuple[str | None, str, int]] = {
    "hansards-en-fr": ("hansards-en-fr/train.tsv.gz", "hansards-en-fr/test.tsv", 0),
    "europarl-en-es": ("europarl-en-es/train.tsv.gz", "europarl-en-es/dev.tsv", 0),
    "helfi-nt-grc-fin": (None, "helfi/grc-fin.nt.word.tsv.gz", 1),
    **{
        f"xlwa-en-{code}": (f"xl-wa/en-{code}.train.tsv.gz", f"xl-wa/en-{code}.test.tsv", 0)
        for code in ("bg", "da", "hu", "nl", "pt", "et")
    },
}


def run() -> dict[str, Any]:
    """Align every set; AER in percent with and without the class prior, and the time of each.

    Raises
    ------
    UnavailableError
        The gold standards are not on this machine.
    """
    peers = _recorded(shared(_PEERS).read_text(encoding="utf-8"))
    warm, _, _ = Bitext.from_words([["a", "b"]] * 3, [["c", "d"]] * 3)
    start = time.perf_counter()
    align(warm, classes=WordClasses.of_words(["a", "b"], ["c", "d"]))
    warm_s = time.perf_counter() - start
    rows = []
    for name in SETS:
        src, tgt, sure, possible = load(name)
        row: dict[str, Any] = {"set": name, "pairs": len(src), "gold": len(sure)}
        start = time.perf_counter()
        bitext, src_words, tgt_words = Bitext.from_words(src, tgt)
        row["read_s"] = round(time.perf_counter() - start, 2)
        for prior in ("flat", "classes"):
            start = time.perf_counter()
            classes = WordClasses.of_words(src_words, tgt_words) if prior == "classes" else None
            links = align(bitext, classes=classes).links
            time_s = time.perf_counter() - start
            found = [links.pair(n) for n in range(len(src) - len(sure), len(src))]
            error = alignment_error_rate(found, sure, possible)
            row[prior] = {
                "aer": round(100 * error.aer, 2),
                "precision": round(100 * error.precision, 1),
                "recall": round(100 * error.recall, 1),
                "time_s": round(time_s, 2),
            }
        row["peers"] = peers.get(name, {})
        rows.append(row)
    return {
        "unit": "AER in percent, lower is better",
        "options": repr(AlignOptions()),
        "threads": numba.get_num_threads(),
        "kernels_ready_s": round(warm_s, 2),
        "sets": rows,
    }


def load(name: str) -> tuple[list[list[str]], list[list[str]], GoldLinks, GoldLinks]:
    """Sentences of both sides (training, then gold) and the sure and possible links of the gold ones."""
    train_file, gold_file, skip = SETS[name]
    train = read_columns(f"data/alignment/{train_file}") if train_file else []
    gold = [row[skip:] for row in read_columns(f"data/alignment/{gold_file}")]
    # lines with an empty side are no pairs
    gold = [row for row in gold if row[0].split() and row[1].split()]
    train = [row for row in train if row[0].split() and row[1].split()]
    src, tgt = ([row[side].lower().split() for row in train + gold] for side in (0, 1))
    sure: GoldLinks = []
    possible: GoldLinks = []
    for row in gold:
        items = [re.fullmatch(r"(\d+)([-p])(\d+)", item) for item in (row[2].split() if len(row) > 2 else [])]
        if None in items:
            raise InputError("not a gold link", got=row[2], wanted="i-j or ipj", where=gold_file)
        links = [(m[2], int(m[1]), int(m[3])) for m in items if m]
        sure.append([(i, j) for kind, i, j in links if kind == "-"])
        possible.append([(i, j) for kind, i, j in links if kind == "p"])
    return src, tgt, sure, possible


def _recorded(text: str) -> dict[str, dict[str, float]]:
    # rows of the AER table: | set | system | seven figures |, the first table with that many columns
    best: dict[str, dict[str, float]] = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 9 and cells[0] in SETS and all(re.fullmatch(r"\d+\.\d\d", c) for c in cells[2:]):
            system = cells[1].split()[0]
            figures = best.setdefault(cells[0], {})
            figures[system] = min([figures.get(system, 100.0), *map(float, cells[2:])])
    return best
