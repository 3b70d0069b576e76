from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from align.errors import InputError, UsageError
from vocab.methods.omp import omp
from vocab.methods.pursuit.coding import pursue
from vocab.plan import Origin
from vocab.tokens import BYTE_TO_CHAR, Vocabulary


def byte_level(words: list[str]) -> Vocabulary:
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

    spelled = ["".join(BYTE_TO_CHAR[b] for b in word.encode()) for word in words]
    inner = Tokenizer(models.BPE({t: i for i, t in enumerate(["<s>", *spelled])}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.add_special_tokens([AddedToken("<s>")])
    return Vocabulary.of(inner)


def words_only(words: list[str]) -> Vocabulary:
    from tokenizers import Tokenizer, models

    return Vocabulary.of(Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, "?")))


def reference(
    X: NDArray[Any], D: NDArray[Any], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Plain matching pursuit in float64: all products, then a least-squares fit of all chosen atoms."""
    X, D = X.astype(np.float64), D.astype(np.float64)
    indices, code = np.full((len(X), k), -1), np.zeros((len(X), k))
    residuals = np.zeros(len(X))
    for row, x in enumerate(X):
        chosen: list[int] = []
        rest = x
        for _ in range(k):
            products = abs(D @ rest)
            products[chosen] = -1
            chosen.append(int(products.argmax()))
            weights = np.linalg.lstsq(D[chosen].T, x)[0]
            rest = x - weights @ D[chosen]
        indices[row], code[row], residuals[row] = chosen, weights, np.linalg.norm(rest) / np.linalg.norm(x)
    return indices, code, residuals


def correlated(rng: np.random.Generator, n: int, dim: int) -> NDArray[np.float32]:
    """Rows of unequal length around a common mean, some directions stronger: what embeddings look like."""
    rows = rng.standard_normal((n, dim)) * np.linspace(2, 0.3, dim) + 0.5
    return (rows * rng.uniform(0.2, 3.0, (n, 1))).astype(np.float32)


@pytest.mark.parametrize(
    ("n", "m", "dim", "k"), [(40, 300, 24, 10), (300, 70, 16, 16), (5, 1000, 48, 1), (3, 9, 20, 9)]
)
def test_equals_the_plain_algorithm(n: int, m: int, dim: int, k: int) -> None:
    rng = np.random.default_rng(n)
    X, D = correlated(rng, n, dim), correlated(rng, m, dim)
    code = pursue(X, D, k=k)
    indices, weights, residuals = reference(X, D, k)
    np.testing.assert_array_equal(code.indices, indices)
    np.testing.assert_allclose(code.coefficients, weights, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(code.residuals, residuals, atol=1e-9)
    assert code.mean_residual == pytest.approx(residuals.mean(), abs=1e-9)


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_recovers_a_planted_code(noise: float) -> None:
    rng = np.random.default_rng(7)
    D = rng.standard_normal((400, 96)).astype(np.float32)
    planted = np.stack([rng.choice(400, 3, replace=False) for _ in range(60)])
    weights = rng.uniform(0.7, 1.5, planted.shape) * rng.choice([-1, 1], planted.shape)
    X = np.einsum("nk,nkd->nd", weights, D[planted]) + noise * rng.standard_normal((60, 96))
    code = pursue(X, D, k=3)
    np.testing.assert_array_equal(np.sort(code.indices), np.sort(planted))
    found = np.take_along_axis(code.coefficients, np.argsort(code.indices), axis=1)
    wanted = np.take_along_axis(weights, np.argsort(planted), axis=1)
    np.testing.assert_allclose(found, wanted, atol=1e-5 + noise)
    if noise == 0:  # an exact code is not padded with atoms that explain rounding
        np.testing.assert_array_equal(pursue(X, D, k=8).indices[:, 3:], -1)


@pytest.mark.parametrize("room", [0, 1 << 12, 1 << 14])
def test_little_room_changes_nothing(room: int) -> None:
    rng = np.random.default_rng(1)
    X, D = correlated(rng, 10, 24), correlated(rng, 500, 24)
    small, large = pursue(X, D, k=18, gram_bytes=room), pursue(X, D, k=18)
    np.testing.assert_array_equal(small.indices, large.indices)
    np.testing.assert_array_equal(small.coefficients, large.coefficients)


def test_rows_do_not_depend_on_each_other() -> None:
    rng = np.random.default_rng(2)
    X, D = correlated(rng, 600, 20), correlated(rng, 200, 20)
    whole, part = pursue(X, D, k=6), pursue(X[::7], D, k=6)
    np.testing.assert_array_equal(whole.indices[::7], part.indices)
    np.testing.assert_array_equal(whole.coefficients[::7], part.coefficients)


def near_copies(rng: np.random.Generator, n: int, dim: int) -> NDArray[np.float32]:
    """Groups of atoms that differ in the third digit."""
    groups = correlated(rng, -(-n // 8), dim).repeat(8, axis=0)[:n]
    return groups * (1 + 1e-3 * rng.standard_normal(groups.shape).astype(np.float32))


def clustered(rng: np.random.Generator, n: int, dim: int) -> NDArray[np.float32]:
    """What a few directions explain, so that every choice overturns the order of the others."""
    few = rng.standard_normal((n, 6)) @ rng.standard_normal((6, dim))
    return (few + 0.1 * rng.standard_normal((n, dim))).astype(np.float32)


@pytest.mark.parametrize("make", [near_copies, clustered, correlated])
@pytest.mark.parametrize(("m", "dim", "k"), [(333, 40, 37), (50, 33, 64), (700, 20, 20)])
def test_guesses_do_not_matter(make: Callable[..., NDArray[np.float32]], m: int, dim: int, k: int) -> None:
    rng = np.random.default_rng(m)
    X, D = correlated(rng, 12, dim), make(rng, m, dim)
    code = pursue(X, D, k=k)
    indices, weights, residuals = reference(X, D, min(k, m, dim))
    np.testing.assert_array_equal(code.indices, indices)
    # copies make single coefficients uncertain, but not their sum
    sums = (np.einsum("nk,nkd->nd", w, D[indices].astype(np.float64)) for w in (code.coefficients, weights))
    np.testing.assert_allclose(*sums, rtol=0, atol=1e-6)
    np.testing.assert_allclose(code.residuals, residuals, atol=1e-7)


def test_lowest_among_equals() -> None:
    rng = np.random.default_rng(4)
    code = pursue(np.ones((2, 100)), np.eye(100), k=13)
    np.testing.assert_array_equal(code.indices, [range(13)] * 2)
    X, D = correlated(rng, 20, 24), correlated(rng, 150, 24)
    once, twice = pursue(X, D, k=12), pursue(X, np.vstack([D, D]), k=12)
    np.testing.assert_array_equal(once.indices, twice.indices)
    np.testing.assert_array_equal(once.coefficients, twice.coefficients)


def test_half_precision_is_widened() -> None:
    rng = np.random.default_rng(6)
    X, D = (correlated(rng, n, 24).astype(np.float16) for n in (20, 90))
    half, single = pursue(X, D, k=9), pursue(X.astype(np.float32), D.astype(np.float32), k=9)
    np.testing.assert_array_equal(half.coefficients, single.coefficients)


@pytest.mark.parametrize("scale", [1e-15, 1e12])
def test_scale_does_not_matter(scale: float) -> None:
    rng = np.random.default_rng(3)
    X, D = correlated(rng, 20, 16), correlated(rng, 80, 16)
    plain, scaled = pursue(X, D, k=5), pursue(X * np.float32(scale), D / np.float32(scale), k=5)
    np.testing.assert_array_equal(plain.indices, scaled.indices)
    np.testing.assert_allclose(scaled.coefficients / scale**2, plain.coefficients, rtol=1e-4)


def test_equal_atoms_zero_atoms_and_zero_rows() -> None:
    D = np.zeros((6, 4), np.float32)
    D[1] = D[3] = [3, 0, 0, 0]
    D[4] = [0, 1, 0, 0]
    X = np.array([[0, 0, 0, 0], [6, 2, 0, 0], [0, 0, 1, 0], [-3, 0, 5, 0]], np.float32)
    code = pursue(X, D, k=4)
    np.testing.assert_array_equal(code.indices, [[-1] * 4, [1, 4, -1, -1], [-1] * 4, [1, -1, -1, -1]])
    np.testing.assert_allclose(code.coefficients[1:4, :2], [[2, 2], [0, 0], [-1, 0]], atol=1e-12)
    np.testing.assert_allclose(code.residuals, [0, 0, 1, 5 / np.sqrt(34)], atol=1e-7)


@pytest.mark.parametrize("shape", [(0, 5), (3, 0)])
def test_nothing_to_do(shape: tuple[int, int]) -> None:
    n, m = shape
    code = pursue(np.ones((n, 4)), np.ones((m, 4)), k=2)
    assert code.indices.shape == (n, min(m, 2)) == code.coefficients.shape
    np.testing.assert_array_equal(code.residuals, np.ones(n))
    assert code.mean_residual == bool(n)


def test_bad_input() -> None:
    ok = np.ones((3, 4))
    with pytest.raises(UsageError, match="at least one"):
        pursue(ok, ok, k=0)
    with pytest.raises(InputError, match="differ in width"):
        pursue(ok, np.ones((3, 5)), k=1)
    for bad in (np.nan, np.inf):
        with pytest.raises(InputError, match="NaN"):
            pursue(ok, np.where(np.eye(3, 4) > 0, bad, 1.0), k=1)


_PRINT = """
import hashlib, numpy as np
from vocab.methods.pursuit.coding import pursue
rng = np.random.default_rng(0)
X, D = (rng.standard_normal((n, 40)).astype(np.float32) + 1 for n in (300, 700))
code = pursue(X, np.vstack([D, D]), k=12)
print(hashlib.sha256(code.indices.tobytes() + code.coefficients.tobytes()).hexdigest())
"""


def test_threads_do_not_matter() -> None:
    printed = set()
    for n in ("1", "2"):
        threads = dict.fromkeys(("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), n)
        run = subprocess.run(
            [sys.executable, "-c", _PRINT],
            env=os.environ | threads,
            capture_output=True,
            text=True,
            check=True,
        )
        printed.add(run.stdout)
    assert len(printed) == 1


WORDS = [" the", " dog", "s", " cat", " river", "ing"]


def test_plan_carries_the_code_over(rng_rows: Callable[[int, int], NDArray[np.float32]]) -> None:
    src, tgt = byte_level([*WORDS, " only"]), byte_level([" mbwa", *WORDS[::-1], " paka", "!", " mto"])
    H = rng_rows(len(tgt), 12)
    shared = [0, *range(2, 8)]
    new = [1, 8, 9, 10]
    H[shared] = np.linalg.qr(rng_rows(12, 7))[0].T  # a code over orthogonal atoms is found for certain
    H[9] = 0
    weights = np.array([[0.5, -1.0, 0], [2.0, 0.25, 1.0]])
    H[1], H[10] = weights[0, :2] @ H[[2, 4]], weights[1] @ H[[3, 5, 7]]
    plan = omp(src, tgt, donor_matrix=H, k=3)
    E = rng_rows(len(src), 5).astype(np.float64)
    old_of = [src.ids[tgt.tokens[i]] for i in range(len(tgt)) if i in shared]
    np.testing.assert_array_equal(plan.weights[shared].indices, old_of)
    rows = plan.weights @ E
    at = {tgt.tokens[i]: src.ids.get(tgt.tokens[i]) for i in range(len(tgt))}
    np.testing.assert_allclose(
        rows[1], weights[0, :2] @ E[[at[tgt.tokens[2]], at[tgt.tokens[4]]]], rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(
        rows[10], weights[1] @ E[[at[tgt.tokens[i]] for i in (3, 5, 7)]], rtol=1e-5, atol=1e-5
    )
    assert plan.origins[new].tolist() == [Origin.MIXED, Origin.MIXED, Origin.EMPTY, Origin.MIXED]
    assert plan.origins[shared].tolist() == [Origin.SPECIAL] + [Origin.COPIED] * 6
    assert plan.options["omp"]["donor_dim"] == 12


@pytest.fixture
def rng_rows() -> Callable[[int, int], NDArray[np.float32]]:
    rng = np.random.default_rng(11)
    return lambda n, dim: rng.standard_normal((n, dim)).astype(np.float32)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_little_overlap(dtype: type, rng_rows: Callable[[int, int], NDArray[np.float32]]) -> None:
    H = rng_rows(4, 6).astype(dtype)
    none = omp(byte_level([" a", " b"]), words_only(["p", "q", "r", "s"]), donor_matrix=H)
    assert none.origins.tolist() == [Origin.EMPTY] * 4
    one = omp(byte_level([" x"]), byte_level([" x", " y", " z"]), donor_matrix=H)
    assert one.origins.tolist() == [Origin.SPECIAL, Origin.COPIED, Origin.MIXED, Origin.MIXED]
    assert np.isfinite(one.weights.data).all()


def test_donor_must_fit(rng_rows: Callable[[int, int], NDArray[np.float32]]) -> None:
    src, tgt = byte_level(WORDS), byte_level(WORDS)
    with pytest.raises(InputError, match="fewer rows"):
        omp(src, tgt, donor_matrix=rng_rows(len(tgt) - 1, 4))
    with pytest.raises(InputError, match="NaN"):
        omp(src, tgt, donor_matrix=np.full((len(tgt), 4), np.nan))
    padded = omp(src, tgt, donor_matrix=rng_rows(len(tgt) + 9, 4))  # rows past the vocabulary are padding
    assert padded.n_tgt == len(tgt)


@pytest.mark.data
@pytest.mark.parametrize(("name", "atol"), [("omp_k8_float64", 5e-6), ("omp_k8", 1e-4)])
def test_against_recorded_codes(name: str, atol: float, shared_golden: Path) -> None:
    from tokenizers import Tokenizer

    inputs, recorded = shared_golden / "vocab/inputs", shared_golden / "vocab/mergekit-tokensurgeon"
    src, tgt = (
        Tokenizer.from_file(str(inputs / f"{n}/tokenizer.json")) for n in ("source_bpe", "target_bpe")
    )
    E, H = np.load(inputs / "source_matrix.npy"), np.load(inputs / "helper_matrix_target_bpe.npy")
    plan = omp(src, tgt, donor_matrix=H, k=8)
    shared, code = np.load(recorded / "shared.npz"), np.load(recorded / f"{name}.npz")
    copies = plan.weights[shared["shared_target_ids"]]
    np.testing.assert_array_equal(copies.indices, shared["shared_source_ids"])
    np.testing.assert_array_equal(copies.data, 1)
    np.testing.assert_array_equal(
        np.flatnonzero(plan.origins == Origin.MIXED), np.sort(shared["new_target_ids"])
    )
    rows = (plan.weights @ E.astype(np.float64))[code["new_target_ids"]]
    np.testing.assert_allclose(rows, code["rows"], rtol=0, atol=atol)
    found = pursue(H[code["new_target_ids"]], H[shared["shared_target_ids"]], k=8)
    np.testing.assert_array_equal(found.indices, code["indices_into_shared"])
    np.testing.assert_allclose(found.coefficients, code["coefficients"], atol=2e-5)
    np.testing.assert_allclose(found.residuals, code["relative_residual"], atol=1e-6)


def test_both_kinds_of_products_are_the_plain_sum() -> None:
    from align.neighbors.vnni import available
    from vocab.methods.pursuit import products as kernels
    from vocab.methods.pursuit.guess import flagged, free_columns
    from vocab.methods.pursuit.vectors import STEPS
    from vocab.methods.pursuit.vnni import PANEL

    rng = np.random.default_rng(5)
    m, size = 150, 7
    atoms = correlated(rng, m, 20) / 16
    G, common = atoms @ atoms.T, rng.standard_normal(192).astype(np.float32)
    common[m:] = 0
    rows, scales = np.empty((m, 2, 192), np.uint8), np.zeros(m, np.float32)
    wide = np.zeros((m, 192), np.float32)
    wide[:, :m] = G
    kernels.keep(wide, common, np.arange(m), np.arange(m), rows, scales)
    codes = rng.standard_normal((STEPS, size))
    first = rng.standard_normal(192).astype(np.float32)
    slots = rng.permutation(m)[:size]
    weights = np.zeros((STEPS, 2, 8), np.int8)
    starts, units = np.zeros(STEPS, np.int32), np.zeros(STEPS, np.float32)
    for t in range(STEPS):
        kernels.round_weights(codes[t] * scales[slots], size, t, weights, starts, units)
    packed = np.empty((2, 6, 2, PANEL), np.uint32)
    for plane in range(2):
        for group in range(2):
            kernels.pack(rows, slots, size, plane, group, packed[plane])
    rest = G[slots] - np.outer(common[slots], common[:m])
    rest[np.arange(size), slots] = 0
    shifts = np.array([0.3, -0.2, 0, 1], np.float32)
    exact = (first - np.outer(shifts, common))[:, :m] - codes @ rest
    rounding = (abs(codes) * scales[slots]).sum(axis=1, keepdims=True)
    floors = np.array([0.5, 1.0, 2.0, 1e9], np.float32)
    for products in (kernels.products_plain, *([kernels.products_vnni] if available() else [])):
        lines, finer = np.empty((STEPS, 192), np.float32), np.empty((STEPS, 192), np.float32)
        flags = np.zeros((STEPS, 32), np.uint16)
        products(packed[0], 2, weights, starts, first, common, lines, shifts, units, floors, flags)
        error = np.abs(lines[:, :m] - exact).max(axis=1, keepdims=True)
        limit = 64 * size * units[:, None] + 1e-4
        assert (0.05 * rounding < error).all()
        assert (error < 0.51 * rounding + limit).all()
        np.testing.assert_array_equal(lines[:, m:], np.tile(first[m:], (STEPS, 1)))
        bits = np.unpackbits(flags.view(np.uint8), axis=1, bitorder="little")
        np.testing.assert_array_equal(bits[:, :192], abs(lines) >= floors[:, None])
        assert not bits[:, 192:].any()
        for t in range(STEPS):
            out = np.empty(192, np.int32)
            none_chosen = np.zeros(192, np.int32)
            wanted = np.flatnonzero(abs(lines[t]) >= floors[t])
            n = flagged(flags[t], none_chosen, 0, out)
            np.testing.assert_array_equal(out[:n], wanted)
            n = free_columns(lines[t], floors[t], none_chosen, 0, out)
            np.testing.assert_array_equal(out[:n], wanted)
            nothing, fine = np.zeros(192, np.float32), units / np.float32(kernels.LOW)
            products(packed[1], 2, weights, starts, lines[t], nothing, finer, shifts, fine, floors, flags)
            error = np.abs(finer[t, :m] - exact[t]).max()
            assert error < 0.51 * rounding[t, 0] / kernels.LOW + limit[t, 0]
            products(packed[0], 2, weights, starts, first, common, lines, shifts, units, floors, flags)


@pytest.mark.slow
def test_other_processors_choose_the_same_atoms() -> None:
    printed = set()
    for settings in ({}, {"NUMBA_CPU_NAME": "generic"}):
        run = subprocess.run(
            [sys.executable, "-c", _PRINT.replace(" + code.coefficients.tobytes()", "")],
            env=os.environ | settings,
            capture_output=True,
            text=True,
            check=True,
        )
        printed.add(run.stdout)
    assert len(printed) == 1


def test_atoms_that_have_much_in_common() -> None:
    rng = np.random.default_rng(8)
    X, D = (rng.standard_normal((n, 24)) * 0.05 + 1 for n in (30, 900))  # cosines near 1
    code = pursue(X.astype(np.float32), D.astype(np.float32), k=8)
    np.testing.assert_array_equal(code.indices, reference(X.astype("f"), D.astype("f"), 8)[0])
