"""Single rows of a plan, for people: found by token, explained, counted by origin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from align.errors import InputError
from vocab.plan.transfer_plan import Origin, TransferPlan
from vocab.tokens import BYTE_TO_CHAR


@dataclass(frozen=True)
class RowExplanation:
    """One row of a plan in words: ``terms`` are (old token, weight), heaviest first."""

    token: str
    token_id: int
    origin: str
    terms: tuple[tuple[str, float], ...]

    def __str__(self) -> str:
        if not self.terms:
            return f"{self.token} ({self.origin})"
        parts = []
        for i, (token, weight) in enumerate(self.terms):
            sign = "" if i == 0 and weight >= 0 else "- " if weight < 0 else "+ "
            parts.append(f"{sign}{abs(weight):.3g} {token}")
        return f"{self.token} ({self.origin}) = {' '.join(parts)}"


@dataclass(frozen=True)
class OriginShare:
    """Rows of one origin: their number, and their share of all rows and of the text's tokens."""

    origin: str
    n_rows: int
    row_share: float
    text_share: float | None


def row_id(plan: TransferPlan, token: str | int) -> int:
    """Id of a new token, given as id, as text without its word-start mark, or as exact string.

    ``kazi`` is the word ``Ġkazi`` or ``▁kazi`` where there is one, and the continuation only where not.
    """
    if not isinstance(token, str):
        if not 0 <= token < plan.n_tgt:
            raise InputError("no such token id", got=token, wanted=f"0 to {plan.n_tgt - 1}")
        return int(token)
    spelled = "".join(BYTE_TO_CHAR[byte] for byte in token.encode(errors="surrogateescape"))
    for spelling in (f"Ġ{spelled}", f"▁{token}", token, f"##{token}", spelled):
        if spelling in plan.tgt_ids:
            return plan.tgt_ids[spelling]
    raise InputError(
        f"the target vocabulary has no token {token!r}",
        hint="it may be split into several tokens; give one of them, or an id",
    )


def explain(plan: TransferPlan, token: str | int, *, top: int = 10) -> RowExplanation:
    """Of which old rows a new row is made, heaviest first."""
    row = row_id(plan, token)
    values = plan.rows_of_weights(np.array([row]))[0]
    cols = np.flatnonzero(values)
    order = cols[np.lexsort((cols, -np.abs(values[cols])))[:top]]
    return RowExplanation(
        token=plan.tgt_tokens[row],
        token_id=row,
        origin=Origin(plan.origins[row]).name.lower(),
        terms=tuple((plan.src_tokens[col], float(values[col])) for col in order),
    )


def summary(plan: TransferPlan, token_counts: NDArray[np.integer[Any]] | None = None) -> list[OriginShare]:
    """Rows by origin, weighted by how often the target text uses them where counts are given."""
    total = None if token_counts is None else max(int(token_counts.sum()), 1)
    shares = []
    for origin in Origin:
        rows = plan.origins == origin
        if not rows.any():
            continue
        text_share = None
        if token_counts is not None and total is not None:
            text_share = float(token_counts[: plan.n_tgt][rows[: len(token_counts)]].sum()) / total
        shares.append(OriginShare(origin.name.lower(), int(rows.sum()), float(rows.mean()), text_share))
    return shares
