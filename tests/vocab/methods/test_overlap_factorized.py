from __future__ import annotations

import numpy as np
import pytest

from align.errors import InputError, UsageError
from tests.vocab.tokenizer_families import family
from vocab.methods import copy
from vocab.methods.overlap_factorized import overlap_factorized
from vocab.plan import Origin, TransferPlan
from vocab.plan.sampling import Sampling, sampled_rows


def low_rank_rows(n: int = 600, dim: int = 30, rank: int = 4) -> np.ndarray:
    """Rows near a plane of few dimensions, which does not go through the origin."""
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((n, rank)) @ rng.standard_normal((rank, dim)) + rng.standard_normal(dim)
    return (rows + 0.05 * rng.standard_normal((n, dim))).astype(np.float32)


def test_draws_stay_in_the_factorised_space() -> None:
    old = low_rank_rows()
    mean = old.mean(axis=0, dtype=np.float64)
    rows = sampled_rows(old, Sampling(kind="multivariate", rank=4), np.arange(5000))
    values, axes = np.linalg.eigh(np.cov(old.T.astype(np.float64)))
    outside = axes[:, :-4]
    assert np.abs((rows - mean) @ outside).max() < 1e-10
    coordinates = (rows - mean) @ axes[:, -4:]
    np.testing.assert_allclose(coordinates.std(axis=0), np.sqrt(values[-4:]), rtol=0.05)
    np.testing.assert_array_less(np.abs(np.corrcoef(coordinates.T) - np.eye(4)), 0.06)


def test_full_rank_is_the_whole_covariance() -> None:
    old = low_rank_rows(dim=6)
    keys = np.arange(100)
    whole = sampled_rows(old, Sampling(kind="multivariate", seed=5), keys)
    for rank in (6, 100):
        np.testing.assert_array_equal(
            sampled_rows(old, Sampling(kind="multivariate", seed=5, rank=rank), keys), whole
        )
    some = sampled_rows(old, Sampling(kind="multivariate", seed=5, rank=2), keys)
    assert not (some == whole).all(axis=1).any()
    np.testing.assert_array_equal(
        sampled_rows(old, Sampling(kind="multivariate", seed=5, rank=2), keys[7:9]), some[7:9]
    )


def test_plan_copies_and_draws(tmp_path) -> None:
    src, tgt = family("byte-level"), family("wordpiece, cased")
    plan, copied = overlap_factorized(src, tgt, rank=3, seed=2), copy(src, tgt)
    shared = copied.origins != Origin.EMPTY
    assert (plan.origins[~shared] == Origin.SAMPLED).all()
    np.testing.assert_array_equal(plan.origins[shared], copied.origins[shared])
    E = low_rank_rows(len(src), 16)
    rows = plan.apply(E)
    np.testing.assert_array_equal(rows[shared], E[copied.weights.indices])
    drawn = rows[~shared] - E.mean(axis=0)
    assert np.linalg.matrix_rank(drawn, tol=1e-4) == 3
    assert len(np.unique(rows[~shared], axis=0)) == (~shared).sum()
    assert TransferPlan.load(plan.save(tmp_path / "plan")).sampling == plan.sampling
    np.testing.assert_array_equal(TransferPlan.load(tmp_path / "plan").apply(E), rows)


def test_bad_ranks() -> None:
    src = family("byte-level")
    with pytest.raises(UsageError, match="rank must be positive"):
        overlap_factorized(src, src, rank=0)
    for settings in ({"kind": "multivariate", "rank": 0}, {"kind": "normal", "rank": 3}):
        with pytest.raises(InputError, match="rank of a distribution"):
            Sampling(**settings)
