from __future__ import annotations

import numpy as np
import pytest

from align.errors import InputError, UsageError
from align.mapping.procrustes import procrustes
from align.mapping.rcsls import rcsls, rcsls_loss
from align.neighbors import top_k
from align.normalize import normalize, unit


def planted(seed: int, n: int = 800, dim: int = 16):
    """Two unit spaces, one a noisy rotation of the other; row i is the translation of row i."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, dim))
    Q = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    noise = rng.normal(size=(n, dim)) * np.linspace(0.1, 3.0, dim)  # some directions tell little
    Y = (X + noise) @ Q + 0.5 * rng.normal(size=dim)  # off the centre there are hubs
    X, Y = (unit(rows.astype(np.float32)) for rows in (X, Y))
    return X, Y, np.repeat(np.arange(n)[:, None], 2, axis=1)


def plain_loss(X, Y, pairs, W, k, max_neg):
    """Equation 5 as it stands, with every score at once, in float64."""
    X, Y = X.astype(np.float64), Y.astype(np.float64)
    M = X @ W
    total = 0.0
    for i, j in pairs:
        total += 2 * M[i] @ Y[j]
        total -= np.sort(Y[:max_neg] @ M[i])[-k:].mean()
        total -= np.sort(M[:max_neg] @ Y[j])[-k:].mean()
    return -total / len(pairs)


def test_loss_is_the_plain_formula_and_the_gradient_its_slope() -> None:
    X, Y, _ = planted(0, n=120)
    Y = np.concatenate([Y, Y[::-1]], axis=1)  # of unequal width
    rng = np.random.default_rng(1)
    pairs = rng.integers(0, 120, (40, 2))
    pairs = np.concatenate([pairs, pairs[:7]])  # repeated pairs count again
    W = rng.normal(size=(16, 32)) / 4
    loss, gradient = rcsls_loss(X, Y, pairs, W, k=7, max_neg=90)
    np.testing.assert_allclose(loss, plain_loss(X, Y, pairs, W, 7, 90), atol=1e-6)
    for _ in range(5):
        D = rng.normal(size=W.shape)
        ahead, behind = (plain_loss(X, Y, pairs, W + h * D, 7, 90) for h in (1e-6, -1e-6))
        np.testing.assert_allclose(np.sum(gradient * D), (ahead - behind) / 2e-6, rtol=1e-4)


@pytest.mark.parametrize("constraint", ["spectral", "none"])
def test_translates_unseen_words_better_than_procrustes(constraint) -> None:
    X, Y, gold = planted(2, n=1200, dim=30)
    train, test = gold[:600], gold[600:]
    fitted = rcsls(X, Y, train, constraint=constraint, lr=10.0)
    assert fitted.converged
    assert fitted.n_iter == 10
    assert len(fitted.history) == 11
    assert (np.diff(fitted.history) <= 0).all()
    values = np.linalg.svd(fitted.matrix, compute_uv=False)
    assert (values.max() <= 1 + 1e-12) == (constraint == "spectral")
    p_at_1 = [
        np.mean(top_k(W(X)[test[:, 0]], Y, 1).indices[:, 0] == test[:, 1])
        for W in (fitted, procrustes(X, Y, train))
    ]
    assert p_at_1[0] > p_at_1[1] + 0.05


def test_a_step_that_raises_the_loss_is_undone() -> None:
    X, Y, gold = planted(3, n=200, dim=4)
    gold[:, 1] = np.random.default_rng(0).permutation(200)  # no map has a loss below 0
    fitted = rcsls(X, Y, gold, constraint="none", lr=1e4, n_iter=4)
    start = procrustes(X, Y, gold).matrix
    _, gradient = rcsls_loss(X, Y, gold, start)
    assert fitted.history == (fitted.history[0],) * 5
    np.testing.assert_array_equal(fitted.matrix, start)
    lrs = [1e4 / 2**n for n in range(40)]
    losses = [rcsls_loss(X, Y, gold, start - lr * gradient)[0] for lr in lrs]
    n_undone = next(n for n, loss in enumerate(losses) if loss < fitted.history[0])
    once = rcsls(X, Y, gold, constraint="none", lr=1e4, n_iter=n_undone + 1)
    np.testing.assert_allclose(once.matrix, start - lrs[n_undone] * gradient, atol=1e-12)
    np.testing.assert_allclose(once.history[-1], losses[n_undone], rtol=1e-12)


def test_an_interrupt_leaves_the_best_map() -> None:
    X, Y, gold = planted(4, n=200)
    seen = []

    def stop(step: int, loss: float) -> None:
        seen.append((step, loss))
        if step == 2:
            raise KeyboardInterrupt

    fitted = rcsls(X, Y, gold, progress=stop)
    assert not fitted.converged
    assert fitted.n_iter == 2
    assert [loss for _, loss in seen] == list(fitted.history[1:])
    np.testing.assert_array_equal(fitted.matrix, rcsls(X, Y, gold, n_iter=2).matrix)


def test_settings_and_pairs_are_checked() -> None:
    X, Y, gold = planted(5, n=50)
    for settings in ({"constraint": "orthogonal"}, {"n_iter": 0}, {"lr": 0.0}, {"k": 0}, {"max_neg": 0}):
        with pytest.raises(UsageError):
            rcsls(X, Y, gold, **settings)
    with pytest.raises(InputError):
        rcsls(X, Y, gold + 1)


@pytest.mark.data
def test_recorded_loss_gradient_and_descent(shared_golden) -> None:
    folder = shared_golden / "bli" / "small"
    X, Y = (normalize(np.load(folder / f"{side}.npy"), ("unit",))[0] for side in ("en", "es"))
    pairs = np.load(folder / "train_ids.npy")
    W = np.load(folder / "fasttext_procrustes.R.npy").T  # theirs is the map of column vectors
    loss, gradient = rcsls_loss(X, Y, pairs, W)
    recorded = float((folder / "rcsls_loss_at_procrustes.txt").read_text().split()[-1])
    np.testing.assert_allclose(loss, recorded, atol=1e-7)
    np.testing.assert_allclose(gradient, np.load(folder / "rcsls_grad_at_procrustes.npy").T, atol=1e-6)
    fitted = rcsls(X, Y, pairs, n_iter=11)
    np.testing.assert_allclose(fitted.matrix, np.load(folder / "rcsls_spectral.R.npy").T, atol=1e-5)
    log = (folder / "rcsls_spectral.log.txt").read_text().splitlines()
    printed = [float(line.split("=")[-1]) for line in log if " f = " in line]
    np.testing.assert_allclose(fitted.history[:-1], printed, atol=6e-5)
