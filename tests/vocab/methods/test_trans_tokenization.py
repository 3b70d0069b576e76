from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, pre_tokenizers

from align.errors import InputError, UsageError
from align.wordalign import AlignOptions
from tests.vocab.small_vocabularies import byte_level
from vocab.methods import mean, trans_tokenization
from vocab.methods.overlapping import overlapping
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


SOURCE = byte_level([b" good", b"bye", b" news", b"s", b"zo"])
TARGET = byte_level([b" hab", b"ari", b"zo", b" habari", b" h", b"bar", b" habarizo", b"qq"])


def counts_of(src: Vocabulary, tgt: Vocabulary, rows: dict[bytes, dict[bytes, float]]) -> sp.csr_array:
    counts = np.zeros((len(src), len(tgt)))
    for token, row in rows.items():
        for old, count in row.items():
            counts[src.surfaces.index(old), tgt.surfaces.index(token)] = count
    return sp.csr_array(counts)


GIVEN = {
    b" hab": {b" good": 3.0, b"bye": 1.0},
    b"ari": {b" news": 4.0, b"s": 4.0},
    b"bar": {b"bye": 0.3},  # too few
}


def test_smoothed_rows() -> None:
    counts = counts_of(SOURCE, TARGET, GIVEN)
    plan = trans_tokenization(SOURCE, TARGET, counts=counts, sharpen=1.0, smooth=True)
    rows = {
        surface: {SOURCE.surfaces[j]: pytest.approx(row[j], abs=1e-6) for j in np.flatnonzero(row)}
        for surface, row in zip(TARGET.surfaces, plan.weights.toarray(), strict=True)
        if surface
    }
    assert rows == {
        b" hab": {b" good": 0.75, b"bye": 0.25},
        b"ari": {b" news": 0.5, b"s": 0.5},
        b"zo": {b"zo": 1.0},
        # " hab" and "ari", whose words weigh double: 1.5 + 0.25 + 1 + 0.5
        b" habari": {b" good": 6 / 13, b"bye": 1 / 13, b" news": 4 / 13, b"s": 2 / 13},
        b" h": {b" good": 6 / 7, b"bye": 1 / 7},  # " hab" alone: " habari" is smoothed itself
        b"bar": {},
        b" habarizo": {b" good": 6 / 17, b"bye": 1 / 17, b" news": 4 / 17, b"s": 2 / 17, b"zo": 4 / 17},
        b"qq": {},
    }
    mixed, copied, composed, empty = Origin.MIXED, Origin.COPIED, Origin.COMPOSED, Origin.EMPTY
    wanted_origins = [mixed, mixed, copied, composed, composed, empty, composed, empty]
    assert plan.origins[5:].tolist() == wanted_origins
    np.testing.assert_array_equal(plan.origins[:5], empty)  # specials are matched by role
    assert plan.options["trans-tokenization"]["smooth"] is True
    few = trans_tokenization(SOURCE, TARGET, counts=counts, sharpen=1.0, smooth=True, top=2)
    row = TARGET.surfaces.index(b" habari")
    np.testing.assert_allclose(few.weights.toarray()[row, 5:], [6 / 10, 0, 4 / 10, 0, 0], atol=1e-6)


def test_smoothing_keeps_rows_with_evidence() -> None:
    src, tgt = words("a"), words("b")
    counts = np.random.default_rng(0).exponential(size=(len(src), len(tgt)))
    counts[:, 30:] /= 1000
    plain, smooth = (
        trans_tokenization(src, tgt, counts=sp.csr_array(counts), top=5, smooth=smooth)
        for smooth in (False, True)
    )
    evident = plain.origins == Origin.MIXED
    assert evident.sum() == 28
    np.testing.assert_array_equal(smooth.weights.toarray()[evident], plain.weights.toarray()[evident])
    filled = smooth.origins != Origin.EMPTY
    assert filled.sum() == N_WORDS  # b28 to b59 begin with one of b2 to b5
    np.testing.assert_allclose(smooth.weights.sum(axis=1)[filled], 1, atol=1e-6)
    nothing = trans_tokenization(src, tgt, counts=sp.csr_array((len(src), len(tgt))), smooth=True)
    np.testing.assert_array_equal(nothing.origins, Origin.EMPTY)


@settings(max_examples=20)
@given(st.permutations(range(8)))
def test_smoothing_does_not_depend_on_order(order: list[int]) -> None:
    """The published rule does: there a token may take from those smoothed before it."""
    shuffled = byte_level([TARGET.surfaces[5 + i] for i in order])
    ours, theirs = (
        trans_tokenization(SOURCE, tgt, counts=counts_of(SOURCE, tgt, GIVEN), smooth=True).weights.toarray()
        for tgt in (shuffled, TARGET)
    )
    np.testing.assert_allclose(ours[5:], theirs[5:][order], atol=1e-6)


def test_bytes_decide_which_tokens_overlap() -> None:
    """WordPiece marks what goes on inside a word, and not what begins it."""
    tokens = ["[UNK]", "ha", "##ha", "##bari", "habari", "##habari"]
    tokenizer = Tokenizer(models.WordPiece({t: i for i, t in enumerate(tokens)}, unk_token="[UNK]"))
    tokenizer.add_special_tokens(tokens[:1])
    tgt = Vocabulary.of(tokenizer)
    counts = np.zeros((len(SOURCE), len(tgt)))
    counts[[5, 6, 7], [1, 2, 3]] = 1.0
    plan = trans_tokenization(SOURCE, tgt, counts=sp.csr_array(counts), smooth=True)
    np.testing.assert_allclose(plan.weights.toarray()[4:, 5:8], [[0.5, 0, 0.5], [0, 1 / 3, 2 / 3]], atol=1e-6)


def recorded(name: str, folder: Path) -> tuple[Vocabulary, Vocabulary, sp.csr_array, NDArray[np.int8]]:
    """Both vocabularies, the original tool's weights, and how each row came about.

    0 from links, numerals or an equal string, 1 smoothed, 2 nothing.
    """
    src, tgt = (
        Vocabulary.of(Tokenizer.from_file(str(folder / "inputs" / part / "tokenizer.json")))
        for part in ("source_bpe", name)
    )
    with np.load(folder / "trans-tokenizers" / f"weights.{name}.npz", allow_pickle=False) as arrays:
        weights = sp.csr_array(
            (arrays["values"].astype(np.float64), arrays["indices"], arrays["indptr"]),
            shape=(len(tgt), len(src)),
        )
        return src, tgt, weights, arrays["kind"]


@pytest.mark.data
@pytest.mark.parametrize("name", ["target_bpe", "target_unigram"])
def test_rows_of_recorded_counts(name: str, shared_golden: Path) -> None:
    """Counts of the original tool, made into rows and applied, are its rows.

    What comes before (aligned words spread over tokens with whole divisions, numerals) follows other rules
    than ours, so its counts from text are not compared.
    """
    folder = shared_golden / "vocab"
    src, tgt, counts, kind = recorded(name, folder)
    aligned = kind == 0
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


@pytest.mark.data
@pytest.mark.parametrize(("name", "n_compared"), [("target_bpe", 200), ("target_unigram", 250)])
def test_smoothed_rows_of_the_original(name: str, n_compared: int, shared_golden: Path) -> None:
    """Its rows with evidence, smoothed by us, give its smoothed rows.

    Four things differ. Where a token overlaps others that it smoothed as well, its row depends on which came
    first in the order of a hash table, so that those rows are not compared. It rounds shares down to
    thousandths, but not to less than one; with its rounding our tokens give its rows exactly. It doubles the
    weight of old tokens that begin a word only where they are spelled with ``▁``, which byte-level BPE does
    not, so that our double weight is taken out. And it compares the bytes that byte-level BPE spells with the
    characters of Unigram, so that it misses equal tokens beyond ASCII, which we copy.
    """
    src, tgt, weights, kind = recorded(name, shared_golden / "vocab")
    known = (kind == 0) & ~tgt.special
    evidence = sp.csr_array(sp.diags_array(known.astype(float)) @ weights)
    plan = trans_tokenization(
        src, tgt, counts=evidence.T, sharpen=1.0, min_count=0, top=len(src), smooth=True
    )
    copied = plan.origins == Origin.COPIED
    assert copied.sum() == {"target_bpe": 0, "target_unigram": 17}[name]
    assert not any(tgt.surfaces[row].isascii() for row in np.flatnonzero(copied))
    np.testing.assert_array_equal(plan.origins[(kind == 2) & ~copied], Origin.EMPTY)
    begins_word = np.array([surface.startswith(b" ") for surface in src.surfaces])
    overlap = overlapping(tgt.surfaces, known)
    near = np.split(overlap.indices, overlap.indptr[1:-1])
    unsettled = {tgt.surfaces[row] for row in np.flatnonzero((kind == 1) | copied)}
    rows = [
        row
        for row in np.flatnonzero((kind == 1) & ~copied)[::3]
        if not depends_on(tgt.surfaces[row], unsettled, [tgt.surfaces[j] for j in near[row]])
    ]
    assert len(rows) > n_compared
    theirs = weights[rows].toarray()
    rounded = evidence.copy()
    rounded.data = np.maximum(np.floor(1000 * evidence.data + 1e-3), 1)
    np.testing.assert_allclose(summing_to_1((overlap[rows] @ rounded).toarray()), theirs, atol=1e-6)
    ours = plan.weights[rows].toarray() / (1 + begins_word)
    usual = ~theirs[:, src.special].any(axis=1)
    assert usual.sum() > n_compared
    np.testing.assert_allclose(summing_to_1(ours[usual]), theirs[usual], atol=0.02)


def depends_on(token: bytes, others: set[bytes], near: list[bytes]) -> bool:
    """Whether it would overlap any of the others, if these had rows, next to those it does overlap."""
    pieces = [piece for piece in near if piece in token]
    return any(
        other.startswith(token) or not any(other in piece for piece in pieces)
        for other in others
        if (other in token or other.startswith(token)) and other != token
    )


def summing_to_1(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(rows / rows.sum(axis=1, keepdims=True))
