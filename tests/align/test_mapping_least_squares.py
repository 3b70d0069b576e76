from __future__ import annotations

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from align.errors import UsageError
from align.mapping import BilingualMap, least_squares
from align.mapping.least_squares import _RIDGES


@pytest.fixture(scope="module")
def planted():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 10)) * np.linspace(0.1, 2, 10)
    W = rng.standard_normal((10, 7))
    Y = X @ W + 0.5 * rng.standard_normal((400, 7))
    return X, Y, W, np.arange(400)[:, None].repeat(2, axis=1)


def test_planted_map_with_noise(planted):
    X, Y, W, pairs = planted
    fitted = least_squares(X, Y, pairs)
    np.testing.assert_allclose(fitted.matrix[-3:], W[-3:], atol=0.1)
    np.testing.assert_allclose(fitted.residual, np.sqrt(0.25 * Y.size / np.square(Y).sum()), rtol=0.05)
    assert fitted.rank == 10
    assert fitted.n_pairs == 400


def test_equals_lstsq_also_when_words_repeat(planted):
    X, Y, _, _ = planted
    pairs = np.random.default_rng(1).integers(0, 400, (900, 2))
    fitted = least_squares(X, Y, pairs)
    x, y = X[pairs[:, 0]], Y[pairs[:, 1]]
    np.testing.assert_allclose(fitted.matrix, np.linalg.lstsq(x, y, rcond=None)[0], atol=1e-10)
    error = np.square(x @ fitted.matrix - y).sum() / np.square(y).sum()
    np.testing.assert_allclose(fitted.residual, np.sqrt(error), rtol=1e-10)


def test_ridge_is_regression_on_extra_rows(planted):
    X, Y, _, pairs = planted
    strength = 0.3 * np.square(X).sum() / 10
    extended = np.vstack([X, np.sqrt(strength) * np.eye(10)])
    expected = np.linalg.lstsq(extended, np.vstack([Y, np.zeros((10, 7))]), rcond=None)[0]
    np.testing.assert_allclose(least_squares(X, Y, pairs, ridge=0.3).matrix, expected, atol=1e-10)


def test_integer_weights_are_repetitions(planted):
    X, Y, _, pairs = planted
    times = np.random.default_rng(2).integers(0, 4, len(pairs))
    weighted = least_squares(X, Y, pairs, weights=times, ridge="auto")
    repeated = least_squares(X, Y, np.repeat(pairs, times, axis=0), ridge="auto")
    assert weighted.ridge == repeated.ridge
    np.testing.assert_allclose(weighted.matrix, repeated.matrix, atol=1e-10)
    np.testing.assert_allclose(weighted.residual, repeated.residual, rtol=1e-8)
    np.testing.assert_allclose(weighted.left_out_residual, repeated.left_out_residual, rtol=1e-8)


def test_left_out_errors_are_those_of_refitting(planted):
    """Words with several translations leave with all of them."""
    X, Y, _, _ = planted
    pairs = np.random.default_rng(3).integers(0, (40, 400), (90, 2))
    fitted = least_squares(X, Y, pairs, ridge="auto")
    unit_ridge = np.square(X[pairs[:, 0]]).sum() / 10
    errors = dict.fromkeys(_RIDGES, 0.0)
    for word in np.unique(pairs[:, 0]):
        rest = pairs[pairs[:, 0] != word]
        x, y = X[rest[:, 0]], Y[rest[:, 1]]
        for ridge in errors:
            W = np.linalg.solve(x.T @ x + ridge * unit_ridge * np.eye(10), x.T @ y)
            errors[ridge] += np.square(X[word] @ W - Y[pairs[pairs[:, 0] == word, 1]]).sum()
    best = min(errors, key=errors.get)
    assert fitted.ridge == best
    scale = np.square(Y[pairs[:, 1]]).sum()
    np.testing.assert_allclose(fitted.left_out_residual, np.sqrt(errors[best] / scale), rtol=1e-8)


def test_chosen_ridge_helps_on_unseen_words():
    rng = np.random.default_rng(4)
    X = rng.standard_normal((2060, 50))
    Y = X @ rng.standard_normal((50, 20)) + 10 * rng.standard_normal((2060, 20))
    train = np.arange(60)[:, None].repeat(2, axis=1)
    plain, ridged = least_squares(X, Y, train), least_squares(X, Y, train, ridge="auto")
    unseen = [np.sqrt(np.square(f(X[60:]) - Y[60:]).sum() / np.square(Y[60:]).sum()) for f in (plain, ridged)]
    assert unseen[1] < 0.6 * unseen[0]
    assert 1e-5 < ridged.ridge < 100
    np.testing.assert_allclose(ridged.left_out_residual, unseen[1], rtol=0.1)  # an honest estimate
    assert ridged.residual < 0.85 * unseen[1]  # as the fit itself is not


def test_dependent_rows_give_the_least_norm_and_a_warning(planted):
    X, Y, _, pairs = planted
    with pytest.warns(UserWarning, match="span 6 of 10 dimensions") as caught:
        fitted = least_squares(X, Y, pairs[:6])
    assert caught[0].filename == __file__
    expected = np.linalg.lstsq(X[:6], Y[:6], rcond=None)[0]
    np.testing.assert_allclose(fitted.matrix, expected, atol=1e-8)
    assert fitted.residual < 1e-6
    flat = np.hstack([X, X[:, :2] + X[:, 2:4]]).astype(np.float32)
    with pytest.warns(UserWarning, match="span 10 of 12 dimensions"):
        assert np.abs(least_squares(flat, Y, pairs).matrix).max() < 10
    assert np.isfinite(least_squares(X, Y, pairs[:6], ridge="auto").left_out_residual)


def test_the_bilingual_map_keeps_the_settings(planted, tmp_path):
    X, Y, _, pairs = planted
    for ridge in (0.1, "auto"):
        least_squares(X, Y, pairs, ridge=ridge).bilingual().save(tmp_path / "map", overwrite=True)
        loaded = BilingualMap.load(tmp_path / "map")
        assert ("left_out_residual" in loaded.options) == (ridge == "auto")
        assert loaded.options["rank"] == 10
        assert loaded.tgt_matrix is None


def test_same_bits_for_any_number_of_threads(planted):
    X, Y, _, pairs = planted
    fitted = least_squares(X, Y, pairs, ridge="auto")
    with threadpool_limits(1, user_api="blas"):
        np.testing.assert_array_equal(least_squares(X, Y, pairs, ridge="auto").matrix, fitted.matrix)


def test_bad_ridge(planted):
    X, Y, _, pairs = planted
    with pytest.raises(UsageError, match="ridge"):
        least_squares(X, Y, pairs, ridge=-1.0)


def test_nothing_to_learn_from_rows_of_zeros(planted):
    _, Y, _, pairs = planted
    fitted = least_squares(np.zeros((400, 3)), Y, pairs, ridge="auto")
    np.testing.assert_array_equal(fitted.matrix, 0)
    np.testing.assert_allclose(fitted.residual, 1)
