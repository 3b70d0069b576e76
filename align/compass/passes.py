"""Passes over streams of word ids: what is drawn from, how text becomes jobs, and threads over them."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from align.compass.kernels import MAX_LOGIT, N_SIGMOIDS, SENTENCE_END, fill_alias, train_span
from align.compass.options import Word2VecOptions, first_rate
from align.compass.row_code import LANES

_JOB_TOKENS = 10_000


@dataclass(frozen=True, eq=False)
class Tables:
    """What predictions are made from, beside the two matrices.

    Attributes
    ----------
    starts : int64 array, shape (n_words + 1,) or (0,)
    rows : int32 array
        Input rows of every word; empty where word i has row i alone.
    keep : uint64 array, shape (n_words,)
        2^32 times the probability that an occurrence is kept.
    alias : uint32 array, shape (n_words, 2)
        Of the distribution of negatives; see :func:`align.compass.kernels.fill_alias`.
    """

    starts: NDArray[np.int64]
    rows: NDArray[np.int32]
    keep: NDArray[np.uint64]
    alias: NDArray[np.uint32]

    @classmethod
    def of(
        cls,
        counts: NDArray[np.int64],
        starts: NDArray[np.int64],
        rows: NDArray[np.int32],
        options: Word2VecOptions,
    ) -> Tables:
        """Make the tables of words of these counts."""
        alias = np.empty((len(counts), 2), np.uint32)
        weights = np.where(counts > 0, counts.astype(np.float64) ** options.ns_exponent, 0.0)
        fill_alias(weights, alias)
        return cls(starts, rows, keep_thresholds(counts, options.subsample), alias)


@dataclass(frozen=True)
class Job:
    """Whole sentences of one stream, in one pass, and the learning rate at their first and last word."""

    epoch: int
    stream: int
    start: int
    stop: int
    first_rate: float
    last_rate: float
    seed: int


def run_passes(
    streams: Sequence[NDArray[np.int32]],
    inputs: NDArray[np.float32],
    output: NDArray[np.float32],
    tables: Tables,
    *,
    n_epochs: int,
    options: Word2VecOptions,
    learn_output: bool,
) -> tuple[float, ...]:
    """Train padded matrices in place with compiled kernels; the mean loss of every pass.

    What is drawn depends on the seed alone. Threads take one job after another, and read and write rows
    without locks, so that only one thread gives the same bytes each time.
    """
    jobs = list(plan_jobs(streams, n_epochs=n_epochs, options=options))
    sigmoids = _sigmoids()
    losses, n_looked = np.zeros(n_epochs), np.zeros(n_epochs)
    following = itertools.count()
    lock = threading.Lock()

    def work() -> None:
        scratch = aligned_zeros(2, inputs.shape[1])
        while (n := next(following)) < len(jobs):
            job = jobs[n]
            loss, looked = train_span(
                streams[job.stream],
                job.start,
                job.stop,
                inputs,
                output,
                tables.starts,
                tables.rows,
                tables.keep,
                tables.alias,
                sigmoids,
                scratch,
                options.window,
                options.n_negatives,
                options.architecture == "skipgram",
                learn_output,
                job.first_rate,
                job.last_rate,
                np.uint64(job.seed),
            )
            with lock:
                losses[job.epoch] += loss
                n_looked[job.epoch] += looked

    if options.threads == 1:
        work()
    else:
        with ThreadPoolExecutor(options.threads) as pool:
            for future in [pool.submit(work) for _ in range(options.threads)]:
                future.result()
    return tuple((losses / np.maximum(n_looked, 1)).tolist())


def plan_jobs(
    streams: Sequence[NDArray[np.int32]], *, n_epochs: int, options: Word2VecOptions
) -> Iterator[Job]:
    """Every pass as jobs of about 10,000 words, in an order drawn for each."""
    spans = [(k, *span) for k, stream in enumerate(streams) for span in _spans(stream)]
    sizes = np.array([stop - start for _, start, stop in spans], np.float64)
    rng = np.random.default_rng([options.seed, 1])
    highest = first_rate(options)
    for epoch in range(n_epochs):
        order = rng.permutation(len(spans))
        seeds = rng.integers(2**63, size=len(spans)).tolist()
        done = (epoch + np.append(0.0, np.cumsum(sizes[order])) / sizes.sum()) / n_epochs
        rates = (highest + (options.min_learning_rate - highest) * done).tolist()
        for n, at in enumerate(order.tolist()):
            stream, start, stop = spans[at]
            yield Job(epoch, stream, start, stop, rates[n], rates[n + 1], seeds[n])


def aligned_zeros(n_rows: int, pitch: int) -> NDArray[np.float32]:
    """A matrix whose rows begin at cache lines."""
    flat = np.zeros(n_rows * pitch + LANES, np.float32)
    skip = (-flat.ctypes.data // 4) % LANES
    return flat[skip : skip + n_rows * pitch].reshape(n_rows, pitch)


def keep_thresholds(counts: NDArray[np.int64], subsample: float) -> NDArray[np.uint64]:
    """2^32 times the probability that an occurrence is kept; 0 for words that have none.

    ``(sqrt(f / t) + 1) * t / f`` for a word of share f and threshold t, as word2vec.c and gensim compute it.
    """
    kept = np.ones(len(counts))
    if subsample > 0:
        ratio = counts / (subsample * counts.sum())
        kept = np.divide(np.sqrt(ratio) + 1, ratio, out=kept, where=ratio > 0)
    return np.where(counts > 0, np.minimum(kept, 1.0) * 2.0**32, 0).astype(np.uint64)


def _sigmoids() -> NDArray[np.float32]:
    middles = ((np.arange(N_SIGMOIDS) + 0.5) / N_SIGMOIDS * 2 - 1) * MAX_LOGIT
    return (1 / (1 + np.exp(-middles))).astype(np.float32)


def _spans(stream: NDArray[np.int32]) -> Iterator[tuple[int, int]]:
    start, n = 0, len(stream)
    while start < n:
        stop = min(start + _JOB_TOKENS, n)
        while stop < n and stream[stop - 1] != SENTENCE_END:
            ends = np.flatnonzero(stream[stop : stop + _JOB_TOKENS] == SENTENCE_END)
            stop = stop + int(ends[0]) + 1 if len(ends) else min(stop + _JOB_TOKENS, n)
        yield start, stop
        start = stop
