from __future__ import annotations

import numba
import numpy as np
import pytest
from scipy.stats import ortho_group
from threadpoolctl import threadpool_limits

from align.errors import InputError, UsageError
from align.lexicon import Lexicon
from align.normalize import unit
from align.vectors import WordVectors, read_vectors
from tests.vocab.small_vocabularies import byte_level
from vocab.factorized.factors import factorize
from vocab.methods.ofa import ofa
from vocab.plan import Origin, TransferPlan
from vocab.tokens import Vocabulary

LETTERS = "abcdefghijklmnop"


@pytest.fixture
def spaces():
    """Two vocabularies of letters, and words of both languages in one space."""
    rng = np.random.default_rng(0)
    words = {"".join(rng.choice(list(LETTERS), rng.integers(1, 4))) for _ in range(120)}
    shared, matrix = sorted(words), rng.standard_normal((len(words), 10)).astype(np.float32)
    src = byte_level([letter.encode() for letter in LETTERS[:10]] + [b" ", b"Z"])
    tgt = byte_level([letter.encode() for letter in LETTERS] + [b" ", b"z", b"\xc3"])
    return src, tgt, WordVectors(tuple(shared), matrix)


def means(vocabulary: Vocabulary, space: WordVectors) -> np.ndarray:
    """Plain means, one spelling of one word after the other."""
    total, n = np.zeros((len(vocabulary), space.dim)), np.zeros(len(vocabulary))
    for word, row in zip(space.words, space.matrix, strict=True):
        for text in (word, " " + word, " " + word[0].upper() + word[1:]):
            for token in set(vocabulary.encode([text])[0]):
                total[token] += row
                n[token] += 1
    total[vocabulary.special] = 0
    return total / np.maximum(n, 1)[:, None]


@pytest.mark.parametrize(("neighbors", "temperature"), [(10, 0.1), (3, 1.0)])
def test_rows_equal_the_published_rules(spaces, neighbors, temperature):
    src, tgt, space = spaces
    plan = ofa(src, tgt, src_vectors=space, tgt_vectors=space, neighbors=neighbors, temperature=temperature)
    same = [*range(10), 16]
    assert (plan.origins[5:][same] == Origin.COPIED).all()
    assert (plan.origins[15:21] == Origin.MIXED).all()
    assert plan.origins[22] == Origin.MAPPED  # z is Z
    assert plan.origins[23] == Origin.EMPTY
    S, T = unit(means(src, space)), unit(means(tgt, space))
    C = T[15:21] @ S.T
    C[:, ~S.any(axis=1)] = -np.inf
    nearest = np.sort(C, axis=1)[:, [-neighbors]] <= C
    expected = np.where(nearest, np.exp(C / temperature), 0)
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(plan.weights.toarray()[15:21], expected, atol=1e-6)
    exact = ofa(src, tgt, src_vectors=space, tgt_vectors=space, fuzzy=False)
    assert exact.origins[22] == Origin.EMPTY


def test_a_lexicon_joins_two_spaces(spaces):
    src, tgt, space = spaces
    R = ortho_group.rvs(10, random_state=1)
    noise = 0.01 * np.random.default_rng(2).standard_normal(space.matrix.shape)
    turned = WordVectors(space.words, space.matrix @ R + noise)
    lexicon = Lexicon(tuple((word, word) for word in space.words[::2]))
    one = ofa(src, tgt, src_vectors=space, tgt_vectors=space)
    two = ofa(src, tgt, src_vectors=space, tgt_vectors=turned, lexicon=lexicon)
    np.testing.assert_allclose(two.weights.toarray(), one.weights.toarray(), atol=0.05)
    unjoined = ofa(src, tgt, src_vectors=space, tgt_vectors=turned)
    assert np.abs(unjoined.weights - one.weights).max() > 0.1
    assert two.options["ofa"]["lexicon_entries"] == len(lexicon)


def test_one_shared_token_none_and_no_vectors(spaces):
    src, tgt, space = spaces
    for vocabulary, n_copied in ((byte_level([b"a", b"Q"]), 1), (byte_level([b"Q"]), 0)):
        words = WordVectors(("Q", "aQ"), np.eye(2, 10, dtype=np.float32))
        plan = ofa(vocabulary, tgt, src_vectors=words, tgt_vectors=space)
        assert (plan.origins[5:] == Origin.COPIED).sum() == n_copied
        assert (plan.origins == Origin.MIXED).sum() >= 15
        mixed = plan.origins == Origin.MIXED
        np.testing.assert_allclose(plan.weights[mixed].sum(axis=1), 1, atol=1e-6)
    nothing = WordVectors((), np.empty((0, 10)))
    for sides, name in (((nothing, space), "source"), ((space, nothing), "target")):
        with pytest.warns(UserWarning, match=f"no {name} token"):
            plan = ofa(src, tgt, src_vectors=sides[0], tgt_vectors=sides[1])
        assert not (plan.origins == Origin.MIXED).any()
        assert (plan.origins == Origin.COPIED).sum() == 11
    assert not (ofa(src, src, src_vectors=space, tgt_vectors=space).origins[5:] != Origin.COPIED).any()


def test_bad_input(spaces):
    src, tgt, space = spaces
    narrow = WordVectors(space.words, space.matrix[:, :4])
    with pytest.raises(InputError, match="differ in width"):
        ofa(src, tgt, src_vectors=space, tgt_vectors=narrow)
    with pytest.raises(UsageError, match="must be positive"):
        ofa(src, tgt, src_vectors=space, tgt_vectors=space, neighbors=0)


@pytest.fixture
def recorded_space(shared_golden):
    """The recorded words and vectors: English ones turned into the Swahili space."""
    inputs, folder = shared_golden / "vocab" / "inputs", shared_golden / "vocab" / "ofa"
    lines = (folder / "words.txt").read_text(encoding="utf-8").splitlines()
    src_words, tgt_words = (
        tuple(line[4:] for line in lines if line.startswith(language)) for language in ("eng:", "swh:")
    )
    turn = np.load(shared_golden / "vocab" / "wechsel" / "align_matrix.npy")
    src = WordVectors(src_words, read_vectors(inputs / "source_words.bin").vectors_of(src_words) @ turn)
    tgt = WordVectors(tgt_words, read_vectors(inputs / "target_words.bin").vectors_of(tgt_words))
    np.testing.assert_allclose(
        np.vstack([src.matrix, tgt.matrix])[::4], np.load(folder / "words.every4.npy"), atol=1e-6
    )
    return src, tgt


def golden_vocabularies(shared_golden, target) -> tuple[Vocabulary, Vocabulary]:
    from tokenizers import Tokenizer

    return tuple(
        Vocabulary.of(Tokenizer.from_file(str(shared_golden / "vocab" / "inputs" / name / "tokenizer.json")))
        for name in ("source_bpe", target)
    )


@pytest.mark.data
@pytest.mark.parametrize(
    ("recorded", "target", "n_other", "least"),
    [
        ("target_bpe.k32.every4", "target_bpe", 130, 300),
        ("target_bpe.k16", "target_bpe", 130, 1200),
        ("target_unigram.k16.every4", "target_unigram", 0, 250),
        ("target_wordpiece.k16.every4", "target_wordpiece", 42, 280),
    ],
)
def test_rows_equal_the_recorded_ones(shared_golden, recorded_space, recorded, target, n_other, least):
    """Parity with ofa@73fce73 on every row whose tenth and eleventh neighbours do not tie.

    Fragments of characters that it takes for one another, WordPiece's punctuation and special tokens overlap
    otherwise: `n_other` of them. In a tie it takes any.
    """
    src, tgt = golden_vocabularies(shared_golden, target)
    arrays = np.load(shared_golden / "vocab" / "ofa" / f"{recorded}.npz")
    factors = np.load(shared_golden / "vocab" / "ofa" / "factorisation.k16.npz")
    E = np.load(shared_golden / "vocab" / "inputs" / "source_matrix.npy")
    ids = arrays["row_ids"] if "row_ids" in arrays else np.arange(len(tgt))
    expected = arrays["rows"] if "rows" in arrays else arrays["coordinates"]
    if expected.shape[1] == 16:
        expected = expected @ factors["primitives"]
    if "k16" in recorded:
        E = factorize(E, 16).fold()
    space = {"src_vectors": recorded_space[0], "tgt_vectors": recorded_space[1]}
    ours, wider = ofa(src, tgt, **space), ofa(src, tgt, **space, neighbors=30)
    copied = arrays["copied_from"].astype(np.int64)
    not_found = np.zeros(len(tgt), bool)
    not_found[arrays["not_found"]] = True

    # what is taken over
    taken = np.isin(ours.origins, (Origin.COPIED, Origin.MAPPED, Origin.SPECIAL))
    found = np.full(len(tgt), -1)
    found[taken] = ours.weights[taken].indices
    other = np.flatnonzero(found != copied)
    assert len(other) == n_other
    for i in other:
        fragment = tgt.surfaces[i].decode("utf-8", "ignore").encode() != tgt.surfaces[i]
        several = (
            ours.origins[i] == Origin.MAPPED and tgt.tokens[i] == "Sa"
        )  # SA and sa: ours is the lower id
        assert fragment or tgt.isolated[i] or tgt.special[i] or several
    # what is left to the fallback: what they sample, special tokens aside
    np.testing.assert_array_equal(
        (ours.origins == Origin.EMPTY)[copied < 0], not_found[copied < 0] & ~taken[copied < 0]
    )

    rows, compared = (ours.weights @ E)[ids], 0
    for row, token in enumerate(ids):
        if found[token] != copied[token] or ours.origins[token] == Origin.EMPTY:
            continue
        if ours.origins[token] == Origin.MIXED:
            start, stop = wider.weights.indptr[token : token + 2]
            weights = np.sort(wider.weights.data[start:stop])[::-1]
            if weights[10] > weights[9] * (1 - 1e-5):
                continue
        compared += 1
        np.testing.assert_allclose(rows[row], expected[row], atol=1e-4)
    assert compared >= least


@pytest.mark.data
def test_the_same_bits_for_any_number_of_threads(shared_golden, recorded_space):
    src, tgt = golden_vocabularies(shared_golden, "target_bpe")

    def plan() -> TransferPlan:
        return ofa(src, tgt, src_vectors=recorded_space[0], tgt_vectors=recorded_space[1])

    first = plan()
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            second = plan()
    finally:
        numba.set_num_threads(threads)
    np.testing.assert_array_equal(first.weights.data, second.weights.data)
    np.testing.assert_array_equal(first.weights.indices, second.weights.indices)
