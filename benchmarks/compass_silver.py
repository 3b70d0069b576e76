"""Words that took another's place: asses - donkeys, from the King James Bible (1611) to the Berean (2016 on).

The truth is silver: pairs whose verses coincide by Dice's coefficient, each the other's best, not made by
hand. For every old word all words of the modern text of 5 occurrences are ranked. All settings are the
library's defaults, and two threads.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from align.compass import Compass, CompassOptions, number_slices
from align.compass.alternatives import rotate, train_by
from align.compass.correspond import correspond_all
from align.evaluation import bootstrap_interval, paired_difference
from align.normalize import UNIT_CENTRE_UNIT
from benchmarks.shared import read_columns, shared

_OLD, _NEW = "eng_KJV", "eng_BSB"
_MIN_COUNT, _MIN_DICE = 5, 0.3
_BINS = ((5, 9), (10, 19), (20, 49), (50, 10**9))
_TOP = 10
_OPTIONS = CompassOptions(threads=2)


def run() -> dict[str, Any]:
    """P@1, P@5 and P@10 of every method.

    Raises
    ------
    UnavailableError
        The texts are not on this machine.
    """
    return {
        "rule": {
            "pairs": f"mutual best, Dice {_MIN_DICE} or more, both words {_MIN_COUNT} times in their text",
            "right": "one of a word's substitutes is among the first k",
            "interval": "95 % bootstrap over words; p of a randomisation test against cade, nn",
        },
        **_compare(),
    }


def _compare() -> dict[str, Any]:
    text = number_slices({_OLD: _verses(_OLD), _NEW: _verses(_NEW)})
    started = time.perf_counter()
    cade = train_by(text, method="cade", options=_OPTIONS)
    seconds = {"cade": round(time.perf_counter() - started, 1)}
    started = time.perf_counter()
    apart = train_by(text, method="procrustes", options=_OPTIONS)
    seconds["procrustes"] = round(time.perf_counter() - started, 1)
    # the slices of both rotations are the same
    centred = replace(apart, slices=rotate(apart.slices, {_NEW: _OLD}, UNIT_CENTRE_UNIT))
    systems = {"cade": cade, "procrustes": apart, "procrustes-centred": centred}
    pairs = _pairs(list(systems.values()))
    counts = np.array([int(cade.slice(_OLD).counts[cade.slice(_OLD).index[w]]) for w in pairs])  # type: ignore[index]
    hits = {
        f"{name}, {retrieval}": _hits(system, pairs, retrieval)
        for name, system in systems.items()
        for retrieval in ("nn", "csls")
    }
    first = hits["cade, nn"][:, 0]
    return {
        "n_words": len(pairs),
        "loss_below_frequencies": {
            "cade": round(cade.learned or 0, 3),
            "trained apart": round(apart.learned or 0, 3),
        },
        "tokens": dict(zip(text.names, text.counts.sum(axis=1).tolist(), strict=True)),
        "methods": {
            name: {
                **{f"p@{k}": round(float(of_method[:, :k].any(axis=1).mean()), 3) for k in (1, 5, _TOP)},
                "p@1 interval": [
                    round(end, 3)
                    for interval in (bootstrap_interval(of_method[:, 0]),)
                    for end in (interval.low, interval.high)
                ],
                "p": round(paired_difference(of_method[:, 0], first).p_value, 4),
                "p@1 by occurrences": {
                    f"{low}-{high}" if high < 10**9 else f"{low}+": [
                        round(float(of_method[inside, 0].mean()), 3),
                        int(inside.sum()),
                    ]
                    for low, high in _BINS
                    if (inside := (counts >= low) & (counts <= high)).any()
                },
            }
            for name, of_method in hits.items()
        },
        "seconds": seconds,
    }


def _pairs(systems: list[Compass]) -> dict[str, set[str]]:
    """Substitutes of every old word that all systems know."""
    found: dict[str, set[str]] = {}
    for row in read_columns("data/temporal/bible-substitutions.silver.tsv")[1:]:
        old_text, new_text, old, word, dice, *_, mutual = row
        if (old_text, new_text, mutual) != (_OLD, _NEW, "1") or float(dice) < _MIN_DICE:
            continue
        if all(
            _count(system, _OLD, old) >= _MIN_COUNT and _count(system, _NEW, word) >= _MIN_COUNT
            for system in systems
        ):
            found.setdefault(old, set()).add(word)
    return found


def _count(compass: Compass, name: str, word: str) -> int:
    space = compass.slice(name)
    return int(space.counts[space.index[word]]) if word in space.index and space.counts is not None else 0


def _hits(compass: Compass, pairs: dict[str, set[str]], retrieval: str) -> NDArray[np.bool_]:
    """Whether the k-th answer to every word is right; shape (n_words, 10)."""
    answers = correspond_all(
        compass, list(pairs), _OLD, _NEW, top=_TOP, min_count=_MIN_COUNT, retrieval=retrieval
    )
    return np.array(
        [[n.word in right for n in of_word] for right, of_word in zip(pairs.values(), answers, strict=True)]
    )


def _verses(name: str) -> Iterator[str]:
    with gzip.open(shared(f"data/bible/{name}.tsv.gz"), "rt", encoding="utf-8") as file:
        for line in file:
            yield line.rstrip("\n").split("\t", 1)[1]
