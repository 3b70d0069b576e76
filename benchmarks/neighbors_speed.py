"""Exact nearest neighbours beside faiss ``IndexFlatIP`` and the bare matrix product, and a CSLS dictionary.

All on the same arrays, in one process, in turns; figures are of the fastest turn, ratios of each turn's own
times. Random unit vectors, and word vectors tiled with noise, whose neighbours are much closer together.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import faiss
import numpy as np
from numpy.typing import NDArray

from align.errors import UnavailableError
from align.neighbors import csls, low_precision, top_k
from align.normalize import unit
from benchmarks.record import machine
from benchmarks.shared import shared

_WORDS = "data/vectors/novels/en.npz"
_GEMM_ROWS = 1024
_SAMPLE = 2000


def run(
    n_queries: int = 50_000,
    n_candidates: int = 200_000,
    dim: int = 300,
    *,
    k: int = 10,
    n_dictionary: int = 200_000,
    n_turns: int = 2,
) -> dict[str, Any]:
    """Times, rates, ratios and memory; a dictionary of 0 rows is left out."""
    rng = np.random.default_rng(0)
    spaces: dict[str, Any] = {
        "random": _compare(random_rows(rng, n_queries, dim), random_rows(rng, n_candidates, dim), k, n_turns)
    }
    try:
        words = noisy_words(rng, n_queries + n_candidates)
        spaces["words with noise"] = _compare(words[:n_queries], words[n_queries:], k, n_turns)
        del words
    except UnavailableError as error:
        spaces["words with noise"] = {"skipped": error.message}
    result = {"machine": machine(), "gemm_peak_gflop_s": round(_gemm_peak()), "spaces": spaces}
    if n_dictionary:
        result["csls_dictionary"] = _dictionary(
            random_rows(rng, n_dictionary, dim), random_rows(rng, n_dictionary, dim)
        )
    return result


def random_rows(rng: np.random.Generator, n_rows: int, dim: int) -> NDArray[np.float32]:
    return unit(rng.standard_normal((n_rows, dim), dtype=np.float32))


def noisy_words(rng: np.random.Generator, n_rows: int) -> NDArray[np.float32]:
    """Word vectors in random order, each several times with noise half as long as the vector."""
    with np.load(shared(_WORDS), allow_pickle=False) as file:
        words = unit(file["matrix"].astype(np.float32))
    rows = words[rng.integers(0, len(words), n_rows)]
    rows += rng.standard_normal(rows.shape, dtype=np.float32) * np.float32(0.5 / np.sqrt(words.shape[1]))
    return unit(rows)


def _compare(Q: NDArray[np.float32], C: NDArray[np.float32], k: int, n_turns: int) -> dict[str, Any]:
    index = faiss.IndexFlatIP(C.shape[1])
    index.add(C)
    products = np.empty((_GEMM_ROWS, len(C)), np.float32)

    def gemm() -> None:
        for start in range(0, len(Q), _GEMM_ROWS):
            block = Q[start : start + _GEMM_ROWS]
            np.matmul(block, C.T, out=products[: len(block)])

    def plain() -> None:
        with patch.object(low_precision, "pays", lambda Q, C: False):
            top_k(Q, C, k, metric="inner", backend="cpu")

    found = top_k(Q[:_SAMPLE], C, k, metric="inner", backend="cpu")  # compiles, too
    runs: dict[str, Callable[[], Any]] = {
        "gemm": gemm,
        "ours": lambda: top_k(Q, C, k, metric="inner", backend="cpu"),
        "ours_float32_only": plain,
        "faiss": lambda: index.search(Q, k),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(n_turns):
        for name, job in runs.items():
            times[name].append(seconds_of(job))
    gflop = 2 * len(Q) * C.size / 1e9
    best = {name: min(values) for name, values in times.items()}
    return {
        "n_queries": len(Q),
        "n_candidates": len(C),
        "dim": C.shape[1],
        "k": k,
        "turns_s": {name: [round(value, 2) for value in values] for name, values in times.items()},
        "gflop_s": {name: round(gflop / value) for name, value in best.items()},
        "times_faster_than_faiss": _ratios(times, "faiss", "ours"),
        "times_faster_than_gemm": _ratios(times, "gemm", "ours"),
        "float32_only_times_faster_than_gemm": _ratios(times, "gemm", "ours_float32_only"),
        "same_neighbours_as_faiss": round(
            float((index.search(Q[:_SAMPLE], k)[1] == found.indices).mean()), 5
        ),
    }


def _ratios(times: dict[str, list[float]], slow: str, fast: str) -> list[float]:
    return [round(a / b, 2) for a, b in zip(times[slow], times[fast], strict=True)]


def _dictionary(X: NDArray[np.float32], Y: NDArray[np.float32]) -> dict[str, Any]:
    """The best translation of every row of X by CSLS: time, and memory above the two inputs."""
    with memory_above() as peak:
        seconds = seconds_of(lambda: csls(X, Y, 1, backend="cpu"))
    return {
        "n_src": len(X),
        "n_tgt": len(Y),
        "dim": X.shape[1],
        "seconds": round(seconds, 1),
        # counted as three products (both densities and the search), however they are found
        "gflop_s": round(3 * 2 * len(X) * Y.size / seconds / 1e9),
        "peak_mib_above_inputs": round(peak[0]),
    }


def _gemm_peak(n: int = 4096) -> float:
    """GFLOP/s of the best of five square float32 products, all threads."""
    A, B = np.ones((n, n), np.float32), np.ones((n, n), np.float32)
    out = np.empty((n, n), np.float32)
    return 2 * n**3 / 1e9 / min(seconds_of(lambda: np.matmul(A, B, out=out)) for _ in range(5))


def seconds_of(job: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    job()
    return time.perf_counter() - begin


@contextmanager
def memory_above() -> Iterator[list[float]]:
    """Largest growth of this process's anonymous memory within the block, MiB, looked at every 20 ms."""
    status = Path("/proc/self/status")
    if not status.exists():
        raise UnavailableError("memory cannot be watched on this system", wanted="/proc/self/status")

    def anonymous() -> float:
        found = re.search(r"RssAnon:\s+(\d+)", status.read_text())
        return int(found.group(1)) / 1024 if found else 0.0

    before, peak, stop = anonymous(), [0.0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.02):
            peak[0] = max(peak[0], anonymous() - before)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        stop.set()
        watcher.join()
