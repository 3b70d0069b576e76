from __future__ import annotations

import numpy as np
import pytest

from align.errors import InputError, UsageError
from tests.vocab.small_vocabularies import byte_level
from vocab.factorized.factors import factorize
from vocab.methods import constituents


@pytest.mark.parametrize("k", [1, 5, 12])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_the_truncated_decomposition(k, dtype):
    matrix = (np.random.default_rng(0).standard_normal((9000, 12)) * np.arange(1, 13)).astype(dtype)
    found = factorize(matrix, k)
    U, S, Vt = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    assert found.coordinates.shape == (9000, k)
    assert found.coordinates.dtype == found.fold().dtype == dtype or dtype == np.float64
    np.testing.assert_allclose(found.coordinates @ found.primitives, (U[:, :k] * S[:k]) @ Vt[:k], atol=1e-4)
    np.testing.assert_allclose(found.coordinates.T @ found.coordinates, np.eye(k), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found.primitives, axis=1), S[:k], rtol=1e-5)
    np.testing.assert_allclose(found.explained, (S[:k] ** 2).sum() / (S**2).sum(), rtol=1e-6)
    at = np.abs(found.primitives).argmax(axis=1)
    assert (found.primitives[np.arange(k), at] > 0).all()


def test_components_past_the_rank_are_zero():
    rng = np.random.default_rng(1)
    matrix = (rng.standard_normal((50, 3)) @ rng.standard_normal((3, 8))).astype(np.float32)
    found = factorize(matrix, 6)
    np.testing.assert_array_equal(found.coordinates[:, 3:], 0)
    np.testing.assert_array_equal(found.primitives[3:], 0)
    np.testing.assert_allclose(found.fold(), matrix, atol=1e-5)
    np.testing.assert_array_equal(factorize(np.zeros((4, 3), np.float16), 2).fold(), np.zeros((4, 3)))


def test_a_plan_applies_to_the_coordinates():
    src, tgt = byte_level([b"a", b"b", b"c"]), byte_level([b"ab", b"c", b"abc"])
    plan = constituents(src, tgt)
    E = np.random.default_rng(2).standard_normal((len(src), 6)).astype(np.float32)
    found = factorize(E, 4)
    new = plan.apply(found.coordinates)
    assert new.shape == (len(tgt), 4)
    np.testing.assert_allclose(found.fold(new), plan.apply(found.fold()), atol=1e-5)


def test_bad_input():
    with pytest.raises(UsageError, match="out of range"):
        factorize(np.ones((3, 2)), 3)
    with pytest.raises(UsageError, match="out of range"):
        factorize(np.ones((3, 2)), 0)
    with pytest.raises(InputError, match="rows and columns"):
        factorize(np.ones(3), 1)
    with pytest.raises(InputError, match="NaN or infinite"):
        factorize(np.full((3, 2), np.inf), 1)


@pytest.mark.data
def test_equals_the_recorded_one(shared_golden):
    """Parity with ofa@73fce73, whose components have arbitrary signs."""
    E = np.load(shared_golden / "vocab" / "inputs" / "source_matrix.npy")
    recorded = np.load(shared_golden / "vocab" / "ofa" / "factorisation.k16.npz")
    found = factorize(E, 16)
    np.testing.assert_allclose(
        found.fold()[::4], recorded["source_coordinates_every4"] @ recorded["primitives"], atol=2e-5
    )
    np.testing.assert_allclose(np.abs(found.primitives), np.abs(recorded["primitives"]), atol=1e-3)
