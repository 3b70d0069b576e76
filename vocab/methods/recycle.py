"""Recycling: rows learned for a small model, carried over to a larger one."""

from __future__ import annotations

import warnings
from typing import Any, Literal, get_args

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from align.errors import InputError, UsageError
from align.mapping.bridge import NearestMap
from align.mapping.moments import RANK_TOLERANCE
from vocab.plan import Origin, TransferPlan
from vocab.plan.low_rank import LowRank
from vocab.tokens import AnyTokenizer, Vocabulary

Kind = Literal["least_squares", "nearest"]


def recycle(
    src_tokenizer: AnyTokenizer | Vocabulary,
    tgt_tokenizer: AnyTokenizer | Vocabulary,
    *,
    donor_matrix: NDArray[np.floating[Any]],
    donor_src_matrix: NDArray[np.floating[Any]],
    kind: Kind = "least_squares",
    k: int = 10,
) -> TransferPlan:
    """Take each row from a small model of the target tokenizer, through the old tokens that both sizes have.

    With ``A`` the small source model's rows and ``T`` those trained in its place for the new tokens, the new
    rows of the large matrix ``E`` are:

    - ``least_squares``: ``T W`` with the W that minimises ``|A W - E|``, which is ``(T A^+) E`` and so a plan
      for a large matrix of any width: one dense row of weights for each token, kept as thin factors;
    - ``nearest``: the mean of the rows of the k old tokens whose rows in A are nearest to the token's own in
      T, with the inverse of the Euclidean distance for weights.

    Parameters
    ----------
    src_tokenizer, tgt_tokenizer : tokenizer or Vocabulary
    donor_matrix : ndarray, shape (>= n_tgt, dim)
        T: input embeddings of the small model that has the target tokenizer.
    donor_src_matrix : ndarray, shape (>= n_src, dim)
        A: those of the small model that it was made from, which has the source tokenizer.
    kind : {"least_squares", "nearest"}
    k : int
        Neighbours of ``nearest``.

    Returns
    -------
    TransferPlan
        Rows are ``MIXED``, also those of shared tokens, as published; tokens whose row in T is zero are left
        ``EMPTY`` for a fallback.

    Raises
    ------
    InputError
        For matrices with too few rows, of different width, or not finite.
    UsageError
        For an unknown kind or k below 1.

    Warns
    -----
    UserWarning
        If the old tokens' rows do not span the space of the small model: what is orthogonal to them is lost.

    Notes
    -----
    De Vries and Nissim (2021), "As good as new. How to successfully recycle English GPT-2 to make models for
    other languages", Findings of ACL. Their third map, orthogonal Procrustes, depends on the large
    matrix and is no plan: see :func:`align.mapping.bridge`, which also tells how well each map fits. The
    small models must share their space: the one was trained from the other with all but the embeddings
    frozen. The head's rows are made with the same weights; so is a bias, about which the small model says
    nothing and GPT-2 has none.

    Time ``(n_src + n_tgt) dim**2`` operations, memory four matrices of the small models in float64;
    ``nearest`` instead a search among all old tokens. The same bits for any number of threads.
    """
    if kind not in get_args(Kind):
        raise UsageError("unknown kind of recycling", got=kind, wanted=", ".join(get_args(Kind)))
    if k < 1:
        raise UsageError("the number of neighbours must be positive", got=k)
    src, tgt = Vocabulary.of(src_tokenizer), Vocabulary.of(tgt_tokenizer)
    A = _checked(donor_src_matrix, len(src), "source")
    T = _checked(donor_matrix, len(tgt), "target")
    if A.shape[1] != T.shape[1]:
        raise InputError(
            "the small models differ in width",
            got=f"{T.shape[1]} and {A.shape[1]}",
            hint="the one of the target tokenizer must have been trained from the other",
        )
    old = np.flatnonzero(_has_row(src, A))
    new = np.flatnonzero(_has_row(tgt, T) & ~tgt.special)
    weights = sp.csr_array((len(tgt), len(src)), dtype=np.float32)
    low_rank: tuple[LowRank, ...] = ()
    if not len(old):
        new = new[:0]
    elif kind == "nearest":
        weights = _nearest(A, T, old, new, k, shape=(len(tgt), len(src)))
    else:
        low_rank = (_least_squares(A, T, old, new),)
    origins = np.full(len(tgt), Origin.EMPTY, np.uint8)
    origins[new] = Origin.MIXED
    return TransferPlan(
        weights=weights,
        origins=origins,
        method="recycle",
        options={"recycle": {"kind": kind, "dim": A.shape[1], "k": k if kind == "nearest" else None}},
        src_tokens=src.tokens,
        tgt_tokens=tgt.tokens,
        low_rank=low_rank,
    )


def _checked(matrix: NDArray[np.floating[Any]], n_rows: int, side: str) -> NDArray[np.floating[Any]]:
    if matrix.ndim != 2 or len(matrix) < n_rows:
        raise InputError(
            f"the small model's matrix has fewer rows than the {side} vocabulary",
            got=matrix.shape,
            wanted=f"({n_rows} or more, dim)",
            hint=f"it must be a model of the {side} tokenizer",
        )
    if not np.isfinite(matrix[:n_rows]).all():
        raise InputError(f"the small model's matrix of {side} rows holds NaN or infinite values")
    return matrix[:n_rows]


def _has_row(vocabulary: Vocabulary, matrix: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    named = np.array([bool(token) for token in vocabulary.tokens], dtype=bool)
    known: NDArray[np.bool_] = named & matrix.any(axis=1)
    return known


def _least_squares(
    A: NDArray[np.floating[Any]],
    T: NDArray[np.floating[Any]],
    old: NDArray[np.int64],
    new: NDArray[np.int64],
) -> LowRank:
    """``T A^+`` in factors: with ``A = U S V^T``, ``T V S^-1`` and U, whose columns are orthonormal."""
    rows = A[old].astype(np.float64)
    with threadpool_limits(1, user_api="blas"):
        squares, axes = np.linalg.eigh(rows.T @ rows)
        kept = squares > squares[-1] * RANK_TOLERANCE
        if not kept.all():
            warnings.warn(
                f"the old tokens span {int(kept.sum())} of the {len(kept)} dimensions of the small model:"
                " what is orthogonal to them is lost",
                stacklevel=3,
            )
        scaled = axes[:, kept] / np.sqrt(squares[kept])
        left = (T[new].astype(np.float64) @ scaled).astype(np.float32)
        return LowRank(new, left, old, (rows @ scaled).astype(np.float32))


def _nearest(
    A: NDArray[np.floating[Any]],
    T: NDArray[np.floating[Any]],
    old: NDArray[np.int64],
    new: NDArray[np.int64],
    k: int,
    *,
    shape: tuple[int, int],
) -> sp.csr_array:
    rows = A[old].astype(np.float32)
    near = NearestMap(rows, rows, min(k, len(old)))
    indices, values = near.neighbors(T[new].astype(np.float32))
    entries = (values.ravel(), (np.repeat(new, indices.shape[1]), old[indices.ravel()]))
    return sp.csr_array(sp.coo_array(entries, shape=shape), dtype=np.float32)
