"""Compiled leaves of word2vec: one span of sentences, CBOW or skip-gram, with negative sampling."""

from __future__ import annotations

import math

import numba as nb
import numpy as np
from numpy.typing import NDArray

from align.compass.row_code import LANES, add_row, dot_rows, exchange_rows, set_row
from align.neighbors.vector_code import prefetch

SENTENCE_END = -1
MAX_LOGIT = 6.0
MAX_STEP = 2.0  # one answer moves its own logit by no more than this times its error
N_SIGMOIDS = 1000
_LOSS_EVERY = 32  # of how many target words one is looked at for the loss
_AHEAD = 2  # predictions of which the next is prepared, its rows asked for, before one is learned
_WEYL = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31, _S32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)
_LOW = np.uint64(0xFFFFFFFF)


@nb.njit(cache=True, nogil=True)
def mix(state: np.uint64) -> np.uint64:
    """Random bits of a counter: the output function of SplitMix64."""
    z = (state ^ (state >> _S30)) * _MIX_1
    z = (z ^ (z >> _S27)) * _MIX_2
    return z ^ (z >> _S31)


@nb.njit(cache=True, nogil=True)
def fill_alias(weights: NDArray[np.float64], table: NDArray[np.uint32]) -> None:
    """Walker's alias table: of cell i, ``table[i, 0] / 2^32`` is for i and the rest for ``table[i, 1]``."""
    n = weights.size
    share = weights * (n / weights.sum())
    small, large = np.empty(n, np.int64), np.empty(n, np.int64)
    n_small = n_large = 0
    for i in range(n):
        table[i, 0], table[i, 1] = np.uint32(0xFFFFFFFF), np.uint32(i)
        if share[i] < 1.0:
            small[n_small] = i
            n_small += 1
        else:
            large[n_large] = i
            n_large += 1
    while n_small and n_large:
        n_small -= 1
        less, more = small[n_small], large[n_large - 1]
        table[less, 0] = np.uint32(share[less] * 4294967295.0)
        table[less, 1] = np.uint32(more)
        share[more] -= 1.0 - share[less]
        if share[more] < 1.0:
            n_large -= 1
            small[n_small] = more
            n_small += 1


@nb.njit(cache=True, nogil=True)
def train_span(
    tokens: NDArray[np.int32],
    begin: int,
    end: int,
    vectors: NDArray[np.float32],
    output: NDArray[np.float32],
    row_starts: NDArray[np.int64],
    rows: NDArray[np.int32],
    keep: NDArray[np.uint64],
    alias: NDArray[np.uint32],
    sigmoids: NDArray[np.float32],
    scratch: NDArray[np.float32],
    window: int,
    n_negatives: int,
    skipgram: bool,
    learn_output: bool,
    first_rate: float,
    last_rate: float,
    seed: np.uint64,
) -> tuple[float, int]:
    """Train on ``tokens[begin:end]``, whole sentences; the learning rate falls linearly over the span.

    Parameters
    ----------
    tokens : word ids, ``SENTENCE_END`` after every sentence
    vectors, output : padded rows, changed in place; `output` only with `learn_output`
    row_starts, rows : rows of `vectors` that make up a word; empty where word i is row i
    keep : probability times 2^32 that an occurrence stays
    alias : of the distribution that negatives are drawn from
    sigmoids : the logistic function in the middle of ``N_SIGMOIDS`` cells of [-MAX_LOGIT, MAX_LOGIT]
    scratch : two padded rows; an argument, because an array whose address alone is used would be freed

    Returns
    -------
    loss : float
        Sum over the predictions that were looked at.
    n_looked : int
    """
    n_steps = vectors.shape[1] // LANES
    pitch = 4 * vectors.shape[1]
    in_base, out_base = vectors.ctypes.data, output.ctypes.data
    plain = row_starts.size == 0
    most_rows = 1
    for word in range(row_starts.size - 1):
        most_rows = max(most_rows, row_starts[word + 1] - row_starts[word])
    room, n_drawn = 2 * window * most_rows, n_negatives + 1
    inputs, targets = np.empty(_AHEAD * room, np.int64), np.empty(_AHEAD * n_drawn, np.int64)
    n_inputs, n_targets = np.zeros(_AHEAD, np.int64), np.zeros(_AHEAD, np.int64)
    rates = np.zeros(_AHEAD, np.float32)
    sentence = np.empty(end - begin, np.int32)
    n_words = np.uint64(alias.shape[0])
    fall = (last_rate - first_rate) / max(end - begin, 1)
    loss, n_looked, n_made = 0.0, 0, 0
    at = begin
    while at < end:
        state = mix(seed + np.uint64(at) * _WEYL)
        rate = np.float32(first_rate + fall * (at - begin))
        length = 0
        while at < end and tokens[at] != SENTENCE_END:
            word = tokens[at]
            state += _WEYL
            if (mix(state) >> _S32) < keep[word]:
                sentence[length] = word
                length += 1
            at += 1
        at += 1
        for i in range(length):
            state += _WEYL
            reach = window - int(np.int64(((mix(state) >> _S32) * np.uint64(window)) >> _S32))
            left, right = max(i - reach, 0), min(i + reach + 1, length)
            if plain and i + window + _AHEAD < length:
                fetch(in_base + pitch * np.int64(sentence[i + window + _AHEAD]), n_steps)
            slot = n_made % _AHEAD
            n = 0
            for j in range(left, right):
                if j == i:
                    continue
                if plain:
                    inputs[slot * room + n] = in_base + pitch * np.int64(sentence[j])
                    n += 1
                else:
                    for k in range(row_starts[sentence[j]], row_starts[sentence[j] + 1]):
                        inputs[slot * room + n] = in_base + pitch * np.int64(rows[k])
                        n += 1
                if not skipgram and j + 1 < right and not (j + 1 == i and i + 1 == right):
                    continue
                # the prediction is complete; one that was made before is learned now
                n_inputs[slot], rates[slot] = n, rate
                n_targets[slot], state = draw(
                    targets, slot * n_drawn, sentence[i], n_negatives, n_words, alias, out_base, pitch, state
                )
                for k in range(n_targets[slot]):
                    fetch(targets[slot * n_drawn + k], n_steps)
                n_made += 1
                slot, n = n_made % _AHEAD, 0
                if n_made >= _AHEAD:
                    looked = n_made % _LOSS_EVERY == 0
                    n_looked += looked
                    loss += learn(
                        inputs[slot * room : slot * room + n_inputs[slot]],
                        targets[slot * n_drawn : slot * n_drawn + n_targets[slot]],
                        scratch,
                        n_steps,
                        sigmoids,
                        rates[slot],
                        learn_output,
                        looked,
                    )
    for late in range(max(n_made - _AHEAD + 1, 0), n_made):
        slot = late % _AHEAD
        learn(
            inputs[slot * room : slot * room + n_inputs[slot]],
            targets[slot * n_drawn : slot * n_drawn + n_targets[slot]],
            scratch,
            n_steps,
            sigmoids,
            rates[slot],
            learn_output,
            False,
        )
    return loss, n_looked


@nb.njit(cache=True, nogil=True)
def fetch(address: int, n_steps: int) -> None:
    """Ask for a row before it is needed."""
    for step in range(n_steps):
        prefetch(address + 4 * LANES * step)


@nb.njit(cache=True, nogil=True)
def draw(
    targets: NDArray[np.int64],
    first: int,
    word: int,
    n_negatives: int,
    n_words: np.uint64,
    alias: NDArray[np.uint32],
    base: int,
    pitch: int,
    state: np.uint64,
) -> tuple[int, np.uint64]:
    """Addresses of the output rows of the word and of its negatives; draws of the word itself go."""
    targets[first] = base + pitch * np.int64(word)
    n = 1
    for _ in range(n_negatives):
        state += _WEYL
        bits = mix(state)
        cell = np.int64(((bits >> _S32) * n_words) >> _S32)
        drawn = cell if (bits & _LOW) < np.uint64(alias[cell, 0]) else np.int64(alias[cell, 1])
        targets[first + n] = base + pitch * drawn
        n += drawn != word
    return n, state


@nb.njit(cache=True, nogil=True)
def learn(
    inputs: NDArray[np.int64],
    targets: NDArray[np.int64],
    scratch: NDArray[np.float32],
    n_steps: int,
    sigmoids: NDArray[np.float32],
    rate: np.float32,
    learn_output: bool,
    looked: bool,
) -> float:
    """One prediction: the mean of the input rows against the first target and the others, which are false."""
    zero, one = np.float32(0.0), np.float32(1.0)
    n_inputs, n_targets = inputs.size, targets.size
    hidden = scratch.ctypes.data
    step = hidden + 4 * LANES * n_steps
    if n_inputs == 1:
        hidden = inputs[0]
    else:
        mean = one / np.float32(n_inputs)
        set_row(mean, inputs[0], hidden, n_steps)
        for k in range(1, n_inputs):
            add_row(mean, inputs[k], hidden, n_steps)
    set_row(zero, hidden, step, n_steps)
    most = np.float32(MAX_STEP)
    own = dot_rows(hidden, hidden, n_steps)[0] if learn_output else zero
    loss = 0.0
    for k in range(n_targets):
        target = targets[k]
        logit, square = dot_rows(hidden, target, n_steps)
        label = one if k == 0 else zero
        if logit >= np.float32(MAX_LOGIT):
            chance = one
        elif logit > np.float32(-MAX_LOGIT):
            # rounding takes the largest logits to the cell after the last
            cell = int((logit + np.float32(MAX_LOGIT)) * np.float32(N_SIGMOIDS / MAX_LOGIT / 2))
            chance = sigmoids[min(cell, N_SIGMOIDS - 1)]
        else:
            chance = zero
        if looked:
            loss += math.log1p(math.exp(-abs(logit))) + max(logit, zero) - label * logit
        square += own
        factor = (label - chance) * (rate if rate * square <= most else most / square)
        if learn_output:
            exchange_rows(factor, hidden, target, step, n_steps)
        else:
            add_row(factor, target, step, n_steps)
    for k in range(n_inputs):
        add_row(one, step, inputs[k], n_steps)
    return loss
