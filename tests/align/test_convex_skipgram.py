from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numba
import numpy as np
import pytest
import scipy.sparse as sp

from align.convex_skipgram import _components, _Fit, fit_convex_skipgram
from align.cooccurrence import cooccurrence
from align.errors import InputError, UsageError

N_OLD, N_NEW = 60, 12


def planted(
    seed: int = 0, n_lines: int = 4000
) -> tuple[sp.csr_array, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Lines of old types that lie in one direction; new ones stand where either of two old ones would.

    Returns counts, frequencies, the old rows with noise, the anchor of each type and the parents.
    """
    rng = np.random.default_rng(seed)
    topics = rng.standard_normal((20, 12))
    old = topics[rng.integers(0, 20, N_OLD)] + 0.3 * rng.standard_normal((N_OLD, 12))
    parents = rng.permuted(np.tile(np.arange(N_OLD), (N_NEW, 1)), axis=1)[:, :2]
    lines = []
    for topic in topics[rng.integers(0, 20, n_lines)]:
        odds = np.exp(1.2 * old @ topic / np.linalg.norm(topic))
        line = rng.choice(N_OLD, 10, p=odds / odds.sum())
        noise = rng.random(10) < 0.1
        line[noise] = rng.integers(0, N_OLD, noise.sum())
        for new, pair in enumerate(parents):
            line[np.isin(line, pair) & (rng.random(10) < 0.4)] = N_OLD + new
        lines.append(line)
    ids = np.concatenate(lines)
    counts = cooccurrence(ids, np.arange(0, len(ids) + 1, 10), N_OLD + N_NEW, window=5, decay=False)
    anchor_of = np.concatenate([np.arange(N_OLD), np.full(N_NEW, -1)])
    rows = old + 0.05 * rng.standard_normal(old.shape)
    return counts, np.bincount(ids, minlength=N_OLD + N_NEW), rows, anchor_of, parents


def cosines(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    return (X / np.linalg.norm(X, axis=1)[:, None]) @ (Y / np.linalg.norm(Y, axis=1)[:, None]).T


def test_mixtures_lie_near_their_planted_parents() -> None:
    counts, frequencies, rows, anchor_of, parents = planted()
    fit = fit_convex_skipgram(counts, frequencies, rows, anchor_of, epochs=60)
    weights = fit.weights.toarray()
    np.testing.assert_array_equal(weights[:N_OLD], 0)
    np.testing.assert_allclose(weights[N_OLD:].sum(axis=1), 1, atol=1e-6)
    assert (weights >= 0).all()
    centred = rows - rows.mean(axis=0)
    likeness = cosines(weights[N_OLD:] @ centred, centred[parents].mean(axis=1))
    own, others = np.diag(likeness), likeness[~np.eye(N_NEW, dtype=bool)]
    assert own.mean() > 0.7
    assert own.mean() > others.mean() + 0.5
    assert (likeness.argmax(axis=1) == np.arange(N_NEW)).mean() >= 0.7
    assert fit.history[-1] < fit.history[0] - 0.05


def test_gradients_are_those_of_the_loss() -> None:
    torch = pytest.importorskip("torch")
    counts, _, rows, anchor_of, _ = planted(1, 200)
    rng = np.random.default_rng(2)
    F, B = _components(rows, 6, 4, True)
    free = np.flatnonzero(anchor_of < 0)
    n_near = np.asarray(counts.sum(axis=1)).ravel()
    A = rng.standard_normal((len(free), len(B))).astype(np.float32)
    near_rows, drawn = (rng.standard_normal((n, 6)).astype(np.float32) for n in (len(anchor_of), 30))
    with ThreadPoolExecutor(1) as pool:
        fit = _Fit(counts[free], n_near[free], free, F, np.log(5), pool)
        loss, new_rows, *found = fit.gradients(A, B, near_rows, drawn, 5)
    tA, tB = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (A, B))
    W = torch.softmax(tA @ tB, dim=1) @ torch.tensor(F, dtype=torch.float64)
    near, far = (W @ torch.tensor(x, dtype=torch.float64).T - np.log(5) for x in (near_rows, drawn))
    share = torch.tensor(counts[free].toarray() / n_near[free, None], dtype=torch.float64)
    losses = -(share * torch.nn.functional.logsigmoid(near)).sum(1)
    losses -= 5 * torch.nn.functional.logsigmoid(-far).mean(1)
    importance = np.sqrt(n_near[free]) / np.sqrt(n_near[free]).sum()
    wanted = (losses * torch.tensor(importance, dtype=torch.float64)).sum()
    wanted.backward()
    np.testing.assert_allclose(loss, wanted.item(), rtol=1e-5)
    np.testing.assert_allclose(new_rows, W.detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(found[0], tA.grad.numpy(), atol=1e-6)
    np.testing.assert_allclose(found[1], tB.grad.numpy(), atol=1e-6)


def test_products_of_components_are_those_of_the_rows() -> None:
    rows = np.random.default_rng(0).standard_normal((50, 8)) + 3
    F, _ = _components(rows, 8, 4, False)
    np.testing.assert_allclose(F @ F.T, rows @ rows.T, rtol=1e-4)
    F, B = _components(rows, 8, 4, True)
    centred = rows - rows.mean(axis=0)
    unit = (F @ F.T)[0, 1] / (centred @ centred.T)[0, 1]
    np.testing.assert_allclose(F @ F.T, unit * centred @ centred.T, atol=1e-4)
    np.testing.assert_allclose(((F @ F.T) ** 2).mean(), 1, rtol=1e-4)
    np.testing.assert_allclose(B @ B.T / 50, np.eye(4), atol=1e-5)


def test_what_is_dropped_is_told() -> None:
    counts, frequencies, rows, anchor_of, _ = planted(1, 300)
    whole = fit_convex_skipgram(counts, frequencies, rows, anchor_of, epochs=3, top=N_OLD)
    some = fit_convex_skipgram(counts, frequencies, rows, anchor_of, epochs=3, top=5)
    assert whole.mass_kept == pytest.approx(1, abs=1e-6)
    np.testing.assert_array_equal(np.diff(some.weights.indptr)[N_OLD:], 5)
    heaviest = -np.sort(-whole.weights.toarray()[N_OLD:], axis=1)[:, :5]
    assert some.mass_kept == pytest.approx(heaviest.sum(axis=1).mean(), abs=1e-6)
    kept = -np.sort(-some.weights.toarray()[N_OLD:], axis=1)[:, :5]
    np.testing.assert_allclose(kept, heaviest / heaviest.sum(axis=1)[:, None], rtol=1e-5)


def test_threads_do_not_change_a_bit() -> None:
    counts, frequencies, rows, anchor_of, _ = planted(2, 300)
    many = fit_convex_skipgram(counts, frequencies, rows, anchor_of, epochs=4)
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        one = fit_convex_skipgram(counts, frequencies, rows, anchor_of, epochs=4)
    finally:
        numba.set_num_threads(threads)
    np.testing.assert_array_equal(many.weights.data, one.weights.data)
    assert many.history == one.history


@pytest.mark.parametrize("rows", [np.zeros((0, 3)), np.zeros((1, 3)), np.ones((4, 3))])
def test_anchors_that_say_nothing(rows: np.ndarray) -> None:
    n = len(rows)
    counts = cooccurrence(np.array([0, n, 0, n]), np.array([0, 4]), n + 1)
    anchor_of = np.concatenate([np.arange(n), [-1]])
    fit = fit_convex_skipgram(counts, np.ones(n + 1), rows, anchor_of, epochs=2)
    assert fit.weights[[n]].sum() == pytest.approx(1 if n else 0)
    assert fit.converged


def test_wrong_shapes_and_numbers() -> None:
    counts, frequencies, rows, anchor_of, _ = planted(3, 20)
    for option in ("rank", "dim", "n_negatives", "epochs", "top"):
        with pytest.raises(UsageError, match=option):
            fit_convex_skipgram(counts, frequencies, rows, anchor_of, **{option: 0})
    with pytest.raises(InputError, match="do not fit"):
        fit_convex_skipgram(counts[:5, :5], frequencies, rows, anchor_of)
    rows[0, 0] = np.nan
    with pytest.raises(InputError, match="finite"):
        fit_convex_skipgram(counts, frequencies, rows, anchor_of)
