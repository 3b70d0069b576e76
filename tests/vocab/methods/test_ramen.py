from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from align.errors import InputError
from align.lexicon import Lexicon
from align.vectors import WordVectors
from tests.vocab.small_vocabularies import byte_level
from vocab.methods.ramen import ramen, ramen_parallel
from vocab.methods.sparsemax import sparsemax_reference
from vocab.plan import Origin
from vocab.tokens import Vocabulary

N, DIM = 120, 24


@pytest.fixture(scope="module")
def planted() -> tuple[Vocabulary, Vocabulary, WordVectors, WordVectors, Lexicon]:
    """Word i of one language is word i of the other; the spaces differ by a rotation and by noise."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((N, DIM))
    rotation = np.linalg.qr(rng.standard_normal((DIM, DIM)))[0]
    Y = X @ rotation + 0.2 * rng.standard_normal((N, DIM))
    src_words, tgt_words = ([f"{code}{i}" for i in range(N)] for code in ("en", "sw"))
    src, tgt = (whole_words(words) for words in (src_words, tgt_words))
    vectors = [WordVectors(tuple(w), m.astype(np.float32)) for w, m in ((src_words, X), (tgt_words, Y))]
    return src, tgt, vectors[0], vectors[1], Lexicon(tuple(zip(src_words[:80], tgt_words[:80], strict=True)))


def whole_words(words: list[str]) -> Vocabulary:
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, **{w: i + 1 for i, w in enumerate(words)}}, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([AddedToken("<unk>")])
    return Vocabulary.of(tokenizer)


def test_translations_are_found(planted) -> None:
    src, tgt, X, Y, lexicon = planted
    plan = ramen(src, tgt, src_vectors=X, tgt_vectors=Y, lexicon=lexicon)
    W = plan.weights.toarray()
    assert (plan.origins[1:] == Origin.MIXED).all()
    assert plan.origins[0] == Origin.EMPTY
    np.testing.assert_allclose(W[1:].sum(axis=1), 1, rtol=1e-6)
    held_out = np.arange(81, N + 1)
    assert (W[held_out].argmax(axis=1) == held_out).mean() > 0.95
    unmapped = ramen(src, tgt, src_vectors=X, tgt_vectors=Y).weights.toarray()
    assert (unmapped[held_out].argmax(axis=1) == held_out).mean() < 0.2


def test_rows_equal_the_published_rule() -> None:
    """Pieces get the means of their words by 1 / rank; sparsemax of their cosines."""
    rng = np.random.default_rng(5)
    words = ("ma", "am", "mma", "ba")
    matrix = rng.standard_normal((4, 6)).astype(np.float32)
    src = byte_level([b"m", b"a", b"b", b" ", b"z"])
    tgt = byte_level([b"a", b"m", b" "])
    space = WordVectors(words, matrix)
    plan = ramen(src, tgt, src_vectors=space, tgt_vectors=space)
    frequency = 1 / np.arange(1, 5)

    def mean(letter: str) -> np.ndarray:
        holds = np.array([letter in f" {word}" for word in words]) * frequency
        vector = holds @ matrix / holds.sum()
        return vector / np.linalg.norm(vector)

    old, new = (np.stack([mean(letter) for letter in letters]) for letters in ("mab ", "am "))
    np.testing.assert_allclose(plan.weights.toarray()[5:, 5:9], sparsemax_reference(new @ old.T), atol=1e-5)
    assert plan.weights[:, [9]].nnz == 0  # no word holds a z
    assert (plan.origins[:5] == Origin.EMPTY).all()


def test_same_bits_for_any_number_of_threads(planted) -> None:
    src, tgt, X, Y, lexicon = planted
    plans = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            plans.append(ramen(src, tgt, src_vectors=X, tgt_vectors=Y, lexicon=lexicon))
    np.testing.assert_array_equal(plans[0].weights.toarray(), plans[1].weights.toarray())


def test_parallel_rows_are_translation_probabilities() -> None:
    src, tgt = byte_level([b" a", b" b", b" c"]), byte_level([b" x", b" y", b" z"])
    counts = np.zeros((8, 8))
    counts[5:, 5:] = [[3, 0.001, 0], [1, 0, 0], [0, 0.003, 0]]
    counts[2, 5] = 7  # a special token
    plan = ramen_parallel(src, tgt, counts=sp.csr_array(counts))
    np.testing.assert_allclose(
        plan.weights.toarray()[5:, 5:], [[0.75, 0.25, 0], [0.25, 0, 0.75], [0, 0, 0]], atol=1e-6
    )
    assert plan.weights[:, :5].nnz == 0
    assert (plan.method, plan.origins[7]) == ("ramen-parallel", Origin.EMPTY)


def test_parallel_text_is_aligned() -> None:
    src_words, tgt_words = ["the", "dog", "cat", "eats"], ["mbwa", "paka", "anakula"]
    pairs = [
        ("the dog eats", "mbwa anakula"),
        ("the cat eats", "paka anakula"),
        ("dog", "mbwa"),
        ("cat", "paka"),
    ]
    src, tgt = whole_words(src_words), whole_words(tgt_words)
    lines = tuple(zip(*(pairs * 5), strict=True))
    plan = ramen_parallel(src, tgt, parallel=(lines[0], lines[1]))
    assert plan.explain("mbwa", top=1).terms[0][0] == "dog"
    assert plan.explain("paka", top=1).terms[0][0] == "cat"


def test_bad_input(planted) -> None:
    src, tgt, X, Y, lexicon = planted
    narrow = WordVectors(Y.words, Y.matrix[:, :5])
    with pytest.raises(InputError, match="differ in width"):
        ramen(src, tgt, src_vectors=X, tgt_vectors=narrow)
    assert ramen(src, tgt, src_vectors=X, tgt_vectors=narrow, lexicon=lexicon).origins[1:].all()
    with pytest.raises(InputError, match="no target token occurs"):
        ramen(src, byte_level([b"?"]), src_vectors=X, tgt_vectors=Y, lexicon=lexicon)
    with pytest.raises(InputError, match="needs parallel text"):
        ramen_parallel(src, tgt)
