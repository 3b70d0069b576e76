"""CLP-Transfer: new rows as the old rows of shared tokens, weighted by likeness in a helper model.

Ostendorff and Rehm (2023), "Efficient language model training through cross-lingual and progressive transfer
learning", arXiv:2301.09626. The sparsemax variant is that of Yamaguchi, Villavicencio and Aletras (2024), "An
empirical study on cross-lingual vocabulary adaptation", arXiv:2402.10712.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from align.errors import InputError, UsageError
from align.neighbors import top_k
from align.normalize import unit
from vocab.methods.overlap import Overlap, anchored_plan, overlap
from vocab.methods.sparsemax import sparsemax_mix
from vocab.plan import Origin, TransferPlan
from vocab.plan.low_rank import LowRank
from vocab.tokens import AnyTokenizer, Vocabulary

_BLOCK_ROWS = 512  # rows in float64 at a time, in the cache
_SMALL_SUM = 0.1  # of cosines, among which the largest is often above 0.5


@dataclass(frozen=True, eq=False)
class ClpFactors:
    """The published weights as a product of two thin matrices: no weight is ever written out.

    ``cos(i, j) / sum_j cos(i, j)`` is the inner product of a row of `left` and a row of `right`. So the new
    rows are ``left @ (right.T @ E)`` and cost the helper's width instead of the overlap's size.

    Parameters
    ----------
    rows : ndarray of int64, shape (n_new,)
        New tokens with a vector in the helper.
    anchors : ndarray of int64, shape (n_anchors,)
        Source ids of the shared tokens.
    left : ndarray of float64 (float32 in a plan), shape (n_new, dim)
        Unit rows of the helper, each over its sum of cosines.
    right : ndarray of float64 (float32 in a plan), shape (n_anchors, dim)
        Unit rows of the helper.
    sums : ndarray of float64, shape (n_new,)
        The sum of each row's cosines. Near 0, where those of either sign cancel, the row becomes very large.
    """

    rows: NDArray[np.int64]
    anchors: NDArray[np.int64]
    left: NDArray[np.floating]
    right: NDArray[np.floating]
    sums: NDArray[np.float64]

    def apply(self, matrix: NDArray[Any]) -> NDArray[Any]:
        """Rows of the new tokens, shape (n_new, width), in the dtype of `matrix`.

        Time ``2 (n_new + n_anchors) dim width`` operations, memory one float64 copy of the anchors' rows and
        of the result. Products run in one thread, for the same bits on any number of them.
        """
        with threadpool_limits(1, user_api="blas"):
            core = self.right.T @ matrix[self.anchors].astype(np.float64)
            return (self.left @ core).astype(matrix.dtype)


def clp(
    src_tokenizer: AnyTokenizer | Vocabulary,
    tgt_tokenizer: AnyTokenizer | Vocabulary,
    *,
    helper_matrix: NDArray[np.floating],
    plus: bool = False,
    top: int | None = None,
) -> TransferPlan:
    """Copy the tokens that both have; mix each other one from all of them by likeness in a helper model.

    The weights of a new row are ``cos(i, j) / sum_j cos(i, j)``, negative ones included, over every copied
    token *j*. Special tokens are matched by role; as published, they are among the copied ones.

    Parameters
    ----------
    src_tokenizer, tgt_tokenizer : tokenizer or Vocabulary
    helper_matrix : ndarray, shape (>= n_tgt, dim)
        Input embeddings of a model that has the target tokenizer. Rows past the vocabulary are not read.
    plus : bool
        CLP+: sparsemax of the cosines instead, which is sparse and never negative.
    top : int, optional
        Only the nearest copied tokens of each new one. None is the published rule, whose rows are dense: the
        plan keeps them as a product of thin matrices (:class:`vocab.plan.low_rank.LowRank`).

    Returns
    -------
    TransferPlan
        ``COPIED``, ``SPECIAL`` and ``MIXED`` rows; tokens without a row in the helper (all zeros) and those
        whose cosines sum to 0 are left ``EMPTY`` for a fallback.

    Raises
    ------
    InputError
        For a helper that is too small or not finite.
    UsageError
        For `top` below 1 or together with `plus`.

    Warns
    -----
    UserWarning
        If nothing can be mixed, or for the number of rows whose cosines nearly cancel or sum to less than 0.

    Notes
    -----
    As published, time and memory grow with ``(n_new + n_anchors) dim``. With `top` or `plus`, time is
    ``2 n_new n_anchors dim`` operations and memory float32 copies of the helper's rows, 0.3 GiB and 40 bytes
    an entry. The same bits for any number of threads.
    """
    if top is not None and (top < 1 or plus):
        raise UsageError(
            "top must be 1 or more, and not with plus", got=f"top={top}, plus={plus}", wanted="one of the two"
        )
    src, tgt = Vocabulary.of(src_tokenizer), Vocabulary.of(tgt_tokenizer)
    return _clp(src, tgt, overlap(src, tgt), helper_matrix, plus, top)


def clp_factors(
    src_tokenizer: AnyTokenizer | Vocabulary,
    tgt_tokenizer: AnyTokenizer | Vocabulary,
    *,
    helper_matrix: NDArray[np.floating],
) -> ClpFactors:
    """The new rows of :func:`clp` as published, as factors in float64.

    Raises
    ------
    InputError
        For a helper that is too small or not finite.

    Notes
    -----
    Time and memory grow with ``(n_new + n_anchors) dim``.
    """
    src, tgt = Vocabulary.of(src_tokenizer), Vocabulary.of(tgt_tokenizer)
    taken = overlap(src, tgt)
    return _factors(taken, *_sides(tgt, taken, helper_matrix), helper_matrix)


def _sides(
    tgt: Vocabulary, taken: Overlap, helper: NDArray[np.floating]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Target ids that are mixed, and those they are mixed from."""
    if helper.ndim != 2 or len(helper) < len(tgt):
        raise InputError(
            "the helper's matrix has fewer rows than the target vocabulary",
            got=helper.shape,
            wanted=f"({len(tgt)} or more, dim)",
            hint="Take a helper model that has the target tokenizer",
        )
    if not np.isfinite(helper[: len(tgt)]).all():
        raise InputError("the helper's matrix holds NaN or infinite values")
    known = helper[: len(tgt)].any(axis=1) & np.array([bool(token) for token in tgt.tokens], bool)
    return np.flatnonzero(known & taken.new & ~tgt.special), np.flatnonzero(known & ~taken.new)


def _factors(
    taken: Overlap,
    new: NDArray[np.int64],
    shared: NDArray[np.int64],
    helper: NDArray[np.floating],
    dtype: type[np.floating] = np.float64,
) -> ClpFactors:
    """The factors; computed in float64, a block at a time, and kept in `dtype`."""
    right, left = (np.empty((len(ids), helper.shape[1]), dtype) for ids in (shared, new))
    total, sums = np.zeros(helper.shape[1]), np.empty(len(new))
    for part, rows in _unit_rows(helper, shared):
        right[part] = rows
        total += rows.sum(axis=0)
    for part, rows in _unit_rows(helper, new):
        sums[part] = np.einsum("ij,j->i", rows, total)
        rows /= np.where(sums[part] == 0, 1.0, sums[part])[:, None]
        left[part] = rows
    usable = sums != 0
    if not usable.all():
        new, left, sums = new[usable], left[usable], sums[usable]
    return ClpFactors(new, taken.found[shared], left, right, sums)


def _unit_rows(
    helper: NDArray[np.floating], ids: NDArray[np.int64]
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Rows of the helper, none of them zero, at length 1."""
    for start in range(0, len(ids), _BLOCK_ROWS):
        part = slice(start, start + _BLOCK_ROWS)
        rows = helper[ids[part]].astype(np.float64)
        rows /= np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
        yield part, rows


def _clp(
    src: Vocabulary,
    tgt: Vocabulary,
    taken: Overlap,
    helper: NDArray[np.floating],
    plus: bool,
    top: int | None,
) -> TransferPlan:
    new, shared = _sides(tgt, taken, helper)
    if len(new) and not len(shared):
        warnings.warn("clp found no shared token with a row in the helper: nothing is mixed", stacklevel=3)
    if not len(shared):
        new = new[:0]
    factors = None
    if not len(new):
        mixtures = sp.csr_array((0, len(shared)), dtype=np.float32)
    elif plus:
        mixtures = sparsemax_mix(
            unit(helper[new].astype(np.float32)), unit(helper[shared].astype(np.float32))
        )
    elif top is None:
        factors = _factors(taken, new, shared, helper, np.float32)
        mixtures, new = sp.csr_array((0, len(shared)), dtype=np.float32), new[:0]
    else:
        mixtures, new = _nearest(new, helper[new], helper[shared], top)
    mixture_of = np.full(len(tgt), -1, np.int64)
    mixture_of[new] = np.arange(len(new))
    plan = anchored_plan(
        src,
        tgt,
        taken,
        mixtures,
        mixture_of=mixture_of,
        anchors=shared,
        method="clp-plus" if plus else "clp",
        options={"top": top, "dim": helper.shape[1], "anchors": len(shared)},
    )
    return plan if factors is None else _with_factors(plan, factors)


def _with_factors(plan: TransferPlan, factors: ClpFactors) -> TransferPlan:
    """Fill the mixed rows with the published weights, none of them written out."""
    _warn_cancelled(factors.sums)
    part = LowRank(factors.rows, factors.left, factors.anchors, factors.right)
    origins = plan.origins.copy()
    origins[part.rows] = Origin.MIXED
    return replace(plan, origins=origins, low_rank=(part,))


def _nearest(
    new: NDArray[np.int64], queries: NDArray[np.floating], candidates: NDArray[np.floating], top: int
) -> tuple[sp.csr_array, NDArray[np.int64]]:
    """The published weights over the nearest candidates alone, and whose they are."""
    found = top_k(queries, candidates, top)
    scores = found.scores.astype(np.float64)
    sums = scores.sum(axis=1)
    usable = sums != 0
    _warn_cancelled(sums[usable])
    weights = (scores[usable] / sums[usable, None]).astype(np.float32)
    indptr = np.arange(len(weights) + 1, dtype=np.int64) * weights.shape[1]
    indices = found.indices[usable].astype(np.int32).ravel()
    return sp.csr_array((weights.ravel(), indices, indptr), shape=(len(weights), len(candidates))), new[
        usable
    ]


def _warn_cancelled(sums: NDArray[np.float64]) -> None:
    n_odd = int((sums < _SMALL_SUM).sum())
    if n_odd:
        warnings.warn(
            f"the cosines of {n_odd} of {len(sums)} new tokens nearly cancel or sum to less than 0: "
            "their rows may be very large; clp-plus has none such",
            stacklevel=5,
        )
