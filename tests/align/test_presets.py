"""The supervised presets, end to end on planted spaces with noise."""

from __future__ import annotations

import numpy as np
import pytest

from align.errors import InputError, OutputError, UsageError
from align.evaluation import bli
from align.induction.evidence import Witness
from align.induction.presets import best, best_from_pairs
from align.induction.ranked import RankedInducer
from align.induction.spaces import Spaces, fit_anchored
from align.lexicon import Lexicon
from align.vectors import WordVectors

N, DIM = 700, 16
FOREIGN = str.maketrans("abcdefghijklmnopqrstuvwxyz", "абцдефгхијклмнопњрстувџышз")


def _spaces(*, foreign: bool = False) -> tuple[WordVectors, WordVectors, Lexicon, Lexicon]:
    """A space and its noisy rotation; counterparts differ in a suffix, or in every letter's script."""
    rng = np.random.default_rng(7)
    letters = list("abcdefghijklmnoprstuvz")
    src_words = tuple(dict.fromkeys("".join(rng.choice(letters, 6)) for _ in range(N + 50)))[:N]
    X = rng.normal(size=(N, DIM)) * np.linspace(2, 0.5, DIM)
    rotation, _ = np.linalg.qr(rng.normal(size=(DIM, DIM)))
    Y = X @ rotation + 1.3 * rng.normal(size=(N, DIM))
    shift = np.clip(np.arange(N) + rng.integers(-150, 151, N), 0, N - 1)  # ranks differ a little
    order = np.argsort(shift, kind="stable")
    if foreign:  # random words: spellings say nothing at all
        tgt_words = ["".join(rng.choice(letters, 6)).translate(FOREIGN) + str(i) for i in range(N)]
    else:
        tgt_words = [
            word[:-1] + "ado" if rng.random() < 0.5 else "".join(rng.choice(letters, 7)) + str(i)
            for i, word in enumerate(src_words)
        ]
    src = WordVectors(src_words, X)
    tgt = WordVectors(tuple(tgt_words[i] for i in order), Y[order])
    pairs = list(zip(src_words, tgt_words, strict=True))
    kept = rng.permutation(N)
    return (
        src,
        tgt,
        Lexicon(tuple(pairs[i] for i in kept[:400])),
        Lexicon(tuple(pairs[i] for i in kept[400:])),
    )


@pytest.fixture(scope="module")
def planted() -> tuple[WordVectors, WordVectors, Lexicon, Lexicon]:
    return _spaces()


@pytest.fixture(scope="module")
def inducer(planted: tuple[WordVectors, WordVectors, Lexicon, Lexicon]) -> RankedInducer:
    return best(*planted[:3])


@pytest.fixture(scope="module")
def vectors(planted: tuple[WordVectors, WordVectors, Lexicon, Lexicon]) -> RankedInducer:
    return best(*planted[:3], strings=False)


def test_evidence_beats_the_map_and_spellings_beat_vectors(
    planted: tuple[WordVectors, WordVectors, Lexicon, Lexicon], inducer: RankedInducer, vectors: RankedInducer
) -> None:
    test = planted[3]
    assert vectors.method == "best-vectors"
    assert not any(name.startswith("spelling") for name in vectors.ranker.names)
    assert vectors.cross_validated["vectors"] > vectors.cross_validated["csls"]
    p_vectors, p_all = bli(vectors, test, depth=10).p_at[1], bli(inducer, test, depth=10).p_at[1]
    assert p_all > p_vectors + 0.1
    # what was promised on held-out words of the dictionary holds for others
    assert abs(p_all - inducer.cross_validated["spellings"]) < 0.1
    assert abs(p_vectors - vectors.cross_validated["vectors"]) < 0.1


def test_spellings_that_say_nothing_do_no_harm() -> None:
    src, tgt, train, test = _spaces(foreign=True)
    found = best(src, tgt, train)
    plain = best(src, tgt, train, strings=False)
    p_all, p_plain = bli(found, test, depth=10).p_at[1], bli(plain, test, depth=10).p_at[1]
    assert p_all >= p_plain - 0.03
    if found.correspondences is None:
        np.testing.assert_array_equal(found.ranker.weights, plain.ranker.weights)


def test_frequencies_can_be_left_out(planted: tuple[WordVectors, WordVectors, Lexicon, Lexicon]) -> None:
    found = best(*planted[:3], strings=False, frequencies=False)
    assert not any("frequency" in name or "log rank" in name for name in found.ranker.names)


def test_the_same_seed_gives_the_same_bits(
    planted: tuple[WordVectors, WordVectors, Lexicon, Lexicon], inducer: RankedInducer
) -> None:
    again = best(*planted[:3])
    np.testing.assert_array_equal(again.ranker.weights, inducer.ranker.weights)
    words = planted[0].words[:50]
    np.testing.assert_array_equal(again.translate(words).scores, inducer.translate(words).scores)


def test_a_query_does_not_depend_on_the_others(
    planted: tuple[WordVectors, WordVectors, Lexicon, Lexicon], inducer: RankedInducer
) -> None:
    words = planted[0].words[:40]
    together, alone = inducer.translate(words), inducer.translate(words[5:6])
    np.testing.assert_array_equal(together.indices[5], alone.indices[0])
    np.testing.assert_allclose(together.scores[5], alone.scores[0], rtol=1e-5)


def test_translations_say_what_is_unknown(inducer: RankedInducer) -> None:
    word = inducer.spaces.src.words[3]
    found = inducer.translate(["no such word", word, word], top=4)
    assert found.src_words == ("no such word", word)
    np.testing.assert_array_equal(found.known, [False, True])
    assert found.of("no such word") == []
    scores = [score for _, score in found.of(word)]
    assert len(scores) == 4
    assert scores == sorted(scores, reverse=True)
    assert inducer.translate(["no such word"]).of("no such word") == []
    with pytest.raises(UsageError, match="top"):
        inducer.translate([word], top=0)


def test_saved_and_loaded_it_translates_alike(
    planted: tuple[WordVectors, WordVectors, Lexicon, Lexicon], inducer: RankedInducer, tmp_path
) -> None:
    inducer.save(tmp_path / "made")
    loaded = RankedInducer.load(tmp_path / "made", *planted[:2])
    words = planted[0].words[100:160]
    np.testing.assert_array_equal(loaded.translate(words).indices, inducer.translate(words).indices)
    np.testing.assert_array_equal(loaded.translate(words).scores, inducer.translate(words).scores)
    assert loaded.cross_validated == inducer.cross_validated
    with pytest.raises(OutputError, match="exists"):
        inducer.save(tmp_path / "made")
    inducer.save(tmp_path / "made", overwrite=True)
    with pytest.raises(InputError, match="not the vectors"):
        RankedInducer.load(tmp_path / "made", planted[1], planted[0])
    (tmp_path / "made" / "ranker.safetensors").write_bytes(b"xx")
    with pytest.raises(InputError, match="damaged"):
        RankedInducer.load(tmp_path / "made", *planted[:2])
    with pytest.raises(InputError, match="no inducer"):
        RankedInducer.load(tmp_path, *planted[:2])


def test_evidence_on_a_word_ignores_its_own_entry(
    planted: tuple[WordVectors, WordVectors, Lexicon, Lexicon],
) -> None:
    """Neither the correction nearby nor "translates another word" may know a query's own pair."""
    src, tgt, train, _ = planted
    pairs = np.stack([src.indices_of([s for s, _ in train]), tgt.indices_of([t for _, t in train])], axis=1)
    spaces = Spaces.of(src, tgt)
    whole = Witness(spaces, fit_anchored(spaces, pairs, np.ones(len(pairs)), rounds=0), None)
    found = whole.candidates(pairs[:1, 0])
    right = found.columns[0] == pairs[0, 1]
    taken = found.values[0, :, found.names.index("translates another word")]
    if right.any():
        assert taken[right].max() == 0
    n_taken = np.isin(found.columns[0], pairs[1:, 1])
    np.testing.assert_array_equal(taken, n_taken)


def test_likeness_to_known_pairs_is_that_of_the_definition(
    planted: tuple[WordVectors, WordVectors, Lexicon, Lexicon], inducer: RankedInducer
) -> None:
    src, _, _, test = planted
    witness = Witness(inducer.spaces, inducer.anchored, inducer.correspondences)
    row = int(src.indices_of([test.pairs[0][0]])[0])
    found = witness.candidates(np.array([row]))
    ngrams, pairs = inducer.spaces.ngrams, inducer.anchored.pairs
    near = (ngrams.src[row] @ ngrams.src[pairs[:, 0]].T).toarray()[0]
    chosen = np.argsort(-near, kind="stable")[:10]
    theirs = (ngrams.tgt[pairs[chosen, 1]] @ ngrams.tgt[found.columns[0]].T).toarray()
    mean = (near[chosen, None] ** 2 * theirs).sum(axis=0) / (near[chosen] ** 2).sum()
    for name, wanted in (
        ("spelling: like known pairs", mean),
        ("spelling: like a known pair", (near[chosen, None] * theirs).max(axis=0)),
    ):
        np.testing.assert_allclose(found.values[0, :, found.names.index(name)], wanted, atol=1e-5)


def test_weights_and_progress(
    planted: tuple[WordVectors, WordVectors, Lexicon, Lexicon], vectors: RankedInducer
) -> None:
    src, tgt, train, _ = planted
    pairs = np.stack([src.indices_of([s for s, _ in train]), tgt.indices_of([t for _, t in train])], axis=1)
    junk = np.stack([pairs[:, 0], np.roll(pairs[:, 1], 1)], axis=1)
    weights = np.concatenate([np.ones(len(pairs)), np.zeros(len(junk))])
    seen: list[tuple[int, int]] = []
    found = best_from_pairs(
        src,
        tgt,
        np.concatenate([pairs, junk]),
        weights,
        strings=False,
        progress=lambda i, n: seen.append((i, n)),
    )
    np.testing.assert_array_equal(found.ranker.weights, vectors.ranker.weights)
    assert seen == [(i, 4) for i in range(5)]
    with pytest.raises(UsageError, match="weights"):
        best_from_pairs(src, tgt, pairs, np.ones(3))


def test_pairs_outside_the_vocabularies_are_told(
    planted: tuple[WordVectors, WordVectors, Lexicon, Lexicon],
) -> None:
    src, tgt, train, _ = planted
    with (
        pytest.warns(UserWarning, match="5 of 5 pairs"),
        pytest.raises(InputError, match="too few pairs"),
    ):
        best(src, tgt, Lexicon(tuple((f"no{i}", "none") for i in range(5))))
    assert len(train) == 400
