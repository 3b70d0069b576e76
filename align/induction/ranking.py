"""A listwise logistic ranker: one weight for every kind of evidence, learned from known answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from align.errors import InputError


@dataclass(frozen=True, eq=False)
class Ranker:
    """Weights of evidence; the score of a candidate is ``sum((value - mean) / scale * weight)``.

    Parameters
    ----------
    names : tuple of str
        Of the evidence.
    means, scales, weights : ndarray of float64, shape (n_evidence,)
        Since values are divided by their spread, weights compare: they say which evidence counts how much.
    n_queries : int
        It was learned from.
    loss : float
        Mean negative log-probability of the right answers, without the penalty.
    converged : bool
    n_iter : int
    """

    names: tuple[str, ...]
    means: NDArray[np.float64]
    scales: NDArray[np.float64]
    weights: NDArray[np.float64]
    n_queries: int
    loss: float
    converged: bool
    n_iter: int

    def scores(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scores of candidates from their evidence, shape (..., n_evidence)."""
        factors = self.weights / self.scales
        with threadpool_limits(1, user_api="blas"):  # the same bits for any number of threads
            scores = values @ factors.astype(np.float32)
        return scores - np.float32(self.means @ factors)

    def table(self) -> list[tuple[str, float]]:
        """Evidence and weight, the weightiest first."""
        order = np.argsort(-np.abs(self.weights), kind="stable")
        return [(self.names[i], float(self.weights[i])) for i in order]

    def __str__(self) -> str:
        return "\n".join(f"{weight:+8.3f}  {name}" for name, weight in self.table())


def fit_ranker(
    values: NDArray[np.float32],
    right: NDArray[np.bool_],
    valid: NDArray[np.bool_],
    names: Sequence[str],
    *,
    query_weights: NDArray[np.floating] | None = None,
    penalty: float = 1.0,
) -> Ranker:
    """Learn weights under which the right candidates of every query are probable.

    The probability of a candidate is the softmax of the scores over the candidates of its query (Cao et al.
    2007, "Learning to rank: from pairwise approach to listwise approach", with the top-one probability); of
    several right ones the sum counts.

    Parameters
    ----------
    values : ndarray of float32, shape (n_queries, n_candidates, n_evidence)
    right, valid : ndarray of bool, shape (n_queries, n_candidates)
        Right answers; candidates that exist. Queries without a right answer that exists teach nothing.
    names : sequence of str
        Of the evidence.
    query_weights : ndarray, shape (n_queries,), optional
    penalty : float
        Of the squared weights: a prior with variance ``1 / penalty``.

    Returns
    -------
    Ranker

    Raises
    ------
    InputError
        For shapes that do not fit, or no query with a right answer.

    Notes
    -----
    Convex but for queries with several right answers. L-BFGS, about 60 passes over the values.
    """
    if values.shape[:2] != right.shape or right.shape != valid.shape or values.shape[2] != len(names):
        raise InputError("evidence and answers differ in shape", got=f"{values.shape} and {right.shape}")
    right = right & valid
    useful = right.any(axis=1)
    if not useful.any():
        raise InputError("no query has its right answer among the candidates", got=f"{len(values)} queries")
    w = np.ones(len(values)) if query_weights is None else np.asarray(query_weights, np.float64)
    w, valid, right = w[useful], valid[useful], right[useful]
    Z = values[useful]
    means = Z[valid].mean(axis=0, dtype=np.float64)
    scales = Z[valid].std(axis=0, dtype=np.float64)
    scales[scales < 1e-9] = 1.0
    Z = ((Z - means) / scales).astype(np.float32)
    Z[~valid] = 0.0
    flat = Z.reshape(-1, Z.shape[2])

    def share(scores: NDArray[np.float64], mask: NDArray[np.bool_]) -> tuple[NDArray, NDArray]:
        masked = np.where(mask, scores, -np.inf)
        top = masked.max(axis=1, keepdims=True)
        parts = np.exp(masked - top)
        total = parts.sum(axis=1, keepdims=True)
        return parts / total, (top + np.log(total))[:, 0]

    def objective(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scores = (flat @ weights.astype(np.float32)).reshape(valid.shape).astype(np.float64)
        p_all, log_all = share(scores, valid)
        p_right, log_right = share(scores, right)
        slope = ((p_all - p_right) * w[:, None]).astype(np.float32).ravel()
        value = float(w @ (log_all - log_right)) + 0.5 * penalty * float(weights @ weights)
        return value, (slope @ flat).astype(np.float64) + penalty * weights

    with threadpool_limits(1, user_api="blas"):
        found = minimize(
            objective,
            np.zeros(len(names)),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 100, "ftol": 1e-7},
        )
    loss = (float(found.fun) - 0.5 * penalty * float(found.x @ found.x)) / float(w.sum())
    return Ranker(
        tuple(names), means, scales, found.x, int(useful.sum()), loss, bool(found.success), int(found.nit)
    )
