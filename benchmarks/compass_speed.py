"""Words per second of the word2vec trainer beside gensim's, at equal settings, in turns.

Text: English novels, lower-cased and divided into words, a paragraph a line; both read the same file of
words divided by blanks. gensim (``--gensim``: a Python that has it) trains from that file (``corpus_file``)
and from lists in memory; the faster counts. Times are of training alone, after the vocabulary, and the best
of the repetitions. Then four sizes of the text for ours, as whole processes.
"""

from __future__ import annotations

import json
import math
import os
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.record import run_process
from benchmarks.shared import read_columns

_ROOT = Path(__file__).parents[1]
_REPEATS = 3
_EPOCHS = 1
_SETTINGS = (("cbow", 5), ("cbow", 10), ("skipgram", 5))
_THREADS = (1, 2)
_SHARES = (1 / 8, 1 / 4, 1 / 2, 1)
_TIMED_SHARE = 1 / 8
_PEER = """
import json, sys, time
from gensim.models import Word2Vec
path, sg, negative, threads, epochs = sys.argv[1], *map(int, sys.argv[2:])
settings = dict(vector_size=100, window=5, min_count=5, sample=1e-3, alpha=0.025, sg=sg, negative=negative)
lines = [line.split() for line in open(path, encoding="utf-8")]
found = {}
for kind in ("file", "lists"):
    model = Word2Vec(workers=threads, **settings)
    source = {"corpus_file": path} if kind == "file" else {"corpus_iterable": lines}
    model.build_vocab(**source)
    extra = {"total_words": model.corpus_total_words} if kind == "file" else {}
    words = epochs * sum(model.wv.get_vecattr(word, "count") for word in model.wv.index_to_key)
    start = time.perf_counter()
    model.train(total_examples=model.corpus_count, epochs=epochs, **source, **extra)
    found[kind] = words / (time.perf_counter() - start)
print(json.dumps(found))
"""


def run(gensim: str | None) -> dict[str, Any]:
    """Time all settings in turns, then four sizes.

    Parameters
    ----------
    gensim : str, optional
        A Python that has gensim; without it only we run.

    Raises
    ------
    UnavailableError
        The text is not on this machine.
    """
    from align.wordalign.reading import splitter

    split = splitter()
    lines = [" ".join(split(row[-1].lower())) for row in read_columns("data/corpora/eltec/eng.tsv.gz")]
    random.Random(0).shuffle(lines)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        part = _write(folder / "part.txt", lines[: round(_TIMED_SHARE * len(lines))])
        _ours(_write(folder / "warm.txt", lines[:2000]), "cbow", 5, 1)
        rows = [_beside(part, architecture, k, n, gensim) for architecture, k in _SETTINGS for n in _THREADS]
        sizes = [
            _ours(_write(folder / "size.txt", lines[: round(share * len(lines))]), "cbow", 5, 2)
            for share in _SHARES
        ]
    half, whole = sizes[-2:]
    return {
        "unit": "thousand words a second, whole text before words are left out at random",
        "settings": "dim 100, window 5, min_count 5, subsample 1e-3, learning rate 0.025, passes: "
        f"{_EPOCHS}, best of {_REPEATS}",
        "gensim": "skipped: no Python given (--gensim)" if gensim is None else "4, best of file and lists",
        "speed": rows,
        "sizes": sizes,
        "time_exponent": round(
            math.log(whole["train_s"] / half["train_s"]) / math.log(whole["tokens"] / half["tokens"]), 3
        ),
    }


def _beside(
    path: Path, architecture: str, n_negatives: int, threads: int, gensim: str | None
) -> dict[str, Any]:
    ours: list[float] = []
    theirs: list[dict[str, float]] = []
    for _ in range(_REPEATS):
        ours.append(_ours(path, architecture, n_negatives, threads)["words_a_second"])
        if gensim is not None:
            sg = int(architecture == "skipgram")
            arguments = [path, sg, n_negatives, threads, _EPOCHS]
            cost = run_process(
                [gensim, "-c", _PEER, *map(str, arguments)],
                env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
            theirs.append(json.loads(cost.stdout))
    row: dict[str, Any] = {
        "architecture": architecture,
        "n_negatives": n_negatives,
        "threads": threads,
        "ours": round(max(ours) / 1e3),
    }
    if theirs:
        for kind in theirs[0]:
            row[f"gensim_{kind}"] = round(max(found[kind] for found in theirs) / 1e3)
        row["ours_over_gensim"] = round(row["ours"] / max(row["gensim_file"], row["gensim_lists"]), 2)
    return row


def _ours(path: Path, architecture: str, n_negatives: int, threads: int) -> dict[str, Any]:
    cost = run_process(
        [
            sys.executable,
            "-m",
            "benchmarks.compass_speed",
            path,
            architecture,
            str(n_negatives),
            str(threads),
        ],
        env={**os.environ, "PYTHONPATH": str(_ROOT)},
    )
    if cost.exit_code:
        raise RuntimeError(f"our process ended with {cost.exit_code}")
    return {**json.loads(cost.stdout), "wall_s": cost.wall_s}


def _write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _train(path: str, architecture: str, n_negatives: int, threads: int) -> dict[str, Any]:
    import time

    from align.compass import Word2VecOptions, number_slices, train_word2vec
    from align.textfiles import iter_lines

    start = time.perf_counter()
    rows = ((str(k % 2), line) for k, line in enumerate(iter_lines(path)))
    text = number_slices(rows, tokenize="whitespace", lower=False)
    read_s = time.perf_counter() - start
    options = Word2VecOptions(
        architecture=architecture,
        n_negatives=n_negatives,
        epochs=_EPOCHS,
        learning_rate=0.025,
        threads=threads,
    )
    counts = text.counts.sum(axis=0)
    train_word2vec([text.streams[0][:1000]], counts, options=options)  # loads the kernels
    start = time.perf_counter()
    fit = train_word2vec(text.streams, counts, options=options)
    train_s = time.perf_counter() - start
    return {
        "tokens": text.n_tokens,
        "words": len(text.words),
        "read_s": round(read_s, 2),
        "train_s": round(train_s, 2),
        "words_a_second": round(_EPOCHS * text.n_tokens / train_s),
        "loss": round(fit.history[-1], 4),
        "peak_rss_mib": _peak_mib(),
    }


def _peak_mib() -> float | None:
    # what the system says of a child counts its parent's memory too, up to the start of the program
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return round(int(line.split()[1]) / 1024)


if __name__ == "__main__":
    print(json.dumps(_train(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
