from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from align.errors import UsageError
from align.mapping.refinement import (
    bootstrapped_procrustes,
    csls_sweep,
    muse_refinement,
    mutual_refinement,
)
from align.normalize import normalize


def planted(seed: int, n: int = 600, dim: int = 20, noise: float = 0.25):
    """Two spaces of which one is the other turned, shuffled within the frequent words' order, plus noise."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, dim)) * np.linspace(1.5, 0.5, dim)
    Q = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    Y = X @ Q + noise * rng.normal(size=(n, dim))
    shuffle = rng.permutation(n)
    gold = np.argsort(shuffle)  # row of Y for every row of X
    X, Y = (normalize(rows.astype(np.float32))[0] for rows in (X, Y[shuffle]))
    return X, Y, np.stack((np.arange(n), gold), axis=1)


def p_at_1(mapping, X, Y, pairs) -> float:
    found = csls_sweep(mapping.map_src(X), mapping.map_tgt(Y))
    return float((found.forward[pairs[:, 0]] == pairs[:, 1]).mean())


@pytest.mark.parametrize("method", [muse_refinement, bootstrapped_procrustes, mutual_refinement])
def test_refinement_improves_a_map_from_few_noisy_pairs(method) -> None:
    X, Y, gold = planted(0)
    seeds = gold[:30].copy()
    seeds[:6, 1] = seeds[5::-1, 1]  # a fifth of them is wrong
    before = p_at_1(muse_refinement(X, Y, seeds, n_refinement=0), X, Y, gold[100:])
    refined = method(X, Y, seeds)
    assert refined.converged
    assert refined.n_iter == len(refined.history)
    assert p_at_1(refined, X, Y, gold[100:]) > max(0.9, before + 0.1)


@pytest.mark.parametrize("method", [muse_refinement, bootstrapped_procrustes, mutual_refinement])
def test_an_interrupt_leaves_the_last_map(method) -> None:
    X, Y, gold = planted(1)
    seen = []

    def stop(iteration: int, objective: float) -> None:
        seen.append((iteration, objective))
        raise KeyboardInterrupt

    refined = method(X, Y, gold[:40], progress=stop)
    assert not refined.converged
    assert seen == [(1, refined.history[0])]
    assert np.isfinite(refined.src_matrix).all()


def test_csls_is_the_plain_formula() -> None:
    X, Y, _ = planted(2, n=300, noise=0.8)
    X, Y = X * 3, Y[:250] * 2
    A, B = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (X, Y))
    cosines = A.astype(np.float64) @ B.T
    src = np.sort(cosines, axis=1)[:, -10:].mean(axis=1)
    tgt = np.sort(cosines, axis=0)[-10:].mean(axis=0)
    scores = 2 * cosines - src[:, None] - tgt
    found = csls_sweep(X, Y)
    np.testing.assert_array_equal(found.forward, scores.argmax(axis=1))
    np.testing.assert_array_equal(found.backward, scores.argmax(axis=0))


def test_the_dictionary_of_proc_b_stays_within_its_bounds() -> None:
    X, Y, gold = planted(3)
    assert bootstrapped_procrustes(X, Y, gold[:40], max_pairs=55).n_pairs == 55
    few = bootstrapped_procrustes(X, Y, gold[:40], growth=1.2, max_pairs=50)
    assert (few.n_pairs, few.n_iter) == (50, 2)
    with pytest.raises(UsageError, match="out of range"):
        bootstrapped_procrustes(X, Y, gold[:40], growth=0)


@pytest.mark.data
def test_proc_b_equals_the_recorded_program(shared_golden: Path) -> None:
    folder = shared_golden / "bli/small"
    X, Y = (np.load(folder / f"{name}.npy", allow_pickle=False) for name in ("en", "es"))
    pairs = np.load(folder / "train_ids.npy", allow_pickle=False)
    fitted = bootstrapped_procrustes(X, Y, pairs)
    assert (fitted.n_iter, fitted.n_pairs) == (1, 546)
    wanted = np.load(folder / "procb.src.npy", allow_pickle=False)
    np.testing.assert_allclose(fitted.map_src(X), wanted, atol=1e-4)
