from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.stats import ortho_group
from threadpoolctl import threadpool_limits

from align.errors import UsageError
from align.mapping import cca, pair_moments, procrustes, whitened, whitened_maps
from align.normalize import normalize


@pytest.fixture(scope="module")
def planted():
    """Both sides are views of one latent variable, correlated less from axis to axis."""
    rng = np.random.default_rng(0)
    n, d = 6000, 8
    correlations = np.linspace(0.95, 0.3, d)
    latent = rng.standard_normal((n, d))
    X = latent @ rng.standard_normal((d, d))
    noise = rng.standard_normal((n, d)) * np.sqrt(1 - correlations**2)
    Y = (latent * correlations + noise) @ rng.standard_normal((d, d))
    pairs = np.stack([np.arange(n), rng.permutation(n)], axis=1)
    shuffled = np.empty_like(Y)
    shuffled[pairs[:, 1]] = Y
    return X, shuffled, pairs, correlations


def test_planted_correlations(planted):
    X, Y, pairs, correlations = planted
    maps = whitened_maps(pair_moments(X, Y, pairs))
    np.testing.assert_allclose(maps.correlations, correlations, atol=0.03)
    assert maps.src_rank == maps.tgt_rank == 8


def _steps(X, Y, pairs, a, b, back):
    """The steps as the paper writes them, on whole matrices with symmetric whitening."""
    x, y = X[pairs[:, 0]], Y[pairs[:, 1]]

    def symmetric(rows, power):
        values, vectors = np.linalg.eigh(rows.T @ rows)
        return (vectors * values**power) @ vectors.T

    wx, wy = symmetric(x, -0.5), symmetric(y, -0.5)
    u, s, v = np.linalg.svd(wx @ x.T @ y @ wy)
    undo = {"src": u.T @ symmetric(x, 0.5) @ u, "tgt": v @ symmetric(y, 0.5) @ v.T, "none": np.eye(len(s))}
    return X @ wx @ u * s**a @ undo[back[0]], Y @ wy @ v.T * s**b @ undo[back[1]]


@pytest.mark.parametrize("exponents", [(0.5, 0.5), (0.0, 1.0), (0.25, 0.0)])
@pytest.mark.parametrize("back", [("src", "tgt"), ("tgt", "tgt"), ("none", "src"), ("none", "none")])
def test_equal_to_the_steps_written_out(planted, exponents, back):
    X, Y, pairs, _ = planted
    fitted = whitened(
        X,
        Y,
        pairs,
        src_exponent=exponents[0],
        tgt_exponent=exponents[1],
        src_dewhiten=back[0],
        tgt_dewhiten=back[1],
    )
    src, tgt = _steps(X, Y, pairs, *exponents, back)
    ours_src, ours_tgt = fitted.map_src(X), fitted.map_tgt(Y)
    signs = np.sign(np.sum(ours_src * src, axis=0))
    np.testing.assert_allclose(ours_src * signs, src, atol=1e-8)
    np.testing.assert_allclose(ours_tgt * signs, tgt, atol=1e-8)


def test_beats_an_orthogonal_map_where_spaces_are_distorted():
    """Rows of a noisy and linearly distorted copy find their partners among the unseen half."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((3000, 30)) * np.linspace(2, 0.3, 30)
    distortion = ortho_group.rvs(30, random_state=2) * np.linspace(0.4, 2, 30)
    noise = rng.standard_normal(X.shape) * np.linspace(0.25, 2.5, 30)
    Y = X @ distortion @ ortho_group.rvs(30, random_state=3) + noise
    X, Y = (normalize(rows)[0] for rows in (X, Y))
    train, test = np.arange(1500)[:, None].repeat(2, axis=1), slice(1500, 3000)

    def accuracy(fitted):
        src, tgt = (
            normalize(rows, ["unit"])[0] for rows in (fitted.map_src(X[test]), fitted.map_tgt(Y[test]))
        )
        return np.mean((src @ tgt.T).argmax(axis=1) == np.arange(1500))

    orthogonal = accuracy(procrustes(X, Y, train).bilingual())
    assert accuracy(whitened(X, Y, train)) > orthogonal + 0.1


def test_isotropic_spaces_without_reweighting_are_procrustes():
    rng = np.random.default_rng(2)
    X = np.linalg.qr(rng.standard_normal((500, 6)))[0]
    Y = np.linalg.qr(X @ ortho_group.rvs(6, random_state=4) + 0.01 * rng.standard_normal(X.shape))[0]
    pairs = np.arange(500)[:, None].repeat(2, axis=1)
    fitted = whitened(X, Y, pairs, src_exponent=0.0, tgt_exponent=0.0)
    np.testing.assert_allclose(
        fitted.src_matrix @ fitted.tgt_matrix.T, procrustes(X, Y, pairs).matrix, atol=1e-10
    )


def test_a_huge_ridge_ends_whitening(planted):
    """Without re-weighting what is left is Procrustes."""
    X, Y, pairs, _ = planted
    fitted = whitened(X, Y, pairs, src_exponent=0.0, tgt_exponent=0.0, ridge=1e9)
    np.testing.assert_allclose(
        fitted.src_matrix @ fitted.tgt_matrix.T, procrustes(X, Y, pairs).matrix, atol=1e-6
    )


def test_weights_and_repetitions_agree(planted):
    X, Y, pairs, _ = planted
    times = np.random.default_rng(5).integers(0, 3, len(pairs))
    weighted, repeated = whitened(X, Y, pairs, weights=times), whitened(X, Y, np.repeat(pairs, times, axis=0))
    np.testing.assert_allclose(weighted.src_matrix, repeated.src_matrix, atol=1e-9)
    np.testing.assert_allclose(weighted.tgt_matrix, repeated.tgt_matrix, atol=1e-9)


def test_first_axes_and_unequal_widths(planted):
    X, Y, pairs, _ = planted
    full, cut = whitened(X, Y, pairs), whitened(X, Y, pairs, dim=3)
    np.testing.assert_array_equal(cut.src_matrix, full.src_matrix[:, :3])
    np.testing.assert_array_equal(cut.tgt_matrix, full.tgt_matrix[:, :3])
    wide = np.hstack([X, np.random.default_rng(6).standard_normal((len(X), 4))])
    fitted = whitened(wide, Y, pairs)
    assert fitted.src_matrix.shape == (12, 8)
    assert fitted.tgt_matrix.shape == (8, 8)


@pytest.mark.parametrize("method", [whitened, cca])
def test_small_dictionaries_give_finite_maps_and_a_warning(planted, method):
    X, Y, pairs, _ = planted
    with pytest.warns(UserWarning, match=r"span 5 of 8 dimensions") as caught:
        fitted = method(X, Y, pairs[:5])
    assert [w.filename for w in caught] == [__file__] * 2
    assert fitted.src_matrix.shape == fitted.tgt_matrix.shape == (8, 5)
    assert np.isfinite(fitted.src_matrix).all()
    assert np.isfinite(fitted.tgt_matrix).all()
    # whatever is orthogonal to the dictionary is mapped to zero
    outside = np.linalg.svd(X[pairs[:5, 0]])[2][5:]
    np.testing.assert_allclose(fitted.map_src(outside), 0, atol=1e-9)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ridged = method(X, Y, pairs[:5], ridge=0.1)
    assert np.isfinite(ridged.src_matrix).all()
    assert ridged.src_matrix.shape == (8, 8)


@pytest.mark.filterwarnings("ignore:the (source|target) rows")
def test_one_pair_and_columns_of_zeros_are_no_division_by_zero():
    X, Y = np.eye(4), np.eye(4)[::-1].copy()
    fitted = whitened(X, Y, np.array([[0, 3]]))
    np.testing.assert_allclose(fitted.map_src(X)[0], fitted.map_tgt(Y)[3], atol=1e-12)
    blind = whitened(np.zeros((4, 4)), Y, np.array([[0, 3]]))
    np.testing.assert_array_equal(blind.src_matrix, 0)


def test_cca_is_invariant_to_linear_maps_and_orthonormal(planted):
    X, Y, pairs, _ = planted
    A, B = (np.random.default_rng(seed).standard_normal((8, 8)) for seed in (7, 8))
    plain, turned = cca(X, Y, pairs), cca(X @ A, Y @ B, pairs)
    src, other_src = plain.map_src(X), turned.map_src(X @ A)
    signs = np.sign(np.sum(src * other_src, axis=0))
    np.testing.assert_allclose(other_src * signs, src, atol=1e-7)
    np.testing.assert_allclose(turned.map_tgt(Y @ B) * signs, plain.map_tgt(Y), atol=1e-7)
    paired = src[pairs[:, 0]]
    np.testing.assert_allclose(paired.T @ paired, np.eye(8), atol=1e-9)
    correlations = paired.T @ plain.map_tgt(Y)[pairs[:, 1]]
    np.testing.assert_allclose(correlations, np.diag(np.diag(correlations)), atol=1e-9)
    np.testing.assert_allclose(plain.options["mean_correlation"], np.diag(correlations).mean())


def test_cca_projectors_alone_are_rotations(planted):
    X, Y, pairs, _ = planted
    fitted = cca(X, Y, pairs, canonical=False)
    for matrix in (fitted.src_matrix, fitted.tgt_matrix):
        np.testing.assert_allclose(matrix.T @ matrix, np.eye(8), atol=1e-9)


def test_same_bits_for_any_number_of_threads(planted):
    X, Y, pairs, _ = planted
    fitted = whitened(X, Y, pairs)
    with threadpool_limits(1, user_api="blas"):
        again = whitened(X, Y, pairs)
    np.testing.assert_array_equal(fitted.src_matrix, again.src_matrix)
    np.testing.assert_array_equal(fitted.tgt_matrix, again.tgt_matrix)


@pytest.mark.parametrize(
    "settings",
    [{"src_exponent": -1.0}, {"ridge": float("nan")}, {"src_dewhiten": "trg"}, {"dim": 0}],
)
def test_bad_settings(planted, settings):
    X, Y, pairs, _ = planted
    with pytest.raises(UsageError):
        whitened(X, Y, pairs, **settings)


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "steps", "fit"),
    [
        ("vecmap_supervised", ("unit", "centre", "unit"), whitened),
        (
            "vecmap_aaai2018",
            ("unit", "centre"),
            lambda X, Y, pairs: whitened(X, Y, pairs, src_exponent=0.0, tgt_exponent=1.0),
        ),
        ("cca", (), lambda X, Y, pairs: cca(X, Y, pairs, canonical=False)),
    ],
)
def test_recorded_maps_of_others(shared_golden, name, steps, fit):
    folder = shared_golden / "bli" / "small"
    X, Y = (normalize(np.load(folder / f"{side}.npy"), steps)[0] for side in ("en", "es"))
    fitted = fit(X, Y, np.load(folder / "train_ids.npy"))
    src, tgt = np.load(folder / f"{name}.src.npy"), np.load(folder / f"{name}.tgt.npy")
    signs = np.sign(np.sum(fitted.map_src(X) * src, axis=0))
    np.testing.assert_allclose(fitted.map_src(X) * signs, src, atol=2e-5)
    np.testing.assert_allclose(fitted.map_tgt(Y) * signs, tgt, atol=2e-5)
