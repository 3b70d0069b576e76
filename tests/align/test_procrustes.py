from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from scipy.stats import ortho_group
from threadpoolctl import threadpool_limits

from align.errors import InputError
from align.lexicon import read_lexicon
from align.mapping import procrustes
from align.normalize import normalize, unit
from align.vectors import read_vectors


@pytest.fixture
def planted():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((5000, 12)) * np.linspace(0.5, 2, 12)
    R = ortho_group.rvs(12, random_state=1)
    return X, R, X @ R + 0.1 * rng.standard_normal(X.shape)


def test_planted_rotation_with_noise(planted):
    X, R, Y = planted
    fitted = procrustes(X, Y)
    np.testing.assert_allclose(fitted.matrix, R, atol=0.02)
    assert np.abs(fitted.matrix.T - R).max() > 0.5  # the transpose would not do
    np.testing.assert_allclose(fitted.residual, np.sqrt(0.01 * Y.size / np.square(Y).sum()), rtol=0.02)
    assert fitted.converged
    assert fitted.n_pairs == 5000


def test_equals_scipy(planted):
    X, _, Y = planted
    np.testing.assert_allclose(procrustes(X, Y).matrix, orthogonal_procrustes(X, Y)[0], atol=1e-10)


def test_no_rotation_nearby_is_better(planted):
    X, _, Y = planted
    W = procrustes(X, Y).matrix
    best = np.square(X @ W - Y).sum()
    for seed in range(5):
        skew = np.random.default_rng(seed).standard_normal((12, 12)) * 1e-3
        near = W @ np.linalg.qr(np.eye(12) + skew - skew.T)[0]
        assert np.square(X @ near * np.sign(np.diag(W.T @ near)) - Y).sum() > best


def test_integer_weights_are_repetitions(planted):
    X, _, Y = planted
    times = np.random.default_rng(2).integers(0, 4, len(X))
    rows = np.repeat(np.arange(len(X)), times)
    weighted, repeated = procrustes(X, Y, weights=times), procrustes(X[rows], Y[rows])
    np.testing.assert_allclose(weighted.matrix, repeated.matrix, atol=1e-10)
    np.testing.assert_allclose(weighted.residual, repeated.residual, rtol=1e-10)


def test_pairs_pick_rows(planted):
    X, _, Y = planted
    pairs = np.random.default_rng(3).integers(0, len(X), (9000, 2))
    np.testing.assert_allclose(
        procrustes(X, Y, pairs=pairs).matrix, procrustes(X[pairs[:, 0]], Y[pairs[:, 1]]).matrix, atol=1e-10
    )


@pytest.mark.parametrize(("src_dim", "tgt_dim"), [(6, 10), (10, 6)])
def test_unequal_widths_are_semi_orthogonal(src_dim, tgt_dim):
    rng = np.random.default_rng(4)
    R = ortho_group.rvs(10, random_state=5)[:src_dim, :tgt_dim]
    X = rng.standard_normal((4000, src_dim))
    Y = X @ R + 0.05 * rng.standard_normal((4000, tgt_dim))
    W = procrustes(X, Y).matrix
    assert W.shape == (src_dim, tgt_dim)
    small = W @ W.T if src_dim < tgt_dim else W.T @ W
    np.testing.assert_allclose(small, np.eye(6), atol=1e-10)
    if src_dim < tgt_dim:
        np.testing.assert_allclose(W, R, atol=0.02)


def test_maps_keep_dtype_and_check_width(planted):
    X, _, Y = planted
    fitted = procrustes(X, Y)
    assert fitted(X.astype(np.float32)).dtype == np.float32
    np.testing.assert_allclose(fitted(X), X @ fitted.matrix)
    with pytest.raises(InputError, match="do not fit the map"):
        fitted(np.ones((2, 5)))


def test_same_bits_for_any_number_of_threads(planted):
    X, _, Y = planted
    fitted = procrustes(X, Y)
    with threadpool_limits(1, user_api="blas"):
        np.testing.assert_array_equal(procrustes(X, Y).matrix, fitted.matrix)
        np.testing.assert_array_equal(fitted(X), procrustes(X, Y)(X))


def test_bad_input():
    with pytest.raises(InputError, match="do not pair up"):
        procrustes(np.ones((3, 2)), np.ones((4, 2)))
    with pytest.raises(InputError, match="nothing to align"):
        procrustes(np.ones((0, 2)), np.ones((0, 2)))
    with pytest.raises(InputError, match="weights"):
        procrustes(np.ones((2, 2)), np.ones((2, 2)), weights=np.array([1.0, -1.0]))
    with pytest.raises(InputError, match="NaN or infinity"):
        procrustes(np.full((2, 2), np.nan), np.ones((2, 2)))


@pytest.mark.data
def test_recorded_rotation_of_weak_vectors(shared_golden):
    """The recorded rotation came from float32 products; its objective is ours to seven digits, never better.

    The singular values of these small vectors span eight orders, so the matrices themselves may differ.
    """
    inputs = shared_golden / "vocab" / "inputs"
    src, tgt = read_vectors(inputs / "source_words.bin"), read_vectors(inputs / "target_words.bin")
    recorded = np.load(shared_golden / "vocab" / "wechsel" / "align_matrix.npy")
    pairs = [
        (s, t) for (s, t), n in read_lexicon(inputs / "lexicon.tsv").case_variants().items() for _ in range(n)
    ]
    rows = np.stack([src.indices_of([s for s, _ in pairs]), tgt.indices_of([t for _, t in pairs])], axis=1)
    rows = rows[(rows >= 0).all(axis=1)]
    assert len(rows) == 3198
    X, Y = src.table().matrix, tgt.table().matrix
    fitted = procrustes(X, Y, pairs=rows)
    cross = X[rows[:, 0]].T.astype(np.float64) @ Y[rows[:, 1]]
    ours, theirs = np.sum(cross * fitted.matrix), np.sum(cross * recorded)
    assert ours >= theirs
    np.testing.assert_allclose(theirs, ours, rtol=2e-6)


def test_pairs_must_be_there(planted):
    X, _, Y = planted
    for bad in ([[0, 5000]], [[-1, 0]]):
        with pytest.raises(InputError, match="outside the spaces"):
            procrustes(X, Y, np.array(bad))


@pytest.mark.data
def test_recorded_rotations_of_others(shared_golden):
    folder = shared_golden / "bli" / "small"
    X, Y, pairs = (np.load(folder / f"{name}.npy") for name in ("en", "es", "train_ids"))
    raw = procrustes(X, Y, pairs).matrix
    np.testing.assert_allclose(raw, np.load(folder / "procrustes_raw.W.npy"), atol=1e-5)
    on_unit_rows = procrustes(unit(X.astype(np.float64)), unit(Y.astype(np.float64)), pairs).matrix
    np.testing.assert_allclose(on_unit_rows.T, np.load(folder / "fasttext_procrustes.R.npy"), atol=1e-6)
    X, Y = (normalize(rows, ("unit", "centre"))[0] for rows in (X, Y))
    mapped = np.load(folder / "vecmap_orthogonal.src.npy"), np.load(folder / "vecmap_orthogonal.tgt.npy")
    fitted = procrustes(X, Y, pairs)
    np.testing.assert_allclose(fitted(X) @ Y.T, mapped[0] @ mapped[1].T, atol=1e-5)
