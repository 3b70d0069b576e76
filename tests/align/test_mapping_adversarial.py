from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from align.errors import InputError, UnavailableError, UsageError
from align.mapping.adversarial import adversarial
from align.mapping.criterion import translation_cosine
from align.mapping.refinement import csls_sweep


@pytest.fixture(autouse=True)
def one_thread():
    """Several threads on products this small wait for one another."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


SMALL = {"n_epochs": 2, "epoch_size": 32 * 150, "hidden_dim": 64, "beta": 0.01, "n_refinement": 3}


def planted(seed: int, n: int = 1000, dim: int = 30):
    """Unevenly filled clusters, and the same rows turned, with noise, in another order."""
    rng = np.random.default_rng(seed)
    centres, shares = rng.normal(size=(8, dim)), rng.dirichlet(np.full(8, 2.0))
    X = centres[rng.choice(8, n, p=shares)] + 0.5 * rng.normal(size=(n, dim)) * np.linspace(1.5, 0.2, dim)
    turn = rng.normal(size=(dim, dim)) * 0.12
    Q = expm(turn - turn.T)  # cosines with where the axes came from: about a half
    shuffle = rng.permutation(n)
    Y = (X @ Q + 0.02 * rng.normal(size=X.shape))[shuffle]
    return X.astype(np.float32), Y.astype(np.float32), Q, np.argsort(shuffle)


def test_finds_a_planted_rotation() -> None:
    X, Y, Q, gold = planted(0)
    start = translation_cosine(X, Y, np.eye(30))[0]
    fitted = adversarial(X, Y, **SMALL)
    assert max(fitted.history) > start + 0.1
    assert fitted.converged, fitted.options["failure"]
    assert fitted.n_iter == len(fitted.history) == 2
    forward = csls_sweep(fitted.map_src(X), fitted.map_tgt(Y)).forward
    assert np.mean(forward == gold) > 0.9
    np.testing.assert_allclose(fitted.src_matrix, Q, atol=0.05)


def test_says_that_it_failed_on_unrelated_spaces() -> None:
    X, Y = planted(1)[0], np.random.default_rng(2).standard_normal((1000, 30)).astype(np.float32)
    with pytest.warns(UserWarning, match="adversarial mapping failed: translations have"):
        fitted = adversarial(X, Y, **{**SMALL, "n_epochs": 1, "epoch_size": 32 * 50})
    assert not fitted.converged
    assert "random map" in str(fitted.options["failure"])


def test_the_seed_decides_and_an_interrupt_leaves_the_best_map() -> None:
    X, Y, *_ = planted(3, n=300)
    settings = {**SMALL, "epoch_size": 32 * 10, "n_refinement": 0}

    def stop(epoch: int, criterion: float) -> None:
        raise KeyboardInterrupt

    stopped, again, other = (adversarial(X, Y, seed=s, progress=stop, **settings) for s in (0, 0, 1))
    assert not stopped.converged
    assert stopped.options["failure"] == "interrupted"
    assert len(stopped.history) == 1
    np.testing.assert_array_equal(stopped.src_matrix, again.src_matrix)
    assert np.abs(stopped.src_matrix - other.src_matrix).max() > 1e-3
    criterion, _ = translation_cosine(X, Y, stopped.src_matrix)
    np.testing.assert_allclose(criterion, stopped.history[0], rtol=1e-6)


def test_beta_keeps_the_map_near_the_rotations() -> None:
    X, Y, *_ = planted(4, n=300)
    settings = {**SMALL, "epoch_size": 32 * 40, "n_refinement": 0, "n_epochs": 1}

    def stop(epoch: int, criterion: float) -> None:
        raise KeyboardInterrupt

    off = []
    for beta in (0.001, 0.1):
        W = adversarial(X, Y, progress=stop, **{**settings, "beta": beta}).src_matrix
        assert np.abs(W - np.eye(30)).max() > 0.05
        off.append(np.abs(np.linalg.svd(W, compute_uv=False) - 1).max())
    assert off[1] < min(0.35, off[0] / 2)


def test_settings_and_spaces_are_checked() -> None:
    X, Y, *_ = planted(5, n=50)
    for settings in ({"n_epochs": 0}, {"lr": 0.0}, {"smoothing": 0.5}, {"input_dropout": 1.0}):
        with pytest.raises(UsageError):
            adversarial(X, Y, **settings)
    with pytest.raises(InputError):
        adversarial(X, Y[:, :20])
    with pytest.raises(InputError):
        adversarial(X, np.full_like(Y, np.nan))
    with pytest.raises(UnavailableError):
        adversarial(X, Y, device="cuda:77")
