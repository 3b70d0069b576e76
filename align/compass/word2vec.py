"""word2vec with negative sampling, whose output matrix can be held fixed."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from align.compass.kernels import MAX_LOGIT, N_SIGMOIDS, SENTENCE_END, fill_alias, mix, train_span
from align.compass.options import Word2VecOptions, check_options, epochs_for
from align.compass.row_code import LANES
from align.errors import InputError

_JOB_TOKENS = 10_000


@dataclass(frozen=True, eq=False)
class Fit:
    """What training leaves.

    Attributes
    ----------
    vectors : float32 array, shape (n_words, dim)
        The input matrix: a row for every word, the mean of its n-grams' rows where there are n-grams.
    output : float32 array, shape (n_words, dim)
        The output matrix; the very one that was given where it was held fixed.
    history : tuple of float
        Mean loss of a prediction (one word and its negatives), pass by pass, from a 32nd of them.
    n_epochs : int
        Passes made.
    n_tokens : int
        Words of a pass, before any was left out for being frequent.
    """

    vectors: NDArray[np.float32]
    output: NDArray[np.float32]
    history: tuple[float, ...]
    n_epochs: int
    n_tokens: int


def train_word2vec(
    streams: Sequence[NDArray[np.int32]],
    counts: NDArray[np.int64],
    *,
    options: Word2VecOptions = Word2VecOptions(),  # noqa: B008 - frozen
    words: Sequence[str] | None = None,
    vectors: NDArray[np.float32] | None = None,
    output: NDArray[np.float32] | None = None,
    learn_output: bool = True,
) -> Fit:
    """Train word vectors on streams of word ids.

    Parameters
    ----------
    streams : sequence of int32 arrays
        Word ids, ``SENTENCE_END`` (-1) after every sentence; memory-mapped ones are read once a pass.
    counts : int64 array, shape (n_words,)
        Occurrences of every word in the streams, which the choice of negatives and of occurrences left out
        goes by. Occurrences of a word whose count is 0 are passed over as if they were not there.
    options : Word2VecOptions
    words : sequence of str, optional
        For character n-grams.
    vectors, output : float32 arrays, shape (n_words, dim), optional
        What to begin with; copied. By default `vectors` is drawn evenly from [-0.5, 0.5] / dim and `output`
        is zero. With n-grams `vectors` gives the words' own rows.
    learn_output : bool
        If false `output` is not written to.

    Returns
    -------
    Fit

    Raises
    ------
    InputError
        If no occurrence is left to train on.
    UsageError
        For an option out of range.

    Notes
    -----
    Time grows in proportion to words times passes. Memory ``8 * n_words * dim`` bytes and the streams,
    4 bytes a word.

    What is followed where word2vec.c, gensim 4 and fastText differ: rare words go before windows are taken,
    frequent ones too; the mean of a window is taken and the gradient goes to each of its words whole;
    negatives equal to the word are left out, not drawn again; beyond a logit of 6 the logistic function is 0
    or 1 (word2vec.c; gensim leaves such a prediction out, so that a wrong one is never mended); sentences
    have no largest length; of n-grams, the mean with the word is taken and the gradient goes to each whole
    (fastText). Parts of the text are visited in an order drawn anew for each pass.

    References
    ----------
    Mikolov et al. 2013, "Distributed Representations of Words and Phrases and their Compositionality",
    equation 4. Recht et al. 2011, "Hogwild!", for the threads.
    """
    check_options(options)
    counts = np.asarray(counts, np.int64)
    n_words, pitch = len(counts), -(-options.dim // LANES) * LANES
    n_tokens = int(counts.sum())
    if n_tokens == 0:
        raise InputError("no word is left to train on", got=f"{n_words:,} words, no occurrence")
    rng = np.random.default_rng(options.seed)
    inner = aligned_zeros(n_words, pitch)
    if vectors is None:
        inner[:, : options.dim] = (
            rng.random((n_words, options.dim), np.float32) - np.float32(0.5)
        ) / options.dim
    else:
        inner[:, : options.dim] = vectors
    outer = aligned_zeros(n_words, pitch)
    if output is not None:
        outer[:, : options.dim] = output
    row_starts, rows = np.empty(0, np.int64), np.empty(0, np.int32)
    n_epochs = options.epochs if options.epochs is not None else epochs_for(n_tokens)
    history = run_passes(
        streams,
        inner,
        outer,
        row_starts,
        rows,
        counts,
        n_epochs=n_epochs,
        options=options,
        learn_output=learn_output,
    )
    return Fit(
        inner[:, : options.dim].copy(),
        outer[:, : options.dim].copy() if learn_output or output is None else output,
        history,
        n_epochs,
        n_tokens,
    )


def run_passes(
    streams: Sequence[NDArray[np.int32]],
    vectors: NDArray[np.float32],
    output: NDArray[np.float32],
    row_starts: NDArray[np.int64],
    rows: NDArray[np.int32],
    counts: NDArray[np.int64],
    *,
    n_epochs: int,
    options: Word2VecOptions,
    learn_output: bool,
) -> tuple[float, ...]:
    """Train padded matrices in place; the mean loss of every pass."""
    jobs = [(k, *span) for k, stream in enumerate(streams) for span in _spans(stream)]
    sizes = np.array([stop - start for _, start, stop in jobs], np.float64)
    rng = np.random.default_rng([options.seed, 1])
    keep, alias, sigmoids = keep_thresholds(counts, options.subsample), _alias(counts, options), _sigmoids()
    losses, looked = np.zeros(n_epochs), np.zeros(n_epochs)
    queue: list[tuple[int, int, int, int, float, float, int]] = []
    for epoch in range(n_epochs):
        order = rng.permutation(len(jobs))
        done = (epoch + np.append(0.0, np.cumsum(sizes[order])) / sizes.sum()) / n_epochs
        rates = options.learning_rate + (options.min_learning_rate - options.learning_rate) * done
        for place, job in enumerate(order.tolist()):
            k, start, stop = jobs[job]
            queue.append((epoch, k, start, stop, float(rates[place]), float(rates[place + 1]), job))
    seeds = np.array(
        [mix(np.uint64(s)) for s in rng.integers(2**63, size=n_epochs * len(streams))], np.uint64
    )
    following = itertools.count()
    lock = threading.Lock()

    def work() -> None:
        scratch = aligned_zeros(2, vectors.shape[1])
        while (n := next(following)) < len(queue):
            epoch, k, start, stop, first, last, _ = queue[n]
            loss, n_looked = train_span(
                streams[k],
                start,
                stop,
                vectors,
                output,
                row_starts,
                rows,
                keep,
                alias,
                sigmoids,
                scratch,
                options.window,
                options.n_negatives,
                options.architecture == "skipgram",
                learn_output,
                first,
                last,
                seeds[epoch * len(streams) + k],
            )
            with lock:
                losses[epoch] += loss
                looked[epoch] += n_looked

    if options.threads == 1:
        work()
    else:
        with ThreadPoolExecutor(options.threads) as pool:
            for future in [pool.submit(work) for _ in range(options.threads)]:
                future.result()
    return tuple((losses / np.maximum(looked, 1)).tolist())


def aligned_zeros(n_rows: int, pitch: int) -> NDArray[np.float32]:
    """A matrix whose rows begin at cache lines."""
    flat = np.zeros(n_rows * pitch + LANES, np.float32)
    skip = (-flat.ctypes.data // 4) % LANES
    return flat[skip : skip + n_rows * pitch].reshape(n_rows, pitch)


def keep_thresholds(counts: NDArray[np.int64], subsample: float) -> NDArray[np.uint64]:
    """2^32 times the probability that an occurrence is kept; 0 for words that have none.

    ``(sqrt(f / t) + 1) * t / f`` for a word of share f and threshold t, as word2vec.c and gensim compute it.
    """
    shares = counts / max(int(counts.sum()), 1)
    kept = np.ones(len(counts))
    if subsample > 0:
        ratio = np.divide(shares, subsample, out=np.zeros(len(counts)), where=counts > 0)
        kept = np.divide(np.sqrt(ratio) + 1, ratio, out=kept, where=ratio > 0)
    return np.where(counts > 0, np.minimum(kept, 1.0) * 2.0**32, 0).astype(np.uint64)


def _alias(counts: NDArray[np.int64], options: Word2VecOptions) -> NDArray[np.uint32]:
    table = np.empty((len(counts), 2), np.uint32)
    fill_alias(np.where(counts > 0, counts, 0).astype(np.float64) ** options.ns_exponent, table)
    return table


def _sigmoids() -> NDArray[np.float32]:
    middles = ((np.arange(N_SIGMOIDS) + 0.5) / N_SIGMOIDS * 2 - 1) * MAX_LOGIT
    return (1 / (1 + np.exp(-middles))).astype(np.float32)


def _spans(stream: NDArray[np.int32]) -> list[tuple[int, int]]:
    """Whole sentences of about 10,000 words each, as (start, stop) in the stream."""
    spans = []
    start, n = 0, len(stream)
    while start < n:
        stop = min(start + _JOB_TOKENS, n)
        while stop < n and stream[stop - 1] != SENTENCE_END:
            ends = np.flatnonzero(stream[stop : stop + _JOB_TOKENS] == SENTENCE_END)
            stop = stop + int(ends[0]) + 1 if len(ends) else min(stop + _JOB_TOKENS, n)
        spans.append((start, stop))
        start = stop
    return spans
