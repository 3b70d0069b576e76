"""Combining plans: fall back row by row, mix, compose, compare."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from align.errors import InputError
from vocab.plan import Origin, TransferPlan
from vocab.sampling import Sampling

_NOT_LINEAR = (Origin.EMPTY, Origin.SAMPLED)


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
    both = linear & other_linear & (first.origins != Origin.SPECIAL) & (_differences(first, other) > 0)
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
    if first.norm != "none" or after.norm != "none":
        raise InputError("plans that rescale norms do not compose", hint="apply them one after the other")
    rows, middle = after.whole_rows
    whole = np.zeros(after.n_tgt, dtype=bool)
    whole[rows] = True
    uses_sampled = after.weights[:, np.flatnonzero(first.origins == Origin.SAMPLED)]
    lost = ((np.diff(uses_sampled.indptr) > 0) & ~whole) | (after.origins == Origin.SAMPLED)
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
    weights = sp.csr_array(sp.diags_array((~uses_empty).astype(np.float32)) @ after.weights @ first.weights)
    weights.eliminate_zeros()
    unfilled = np.diff(weights.indptr) == 0
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
    )


def differing_rows(first: TransferPlan, second: TransferPlan, *, atol: float = 0.0) -> NDArray[np.int64]:
    """Ids of the rows whose origin or weights differ by more than `atol`."""
    differs = (_differences(first, second) > atol) | (first.origins != second.origins)
    return np.flatnonzero(differs).astype(np.int64)


def _differences(first: TransferPlan, second: TransferPlan) -> NDArray[np.float32]:
    """Largest difference of the weights of each row."""
    _check_same_tokens(first, second)
    difference = sp.csr_array(abs(first.weights - second.weights))
    return difference.max(axis=1).toarray().ravel()


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
        sample_groups=np.where(take_second, second.sample_groups, first.sample_groups),
        src_groups=src_groups,
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
