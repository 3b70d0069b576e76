from __future__ import annotations

import numpy as np
import pytest

from align.errors import InputError, UsageError
from align.mapping.contrastive import FEW_PAIRS, contrastive, contrastive_loss, hard_rivals
from align.mapping.refinement import csls_sweep
from align.mapping.whitened import whitened
from align.normalize import unit


def planted(seed: int, n: int = 500, dim: int = 24):
    """Two unit spaces, one a noisy rotation of the other, and where each source row went."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, dim))
    Q = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    noise = rng.normal(size=(n, dim)) * np.linspace(0.1, 2.5, dim)
    Y = (X + noise) @ Q + 0.3 * rng.normal(size=dim)
    shuffle = rng.permutation(n)
    X, Y = (unit(rows.astype(np.float32)) for rows in (X, Y[shuffle]))
    return X, Y, np.stack((np.arange(n), np.argsort(shuffle)), axis=1)


def plain_loss(X, Y, rivals, A, B, src_lengths=None, tgt_lengths=None):
    """Equation 2 pair by pair in float64, with given lengths or those of the mapped rows."""
    M, N = X.astype(np.float64) @ A, Y.astype(np.float64) @ B
    M = M / (np.linalg.norm(M, axis=1) if src_lengths is None else src_lengths)[:, None]
    N = N / (np.linalg.norm(N, axis=1) if tgt_lengths is None else tgt_lengths)[:, None]
    total = 0.0
    for src, tgt in zip(rivals.src, rivals.tgt, strict=True):
        scores = np.concatenate([N[tgt] @ M[src[0]], M[src[1:]] @ N[tgt[0]]])
        total += np.log(np.exp(scores).sum()) - scores[0]
    return total / len(rivals.src)


def test_loss_is_the_plain_formula_and_the_gradients_its_slopes() -> None:
    X, Y, gold = planted(0, n=60, dim=7)
    Y = np.concatenate([Y, Y[::-1, :3]], axis=1)
    rng = np.random.default_rng(1)
    pairs = np.concatenate([gold[:15], gold[:3], [[0, 9]]])
    A, B = rng.normal(size=(7, 6)), rng.normal(size=(10, 6))
    rivals = hard_rivals(X, Y, pairs, A, B, n_neg=8, max_neg=50)
    loss, *gradients = contrastive_loss(X, Y, rivals, A, B)
    np.testing.assert_allclose(loss, plain_loss(X, Y, rivals, A, B), atol=1e-6)
    lengths = [np.linalg.norm(rows.astype(np.float64) @ W, axis=1) for rows, W in ((X, A), (Y, B))]
    for _ in range(4):
        D = rng.normal(size=A.shape), rng.normal(size=B.shape)
        slope = sum(np.sum(g * d) for g, d in zip(gradients, D, strict=True))
        ahead, behind = (
            plain_loss(X, Y, rivals, A + h * D[0], B + h * D[1], *lengths) for h in (1e-5, -1e-5)
        )
        np.testing.assert_allclose(slope, (ahead - behind) / 2e-5, rtol=1e-4, atol=1e-5)


def test_rivals_are_the_nearest_without_the_partner() -> None:
    X, Y, _ = planted(1, n=50, dim=5)
    rng = np.random.default_rng(2)
    A, B = rng.normal(size=(5, 5)), rng.normal(size=(5, 5))
    pairs = rng.integers(0, 50, (30, 2))
    rivals = hard_rivals(X, Y, pairs, A, B, n_neg=6, max_neg=40)
    M, N = (unit(rows @ W) for rows, W in ((X.astype(np.float64), A), (Y.astype(np.float64), B)))
    for (i, j), src, tgt in zip(pairs, rivals.src, rivals.tgt, strict=True):
        for first, got, scores in ((i, src, M[:40] @ N[j]), (j, tgt, N[:40] @ M[i])):
            wanted = [row for row in np.argsort(-scores, kind="stable") if row != first][:6]
            np.testing.assert_array_equal(got, [first, *wanted])


def p_at_1(fitted, X, Y, pairs) -> float:
    found = csls_sweep(fitted.map_src(X), fitted.map_tgt(Y))
    return float((found.forward[pairs[:, 0]] == pairs[:, 1]).mean())


@pytest.mark.parametrize(
    "settings", [{"n_steps": 20, "n_neg": 40}, {**FEW_PAIRS, "n_steps": 14, "n_aug": 200}]
)
def test_translates_unseen_words_better_than_its_start(settings) -> None:
    X, Y, gold = planted(3)
    train, test = gold[:150], gold[150:]
    fitted = contrastive(X, Y, train, **settings)
    assert fitted.converged
    loops = settings.get("n_loops", 2)
    assert fitted.n_iter == len(fitted.history) == loops * settings["n_steps"]
    assert fitted.history[settings["n_steps"] - 1] < fitted.history[0]
    assert fitted.n_pairs > 150  # found among the words that the dictionary lacks
    assert p_at_1(fitted, X, Y, test) > p_at_1(whitened(X, Y, train), X, Y, test) + 0.03


def test_rivals_kept_for_some_steps_lead_to_nearly_the_same_map() -> None:
    X, Y, gold = planted(4, n=300)
    exact, lazy = (contrastive(X, Y, gold[:100], n_steps=16, n_loops=1, n_neg=30, refresh=n) for n in (1, 4))
    start = whitened(X, Y, gold[:100]).src_matrix
    moved, apart = (np.linalg.norm(other - exact.src_matrix) for other in (start, lazy.src_matrix))
    assert 0 < apart < 0.1 * moved


def test_an_interrupt_leaves_the_last_map() -> None:
    X, Y, gold = planted(5, n=200)

    def stop(step: int, loss: float) -> None:
        if step == 3:
            raise KeyboardInterrupt

    stopped = contrastive(X, Y, gold[:80], n_loops=1, n_neg=10, progress=stop)
    assert not stopped.converged
    assert stopped.n_iter == 3
    whole = contrastive(X, Y, gold[:80], n_loops=1, n_neg=10, n_steps=3)
    np.testing.assert_array_equal(stopped.src_matrix, whole.src_matrix)
    np.testing.assert_array_equal(stopped.tgt_matrix, whole.tgt_matrix)


def test_settings_and_pairs_are_checked() -> None:
    X, Y, gold = planted(6, n=50, dim=5)
    for name in ("lr", "n_loops", "n_neg", "decay", "clip", "refresh"):
        with pytest.raises(UsageError, match=name):
            contrastive(X, Y, gold, **{name: 0})
    with pytest.raises(InputError):
        contrastive(X, Y, gold + 1)
