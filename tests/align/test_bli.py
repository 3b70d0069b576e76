from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from align.errors import InputError, UsageError
from align.evaluation import PROTOCOLS, bli, by_frequency
from align.induction import Translations, induce
from align.lexicon import Lexicon, read_lexicon
from align.mapping import BilingualMap, procrustes
from align.normalize import UNIT_CENTRE_UNIT, normalize
from align.vectors import WordVectors, read_vectors

TARGETS = ("A", "B", "C", "D", "E", "F")


def made(rows, known=None, depth=6):
    """Translations from lists of target letters."""
    indices = np.full((len(rows), depth), -1)
    for row, letters in enumerate(rows.values()):
        indices[row, : len(letters)] = [TARGETS.index(c) for c in letters]
    scores = np.where(indices >= 0, -np.arange(depth, dtype=float), -np.inf)
    known = np.ones(len(rows), bool) if known is None else np.array(known)
    return Translations(tuple(rows), TARGETS, indices, scores, known, "made", "nn", 6)


# x: gold B at 2 and D at 4 (Z is no target word); y: only an unknown translation; z: no vector; w: first;
# v: not among the six of its list, which a threshold cut after two
ROWS = {"x": "ABCDEF", "y": "ABCDEF", "z": "", "w": "FEDCBA", "v": "AB"}
KNOWN = [True, True, False, True, True]
TEST = Lexicon(
    (
        ("x", "B"),
        ("x", "Z"),
        ("x", "D"),
        ("x", "B"),
        ("y", "Z"),
        ("z", "A"),
        ("w", "F"),
        ("v", "F"),
        ("v", "B"),
    )
)


@pytest.mark.parametrize(
    ("unit", "oov", "known", "ranks"),
    [
        ("word", "drop", [1, 0, 0, 1, 1], [2, 0, 0, 1, 2]),
        ("word", "wrong", [1, 0, 0, 1, 1], [2, 0, 0, 1, 2]),
        ("pair", "drop", [1, 0, 1, 0, 0, 1, 1, 1], [2, 0, 4, 0, 0, 1, 0, 2]),
    ],
)
def test_units_and_unknown_words(unit, oov, known, ranks):
    result = bli(made(ROWS, KNOWN), TEST, unit=unit, oov=oov, ks=(1, 2, 4))
    np.testing.assert_array_equal(result.known, known)
    np.testing.assert_array_equal(result.ranks, ranks)
    scored = np.array(known, bool) if oov == "drop" else np.ones(len(known), bool)
    assert result.n_queries == scored.sum()
    assert result.coverage == pytest.approx(np.mean(known))
    for k in (1, 2, 4):
        hits = [0 < rank <= k for rank, counts in zip(ranks, scored, strict=True) if counts]
        np.testing.assert_array_equal(result.hits(k), hits)
        assert result.p_at[k] == pytest.approx(np.mean(hits))
    reciprocal = [1 / r if r else 0 for r, counts in zip(ranks, scored, strict=True) if counts]
    assert result.mrr == pytest.approx(np.mean(reciprocal))
    if unit == "pair":
        assert result.map == pytest.approx(result.mrr)
    else:  # x: B at 2, D at 4 of two known; w: 1 at 1; v: B at 2, F never
        assert result.map == pytest.approx((0.5 * (1 / 2 + 2 / 4) + 1 + 0.5 * (1 / 2)) / result.n_queries)


def reference(translations, pairs, unit, oov, k):
    """Precision at k and mean reciprocal rank, written out pair by pair."""
    hits, reciprocal = [], []
    words = list(dict.fromkeys(s for s, _ in pairs))
    queries = (
        [(w, [t for s, t in pairs if s == w]) for w in words]
        if unit == "word"
        else [(s, [t]) for s, t in dict.fromkeys(pairs)]
    )
    for word, answers in queries:
        listed = [t for t, _ in translations.of(word)]
        usable = translations.known[translations.src_words.index(word)] and set(answers) & set(TARGETS)
        if not usable:
            if oov == "wrong":
                hits.append(0.0)
                reciprocal.append(0.0)
            continue
        ranks = [listed.index(a) + 1 for a in answers if a in listed]
        hits.append(float(any(r <= k for r in ranks)))
        reciprocal.append(1 / min(ranks) if ranks else 0.0)
    return (np.mean(hits), np.mean(reciprocal)) if hits else (0.0, 0.0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(["word", "pair"]), st.sampled_from(["drop", "wrong"]))
def test_random_lists_give_the_plain_count(seed, unit, oov):
    rng = np.random.default_rng(seed)
    words = [f"q{i}" for i in range(8)]
    rows = {w: "".join(rng.permutation(list(TARGETS))[: rng.integers(0, 7)]) for w in words}
    translations = made(rows, rng.random(8) < 0.8)
    answers = (*TARGETS, "Z")
    pairs = [(words[rng.integers(8)], answers[rng.integers(7)]) for _ in range(15)]
    result = bli(translations, pairs, unit=unit, oov=oov, ks=(1, 3))
    for k in (1, 3):
        precision, mrr = reference(translations, pairs, unit, oov, k)
        assert result.p_at[k] == pytest.approx(precision)
        assert result.mrr == pytest.approx(mrr)


def test_protocols_set_unit_unknown_words_and_casing():
    translations = made(ROWS, KNOWN)
    by_protocol = {name: bli(translations, TEST, protocol=name) for name in PROTOCOLS}
    assert {name: (r.unit, r.oov) for name, r in by_protocol.items()} == {
        "muse": ("word", "drop"),
        "vecmap": ("word", "drop"),
        "xling": ("pair", "drop"),
        "fasttext": ("word", "wrong"),
    }
    # the targets are upper-case, and these two lower-case the test lexicon
    assert [by_protocol[name].coverage for name in ("muse", "xling")] == [0.0, 0.0]
    assert by_protocol["muse"].p_at == {1: 0.0, 5: 0.0, 10: 0.0}
    vecmap, fasttext = by_protocol["vecmap"], by_protocol["fasttext"]
    for k, value in fasttext.p_at.items():
        assert value == pytest.approx(vecmap.p_at[k] * vecmap.coverage)
    assert bli(translations, TEST, protocol="fasttext", oov="drop").p_at == vecmap.p_at


def test_a_callable_is_asked_for_the_words_of_the_test_and_the_depth():
    rng = np.random.default_rng(2)
    Y = rng.standard_normal((50, 10))
    src = WordVectors(tuple(f"s{i}" for i in range(50)), Y + 0.8 * rng.standard_normal(Y.shape))
    tgt = WordVectors(tuple(f"t{i}" for i in range(50)), Y)
    test = [(f"s{i}", f"t{i}") for i in range(0, 50, 3)]
    whole = bli(partial(induce, src, tgt, retrieval="nn"), test)
    assert (whole.depth, whole.n_candidates) == (50, 50)
    ranks = 1 + (src.matrix @ (tgt.matrix / np.linalg.norm(tgt.matrix, axis=1)[:, None]).T)[::3]
    order = np.argsort(-ranks, axis=1)
    exact = [int(np.flatnonzero(order[n] == 3 * n)[0]) + 1 for n in range(len(test))]
    np.testing.assert_array_equal(whole.ranks, exact)
    shallow = bli(partial(induce, src, tgt, retrieval="nn"), test, ks=(1, 2), depth=2)
    assert shallow.depth == 2
    assert whole.mrr - 1 / 2 <= shallow.mrr < whole.mrr
    assert set(json.loads(json.dumps(shallow.as_dict()))) >= {"p_at_1", "p_at_2", "mrr", "map", "coverage"}


def test_translations_of_the_whole_vocabulary_may_lack_words_of_the_test():
    src, tgt = WordVectors(("x", "y"), np.eye(2)), WordVectors(("A", "B"), np.eye(2))
    test = [("x", "A"), ("y", "A"), ("z", "B")]
    result = bli(induce(src, tgt, top=2), test)
    np.testing.assert_array_equal(result.known, [True, True, False])
    assert (result.p_at[1], result.coverage) == (0.5, pytest.approx(2 / 3))
    with pytest.raises(InputError, match="were not translated"):
        bli(induce(src, tgt, queries=["x", "y"], top=2), test)


def test_bins_of_frequency():
    src = WordVectors(("x", "y", "w", "v"), np.eye(4), np.array([500, 70, 60, 10]))
    bins = by_frequency(bli(made(ROWS, KNOWN), TEST), src)
    assert [r.queries for r in bins.values()] == [("x", "y", "z", "w", "v"), ("x", "y", "w"), ("x",)]
    assert bins[50].p_at[1] == 0.5
    assert bins[50].coverage == pytest.approx(2 / 3)
    with pytest.raises(InputError, match="no counts"):
        by_frequency(bins[0], WordVectors(("x",), np.ones((1, 1))))


def test_bad_input():
    translations = made(ROWS, KNOWN)
    with pytest.raises(UsageError, match="unknown protocol"):
        bli(translations, TEST, protocol="babylon")
    with pytest.raises(UsageError, match="unknown rule"):
        bli(translations, TEST, unit="line")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="k is not positive"):
        bli(translations, TEST, ks=(0,))
    with pytest.raises(InputError, match="holds no pairs"):
        bli(translations, [])
    with pytest.raises(InputError, match="got 1, first 'u'"):
        bli(translations, [("u", "A")])
    with pytest.raises(UsageError, match="more translations are asked for"):
        bli(made({"x": "AB"}, depth=2), [("x", "A")])


# the files of each pair, then P@1/5/10 by words (rule W) and by pairs (rule P) in percent with MRR by pairs
FILES = {
    "en-es": ("iso-study/en-es.train.5000.muse.trans-all", "iso-study/en-es.test.2000.muse.trans", 888, 1485),
    "en-de": (
        "xling-eval/yacle.train.freq.5k.en-de.tsv",
        "xling-eval/yacle.test.freq.2k.en-de.tsv",
        996,
        996,
    ),
    "en-fr": (
        "xling-eval/yacle.train.freq.5k.en-fr.tsv",
        "xling-eval/yacle.test.freq.2k.en-fr.tsv",
        1202,
        1202,
    ),
}
STEPS = {"raw": (), "unit": ("unit",), "unit-centre-unit": UNIT_CENTRE_UNIT}
GOLDEN = [
    ("en-es", "raw", "nn", (12.16, 24.77, 30.74), (7.27, 17.85, 22.83), 0.1275),
    ("en-es", "raw", "csls", (19.93, 35.59, 40.77), (11.92, 25.45, 31.85), 0.1893),
    ("en-es", "unit", "nn", (12.16, 24.55, 31.19), (7.27, 17.64, 23.37), 0.1280),
    ("en-es", "unit", "csls", (19.93, 36.04, 41.78), (11.92, 25.79, 32.73), 0.1913),
    ("en-es", "unit-centre-unit", "nn", (16.55, 31.64, 38.63), (9.90, 22.90, 29.49), 0.1663),
    ("en-es", "unit-centre-unit", "csls", (20.95, 37.73, 44.26), (12.53, 27.41, 34.48), 0.1995),
    ("en-de", "raw", "nn", (5.12, 9.94, 13.76), (5.12, 9.94, 13.76), 0.0801),
    ("en-de", "raw", "csls", (8.33, 17.67, 22.79), (8.33, 17.67, 22.79), 0.1333),
    ("en-de", "unit", "nn", (4.32, 9.74, 14.06), (4.32, 9.74, 14.06), 0.0756),
    ("en-de", "unit", "csls", (7.83, 17.67, 21.89), (7.83, 17.67, 21.89), 0.1291),
    ("en-de", "unit-centre-unit", "nn", (6.43, 15.06, 18.98), (6.43, 15.06, 18.98), 0.1088),
    ("en-de", "unit-centre-unit", "csls", (9.04, 18.27, 23.19), (9.04, 18.27, 23.19), 0.1393),
    ("en-fr", "raw", "nn", (7.82, 17.80, 23.21), (7.82, 17.80, 23.21), 0.1299),
    ("en-fr", "raw", "csls", (14.81, 29.28, 35.86), (14.81, 29.28, 35.86), 0.2193),
    ("en-fr", "unit", "nn", (8.32, 17.64, 23.71), (8.32, 17.64, 23.71), 0.1343),
    ("en-fr", "unit", "csls", (15.64, 29.20, 36.27), (15.64, 29.20, 36.27), 0.2239),
    ("en-fr", "unit-centre-unit", "nn", (12.06, 25.21, 31.86), (12.06, 25.21, 31.86), 0.1870),
    ("en-fr", "unit-centre-unit", "csls", (15.81, 31.70, 38.27), (15.81, 31.70, 38.27), 0.2327),
]
FAST = ("en-es", "raw", "nn")


@pytest.mark.data
@pytest.mark.parametrize(
    ("pair", "steps", "retrieval", "by_word", "by_pair", "mrr"),
    [pytest.param(*row, marks=[] if row[:3] == FAST else pytest.mark.slow) for row in GOLDEN],
)
def test_figures_of_the_peers_evaluators(shared_data, pair, steps, retrieval, by_word, by_pair, mrr):
    train_file, test_file, n_words, n_pairs = FILES[pair]
    src, tgt = (read_vectors(shared_data / "vectors" / "novels" / f"{code}.npz") for code in pair.split("-"))
    train, test = (
        [(s.lower(), t.lower()) for s, t in read_lexicon(shared_data / "lexicons" / name)]
        for name in (train_file, test_file)
    )
    train = list(dict.fromkeys(train))
    rows = np.stack([src.indices_of([s for s, _ in train]), tgt.indices_of([t for _, t in train])], axis=1)
    rows = rows[(rows >= 0).all(axis=1)]
    X, src_normalizer = normalize(src.matrix, STEPS[steps])
    Y, tgt_normalizer = normalize(tgt.matrix, STEPS[steps])
    mapping = BilingualMap(
        procrustes(X, Y, pairs=rows).matrix, None, "procrustes", len(rows), src_normalizer, tgt_normalizer
    )
    words = tuple(dict.fromkeys(s for s, _ in test))
    fast = (pair, steps, retrieval) == FAST
    found = induce(src, tgt, mapping, queries=words, retrieval=retrieval, top=100 if fast else 1000)
    for protocol, expected, n_queries in (("muse", by_word, n_words), ("xling", by_pair, n_pairs)):
        result = bli(found, test, protocol=protocol)
        assert result.n_queries == n_queries
        assert result.n_candidates == 30_000
        np.testing.assert_allclose([100 * p for p in result.p_at.values()], expected, atol=0.0051)
    # translations beyond the first hundred (thousand) are left out of the mean
    assert mrr - (0.0015 if fast else 0.0003) < result.mrr <= mrr + 0.00005
    fasttext = bli(found, test, protocol="fasttext")
    word = bli(found, test, protocol="vecmap")
    assert fasttext.p_at[1] == pytest.approx(word.p_at[1] * word.coverage)


@pytest.mark.data
@pytest.mark.parametrize(
    ("preset", "nearest", "csls"),
    [
        ("vecmap_supervised", 3.92, 7.84),
        ("vecmap_aaai2018", 5.88, 9.80),
        ("vecmap_orthogonal", 7.84, 9.80),
    ],
)
def test_vecmaps_evaluator_on_its_own_maps(shared_golden, preset, nearest, csls):
    folder = shared_golden / "bli" / "small"
    src, tgt = (
        WordVectors(
            tuple((folder / f"{code}.words.txt").read_text(encoding="utf-8").split("\n")[:2000]),
            np.load(folder / f"{preset}.{side}.npy"),
        )
        for code, side in (("en", "src"), ("es", "tgt"))
    )
    test = [(src.words[i], tgt.words[j]) for i, j in np.load(folder / "test_ids.npy")]
    for retrieval, expected in (("nn", nearest), ("csls", csls)):
        result = bli(partial(induce, src, tgt, retrieval=retrieval), test, protocol="vecmap", depth=10)
        assert (result.n_queries, result.n_candidates) == (51, 2000)
        assert 100 * result.p_at[1] == pytest.approx(expected, abs=0.005)
