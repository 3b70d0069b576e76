"""Combining plans: fall back row by row, mix, compose, compare."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from align.errors import InputError
from vocab.plan.low_rank import LowRank
from vocab.plan.sampling import Sampling
from vocab.plan.transfer_plan import Origin, TransferPlan

_NOT_LINEAR = (Origin.EMPTY, Origin.SAMPLED)
_BLOCK_ROWS = 128  # rows written out at a time


def then(first: TransferPlan, second: TransferPlan) -> TransferPlan:
    """Fill the empty rows of `first` from `second` (row-wise fallback)."""
    take = first.origins == Origin.EMPTY
    return _combine(first, second, (~take).astype(np.float32), take, f"{first.method} > {second.method}")


def mix(first: TransferPlan, other: TransferPlan, alpha: float) -> TransferPlan:
    """``alpha * first + (1 - alpha) * other``, row by row.

    A row that only one of the plans makes of old rows is taken from that plan whole; special tokens keep the
    row of `first`. Rows of the same weights in both keep the origin of `first`; so do, at an `alpha` of 1 or
    0, those of the plan that is all there is.
    """
    if not 0.0 <= alpha <= 1.0:
        raise InputError("the mixing weight is out of range", got=alpha, wanted="0 <= alpha <= 1")
    linear = ~np.isin(first.origins, _NOT_LINEAR)
    other_linear = ~np.isin(other.origins, _NOT_LINEAR)
    both = linear & other_linear & (first.origins != Origin.SPECIAL) & _differs(first, other)
    take = (~linear & ((first.origins == Origin.EMPTY) | other_linear)) | (both & (alpha == 0))
    share = np.where(both, alpha, np.where(take, 0.0, 1.0)).astype(np.float32)
    mixed = _combine(
        first, other, share, take, f"{alpha:g} ({first.method}) + {1 - alpha:g} ({other.method})"
    )
    if 0 < alpha < 1:
        composed = (first.origins == Origin.COMPOSED) & (other.origins == Origin.COMPOSED)
        mixed.origins[both & ~composed] = Origin.MIXED
    return mixed


def compose(first: TransferPlan, after: TransferPlan) -> TransferPlan:
    """The plan that equals applying `first` and then `after`.

    Raises
    ------
    InputError
        When the middle vocabularies differ, when a plan rescales norms, or when `after` mixes or draws
        sampled rows, which no single plan expresses (they may only be carried over whole).

    Notes
    -----
    A row made of rows that `first` leaves empty, even in part, is empty.
    """
    if first.tgt_tokens != after.src_tokens:
        raise InputError(
            "plans do not meet: the first makes other tokens than the second reads",
            got=f"{first.n_tgt} and {after.n_src} tokens",
        )
    if {first.norm, first.head_norm, after.norm, after.head_norm} != {"none"}:
        raise InputError("plans that rescale norms do not compose", hint="apply them one after the other")
    rows, middle = after.whole_rows
    whole = np.zeros(after.n_tgt, dtype=bool)
    whole[rows] = True
    uses_sampled = after.weights[:, np.flatnonzero(first.origins == Origin.SAMPLED)]
    lost = ((np.diff(uses_sampled.indptr) > 0) & ~whole) | (after.origins == Origin.SAMPLED)
    lost |= _reads(after, first.origins == Origin.SAMPLED)
    if lost.any():
        raise InputError(
            f"{int(lost.sum())} rows of the second plan mix or draw sampled rows",
            hint="apply the plans one after the other",
        )
    origins, keys, groups = after.origins.copy(), after.sample_keys.copy(), np.full(after.n_tgt, -1)
    # a row carried over whole keeps its origin, except that a copy of a special token is what `after` says
    origins[rows] = np.where(
        np.isin(first.origins[middle], _NOT_LINEAR) | (origins[rows] == Origin.COPIED),
        first.origins[middle],
        origins[rows],
    )
    keys[rows], groups[rows] = first.sample_keys[middle], first.sample_groups[middle]
    uses_empty = np.diff(after.weights[:, np.flatnonzero(first.origins == Origin.EMPTY)].indptr) > 0
    uses_empty |= _reads(after, first.origins == Origin.EMPTY)
    kept = (~uses_empty).astype(np.float32)
    weights = sp.csr_array(sp.diags_array(kept) @ after.weights @ first.weights)
    weights.eliminate_zeros()
    low_rank = _scaled(_composed_low_rank(first, after), kept)
    unfilled = np.diff(weights.indptr) == 0
    for part in low_rank:
        unfilled[part.rows] = False
    origins[unfilled & (origins != Origin.SAMPLED)] = Origin.EMPTY
    return TransferPlan(
        weights=weights,
        origins=origins,
        method=f"({first.method}) | ({after.method})",
        options={**first.options, **after.options},
        src_tokens=first.src_tokens,
        tgt_tokens=after.tgt_tokens,
        sampling=first.sampling,
        sample_keys=keys,
        sample_groups=groups,
        src_groups=first.src_groups,
        low_rank=low_rank,
    )


def _reads(plan: TransferPlan, old: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """New rows whose low-rank part gives a weight to one of these old rows."""
    reading = np.zeros(plan.n_tgt, bool)
    for part in plan.low_rank:
        if part.right[old[part.anchors]].any():
            reading[part.rows] = True
    return reading


def _composed_low_rank(first: TransferPlan, after: TransferPlan) -> list[LowRank]:
    """``(W2 + L2 R2') (W1 + L1 R1') - W2 W1``: one part for each of the two plans' parts."""
    parts = []
    for part in first.low_rank:
        left = np.zeros((after.n_tgt, part.left.shape[1]))
        left += after.weights[:, part.rows] @ part.left.astype(np.float64)
        for outer in after.low_rank:
            _, here, there = np.intersect1d(outer.anchors, part.rows, return_indices=True)
            core = outer.right[here].astype(np.float64).T @ part.left[there].astype(np.float64)
            left[outer.rows] += outer.left @ core
        rows = np.flatnonzero(left.any(axis=1))
        parts.append(LowRank(rows, left[rows].astype(np.float32), part.anchors, part.right))
    for outer in after.low_rank:
        right = first.weights[outer.anchors].T @ outer.right.astype(np.float64)
        anchors = np.flatnonzero(right.any(axis=1))
        parts.append(LowRank(outer.rows, outer.left, anchors, right[anchors].astype(np.float32)))
    return parts


def _scaled(parts: Iterable[LowRank], share: NDArray[np.float32]) -> tuple[LowRank, ...]:
    scaled = (part.scaled(share) for part in parts)
    return tuple(part for part in scaled if part is not None)


def differing_rows(first: TransferPlan, second: TransferPlan, *, atol: float = 0.0) -> NDArray[np.int64]:
    """Ids of the rows whose origin or weights differ by more than `atol`.

    Rows with low-rank parts that are not the same arrays are written out to be compared: ``n_src * rank``
    operations each.
    """
    differences = _sparse_differences(first, second)
    dense = np.flatnonzero(_dense_in_one(first, second))
    for start in range(0, len(dense), _BLOCK_ROWS):
        rows = dense[start : start + _BLOCK_ROWS]
        difference = first.rows_of_weights(rows) - second.rows_of_weights(rows)
        differences[rows] = np.abs(difference).max(axis=1, initial=0.0)
    return np.flatnonzero((differences > atol) | (first.origins != second.origins)).astype(np.int64)


def _differs(first: TransferPlan, second: TransferPlan) -> NDArray[np.bool_]:
    """Rows whose weights may differ; where low-rank parts are not the same arrays, all their rows."""
    return (_sparse_differences(first, second) > 0) | _dense_in_one(first, second)


def _sparse_differences(first: TransferPlan, second: TransferPlan) -> NDArray[np.float32]:
    """Largest difference of the written-out weights of each row."""
    _check_same_tokens(first, second)
    difference = sp.csr_array(abs(first.weights - second.weights))
    return difference.max(axis=1).toarray().ravel()


def _dense_in_one(first: TransferPlan, second: TransferPlan) -> NDArray[np.bool_]:
    """Rows with a low-rank part in either plan, unless both plans have the same parts."""
    parts, others = first.low_rank, second.low_rank
    same = len(parts) == len(others) and all(map(LowRank.same_as, parts, others))
    return np.zeros(first.n_tgt, bool) if same else first.dense | second.dense


def _combine(
    first: TransferPlan,
    second: TransferPlan,
    share: NDArray[np.float32],
    take_second: NDArray[np.bool_],
    method: str,
) -> TransferPlan:
    """``share`` of the first and the rest of the second; origin, draws and keys by `take_second`."""
    _check_same_tokens(first, second)
    weights = sp.diags_array(share) @ first.weights + sp.diags_array(1 - share) @ second.weights
    sampling, src_groups = _one_sampling(first, second, take_second)
    return TransferPlan(
        weights=sp.csr_array(weights),
        origins=np.where(take_second, second.origins, first.origins),
        method=method,
        options={**second.options, **first.options},
        src_tokens=first.src_tokens,
        tgt_tokens=first.tgt_tokens,
        sampling=sampling,
        sample_keys=np.where(take_second, second.sample_keys, first.sample_keys),
        norm=first.norm,
        head_norm=first.head_norm,
        scripts=first.scripts,
        sample_groups=np.where(take_second, second.sample_groups, first.sample_groups),
        src_groups=src_groups,
        low_rank=_scaled(first.low_rank, share) + _scaled(second.low_rank, 1 - share),
    )


def _check_same_tokens(first: TransferPlan, second: TransferPlan) -> None:
    if first.src_tokens != second.src_tokens or first.tgt_tokens != second.tgt_tokens:
        raise InputError(
            "plans for different vocabularies cannot be combined",
            got=f"{first.n_tgt} x {first.n_src} and {second.n_tgt} x {second.n_src} tokens",
        )


def _one_sampling(
    first: TransferPlan, second: TransferPlan, take_second: NDArray[np.bool_]
) -> tuple[Sampling | None, NDArray[np.int32]]:
    """The distribution and the groups of a combination's sampled rows; two cannot share a plan."""
    used_first = bool((first.origins[~take_second] == Origin.SAMPLED).any())
    used_second = bool((second.origins[take_second] == Origin.SAMPLED).any())
    same = first.sampling == second.sampling and np.array_equal(first.src_groups, second.src_groups)
    if used_first and used_second and not same:
        raise InputError(
            "two different distributions in one plan",
            got=f"{first.sampling} and {second.sampling}",
            wanted="at most one sampled fallback in a chain",
        )
    if used_first:
        return first.sampling, first.src_groups
    return (second.sampling if used_second else None), second.src_groups
