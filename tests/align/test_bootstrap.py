from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import stats

from align.errors import InputError, UsageError
from align.evaluation import bootstrap_interval, paired_difference


def test_interval_is_that_of_scipy():
    values = np.random.default_rng(0).random(300) ** 2
    found = bootstrap_interval(values, level=0.9, n_resamples=20_000)
    expected = stats.bootstrap(
        (values,),
        np.mean,
        confidence_level=0.9,
        n_resamples=20_000,
        method="percentile",
        rng=np.random.default_rng(7),
    ).confidence_interval
    np.testing.assert_allclose([found.low, found.high], expected, atol=1.5e-3)
    assert found.mean == pytest.approx(values.mean())
    assert found.high - found.low > 0.04
    assert (found.level, found.n) == (0.9, 300)


def test_interval_covers_the_true_mean_as_often_as_it_says():
    rng = np.random.default_rng(1)
    covered = [
        (i := bootstrap_interval(rng.random(200) < 0.3, n_resamples=400, seed=seed)).low <= 0.3 <= i.high
        for seed in range(300)
    ]
    assert 0.90 < np.mean(covered) < 0.99


def test_the_seed_decides():
    hits = np.random.default_rng(2).random(500) < 0.2
    assert bootstrap_interval(hits, seed=3) == bootstrap_interval(hits, seed=3)
    assert bootstrap_interval(hits, seed=3) != bootstrap_interval(hits, seed=4)


def test_p_value_is_that_of_all_swaps():
    rng = np.random.default_rng(3)
    a, b = rng.random(10), rng.random(10)
    x = a - b
    every = np.array(list(product([-1, 1], repeat=10))) @ x
    exact = np.mean(np.abs(every) >= abs(x.sum()) - 1e-12)
    found = paired_difference(a, b, n_resamples=40_000)
    assert found.p_value == pytest.approx(exact, abs=0.01)
    assert found.difference.mean == pytest.approx(x.mean())
    assert 0.05 < exact < 0.95


def test_pairing_sees_what_separate_intervals_do_not():
    rng = np.random.default_rng(4)
    a = rng.random(1000) < 0.4
    b = a | (rng.random(1000) < 0.04)  # better on a few queries, worse on none
    found = paired_difference(b, a)
    assert found.difference.low > 0
    assert found.p_value < 0.001
    assert bootstrap_interval(a).high > bootstrap_interval(b).low
    same = paired_difference(a, a)
    assert same.p_value == 1.0
    assert (same.difference.low, same.difference.high) == (0.0, 0.0)


def test_bad_input():
    with pytest.raises(InputError, match="one finite value a query"):
        bootstrap_interval(np.array([]))
    with pytest.raises(InputError, match="one finite value a query"):
        bootstrap_interval(np.array([1.0, np.nan]))
    with pytest.raises(UsageError, match="the level is no share"):
        bootstrap_interval(np.ones(3), level=95)
    with pytest.raises(UsageError, match="no resamples"):
        bootstrap_interval(np.ones(3), n_resamples=0)
    with pytest.raises(InputError, match="differ in queries"):
        paired_difference(np.ones(3), np.ones(4))
