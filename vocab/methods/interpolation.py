"""Each new row mixed from the shared tokens nearest to it in a donor model's space.

The method ``common_interpolation`` of mergekit-tokensurgeon; barycentric weights are those of locally linear
embedding (Roweis and Saul 2000).
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from align.errors import UsageError
from align.neighbors import top_k
from align.normalize import unit
from vocab.methods.donor import Donor
from vocab.plan import TransferPlan
from vocab.tokens import AnyTokenizer, Vocabulary

Metric = Literal["euclidean", "cosine"]
Weighting = Literal["distance", "barycentric", "least_squares"]

_BLOCK = 256
_NEAREST = 1e-6  # distances below it weigh the same, and sums of cosines below it are not scaled up to 1
_RANK = 1e-12  # of the largest eigenvalue: neighbours that depend on others share their weight


def common_interpolation(
    src_tokenizer: AnyTokenizer | Vocabulary,
    tgt_tokenizer: AnyTokenizer | Vocabulary,
    *,
    donor_matrix: NDArray[np.floating[Any]],
    k: int = 64,
    metric: Metric = "euclidean",
    weighting: Weighting = "distance",
) -> TransferPlan:
    """Mix each new row from the k shared tokens nearest to it in the donor's space; copy the shared ones.

    Parameters
    ----------
    src_tokenizer, tgt_tokenizer : tokenizer or Vocabulary
    donor_matrix : ndarray, shape (>= n_tgt, dim)
        Embeddings of a model that has the target tokenizer; taken as float32.
    k : int
        Shared tokens mixed into a row; all of them where fewer are shared.
    metric : {"euclidean", "cosine"}
        What is near.
    weighting : {"distance", "barycentric", "least_squares"}
        Weights in proportion to 1 / distance, or to the cosine if it is positive; those that sum to 1 and
        come nearest to the donor's row; or those that come nearest to it at all. The last two have the
        smallest squares where they are not unique.

    Returns
    -------
    TransferPlan
        Rows are empty where the donor's row is zero or no cosine is positive, and all new ones where no token
        is shared.

    Raises
    ------
    UsageError
        For ``k < 1`` or an unknown metric or weighting.
    InputError
        For a donor matrix that does not fit the target vocabulary or is not finite.

    Notes
    -----
    Time ``2 n_new n_shared dim`` operations, and ``n_new k^2 (dim + 10 k)`` for fitted weights, in float64.
    """
    if k < 1 or metric not in get_args(Metric) or weighting not in get_args(Weighting):
        raise UsageError(
            "unknown way to interpolate",
            got=f"k={k}, metric={metric}, weighting={weighting}",
            wanted=f"k >= 1, {' or '.join(get_args(Metric))}, {' or '.join(get_args(Weighting))}",
        )
    donor = Donor.of(src_tokenizer, tgt_tokenizer, donor_matrix)
    rows, atoms = donor.matrix[donor.new], donor.shared_rows
    indices = np.empty((len(rows), min(k, len(atoms))), np.int64)
    weights = np.empty(indices.shape)
    if indices.size:
        indices = _nearest(rows, atoms, k, metric)
        for start in range(0, len(rows), _BLOCK):
            part = slice(start, start + _BLOCK)
            chosen = atoms[indices[part]].astype(np.float64)
            weights[part] = _weights(rows[part].astype(np.float64), chosen, metric, weighting)
    options = {"k": k, "metric": metric, "weighting": weighting, "donor_dim": donor.matrix.shape[1]}
    return donor.plan(indices, weights, method="common-interpolation", options=options)


def _nearest(
    rows: NDArray[np.float32], atoms: NDArray[np.float32], k: int, metric: Metric
) -> NDArray[np.int64]:
    if metric == "cosine":
        return top_k(rows, atoms, k, metric="cosine").indices
    # the nearest a maximise <x, a> - |a|^2 / 2; two float32 numbers hold the second term
    half = np.einsum("ij,ij->i", atoms, atoms, dtype=np.float64) / 2
    rough = half.astype(np.float32)
    rest = (half - rough).astype(np.float32)
    ones = np.full((len(rows), 2), -1, np.float32)
    return top_k(
        np.hstack([rows, ones]), np.hstack([atoms, rough[:, None], rest[:, None]]), k, metric="inner"
    ).indices


def _weights(
    x: NDArray[np.float64], near: NDArray[np.float64], metric: Metric, weighting: Weighting
) -> NDArray[np.float64]:
    """Weights, shape (n, k), of the rows ``near``, shape (n, k, dim)."""
    if weighting == "distance":
        if metric == "cosine":
            unit_near = unit(near.reshape(-1, near.shape[2])).reshape(near.shape)
            nearness = np.maximum(np.einsum("nd,nkd->nk", unit(x), unit_near), 0.0)
        else:
            nearness = 1 / np.maximum(np.linalg.norm(near - x[:, None], axis=2), _NEAREST)
        return np.asarray(nearness / np.maximum(nearness.sum(axis=1, keepdims=True), _NEAREST))
    gram = near @ near.transpose(0, 2, 1)
    towards = np.einsum("nkd,nd->nk", near, x)
    # neither changes the weights, and ones beside entries of size 1 keep the system well conditioned
    size = np.maximum(np.trace(gram, axis1=1, axis2=2) / gram.shape[1], np.finfo(np.float64).tiny)
    gram, towards = gram / size[:, None, None], towards / size[:, None]
    if weighting == "barycentric":
        # least squares under sum(w) = 1, with its Lagrange multiplier as one more unknown
        n, k = towards.shape
        system = np.zeros((n, k + 1, k + 1))
        system[:, :k, :k], system[:, k, :k], system[:, :k, k] = gram, 1.0, 1.0
        gram, towards = system, np.hstack([towards, np.ones((n, 1))])
    inverse = np.linalg.pinv(gram, rcond=_RANK, hermitian=True)
    return np.einsum("nij,nj->ni", inverse, towards)[:, : near.shape[1]]
