from __future__ import annotations

import numba
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from align.errors import InputError
from vocab.plan.sampling import Sampling, sampled_rows

KINDS = ("normal", "multivariate")


@pytest.fixture(scope="module")
def old() -> np.ndarray:
    """Rows whose dimensions depend on one another and differ in mean and width."""
    rng = np.random.default_rng(0)
    return (rng.standard_normal((400, 5)) @ rng.standard_normal((5, 5)) + 3 * rng.standard_normal(5)).astype(
        np.float32
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_statistics_are_those_of_the_old_rows(old: np.ndarray, kind: str, scale: float) -> None:
    n = 20_000
    rows = sampled_rows(old, Sampling(kind=kind, scale=scale, seed=1), np.arange(n))
    std = old.std(axis=0) * scale
    # the mean of n draws is within 5 standard errors
    np.testing.assert_array_less(abs(rows.mean(axis=0) - old.mean(axis=0)), 5 * std / np.sqrt(n))
    wanted = np.cov(old.T) * scale**2
    if kind == "normal":
        wanted = np.diag(std**2)
    np.testing.assert_array_less(abs(np.cov(rows.T) - wanted), 0.06 * np.outer(std, std))


def test_dimensions_are_independent_only_for_normal(old: np.ndarray) -> None:
    largest = [
        abs(np.corrcoef(sampled_rows(old, Sampling(kind=kind), np.arange(5000)).T) - np.eye(5)).max()
        for kind in KINDS
    ]
    assert largest[0] < 0.08 < 0.3 < largest[1]


@pytest.mark.parametrize("kind", KINDS)
def test_scale_zero_is_the_mean(old: np.ndarray, kind: str) -> None:
    rows = sampled_rows(old, Sampling(kind=kind, scale=0), np.arange(3))
    np.testing.assert_array_equal(rows, np.tile(old.mean(axis=0, dtype=np.float64), (3, 1)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", [5, 33, 100])
def test_a_row_depends_on_its_seed_and_key_alone(kind: str, dim: int) -> None:
    old = np.random.default_rng(2).standard_normal((50, dim))
    sampling = Sampling(kind=kind, seed=3)
    keys = np.arange(150)
    rows = sampled_rows(old, sampling, keys)
    for some in ([7], [1, 2], [149, 3, 64], list(range(0, 150, 2)), list(range(1, 150))):
        np.testing.assert_array_equal(sampled_rows(old, sampling, keys[some]), rows[some])
    with threadpool_limits(limits=2):
        np.testing.assert_array_equal(sampled_rows(old, sampling, keys), rows)
    assert len(np.unique(rows, axis=0)) == len(rows)
    other_seed = sampled_rows(old, Sampling(kind=kind, seed=4), keys)
    assert not (other_seed == rows).any()


@pytest.mark.parametrize("kind", KINDS)
def test_rows_do_not_depend_on_the_number_of_threads(kind: str) -> None:
    old = np.random.default_rng(5).standard_normal((40, 7))
    keys = np.random.default_rng(6).permutation(2000)[:1500]
    sampling, before, rows = Sampling(kind=kind, seed=1), numba.get_num_threads(), []
    try:
        for n_threads in (1, min(4, numba.config.NUMBA_NUM_THREADS)):
            numba.set_num_threads(n_threads)
            rows.append(sampled_rows(old, sampling, keys))
    finally:
        numba.set_num_threads(before)
    np.testing.assert_array_equal(rows[0], rows[1])


@pytest.mark.parametrize("kind", [*KINDS, "isotropic"])
def test_no_key_draws_no_row(old: np.ndarray, kind: str) -> None:
    assert sampled_rows(old, Sampling(kind=kind), np.empty(0, np.int64)).shape == (0, 5)


def test_fewer_old_rows_than_dimensions() -> None:
    old = np.random.default_rng(4).standard_normal((3, 6))
    rows = sampled_rows(old, Sampling(kind="multivariate"), np.arange(20))
    assert (
        np.linalg.matrix_rank(rows - old.mean(axis=0), tol=1e-6) == 2
    )  # draws stay in the span of the old rows


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "uniform"}, "unknown distribution"),
        ({"scale": -1.0}, "scale"),
        ({"scale": np.nan}, "scale"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_settings(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Sampling(**change)
