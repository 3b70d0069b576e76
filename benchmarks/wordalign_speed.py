"""Time and memory of word alignment beside fast_align: whole processes, two threads, the same tokenised text.

Two texts, lower-cased and split into runs of letters, marks and digits or single other characters: the lafand
English-Swahili training pairs, and verse pairs of two English Bibles with four translations. fast_align runs
once for each direction; our process reads the text, trains both directions with class priors, and writes the
links. Each peer's time includes reading and writing.
"""

from __future__ import annotations

import json
import math
import os
import random
import sys
import tempfile
import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

from benchmarks.record import run_process
from benchmarks.shared import read_columns

_ROOT = Path(__file__).parents[1]
_THREADS = 2
_ENGLISH = ("eng_KJV", "eng_WEBP")
_OTHERS = ("spa_RV1909", "deu_Luther1912", "fra_Martin1744", "rus_Synodal1876")
_SHARES = (1 / 8, 1 / 4, 1 / 2, 1)
_MACHINE_MIB = 24 * 1024
# both directions, 2 threads, recorded on a quiet machine: golden/wordalign/README.md
_EFLOMAL_LAFAND_S = 49.2


def run(fast_align: str | None) -> dict[str, Any]:
    """Time both texts, then four sizes of the larger one.

    Parameters
    ----------
    fast_align : str, optional
        Path of the built program; without it only we run.

    Raises
    ------
    UnavailableError
        The texts are not on this machine.
    """
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        lafand, bible = list(_lafand()), list(_bible())
        _ours(_write(folder / "warm.txt", lafand[:50]))
        texts = []
        for name, lines in (("lafand", lafand), ("bible", bible)):
            path = _write(folder / f"{name}.txt", lines)
            row: dict[str, Any] = {"text": name, "ours": _ours(path)}
            if fast_align is not None:
                directions = [_fast_align(fast_align, path, reverse) for reverse in (False, True)]
                wall_s = sum(d["wall_s"] for d in directions)
                row["fast_align"] = {
                    "wall_s": round(wall_s, 2),
                    "cpu_s": round(sum(d["cpu_s"] for d in directions), 2),
                    "peak_rss_mib": max(d["peak_rss_mib"] for d in directions),
                    "directions": directions,
                }
                row["ours_over_fast_align"] = {
                    key: round(row["ours"][key] / row["fast_align"][key], 3)
                    for key in ("wall_s", "cpu_s", "peak_rss_mib")
                }
            texts.append(row)
        texts[0]["eflomal_recorded_s"] = _EFLOMAL_LAFAND_S
        random.Random(0).shuffle(bible)
        sizes = [_ours(_write(folder / "part.txt", bible[: round(share * len(bible))])) for share in _SHARES]
    return {
        "unit": "wall seconds of whole processes and MiB at their peak",
        "threads": _THREADS,
        "fast_align": "skipped: no path given (--fast-align)" if fast_align is None else "-d -o -v, and -r",
        "texts": texts,
        "sizes": sizes,
        **_growth(sizes),
    }


def _growth(sizes: list[dict[str, Any]]) -> dict[str, Any]:
    # exponents of the last doubling; memory is carried on along its straight line, which is on the safe side
    # because new pairs of words come ever more slowly
    half, whole = sizes[-2:]
    pairs = whole["pairs"] / half["pairs"]
    mib_a_pair = (whole["peak_rss_mib"] - half["peak_rss_mib"]) / (whole["pairs"] - half["pairs"])
    room = _MACHINE_MIB - whole["peak_rss_mib"]
    return {
        "time_exponent": round(math.log(whole["train_s"] / half["train_s"]) / math.log(pairs), 3),
        "rows_exponent": round(math.log(whole["rows"] / half["rows"]) / math.log(pairs), 3),
        "kib_a_pair": round(1024 * mib_a_pair, 2),
        "pairs_in_24_gib": round(whole["pairs"] + room / mib_a_pair) if mib_a_pair > 0 else None,
    }


def _ours(path: Path) -> dict[str, Any]:
    cost = run_process(
        [sys.executable, "-m", "benchmarks.wordalign_speed", path, path.with_suffix(".links")],
        env={
            **os.environ,
            "PYTHONPATH": str(_ROOT),
            "NUMBA_NUM_THREADS": str(_THREADS),
            "OMP_NUM_THREADS": str(_THREADS),
        },
    )
    return {**_cost(cost, "our process"), **json.loads(cost.stdout)}


def _fast_align(program: str, path: Path, reverse: bool) -> dict[str, Any]:
    cost = run_process(
        [program, "-i", path, "-d", "-o", "-v", *(["-r"] if reverse else [])],
        env={**os.environ, "OMP_NUM_THREADS": str(_THREADS)},
    )
    return _cost(cost, program)


def _cost(cost: Any, name: str) -> dict[str, Any]:
    if cost.exit_code:
        raise RuntimeError(f"{name} ended with {cost.exit_code}")
    return {
        "wall_s": cost.wall_s,
        "cpu_s": round(cost.user_s + cost.system_s, 2),
        "peak_rss_mib": cost.peak_rss_mib,
    }


def _lafand() -> Iterator[str]:
    for row in read_columns("data/parallel/lafand-en-swa/train.tsv.gz"):
        yield from _line(row[0], row[1])


def _bible() -> Iterator[str]:
    others = [dict(_verses(name)) for name in _OTHERS]
    for name in _ENGLISH:
        english = dict(_verses(name))
        for other in others:
            for verse, text in english.items():
                yield from _line(text, other.get(verse, ""))


def _verses(name: str) -> Iterator[tuple[str, str]]:
    for row in read_columns(f"data/bible/{name}.tsv.gz"):
        if len(row) > 1:
            yield row[0], row[1]


def _line(src: str, tgt: str) -> Iterator[str]:
    src, tgt = _tokens(src), _tokens(tgt)
    if src and tgt:
        yield f"{src} ||| {tgt}"


def _tokens(text: str) -> str:
    runs = ((kind, "".join(run)) for kind, run in groupby(text.lower(), _kind))
    return " ".join(run if kind == "word" else " ".join(run) for kind, run in runs if kind != "space")


@cache
def _kind(character: str) -> str:
    if unicodedata.category(character)[0] in "LMN":
        return "word"
    return "space" if character.isspace() else "other"


def _write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _align(text: Path, links: Path) -> dict[str, Any]:
    # what a user's script does; imported here, since the import is part of the process's time
    import time

    from align.wordalign import Bitext, align

    def side(column: int) -> Iterator[list[str]]:
        with text.open(encoding="utf-8") as file:
            for line in file:
                yield line.split(" ||| ")[column].split()

    bitext, src_words, tgt_words = Bitext.from_words(side(0), side(1))
    start = time.perf_counter()
    result = align(bitext, src_words=src_words, tgt_words=tgt_words)
    train_s = time.perf_counter() - start
    links.write_text("\n".join(result.links.pharaoh()) + "\n")
    return {
        "pairs": bitext.n_pairs,
        "tokens": [len(bitext.src_ids), len(bitext.tgt_ids)],
        "rows": len(result.aligner.tgt),
        "links": len(result.links.src),
        "train_s": round(train_s, 2),
    }


if __name__ == "__main__":
    print(json.dumps(_align(Path(sys.argv[1]), Path(sys.argv[2]))))
