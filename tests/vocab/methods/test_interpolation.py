from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize

from align.errors import InputError, UsageError
from vocab.methods.interpolation import common_interpolation
from vocab.plan import Origin
from vocab.tokens import BYTE_TO_CHAR, Vocabulary


def byte_level(words: list[str]) -> Vocabulary:
    from tokenizers import Tokenizer, models, pre_tokenizers

    spelled = ["".join(BYTE_TO_CHAR[b] for b in word.encode()) for word in words]
    inner = Tokenizer(models.BPE({t: i for i, t in enumerate(spelled)}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return Vocabulary.of(inner)


@pytest.fixture
def overlap() -> tuple[Vocabulary, Vocabulary]:
    """60 shared tokens at the front of both, 20 new ones after them."""
    shared = [f" w{i}" for i in range(60)]
    return byte_level([*shared, " old"]), byte_level([*shared, *[f" n{i}" for i in range(20)]])


def donor(seed: int, n: int = 80, dim: int = 10) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return ((rng.standard_normal((n, dim)) + 0.8) * rng.uniform(0.5, 2, (n, 1))).astype(np.float32)


def test_distance_weights(overlap: tuple[Vocabulary, Vocabulary]) -> None:
    H = donor(0)
    H[75] = H[3]  # a new token that lies on a shared one
    plan = common_interpolation(*overlap, donor_matrix=H, k=5)
    for row in range(60, 80):
        distance = np.linalg.norm(H[:60].astype(float) - H[row], axis=1)
        nearest = np.argsort(distance)[:5]
        wanted = np.zeros(61)
        wanted[nearest] = 1 / np.maximum(distance[nearest], 1e-6)
        np.testing.assert_allclose(plan.weights[[row]].toarray()[0], wanted / wanted.sum(), atol=1e-6)
    assert plan.weights[75, 3] > 0.999
    np.testing.assert_array_equal(plan.weights[:60].indices, np.arange(60))
    assert set(plan.origins[:60]) == {Origin.COPIED}
    assert set(plan.origins[60:]) == {Origin.MIXED}


def test_cosine_weights(overlap: tuple[Vocabulary, Vocabulary]) -> None:
    H = donor(1)
    H[:60] = abs(H[:60])
    H[77] = -1  # no shared token points its way
    H[78] = 0
    plan = common_interpolation(*overlap, donor_matrix=H, k=4, metric="cosine")
    unit = H / np.maximum(np.linalg.norm(H, axis=1, keepdims=True), 1e-9)
    for row in (60, 70, 79):
        cosine = unit[:60] @ unit[row]
        wanted = np.where(np.isin(np.arange(60), np.argsort(-cosine)[:4]), np.maximum(cosine, 0), 0)
        found = plan.weights[[row]].toarray()[0, :60]
        np.testing.assert_allclose(found, wanted / wanted.sum(), atol=1e-6)
    assert plan.origins[[77, 78]].tolist() == [Origin.EMPTY] * 2


def test_barycentric_weights_are_the_constrained_optimum(overlap: tuple[Vocabulary, Vocabulary]) -> None:
    H = donor(2)
    plan = common_interpolation(*overlap, donor_matrix=H, k=4, weighting="barycentric")
    np.testing.assert_allclose(plan.weights.sum(axis=1), 1, atol=1e-6)
    A, x = H[plan.weights[[66]].indices].astype(float), H[66].astype(float)
    best = minimize(
        lambda w: ((w @ A - x) ** 2).sum(), np.full(4, 0.25),
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1}, options={"ftol": 1e-14, "maxiter": 500},
    )  # fmt: skip
    np.testing.assert_allclose(plan.weights[[66]].data, best.x, atol=1e-4)


@pytest.mark.parametrize("noise", [0.0, 1e-3])
@pytest.mark.parametrize("weighting", ["barycentric", "least_squares"])
def test_fitted_weights_find_a_planted_sum(
    overlap: tuple[Vocabulary, Vocabulary], weighting: Any, noise: float
) -> None:
    rng = np.random.default_rng(3)
    H = donor(3)
    H[:8] = rng.standard_normal(10) * 40 + 0.3 * rng.standard_normal((8, 10))  # a far cluster of neighbours
    planted = rng.dirichlet(np.ones(8), 20)
    H[60:] = planted @ H[:8] + noise * rng.standard_normal((20, 10))
    plan = common_interpolation(*overlap, donor_matrix=H, k=8, weighting=weighting)
    np.testing.assert_allclose(plan.weights[60:].toarray()[:, :8], planted, atol=2e-3 + 30 * noise)


@pytest.mark.parametrize("weighting", ["distance", "barycentric", "least_squares"])
def test_neighbours_that_depend_on_each_other(overlap: tuple[Vocabulary, Vocabulary], weighting: Any) -> None:
    """More neighbours than dimensions, some of them equal: the smallest weights, not an error."""
    H = donor(4, dim=3)
    H[10:20] = H[0]
    plan = common_interpolation(*overlap, donor_matrix=H, k=30, weighting=weighting)
    assert abs(plan.weights.data).max() < 5
    if weighting != "distance":
        W = plan.weights[60:].toarray()[:, :60]
        np.testing.assert_allclose(W @ H[:60], H[60:], atol=1e-4)
        found = [row[[0, *range(10, 20)]] for row in W if row[0] != 0]
        for equal in found:
            np.testing.assert_allclose(equal[equal != 0], equal[0], atol=1e-5)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("weighting", ["distance", "barycentric", "least_squares"])
def test_little_overlap(metric: Any, weighting: Any) -> None:
    H = abs(donor(5, 3))
    none = common_interpolation(
        byte_level([" a"]), byte_level([" x", " y", " z"]), donor_matrix=H, metric=metric, weighting=weighting
    )
    assert none.origins.tolist() == [Origin.EMPTY] * 3
    one = common_interpolation(
        byte_level([" x"]), byte_level([" x", " y", " z"]), donor_matrix=H, metric=metric, weighting=weighting
    )
    assert one.origins.tolist() == [Origin.COPIED, Origin.MIXED, Origin.MIXED]
    wanted = H[1:].astype(float) @ H[0] / (H[0] @ H[0]) if weighting == "least_squares" else [1, 1]
    np.testing.assert_allclose(one.weights.data[1:], wanted, rtol=1e-5)


def test_bad_input(overlap: tuple[Vocabulary, Vocabulary]) -> None:
    H = donor(6)
    for change in ({"k": 0}, {"metric": "manhattan"}, {"weighting": "harmonic"}):
        with pytest.raises(UsageError, match="interpolate"):
            common_interpolation(*overlap, donor_matrix=H, **change)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="fewer rows"):
        common_interpolation(*overlap, donor_matrix=H[:70])


@pytest.mark.data
@pytest.mark.parametrize(
    ("metric", "weighting", "rtol"),
    [
        ("euclidean", "distance", 1e-6),
        ("cosine", "distance", 1e-6),
        ("euclidean", "barycentric", 3e-5),  # recorded from a float32 solver
        ("euclidean", "least_squares", 3e-6),
    ],
)
def test_against_recorded_rows(metric: Any, weighting: Any, rtol: float, shared_golden: Path) -> None:
    from tokenizers import Tokenizer

    inputs, recorded = shared_golden / "vocab/inputs", shared_golden / "vocab/mergekit-tokensurgeon"
    src, tgt = (
        Tokenizer.from_file(str(inputs / f"{n}/tokenizer.json")) for n in ("source_bpe", "target_bpe")
    )
    E, H = np.load(inputs / "source_matrix.npy"), np.load(inputs / "helper_matrix_target_bpe.npy")
    plan = common_interpolation(src, tgt, donor_matrix=H, k=8, metric=metric, weighting=weighting)
    wanted = np.load(recorded / f"interp_k8_{metric}_{weighting}.npz")
    rows = (plan.weights @ E.astype(np.float64))[wanted["new_target_ids"]]
    size = np.linalg.norm(wanted["rows"], axis=1, keepdims=True)
    np.testing.assert_allclose(rows / size, wanted["rows"] / size, rtol=0, atol=rtol)
    shared = np.load(recorded / "shared.npz")
    old = np.sort(shared["shared_source_ids"][wanted["indices_into_shared"]], axis=1)
    found = plan.weights[wanted["new_target_ids"]]
    np.testing.assert_array_equal(found.indices.reshape(old.shape), old)
