"""Tokens that two vocabularies share, and plans that take them over and mix the others from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from vocab.methods.similarity import ranges
from vocab.plan import Origin, TransferPlan
from vocab.tokens import Vocabulary

Fuzzy = Literal["case", "text"]


@dataclass(frozen=True, eq=False)
class Overlap:
    """Which old row each new token takes over.

    Parameters
    ----------
    found : ndarray of int64, shape (n_tgt,)
        Source id, -1 for new tokens.
    origins : ndarray of uint8, shape (n_tgt,)
        ``COPIED`` for equal bytes, ``SPECIAL`` for equal roles, ``MAPPED`` for fuzzy matches, else ``EMPTY``.
    """

    found: NDArray[np.int64]
    origins: NDArray[np.uint8]

    @property
    def new(self) -> NDArray[np.bool_]:
        """Tokens that take nothing over."""
        return self.found < 0

    @property
    def ordinary(self) -> NDArray[np.bool_]:
        """Tokens that take over the row of an ordinary token: what others may be mixed from."""
        return (self.found >= 0) & (self.origins != Origin.SPECIAL)


def overlap(src: Vocabulary, tgt: Vocabulary, *, fuzzy: Fuzzy | None = None) -> Overlap:
    """Match tokens by their bytes and special tokens by role; then, if asked, by likeness.

    Parameters
    ----------
    fuzzy : {"case", "text"}, optional
        Match what has no equal with a token that differs in case only, or (``"text"``) in case and in
        surrounding white space; the lowest source id wins.
    """
    same_bytes, same_role = tgt.match(src)
    found = np.maximum(same_bytes, same_role)
    origins = np.zeros(len(tgt), np.uint8)
    origins[same_bytes >= 0] = Origin.COPIED
    origins[same_role >= 0] = Origin.SPECIAL
    if fuzzy is not None:
        first: dict[str, int] = {}
        for token_id, surface in enumerate(src.surfaces):
            key = _loose(surface, fuzzy)
            if key:
                first.setdefault(key, token_id)
        for token_id in np.flatnonzero((found < 0) & ~tgt.special).tolist():
            like = first.get(_loose(tgt.surfaces[token_id], fuzzy), -1)
            if like >= 0:
                found[token_id], origins[token_id] = like, Origin.MAPPED
    return Overlap(found, origins)


def _loose(surface: bytes, fuzzy: Fuzzy) -> str:
    """The form that alike tokens share; none for white space and fragments of characters."""
    try:
        text = surface.decode("utf-8")
    except UnicodeDecodeError:
        return ""
    bare = text.strip().lower()
    return bare if fuzzy == "text" or not bare else text.lower()


def anchored_plan(
    src: Vocabulary,
    tgt: Vocabulary,
    taken: Overlap,
    mixtures: sp.csr_array,
    *,
    mixture_of: NDArray[np.int64],
    anchors: NDArray[np.int64],
    method: str,
    options: Mapping[str, Any],
) -> TransferPlan:
    """A plan from what is taken over and from mixtures of it.

    Parameters
    ----------
    mixtures : csr_array, shape (n_mixtures, n_anchors)
    mixture_of : ndarray of int64, shape (n_tgt,)
        Which mixture a new token is; -1 for none.
    anchors : ndarray of int64, shape (n_anchors,)
        The target tokens that are mixed; their source rows stand for them.
    """
    rows = np.flatnonzero(mixture_of >= 0)
    sizes = np.zeros(len(tgt), np.int64)
    sizes[rows] = np.diff(mixtures.indptr)[mixture_of[rows]]
    origins = taken.origins.copy()
    origins[sizes > 0] = Origin.MIXED
    copies = np.flatnonzero(~taken.new)
    sizes[copies] = 1
    indptr = np.concatenate([[0], np.cumsum(sizes)])
    indices, values = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.float32)
    indices[indptr[copies]], values[indptr[copies]] = taken.found[copies], 1.0
    into = np.ones(len(indices), bool)
    into[indptr[copies]] = False
    old = taken.found[anchors].astype(np.int32)
    if len(rows) == mixtures.shape[0] and np.array_equal(mixture_of[rows], np.arange(len(rows))):
        indices[into], values[into] = old[mixtures.indices], mixtures.data
    else:
        entries = ranges(mixtures.indptr[mixture_of[rows]], np.diff(mixtures.indptr)[mixture_of[rows]])
        indices[into], values[into] = old[mixtures.indices[entries]], mixtures.data[entries]
    return TransferPlan(
        weights=sp.csr_array((values, indices, indptr), shape=(len(tgt), len(src))),
        origins=origins,
        method=method,
        options={method: dict(options)},
        src_tokens=src.tokens,
        tgt_tokens=tgt.tokens,
    )
