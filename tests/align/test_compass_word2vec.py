"""word2vec: kernels against plain Python, frozen matrices, threads, n-grams, torch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from align.compass import Fit, Word2VecOptions, torch_passes, train_word2vec
from align.compass.passes import Tables, keep_thresholds, plan_jobs
from align.compass.subwords import mean_rows, subword_rows
from align.compass.training import frequency_loss
from align.errors import InputError, UnavailableError, UsageError
from align.fasttext_training import train_fasttext

END = -1
MASK = (1 << 64) - 1
WEYL = 0x9E3779B97F4A7C15
OPTIONS = Word2VecOptions(dim=20, window=3, n_negatives=4, epochs=2, learning_rate=0.1, subsample=1e-2)


def stream_of(n_sentences: int, n_words: int, *, seed: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    shares = 1 / np.arange(1, n_words + 1)
    parts = [
        np.append(rng.choice(n_words, size=int(rng.integers(1, 15)), p=shares / shares.sum()), END)
        for _ in range(n_sentences)
    ]
    stream = np.concatenate(parts).astype(np.int32)
    return stream, np.bincount(stream[stream >= 0], minlength=n_words)


def mix(state: int) -> int:
    z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


class Draws:
    def __init__(self, seed: int, at: int) -> None:
        self.state = mix((seed + at * WEYL) & MASK)

    def bits(self) -> int:
        self.state = (self.state + WEYL) & MASK
        return mix(self.state)


def reference(
    stream: NDArray[np.int32],
    counts: NDArray[np.int64],
    options: Word2VecOptions,
    inputs: NDArray[np.float32],
    output: NDArray[np.float32],
    *,
    learn_output: bool = True,
    words: list[str] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The same in plain Python and float64, with an exact logistic function."""
    empty = np.empty(0, np.int64)
    tables = Tables.of(counts, empty, empty.astype(np.int32), options)
    rows = [[k] for k in range(len(counts))]
    if words is not None:
        starts, flat = subword_rows(
            words, min_n=options.min_n, max_n=options.max_n, n_buckets=options.n_buckets
        )
        rows = [flat[starts[k] : starts[k + 1]].tolist() for k in range(len(words))]
    inner, outer = inputs.astype(np.float64), output.astype(np.float64)
    for job in plan_jobs([stream], n_epochs=options.epochs or 1, options=options):
        at = job.start
        while at < job.stop:
            draws = Draws(job.seed, at)
            fall = (job.last_rate - job.first_rate) / (job.stop - job.start)
            rate = job.first_rate + fall * (at - job.start)
            sentence = []
            while stream[at] != END:
                if draws.bits() >> 32 < int(tables.keep[stream[at]]):
                    sentence.append(int(stream[at]))
                at += 1
            at += 1
            for i, word in enumerate(sentence):
                reach = options.window - ((draws.bits() >> 32) * options.window >> 32)
                around = [j for j in range(max(i - reach, 0), min(i + reach + 1, len(sentence))) if j != i]
                seen = [rows[sentence[j]] for j in around]
                if options.architecture == "cbow":
                    seen = [[row for part in seen for row in part]] if seen else []
                for used in seen:
                    targets = [word]
                    for _ in range(options.n_negatives):
                        bits = draws.bits()
                        cell = (bits >> 32) * len(counts) >> 32
                        share, other = tables.alias[cell].tolist()
                        drawn = cell if bits & 0xFFFFFFFF < share else other
                        targets += [drawn] * (drawn != word)
                    hidden, step = inner[used].mean(axis=0), np.zeros(options.dim)
                    for n, target in enumerate(targets):
                        logit = hidden @ outer[target]
                        chance = 1 / (1 + np.exp(-logit)) if abs(logit) < 6 else float(logit > 0)
                        square = outer[target] @ outer[target] + (hidden @ hidden if learn_output else 0)
                        factor = ((n == 0) - chance) * min(rate, 2 / square)
                        step += factor * outer[target]
                        if learn_output:
                            outer[target] += factor * hidden
                    for row in used:
                        inner[row] += step
    return inner, outer


def begin(n_rows: int, dim: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(scale=0.3, size=(n_rows, dim)).astype(np.float32)


@pytest.mark.parametrize("architecture", ["cbow", "skipgram"])
@pytest.mark.parametrize("learn_output", [True, False])
def test_the_kernel_is_word2vec(architecture: str, learn_output: bool) -> None:
    stream, counts = stream_of(60, 30, seed=0)
    options = replace(OPTIONS, architecture=architecture)
    inputs, output = begin(30, 20, 1), begin(30, 20, 2)
    kept = output.copy()
    fit = train_word2vec(
        [stream], counts, options=options, inputs=inputs, output=output, learn_output=learn_output
    )
    inner, outer = reference(stream, counts, options, inputs, output, learn_output=learn_output)
    # the table of the logistic function is off by 0.0015 at most
    np.testing.assert_allclose(fit.vectors, inner, atol=5e-3)
    np.testing.assert_allclose(fit.output, outer, atol=5e-3)
    assert np.abs(fit.vectors - inputs).max() > 0.1
    np.testing.assert_array_equal(output, kept)
    assert learn_output or fit.output is output


def test_inputs_begin_as_wide_as_in_gensim_and_half_beside_an_output() -> None:
    stream, counts = stream_of(60, 30, seed=0)
    options = replace(OPTIONS, learning_rate=1e-9, min_learning_rate=0.0)
    for output, bound in ((None, 1 / 20), (np.zeros((30, 20), np.float32), 0.5 / 20)):
        vectors = train_word2vec([stream], counts, options=options, output=output).vectors
        assert 0.98 * bound < np.abs(vectors).max() <= bound * (1 + 1e-6)
        # of an even distribution; 600 numbers
        assert vectors.std() == pytest.approx(bound / np.sqrt(3), rel=0.1)
        assert abs(vectors.mean()) < 0.1 * bound


def test_ngrams_share_rows() -> None:
    words = ["walk", "walks", "walked", "talk", "talks", "é", "x"]
    stream, counts = stream_of(60, len(words), seed=3)
    options = replace(OPTIONS, min_n=2, max_n=4, n_buckets=13)
    inputs, output = begin(len(words) + 13, 20, 4), begin(len(words), 20, 5)
    fit = train_word2vec([stream], counts, options=options, words=words, inputs=inputs, output=output)
    inner, outer = reference(stream, counts, options, inputs, output, words=words)
    np.testing.assert_allclose(fit.inputs, inner, atol=5e-3)
    np.testing.assert_allclose(fit.output, outer, atol=5e-3)
    starts, rows = subword_rows(words, min_n=2, max_n=4, n_buckets=13)
    means = [fit.inputs[rows[starts[k] : starts[k + 1]]].mean(axis=0) for k in range(len(words))]
    np.testing.assert_allclose(fit.vectors, means, rtol=1e-5, atol=1e-6)
    with pytest.raises(UsageError, match="n-grams need the words"):
        train_word2vec([stream], counts, options=options)


def test_ngrams_are_those_of_fasttext() -> None:
    model = train_fasttext(
        ["größe groß größe groß"] * 3, dim=4, epochs=1, min_count=1, min_n=2, max_n=3, n_buckets=50
    )
    words = [word for word in model.words if word != "</s>"]
    starts, rows = subword_rows(words, min_n=2, max_n=3, n_buckets=50)
    matrix = np.asarray(model._matrix, np.float32)
    own = [model.words.index(word) for word in words]
    shifted = np.where(
        rows < len(words),
        np.array(own)[np.minimum(rows, len(words) - 1)],
        rows - len(words) + len(model.words),
    )
    np.testing.assert_allclose(
        mean_rows(matrix, starts, shifted), model.vectors_of(words), rtol=1e-5, atol=1e-7
    )


def test_one_thread_gives_the_same_bytes_and_two_the_same_quality() -> None:
    stream, counts = stream_of(6000, 50, seed=6)
    fits = [train_word2vec([stream], counts, options=replace(OPTIONS, threads=n)) for n in (1, 1, 2)]
    np.testing.assert_array_equal(fits[0].vectors, fits[1].vectors)
    np.testing.assert_array_equal(fits[0].output, fits[1].output)
    assert fits[0].history == fits[1].history
    np.testing.assert_allclose(fits[2].history, fits[0].history, rtol=0.02)
    other = train_word2vec([stream], counts, options=replace(OPTIONS, seed=1))
    assert not np.array_equal(other.vectors, fits[0].vectors)


def topics(n_sentences: int, *, seed: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Sentences of words of one of four topics, every fifth word of any."""
    rng = np.random.default_rng(seed)
    words = rng.integers(15, size=(n_sentences, 9)) + 15 * rng.integers(4, size=(n_sentences, 1))
    noise = rng.random(words.shape) < 0.2
    words[noise] = rng.integers(60, size=int(noise.sum()))
    words[:, 8] = END
    stream = words.ravel().astype(np.int32)
    return stream, np.bincount(stream[stream >= 0], minlength=60)


@pytest.mark.parametrize(("architecture", "min_n"), [("cbow", 0), ("skipgram", 0), ("cbow", 2)])
def test_torch_learns_as_much(architecture: str, min_n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_passes, "BATCH", (64, 64))
    stream, counts = topics(150, seed=7)
    options = replace(OPTIONS, architecture=architecture, min_n=min_n, max_n=min_n, n_buckets=50, epochs=6)
    options = replace(options, subsample=0, learning_rate=0.2)
    words = [f"w{k}" for k in range(60)]

    def fit(device: str | None, output: NDArray[np.float32] | None = None) -> Fit:
        return train_word2vec(
            [stream],
            counts,
            options=replace(options, device=device),
            words=words,
            output=output,
            learn_output=output is None,
        )

    def purity(found: Fit) -> float:
        unit = found.vectors / np.linalg.norm(found.vectors, axis=1, keepdims=True)
        cosines = unit @ unit.T - 2 * np.eye(60)
        return float((cosines.argmax(axis=1) // 15 == np.arange(60) // 15).mean())

    kernel, batched = fit(None), fit("cpu")
    frozen = fit("cpu", kernel.output)
    assert frozen.output is kernel.output
    for found in (kernel, batched, frozen):
        assert found.history[-1] < 0.9 * found.history[0]
        assert purity(found) > 0.8  # 0.25 by chance


def test_a_torch_device_that_is_not_there() -> None:
    stream, counts = stream_of(10, 5, seed=8)
    with pytest.raises(UsageError, match="unknown torch device"):
        train_word2vec([stream], counts, options=replace(OPTIONS, device="abacus"))
    with pytest.raises(UnavailableError, match="is not there"):
        train_word2vec([stream], counts, options=replace(OPTIONS, device="cuda:77"))


def test_negatives_follow_the_power_of_the_counts() -> None:
    counts = np.array([1000, 300, 0, 40, 5, 0, 1], np.int64)
    empty = np.empty(0, np.int64)
    table = Tables.of(counts, empty, empty.astype(np.int32), OPTIONS).alias
    share = table[:, 0] / 2.0**32
    chance = np.bincount(table[:, 1], weights=1 - share, minlength=7) + share
    wanted = counts**0.75 / (counts**0.75).sum()
    np.testing.assert_allclose(chance / 7, wanted, atol=1e-9)


def test_frequent_words_are_left_out_by_the_formula_of_word2vec() -> None:
    counts = np.array([9000, 900, 100, 0], np.int64)
    kept = keep_thresholds(counts, 1e-2) / 2.0**32
    wanted = [(np.sqrt(90) + 1) / 90, (np.sqrt(9) + 1) / 9, 1.0, 0.0]
    np.testing.assert_allclose(kept, wanted, atol=1e-9)
    np.testing.assert_array_equal(keep_thresholds(counts, 0) > 0, counts > 0)


def test_loss_without_context_is_that_of_frequencies() -> None:
    # words drawn one by one: nothing to learn but how frequent they are
    stream, counts = stream_of(4000, 40, seed=9)
    options = replace(OPTIONS, epochs=3, learning_rate=0.05)
    fit = train_word2vec([stream], counts, options=options)
    assert fit.history[-1] == pytest.approx(frequency_loss(counts, options), rel=0.03)


def test_words_that_do_not_count_are_passed_over() -> None:
    stream, counts = stream_of(200, 30, seed=10)
    counts[7:9] = 0
    without = stream[(stream != 7) & (stream != 8)]
    assert len(without) < len(stream)
    fit = train_word2vec([stream], counts, options=OPTIONS)
    untouched = train_word2vec([without], counts, options=OPTIONS)
    np.testing.assert_array_equal(fit.output[7:9], 0)
    np.testing.assert_array_equal(fit.vectors[7:9], untouched.vectors[7:9])


def test_wrong_input_is_refused() -> None:
    stream, counts = stream_of(10, 5, seed=11)
    with pytest.raises(InputError, match="no word is left"):
        train_word2vec([stream], np.zeros(5, np.int64), options=OPTIONS)
    with pytest.raises(InputError, match="another shape"):
        train_word2vec([stream], counts, options=OPTIONS, output=np.zeros((5, 3), np.float32))
    for wrong in (
        {"dim": 0},
        {"architecture": "glove"},
        {"min_n": 3},
        {"learning_rate": 0.0},
        {"threads": 0},
    ):
        with pytest.raises(UsageError, match="out of range"):
            train_word2vec([stream], counts, options=replace(OPTIONS, **wrong))  # type: ignore[arg-type]
