"""Each new row is a sparse code in a donor model's space, carried over to the old model's.

Goddard and Fernandes Neto (2025), "Training-Free Tokenizer Transplantation via Orthogonal Matching Pursuit",
arXiv:2506.06607.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vocab.methods.donor import Donor
from vocab.methods.pursuit.coding import pursue
from vocab.plan import TransferPlan
from vocab.tokens import AnyTokenizer, Vocabulary


def omp(
    src_tokenizer: AnyTokenizer | Vocabulary,
    tgt_tokenizer: AnyTokenizer | Vocabulary,
    *,
    donor_matrix: NDArray[np.floating[Any]],
    k: int = 64,
) -> TransferPlan:
    """Write each new token's donor row as a sum of shared tokens' donor rows; take the same sum of old rows.

    Shared tokens (equal bytes, or equal role) are copied. The others are coded by orthogonal matching pursuit
    over the shared ones, on rows that are neither centred nor normalised, as published.

    Parameters
    ----------
    src_tokenizer, tgt_tokenizer : tokenizer or Vocabulary
    donor_matrix : ndarray, shape (>= n_tgt, dim), float16, float32 or float64
        Embeddings of a model that has the target tokenizer; taken as float32.
    k : int
        Most old tokens in a new row; fewer where fewer suffice or are shared.

    Returns
    -------
    TransferPlan
        Coefficients may be negative and need not sum to 1. Rows are empty where the donor's row is zero, and
        all new ones where no token is shared.

    Raises
    ------
    UsageError
        For ``k < 1``.
    InputError
        For a donor matrix that does not fit the target vocabulary or is not finite.

    Notes
    -----
    Time and memory are those of :func:`vocab.methods.pursuit.coding.pursue`.
    """
    donor = Donor.of(src_tokenizer, tgt_tokenizer, donor_matrix)
    code = pursue(donor.matrix[donor.new], donor.shared_rows, k=k)
    options = {"k": k, "donor_dim": donor.matrix.shape[1], "residual": round(code.mean_residual, 6)}
    return donor.plan(code.indices, code.coefficients, method="omp", options=options)
