"""An aligned bitext: expected link counts and links."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from align.short_repr import short_repr
from align.wordalign.bitext import Bitext
from align.wordalign.expectation import MEAN, EStep, Parameters
from align.wordalign.links import Links
from align.wordalign.options import AlignOptions
from align.wordalign.pairs import PairTable

if TYPE_CHECKING:
    from align.wordalign.aligner import Aligner


@dataclass(frozen=True, eq=False)
class Alignment:
    """An aligned bitext.

    Attributes
    ----------
    counts : scipy CSR array, float32, shape (n_src_types, n_tgt_types)
        Expected number of links of each pair of types: the sum of the mean of the two directions' posteriors.
    src_to_tgt, tgt_to_src : scipy CSR arrays, float32, shape (n_src_types, n_tgt_types)
        p(t | s) and p(s | t) of the model, for the pairs in ``counts``.
    links : Links
        Cells whose mean posterior exceeds the threshold.
    log_likelihood : (float, float)
        Natural logarithm of p(target | source) and p(source | target) over the whole text.
    aligner : Aligner
        The model that did it.
    """

    counts: sp.csr_array
    src_to_tgt: sp.csr_array
    tgt_to_src: sp.csr_array
    links: Links
    log_likelihood: tuple[float, float]
    aligner: Aligner

    __repr__ = short_repr

    @property
    def history(self) -> tuple[tuple[float, float], ...]:
        """Log-likelihood of the two directions at every pass of training, then that of this text."""
        return (*self.aligner.history, self.log_likelihood)

    @property
    def n_iter(self) -> int:
        """Iterations made in training."""
        return self.aligner.n_iter

    @property
    def converged(self) -> bool:
        """Whether training ended because the likelihood hardly rose."""
        return self.aligner.converged

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.aligner.model

    @property
    def options(self) -> AlignOptions:
        """Settings of the training."""
        return self.aligner.options

    @property
    def jumps(self) -> NDArray[np.float64]:
        """Jump distributions of an HMM, see :class:`Aligner`."""
        return self.aligner.jumps


def mean_alignment(
    bitext: Bitext,
    pairs: PairTable,
    parameters: Parameters,
    aligner: Aligner,
    *,
    threshold: float,
    e_step: EStep,
) -> Alignment:
    """Counts and links of a text from the mean of the two directions' posteriors."""
    final = e_step(parameters, mode=MEAN, threshold=threshold)
    keep = final.counts[:, 0] >= aligner.options.min_count
    shape = (bitext.n_src_types, bitext.n_tgt_types)
    pair, src, tgt, weights = final.links
    return Alignment(
        counts=row_matrix(pairs, keep, final.counts[:, 0], shape),
        src_to_tgt=row_matrix(pairs, keep, parameters.table[:, 0], shape),
        tgt_to_src=row_matrix(pairs, keep, parameters.table[:, 1], shape),
        links=Links.from_pairs(pair, src, tgt, weights, n_pairs=bitext.n_pairs),
        log_likelihood=(float(final.log_likelihood[0]), float(final.log_likelihood[1])),
        aligner=aligner,
    )


def row_matrix(
    pairs: PairTable, keep: NDArray[np.bool_], values: NDArray[np.float32], shape: tuple[int, int]
) -> sp.csr_array:
    """CSR array of the rows to keep, columns in order."""
    rows = np.flatnonzero(keep)
    indptr = np.searchsorted(rows, pairs.indptr)
    out = sp.csr_array((values[rows], pairs.tgt[rows], indptr), shape=shape)
    out.sort_indices()
    return out
