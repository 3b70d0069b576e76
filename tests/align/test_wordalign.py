"""Word alignment: models against enumeration, planted texts, determinism, and recorded gold standards."""

from __future__ import annotations

import gzip
import itertools
import math
from dataclasses import replace

import numba
import numpy as np
import pytest
import scipy.special

from align.errors import InputError, UsageError
from align.evaluation import alignment_error_rate
from align.wordalign import AlignOptions, Bitext, Links, WordClasses, align, expectation
from align.wordalign.classes import ClassPrior, frequencies
from align.wordalign.hmm import BEAM, first_jumps, hmm_posteriors
from align.wordalign.ibm1 import ibm1_posteriors
from align.wordalign.maximization import dirichlet_totals, exp_digamma, maximize, maximize_null
from align.wordalign.pairs import build_pairs
from benchmarks import wordalign as gold_standards


def planted_bitext(rng, *, n_pairs=400, n_types=60, noise=0.05):
    """Target = permuted source words, at times rotated, with NULL words and wrong words put in."""
    dictionary = rng.permutation(n_types)
    src, tgt, links = [], [], []
    for _ in range(n_pairs):
        sentence = rng.choice(n_types, size=rng.integers(3, 10), replace=False)
        order = np.roll(np.arange(len(sentence)), -1) if rng.random() < 0.5 else np.arange(len(sentence))
        words, gold = [], []
        for i in order:
            if rng.random() < 0.15:
                words.append(n_types + rng.integers(2))  # a word of the target side alone
            if rng.random() < noise:
                words.append(rng.integers(n_types))
                continue
            gold.append((int(i), len(words)))
            words.append(dictionary[sentence[i]])
        src.append(sentence.tolist())
        tgt.append([int(w) for w in words])
        links.append(gold)
    return Bitext.from_ids(src, tgt, n_src_types=n_types, n_tgt_types=n_types + 2), links, dictionary


def emissions(rng, n_gen, n_from):
    emit = np.zeros((n_gen, n_from + 1), dtype=np.float32)
    emit[:, 1:] = rng.random((n_gen, n_from)) ** 4
    return emit, (rng.random(n_gen) ** 4).astype(np.float32)


@pytest.mark.parametrize(("n_gen", "n_from"), [(1, 1), (1, 3), (4, 1), (3, 2), (4, 3), (2, 6)])
def test_hmm_posteriors_equal_enumeration_of_all_paths(n_gen, n_from):
    rng = np.random.default_rng(n_gen * 10 + n_from)
    emit, null = emissions(rng, n_gen, n_from)
    p0, max_len = 0.2, 8
    jump = rng.random(2 * max_len + 1)
    total, posterior, jumps = 0.0, np.zeros((n_gen, n_from)), np.zeros_like(jump)
    # a path says for each word: position 1..I, or 0 for NULL, which leaves the memory as it is
    for path in itertools.product(range(n_from + 1), repeat=n_gen):
        p, memory, made = 1.0, 0, []
        for t, state in enumerate(path):
            if state == 0:
                p *= p0 * null[t]
            else:
                reach = sum(jump[max_len + i - memory] for i in range(1, n_from + 1))
                p *= (1 - p0) * jump[max_len + state - memory] / reach * emit[t, state]
                made.append(max_len + state - memory)
                memory = state
        total += p
        for t, state in enumerate(path):
            if state:
                posterior[t, state - 1] += p
        for d in made:
            jumps[d] += p
    post = np.zeros((n_gen, n_from), dtype=np.float32)
    counts = np.zeros_like(jump)
    longest = max(n_gen, n_from) + 1
    scratch = np.full((6, longest + 4, longest + 4), np.nan, dtype=np.float32)
    value = hmm_posteriors(emit, null, n_gen, n_from, p0, jump, scratch, post, True, counts, 0.0)
    np.testing.assert_allclose(post, posterior / total, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(counts, jumps / total, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(value, math.log(total), rtol=1e-5)


def test_hmm_posteriors_of_a_long_sentence_do_not_underflow():
    rng = np.random.default_rng(0)
    n = 200
    emit, null = emissions(rng, n, n)
    emit *= 1e-18
    null *= 1e-18
    post = np.zeros((n, n), dtype=np.float32)
    scratch = np.full((6, n + 5, n + 5), np.nan, dtype=np.float32)
    jump = first_jumps(n)
    counts = np.zeros_like(jump)
    value = hmm_posteriors(emit, null, n, n, 0.05, jump, scratch, post, True, counts)
    assert math.isfinite(value)
    assert (post.sum(axis=1) <= 1 + 1e-4).all()
    np.testing.assert_allclose(counts.sum(), post.sum(), rtol=1e-4)


def test_beam_leaves_out_next_to_nothing():
    rng = np.random.default_rng(13)
    n_gen, n_from = 40, 50
    emit, null = emissions(rng, n_gen, n_from)
    # as peaked as the tables of a trained model
    emit **= 4
    jump = first_jumps(n_from)
    results = []
    for beam in (0.0, BEAM, 0.01):
        post = np.zeros((n_gen, n_from), dtype=np.float32)
        counts = np.zeros_like(jump)
        scratch = np.full((6, n_from + 5, n_from + 5), np.nan, dtype=np.float32)
        value = hmm_posteriors(
            emit.copy(), null.copy(), n_gen, n_from, 0.05, jump, scratch, post, True, counts, beam
        )
        results.append((post, counts, value))
    (whole, all_counts, log_likelihood), (post, counts, value), (narrow, _, _) = results
    np.testing.assert_allclose(post, whole, atol=2e-3)
    np.testing.assert_allclose(counts, all_counts, atol=2e-2)
    np.testing.assert_allclose(value, log_likelihood, rtol=1e-4)
    assert np.abs(narrow - whole).max() > np.abs(post - whole).max() > 0


def test_ibm1_posteriors():
    rng = np.random.default_rng(1)
    emit, null = emissions(rng, 4, 3)
    post = np.zeros((4, 3), dtype=np.float32)
    value = ibm1_posteriors(emit, null, 4, 3, 0.1, post)
    joint = 0.9 / 3 * emit[:, 1:]
    whole = joint.sum(axis=1) + 0.1 * null
    np.testing.assert_allclose(post, joint / whole[:, None], rtol=1e-5)
    np.testing.assert_allclose(value, np.log(whole).sum(), rtol=1e-5)


def test_exp_digamma():
    x = np.concatenate([np.logspace(-2, 5, 200), np.arange(1, 24) / 2])
    np.testing.assert_allclose([exp_digamma(v) for v in x], np.exp(scipy.special.digamma(x)), rtol=3e-8)


@pytest.mark.parametrize("n_columns", [1, 2])
@pytest.mark.parametrize("variational", [True, False])
@pytest.mark.parametrize("by_row", [True, False])
def test_maximize_equals_its_formula(n_columns, variational, by_row):
    rng = np.random.default_rng(2)
    bitext = Bitext.from_ids([[0, 1, 2], [3, 1], [0]], [[0, 1], [2, 0], [3, 3]], n_src_types=5, n_tgt_types=5)
    pairs = build_pairs(bitext, max_len=9)
    counts = rng.gamma(0.3, 5.0, (pairs.n_rows, n_columns)).astype(np.float32)
    prior = rng.random((pairs.n_rows, 2) if by_row else (1, 1)).astype(np.float32)
    totals = dirichlet_totals(pairs, counts, prior, n_tgt_types=5)
    given_prior = prior.copy()
    table = maximize(pairs, counts, prior, totals, variational=variational)
    assert np.shares_memory(table, prior) == by_row
    parameters = np.broadcast_to(counts, (pairs.n_rows, 2)) + given_prior
    weight = (lambda v: np.exp(scipy.special.digamma(v))) if variational else (lambda v: v)
    src = np.repeat(np.arange(5), np.diff(pairs.indptr))
    for column, given in ((0, src), (1, pairs.tgt)):
        total = np.bincount(given, weights=parameters[:, column], minlength=5)
        np.testing.assert_allclose(totals[column], total, rtol=1e-6)
        expected = weight(parameters[:, column]) / weight(total)[given]
        np.testing.assert_allclose(table[:, column], np.maximum(expected, 0), rtol=1e-5, atol=1e-18)


def test_maximize_null_leaves_absent_types_at_zero():
    out = maximize_null(np.array([2.0, 0.0, 1.0]), np.array([True, False, True]), 0.0, variational=False)
    np.testing.assert_allclose(out, [2 / 3, 0, 1 / 3], rtol=1e-6)


def test_class_prior_equals_its_formula():
    rng = np.random.default_rng(3)
    src = [["anna", "annas", "bob"], ["bob", "annas"], ["anna"]]
    tgt = [["hanna", "hannas", "bob"], ["bobo", "hannas"], ["bob"]]
    bitext, src_words, tgt_words = Bitext.from_words(src, tgt)
    pairs = build_pairs(bitext, max_len=9)
    classes = WordClasses.of_words(src_words, tgt_words, lengths=(3, 4), endings=())
    counts = rng.random((pairs.n_rows, 2)).astype(np.float32)
    counts[[0, 2, 5]], counts[3, 1] = 0, 0
    prior = ClassPrior(frequencies(bitext), pairs, classes, alpha=0.1, class_weight=20.0, form_weight=1.0)(
        counts
    )
    rows = list(zip(np.repeat(np.arange(len(src_words)), np.diff(pairs.indptr)), pairs.tgt, strict=True))
    frequency = (
        {w: sum(s.count(w) for s in src) for w in src_words},
        {w: sum(s.count(w) for s in tgt) for w in tgt_words},
    )
    for r, (s, t) in enumerate(rows):
        for direction in range(2):
            given, other = (src_words[s], tgt_words[t])[:: 1 if direction == 0 else -1]
            expected = 0.1 + (src_words[s] == tgt_words[t])
            for n in (3, 4):
                joint = whole = 0.0
                for q, (a, b) in enumerate(rows):
                    g, o = (src_words[a], tgt_words[b])[:: 1 if direction == 0 else -1]
                    if g[:n] == given[:n]:
                        whole += counts[q, direction]
                        joint += counts[q, direction] * (o[:n] == other[:n])
                of_class = sum(f for w, f in frequency[1 - direction].items() if w[:n] == other[:n])
                expected += 10 * joint / whole * frequency[1 - direction][other] / of_class
            np.testing.assert_allclose(prior[r, direction], expected, rtol=1e-5)


def test_ibm1_without_prior_never_loses_likelihood():
    bitext, _, _ = planted_bitext(np.random.default_rng(4))
    result = align(bitext, model="ibm1", options=AlignOptions(n_iter=12, alpha=0.0, tol=0.0))
    history = np.array(result.history)
    assert history.shape == (13, 2)
    assert (np.diff(history, axis=0) >= -1e-3).all()
    assert history[-1, 0] > history[0, 0] + 100
    np.testing.assert_allclose(result.src_to_tgt.sum(axis=1), 1, atol=2e-2)


@pytest.mark.parametrize(("model", "worst"), [("hmm", 0.04), ("ibm1", 0.10)])
def test_planted_links_are_found(model, worst):
    bitext, gold, dictionary = planted_bitext(np.random.default_rng(5))
    result = align(bitext, model=model)
    found = [result.links.pair(n) for n in range(bitext.n_pairs)]
    assert alignment_error_rate(found, gold, gold).aer < worst
    np.testing.assert_array_equal(result.counts.toarray().argmax(axis=1), dictionary)
    np.testing.assert_array_equal(result.src_to_tgt.toarray().argmax(axis=1), dictionary)
    np.testing.assert_array_equal(result.tgt_to_src.toarray().argmax(axis=0)[dictionary], np.arange(60))


def test_hmm_learns_the_planted_jumps():
    bitext, _, _ = planted_bitext(np.random.default_rng(6))
    result = align(bitext)
    middle = result.jumps.shape[1] // 2
    np.testing.assert_allclose(result.jumps.sum(axis=1), 1)
    np.testing.assert_array_equal(result.jumps.argmax(axis=1), middle + 1)
    # half of the sentences begin at the second word
    assert (result.jumps[:, middle + 2] > 2 * result.jumps[:, middle + 3]).all()


@pytest.mark.parametrize("model", ["hmm", "ibm1"])
def test_bytes_do_not_depend_on_the_number_of_threads(model):
    bitext, _, _ = planted_bitext(np.random.default_rng(7), n_pairs=300)
    before = numba.get_num_threads()
    results = []
    try:
        for n_threads in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
            numba.set_num_threads(n_threads)
            results.append(align(bitext, model=model))
    finally:
        numba.set_num_threads(before)
    a, b = results
    for name in ("counts", "src_to_tgt", "tgt_to_src"):
        x, y = getattr(a, name), getattr(b, name)
        assert x.data.tobytes() == y.data.tobytes()
        np.testing.assert_array_equal(x.indices, y.indices)
    for name in ("offsets", "src", "tgt", "weights"):
        assert getattr(a.links, name).tobytes() == getattr(b.links, name).tobytes()
    assert a.history == b.history
    assert a.jumps.tobytes() == b.jumps.tobytes()


def test_order_of_pairs_and_numbering_of_types_do_not_matter():
    rng = np.random.default_rng(8)
    bitext, _, _ = planted_bitext(rng, n_pairs=200)
    src = np.split(bitext.src_ids, bitext.src_offsets[1:-1])
    tgt = np.split(bitext.tgt_ids, bitext.tgt_offsets[1:-1])
    order = rng.permutation(bitext.n_pairs)
    new_src, new_tgt = rng.permutation(bitext.n_src_types), rng.permutation(bitext.n_tgt_types)
    shuffled = Bitext.from_ids(
        [new_src[src[n]] for n in order],
        [new_tgt[tgt[n]] for n in order],
        n_src_types=bitext.n_src_types,
        n_tgt_types=bitext.n_tgt_types,
    )
    options = AlignOptions(min_count=0.0)
    a, b = align(bitext, options=options), align(shuffled, options=options)
    np.testing.assert_allclose(
        b.counts.toarray()[np.ix_(new_src, new_tgt)], a.counts.toarray(), rtol=1e-3, atol=1e-4
    )
    assert [b.links.pair(k) for k in range(200)] == [a.links.pair(int(n)) for n in order]


def test_swapping_the_sides_transposes_the_result():
    bitext, _, _ = planted_bitext(np.random.default_rng(9), n_pairs=200)
    swapped = Bitext(
        bitext.tgt_ids,
        bitext.tgt_offsets,
        bitext.src_ids,
        bitext.src_offsets,
        bitext.n_tgt_types,
        bitext.n_src_types,
    )
    a, b = align(bitext), align(swapped)
    np.testing.assert_allclose(b.counts.toarray().T, a.counts.toarray(), rtol=1e-3, atol=2e-3)
    np.testing.assert_allclose(b.tgt_to_src.toarray().T, a.src_to_tgt.toarray(), rtol=1e-2, atol=1e-4)


def test_chunks_and_blocks_do_not_matter(monkeypatch):
    bitext, _, _ = planted_bitext(np.random.default_rng(12), n_pairs=100)
    whole = align(bitext)
    monkeypatch.setattr(expectation, "_CHUNK_CELLS", 150)
    parts = align(bitext)
    np.testing.assert_allclose(parts.counts.toarray(), whole.counts.toarray(), rtol=1e-3, atol=2e-3)
    np.testing.assert_array_equal(parts.links.offsets, whole.links.offsets)
    np.testing.assert_array_equal(parts.links.tgt, whole.links.tgt)


def test_counts_are_the_sum_of_link_posteriors():
    bitext, _, _ = planted_bitext(np.random.default_rng(10), n_pairs=100)
    options = AlignOptions(threshold=-1.0, min_count=0.0)
    result = align(bitext, options=options)
    links = result.links
    pair = np.repeat(np.arange(bitext.n_pairs), np.diff(links.offsets))
    total = np.zeros(result.counts.shape)
    s = bitext.src_ids[bitext.src_offsets[pair] + links.src]
    t = bitext.tgt_ids[bitext.tgt_offsets[pair] + links.tgt]
    np.add.at(total, (s, t), links.weights)
    np.testing.assert_allclose(result.counts.toarray(), total, rtol=1e-4, atol=1e-6)
    assert (links.weights <= 1 + 1e-5).all()


def test_single_words_and_empty_and_long_sentences():
    src, tgt = [[0], [1], [0], [1], [2], [0, 1] * 20], [[0], [1], [0], [1], [], [0, 1] * 20]
    with pytest.warns(UserWarning, match="empty side"):
        bitext = Bitext.from_ids(src, tgt, n_src_types=3, n_tgt_types=2)
    with pytest.warns(UserWarning, match="1 of 6 sentence pairs have more than 30 tokens"):
        result = align(bitext, options=AlignOptions(max_len=30))
    assert [result.links.pair(n) for n in range(6)] == [[(0, 0)]] * 4 + [[], []]
    np.testing.assert_allclose(np.diag(result.counts.toarray()[:2]), 2, atol=0.1)


def test_converges_and_says_so():
    bitext, _, _ = planted_bitext(np.random.default_rng(11), n_pairs=100)
    short = align(bitext, options=AlignOptions(n_iter=2, tol=0.0))
    assert (short.n_iter, short.converged) == (2, False)
    long = align(bitext, options=AlignOptions(n_iter=200, tol=1e-4))
    assert long.converged
    assert 2 < long.n_iter < 200
    assert len(long.history) == long.n_iter + 2


@pytest.mark.parametrize(
    ("model", "changes", "where"),
    [
        ("hmm", {"alpha": 0.0}, "alpha"),
        ("ibm1", {"alpha": -1.0}, "alpha"),
        ("hmm", {"null_prob": 0.0}, "null_prob"),
        ("hmm", {"n_iter": 0}, "n_iter"),
        ("hmm", {"max_len": 0}, "max_len"),
        ("ibm4", {}, "unknown alignment model"),
    ],
)
def test_bad_options(model, changes, where):
    bitext = Bitext.from_ids([[0]], [[0]])
    with pytest.raises(UsageError, match=where):
        align(bitext, model=model, options=replace(AlignOptions(), **changes))


def test_nothing_to_align():
    with pytest.raises(InputError, match="no sentence pair"):
        align(Bitext.from_ids([], []))
    with pytest.raises(InputError, match="no sentence pair"):
        align(Bitext.from_ids([[0] * 50], [[0]]), options=AlignOptions(max_len=10))


def test_class_maps_must_fit():
    bitext = Bitext.from_ids([[0, 1]], [[0]])
    with pytest.raises(InputError, match="wrong length"):
        align(bitext, classes=WordClasses.of_words(["a"], ["b"]))


@pytest.mark.parametrize(
    ("links", "sure", "possible", "aer", "precision", "recall"),
    [
        ([(0, 0), (1, 1)], [(0, 0), (1, 1)], [], 0.0, 1.0, 1.0),
        ([(0, 0), (1, 2)], [(0, 0), (1, 1)], [(1, 2)], 0.25, 1.0, 0.5),
        ([(5, 5)], [(0, 0)], [], 1.0, 0.0, 0.0),
        ([], [(0, 0)], [], 1.0, 0.0, 0.0),
        ([(0, 0), (1, 1), (2, 2)], [(0, 0)], [(1, 1)], 0.25, 2 / 3, 1.0),
    ],
)
def test_alignment_error_rate_by_hand(links, sure, possible, aer, precision, recall):
    result = alignment_error_rate([links], [sure], [possible])
    np.testing.assert_allclose((result.aer, result.precision, result.recall), (aer, precision, recall))


# our bar, then the best output recorded for fast_align and eflomal
@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "bar", "peers"),
    [("hansards-en-fr", 8.17, (19.19, 10.94)), ("xlwa-en-nl", 12.03, (19.81, 14.64))],
)
def test_better_than_recorded_peers(shared_data, shared_golden, name, bar, peers):
    src, tgt, sure, possible = gold_standards.load(name)

    def error(links: Links) -> float:
        found = [links.pair(n) for n in range(len(src) - len(sure), len(src))]
        return 100 * alignment_error_rate(found, sure, possible).aer

    bitext, src_words, tgt_words = Bitext.from_words(src, tgt)
    ours = error(align(bitext, src_words=src_words, tgt_words=tgt_words).links)
    assert ours <= bar
    assert ours < min(peers)
    for peer in ("fast_align", "eflomal"):
        for direction in ("fwd", "rev"):
            path = shared_golden / "wordalign" / f"{name}.{peer}.{direction}.links.gz"
            assert ours < error(Links.from_pharaoh(gzip.decompress(path.read_bytes()).decode().splitlines()))


@pytest.mark.data
@pytest.mark.parametrize(
    ("direction", "recorded"), [("fwd", (25.08, 71.2, 81.8)), ("gdfa", (23.75, 71.9, 84.8))]
)
def test_error_rate_of_recorded_links_is_the_recorded_one(shared_data, shared_golden, direction, recorded):
    src, _, sure, possible = gold_standards.load("hansards-en-fr")
    path = shared_golden / f"wordalign/hansards-en-fr.fast_align.{direction}.links.gz"
    links = Links.from_pharaoh(gzip.decompress(path.read_bytes()).decode().splitlines())
    assert links.n_pairs == len(src)
    found = [links.pair(n) for n in range(len(src) - len(sure), len(src))]
    result = alignment_error_rate(found, sure, possible)
    figures = round(100 * result.aer, 2), round(100 * result.precision, 1), round(100 * result.recall, 1)
    assert figures == recorded
