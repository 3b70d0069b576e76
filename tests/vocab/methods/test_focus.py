from __future__ import annotations

import numba
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from align.errors import UsageError
from align.normalize import unit
from align.vectors import WordVectors, read_vectors
from tests.vocab.small_vocabularies import byte_level, open_space
from vocab.materials.gathering import Materials
from vocab.methods.expression import parse_expression
from vocab.methods.focus import _focus, focus, train_token_vectors
from vocab.methods.overlap import Overlap, overlap
from vocab.methods.recipes import Kitchen
from vocab.methods.similarity import TokenVectors, vectors_of_texts
from vocab.methods.sparsemax import sparsemax_reference
from vocab.plan import Origin, TransferPlan
from vocab.progress import Decisions, Progress
from vocab.tokens import Vocabulary

SHARED = [f" s{i}".encode() for i in range(40)]
NEW = [f" n{i}".encode() for i in range(25)]


def token_space(vocabulary: Vocabulary, matrix: np.ndarray, n: int) -> WordVectors:
    """Vectors of the first n tokens' strings after the specials."""
    return WordVectors(vocabulary.tokens[5 : 5 + n], matrix[:n])


@pytest.fixture
def planted():
    """Every new token lies, with noise, between two shared ones."""
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((40, 60))
    parents = rng.permuted(np.tile(np.arange(40), (25, 1)), axis=1)[:, :2]
    new = shared[parents].mean(axis=1) + 0.1 * rng.standard_normal((25, 60))
    src, tgt = byte_level([*SHARED, b" old"]), byte_level([*NEW, *SHARED, b" unseen"])
    return src, tgt, token_space(tgt, np.vstack([new, shared]).astype(np.float32), 65), parents


def test_planted_parents_are_found(planted):
    src, tgt, vectors, parents = planted
    plan = focus(src, tgt, vectors=vectors)
    np.testing.assert_array_equal(plan.origins[:5], Origin.SPECIAL)
    np.testing.assert_array_equal(plan.origins[5:30], Origin.MIXED)
    np.testing.assert_array_equal(plan.origins[30:70], Origin.COPIED)
    assert plan.origins[70] == Origin.EMPTY
    W = plan.weights.toarray()
    np.testing.assert_array_equal(W[30:70, 5:45], np.eye(40))
    heaviest = np.sort(np.argsort(-W[5:30], axis=1)[:, :2] - 5, axis=1)
    np.testing.assert_array_equal(heaviest, np.sort(parents, axis=1))
    np.testing.assert_allclose(W[5:30].sum(axis=1), 1, atol=1e-6)
    assert plan.options["focus"]["anchors"] == 40


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_rows_equal_the_published_rule(planted, temperature):
    src, tgt, vectors, _ = planted
    rows = unit(vectors.matrix.astype(np.float64))
    W = focus(src, tgt, vectors=vectors, temperature=temperature).weights.toarray()
    expected = sparsemax_reference(rows[:25] @ rows[25:].T / temperature)
    np.testing.assert_allclose(W[5:30, 5:45], expected, atol=1e-6)


def test_tokens_without_a_vector_are_copied_but_no_anchors(planted):
    src, tgt, vectors, _ = planted
    fewer = WordVectors(vectors.words[:40], np.vstack([np.zeros((1, 60)), vectors.matrix[1:40]]))
    plan = focus(src, tgt, vectors=fewer)
    assert plan.options["focus"]["anchors"] == 15
    assert (plan.origins[30:70] == Origin.COPIED).all()
    assert plan.origins[5] == Origin.EMPTY  # a vector of zeros is none
    assert set(plan.weights[6:30].indices) <= set(range(5, 20))


def test_words_share_a_vector_whatever_surrounds_them():
    src, tgt = byte_level([b"maji", b" mto"]), byte_level([b"maji", b" mto", b" maji", b"\xc3", b" "])
    space = open_space(("maji", "mto"), np.eye(2, dtype=np.float32))
    plan = focus(src, tgt, vectors=space, mode="word")
    np.testing.assert_array_equal(plan.weights.toarray()[7, 5:], [1, 0])
    assert list(plan.origins[5:]) == [Origin.COPIED, Origin.COPIED, Origin.MIXED, Origin.EMPTY, Origin.EMPTY]


def test_word_mode_of_an_expression_takes_vectors_of_words():
    src, tgt = byte_level([b"maji", b" mto"]), byte_level([b"maji", b" mto", b" maji", b" mito"])
    space = open_space(("maji", "mto", "mito"), np.eye(3, 2, dtype=np.float32) + 0.1)
    materials = Materials(None, ["maji mto mito"], (), None, None, space)
    sides = Vocabulary.of(src), Vocabulary.of(tgt)
    plan = Kitchen(*sides, materials, 0, Decisions(), Progress()).plan(
        parse_expression("focus(word)").chain[0].terms[0][1]
    )
    expected = focus(src, tgt, vectors=space, mode="word")
    assert list(expected.origins[7:]) == [Origin.MIXED, Origin.MIXED]
    np.testing.assert_array_equal(plan.weights.toarray(), expected.weights.toarray())
    np.testing.assert_array_equal(plan.origins, expected.origins)


def test_fuzzy_matches_take_the_lowest_id():
    src = byte_level([b"Mto", b" mto", b" MTO", b"\xc3"])
    tgt = byte_level([b" MTO", b"mto", b" Mto", b"\xe3", b" ", b"maji"])
    exact, like = overlap(src, tgt), overlap(src, tgt, fuzzy="text")
    np.testing.assert_array_equal(exact.found[5:], [7, -1, -1, -1, -1, -1])
    np.testing.assert_array_equal(like.found[5:], [7, 5, 5, -1, -1, -1])
    np.testing.assert_array_equal(overlap(src, tgt, fuzzy="case").found[5:], [7, 5, 6, -1, -1, -1])
    assert list(like.origins[5:8]) == [Origin.COPIED, Origin.MAPPED, Origin.MAPPED]
    space = open_space((), np.empty((0, 2)))
    with pytest.warns(UserWarning, match="no shared token with a vector"):
        plan = focus(src, tgt, vectors=space, fuzzy=True)
    np.testing.assert_array_equal(plan.weights[[6]].indices, [5])


def test_one_shared_token_is_everything(planted):
    _, tgt, vectors, _ = planted
    plan = focus(byte_level([SHARED[3]]), tgt, vectors=vectors)
    np.testing.assert_array_equal(plan.weights.toarray()[5:30, 5], 1)


def test_no_shared_token_leaves_all_empty(planted):
    _, tgt, vectors, _ = planted
    with pytest.warns(UserWarning, match="no shared token with a vector"):
        plan = focus(byte_level([b"other"]), tgt, vectors=vectors)
    np.testing.assert_array_equal(plan.origins[5:], Origin.EMPTY)


def test_vectors_are_trained_on_the_tokens_of_the_text():
    src = byte_level([b"a", b"b", b",", b" "])
    tgt = byte_level([b"a", b"b", b",", b" ", b"c", b"d"])
    texts = ["ab, ba, " * 3, "cb, bc, " * 3] * 30
    vectors = train_token_vectors(tgt, texts, dim=16, epochs=2)
    assert vectors is not None
    assert {"a", "b", "c", ",", "Ġ"} <= set(vectors.words)  # the comma is a token like any other
    assert vectors.indices_of(["d"])[0] < 0
    plan = focus(src, tgt, texts=iter(texts))
    assert list(plan.origins[5:]) == [Origin.COPIED] * 4 + [Origin.MIXED, Origin.EMPTY]
    assert plan.options["focus"]["dim"] == 100
    again = focus(src, tgt, texts=texts)
    np.testing.assert_array_equal(plan.weights.toarray(), again.weights.toarray())


@pytest.mark.filterwarnings("ignore:focus found no shared token")
@pytest.mark.parametrize("texts", [[], [""], [" a"]])
def test_text_without_tokens_is_one_warning_and_copies(texts):
    src, tgt = byte_level([b" a"]), byte_level([b" a", b" b"])
    with pytest.warns(UserWarning, match="no token occurs 10 times"):
        plan = focus(src, tgt, texts=texts)
    assert list(plan.origins[5:]) == [Origin.COPIED, Origin.EMPTY]


def test_bad_input(planted):
    src, tgt, vectors, _ = planted
    with pytest.raises(UsageError, match="either vectors or texts"):
        focus(src, tgt)
    with pytest.raises(UsageError, match="either vectors or texts"):
        focus(src, tgt, vectors=vectors, texts=[])
    with pytest.raises(UsageError, match="takes vectors"):
        focus(src, tgt, texts=[], mode="word")
    with pytest.raises(UsageError, match="unknown mode"):
        focus(src, tgt, vectors=vectors, mode="piece")
    with pytest.raises(UsageError, match="must be positive"):
        focus(src, tgt, vectors=vectors, temperature=0)


def golden_vocabularies(inputs, target) -> tuple[Vocabulary, Vocabulary]:
    from tokenizers import Tokenizer

    return tuple(
        Vocabulary.of(Tokenizer.from_file(str(inputs / name / "tokenizer.json")))
        for name in ("source_bpe", target)
    )


RECORDED = [
    ("tokenlevel.target_bpe", "target_bpe"),
    ("tokenlevel_fuzzy.target_bpe.every4", "target_bpe"),
    ("wordlevel.target_bpe", "target_bpe"),
    ("wordlevel.target_unigram.every4", "target_unigram"),
    ("wordlevel.target_wordpiece.every4", "target_wordpiece"),
]


@pytest.mark.data
@pytest.mark.parametrize(("recorded", "target"), RECORDED)
def test_rows_equal_the_recorded_ones(shared_golden, recorded, target):
    """Parity with deepfocus 1.0.1 on every row that it mixes, given its overlap and its strings of tokens.

    Its own overlap takes fragments of characters for one another; that is a difference of :func:`overlap`,
    tested below.
    """
    inputs = shared_golden / "vocab" / "inputs"
    src, tgt = golden_vocabularies(inputs, target)
    arrays = np.load(shared_golden / "vocab" / "focus" / f"{recorded}.npz")
    copied = arrays["copied_from"].astype(np.int64)
    taken = Overlap(copied, np.where(copied >= 0, Origin.COPIED, Origin.EMPTY).astype(np.uint8))
    if recorded.startswith("tokenlevel"):
        vectors, strings = read_vectors(inputs / "target_bpe_tokens.bin"), list(tgt.tokens)
        of = np.where(vectors.indices_of(strings) >= 0, np.arange(len(tgt)), -1)
    else:
        vectors = read_vectors(inputs / "target_words.bin")
        strings = [tgt.tokenizer.decode([i], skip_special_tokens=False).strip() for i in range(len(tgt))]
        of = np.arange(len(tgt))
    plan = _focus(src, tgt, taken, TokenVectors.nonzero(vectors.vectors_of(strings), of), "token", 1.0)
    ids = arrays["row_ids"] if "row_ids" in arrays else np.arange(len(tgt))
    expected = arrays["rows"] if "rows" in arrays else arrays["matrix"]
    kind = arrays["kind"][ids]
    np.testing.assert_array_equal(plan.origins[ids] == Origin.COPIED, kind == 0)
    np.testing.assert_array_equal(plan.origins[ids] == Origin.MIXED, kind == 1)
    E = np.load(inputs / "source_matrix.npy")
    np.testing.assert_allclose((plan.weights @ E)[ids[kind < 2]], expected[kind < 2], atol=2e-5)


@pytest.mark.data
def test_differences_from_the_recorded_ones_are_false_copies(shared_golden):
    """The public function differs where fragments were taken for one another, or ``</s>`` is an anchor."""
    inputs = shared_golden / "vocab" / "inputs"
    src, tgt = golden_vocabularies(inputs, "target_bpe")
    arrays = np.load(shared_golden / "vocab" / "focus" / "tokenlevel.target_bpe.npz")
    plan = focus(src, tgt, vectors=read_vectors(inputs / "target_bpe_tokens.bin"))
    taken = overlap(src, tgt)
    same = taken.found == arrays["copied_from"]
    assert (~same).sum() == 137
    for i in np.flatnonzero(~same):  # ours has the token's bytes, theirs has others
        assert src.surfaces[taken.found[i]] == tgt.surfaces[i] != src.surfaces[arrays["copied_from"][i]]
        assert not _is_text(tgt.surfaces[i]) or not tgt.surfaces[i].decode().strip(
            "\x00\x1c\x1d\x1e\x1f \t\n\v\f\r\x85"
        )
    E = np.load(inputs / "source_matrix.npy")
    close = np.abs(plan.weights @ E - arrays["matrix"]).max(axis=1) < 1e-4
    assert close[same & (arrays["kind"] == 0)].all()
    # their rows again, with their anchors; ours agree where neither they nor ours use a disputed anchor
    theirs = _theirs(src, tgt, arrays["copied_from"].astype(np.int64), inputs)
    disputed = np.zeros(len(src), bool)
    disputed[arrays["copied_from"][~same]] = True
    disputed[taken.found[~same]] = True
    disputed |= src.special
    mixed = arrays["kind"] == 1
    touched = np.array([disputed[plan.weights[[i]].indices].any() for i in range(len(tgt))])
    touched |= np.array([disputed[theirs.weights[[i]].indices].any() for i in range(len(tgt))])
    assert close[mixed & ~touched].all()
    assert (mixed & ~touched).sum() > 700
    np.testing.assert_array_equal(plan.origins == Origin.EMPTY, arrays["kind"] == 2)


def _theirs(src: Vocabulary, tgt: Vocabulary, copied: np.ndarray, inputs) -> TransferPlan:
    vectors = read_vectors(inputs / "target_bpe_tokens.bin")
    of = np.where(vectors.indices_of(tgt.tokens) >= 0, np.arange(len(tgt)), -1)
    taken = Overlap(copied, np.where(copied >= 0, Origin.COPIED, Origin.EMPTY).astype(np.uint8))
    return _focus(src, tgt, taken, TokenVectors.nonzero(vectors.vectors_of(tgt.tokens), of), "token", 1.0)


def _is_text(surface: bytes) -> bool:
    return surface.decode("utf-8", "ignore").encode() == surface


@pytest.mark.data
def test_the_same_bits_for_any_number_of_threads(shared_golden):
    inputs = shared_golden / "vocab" / "inputs"
    src, tgt = golden_vocabularies(inputs, "target_unigram")
    vectors = read_vectors(inputs / "target_words.bin")
    assert vectors_of_texts(tgt, vectors).rows.shape[0] > 3000
    first = focus(src, tgt, vectors=vectors, mode="word")
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            second = focus(src, tgt, vectors=vectors, mode="word")
    finally:
        numba.set_num_threads(threads)
    np.testing.assert_array_equal(first.weights.data, second.weights.data)
    np.testing.assert_array_equal(first.weights.indices, second.weights.indices)
