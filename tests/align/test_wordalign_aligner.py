"""The aligner as an object: the same text again, other texts, unknown words, files, scores, bad input."""

from __future__ import annotations

import json
from dataclasses import replace

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

from align.errors import InputError, OutputError, UsageError
from align.evaluation import alignment_error_rate
from align.parallel import executor
from align.wordalign import Aligner, Alignment, AlignOptions, Bitext, WordClasses, align, train
from align.wordalign.classes import ClassPrior
from align.wordalign.options import MODELS
from align.wordalign.pairs import build_pairs

Sentences = list[list[str]]

STEMS = ("bal", "dor", "fim", "gul", "hes", "jat", "kov", "lin", "mur", "nop", "rit", "suv")
ENDINGS = ("", "a", "em", "isk")


def planted(
    rng, *, n_pairs=300, noise=0.05, turned=0.3
) -> tuple[Sentences, Sentences, list[list[tuple[int, int]]]]:
    """Words are stem + ending; the other side has them in another alphabet, at times turned (1: shuffled)."""
    src, tgt, links = [], [], []
    for _ in range(n_pairs):
        n = int(rng.integers(3, 9))
        words = [
            (int(a), int(b))
            for a, b in np.stack([rng.choice(12, n, replace=False), rng.integers(0, 4, n)], 1)
        ]
        order = np.roll(np.arange(n), -1) if rng.random() < turned else np.arange(n)
        if turned == 1:
            order = rng.permutation(n)
        gold, other = [], []
        for i in order:
            if rng.random() < noise:
                other.append("zz" + STEMS[rng.integers(12)])
            else:
                gold.append((int(i), len(other)))
                other.append(translation(*words[i]))
        src.append([STEMS[a] + ENDINGS[b] for a, b in words])
        tgt.append(other)
        links.append(gold)
    return src, tgt, links


def translation(stem: int, ending: int) -> str:
    return f"{chr(0x430 + stem)}{chr(0x440 + stem)}{chr(0x434 + stem)}{chr(0x443 + stem)}{ENDINGS[ending]}"


@pytest.fixture(scope="module")
def text() -> tuple[Bitext, tuple[str, ...], tuple[str, ...]]:
    src, tgt, _ = planted(np.random.default_rng(0))
    return Bitext.from_words(src, tgt)


def assert_same(a: Alignment, b: Alignment) -> None:
    for name in ("counts", "src_to_tgt", "tgt_to_src"):
        x, y = getattr(a, name), getattr(b, name)
        assert x.data.tobytes() == y.data.tobytes()
        np.testing.assert_array_equal(x.indices, y.indices)
    for name in ("offsets", "src", "tgt", "weights"):
        assert getattr(a.links, name).tobytes() == getattr(b.links, name).tobytes()
    assert a.log_likelihood == b.log_likelihood


@pytest.mark.parametrize("model", MODELS)
def test_the_training_text_gets_the_same_bytes_again_also_from_a_file(text, model, tmp_path):
    bitext, src_words, tgt_words = text
    first = align(bitext, model=model, src_words=src_words, tgt_words=tgt_words)
    aligner = train(bitext, model=model, src_words=src_words, tgt_words=tgt_words)
    assert first.history[:-1] == aligner.history
    assert_same(aligner.align(bitext), first)
    assert_same(aligner.align(bitext, src_words=src_words, tgt_words=tgt_words), first)
    aligner.save(tmp_path / "model.safetensors")
    loaded = Aligner.load(tmp_path / "model.safetensors")
    assert_same(loaded.align(bitext), first)
    assert (loaded.model, loaded.options, loaded.history) == (model, aligner.options, aligner.history)
    assert (loaded.src_words, loaded.tgt_words, loaded.tension) == (src_words, tgt_words, aligner.tension)
    other, words, others = Bitext.from_words([["bala", "unknown", "hes"]], [["zzdor", "x", "y"]])
    assert_same(
        loaded.align(other, src_words=words, tgt_words=others),
        aligner.align(other, src_words=words, tgt_words=others),
    )


@pytest.mark.parametrize("model", ["hmm", "diagonal"])
def test_an_executor_gives_the_same_bytes(text, model):
    bitext, src_words, tgt_words = text
    words = {"src_words": src_words, "tgt_words": tgt_words}
    here = align(bitext, model=model, **words)
    with executor(None) as pool:
        assert_same(align(bitext, model=model, executor=pool, **words), here)
        assert_same(train(bitext, model=model, executor=pool, **words).align(bitext, executor=pool), here)


def test_numbers_of_types_do_not_matter(text):
    bitext, src_words, tgt_words = text
    aligner = train(bitext, src_words=src_words, tgt_words=tgt_words)
    rng = np.random.default_rng(1)
    new_src, new_tgt = rng.permutation(bitext.n_src_types), rng.permutation(bitext.n_tgt_types)
    renumbered = replace(
        bitext, src_ids=np.argsort(new_src)[bitext.src_ids], tgt_ids=np.argsort(new_tgt)[bitext.tgt_ids]
    )
    words = [src_words[k] for k in new_src], [tgt_words[k] for k in new_tgt]
    again = aligner.align(renumbered, src_words=words[0], tgt_words=words[1])
    first = aligner.align(bitext)
    assert again.links.weights.tobytes() == first.links.weights.tobytes()
    np.testing.assert_array_equal(again.links.tgt, first.links.tgt)
    np.testing.assert_array_equal(again.counts.toarray(), first.counts.toarray()[np.ix_(new_src, new_tgt)])


@pytest.mark.parametrize("model", MODELS)
def test_bytes_do_not_depend_on_the_number_of_threads(text, model):
    bitext, src_words, tgt_words = text
    other, words, others = Bitext.from_words([["bala", "unknown", "hes"] * 9], [["zzdor", "x", "y"] * 7])
    before = numba.get_num_threads()
    results = []
    try:
        for n_threads in (1, min(2, numba.config.NUMBA_NUM_THREADS)):
            numba.set_num_threads(n_threads)
            aligner = train(bitext, model=model, src_words=src_words, tgt_words=tgt_words)
            results.append(aligner.align(other, src_words=words, tgt_words=others))
    finally:
        numba.set_num_threads(before)
    assert_same(*results)
    assert (
        results[0].aligner.probabilities.tobytes() == results[1].aligner.probabilities.tobytes()
    )  # of the training text


@pytest.mark.parametrize(("model", "worst"), [("hmm", 0.03), ("hmm-independent", 0.08), ("diagonal", 0.15)])
def test_unseen_text_is_aligned_as_well_as_planted(model, worst):
    src, tgt, links = planted(np.random.default_rng(2), n_pairs=400)
    bitext, src_words, tgt_words = Bitext.from_words(src[:300], tgt[:300])
    aligner = train(bitext, model=model, src_words=src_words, tgt_words=tgt_words)
    other, words, others = Bitext.from_words(src[300:], tgt[300:])
    found = aligner.align(other, src_words=words, tgt_words=others).links
    error = alignment_error_rate([found.pair(n) for n in range(100)], links[300:], links[300:]).aer
    assert error < worst


def test_words_never_seen_link_by_their_class_and_by_equal_strings():
    # training lacks one form of two stems, and words are in no order
    left_out = {(3, 2), (5, 2)}
    src, tgt, _ = planted(np.random.default_rng(3), n_pairs=150, noise=0.0, turned=1)
    forms = {STEMS[a] + ENDINGS[b] for a, b in left_out}
    keep = [n for n in range(150) if not forms & set(src[n])]
    bitext, src_words, tgt_words = Bitext.from_words([src[n] for n in keep], [tgt[n] for n in keep])
    assert not forms & set(src_words)
    aligner = train(bitext, src_words=src_words, tgt_words=tgt_words)
    swapped = ["bal", "gulem", "jatem", "hes"], [translation(*w) for w in ((0, 0), (5, 2), (3, 2), (4, 0))]
    mean = aligner.pair_posteriors(*swapped).mean
    assert min(mean[1, 2], mean[2, 1]) > 0.5
    flat = train(bitext, src_words=src_words, tgt_words=tgt_words, options=AlignOptions(class_weight=0.0))
    assert flat.pair_posteriors(*swapped).mean[1, 2] < 0.3
    names = flat.pair_posteriors(
        ["bal", "Qxk", "Wyv", "hes"], [translation(0, 0), "Wyv", "Qxk", translation(4, 0)]
    )
    assert min(names.mean[1, 2], names.mean[2, 1]) > 0.5
    # with nothing else to go by, by position
    nothing = aligner.pair_posteriors(["bal", "Qxk", "hes"], [translation(0, 0), "Wyv", translation(4, 0)])
    assert nothing.mean[1, 1] > 0.5


def test_statistics_of_classes_are_those_of_training():
    src, tgt, _ = planted(np.random.default_rng(4), n_pairs=80)
    bitext, src_words, tgt_words = Bitext.from_words(src, tgt)
    options = AlignOptions(min_count=0.0)
    aligner = train(bitext, src_words=src_words, tgt_words=tgt_words, options=options)
    pairs = build_pairs(bitext, max_len=options.max_len)
    np.testing.assert_array_equal(pairs.tgt, aligner.tgt)
    row_src = np.repeat(np.arange(bitext.n_src_types), np.diff(pairs.indptr))
    counts = aligner.counts.toarray()[row_src, pairs.tgt][:, None]
    prior = ClassPrior(
        (aligner.frequency_src, aligner.frequency_tgt),
        pairs,
        WordClasses.of_words(src_words, tgt_words),
        alpha=0.0,
        class_weight=1.0,
        form_weight=0.0,
    )(counts)
    ours = np.mean([of_map(row_src, pairs.tgt) for of_map in aligner.class_statistics], axis=0)
    np.testing.assert_allclose(ours, prior, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_posteriors_are_probabilities_and_agree_with_links_counts_and_scores(model, data):
    sentence = st.lists(st.integers(0, 5), min_size=1, max_size=7)
    sentences = data.draw(st.lists(st.tuples(sentence, sentence), min_size=1, max_size=8))
    bitext = Bitext.from_ids(*zip(*sentences, strict=True), n_src_types=7, n_tgt_types=7)
    aligner = train(bitext, model=model, options=AlignOptions(min_count=0.0))
    result = aligner.align(bitext)
    total = 0.0
    scores = aligner.scores(bitext)
    for n, posteriors in enumerate(aligner.posteriors(bitext)):
        src, tgt = sentences[n]
        assert posteriors.src_to_tgt.shape == posteriors.tgt_to_src.shape == (len(src), len(tgt))
        assert (posteriors.src_to_tgt >= 0).all()
        assert (posteriors.tgt_to_src >= 0).all()
        assert (posteriors.src_to_tgt.sum(axis=0) <= 1 + 1e-4).all()
        assert (posteriors.tgt_to_src.sum(axis=1) <= 1 + 1e-4).all()
        expected = [tuple(cell) for cell in np.argwhere(posteriors.mean > 0.5).tolist()]
        assert result.links.pair(n) == expected
        np.testing.assert_array_equal(scores[n], posteriors.log_likelihood)
        total += float(posteriors.mean.sum())
    lengths = np.array([[len(tgt), len(src)] for src, tgt in sentences])
    np.testing.assert_allclose((scores * lengths).sum(axis=0), result.log_likelihood, rtol=1e-9)
    np.testing.assert_allclose(result.counts.sum(), total, rtol=1e-4, atol=1e-5)


def test_directional_links_are_the_most_probable_words(text):
    bitext, _, _ = text
    aligner = train(bitext)
    forward, backward = aligner.directional_links(bitext)
    for n, posteriors in enumerate(aligner.posteriors(bitext)):
        p, q = posteriors.src_to_tgt, posteriors.tgt_to_src
        wanted = [(i, j) for j, i in enumerate(p.argmax(axis=0)) if p[i, j] > 1 - p[:, j].sum(dtype=float)]
        assert forward.pair(n) == sorted(wanted)
        wanted = [(i, j) for i, j in enumerate(q.argmax(axis=1)) if q[i, j] > 1 - q[i].sum(dtype=float)]
        assert backward.pair(n) == wanted
        if n == 20:
            break


def test_scores_tell_translations_from_other_sentences(text):
    bitext, src_words, tgt_words = text
    aligner = train(bitext, src_words=src_words, tgt_words=tgt_words)
    src, tgt, _ = planted(np.random.default_rng(5), n_pairs=60)
    good, *words = Bitext.from_words(src, tgt)
    bad, *others = Bitext.from_words(src, tgt[1:] + tgt[:1])
    right = aligner.scores(good, src_words=words[0], tgt_words=words[1]).sum(axis=1)
    wrong = aligner.scores(bad, src_words=others[0], tgt_words=others[1]).sum(axis=1)
    assert (right > wrong).mean() > 0.95


def test_lexical_table(text):
    bitext, src_words, tgt_words = text
    aligner = train(bitext, src_words=src_words, tgt_words=tgt_words)
    for direction, n_given in (("src-to-tgt", bitext.n_src_types), ("tgt-to-src", bitext.n_tgt_types)):
        table = aligner.table(direction)
        assert table.shape[0] == n_given
        sums = table.sum(axis=1)
        assert ((sums > 0.3) & (sums <= 1 + 1e-5)).all()  # the mean-field estimate sums to less than 1
        large = aligner.table(direction, min_prob=0.1)
        assert large.data.min() >= 0.1
        assert large.nnz == (table.data >= 0.1).sum()
    best = aligner.table().toarray().argmax(axis=1)
    assert tgt_words[best[src_words.index("dorisk")]] == translation(1, 3)
    with pytest.raises(UsageError, match="unknown direction"):
        aligner.table("forward")


def test_longer_sentences_than_training_had(text):
    bitext, src_words, tgt_words = text
    aligner = train(bitext, src_words=src_words, tgt_words=tgt_words)
    src = [STEMS[k % 12] for k in range(60)]
    tgt = [translation(k % 12, 0) for k in range(60)]
    mean = aligner.pair_posteriors(src, tgt).mean
    np.testing.assert_array_equal(mean.argmax(axis=1), np.arange(60))


def test_ids_without_words_may_go_on_to_new_types():
    bitext = Bitext.from_ids([[0, 1, 2], [1, 0, 2], [2, 0]] * 9, [[1, 0, 2], [0, 1, 2], [2, 1]] * 9)
    aligner = train(bitext)
    other = Bitext.from_ids([[0, 5, 2]], [[1, 5, 2]])
    assert aligner.align(other).links.pair(0) == [(0, 0), (1, 1), (2, 2)]
    own = WordClasses((np.arange(3),), (np.arange(3),), np.full(3, -1, np.int32), np.full(3, -1, np.int32))
    assert (1, 1) in train(bitext, classes=own).align(other).links.pair(0)
    with pytest.raises(UsageError, match="does not know its words"):
        aligner.align(other, src_words=list("abcdef"), tgt_words=list("abcdef"))


@pytest.mark.parametrize("model", MODELS)
def test_one_sentence(model):
    bitext, *words = Bitext.from_words([["a", "b"]], [["x", "y"]])
    result = align(bitext, model=model, src_words=words[0], tgt_words=words[1])
    assert np.isfinite(result.history).all()
    assert result.links.n_pairs == 1
    again = result.aligner.align(bitext)
    assert_same(again, result)


@pytest.mark.parametrize("model", MODELS)
def test_identical_sides_link_equal_words(model):
    src, _, _ = planted(np.random.default_rng(6), n_pairs=100)
    bitext, *words = Bitext.from_words(src, src)
    links = align(bitext, model=model, src_words=words[0], tgt_words=words[1]).links
    gold = [[(i, i) for i in range(len(s))] for s in src]
    assert alignment_error_rate([links.pair(n) for n in range(100)], gold, gold).aer < 0.05


def test_empty_lines_and_enormous_ones(text):
    bitext, src_words, tgt_words = text
    aligner = train(bitext, src_words=src_words, tgt_words=tgt_words)
    src = [["bal"], [], ["dor"] * 10_000, ["dor"]]
    tgt = [[translation(0, 0)], ["x"], ["y"] * 10_000, [translation(1, 0)]]
    with pytest.warns(UserWarning, match="1 of 4 sentence pairs have an empty side"):
        other, *words = Bitext.from_words(src, tgt)
    with pytest.warns(UserWarning, match="1 of 4 sentence pairs have more than 256 tokens") as caught:
        result = aligner.align(other, src_words=words[0], tgt_words=words[1])
    assert len(caught) == 1
    assert [result.links.pair(n) for n in range(4)] == [[(0, 0)], [], [], [(0, 0)]]
    with pytest.warns(UserWarning, match="256 tokens"):
        scores = aligner.scores(other, src_words=words[0], tgt_words=words[1])
    np.testing.assert_array_equal(np.isnan(scores[:, 0]), [False, True, True, False])
    with pytest.warns(UserWarning, match="256 tokens"):
        posteriors = list(aligner.posteriors(other, src_words=words[0], tgt_words=words[1]))
    assert [p.mean.shape for p in posteriors] == [(1, 1), (0, 1), (10_000, 10_000), (1, 1)]
    with pytest.warns(UserWarning, match="256 tokens"):
        assert train(other, src_words=words[0], tgt_words=words[1]).counts.nnz


def test_strange_words_survive_a_file(tmp_path):
    src = [["a\0b", "\0", ""], ["\ud800x", "c\n\t"], ["a\0b"]]
    tgt = [["\0", "x\0", ""], ["y", "\U0001f600"], ["x\0"]]
    bitext, *words = Bitext.from_words(src, tgt)
    aligner = train(bitext, src_words=words[0], tgt_words=words[1])
    aligner.save(tmp_path / "m.safetensors")
    loaded = Aligner.load(tmp_path / "m.safetensors")
    assert (loaded.src_words, loaded.tgt_words) == tuple(words)
    assert_same(loaded.align(bitext), aligner.align(bitext))
    posteriors = loaded.pair_posteriors(["a\0b", "c\n\t"], ["x\0", "\U0001f600"])
    np.testing.assert_array_equal(posteriors.mean.argmax(axis=1), [0, 1])


def test_files_that_are_no_aligners(text, tmp_path):
    bitext, src_words, tgt_words = text
    good, bad = tmp_path / "good.safetensors", tmp_path / "bad.safetensors"
    train(bitext, src_words=src_words, tgt_words=tgt_words).save(good)
    with pytest.raises(InputError):
        Aligner.load(tmp_path / "absent")
    bad.write_bytes(good.read_bytes()[:-5])
    with pytest.raises(InputError, match="damaged"):
        Aligner.load(bad)
    save_file({"a": np.zeros(3)}, bad)
    with pytest.raises(InputError, match="no word aligner"):
        Aligner.load(bad)
    with safe_open(good, framework="numpy") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        about = json.loads(file.metadata()["aligner"])
    changes = {
        "another version": ({}, {"version": 99}),
        "unknown alignment model": ({}, {"model": "ibm9"}),
        "no complete": ({}, {"history": None}),
        "do not fit": ({"tgt": arrays["tgt"] + np.int32(1000)}, {}),
        "not fit each": ({"probabilities": arrays["probabilities"][:-1]}, {}),
        "fit each other": ({"jumps": arrays["jumps"][:, :-1]}, {}),
        "parts of": ({"counts.indices": arrays["counts.indices"] + np.int32(1000)}, {}),
    }
    for match, (other_arrays, other_about) in changes.items():
        save_file({**arrays, **other_arrays}, bad, {"aligner": json.dumps({**about, **other_about})})
        with pytest.raises((InputError, UsageError), match=match):
            Aligner.load(bad)
    with pytest.raises(OutputError, match="cannot be written"):
        Aligner.load(good).save(tmp_path / "absent" / "m.safetensors")


def test_words_must_fit(text):
    bitext, src_words, tgt_words = text
    with pytest.raises(UsageError, match="one side only"):
        train(bitext, src_words=src_words)
    with pytest.raises(InputError, match="src_words: words do not fit"):
        train(bitext, src_words=src_words[1:], tgt_words=tgt_words)
    aligner = train(bitext, src_words=src_words, tgt_words=tgt_words)
    with pytest.raises(InputError, match="empty side"):
        aligner.pair_posteriors([], ["a"])
