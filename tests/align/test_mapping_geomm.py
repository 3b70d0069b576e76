from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import expm, sqrtm

from align.errors import InputError, UsageError
from align.mapping.geomm import geomm
from align.mapping.procrustes import procrustes
from align.mapping.refinement import csls_sweep
from align.normalize import normalize


def problem(seed: int, src_dim: int = 5, tgt_dim: int = 5):
    rng = np.random.default_rng(seed)
    X, Y = rng.normal(size=(30, src_dim)), rng.normal(size=(25, tgt_dim))
    return X, Y, rng.integers(0, 12, (40, 2))  # words of both sides in several pairs, pairs repeated


def loss(X, Y, pairs, U, B, V, ridge):
    """The objective as the paper writes it, over distinct words."""
    src, tgt = (np.unique(ids) for ids in pairs.T)
    T = np.zeros((len(src), len(tgt)))
    T[np.searchsorted(src, pairs[:, 0]), np.searchsorted(tgt, pairs[:, 1])] = 1
    return np.square(X[src] @ U @ B @ V.T @ Y[tgt].T - T).sum() + ridge / 2 * np.square(B).sum()


@pytest.mark.parametrize("dims", [(5, 5), (3, 6), (6, 4)])
def test_history_is_the_loss_of_the_paper(dims) -> None:
    X, Y, pairs = problem(0, *dims)
    fitted = geomm(X, Y, pairs, ridge=3.0)
    assert fitted.dim == min(dims)
    B = np.linalg.norm(fitted.src_matrix, axis=0) ** 2
    U, V = fitted.src_matrix / np.sqrt(B), fitted.tgt_matrix / np.sqrt(B)
    np.testing.assert_allclose(U.T @ U, np.eye(min(dims)), atol=1e-10)
    np.testing.assert_allclose(V.T @ V, np.eye(min(dims)), atol=1e-10)
    np.testing.assert_allclose(loss(X, Y, pairs, U, np.diag(B), V, 3.0), fitted.history[0], rtol=1e-10)
    assert fitted.n_pairs == len(np.unique(pairs, axis=0)) < len(pairs)


def test_no_step_on_the_manifolds_lowers_the_loss() -> None:
    X, Y, pairs = problem(1)
    fitted = geomm(X, Y, pairs, ridge=2.0)
    root = np.linalg.norm(fitted.src_matrix, axis=0)
    U, V, C = fitted.src_matrix / root, fitted.tgt_matrix / root, np.diag(root)
    best = fitted.history[0]
    rng = np.random.default_rng(2)
    for _ in range(20):
        skew = rng.normal(size=(2, 5, 5))
        skew -= skew.transpose(0, 2, 1)
        S = rng.normal(size=(5, 5))

        def along(h, skew=skew, S=S):
            B = C @ expm(h * (S + S.T)) @ C  # stays positive definite
            return loss(X, Y, pairs, U @ expm(h * skew[0]), B, V @ expm(h * skew[1]), 2.0)

        slope = (along(1e-5) - along(-1e-5)) / 2e-5
        np.testing.assert_allclose(slope, 0, atol=1e-5)
        assert along(1e-2) > best
        assert along(-1e-2) > best


def test_is_below_what_descent_from_random_starts_reaches() -> None:
    """Other factors of the same matrix are the same map; random ones are worse."""
    X, Y, pairs = problem(3)
    fitted = geomm(X, Y, pairs, ridge=1.0)
    rng = np.random.default_rng(4)
    for _ in range(200):
        U, V = (np.linalg.qr(rng.normal(size=(5, 5)))[0] for _ in range(2))
        S = rng.normal(size=(5, 5))
        assert loss(X, Y, pairs, U, S @ S.T * rng.uniform(0, 0.3), V, 1.0) > fitted.history[0]
    # turning the common space changes neither inner products nor lengths
    R = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    root = np.linalg.norm(fitted.src_matrix, axis=0)
    B = R.T @ np.diag(root**2) @ R
    M = X @ (fitted.src_matrix / root) @ R @ np.real(sqrtm(B))
    ours = fitted.map_src(X)
    np.testing.assert_allclose(M @ M.T, ours @ ours.T, atol=1e-10)


def test_translates_unseen_words_better_than_a_rotation() -> None:
    rng = np.random.default_rng(5)
    X = rng.normal(size=(1500, 30)) * np.linspace(2, 0.3, 30)
    noise = rng.normal(size=X.shape) * np.linspace(0.25, 2.5, 30)
    Q, R = (np.linalg.qr(rng.normal(size=(30, 30)))[0] for _ in range(2))
    Y = X @ (Q * np.linspace(0.4, 2, 30)) @ R + noise
    X, Y = (normalize(rows)[0] for rows in (X, Y))
    gold = np.repeat(np.arange(1500)[:, None], 2, axis=1)
    train, test = gold[:800], gold[800:]

    def p_at_1(fitted) -> float:
        found = csls_sweep(fitted.map_src(X), fitted.map_tgt(Y))
        return float((found.forward[test[:, 0]] == test[:, 1]).mean())

    assert p_at_1(geomm(X, Y, train)) > p_at_1(procrustes(X, Y, train).bilingual()) + 0.05


def test_settings_and_input_are_checked() -> None:
    X, Y, pairs = problem(6)
    with pytest.raises(UsageError):
        geomm(X, Y, pairs, ridge=0)
    with pytest.raises(InputError):
        geomm(X, Y, pairs + 30)
    X[pairs[0, 0], 0] = np.nan
    with pytest.raises(InputError):
        geomm(X, Y, pairs)
