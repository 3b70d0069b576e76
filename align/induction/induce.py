"""Bilingual lexicon induction: the words of a target space that lie nearest to mapped source words."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from align.errors import InputError, UsageError
from align.induction.translations import Translations
from align.mapping.bilingual import BilingualMap
from align.neighbors import retrieve
from align.neighbors.criteria import Method
from align.scripts import in_script
from align.vectors import Vectors, WordVectors


def induce(
    src: Vectors,
    tgt: Vectors,
    mapping: BilingualMap | None = None,
    *,
    queries: Sequence[str] | None = None,
    retrieval: Method = "csls",
    top: int = 1,
    neighborhood: int = 10,
    src_limit: int | None = None,
    tgt_limit: int | None = None,
    candidates: Sequence[str] | NDArray[np.bool_] | None = None,
    script: str | None = None,
    mutual: bool = False,
    min_score: float | None = None,
) -> Translations:
    """Translate words by retrieval in a common space.

    Parameters
    ----------
    src, tgt : Vectors
    mapping : BilingualMap, optional
        Into the common space; without it both spaces are taken to be one already.
    queries : sequence of str, optional
        Source words to translate, all of the (limited) vocabulary by default. Repetitions are dropped. One
        outside the vocabulary is translated if the space has subwords, else it is not known.
    retrieval : {"csls", "nn", "isf", "invnn"}
        As in :func:`align.neighbors.retrieve`.
    top : int
        Translations of a query at most.
    neighborhood : int
        Neighbours in the densities of ``"csls"``.
    src_limit, tgt_limit : int, optional
        Keep the first words of each side: vocabulary, candidates and densities.
    candidates : sequence of str or ndarray of bool, shape (n_tgt,), optional
        Target words that may be chosen; densities are taken over these alone. All by default.
    script : str, optional
        Choose among the candidates of this script alone (``"LATIN"``, ``"SINHALA"``), ``"auto"`` for the one
        of most of the target vocabulary; words without letters stay. Vocabularies from the web hold many
        foreign words, which are hubs.
    mutual : bool
        Keep a translation only if the query is the best source word for it, by the same criterion.
    min_score : float, optional
        Keep translations with this score or a better one.

    Returns
    -------
    Translations

    Raises
    ------
    UsageError
        For an unknown criterion or script, or a number that is not positive.
    InputError
        For spaces of different width, or no candidates left.

    Warns
    -----
    UserWarning
        Once, if words in `candidates` are not in the target vocabulary.

    Notes
    -----
    Time: ``"nn"`` is one product ``n_queries x n_candidates x dim``; the others take one of the whole source
    vocabulary with the candidates besides, ``"csls"`` one of the queries more, and ``mutual`` about as much
    again. Memory: the mapped rows of both sides and what :func:`align.neighbors.top_k` states.
    """
    if top < 1 or neighborhood < 1:
        raise UsageError("top and neighborhood must be positive", got=f"{top} and {neighborhood}")
    src_table, tgt_table = src.table(src_limit), tgt.table(tgt_limit)
    if mapping is None and src_table.dim != tgt_table.dim:
        raise InputError(
            "spaces of different width need a map", got=f"{src_table.dim} and {tgt_table.dim} dimensions"
        )
    chosen, n_other_script = _candidate_rows(tgt_table, candidates, script)
    names = tuple(dict.fromkeys(src_table.words if queries is None else queries))
    rows = src_table.indices_of(names)

    src_rows, tgt_rows = src_table.matrix, _rows_of(tgt_table.matrix, chosen)
    if retrieval == "nn" and not mutual:  # no other row matters
        inside = np.flatnonzero(rows >= 0)
        src_rows, rows = src_rows[rows[inside]], rows.copy()
        rows[inside] = np.arange(len(inside))
    n_space = len(src_rows)
    known = rows >= 0
    if src.has_subwords and not known.all():
        outside = np.flatnonzero(~known)
        extra = src.vectors_of([names[i] for i in outside])
        given = extra.any(axis=1)
        rows[outside[given]] = n_space + np.arange(int(given.sum()))
        src_rows = np.concatenate([src_rows, extra[given]])
        known = rows >= 0
    if mapping is not None:
        src_rows, tgt_rows = mapping.map_src(src_rows), mapping.map_tgt(tgt_rows)

    # a rank among the source words can only be told of a query that is one of them
    space = src_rows if retrieval == "invnn" else src_rows[:n_space]
    found = retrieve(
        _rows_of(src_rows, rows[known]),
        tgt_rows,
        top,
        method=retrieval,
        src_space=space,
        src_rows=rows[known],
        neighborhood=neighborhood,
    )
    places, scores = found.indices, found.scores
    kept = np.ones(places.shape, np.bool_) if min_score is None else scores >= min_score
    if mutual and len(places):
        asked, slots = np.unique(places, return_inverse=True)
        back = retrieve(
            tgt_rows[asked],
            src_rows[:n_space],
            1,
            method=retrieval,
            src_space=tgt_rows,
            src_rows=asked,
            neighborhood=neighborhood,
        )
        kept &= back.indices[slots.reshape(places.shape), 0] == rows[known][:, None]
    indices = np.full((len(names), places.shape[1]), -1, np.int64)
    values = np.full(indices.shape, -np.inf, np.float32)
    order = np.argsort(~kept, axis=1, kind="stable")  # what stays moves to the front
    indices[known] = np.take_along_axis(np.where(kept, chosen[places], -1), order, axis=1)
    values[known] = np.take_along_axis(np.where(kept, scores, -np.inf), order, axis=1)
    return Translations(
        names,
        tgt_table.words,
        indices,
        values,
        known,
        method="identity" if mapping is None else mapping.method,
        retrieval=retrieval,
        n_candidates=len(chosen),
        n_other_script=n_other_script,
        whole_vocabulary=queries is None,
    )


def _rows_of(matrix: NDArray[np.floating], rows: NDArray[np.int64]) -> NDArray[np.floating]:
    """Chosen rows, without a copy where that is all of them in order."""
    return matrix if np.array_equal(rows, np.arange(len(matrix))) else matrix[rows]


def _candidate_rows(
    tgt: WordVectors, candidates: Sequence[str] | NDArray[np.bool_] | None, script: str | None
) -> tuple[NDArray[np.int64], int]:
    """Rows of the target table that may be chosen, and how many were left out for their script."""
    if isinstance(candidates, np.ndarray) and candidates.dtype == np.bool_:
        if candidates.shape != (len(tgt),):
            raise InputError("not one candidate flag a target word", got=candidates.shape, wanted=(len(tgt),))
        mask = candidates.copy()
    elif candidates is not None:
        asked = list(dict.fromkeys(candidates))
        rows = tgt.indices_of(asked)
        mask = np.zeros(len(tgt), np.bool_)
        mask[rows[rows >= 0]] = True
        n_unknown = int((rows < 0).sum())
        if n_unknown:
            warnings.warn(
                f"{n_unknown} of {len(asked)} candidates are not in the target vocabulary", stacklevel=3
            )
    else:
        mask = np.ones(len(tgt), np.bool_)
    n_before = int(mask.sum())
    if script is not None:
        mask &= in_script(tgt.words, script)[0]
    n_left = int(mask.sum())
    if n_left == 0:
        raise InputError("no candidates are left", got=f"{len(tgt)} target words")
    return np.flatnonzero(mask), n_before - n_left
