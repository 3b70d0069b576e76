"""word2vec with negative sampling, whose output matrix can be held fixed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from align.compass.options import Word2VecOptions, check_options, epochs_for
from align.compass.passes import Tables, aligned_zeros, run_passes
from align.compass.row_code import LANES
from align.compass.subwords import mean_rows, subword_rows
from align.errors import InputError, UsageError
from align.memory import require_bytes


@dataclass(frozen=True, eq=False)
class Fit:
    """What training leaves.

    Attributes
    ----------
    vectors : float32 array, shape (n_words, dim)
        Of the words: their rows of `inputs`, or the mean of these and their n-grams' rows.
    inputs : float32 array, shape (n_words, dim) or (n_words + n_buckets, dim)
        The input matrix.
    output : float32 array, shape (n_words, dim)
        The output matrix; the very array that was given where it was held fixed.
    history : tuple of float
        Mean loss of a prediction (one word and its negatives), pass by pass, from a 32nd of them.
    n_epochs : int
        Passes made.
    n_tokens : int
        Words of a pass, before any was left out for being frequent.
    """

    vectors: NDArray[np.float32]
    inputs: NDArray[np.float32]
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
    inputs: NDArray[np.float32] | None = None,
    output: NDArray[np.float32] | None = None,
    learn_output: bool = True,
) -> Fit:
    """Train word vectors on streams of word ids.

    Parameters
    ----------
    streams : sequence of int32 arrays
        Word ids, -1 after every sentence; memory-mapped ones are read once a pass.
    counts : int64 array, shape (n_words,)
        Occurrences of every word in the streams, which the choice of negatives and of occurrences left out
        goes by. Occurrences of a word whose count is 0 are passed over as if they were not there.
    options : Word2VecOptions
    words : sequence of str, optional
        Needed for character n-grams.
    inputs, output : float32 arrays, optional
        What to begin with, shaped as in the result; copied. By default `output` is zero, and `inputs` is
        drawn evenly from [-1, 1] / dim, beside a given `output` from [-0.5, 0.5] / dim.
    learn_output : bool
        If false `output` is not written to.

    Returns
    -------
    Fit

    Raises
    ------
    InputError
        If no occurrence is left to train on, a matrix has another shape, or memory does not suffice.
    UsageError
        For an option out of range, or n-grams without `words`.
    UnavailableError
        For a torch device that is not there.

    Notes
    -----
    Time grows in proportion to words times passes. Memory: two matrices, twice while they are handed over,
    ``16 * n_rows * dim`` bytes, and the streams, 4 bytes a word.

    What is followed where word2vec.c, gensim 4 and fastText differ: rare words go before windows are taken,
    frequent ones too; the mean of a window is taken and the gradient goes to each of its words whole;
    negatives equal to the word are left out, not drawn again; beyond a logit of 6 the logistic function is 0
    or 1 (word2vec.c; gensim leaves such a prediction out, so that a wrong one is never mended); sentences
    have no largest length; of n-grams, the mean with the word is taken and the gradient goes to each whole
    (fastText); inputs begin as wide as in gensim 4 and fastText, twice as wide as in word2vec.c: beside an
    output of zeros the first steps are in proportion to them. Parts of the text are visited in an order drawn
    anew for each pass. Where none of them has a bound, a step is shortened so that it moves the logit it is
    for by twice the error of the answer at most; without this, rows that have grown long grow without end at
    high learning rates.

    References
    ----------
    Mikolov et al. 2013, "Distributed Representations of Words and Phrases and their Compositionality",
    equation 4. Bojanowski et al. 2017 for n-grams. Recht et al. 2011, "Hogwild!", for the threads.
    """
    check_options(options)
    counts = np.asarray(counts, np.int64)
    n_tokens = int(counts.sum())
    if n_tokens == 0:
        raise InputError("no word is left to train on", got=f"{len(counts):,} words, no occurrence")
    starts, rows = np.empty(0, np.int64), np.empty(0, np.int32)
    if options.min_n:
        if words is None:
            raise UsageError("character n-grams need the words", where="words")
        starts, rows = subword_rows(
            words, min_n=options.min_n, max_n=options.max_n, n_buckets=options.n_buckets
        )
    n_rows = len(counts) + (options.n_buckets if options.min_n else 0)
    pitch = -(-options.dim // LANES) * LANES
    require_bytes(
        4 * (pitch + options.dim) * (n_rows + len(counts)),
        where=f"{n_rows:,} rows of {options.dim}",
        hint="Take fewer words (min_count, max_words), n_buckets or a smaller dim",
    )
    first = _begin(inputs, n_rows, pitch, options, bound=1.0 if output is None else 0.5)
    second = _begin(output, len(counts), pitch, options, bound=0.0)
    n_epochs = options.epochs if options.epochs is not None else epochs_for(n_tokens, options.updates)
    tables = Tables.of(counts, starts, rows, options)
    if options.device is None:
        history = run_passes(
            streams, first, second, tables, n_epochs=n_epochs, options=options, learn_output=learn_output
        )
    else:
        from align.compass.torch_passes import run_torch_passes

        history = run_torch_passes(
            streams, first, second, tables, n_epochs=n_epochs, options=options, learn_output=learn_output
        )
    whole = np.ascontiguousarray(first[:, : options.dim])
    return Fit(
        mean_rows(whole, starts, rows) if options.min_n else whole,
        whole,
        output if output is not None and not learn_output else np.ascontiguousarray(second[:, : options.dim]),
        history,
        n_epochs,
        n_tokens,
    )


def _begin(
    given: NDArray[np.float32] | None, n_rows: int, pitch: int, options: Word2VecOptions, *, bound: float
) -> NDArray[np.float32]:
    matrix = aligned_zeros(n_rows, pitch)
    inner = matrix[:, : options.dim]
    if given is not None:
        if given.shape != inner.shape:
            raise InputError("a matrix of another shape", got=given.shape, wanted=inner.shape)
        inner[:] = given
    elif bound:
        rng = np.random.default_rng(options.seed)
        drawn = rng.random(inner.shape, np.float32) - np.float32(0.5)
        inner[:] = drawn / np.float32(options.dim / (2 * bound))
    return matrix
