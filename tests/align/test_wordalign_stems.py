"""The stem models beside that of words: their product by its formula, and what it is for."""

from __future__ import annotations

from dataclasses import replace

import numba
import numpy as np
import pytest
import scipy.special

from align.errors import UsageError
from align.wordalign import AlignOptions, Bitext, WordClasses, align
from align.wordalign.expectation import Parameters
from align.wordalign.pairs import build_pairs
from align.wordalign.stems import Stems

OPTIONS = AlignOptions(stem_weight=0.2)


def exp_psi(x):
    return np.exp(scipy.special.digamma(x))


def inflected_text(rng, *, n_pairs=150, n_stems=60):
    """Words of a stem and an ending, most forms rare; the order of the target side is free."""
    letters = np.array(list("abcdefghijklmnop"))
    stems = [
        list(dict.fromkeys("".join(rng.choice(letters, 4)) for _ in range(2 * n_stems)))[:n_stems]
        for _ in range(2)
    ]
    endings = (["", "s", "ing", "ed"], ["en", "ov", "am", "uk"])
    src, tgt, gold = [], [], []
    for _ in range(n_pairs):
        chosen = rng.choice(n_stems, size=rng.integers(4, 9), replace=False)
        forms = rng.integers(4, size=len(chosen))
        order = rng.permutation(len(chosen))
        src.append([stems[0][s] + endings[0][e] for s, e in zip(chosen, forms, strict=True)])
        words = [stems[1][s] + endings[1][e] for s, e in zip(chosen, forms, strict=True)]
        noisy = rng.random(len(chosen)) < 0.1
        tgt.append([stems[1][rng.integers(n_stems)] if noisy[i] else words[i] for i in order])
        gold.append({(int(i), j) for j, i in enumerate(order) if not noisy[i]})
    return src, tgt, gold


def test_product_equals_its_formula():
    rng = np.random.default_rng(0)
    src = [["walks", "walked", "no"], ["talked", "walker"], ["no"]]
    tgt = [["gehst", "gegangen", "no"], ["gehend", "redest"], ["no", "gehst"]]
    bitext, src_words, tgt_words = Bitext.from_words(src, tgt)
    pairs = build_pairs(bitext, max_len=9)
    # a flat prior: that of classes has a test of its own
    options = replace(OPTIONS, class_weight=0.0, form_weight=0.0)
    counts = rng.random((pairs.n_rows, 2)).astype(np.float32)
    table = rng.random((pairs.n_rows, 2)).astype(np.float32)
    nulls = rng.random(bitext.n_tgt_types), rng.random(bitext.n_src_types)
    given_null = [rng.random(len(n)).astype(np.float32) for n in nulls]
    parameters = Parameters(table.copy(), *given_null, 0.02, np.zeros((2, 3)))
    joined = Stems(bitext, pairs, src_words, tgt_words, options).join(parameters, counts, *nulls)

    row_src = np.repeat(np.arange(len(src_words)), np.diff(pairs.indptr))
    expected = table.astype(np.float64) ** 0.6
    expected_null = given_null[0].astype(np.float64) ** 0.6
    for part in (slice(None, 3), slice(-3, None)):
        s = np.array([src_words[k][part] for k in row_src])
        t = np.array([tgt_words[k][part] for k in pairs.tgt])
        for direction, (given, n_others) in enumerate(((s, t), (t, s))):
            for row in range(pairs.n_rows):
                joint = counts[(s == s[row]) & (t == t[row]), direction].sum()
                whole = given == given[row]
                total = counts[whole, direction].sum() + 0.1 * len(set(n_others[whole]))
                expected[row, direction] *= (exp_psi(joint + 0.1) / exp_psi(total)) ** 0.2
        stems = np.array([w[part] for w in tgt_words])
        total = nulls[0].sum() + 0.1 * len(set(stems))
        mass = np.array([nulls[0][stems == stem].sum() for stem in stems])
        expected_null *= (exp_psi(mass + 0.1) / exp_psi(total)) ** 0.2
    np.testing.assert_allclose(joined.table, expected, rtol=1e-4)
    np.testing.assert_allclose(joined.null_tgt, expected_null, rtol=1e-4)


def test_stems_find_more_links_of_rare_forms():
    src, tgt, gold = inflected_text(np.random.default_rng(1))
    bitext, src_words, tgt_words = Bitext.from_words(src, tgt)

    def f1(options):
        links = align(bitext, src_words=src_words, tgt_words=tgt_words, options=options).links
        found = [set(links.pair(n)) for n in range(len(src))]
        right = sum(len(a & b) for a, b in zip(found, gold, strict=True))
        return 2 * right / (sum(map(len, found)) + sum(map(len, gold)))

    words_alone = f1(replace(OPTIONS, stem_weight=0.0, class_weight=0.0))
    with_stems = f1(replace(OPTIONS, class_weight=0.0))
    assert 1 - with_stems < 0.75 * (1 - words_alone)
    assert with_stems > 0.95


def test_same_bytes_for_any_number_of_threads():
    src, tgt, _ = inflected_text(np.random.default_rng(2), n_pairs=60)
    bitext, src_words, tgt_words = Bitext.from_words(src, tgt)
    before = numba.get_num_threads()
    results = []
    try:
        for n_threads in (1, min(2, before)):
            numba.set_num_threads(n_threads)
            results.append(align(bitext, src_words=src_words, tgt_words=tgt_words))
    finally:
        numba.set_num_threads(before)
    np.testing.assert_array_equal(results[0].counts.data, results[1].counts.data)
    assert results[0].links.pharaoh() == results[1].links.pharaoh()


def test_class_maps_go_by_first_and_last_characters():
    classes = WordClasses.of_words(
        ["walked", "walker", "talked"], ["ab", "b", "ac"], lengths=(1, 4), endings=(2,)
    )
    np.testing.assert_array_equal(classes.src, [[0, 0, 1], [0, 0, 1], [0, 1, 0]])
    np.testing.assert_array_equal(classes.tgt, [[0, 1, 0], [0, 1, 2], [0, 1, 2]])


def test_weight_out_of_range_is_refused():
    bitext, src_words, tgt_words = Bitext.from_words([["a"]], [["b"]])
    with pytest.raises(UsageError, match="stem_weight"):
        align(bitext, src_words=src_words, tgt_words=tgt_words, options=AlignOptions(stem_weight=0.5))
