from __future__ import annotations

import numba
import numpy as np
import pytest
import scipy.sparse as sp

from align.errors import UsageError
from align.glove import _STRATA, _fit, train_glove
from align.normalize import unit


def reference(counts: sp.csr_array, dim: int, epochs: int, seed: int) -> tuple[np.ndarray, list[float]]:
    """AdaGrad on one entry after another, in the order of the strata."""
    rng = np.random.default_rng(seed)
    n = counts.shape[0]
    W, C = (((rng.random((n, dim + 1), np.float32) - np.float32(0.5)) / dim).astype(float) for _ in range(2))
    W_squares, C_squares = np.ones_like(W), np.ones_like(C)
    entries = sp.coo_array(counts)
    order = rng.permutation(counts.nnz)
    rows, cols = entries.row[order], entries.col[order]
    turn, block = (cols - rows) % _STRATA, rows % _STRATA
    again = np.lexsort((np.arange(len(order)), block, turn))
    history = []
    for _ in range(epochs):
        cost = 0.0
        for n in order[again]:
            i, j, x = entries.row[n], entries.col[n], float(entries.data[n])
            error = W[i, :dim] @ C[j, :dim] + W[i, dim] + C[j, dim] - np.log(x)
            heavy = min(1, (x / 10) ** 0.75)
            cost += 0.5 * heavy * error**2
            w_step, c_step = (0.05 * heavy * error * np.append(side[:dim], 1) for side in (C[j], W[i]))
            W[i] -= w_step / np.sqrt(W_squares[i])
            C[j] -= c_step / np.sqrt(C_squares[j])
            W_squares[i] += w_step**2
            C_squares[j] += c_step**2
        history.append(cost / counts.nnz)
    return (W + C)[:, :dim], history


def test_kernel_follows_the_equations() -> None:
    rng = np.random.default_rng(0)
    dense = rng.gamma(1.0, 8.0, (19, 19)) * (rng.random((19, 19)) < 0.6)
    counts = sp.csr_array(dense.astype(np.float32))
    vectors, history = _fit(counts, 11, 4, 10.0, 0.75, 0.05, np.random.default_rng(3))
    wanted, costs = reference(counts, 11, 4, 3)
    np.testing.assert_allclose(vectors, wanted, atol=2e-5)
    np.testing.assert_allclose(history, costs, rtol=1e-4)


def topical_lines(rng: np.random.Generator, n_lines: int = 600) -> list[list[int]]:
    """Ten topics of six types each; types 60 to 69 are other names of 0, 6, 12, ..."""
    lines = []
    for _ in range(n_lines):
        line = 6 * rng.integers(0, 10) + rng.integers(0, 6, 14)
        noise = rng.random(14) < 0.15
        line[noise] = rng.integers(0, 60, noise.sum())
        twin = (line % 6 == 0) & (rng.random(14) < 0.5)
        line[twin] = 60 + line[twin] // 6
        lines.append(line.tolist())
    return lines


def test_twins_lie_in_their_topics() -> None:
    lines = topical_lines(np.random.default_rng(0))
    glove = train_glove([*lines, [71]], 72, dim=20, epochs=15)
    assert glove.known[:70].all()
    assert not glove.known[70:].any()
    np.testing.assert_array_equal(glove.matrix[70:], 0)
    assert all(later < earlier for earlier, later in zip(glove.history, glove.history[1:], strict=False))
    rows = glove.matrix[:70] - glove.matrix[:70].mean(axis=0)
    cosines = unit(rows[60:]) @ unit(rows[:60]).T
    assert (cosines.argmax(axis=1) // 6 == np.arange(10)).mean() >= 0.9


def test_threads_do_not_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("align.glove._FEW", 0)
    lines = topical_lines(np.random.default_rng(1), 100)
    many = train_glove(lines, 70, dim=16, epochs=3)
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        one = train_glove(lines, 70, dim=16, epochs=3)
    finally:
        numba.set_num_threads(threads)
    np.testing.assert_array_equal(many.matrix, one.matrix)
    assert many.history == one.history


@pytest.mark.parametrize("lines", [[], [[]], [[1], [0]], [[1, 2, 3]]])
def test_nothing_to_learn_from(lines: list[list[int]]) -> None:
    glove = train_glove(lines, 5, dim=4, min_count=2)
    assert not glove.known.any()
    np.testing.assert_array_equal(glove.matrix, np.zeros((5, 4)))


@pytest.mark.parametrize("option", [{"dim": 0}, {"epochs": 0}, {"x_max": 0.0}, {"learning_rate": 0.0}])
def test_numbers_out_of_range(option: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="positive"):
        train_glove([[0, 1]], 2, **option)
