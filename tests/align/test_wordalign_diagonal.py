"""The diagonal model: its formulas, its tension, and fast_align's recorded run."""

from __future__ import annotations

import gzip
import math
from dataclasses import replace

import numpy as np
import pytest

from align.errors import UsageError
from align.evaluation import alignment_error_rate
from align.wordalign import FAST_ALIGN, AlignOptions, Bitext, Links, align, train
from align.wordalign.diagonal import _mean_feature, diagonal_posteriors, length_histogram, next_tension
from align.wordalign.ibm1 import ibm1_posteriors


def feature(i, j, n, m):
    return -abs(i / n - j / m)


@pytest.mark.parametrize(
    ("n_gen", "n_from", "tension"), [(1, 1, 4.0), (4, 7, 6.5), (7, 4, 0.1), (60, 50, 14.0)]
)
def test_posteriors_equal_their_formula(n_gen, n_from, tension):
    rng = np.random.default_rng(n_gen)
    emit = rng.random((n_gen, n_from + 1)).astype(np.float32)
    null = rng.random(n_gen).astype(np.float32)
    h = np.array([[feature(i, j, n_from, n_gen) for i in range(1, n_from + 1)] for j in range(1, n_gen + 1)])
    h0 = np.array([[feature(i, j, n_from, n_gen) for i in range(1, n_from + 1)] for j in range(n_gen)])
    place = np.exp(tension * h)
    joint = 0.9 * place / place.sum(axis=1, keepdims=True) * emit[:, 1:]
    whole = joint.sum(axis=1) + 0.1 * null
    expected = joint / whole[:, None]
    post, features = np.zeros((n_gen, n_from), dtype=np.float32), np.ones(2)
    value = diagonal_posteriors(emit, null, n_gen, n_from, 0.1, tension, post, features)
    np.testing.assert_allclose(post, expected, rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(features, [1 + (expected * h).sum(), 1 + (expected * h0).sum()], rtol=1e-5)
    np.testing.assert_allclose(value, np.log(whole).sum(), rtol=1e-6)


def test_without_tension_it_is_model_1():
    rng = np.random.default_rng(1)
    emit, null = rng.random((5, 7)).astype(np.float32), rng.random(5).astype(np.float32)
    ours, theirs = np.zeros((5, 6), dtype=np.float32), np.zeros((5, 6), dtype=np.float32)
    a = diagonal_posteriors(emit, null, 5, 6, 0.1, 0.0, ours, np.zeros(2))
    b = ibm1_posteriors(emit, null, 5, 6, 0.1, theirs)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    np.testing.assert_allclose(a, b, rtol=1e-6)


def test_derivative_of_the_normalizer():
    lengths = np.array([[20, 10, 3], [10, 20, 1], [7, 7, 2]])

    def log_z(tension):
        return sum(
            count * sum(math.log(sum(math.exp(tension * feature(i, j, n, m)) for i in range(1, n + 1)))
                        for j in range(1, m + 1))
            for n, m, count in lengths.tolist()
        )  # fmt: skip

    for tension in (0.5, 4.0, 12.0):
        slope = (log_z(tension + 1e-5) - log_z(tension - 1e-5)) / 2e-5
        np.testing.assert_allclose(_mean_feature(lengths, tension, False), slope, rtol=1e-6)
    # the other normaliser is the right one where lengths are equal, and too large or small elsewhere
    equal = np.array([[7, 7, 2]])
    np.testing.assert_allclose(_mean_feature(equal, 4.0, True), _mean_feature(equal, 4.0, False), rtol=1e-9)
    longer, shorter = np.array([[10, 20, 1]]), np.array([[20, 10, 1]])
    assert _mean_feature(longer, 4.0, True) > 0.6 * _mean_feature(longer, 4.0, False)
    assert _mean_feature(shorter, 4.0, True) < 1.8 * _mean_feature(shorter, 4.0, False)


def test_tension_is_found_again():
    # features as a tension of 7 makes them; NULL takes a tenth of the words
    lengths = np.array([[9, 12, 40], [20, 18, 5]])
    n_words = 12 * 40 + 18 * 5
    observed = np.full(2, 0.9 * _mean_feature(lengths, 7.0, False))
    tension = 4.0
    for _ in range(60):
        tension = next_tension(tension, observed, 0.1 * n_words, lengths, compatible=False)
    np.testing.assert_allclose(tension, 7.0, rtol=1e-3)


def test_length_histogram():
    bitext = Bitext.from_ids([[0, 0], [0], [0, 0], [0]], [[0], [0], [0], [0, 0]])
    rows = length_histogram(bitext, np.array([True, True, True, False]))
    np.testing.assert_array_equal(rows, [[1, 1, 1], [2, 1, 2]])


def test_compatibility_is_for_the_diagonal_model():
    with pytest.raises(UsageError, match="fast_align_compatible"):
        align(Bitext.from_ids([[0]], [[0]]), options=AlignOptions(fast_align_compatible=True))


@pytest.mark.data
def test_fast_align_recorded_run(shared_golden):
    def lines(name):
        return gzip.decompress((shared_golden / f"wordalign/lafand2000.{name}.gz").read_bytes()).decode()

    sides = [line.split(" ||| ") for line in lines("input.txt").splitlines()]
    bitext, *words = Bitext.from_words([s.split() for s, _ in sides], [t.split() for _, t in sides])
    recorded = {"fwd": (7.71004, 10.0248, 11.2518), "rev": (6.95818, 8.98356, 10.1227)}
    for n_iter, k in ((2, 0), (4, 2)):
        aligner = train(bitext, model="diagonal", options=replace(FAST_ALIGN, n_iter=n_iter))
        np.testing.assert_allclose(aligner.tension, [path[k] for path in recorded.values()], rtol=5e-5)
    # perplexities of the passes; the program's first one is an artefact of its untrained table
    tokens = np.array([len(bitext.tgt_ids), len(bitext.src_ids)])
    perplexity = np.exp(-np.array(aligner.history) / tokens)[1:]
    np.testing.assert_allclose(
        perplexity, [[1871.22, 1140.60], [89.3432, 83.6114], [59.7229, 56.6817]], rtol=2e-4
    )
    result = aligner.align(bitext)
    np.testing.assert_allclose(result.log_likelihood, (-169881, -174888), rtol=2e-4)
    for name, direction, found in zip(
        ("fwd", "rev"), ("src-to-tgt", "tgt-to-src"), aligner.directional_links(bitext), strict=True
    ):
        theirs = Links.from_pharaoh(lines(f"{name}.links").splitlines())
        gold = [theirs.pair(n) for n in range(2000)]
        # ties among probabilities below what float32 holds are broken otherwise
        assert alignment_error_rate([found.pair(n) for n in range(2000)], gold, gold).aer < 1e-3
        table = aligner.table(direction).tocoo()
        given, other = words if name == "fwd" else words[::-1]
        ours = dict(
            zip(zip(table.row.tolist(), table.col.tolist(), strict=True), table.data.tolist(), strict=True)
        )
        given, other = ({word: k for k, word in enumerate(side)} for side in (given, other))
        rows = [line.split("\t") for line in lines(f"{name}.ttable.tsv").splitlines()]
        # below exp(-35) our tables have a floor
        rows = [(s, t, float(p)) for s, t, p in rows if s != "<eps>" and float(p) > -35]
        assert len(rows) > 12_000
        error = np.array([abs(math.log(ours[given[s], other[t]]) - p) for s, t, p in rows])
        assert np.quantile(error, 0.999) < 1e-3
        assert np.median(error) < 1e-5


@pytest.mark.data
def test_links_of_the_two_derivatives_differ(shared_golden):
    data = gzip.decompress((shared_golden / "wordalign/lafand2000.input.txt.gz").read_bytes()).decode()
    sides = [line.split(" ||| ") for line in data.splitlines()[:300]]
    bitext, *_ = Bitext.from_words([s.split() for s, _ in sides], [t.split() for _, t in sides])
    both = [
        train(bitext, model="diagonal", options=replace(FAST_ALIGN, fast_align_compatible=on)).tension
        for on in (True, False)
    ]
    assert all(abs(a - b) > 0.5 for a, b in zip(*both, strict=True))
