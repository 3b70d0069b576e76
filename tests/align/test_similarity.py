from __future__ import annotations

import gzip

import numpy as np
import pytest
from scipy import stats

from align.errors import InputError, UsageError
from align.evaluation import read_similarity, word_similarity
from align.mapping import BilingualMap
from align.vectors import WordVectors, read_vectors


def space(n=40, dim=8, seed=0, prefix=""):
    rng = np.random.default_rng(seed)
    return WordVectors(tuple(f"{prefix}w{i}" for i in range(n)), rng.standard_normal((n, dim)))


def judged(n_pairs=30, n=40, seed=1, prefixes=("", "")):
    """Pairs with rounded scores, so that some are equal."""
    rng = np.random.default_rng(seed)
    a, b = prefixes
    return [
        (f"{a}w{i}", f"{b}w{j}", float(score))
        for i, j, score in zip(
            rng.integers(0, n, n_pairs),
            rng.integers(0, n, n_pairs),
            rng.integers(0, 5, n_pairs),
            strict=True,
        )
    ]


def cosine(x, y):
    return x @ y / np.sqrt((x @ x) * (y @ y))


def test_correlations_are_those_of_scipy():
    src, pairs = space(), judged()
    found = word_similarity(pairs, src)
    cosines = [cosine(*src.matrix[src.indices_of([a, b])].astype(float)) for a, b, _ in pairs]
    scores = [score for _, _, score in pairs]
    np.testing.assert_allclose(found.cosines, cosines, atol=1e-6)
    assert found.spearman == pytest.approx(stats.spearmanr(cosines, scores).statistic, abs=1e-6)
    assert found.pearson == pytest.approx(stats.pearsonr(cosines, scores).statistic, abs=1e-6)
    assert (found.coverage, found.n_pairs) == (1.0, 30)
    opposite = word_similarity([(a, b, c) for (a, b, _), c in zip(pairs, cosines, strict=True)], src)
    assert opposite.harmonic_mean == pytest.approx(1.0)
    reverse = word_similarity([(a, b, -c) for (a, b, _), c in zip(pairs, cosines, strict=True)], src)
    assert (round(reverse.spearman, 6), reverse.harmonic_mean) == (-1.0, 0.0)


def test_harmonic_mean():
    src, pairs = space(), judged()
    cosines = word_similarity(pairs, src).cosines
    noise = 0.3 * np.random.default_rng(2).standard_normal(30)
    found = word_similarity([(a, b, c) for (a, b, _), c in zip(pairs, cosines + noise, strict=True)], src)
    assert 0 < found.spearman != found.pearson > 0
    assert found.harmonic_mean == pytest.approx(stats.hmean([found.spearman, found.pearson]))


def test_unknown_words_are_left_out_or_given_the_mean():
    src = space()
    pairs = [*judged(), ("w1", "x", 5.0), ("y", "w2", 0.0)]
    dropped, filled = word_similarity(pairs, src), word_similarity(pairs, src, oov="mean")
    whole = word_similarity(judged(), src)
    assert (dropped.spearman, dropped.pearson, dropped.n_pairs) == (whole.spearman, whole.pearson, 30)
    assert dropped.coverage == filled.coverage == 30 / 32
    assert filled.n_pairs == 32
    np.testing.assert_array_equal(np.isnan(filled.cosines), [False] * 30 + [True] * 2)
    cosines = [*whole.cosines, *[whole.cosines.mean()] * 2]
    scores = [score for _, _, score in pairs]
    assert filled.spearman == pytest.approx(stats.spearmanr(cosines, scores).statistic)


def test_two_spaces_and_a_map():
    rng = np.random.default_rng(3)
    W = np.linalg.qr(rng.standard_normal((8, 8)))[0]
    one = space()
    other = WordVectors(tuple("t" + w for w in one.words), one.matrix @ W)
    pairs = judged(prefixes=("", "t"))
    found = word_similarity(pairs, one, other, BilingualMap(W, None, "planted", 40))
    within = word_similarity(judged(), one)
    np.testing.assert_allclose(found.cosines, within.cosines, atol=1e-6)
    unmapped = word_similarity(pairs, one, other)
    assert abs(unmapped.cosines - within.cosines).max() > 0.1


def test_phrases_and_casing():
    src = WordVectors(
        ("new", "york", "city", "big apple"), np.array([[4.0, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1]])
    )
    pairs = [
        ("New York", "city", 4.0),
        ("big apple", "york", 3.0),
        ("new", "city", 2.0),
        ("new x", "city", 1.0),
    ]
    found = word_similarity(pairs, src, lower=True)
    # the mean of unit vectors, not of vectors; a phrase that is an entry stays itself
    np.testing.assert_allclose(found.cosines, [1.0, 0.0, np.sqrt(0.5), np.nan], atol=1e-6)
    assert word_similarity(pairs, src, lower=True, phrases="oov").coverage == 0.5
    assert word_similarity(pairs, src).coverage == 0.5
    subword = WordVectors(("new", "york"), src.matrix[:2], subword=_Constant())
    asked = [("new york", "new", 1.0), ("new", "york", 0.0), ("xx", "new", 0.5)]
    np.testing.assert_allclose(
        word_similarity(asked, subword).cosines, [np.sqrt(0.5), 0, 1 / np.sqrt(3)], atol=1e-6
    )


class _Constant:
    """A space whose every string has the same vector."""

    dim, words, counts, has_subwords = 3, (), None, True

    def indices_of(self, strings):
        return np.full(len(strings), -1)

    def vectors_of(self, strings):
        return np.ones((len(strings), 3), np.float32)

    def table(self, limit=None):
        raise NotImplementedError


def test_files(tmp_path):
    simlex = tmp_path / "simlex.txt"
    simlex.write_bytes(
        b"word1\tword2\tPOS\tSimLex999\tconc\r\nold\tnew\tA\t1.58\t2.7\r\nbig\tlarge\tA\t9.5\t3\r\n"
    )
    assert read_similarity(simlex) == [("old", "new", 1.58), ("big", "large", 9.5)]
    semeval = tmp_path / "semeval.txt.gz"
    semeval.write_bytes(gzip.compress("Promised Land\tBaku\t0.42\nHaus\tGebäude\t3\n".encode()))
    assert read_similarity(semeval) == [("Promised Land", "Baku", 0.42), ("Haus", "Gebäude", 3.0)]
    (tmp_path / "bad.txt").write_text("a\tb\t1.0\nc\td\tx\n")
    with pytest.raises(InputError, match=r"bad\.txt:2: not a judged pair"):
        read_similarity(tmp_path / "bad.txt")
    (tmp_path / "words.txt").write_text("a\tb\n")
    with pytest.raises(InputError, match=r"words\.txt:1"):
        read_similarity(tmp_path / "words.txt")


def test_bad_input():
    src = space()
    with pytest.raises(InputError, match="too few pairs are known"):
        word_similarity([("w1", "w2", 1.0), ("x", "y", 1.0)], src)
    with pytest.raises(InputError, match="are equal"):
        word_similarity([("w1", "w2", 1.0), ("w3", "w2", 1.0)], src)
    with pytest.raises(InputError, match="need a map"):
        word_similarity(judged(), src, space(dim=5))
    with pytest.raises(UsageError, match="unknown rule"):
        word_similarity(judged(), src, oov="wrong")


@pytest.mark.data
def test_the_usual_sets(shared_data):
    folder = shared_data / "similarity"
    sizes = {
        "semeval17-2/en.test.txt": 500,
        "semeval17-2/en-es.test.txt": 978,
        "simlex/SimLex-999.txt": 999,
        "wordsim-353/combined.tab": 353,
        "wordsim-353/es.fixed.tab": 352,
    }
    read = {name: read_similarity(folder / name) for name in sizes}
    assert {name: len(pairs) for name, pairs in read.items()} == sizes
    assert read["simlex/SimLex-999.txt"][0] == ("old", "new", 1.58)
    assert read["wordsim-353/combined.tab"][0] == ("love", "sex", 6.77)
    en = read_vectors(shared_data / "vectors" / "novels" / "en.npz")
    for name, least in (("semeval17-2/en.test.txt", 0.5), ("wordsim-353/combined.tab", 0.5)):
        pairs = read[name]
        found = word_similarity(pairs, en, lower=True, phrases="oov")
        rows = np.stack([en.indices_of([p[side].lower() for p in pairs]) for side in (0, 1)])
        known = (rows >= 0).all(axis=0)
        assert found.coverage == known.mean()
        cosines = [cosine(en.matrix[i], en.matrix[j]) for i, j in rows[:, known].T]
        scores = np.array([p[2] for p in pairs])[known]
        assert found.spearman == pytest.approx(stats.spearmanr(cosines, scores).statistic, abs=1e-5)
        assert found.pearson == pytest.approx(stats.pearsonr(cosines, scores).statistic, abs=1e-5)
        assert found.spearman > least
