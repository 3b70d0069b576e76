"""Lengths of mixed rows: convex combinations shrink, and a policy says to what length they are brought."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from vocab.plan.low_rank import LowRank
from vocab.tokens import Vocabulary
from vocab.tokens.scripts import script_classes

Norm = Literal["none", "sources", "source-mean", "script-median"]


def wanted_norms(
    norm: Norm,
    old: NDArray[Any],
    weights: sp.csr_array,
    low_rank: Sequence[LowRank],
    scripts: tuple[NDArray[np.int32], NDArray[np.int32]] | None,
) -> NDArray[np.float64]:
    """Length that a policy wants of each new row, shape (n_tgt,); see :class:`vocab.plan.TransferPlan`."""
    lengths = np.linalg.norm(old, axis=1).astype(np.float64)
    if norm == "source-mean":
        return np.full(weights.shape[0], lengths.mean())
    if norm == "script-median" and scripts is not None:
        new_scripts, old_scripts = scripts
        wanted = np.full(weights.shape[0], np.median(lengths))
        for script in np.unique(new_scripts[new_scripts >= 0]):
            wanted[new_scripts == script] = np.median(lengths[old_scripts == script])
        return wanted
    magnitudes = abs(weights)
    total = np.asarray(magnitudes.sum(axis=1)).ravel().astype(np.float64)
    summed = magnitudes @ lengths
    for part in low_rank:  # its single weights are not known: every anchor counts alike
        weight = np.abs(part.sums())
        total[part.rows] += weight
        summed[part.rows] += weight * lengths[part.anchors].mean()
    return summed / np.maximum(total, np.finfo(np.float32).tiny)


def script_numbers(src: Vocabulary, tgt: Vocabulary) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """A number for the script of every new and of every old token, for ``"script-median"``.

    It is -1 for special tokens, and for scripts that fewer than two old tokens are written in.
    """
    of_tgt, of_src = (
        [None if entry is None else entry[0] for entry in script_classes(side, positions=False)]
        for side in (tgt, src)
    )
    sizes = Counter(script for script in of_src if script is not None)
    number = {script: i for i, script in enumerate(sorted(s for s, size in sizes.items() if size > 1))}
    new, old = (
        np.array([number.get(script or "", -1) for script in side], np.int32) for side in (of_tgt, of_src)
    )
    return new, old


def rescale(new: NDArray[Any], wanted: NDArray[np.float64], rows: NDArray[np.bool_]) -> None:
    """Bring some of the new rows to a length; those of zeros stay."""
    norms = np.linalg.norm(new, axis=1)
    rows = rows & (norms > 0)
    new[rows] *= (wanted[rows] / norms[rows])[:, None].astype(new.dtype)
