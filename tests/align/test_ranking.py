"""The listwise ranker."""

from __future__ import annotations

import numpy as np
import pytest

from align.errors import InputError
from align.induction.ranking import fit_ranker

NAMES = ("a", "b", "c")


def _planted(
    rng: np.random.Generator, n: int = 1500, k: int = 8
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Answers drawn with the probabilities of known weights 1.5, -0.7 and 0."""
    values = (rng.normal(size=(n, k, 3)) * [1.0, 5.0, 0.1] + [0.0, 3.0, 1.0]).astype(np.float32)
    valid = rng.random((n, k)) < 0.9
    valid[:, 0] = True
    scores = values @ np.array([1.5, -0.7 / 5, 0.0]) + rng.gumbel(size=(n, k))
    best = np.where(valid, scores, -np.inf).argmax(axis=1)
    return values, np.arange(k) == best[:, None], valid


def test_planted_weights_come_back() -> None:
    values, right, valid = _planted(np.random.default_rng(0))
    ranker = fit_ranker(values, right, valid, NAMES)
    assert ranker.converged
    np.testing.assert_allclose(ranker.weights, [1.5, -0.7, 0.0], atol=0.15)
    assert ranker.table()[0][0] == "a"
    assert [line.split()[1] for line in str(ranker).splitlines()[:2]] == ["a", "b"]


def test_the_loss_is_at_its_least() -> None:
    values, right, valid = _planted(np.random.default_rng(1), n=200)
    ranker = fit_ranker(values, right, valid, NAMES, penalty=3.0)

    def objective(weights: np.ndarray) -> float:
        scores = ((values - ranker.means) / ranker.scales) @ weights
        scores = np.where(valid, scores, -np.inf)
        logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
        return float(-logs[right].sum() + 1.5 * weights @ weights)

    least = objective(ranker.weights)
    for step in 0.02 * np.vstack([np.eye(3), -np.eye(3)]):
        assert objective(ranker.weights + step) > least


def test_scores_differ_from_the_formula_by_a_constant_only() -> None:
    values, right, valid = _planted(np.random.default_rng(2), n=100)
    ranker = fit_ranker(values, right, valid, NAMES)
    wanted = ((values - ranker.means) / ranker.scales) @ ranker.weights
    np.testing.assert_allclose(ranker.scores(values), wanted, atol=1e-4)


def test_invalid_candidates_and_hopeless_queries_teach_nothing() -> None:
    values, right, valid = _planted(np.random.default_rng(3), n=300)
    ranker = fit_ranker(values, right, valid, NAMES)
    spoiled, hopeless = values.copy(), np.zeros_like(right[:5])
    spoiled[~valid] = 1e6
    more = [np.concatenate(p) for p in ((spoiled, values[:5]), (right, hopeless), (valid, valid[:5]))]
    again = fit_ranker(more[0], more[1], more[2], NAMES)
    np.testing.assert_allclose(again.weights, ranker.weights, atol=1e-4)
    assert again.n_queries == ranker.n_queries == 300


def test_weights_of_queries_count_as_repetitions() -> None:
    values, right, valid = _planted(np.random.default_rng(4), n=200)
    twice = fit_ranker(*(np.concatenate([a, a[:50]]) for a in (values, right, valid)), NAMES)
    weights = np.ones(200)
    weights[:50] = 2
    weighted = fit_ranker(values, right, valid, NAMES, query_weights=weights)
    # the values are standardised over slightly different sets
    np.testing.assert_allclose(
        weighted.weights / weighted.scales, twice.weights / twice.scales, rtol=0.02, atol=0.02
    )


def test_errors() -> None:
    values, right, valid = _planted(np.random.default_rng(5), n=10)
    with pytest.raises(InputError, match="right answer"):
        fit_ranker(values, np.zeros_like(right), valid, NAMES)
    with pytest.raises(InputError, match="shape"):
        fit_ranker(values, right, valid, NAMES[:2])
