from __future__ import annotations

import warnings

import numpy as np
import pytest

from align.errors import UsageError
from align.mapping.refinement import csls_sweep
from align.mapping.self_learning import self_learning
from align.mapping.unsupervised import unsupervised
from align.normalize import normalize


def clustered(rng: np.random.Generator, n: int, dim: int) -> np.ndarray:
    centres = rng.normal(size=(40, dim)) * np.linspace(2, 0.3, dim)
    return centres[rng.integers(40, size=n)] + rng.normal(size=(n, dim)) * np.linspace(1.5, 0.4, dim)


def planted(seed: int, noise: float | None, n: int = 500, dim: int = 16):
    """A space, the same turned, shuffled and blurred (or an unrelated one), and where each row went."""
    rng = np.random.default_rng(seed)
    X = clustered(rng, n, dim)
    Q = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    Y = clustered(rng, n, dim) if noise is None else X @ Q + noise * rng.normal(size=(n, dim))
    shuffle = rng.permutation(n)
    X, Y = (normalize(rows.astype(np.float32))[0] for rows in (X, Y[shuffle]))
    return X, Y, np.argsort(shuffle)


def p_at_1(mapping, X, Y, gold) -> float:
    return float((csls_sweep(mapping.map_src(X), mapping.map_tgt(Y)).forward == gold).mean())


def test_few_pairs_are_enough() -> None:
    X, Y, gold = planted(0, 0.3)
    seeds = np.stack((np.arange(12), gold[:12]), axis=1)
    calls = []
    mapped = self_learning(X, Y, seeds, interval=5, progress=lambda *call: calls.append(call))
    assert mapped.converged
    assert p_at_1(mapped, X, Y, gold) > 0.98
    assert calls == list(enumerate(mapped.history, start=1))
    assert mapped.options["failure"] == ""
    again = self_learning(X, Y, seeds, interval=5)
    np.testing.assert_array_equal(mapped.src_matrix, again.src_matrix)
    assert self_learning(X, Y, seeds, interval=5, seed=1).history != mapped.history


@pytest.mark.parametrize("direction", ["forward", "backward", "mutual"])
def test_the_deterministic_loop_ends_soon(direction: str) -> None:
    X, Y, gold = planted(1, 0.2)
    seeds = np.stack((np.arange(40), gold[:40]), axis=1)
    mapped = self_learning(
        X, Y, seeds, keep=1, interval=0, direction=direction, final="orthogonal", early_cutoff=300
    )
    assert mapped.n_iter < 20
    assert p_at_1(mapped, X, Y, gold) > 0.98
    np.testing.assert_allclose(mapped.src_matrix @ mapped.src_matrix.T, np.eye(16), atol=1e-9)


def test_seeds_that_do_not_fit_are_reported() -> None:
    X, Y, _ = planted(2, None, n=200)
    seeds = np.stack((np.arange(100), np.arange(100)), axis=1)
    with pytest.warns(UserWarning, match="self-learning failed: only .* of the first pairs are found again"):
        mapped = self_learning(X, Y, seeds, interval=2)
    assert not mapped.converged
    assert "first pairs" in str(mapped.options["failure"])


def test_an_interrupt_keeps_the_best_map() -> None:
    X, Y, gold = planted(3, 0.2)
    seeds = np.stack((np.arange(40), gold[:40]), axis=1)

    def stop(iteration: int, objective: float) -> None:
        if iteration == 4:
            raise KeyboardInterrupt

    mapped = self_learning(X, Y, seeds, progress=stop)
    assert not mapped.converged
    assert mapped.options["failure"] == "interrupted"
    assert mapped.n_iter == 4
    assert p_at_1(mapped, X, Y, gold) > 0.9


def test_a_small_early_cutoff_reaches_all_words() -> None:
    X, Y, gold = planted(4, 0.2)
    X = X[np.argsort(gold)]  # row i now belongs to row i, so that the first words face the first ones
    gold = np.arange(len(X))
    seeds = np.stack((np.arange(40), np.arange(40)), axis=1)
    mapped = self_learning(X, Y, seeds, interval=3, early_cutoff=200)
    assert mapped.options["early_cutoff"] == 200
    assert p_at_1(mapped, X, Y, gold) > 0.98


def test_settings_out_of_range_are_refused() -> None:
    X, Y, _ = planted(5, 0.2, n=30)
    with pytest.raises(UsageError, match="out of range"):
        self_learning(X, Y, np.zeros((1, 2), int), keep=0)
    with pytest.raises(UsageError, match="unknown direction"):
        self_learning(X, Y, np.zeros((1, 2), int), direction="both")  # type: ignore[arg-type]


def test_no_dictionary_is_needed_for_spaces_of_one_shape() -> None:
    X, Y, gold = planted(0, 0.2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mapped = unsupervised(X, Y, interval=3)
    assert mapped.converged
    assert mapped.options["agreement"] > 0.95
    assert p_at_1(mapped, X, Y, gold) > 0.98


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_unrelated_spaces_are_said_to_be_so(seed: int) -> None:
    X, Y, gold = planted(seed, None, n=300)
    with pytest.warns(UserWarning, match="unsupervised mapping failed: runs agree on"):
        mapped = unsupervised(X, Y, interval=3)
    assert not mapped.converged
    assert "runs agree" in str(mapped.options["failure"])
    assert p_at_1(mapped, X, Y, gold) < 0.05


def test_an_interrupted_run_is_returned() -> None:
    X, Y, _ = planted(6, 0.2)

    def stop(iteration: int, objective: float) -> None:
        raise KeyboardInterrupt

    mapped = unsupervised(X, Y, progress=stop)
    assert (mapped.converged, mapped.n_iter, mapped.options["failure"]) == (False, 1, "interrupted")
