from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from align.errors import InputError
from align.normalize import centre, unit, whiten


@settings(deadline=None)
@given(arrays(np.float32, (700, 3), elements=st.floats(-1e6, 1e6, width=32), fill=st.just(np.float32(2))))
def test_unit_rows_have_length_one_or_stay_zero(matrix):
    before = matrix.copy()
    out = unit(matrix)
    zero = ~matrix.any(axis=1)
    lengths = np.linalg.norm(out.astype(np.float64), axis=1)
    np.testing.assert_allclose(lengths[~zero], 1, rtol=1e-6)
    np.testing.assert_array_equal(out[zero], 0)
    np.testing.assert_array_equal(matrix, before)
    assert out.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_unit_keeps_directions(dtype):
    matrix = np.random.default_rng(0).standard_normal((5, 4)).astype(dtype)
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    np.testing.assert_allclose(unit(matrix) * lengths, matrix, rtol=1e-6)


def test_centre_leaves_no_mean():
    matrix = (np.random.default_rng(1).standard_normal((400, 6)) + 50).astype(np.float32)
    out = centre(matrix)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out.mean(axis=0, dtype=np.float64), 0, atol=1e-5)
    np.testing.assert_allclose(out[0] - out[1], matrix[0] - matrix[1], atol=1e-5)


def test_whiten_gives_an_identity_gram_matrix_and_least_change():
    rng = np.random.default_rng(2)
    matrix = rng.standard_normal((200, 5)) @ rng.standard_normal((5, 5))
    out = whiten(matrix)
    np.testing.assert_allclose(out.T @ out, np.eye(5), atol=1e-9)
    # of all whitenings the symmetric one stays closest to the data: X^T out is symmetric positive definite
    cross = matrix.T @ out
    np.testing.assert_allclose(cross, cross.T, atol=1e-8)
    assert (np.linalg.eigvalsh(cross) > 0).all()


def test_whiten_refuses_dependent_columns():
    with pytest.raises(InputError, match="cannot be whitened"):
        whiten(np.ones((10, 2)))
    with pytest.raises(InputError, match="cannot be whitened"):
        whiten(np.eye(5)[:3])
