"""Change of meaning against human judgement: SemEval-2020 task 1, English.

SemEval's own corpora are not to be had, so that its truth (1810-60 against 1960-2010) is compared with
novels of 1840-79 and a mixture of texts of 1961-2020 of another kind: figures are lower than published ones
and rank methods alone. All settings are the library's defaults, and two threads; none was chosen by the
targets. Inflected forms of a target (``-s -es -ed -ing`` and the usual changes of spelling) are put under its
base form before training; parts of speech are not told apart. GEMS (1960s against 1990s) is not measured:
there is no text of the 1990s beside Brown's of 1961 that is of the same kind.
"""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from align.compass import Compass, CompassOptions, SlicedText, number_slices
from align.compass.alternatives import rotate, train_by
from align.compass.measures import MEASURES
from align.normalize import UNIT_CENTRE_UNIT
from align.textfiles import iter_lines
from benchmarks.shared import read_columns, shared

_MODERN = (
    "brown-1961",
    "abc-news-2006",
    "masakhanews-eng",
    "movie-reviews-2000",
    "webtext",
    "wikitext2-valid",
    "wikitext2-test",
    "african-storybook-eng",
)
_THEN, _NOW = "1840-79", "modern"
_MIN_COUNT = 10
_RESAMPLES = 10_000
_OPTIONS = CompassOptions(threads=2)
_VOWELS = "aeiou"


def run() -> dict[str, Any]:
    """Spearman and accuracy of every method and measure.

    Raises
    ------
    UnavailableError
        The texts are not on this machine.
    """
    graded = _truth("task2_english_pos.txt")
    changed = _truth("task1_english_pos.txt")
    names = (_THEN, "1880-99", "1900-20", _NOW)
    parts = (_novels(1840, 1879), _novels(1880, 1899), _novels(1900, 1920), _lines(_MODERN))
    longer = _merged(number_slices(dict(zip(names, parts, strict=True))), graded)
    ends = [0, len(names) - 1]
    pair = replace(
        longer,
        names=(_THEN, _NOW),
        streams=tuple(longer.streams[k] for k in ends),
        counts=longer.counts[ends],
        n_read=longer.n_read[ends],
    )
    return {
        "rule": {
            "targets": f"{_MIN_COUNT} occurrences or more in both slices",
            "spearman": "of change, and of its residual after log frequencies, with the truth; 95 % "
            "bootstrap interval over targets",
            "changed": "residual above one standard deviation of all words'",
            "settings": "defaults, two threads; nothing was chosen by the targets",
        },
        **_compare(pair, longer, graded, changed),
    }


def _compare(
    text: SlicedText, longer: SlicedText, graded: dict[str, float], changed: dict[str, float]
) -> dict[str, Any]:
    first, last = text.names
    started = time.perf_counter()
    cade = train_by(text, method="cade", options=_OPTIONS)
    seconds = {"cade": round(time.perf_counter() - started, 1)}
    # the slices of all rotations are the same, trained apart once
    started = time.perf_counter()
    chained = train_by(longer, method="histwords", options=_OPTIONS)
    seconds["trained apart"] = round(time.perf_counter() - started, 1)
    pair = {name: chained.slice(name) for name in (first, last)}
    apart = replace(chained, slices={**chained.slices, **rotate(pair, {last: first})})
    centred = replace(chained, slices={**chained.slices, **rotate(pair, {last: first}, UNIT_CENTRE_UNIT)})
    rows = {f"cade, {measure}": _score(cade, measure, graded, changed, first, last) for measure in MEASURES}
    rows["procrustes, cosine"] = _score(apart, "cosine", graded, changed, first, last)
    rows["procrustes-centred, cosine"] = _score(centred, "cosine", graded, changed, first, last)
    for measure in ("lncs2", "overlap"):
        rows[f"trained apart, {measure}"] = _score(apart, measure, graded, changed, first, last)
    row = _score(chained, "cosine", graded, changed, first, last)
    rows[f"histwords over {len(chained.names)} slices, cosine"] = row
    return {
        "tokens": dict(zip(text.names, text.counts.sum(axis=1).tolist(), strict=True)),
        "loss_below_frequencies": {
            "cade": round(cade.learned or 0, 3),
            "trained apart": round(apart.learned or 0, 3),
        },
        "frequency_alone": _frequency(cade, graded, first, last),
        "methods": rows,
        "seconds": seconds,
    }


def _score(
    compass: Compass,
    measure: str,
    graded: dict[str, float],
    changed: dict[str, float],
    first: str,
    last: str,
) -> dict[str, Any]:
    found = compass.shift(first, last, measure=measure, min_count=_MIN_COUNT)
    row = {word: k for k, word in enumerate(found.words)}
    words = [word for word in graded if word in row]
    at = np.array([row[word] for word in words])
    truth = np.array([graded[word] for word in words])
    scored: dict[str, Any] = {
        "n_targets": len(words),
        "of": len(graded),
        "spearman": _interval(found.change[at], truth),
        "spearman_residual": _interval(found.residual[at], truth),
    }
    is_changed = np.array([changed[word] for word in words]) == 1
    said = found.residual[at] > found.residual.std()
    scored["accuracy"] = round(float((said == is_changed).mean()), 3)
    scored["accuracy_of_no_change"] = round(float((~is_changed).mean()), 3)
    scored["auc"] = round(_auc(found.residual[at], is_changed), 3)
    return scored


def _frequency(compass: Compass, graded: dict[str, float], first: str, last: str) -> dict[str, Any]:
    """The truth against frequency alone: a method should say more than that."""
    found = compass.shift(first, last, min_count=_MIN_COUNT)
    row = {word: k for k, word in enumerate(found.words)}
    words = [word for word in graded if word in row]
    logs = np.log(found.counts[[row[word] for word in words]])
    truth = np.array([graded[word] for word in words])
    return {
        "rarer": _interval(-logs.min(axis=1), truth),
        "change of frequency": _interval(abs(logs[:, 1] - logs[:, 0]), truth),
    }


def _interval(values: NDArray[np.float64], truth: NDArray[np.float64]) -> dict[str, float]:
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(values), size=(_RESAMPLES, len(values)))
    with np.errstate(invalid="ignore"):
        low, high = np.nanquantile(_spearman(values[drawn], truth[drawn]), [0.025, 0.975])
    rho = _spearman(values[None], truth[None])[0]
    return {"rho": round(float(rho), 3), "low": round(float(low), 3), "high": round(float(high), 3)}


def _spearman(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Row by row."""
    a, b = (rankdata(z, axis=1) for z in (x, y))
    a, b = (z - z.mean(axis=1, keepdims=True) for z in (a, b))
    rho: NDArray[np.float64] = (a * b).sum(axis=1) / np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return rho


def _auc(values: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """How often a changed word comes before one that is not."""
    higher = values[positive][:, None] - values[~positive]
    return float((np.sign(higher) / 2 + 0.5).mean())


def forms(word: str) -> set[str]:
    """Inflected forms of an English word by spelling alone, itself included."""
    if word.endswith("y") and word[-2:-1] not in _VOWELS:
        return {word, word[:-1] + "ies", word[:-1] + "ied", word + "ing"}
    if word.endswith("e"):
        return {word, word + "s", word + "d", word[:-1] + "ing"}
    stems = {word}
    short = sum(c in _VOWELS for c in word) == 1 and word[-2:-1] in _VOWELS
    if short and word[-1] not in "wxy" and word[-1] not in _VOWELS:
        stems = {word + word[-1]}
    plural = word + ("es" if word.endswith(("s", "x", "z", "ch", "sh")) else "s")
    return {word, plural, *(stem + ending for stem in stems for ending in ("ed", "ing"))}


def _merged(text: SlicedText, targets: Iterable[str]) -> SlicedText:
    """Put the forms of every target under the target itself."""
    number = {word: k for k, word in enumerate(text.words)}
    new = np.arange(len(text.words) + 1, dtype=np.int32)
    new[-1] = -1
    for target in targets:
        for form in forms(target) if target in number else ():
            if form in number:
                new[number[form]] = number[target]
    streams = tuple(new[stream] for stream in text.streams)
    counts = np.stack([np.bincount(s[s >= 0], minlength=len(text.words)) for s in streams])
    return replace(text, streams=streams, counts=counts)


def _truth(name: str) -> dict[str, float]:
    rows = read_columns(f"data/temporal/gold/{name}")
    return {row[0].rpartition("_")[0]: float(row[1]) for row in rows if len(row) > 1}


def _novels(start: int, stop: int) -> Iterator[str]:
    with gzip.open(shared("data/corpora/eltec/eng.tsv.gz"), "rt", encoding="utf-8") as file:
        for line in file:
            year, _, paragraph = line.rstrip("\n").split("\t", 2)
            if start <= int(year) <= stop:
                yield paragraph


def _lines(names: Sequence[str]) -> Iterator[str]:
    for name in names:
        yield from iter_lines(shared(f"data/corpora/english/{name}.txt.gz"))
