from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from align.errors import InputError, UsageError
from align.mapping import least_squares
from tests.vocab.small_vocabularies import byte_level
from vocab.methods.recycle import recycle
from vocab.plan import Origin, TransferPlan

N_SRC, N_TGT, SMALL, LARGE = 200, 60, 12, 20
SRC = byte_level([f" s{i}".encode() for i in range(N_SRC - 5)])
TGT = byte_level([b" s3", *(f" t{i}".encode() for i in range(N_TGT - 6))])


def models(noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Old rows of both sizes, and the new ones of both as they would be without noise."""
    rng = np.random.default_rng(1)
    A, T = rng.standard_normal((N_SRC, SMALL)), rng.standard_normal((N_TGT, SMALL))
    W = rng.standard_normal((SMALL, LARGE))
    E = A @ W + noise * rng.standard_normal((N_SRC, LARGE))
    return A, E, T, T @ W


@pytest.mark.parametrize("kind", ["least_squares", "nearest"])
def test_rows_are_the_fitted_map_of_the_small_models_rows(kind: str) -> None:
    A, E, T, _ = models(0.3)
    plan = recycle(SRC, TGT, donor_matrix=T, donor_src_matrix=A, kind=kind, k=3)  # type: ignore[arg-type]
    assert (plan.origins[:5] == Origin.EMPTY).all()
    assert (plan.origins[5:] == Origin.MIXED).all()  # the shared token too
    rows = apply(plan, E)
    if kind == "least_squares":
        pairs = np.stack([np.arange(N_SRC)] * 2, axis=1)
        wanted = T @ least_squares(A, E, pairs).matrix
    else:
        distances = np.linalg.norm(T[:, None] - A[None], axis=2)
        near = np.argsort(distances, axis=1)[:, :3]
        weights = 1 / np.take_along_axis(distances, near, axis=1)
        weights /= weights.sum(axis=1, keepdims=True)
        wanted = np.einsum("nk,nkd->nd", weights, E[near])
    np.testing.assert_allclose(rows[5:], wanted[5:], atol=2e-5)


def apply(plan: TransferPlan, E: np.ndarray) -> np.ndarray:
    from vocab.methods import mean

    return plan.then(mean(SRC, TGT)).apply(E)


def test_a_planted_map_is_found_through_noise() -> None:
    A, E, T, wanted = models(0.3)
    rows = apply(recycle(SRC, TGT, donor_matrix=T, donor_src_matrix=A), E)[5:]
    error = np.linalg.norm(rows - wanted[5:]) / np.linalg.norm(wanted[5:])
    assert 0.005 < error < 0.1
    swapped = np.random.default_rng(2).permutation(A)  # rows of other tokens say nothing
    rows = apply(recycle(SRC, TGT, donor_matrix=T, donor_src_matrix=swapped), E)[5:]
    assert np.linalg.norm(rows - wanted[5:]) / np.linalg.norm(wanted[5:]) > 0.5


def test_saved_and_the_same_for_any_number_of_threads(tmp_path) -> None:
    A, E, T, _ = models(0.3)
    plans = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            plans.append(recycle(SRC, TGT, donor_matrix=T, donor_src_matrix=A))
    loaded = TransferPlan.load(plans[0].save(tmp_path / "plan"))
    for plan in (plans[1], loaded):
        np.testing.assert_array_equal(apply(plan, E), apply(plans[0], E))


def test_padding_and_rows_of_zeros() -> None:
    A, E, T, _ = models(0.1)
    plan = recycle(SRC, TGT, donor_matrix=T, donor_src_matrix=A)
    padding = np.full((3, SMALL), np.nan)
    padded = recycle(SRC, TGT, donor_matrix=np.vstack([T, padding]), donor_src_matrix=np.vstack([A, padding]))
    np.testing.assert_array_equal(apply(padded, E), apply(plan, E))
    T[9], A[7] = 0, 0
    plan = recycle(SRC, TGT, donor_matrix=T, donor_src_matrix=A)
    assert plan.origins[9] == Origin.EMPTY
    assert 7 not in plan.low_rank[0].anchors
    nothing = recycle(SRC, TGT, donor_matrix=T, donor_src_matrix=0 * A)
    assert (nothing.origins == Origin.EMPTY).all()


def test_fewer_tokens_than_dimensions_is_said() -> None:
    _, E, T, _ = models(0.1)
    A = np.zeros((N_SRC, SMALL))
    A[5:9] = np.random.default_rng(0).standard_normal((4, SMALL))
    with pytest.warns(UserWarning, match="span 4 of the 12 dimensions"):
        plan = recycle(SRC, TGT, donor_matrix=T, donor_src_matrix=A)
    wanted = T @ np.linalg.pinv(A[5:9]) @ E[5:9]
    np.testing.assert_allclose(apply(plan, E)[5:], wanted[5:], atol=1e-4)


def test_bad_input() -> None:
    A, _, T, _ = models(0.1)
    for change, message in (
        ({"donor_matrix": T[:50]}, "fewer rows than the target vocabulary"),
        ({"donor_src_matrix": A[:50]}, "fewer rows than the source vocabulary"),
        ({"donor_src_matrix": A[:, :5]}, "differ in width"),
        ({"donor_matrix": T * np.nan}, "NaN"),
    ):
        with pytest.raises(InputError, match=message):
            recycle(SRC, TGT, **({"donor_matrix": T, "donor_src_matrix": A} | change))  # type: ignore[arg-type]
    for settings, message in (({"kind": "procrustes"}, "unknown kind"), ({"k": 0}, "must be positive")):
        with pytest.raises(UsageError, match=message):
            recycle(SRC, TGT, donor_matrix=T, donor_src_matrix=A, **settings)  # type: ignore[arg-type]


def test_the_small_model_itself_gives_back_its_rows() -> None:
    A, _, T, _ = models(0.0)
    rows = apply(recycle(SRC, TGT, donor_matrix=T, donor_src_matrix=A), A)
    np.testing.assert_allclose(rows[5:], T[5:], atol=1e-5)
