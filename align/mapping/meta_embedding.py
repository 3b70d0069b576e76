"""Meta-embeddings: one vector a word, averaged over several sources in a common space."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from align.errors import InputError
from align.mapping.multilingual import MultilingualMap, check_rows, generalized_procrustes
from align.short_repr import short_repr


@dataclass(frozen=True, eq=False)
class MetaEmbedding:
    """Rows averaged over all sources that have them, and the way there for rows that come later.

    Parameters
    ----------
    matrix : ndarray of float32, shape (n_words, dim)
    n_sources : ndarray of int, shape (n_words,)
        How many sources a row is the mean of.
    map : MultilingualMap
    """

    matrix: NDArray[np.float32]
    n_sources: NDArray[np.int64]
    map: MultilingualMap

    __repr__ = short_repr

    def __call__(
        self, spaces: Sequence[NDArray[np.floating]], rows: NDArray[np.integer]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Means of other rows of the same sources: `spaces` and `rows` as in :func:`meta_embedding`.

        Raises
        ------
        InputError
            For rows that do not fit, or that no source has.
        """
        return _average(self.map, spaces, rows)


def meta_embedding(
    spaces: Sequence[NDArray[np.floating]],
    rows: NDArray[np.integer],
    *,
    anchor: int = 0,
    max_iter: int = 100,
    tolerance: float = 1e-7,
) -> MetaEmbedding:
    """Average several sources of vectors in the common space that the words they share define.

    As in Jawanpuria et al. (2020), "Learning geometric word meta-embeddings", with the orthogonal maps of
    :func:`generalized_procrustes` and plain averages (Coates and Bollegala 2018, "Frustratingly easy
    meta-embedding"). Words that some sources lack are averaged over those that have them.

    Parameters
    ----------
    spaces : sequence of ndarray, each of shape (n, dim)
        Normalised rows; sources of unit rows weigh the same.
    rows : ndarray of int, shape (n_words, n_spaces)
        Row of each word in each source, -1 where it has none. Words of one source do not steer the maps.
    anchor, max_iter, tolerance
        As in :func:`generalized_procrustes`.

    Returns
    -------
    MetaEmbedding
        Rows are not normalised again: the less the sources agree on a word, the shorter its mean.

    Raises
    ------
    UsageError, InputError
        As :func:`generalized_procrustes`, and for words that no source has.

    Notes
    -----
    Cost of :func:`generalized_procrustes` and ``n dim^2`` multiplications a source. Memory: the result and
    one source's mapped rows.
    """
    fitted = generalized_procrustes(spaces, rows, anchor=anchor, max_iter=max_iter, tolerance=tolerance)
    return MetaEmbedding(*_average(fitted, spaces, rows), fitted)


def _average(
    fitted: MultilingualMap, spaces: Sequence[NDArray[np.floating]], rows: NDArray[np.integer]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    check_rows(spaces, rows, len(fitted.matrices))
    n_sources = (rows >= 0).sum(axis=1)
    if not n_sources.all():
        raise InputError("no source has these words", got=f"{int((n_sources == 0).sum())} rows of -1 alone")
    total = np.zeros((len(rows), fitted.dim), np.float32)
    for number, space in enumerate(spaces):
        known = np.flatnonzero(rows[:, number] >= 0)
        total[known] += fitted(space[rows[known, number]].astype(np.float32), number)
    return total / n_sources[:, None].astype(np.float32), n_sources
