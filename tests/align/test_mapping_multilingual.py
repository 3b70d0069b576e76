from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ortho_group
from threadpoolctl import threadpool_limits

from align.errors import InputError, UsageError
from align.mapping import generalized_procrustes, meta_embedding, procrustes

N, DIM = 1500, 12


def _planted(noise, n_spaces=4):
    """Rotated and shuffled noisy views of one space, and the rows of each meaning in each."""
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((N, DIM)) * np.linspace(0.5, 2, DIM)
    spaces, rows, rotations = [], np.empty((N, n_spaces), np.int64), []
    for space in range(n_spaces):
        rotations.append(ortho_group.rvs(DIM, random_state=space + 1))
        rows[:, space] = rng.permutation(N)
        view = (truth + noise * rng.standard_normal(truth.shape)) @ rotations[-1]
        spaces.append(np.empty_like(view))
        spaces[-1][rows[:, space]] = view
    return truth, spaces, rows, rotations


def _with_gaps(rows, share, seed=1):
    gaps = np.random.default_rng(seed).random(rows.shape) < share
    return np.where(gaps, -1, rows)


def test_planted_rotations_with_noise_and_missing_rows():
    _, spaces, rows, rotations = _planted(0.3)
    fitted = generalized_procrustes(spaces, _with_gaps(rows, 0.4), anchor=1)
    for matrix, rotation in zip(fitted.matrices, rotations, strict=True):
        np.testing.assert_allclose(matrix, rotation.T @ rotations[1], atol=0.06)
        np.testing.assert_allclose(matrix.T @ matrix, np.eye(DIM), atol=1e-10)
    np.testing.assert_array_equal(fitted.matrices[1], np.eye(DIM))
    lengths = np.mean([np.square(space).sum() / N for space in spaces])
    np.testing.assert_allclose(fitted.residual, np.sqrt(2 * 0.09 * DIM / lengths), rtol=0.05)
    assert fitted.converged
    assert len(fitted.history) == fitted.n_iter + 1
    assert fitted.history[-1] < fitted.history[0]
    assert (np.diff(fitted.history) <= 1e-12).all()


@pytest.mark.parametrize("anchor", [0, 1])
def test_two_spaces_are_procrustes(anchor):
    _, spaces, rows, _ = _planted(0.5, 2)
    fitted = generalized_procrustes(spaces, {(0, 1): rows}, anchor=anchor)
    plain = procrustes(*spaces, rows)
    np.testing.assert_allclose(fitted.matrices[0] @ fitted.matrices[1].T, plain.matrix, atol=1e-10)
    distance = np.square(plain(spaces[0])[rows[:, 0]] - spaces[1][rows[:, 1]]).sum()
    mean_length = np.mean([np.square(space).sum() for space in spaces])
    np.testing.assert_allclose(fitted.residual, np.sqrt(distance / mean_length), rtol=1e-10)
    assert fitted.converged
    assert fitted.n_iter == 1


def test_the_objective_is_the_distance_to_the_means():
    """And no other rotation nearby has a smaller one."""
    _, spaces, rows, _ = _planted(0.8)
    rows = _with_gaps(rows, 0.3)
    fitted = generalized_procrustes(spaces, rows, tolerance=1e-12, max_iter=1000)

    def distance(matrices):
        mapped = [space @ matrix for space, matrix in zip(spaces, matrices, strict=True)]
        total, length = 0.0, 0.0
        for row in rows:
            present = np.array([m[r] for m, r in zip(mapped, row, strict=True) if r >= 0])
            if len(present) > 1:
                total += np.square(present - present.mean(axis=0)).sum()
                length += (len(present) - 1) / len(present) / 2 * np.square(present).sum()
        return total, length

    best, length = distance(fitted.matrices)
    np.testing.assert_allclose(fitted.residual, np.sqrt(best / length), rtol=1e-9)
    for seed in range(3):
        skew = np.random.default_rng(seed).standard_normal((4, DIM, DIM)) * 1e-3
        turned = []
        for matrix, s in zip(fitted.matrices, skew, strict=True):
            u, _, v = np.linalg.svd(np.eye(DIM) + s - s.T)
            turned.append(matrix @ u @ v)
        assert distance(turned)[0] > best


def test_all_pairs_help_a_weakly_tied_pair():
    """With few direct pairs, the way through the other spaces gives the better map."""
    _, spaces, rows, rotations = _planted(0.5)
    few = {
        (0, 1): rows[:14, [0, 1]],
        (0, 2): rows[:, [0, 2]],
        (2, 1): rows[:, [2, 1]],
        (3, 1): rows[:, [3, 1]],
    }
    joint = generalized_procrustes(spaces, few).between(0, 1)
    wanted = rotations[0].T @ rotations[1]
    alone = procrustes(spaces[0], spaces[1], few[0, 1]).matrix
    error = np.abs(joint.src_matrix @ joint.tgt_matrix.T - wanted).max()
    assert error < 0.1 < np.abs(alone - wanted).max()


def test_both_directions_of_a_lexicon_add_up():
    _, spaces, rows, _ = _planted(0.5, 3)
    forward = {(0, 1): rows[:, :2], (1, 2): rows[:700, 1:]}
    both = {(0, 1): rows[:900, :2], (1, 0): rows[900:, 1::-1], (1, 2): rows[:700, 1:]}
    one, two = generalized_procrustes(spaces, forward), generalized_procrustes(spaces, both)
    assert one.n_pairs == two.n_pairs == N + 700
    for a, b in zip(one.matrices, two.matrices, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9)


def test_spaces_of_different_width_meet_in_the_widest():
    _, spaces, rows, rotations = _planted(0.05, 3)
    spaces[0] = spaces[0] @ rotations[0].T[:, 4:]  # loses the four axes of least variance
    fitted = generalized_procrustes(spaces, rows)
    assert [m.shape for m in fitted.matrices] == [(8, DIM), (DIM, DIM), (DIM, DIM)]
    for matrix in fitted.matrices:
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(len(matrix)), atol=1e-10)
    wanted = rotations[1].T @ rotations[2]
    bridge = fitted.between(1, 2)
    np.testing.assert_allclose(bridge.src_matrix @ bridge.tgt_matrix.T, wanted, atol=0.05)
    narrow = fitted(spaces[0].astype(np.float32), 0)
    assert narrow.shape == (N, DIM)
    assert narrow.dtype == np.float32


def test_an_unfinished_run_says_so():
    _, spaces, rows, _ = _planted(1.0)
    fitted = generalized_procrustes(spaces, _with_gaps(rows, 0.3), max_iter=1, tolerance=0.0)
    assert not fitted.converged
    assert fitted.n_iter == 1


def test_meta_embeddings_are_nearer_the_truth_than_any_source():
    truth, spaces, rows, rotations = _planted(0.6)
    gaps = _with_gaps(rows, 0.3)
    known = (gaps >= 0).any(axis=1)
    gaps = gaps[known]
    meta = meta_embedding(spaces, gaps)
    wanted = truth[known] @ rotations[0]
    error = np.square(meta.matrix - wanted).mean(axis=1)
    by_count = [error[meta.n_sources == m].mean() for m in (1, 2, 3, 4)]
    np.testing.assert_allclose(by_count, [0.36 / m for m in (1, 2, 3, 4)], rtol=0.2)
    again, n_sources = meta(spaces, gaps[:5])
    np.testing.assert_array_equal(again, meta.matrix[:5])
    np.testing.assert_array_equal(n_sources, meta.n_sources[:5])


def test_same_bits_for_any_number_of_threads():
    _, spaces, rows, _ = _planted(0.5)
    meta = meta_embedding(spaces, rows)
    with threadpool_limits(1, user_api="blas"):
        np.testing.assert_array_equal(meta_embedding(spaces, rows).matrix, meta.matrix)


def test_bad_input():
    _, spaces, rows, _ = _planted(0.5, 3)
    with pytest.raises(UsageError, match="nothing to align"):
        generalized_procrustes(spaces[:1], rows[:, :1])
    with pytest.raises(UsageError, match="no such space"):
        generalized_procrustes(spaces, rows, anchor=3)
    with pytest.raises(UsageError, match="out of range"):
        generalized_procrustes(spaces, rows, max_iter=0)
    with pytest.raises(InputError, match="do not fit the spaces"):
        generalized_procrustes(spaces, rows[:, :2])
    with pytest.raises(InputError, match="outside the spaces"):
        generalized_procrustes(spaces, rows + 1)
    with pytest.raises(InputError, match="between two of the spaces"):
        generalized_procrustes(spaces, {(0, 3): rows[:, :2]})
    with pytest.raises(InputError, match=r"not tied to the anchor.*\[1, 2\]"):
        generalized_procrustes(spaces, {(1, 2): rows[:, 1:]})
    with pytest.raises(InputError, match="no source has"):
        meta_embedding(spaces, np.vstack([rows, [[-1, -1, -1]]]))
    spaces[2] = np.full_like(spaces[2], np.nan)
    with pytest.raises(InputError, match="NaN or infinity"):
        generalized_procrustes(spaces, rows)
    with pytest.raises(UsageError, match="no such space"):
        generalized_procrustes(spaces[:2], rows[:, :2]).between(0, 2)
