"""The E-step on an executor: each chunk of the text is a task.

The text and its pair table are written to a folder once, the parameters once a pass; a task names files and
a range of sentence pairs, and maps the files into its memory, so that nothing of the size of the text or of
the table is sent. What comes back are the likely cells of the chunk in order. The sums over them are made
here, in the order of the text: every executor gives the same bytes as :func:`expect`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from align.errors import InputError
from align.parallel import in_order
from align.wordalign.accumulation import (
    LinkArrays,
    add_entries,
    add_left,
    join_links,
    likely_entries,
    links_above,
)
from align.wordalign.bitext import Bitext
from align.wordalign.expectation import (
    INDEPENDENT,
    EStep,
    Expectation,
    Parameters,
    chunk_bounds,
    chunk_posteriors,
    expect,
)
from align.wordalign.pairs import PairTable

_TEXT = ("src_ids", "src_offsets", "tgt_ids", "tgt_offsets")
_PAIRS = ("indptr", "tgt", "cell_offsets")
_PARAMETERS = ("table", "null_tgt", "null_src", "jumps")


@dataclass(frozen=True, eq=False)
class SharedText:
    """A bitext and its pair table in a folder that the workers of ``pool`` see."""

    bitext: Bitext
    pairs: PairTable
    pool: Executor
    folder: Path

    def expect(self, parameters: Parameters, *, mode: int, threshold: float = np.inf) -> Expectation:
        """As :func:`align.wordalign.expectation.expect`, to the bit, with the posteriors from the executor.

        Memory here: that of ``expect`` and the likely cells of 16 chunks, a few MiB.

        Raises
        ------
        InputError
            A worker does not see the folder.
        """
        bitext, pairs = self.bitext, self.pairs
        with tempfile.TemporaryDirectory(dir=self.folder) as made:
            for name in _PARAMETERS:
                np.save(Path(made) / f"{name}.npy", getattr(parameters, name))
            counts = np.zeros((pairs.n_rows, 2 if mode == INDEPENDENT else 1), dtype=np.float32)
            null_tgt, null_src = np.zeros(bitext.n_tgt_types), np.zeros(bitext.n_src_types)
            jumps, log_likelihood = np.zeros_like(parameters.jumps), np.zeros(2)
            found: list[LinkArrays] = []
            bounds = chunk_bounds(pairs)
            sizes = (bitext.n_src_types, bitext.n_tgt_types)
            common = (str(self.folder), sizes, made, parameters.null_prob, mode, threshold)
            results = in_order(self.pool, _posteriors_of, ((*common, *ends) for ends in bounds))
            for (start, stop), (rows, weights, left_tgt, left_src, made_jumps, value, links) in zip(
                bounds, results, strict=True
            ):
                add_entries(rows, weights, counts)
                add_left(bitext.tgt_ids[slice(*bitext.tgt_offsets[[start, stop]])], left_tgt, null_tgt)
                add_left(bitext.src_ids[slice(*bitext.src_offsets[[start, stop]])], left_src, null_src)
                jumps += made_jumps
                log_likelihood += value
                if links is not None:
                    found.append(links)
        return Expectation(counts, null_tgt, null_src, jumps, log_likelihood, join_links(found))


@contextmanager
def share_text(
    bitext: Bitext, pairs: PairTable, pool: Executor, *, folder: Path | None = None
) -> Iterator[SharedText]:
    """Write a text for the workers of an executor; the files are removed at the end of the block.

    Parameters
    ----------
    pool : Executor
        Such as :func:`align.parallel.executor` gives.
    folder : Path, optional
        Where the files go: a place that all workers see. The system's temporary folder if left out.
    """
    with tempfile.TemporaryDirectory(dir=folder, prefix="wordalign-") as made:
        for name in _TEXT:
            np.save(Path(made) / f"{name}.npy", getattr(bitext, name))
        for name in _PAIRS:
            np.save(Path(made) / f"{name}.npy", getattr(pairs, name))
        yield SharedText(bitext, pairs, pool, Path(made))


@contextmanager
def e_steps(bitext: Bitext, pairs: PairTable, pool: Executor | None) -> Iterator[EStep]:
    """The E-step over a text: here, or on an executor."""
    if pool is None:
        yield partial(expect, bitext, pairs)
    else:
        with share_text(bitext, pairs, pool) as text:
            yield text.expect


def _posteriors_of(
    folder: str,
    sizes: tuple[int, int],
    parameter_folder: str,
    null_prob: float,
    mode: int,
    threshold: float,
    start: int,
    stop: int,
) -> tuple[Any, ...]:
    bitext, pairs = _shared(folder, *sizes)
    arrays = {name: _mapped(parameter_folder, name) for name in _PARAMETERS}
    parameters = Parameters(null_prob=null_prob, **arrays)
    chunk = chunk_posteriors(bitext, pairs, parameters, start, stop, mode)
    links = None
    if threshold < np.inf:
        links = links_above(
            bitext.src_offsets, bitext.tgt_ids, bitext.tgt_offsets, pairs.cell_offsets,
            start, stop, chunk.weights, threshold,
        )  # fmt: skip
    return (
        *likely_entries(chunk.cells, chunk.weights),
        chunk.left_tgt,
        chunk.left_src,
        chunk.jumps,
        chunk.log_likelihood,
        links,
    )


@lru_cache(maxsize=1)
def _shared(folder: str, n_src_types: int, n_tgt_types: int) -> tuple[Bitext, PairTable]:
    # one text at a time stays open in a worker; its folder's name is new for every text
    text = {name: _mapped(folder, name) for name in _TEXT}
    bitext = object.__new__(Bitext)
    for name, value in {**text, "n_src_types": n_src_types, "n_tgt_types": n_tgt_types}.items():
        # checked when it was first made
        object.__setattr__(bitext, name, value)
    return bitext, PairTable(**{name: _mapped(folder, name) for name in _PAIRS})


def _mapped(folder: str, name: str) -> NDArray[Any]:
    path = Path(folder) / f"{name}.npy"
    try:
        # a plain array over the mapped file: kernels take it like any other
        return np.asarray(np.load(path, mmap_mode="c", allow_pickle=False))
    except FileNotFoundError as error:
        raise InputError(
            "a worker does not see the shared text",
            where=path,
            hint="give a folder that all workers see under the same name",
        ) from error
