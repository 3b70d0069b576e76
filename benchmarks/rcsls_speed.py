"""A step of RCSLS beside the same step with every score at once in float64, as the original computes it.

Random unit vectors, and word vectors tiled with noise, in turns. The dense step would hold two matrices of
pairs x negatives in float64 and as many indices, 16 GB at full size, so it is timed on fewer pairs, and what
grows with their number is scaled. With ``peer``, the path of fastText's ``alignment/align.py``, it is the
``rcsls`` of that file, in a process of its own, else the same formula in numpy.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from align.errors import UnavailableError
from align.mapping.procrustes import procrustes
from align.mapping.rcsls import rcsls_loss
from align.normalize import unit
from benchmarks.neighbors_speed import memory_above, noisy_words, random_rows, seconds_of
from benchmarks.record import machine

_PEER = """
import ast, json, sys, time
import numpy as np
folder, source = sys.argv[1:]
tree = ast.parse(open(source, encoding="utf-8").read())
tree.body = [node for node in tree.body if getattr(node, "name", "") in ("getknn", "rcsls")]
exec(compile(tree, source, "exec"))
X, Y, pairs, W = (np.load(f"{folder}/{name}.npy") for name in ("X", "Y", "pairs", "W"))
X, Y = X.astype(np.float64), Y.astype(np.float64)
begin = time.perf_counter()
X @ W
mapped = time.perf_counter()
loss, gradient = rcsls(X[pairs[:, 0]], Y[pairs[:, 1]], X, Y, np.ascontiguousarray(W.T), 10)
print(json.dumps([mapped - begin, time.perf_counter() - mapped, loss]))
"""


def run(
    n_pairs: int = 5000,
    n_negatives: int = 200_000,
    dim: int = 300,
    *,
    n_dense: int = 500,
    n_turns: int = 2,
    peer: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Times of a step, their ratio, the memory of ours, and how far losses differ."""
    rng = np.random.default_rng(0)
    spaces: dict[str, Any] = {
        "random": _compare(
            rng,
            random_rows(rng, n_negatives, dim),
            random_rows(rng, n_negatives, dim),
            n_pairs,
            n_dense,
            n_turns,
            peer,
        )
    }
    try:
        words = noisy_words(rng, 2 * n_negatives)
        spaces["words with noise"] = _compare(
            rng, words[:n_negatives], words[n_negatives:], n_pairs, n_dense, n_turns, peer
        )
    except UnavailableError as error:
        spaces["words with noise"] = {"skipped": error.message}
    return {
        "machine": machine(),
        "beside": "numpy, all scores at once" if peer is None else "fastText alignment/align.py",
        "n_pairs": n_pairs,
        "n_negatives": n_negatives,
        "n_pairs_timed_dense": n_dense,
        "spaces": spaces,
    }


def _compare(
    rng: np.random.Generator,
    X: NDArray[np.float32],
    Y: NDArray[np.float32],
    n_pairs: int,
    n_dense: int,
    n_turns: int,
    peer: str | os.PathLike[str] | None,
) -> dict[str, Any]:
    src = rng.permutation(len(X))[:n_pairs]
    noise = rng.standard_normal(X[src].shape, dtype=np.float32) * np.float32(1 / X.shape[1] ** 0.5)
    Y[src] = unit(X[src] + noise)
    pairs = np.stack([src, src], axis=1)
    W, few = procrustes(X, Y, pairs).matrix, pairs[:n_dense]
    loss = rcsls_loss(X, Y, few, W)[0]  # compiles, too
    ours, dense, peaks = [], [], []
    for _ in range(n_turns):
        with memory_above() as peak:
            ours.append(seconds_of(lambda: rcsls_loss(X, Y, pairs, W)))
        peaks.append(peak[0])
        timed = _time_dense(X, Y, few, W) if peer is None else _time_peer(Path(peer), X, Y, few, W)
        fixed, seconds, dense_loss = timed
        dense.append(fixed + (seconds - fixed) * n_pairs / n_dense)
    return {
        "dim": X.shape[1],
        "turns_s": {name: [round(t, 2) for t in times] for name, times in (("ours", ours), ("dense", dense))},
        "times_faster": [round(d / o, 1) for o, d in zip(ours, dense, strict=True)],
        "peak_mib_above_inputs": round(max(peaks)),
        "loss_difference": abs(loss - dense_loss),
    }


def _time_dense(
    X: NDArray[np.float32], Y: NDArray[np.float32], pairs: NDArray[np.integer], W: NDArray[np.float64]
) -> tuple[float, float, float]:
    """Seconds of mapping all sources, of all, and the loss."""
    X, Y = X.astype(np.float64), Y.astype(np.float64)
    begin = time.perf_counter()
    M = X @ W
    mapped = time.perf_counter()
    x, y, k = X[pairs[:, 0]], Y[pairs[:, 1]], 10
    gradient = 2 * x.T @ y
    for queries, rows, others, space in ((x @ W, x, Y, Y), (y, y, X, M)):
        scores = queries @ space.T
        near = others[np.argpartition(scores, -k, axis=1)[:, -k:]].mean(axis=1)
        gradient -= rows.T @ near if others is Y else near.T @ rows
    loss = -float(np.sum(gradient * W)) / len(pairs)
    return mapped - begin, time.perf_counter() - begin, loss


def _time_peer(
    script: Path,
    X: NDArray[np.float32],
    Y: NDArray[np.float32],
    pairs: NDArray[np.integer],
    W: NDArray[np.float64],
) -> tuple[float, float, float]:
    """The same of the original."""
    with tempfile.TemporaryDirectory() as folder:
        for name, array in (("X", X), ("Y", Y), ("pairs", pairs), ("W", W)):
            np.save(Path(folder) / f"{name}.npy", array)
        run = subprocess.run(
            [sys.executable, "-c", _PEER, folder, str(script)], capture_output=True, text=True, check=True
        )
    fixed, seconds, loss = json.loads(run.stdout)
    return fixed, seconds, loss


if __name__ == "__main__":
    print(json.dumps(run(peer=sys.argv[1] if len(sys.argv) > 1 else None), indent=1))
