"""What a donor model's embeddings say: which tokens it shares with the source, and the rows of the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from align.errors import InputError
from vocab.plan import Origin, TransferPlan
from vocab.tokens import AnyTokenizer, Vocabulary


@dataclass(frozen=True, eq=False)
class Donor:
    """A donor model that reads the target vocabulary.

    Parameters
    ----------
    src, tgt : Vocabulary
    matrix : ndarray of float32, shape (n_tgt, dim)
        The donor's rows.
    shared_src, shared_tgt : ndarray of int64, shape (n_shared,)
        Ids of the tokens that both vocabularies have (equal bytes, or equal role), by rising target id.
    new : ndarray of int64
        Target ids of the other tokens, without those that no token has or whose donor row is zero.
    """

    src: Vocabulary
    tgt: Vocabulary
    matrix: NDArray[np.float32]
    shared_src: NDArray[np.int64]
    shared_tgt: NDArray[np.int64]
    new: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        src_tokenizer: AnyTokenizer | Vocabulary,
        tgt_tokenizer: AnyTokenizer | Vocabulary,
        donor_matrix: NDArray[np.floating[Any]],
    ) -> Donor:
        """Match the vocabularies.

        Raises
        ------
        InputError
            For fewer rows than the target vocabulary has ids, or values that are not finite.
        """
        src, tgt = Vocabulary.of(src_tokenizer), Vocabulary.of(tgt_tokenizer)
        if donor_matrix.ndim != 2 or len(donor_matrix) < len(tgt):
            raise InputError(
                "the donor matrix has fewer rows than the target vocabulary",
                got=donor_matrix.shape,
                wanted=f"({len(tgt)} or more, dim)",
                hint="the donor must be a model of the target tokenizer",
            )
        matrix = np.ascontiguousarray(donor_matrix[: len(tgt)], np.float32)
        if not np.isfinite(matrix).all():
            raise InputError("the donor matrix holds NaN or infinite values", wanted="finite float32 numbers")
        same_bytes, same_role = tgt.match(src)
        found = np.maximum(same_bytes, same_role)
        shared_tgt = np.flatnonzero(found >= 0)
        named = np.array([bool(token) for token in tgt.tokens], dtype=bool)
        new = np.flatnonzero((found < 0) & named & matrix.any(axis=1))
        return cls(src, tgt, matrix, found[shared_tgt], shared_tgt, new)

    @property
    def shared_rows(self) -> NDArray[np.float32]:
        """Donor rows of the shared tokens, shape (n_shared, dim)."""
        return self.matrix[self.shared_tgt]

    def plan(
        self,
        indices: NDArray[np.int64],
        coefficients: NDArray[np.floating[Any]],
        *,
        method: str,
        options: Mapping[str, Any],
    ) -> TransferPlan:
        """Shared tokens copied, each new one a sum of shared ones; index -1 stands for no term."""
        at, term = np.nonzero(indices >= 0)
        origins = np.full(len(self.tgt), Origin.MIXED, dtype=np.uint8)
        origins[self.shared_tgt] = np.where(
            self.tgt.special[self.shared_tgt], np.uint8(Origin.SPECIAL), np.uint8(Origin.COPIED)
        )
        return TransferPlan.from_entries(
            np.concatenate([self.shared_tgt, self.new[at]]),
            np.concatenate([self.shared_src, self.shared_src[indices[at, term]]]),
            np.concatenate([np.ones(len(self.shared_tgt)), coefficients[at, term]]),
            origins,
            src_tokens=self.src.tokens,
            tgt_tokens=self.tgt.tokens,
            method=method,
            options=options,
        )
