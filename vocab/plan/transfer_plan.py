"""TransferPlan: every embedding initialisation as a sparse matrix from old rows to new rows.

A plan says of each new row which old rows it is made of. It knows nothing of the model's width, so it is
made once and applied to input embeddings, an untied head and a bias alike, saved, combined and explained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from align.errors import InputError
from vocab.plan.low_rank import LowRank
from vocab.plan.norms import Norm, rescale, wanted_norms
from vocab.plan.sampling import Sampling, draw_grouped

if TYPE_CHECKING:
    from vocab.plan.rows import OriginShare, RowExplanation

Side = Literal["input", "head"]

_OWN_ROWS: NDArray[np.int64] = np.empty(0, np.int64)  # default of `sample_keys`: every row keys itself
_NO_GROUPS: NDArray[np.int32] = np.empty(0, np.int32)  # default of the groups: all old rows, for every row


class Origin(IntEnum):
    """How a new row came about. The values are stored in files: append, never renumber."""

    EMPTY = 0  # the method has nothing to say; `then` fills it from the next plan
    COPIED = 1  # the same bytes in the same position class: one old row with weight 1
    MAPPED = 2  # one old row with weight 1, chosen by other evidence than equal bytes
    MIXED = 3  # a weighted sum of old rows chosen by meaning (neighbours, translations)
    COMPOSED = 4  # a weighted sum by form: of the old tokenizer's pieces of it, or by tokens that overlap it
    SAMPLED = 5  # drawn from a distribution over the old rows when the plan is applied
    SPECIAL = 6  # a special token, matched by its role


@dataclass(frozen=True, eq=False)
class TransferPlan:
    """New rows as weighted sums of old rows.

    Parameters
    ----------
    weights : csr_array, shape (n_tgt, n_src), float32
        Row *i* holds the weights of new token *i* over the old tokens.
    origins : ndarray of uint8, shape (n_tgt,)
        An :class:`Origin` for every row.
    method : str
        Name of the method, or of several joined by ``" > "`` (row-wise fallback).
    options : mapping
        The method's options, by method name.
    src_tokens, tgt_tokens : tuple of str
        Token strings by id, for explanations.
    sampling : Sampling, optional
        Distribution of the rows whose origin is ``SAMPLED``.
    sample_keys : ndarray of int64, shape (n_tgt,), optional
        Key of each sampled row's random stream; its row number unless the plan was composed.
    sample_groups, src_groups : ndarray of int32, shapes (n_tgt,) and (n_src,), optional
        A sampled row is drawn around the old rows of the same group; around all of them for group -1, the
        default.
    norm, head_norm : {"none", "sources", "source-mean", "script-median"}
        To what length the sums of rows (mixed, composed) of the input matrix and of the head are brought, as
        convex combinations shrink: ``"sources"`` is the weighted mean norm of the rows they are made of,
        ``"source-mean"`` the mean norm of all old rows, ``"script-median"`` the median norm of the old rows
        of the token's script (of all, where it has none). Biases are never rescaled. Longer head rows make a
        model surer of new tokens than it has reason to be: leave `head_norm` alone unless it was measured.
    scripts : (ndarray of int32, ndarray of int32), optional
        A number for the script of each new and of each old token, -1 for none: what ``"script-median"`` goes
        by (:func:`vocab.plan.norms.script_numbers`).
    low_rank : tuple of LowRank
        Parts that are added to the rows of `weights`: rows that are mixed from too many old rows to write
        their weights out.

    Raises
    ------
    InputError
        For shapes that do not fit, weights that are not finite, or rows whose origin contradicts them.
    """

    weights: sp.csr_array
    origins: NDArray[np.uint8]
    method: str
    options: Mapping[str, Any]
    src_tokens: tuple[str, ...]
    tgt_tokens: tuple[str, ...]
    sampling: Sampling | None = None
    sample_keys: NDArray[np.int64] = field(default_factory=lambda: _OWN_ROWS)
    norm: Norm = "none"
    head_norm: Norm = "none"
    scripts: tuple[NDArray[np.int32], NDArray[np.int32]] | None = None
    sample_groups: NDArray[np.int32] = field(default_factory=lambda: _NO_GROUPS)
    src_groups: NDArray[np.int32] = field(default_factory=lambda: _NO_GROUPS)
    low_rank: tuple[LowRank, ...] = ()

    def __post_init__(self) -> None:
        weights = sp.csr_array(self.weights, dtype=np.float32, copy=True)
        weights.sum_duplicates()
        weights.eliminate_zeros()
        weights.sort_indices()
        origins = np.ascontiguousarray(self.origins, dtype=np.uint8)
        keys = np.arange(weights.shape[0]) if self.sample_keys is _OWN_ROWS else self.sample_keys
        object.__setattr__(self, "weights", weights)
        object.__setattr__(self, "origins", origins)
        object.__setattr__(self, "sample_keys", np.ascontiguousarray(keys, dtype=np.int64))
        object.__setattr__(self, "low_rank", tuple(part for part in self.low_rank if len(part.rows)))
        for name, size in (("sample_groups", weights.shape[0]), ("src_groups", weights.shape[1])):
            groups = getattr(self, name)
            groups = np.full(size, -1) if groups is _NO_GROUPS else groups
            object.__setattr__(self, name, np.ascontiguousarray(groups, dtype=np.int32))
        self._check()

    def _check(self) -> None:
        shape = (len(self.tgt_tokens), len(self.src_tokens))
        if self.weights.shape != shape:
            raise InputError(
                "the plan's matrix does not fit its tokens", got=self.weights.shape, wanted=shape
            )
        if self.origins.shape != (self.n_tgt,) or self.sample_keys.shape != (self.n_tgt,):
            raise InputError("a plan needs one origin and one key a row", got=self.origins.shape)
        if (self.sample_keys < 0).any():
            raise InputError("a negative key of a sampled row", got=self.sample_keys.min())
        if not np.isfinite(self.weights.data).all():
            raise InputError("the plan holds weights that are not finite", wanted="finite float32")
        for norm in (self.norm, self.head_norm):
            if norm not in get_args(Norm):
                raise InputError("unknown norm policy", got=norm, wanted=" or ".join(get_args(Norm)))
            if norm == "script-median" and self.scripts is None:
                raise InputError("script-median needs scripts", wanted="scripts=script_numbers(src, tgt)")
        if self.scripts is not None and [len(side) for side in self.scripts] != [self.n_tgt, self.n_src]:
            raise InputError("a plan needs one script a token", got=[len(side) for side in self.scripts])
        if self.n_tgt and self.origins.max() > max(Origin):
            raise InputError("unknown origin", got=self.origins.max(), wanted=f"0 to {max(Origin):d}")
        for part in self.low_rank:
            part.check(self.n_tgt, self.n_src)
        filled = (np.diff(self.weights.indptr) > 0) | self.dense
        unfilled = np.isin(self.origins, (Origin.EMPTY, Origin.SAMPLED))
        wrong = np.flatnonzero(filled == unfilled)
        if len(wrong):
            row = int(wrong[0])
            n_weights = int(np.diff(self.weights.indptr)[row])
            raise InputError(
                "a row's origin contradicts its weights",
                got=f"{Origin(self.origins[row]).name.lower()} with {n_weights} weights",
                where=f"row {row} ({self.tgt_tokens[row]!r})",
            )
        if self.sampling is None and (self.origins == Origin.SAMPLED).any():
            raise InputError("the plan has sampled rows but no distribution", wanted="sampling=Sampling(...)")
        if self.sample_groups.shape != (self.n_tgt,) or self.src_groups.shape != (self.n_src,):
            raise InputError(
                "a plan needs one group a row", got=(len(self.sample_groups), len(self.src_groups))
            )
        drawn = self.sample_groups[self.origins == Origin.SAMPLED]
        if not np.isin(drawn[drawn >= 0], self.src_groups).all():
            raise InputError("sampled rows of a group that no old row is in")

    @classmethod
    def from_entries(
        cls,
        rows: NDArray[np.integer[Any]] | Sequence[int],
        cols: NDArray[np.integer[Any]] | Sequence[int],
        values: NDArray[np.floating[Any]] | Sequence[float],
        origin: Origin | NDArray[np.uint8],
        *,
        src_tokens: Sequence[str],
        tgt_tokens: Sequence[str],
        method: str,
        options: Mapping[str, Any] | None = None,
    ) -> TransferPlan:
        """Build a plan from (new id, old id, weight) entries; rows without an entry are ``EMPTY``.

        ``origin`` is one value for all filled rows, or an array with one value a row.
        """
        shape = (len(tgt_tokens), len(src_tokens))
        values = np.asarray(values, dtype=np.float32)
        weights = sp.csr_array(
            sp.coo_array((values, (np.asarray(rows, np.int64), np.asarray(cols, np.int64))), shape=shape)
        )
        weights.sum_duplicates()
        weights.eliminate_zeros()
        filled = np.diff(weights.indptr) > 0
        origins = np.where(filled, np.asarray(origin, np.uint8), np.uint8(Origin.EMPTY))
        return cls(
            weights=weights,
            origins=origins,
            method=method,
            options={method: dict(options or {})},
            src_tokens=tuple(src_tokens),
            tgt_tokens=tuple(tgt_tokens),
        )

    def __repr__(self) -> str:
        n_weights = len(self.weights.data)
        rows = np.bincount(self.origins, minlength=len(Origin))
        told = ", ".join(f"{rows[one]:,} {one.name.lower()}" for one in Origin if rows[one])
        return (
            f"<TransferPlan {self.method!r}: {self.n_tgt:,} x {self.n_src:,}, {n_weights:,} weights; "
            f"rows: {told}>"
        )

    @property
    def n_src(self) -> int:
        """Number of old tokens."""
        return int(self.weights.shape[1])

    @property
    def n_tgt(self) -> int:
        """Number of new tokens."""
        return int(self.weights.shape[0])

    @cached_property
    def dense(self) -> NDArray[np.bool_]:
        """Which rows have a low-rank part, shape (n_tgt,)."""
        found = np.zeros(self.n_tgt, bool)
        for part in self.low_rank:
            found[part.rows] = True
        return found

    @cached_property
    def whole_rows(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows that are exactly one old row (weight 1), and which old row each is."""
        indptr = self.weights.indptr
        rows = np.flatnonzero(np.diff(indptr) == 1)
        rows = rows[(self.weights.data[indptr[rows]] == 1.0) & ~self.dense[rows]]
        return rows.astype(np.int64), self.weights.indices[indptr[rows]].astype(np.int64)

    @property
    def summed(self) -> NDArray[np.bool_]:
        """Which rows a norm policy rescales, shape (n_tgt,): sums of old rows, not one of them whole."""
        summed = np.isin(self.origins, (Origin.MIXED, Origin.COMPOSED))
        summed[self.whole_rows[0]] = False
        return summed

    def apply(self, matrix: NDArray[Any], *, side: Side = "input") -> NDArray[Any]:
        """Compute the new rows.

        Parameters
        ----------
        matrix : ndarray, shape (>= n_src, dim) or (>= n_src,)
            Old embeddings, head rows or bias, float16, float32 or float64. Rows past ``n_src`` are padding
            and are not read.
        side : {"input", "head"}
            Decides between `norm` and `head_norm`.

        Returns
        -------
        ndarray, shape (n_tgt, dim) or (n_tgt,), of the dtype of `matrix`
            Rows with a single weight of 1 are bit-identical to their source. Sampled entries of a bias are
            the bias's mean.

        Raises
        ------
        InputError
            For empty rows, too few rows, values that are not finite, or new ones too large for the dtype.

        Notes
        -----
        O(nnz * dim) time, and that of :meth:`vocab.plan.low_rank.LowRank.add_to` for each low-rank part;
        float32 (float64 for float64 input) copies of the old and the new matrix. The
        product runs in one thread and random streams belong to rows, so the result has the same bits
        whatever the thread count.
        """
        empty = np.flatnonzero(self.origins == Origin.EMPTY)
        if len(empty):
            raise InputError(
                f"{len(empty)} rows of the plan are empty, the first is {self.tgt_tokens[empty[0]]!r}",
                hint="chain a fallback: plan.then(vocab.methods.mean(src_tokenizer, tgt_tokenizer))",
            )
        if matrix.dtype not in (np.float16, np.float32, np.float64):
            raise InputError("the old matrix is not of floats", got=matrix.dtype, wanted="float16, 32 or 64")
        if matrix.ndim not in (1, 2) or matrix.shape[0] < self.n_src:
            raise InputError(
                "the old matrix has fewer rows than the plan's source vocabulary",
                got=matrix.shape,
                wanted=f"({self.n_src} or more, dim)",
            )
        old = matrix[: self.n_src]
        compute = old.astype(np.promote_types(old.dtype, np.float32), copy=False)
        if not np.isfinite(compute).all():
            raise InputError(
                "the old matrix holds NaN or infinite values", hint="repair the checkpoint first"
            )
        new = self.weights @ compute
        for part in self.low_rank:
            part.add_to(new, compute)
        norm = self.norm if side == "input" else self.head_norm
        if norm != "none" and matrix.ndim == 2:
            wanted = wanted_norms(norm, compute, self.weights, self.low_rank, self.scripts)
            rescale(new, wanted, self.summed)
        out = self._narrowed(new, matrix.dtype)
        rows, cols = self.whole_rows
        out[rows] = old[cols]  # not through the product: 0.0 + (-0.0) would lose a sign
        drawn = np.flatnonzero(self.origins == Origin.SAMPLED)
        if len(drawn) and self.sampling is not None:
            keys, groups = self.sample_keys[drawn], self.sample_groups[drawn]
            draw_grouped(out, drawn, compute, self.sampling, keys, groups, self.src_groups)
        return out

    def _narrowed(self, new: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
        """The new rows in the dtype of the old ones."""
        if new.dtype == dtype:
            return new
        largest = np.abs(new).reshape(len(new), -1).max(axis=1, initial=0.0)
        if (largest > np.finfo(dtype).max).any():
            row = int(largest.argmax())
            raise InputError(
                f"the new row of {self.tgt_tokens[row]!r} is too large for {dtype}",
                got=f"values up to {largest[row]:.3g}",
                hint="give rows a length (--norm source-mean), write float32, or choose another method",
            )
        return new.astype(dtype)

    def then(self, second: TransferPlan) -> TransferPlan:
        """Fill this plan's empty rows from `second`: see :func:`vocab.plan.algebra.then`."""
        from vocab.plan.algebra import then

        return then(self, second)

    def mix(self, other: TransferPlan, alpha: float) -> TransferPlan:
        """``alpha * self + (1 - alpha) * other``: see :func:`vocab.plan.algebra.mix`."""
        from vocab.plan.algebra import mix

        return mix(self, other, alpha)

    def compose(self, after: TransferPlan) -> TransferPlan:
        """This plan, then `after`, as one plan: see :func:`vocab.plan.algebra.compose`."""
        from vocab.plan.algebra import compose

        return compose(self, after)

    def save(self, folder: str | Path) -> Path:
        """Write ``plan.safetensors`` and ``plan.json`` into `folder`, deterministically."""
        from vocab.plan.files import save_plan

        return save_plan(self, folder)

    @staticmethod
    def load(folder: str | Path, *, head: bool = False) -> TransferPlan:
        """Read a plan, from a finished model directory too: see :func:`vocab.plan.files.load_plan`."""
        from vocab.plan.files import load_plan

        return load_plan(folder, head=head)

    def with_norm(
        self,
        norm: Norm,
        head_norm: Norm = "none",
        *,
        scripts: tuple[NDArray[np.int32], NDArray[np.int32]] | None = None,
    ) -> TransferPlan:
        """The same plan under other norm policies."""
        return replace(self, norm=norm, head_norm=head_norm, scripts=scripts)

    def differing_rows(self, other: TransferPlan, *, atol: float = 0.0) -> NDArray[np.int64]:
        """Ids of the rows whose origin or weights differ by more than `atol`."""
        from vocab.plan.algebra import differing_rows

        return differing_rows(self, other, atol=atol)

    def rows_of_weights(self, rows: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
        """The weights of some new rows written out, low-rank part included, shape (len(rows), n_src)."""
        weights: NDArray[np.float64] = self.weights[rows].astype(np.float64).toarray()
        for part in self.low_rank:
            part.add_weights(weights, rows.astype(np.int64))
        return weights

    @cached_property
    def tgt_ids(self) -> dict[str, int]:
        """Id of every new token's string."""
        return {token: i for i, token in enumerate(self.tgt_tokens)}

    def row_id(self, token: str | int) -> int:
        """Id of a new token: see :func:`vocab.plan.rows.row_id`."""
        from vocab.plan.rows import row_id

        return row_id(self, token)

    def explain(self, token: str | int, *, top: int = 10) -> RowExplanation:
        """Of which old rows a new row is made, heaviest first."""
        from vocab.plan.rows import explain

        return explain(self, token, top=top)

    def summary(self, token_counts: NDArray[np.integer[Any]] | None = None) -> list[OriginShare]:
        """Rows by origin: see :func:`vocab.plan.rows.summary`."""
        from vocab.plan.rows import summary

        return summary(self, token_counts)
