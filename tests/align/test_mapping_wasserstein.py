from __future__ import annotations

import sys

import numpy as np
import pytest

from align.errors import ConvergenceError, InputError, UnavailableError, UsageError
from align.mapping.refinement import csls_sweep
from align.mapping.wasserstein import (
    convex_initialisation,
    gromov_wasserstein,
    sinkhorn,
    wasserstein_procrustes,
)
from align.normalize import normalize


def planted(seed: int, n: int = 200, dim: int = 12):
    """A skewed cloud, the same turned, with noise and in another order, and where each row went."""
    rng = np.random.default_rng(seed)
    X = rng.exponential(size=(n, dim)) * np.linspace(2, 0.5, dim)
    Q = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    shuffle = rng.permutation(n)
    Y = (X @ Q + 0.02 * rng.normal(size=X.shape))[shuffle]
    X, Y = (normalize(rows.astype(np.float32))[0] for rows in (X, Y))
    return X, Y, np.argsort(shuffle)


def p_at_1(fitted, X, Y, gold) -> float:
    return float(np.mean(csls_sweep(fitted.map_src(X), fitted.map_tgt(Y)).forward == gold))


@pytest.mark.parametrize("shape", [(30, 30), (20, 50)])
def test_plan_has_its_margins_and_the_form_of_the_optimum(shape) -> None:
    cost = np.random.default_rng(0).normal(size=shape) * 3 + 100  # far off zero: no underflow
    plan = sinkhorn(cost, reg=2.0, tolerance=1e-10, max_iter=20_000)
    np.testing.assert_allclose(plan.sum(axis=1), 1, atol=1e-9)
    np.testing.assert_allclose(plan.sum(axis=0), shape[0] / shape[1], atol=1e-9)
    # log plan + cost / 2 is a sum of a term of the row and one of the column
    D = np.log(plan) + cost / 2.0
    D -= D.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(D - D.mean(axis=0), 0, atol=1e-8)


def test_plan_agrees_with_pot() -> None:
    ot = pytest.importorskip("ot")
    cost = np.random.default_rng(1).uniform(-1, 1, size=(40, 40))
    theirs = ot.sinkhorn(np.ones(40), np.ones(40), cost, 0.05, stopThr=1e-9, numItermax=20_000)
    np.testing.assert_allclose(sinkhorn(cost, tolerance=1e-9, max_iter=20_000), theirs, atol=1e-8)


def test_a_plan_out_of_range_is_an_error() -> None:
    with pytest.raises(ConvergenceError):
        sinkhorn(np.full((3, 3), np.nan))


def test_convex_start_is_the_planted_rotation_nearly() -> None:
    X, Y, gold = planted(2)
    seen = []
    W = convex_initialisation(X, Y, n_steps=30, progress=lambda step, gap: seen.append(gap))
    np.testing.assert_allclose(W @ W.T, np.eye(12), atol=1e-9)
    assert seen[-1] < seen[0]
    assert np.mean((X @ W @ Y.T).argmax(axis=1) == gold) > 0.9


def test_wasserstein_procrustes_finds_a_planted_rotation() -> None:
    X, Y, gold = planted(3)
    seen = []
    fitted = wasserstein_procrustes(
        X,
        Y,
        n_epochs=2,
        batch_size=100,
        n_steps=40,
        lr=100.0,
        init_steps=30,
        progress=lambda step, value: seen.append((step, value)),
    )
    assert fitted.converged, fitted.options["failure"]
    assert [step for step, _ in seen] == [*range(1, 31), 70, 80]
    assert len(fitted.history) == 2
    assert 0 < fitted.history[0] < 1
    assert p_at_1(fitted, X, Y, gold) > 0.95


def test_gromov_wasserstein_finds_a_planted_rotation() -> None:
    pytest.importorskip("ot")
    X, Y, gold = planted(4)
    fitted = gromov_wasserstein(X, Y, reg=5e-3, max_iter=50)
    assert fitted.converged, fitted.options["failure"]
    assert 0 < len(fitted.history) <= 10
    assert p_at_1(fitted, X, Y, gold) > 0.95


def test_failure_is_said() -> None:
    X = planted(5)[0]
    Y = normalize(np.random.default_rng(6).standard_normal(X.shape).astype(np.float32))[0]
    with pytest.warns(UserWarning, match="wasserstein-procrustes mapping failed"):
        fitted = wasserstein_procrustes(X, Y, n_epochs=1, batch_size=50, n_steps=2, init_steps=2)
    assert not fitted.converged
    assert fitted.options["criterion"] < 1.1 * fitted.options["chance"]


def test_an_interrupt_leaves_a_rotation() -> None:
    X, Y, _ = planted(7, n=60)

    def stop(step: int, value: float) -> None:
        raise KeyboardInterrupt

    settings = {"n_epochs": 2, "batch_size": 30, "n_steps": 2, "init_steps": 2}
    fitted = wasserstein_procrustes(X, Y, progress=stop, **settings)
    assert not fitted.converged
    assert fitted.options["failure"] == "interrupted"
    np.testing.assert_allclose(fitted.src_matrix @ fitted.src_matrix.T, np.eye(12), atol=1e-6)


def test_without_pot_the_message_names_it(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ot", None)
    monkeypatch.setitem(sys.modules, "ot.gromov", None)
    X, Y, _ = planted(8, n=30)
    with pytest.raises(UnavailableError, match=r"pip install vocab-transfer\[ot\]"):
        gromov_wasserstein(X, Y)


def test_settings_and_spaces_are_checked() -> None:
    X, Y, _ = planted(9, n=30)
    with pytest.raises(UsageError, match="lr"):
        wasserstein_procrustes(X, Y, lr=0)
    with pytest.raises(InputError):
        wasserstein_procrustes(X, Y[:, :5])
    with pytest.raises(InputError):
        wasserstein_procrustes(X, np.full_like(Y, np.nan))
    with pytest.raises(InputError):
        convex_initialisation(X, Y[:20])
