from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ortho_group
from threadpoolctl import threadpool_limits

from align.errors import InputError, UsageError
from align.mapping import bridge
from align.mapping.bridge import KINDS, NearestMap
from align.normalize import unit

N, SMALL, LARGE = 1200, 12, 20


def _models(matrix, noise=0.3, seed=0):
    """Rows of two models far from the origin, shuffled, of different lengths."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((N, SMALL)) * np.linspace(0.3, 1.5, SMALL) + 5
    Y = (X - 5) @ matrix + noise * rng.standard_normal((N, LARGE)) - 3
    order = rng.permutation(N)
    shuffled = np.empty_like(Y)
    shuffled[order] = Y
    return X.astype(np.float32), shuffled.astype(np.float32), np.stack([np.arange(N), order], axis=1)


@pytest.fixture(scope="module")
def stretched():
    return np.random.default_rng(1).standard_normal((SMALL, LARGE))


@pytest.fixture(scope="module")
def rotated():
    return 0.4 * ortho_group.rvs(LARGE, random_state=2)[:SMALL]


def test_planted_linear_map_with_noise(stretched):
    X, Y, pairs = _models(stretched)
    fitted = bridge(X, Y, pairs)
    assert fitted.kind == "least_squares"
    assert fitted.n_pairs == N
    assert fitted.n_held_out == 120
    np.testing.assert_allclose(fitted.map.linear.matrix, stretched, atol=0.15)
    mapped = fitted(X)
    assert mapped.dtype == np.float32
    assert mapped.shape == (N, LARGE)
    noise_share = 0.3 / (Y - Y.mean(axis=0)).std()
    np.testing.assert_allclose(fitted.held_out_error, noise_share, rtol=0.1)
    assert fitted.held_out_p_at_1 > 0.95


@pytest.mark.parametrize("kind", KINDS)
def test_figures_held_out_are_those_on_tokens_never_seen(stretched, kind):
    X, Y, pairs = _models(stretched, noise=2.0)
    fitted = bridge(X, Y, pairs[:300], kind=kind, held_out=0.3)
    mean = Y[pairs[:300, 1]].mean(axis=0)
    unseen, mapped = Y[pairs[300:, 1]] - mean, fitted(X[pairs[300:, 0]]) - mean
    error = np.sqrt(np.square(mapped - unseen).sum() / np.square(unseen).sum())
    np.testing.assert_allclose(fitted.held_out_error, error, rtol=0.1)
    known = unit(Y[pairs[:300, 1]] - mean)
    hits = (unit(mapped) * unit(unseen)).sum(axis=1) > (unit(mapped) @ known.T).max(axis=1)
    np.testing.assert_allclose(fitted.held_out_p_at_1, np.mean(hits), atol=0.12)


def test_few_tokens_of_rotated_spaces_are_for_procrustes(rotated):
    X, Y, pairs = _models(rotated, noise=0.02)
    rotation, regression = (bridge(X, Y, pairs[:24], kind=kind, held_out=0.4) for kind in KINDS[1::-1])
    assert rotation.held_out_error < 0.9 * regression.held_out_error
    W = rotation.map.linear.matrix
    gram = W @ W.T
    np.testing.assert_allclose(gram, gram[0, 0] * np.eye(SMALL), atol=1e-10)
    np.testing.assert_allclose(np.sqrt(gram[0, 0]), 0.4, rtol=0.02)


def test_fewer_tokens_than_dimensions_do_not_betray_the_ones_left_out():
    """Centred rows sum to zero, so each would be known from the others, and no ridge would seem best."""
    rng = np.random.default_rng(5)
    X, Y = rng.standard_normal((500, 60)), rng.standard_normal((500, 8))
    Y += X @ rng.standard_normal((60, 8)) / 4
    fitted = bridge(X, Y, np.arange(50)[:, None].repeat(2, axis=1))
    unseen = np.square(fitted(X[50:]) - Y[50:]).sum() / np.square(Y[50:]).sum()
    assert np.sqrt(unseen) < 1.1
    assert fitted.map.linear.ridge > 0.1
    np.testing.assert_allclose(fitted.map.linear.left_out_residual, np.sqrt(unseen), rtol=0.15)


def test_the_factor_of_procrustes_is_the_best(rotated):
    X, Y, pairs = _models(rotated, noise=0.5)
    fitted = bridge(X, Y, pairs, kind="procrustes").map
    x = X[pairs[:, 0]] - X[pairs[:, 0]].mean(axis=0, dtype=np.float64)
    y = Y[pairs[:, 1]] - Y[pairs[:, 1]].mean(axis=0, dtype=np.float64)

    def error(factor):
        return np.square(factor * x @ fitted.linear.matrix - y).sum()

    assert error(1.0) < min(error(0.99), error(1.01))
    np.testing.assert_allclose(fitted.linear.residual, np.sqrt(error(1.0) / np.square(y).sum()), rtol=1e-6)


def test_narrower_target(stretched):
    X, Y, pairs = _models(stretched)
    fitted = bridge(Y, X, pairs[:, ::-1])
    assert fitted(Y).shape == (N, SMALL)
    assert fitted.held_out_error < 0.5


def test_nearest_is_what_it_says():
    rng = np.random.default_rng(3)
    anchors, images = rng.standard_normal((200, 5)), rng.standard_normal((200, 7))
    fitted = NearestMap(anchors, images, 4)
    rows = rng.standard_normal((50, 5))
    distances = np.linalg.norm(rows[:, None] - anchors, axis=2)
    indices, weights = fitted.neighbors(rows)
    np.testing.assert_array_equal(indices, np.argsort(distances, axis=1)[:, :4])
    inverse = 1 / np.take_along_axis(distances, indices, axis=1)
    np.testing.assert_allclose(weights, inverse / inverse.sum(axis=1, keepdims=True), rtol=1e-12)
    expected = [np.average(images[i], axis=0, weights=w) for i, w in zip(indices, weights, strict=True)]
    np.testing.assert_allclose(fitted(rows), expected, rtol=1e-12)
    np.testing.assert_array_equal(fitted(anchors), images)


def test_nearest_wins_where_no_line_leads():
    rng = np.random.default_rng(4)
    X = rng.uniform(-1, 1, (N, 2))
    Y = np.stack([np.sin(4 * X[:, 0]), np.cos(4 * X[:, 1]), np.sin(4 * X[:, 0] * X[:, 1])], axis=1)
    Y += 0.05 * rng.standard_normal(Y.shape)
    pairs = np.arange(N)[:, None].repeat(2, axis=1)
    errors = {kind: bridge(X, Y, pairs, kind=kind).held_out_error for kind in KINDS}
    assert errors["nearest"] < 0.3 * min(errors["least_squares"], errors["procrustes"])


def test_same_bits_for_any_number_of_threads(stretched):
    X, Y, pairs = _models(stretched)
    mapped = [bridge(X, Y, pairs, kind=kind)(X) for kind in KINDS]
    with threadpool_limits(1, user_api="blas"):
        for kind, rows in zip(KINDS, mapped, strict=True):
            np.testing.assert_array_equal(bridge(X, Y, pairs, kind=kind)(X), rows)


def test_bad_input(stretched):
    X, Y, pairs = _models(stretched)
    with pytest.raises(UsageError, match="unknown kind"):
        bridge(X, Y, pairs, kind="knn")
    with pytest.raises(UsageError, match="out of range"):
        bridge(X, Y, pairs, held_out=1.0)
    with pytest.raises(InputError, match="too few"):
        bridge(X, Y, pairs[:2])
    with pytest.raises(InputError, match="outside the spaces"):
        bridge(X, Y, pairs + N)
    with pytest.raises(InputError, match="NaN or infinity"):
        bridge(np.full_like(X, np.nan), Y, pairs)
    for kind in KINDS:
        with pytest.raises(InputError, match="do not fit the map"):
            bridge(X, Y, pairs, kind=kind)(Y)
