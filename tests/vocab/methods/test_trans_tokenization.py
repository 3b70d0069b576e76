from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from tokenizers import Tokenizer, models, pre_tokenizers

from align.errors import InputError, UsageError
from align.wordalign import AlignOptions
from vocab.methods import mean, trans_tokenization
from vocab.plan import Origin
from vocab.tokens import Vocabulary

N_WORDS = 60


def words(prefix: str, n: int = N_WORDS) -> Vocabulary:
    """Whole words ``prefix0``, ``prefix1``, ... from id 2, after two special tokens."""
    tokens = ["<unk>", "<s>", *(f"{prefix}{i}" for i in range(n))]
    tokenizer = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(tokens[:2])
    return Vocabulary.of(tokenizer)


@pytest.fixture(scope="module")
def planted() -> tuple[list[str], list[str]]:
    """``b<i>`` translates ``a<i>``, and every third ``a<i>`` has ``b<i + 1>`` for a second translation.

    Words swap places, one of ten is lost, one of ten is replaced by any other, and both sides often begin
    with the text of a special token.
    """
    rng = np.random.default_rng(0)
    frequency = 1 / np.arange(3, N_WORDS + 3)
    src, tgt = [], []
    for _ in range(1500):
        sentence = rng.choice(N_WORDS, size=rng.integers(4, 10), p=frequency / frequency.sum())
        second = (sentence % 3 == 0) & (rng.random(len(sentence)) < 0.3)
        translated = sentence + second
        noisy = np.where(rng.random(len(sentence)) < 0.1, rng.integers(0, N_WORDS, len(sentence)), translated)
        place = np.argsort(np.arange(len(sentence)) + rng.uniform(0, 2, len(sentence)))
        kept = [f"b{noisy[j]}" for j in place if rng.random() < 0.9] or ["b0"]
        start = ["<s>"] * int(rng.random() < 0.5)
        src.append(" ".join([*start, *(f"a{i}" for i in sentence)]))
        tgt.append(" ".join([*start, *kept]))
    return src, tgt


def test_planted_translations_with_noise(planted: tuple[list[str], list[str]]) -> None:
    src, tgt = words("a"), words("b")
    plan = trans_tokenization(src, tgt, parallel=planted)
    W = plan.weights.toarray()
    assert (plan.origins[2:] == Origin.MIXED).all()
    np.testing.assert_array_equal(plan.origins[:2], Origin.EMPTY)  # specials are matched by role
    np.testing.assert_array_equal(W[:, :2], 0)
    np.testing.assert_allclose(W[2:].sum(axis=1), 1, atol=1e-6)
    assert (W >= 0).all()
    heaviest = W[2:].argmax(axis=1) - 2
    assert (heaviest == np.arange(N_WORDS)).mean() > 0.95
    # b<i + 1> is said for a<i> in 3 of 10 cases where 3 divides i: the share follows from the frequencies
    i = np.arange(0, 30, 3)
    first, second = 1 / (i + 4), 0.3 / (i + 3)
    np.testing.assert_allclose(W[i + 3, i + 2], second / (first + second), atol=0.12)
    assert W[i + 3, i + 2].min() > 5 * W[2:][:, 2:].mean()


def test_sharper_rows(planted: tuple[list[str], list[str]]) -> None:
    src, tgt = words("a"), words("b")
    largest = [
        trans_tokenization(src, tgt, parallel=planted, sharpen=sharpen).weights.toarray()[2:].max(axis=1)
        for sharpen in (0.5, 1.0, 2.0)
    ]
    assert (largest[0] < largest[1]).all()
    assert (largest[1] < largest[2]).all()
    few = trans_tokenization(src, tgt, parallel=planted, options=AlignOptions(n_iter=1))
    assert few.differing_rows(trans_tokenization(src, tgt, parallel=planted), atol=1e-3).size > 10


def test_same_bytes_for_any_number_of_threads(planted: tuple[list[str], list[str]], tmp_path: Path) -> None:
    import numba

    before = numba.get_num_threads()
    seen = set()
    try:
        for threads in (1, numba.config.NUMBA_NUM_THREADS, 1):
            numba.set_num_threads(threads)
            folder = trans_tokenization(words("a"), words("b"), parallel=planted).save(
                tmp_path / str(threads)
            )
            seen.add((folder / "plan.safetensors").read_bytes() + (folder / "plan.json").read_bytes())
    finally:
        numba.set_num_threads(before)
    assert len(seen) == 1


COUNTS = np.zeros((6, 5))
COUNTS[1:, 2] = [9.0, 4.0, 1.0, 0.0, 3.0]  # the 9 belongs to a special token
COUNTS[2:, 3] = [0.2, 0.1, 0.1, 0.05]
COUNTS[2:, 4] = [2.0, 2.0, 2.0, 1.0]
COUNTS[3, 1] = 7.0  # so does this


@pytest.mark.parametrize("sharpen", [0.5, 1.0, 3.0, 500.0])
@pytest.mark.parametrize("top", [1, 2, 3, 32])
@pytest.mark.parametrize("min_count", [0.0, 0.45, 0.5])
def test_rows_from_counts(sharpen: float, top: int, min_count: float) -> None:
    wanted = np.zeros((5, 6))
    for row in (2, 3, 4):
        column = COUNTS[:, row].copy()
        if column.sum() >= min_count:
            column[:2] = 0
            column[np.argsort(-column, kind="stable")[top:]] = 0  # equal counts: the lower id stays
            column /= column.max()
            wanted[row] = column**sharpen / (column**sharpen).sum()
    plan = trans_tokenization(
        words("a", 4),
        words("b", 3),
        counts=sp.csr_array(COUNTS),
        sharpen=sharpen,
        top=top,
        min_count=min_count,
    )
    np.testing.assert_allclose(plan.weights.toarray(), wanted, atol=1e-6)
    np.testing.assert_array_equal(plan.origins == Origin.MIXED, wanted.any(axis=1))
    assert plan.options["trans-tokenization"].items() >= {"sharpen": sharpen, "top": top}.items()


def test_tiny_counts_and_stored_zeros() -> None:
    counts = sp.csr_array(
        (np.array([1e-30, 3e-30, 0.0]), (np.array([2, 3, 4]), np.array([2, 2, 3]))), shape=(6, 5)
    )
    plan = trans_tokenization(words("a", 4), words("b", 3), counts=counts, min_count=0, sharpen=20)
    np.testing.assert_allclose(plan.weights.toarray()[2, 2:4], [3.0**-20, 1], rtol=1e-5)
    assert plan.origins.tolist() == [0, 0, Origin.MIXED, 0, 0]


def test_bad_arguments() -> None:
    src, tgt = words("a", 4), words("b", 3)
    with pytest.raises(InputError, match="needs parallel text"):
        trans_tokenization(src, tgt)
    with pytest.raises(InputError, match="do not fit the vocabularies"):
        trans_tokenization(src, tgt, counts=sp.csr_array(COUNTS.T))
    with pytest.raises(InputError, match="unequal length"):
        trans_tokenization(src, tgt, parallel=(["a1 a2"], ["b1", "b2"]))
    for wrong in (np.nan, np.inf, -1):
        with pytest.raises(InputError, match="negative or not finite"):
            trans_tokenization(src, tgt, counts=sp.csr_array(np.where(COUNTS == 2, wrong, COUNTS)))
    for options in ({"top": 0}, {"sharpen": 0.0}, {"sharpen": np.nan}):
        with pytest.raises(UsageError, match="must be positive"):
            trans_tokenization(src, tgt, counts=sp.csr_array(COUNTS), **options)


@pytest.mark.data
@pytest.mark.parametrize("name", ["target_bpe", "target_unigram"])
def test_rows_of_recorded_counts(name: str, shared_golden: Path) -> None:
    """Counts of the original tool, made into rows and applied, are its rows.

    What comes before (aligned words spread over tokens with whole divisions, numerals, smoothing between
    similar tokens) follows other rules than ours, so its counts from text are not compared.
    """
    folder = shared_golden / "vocab"
    src, tgt = (
        Vocabulary.of(Tokenizer.from_file(str(folder / "inputs" / part / "tokenizer.json")))
        for part in ("source_bpe", name)
    )
    with np.load(folder / "trans-tokenizers" / f"weights.{name}.npz", allow_pickle=False) as arrays:
        counts = sp.csr_array(
            (arrays["values"], arrays["indices"], arrays["indptr"]), shape=(len(tgt), len(src))
        )
        aligned = arrays["kind"] == 0
    plan = trans_tokenization(src, tgt, counts=counts.T, sharpen=1.0, min_count=0, top=len(src))
    every4 = name == "target_unigram"
    file = f"{name}.every4.npz" if every4 else f"{name}.npz"
    with np.load(folder / "trans-tokenizers" / file, allow_pickle=False) as arrays:
        theirs = arrays["rows" if every4 else "matrix"]
    rows = np.arange(0, len(tgt), 4) if every4 else np.arange(len(tgt))
    E = np.load(folder / "inputs" / "source_matrix.npy", allow_pickle=False)
    ours = plan.then(mean(src, tgt)).apply(E)[rows]
    uses_special = counts[:, np.flatnonzero(src.special)].sum(axis=1) > 0
    comparable = (aligned & ~tgt.special & ~uses_special)[rows]
    assert comparable.sum() > 0.5 * len(rows)
    np.testing.assert_allclose(ours[comparable], theirs[comparable], atol=2e-5)
