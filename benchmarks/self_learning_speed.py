"""An iteration of unsupervised self-learning at 20,000 words a side, next to VecMap's in the same run.

``python -m benchmarks self-learning --vecmap PATH`` with a checkout of github.com/artetxem/vecmap: it is run
as it is, on the same vectors, and stopped after a few iterations.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from align.mapping.distributions import distribution_pairs
from align.mapping.self_learning import dictionary, self_learning
from align.mapping.sweep import sweep
from align.normalize import normalize
from benchmarks.shared import shared

CUTOFF, ITERATIONS = 20_000, 6
_ITERATION = re.compile(r"ITERATION (\d+) \(([0-9.]+)s\)")


def run(vecmap: str | None = None) -> dict[str, Any]:
    """Seconds of one iteration after the first, ours and VecMap's, and of the matrix product alone.

    Parameters
    ----------
    vecmap : str, optional
        Folder of the peer's checkout; without it only ours is measured.

    Raises
    ------
    UnavailableError
        The vectors are not on this machine.
    """
    words, spaces = {}, {}
    for code in ("en", "es"):
        file = np.load(shared(f"data/vectors/novels/{code}.npz"), allow_pickle=False)
        words[code] = [str(word) for word in file["words"][:CUTOFF]]
        spaces[code] = file["matrix"][:CUTOFF].astype(np.float32)
    X, Y = (normalize(spaces[code])[0] for code in ("en", "es"))
    sweep(X[:300], Y[:300])  # compile
    start = time.perf_counter()
    seeds = dictionary(distribution_pairs(X, Y), "union")
    result: dict[str, Any] = {
        "cutoff": CUTOFF,
        "dim": X.shape[1],
        "first_dictionary_s": round(time.perf_counter() - start, 2),
    }
    result["iteration_s"] = _ours(X, Y, seeds)
    result["product_s"] = _product(X, Y)
    result["share_of_product"] = round(result["product_s"] / result["iteration_s"], 2)
    if vecmap is not None:
        result["vecmap_iteration_s"] = _vecmap(Path(vecmap), words, spaces)
        result["times_faster"] = round(result["vecmap_iteration_s"] / result["iteration_s"], 1)
    return result


def _ours(X: NDArray[np.float32], Y: NDArray[np.float32], seeds: NDArray[np.int64]) -> float:
    times = [time.perf_counter()]

    def note(iteration: int, objective: float) -> None:
        times.append(time.perf_counter())
        if iteration == ITERATIONS:
            raise KeyboardInterrupt  # the rest is not measured

    self_learning(X, Y, seeds, cutoff=CUTOFF, trusted=False, progress=note)
    return round(float(np.median(np.diff(times)[1:])), 3)


def _product(X: NDArray[np.float32], Y: NDArray[np.float32]) -> float:
    """The matrix product of the two sides, block by block, with all of the BLAS's threads."""
    block = 2000
    out = np.empty((block, len(Y)), np.float32)
    with threadpool_limits(None, user_api="blas"):
        start = time.perf_counter()
        for first in range(0, len(X), block):
            np.matmul(X[first : first + block], Y.T, out=out)
        return round(time.perf_counter() - start, 3)


def _vecmap(checkout: Path, words: dict[str, list[str]], spaces: dict[str, NDArray[np.float32]]) -> float:
    with tempfile.TemporaryDirectory() as temporary:
        paths = []
        for code, matrix in spaces.items():
            path = Path(temporary) / f"{code}.vec"
            lines = [f"{len(matrix)} {matrix.shape[1]}"]
            lines += [
                f"{word} {' '.join(f'{value:.8g}' for value in row)}"
                for word, row in zip(words[code], matrix, strict=True)
            ]
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
            paths.append(str(path))
        command = [sys.executable, "-u", str(checkout / "map_embeddings.py"), "--unsupervised", "-v"]
        command += [*paths, str(Path(temporary) / "src.out"), str(Path(temporary) / "tgt.out")]
        times: list[float] = []
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            for line in process.stderr or ():
                found = _ITERATION.search(line)
                if found:
                    times.append(float(found[2]))
                if len(times) == ITERATIONS:
                    break
            process.terminate()
    return round(float(np.median(times[1:])), 2) if len(times) > 1 else float("nan")
