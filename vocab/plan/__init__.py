"""Transfer plans: rows as sparse sums of old rows, combined, explained, saved."""

from vocab.plan.transfer_plan import (
    Origin,
    Side,
    TransferPlan,
)

__all__ = [
    "Origin",
    "Side",
    "TransferPlan",
]
