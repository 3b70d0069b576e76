"""Tokenizers, transfer plans and finished models.

>>> from vocab import transfer
>>> result = transfer("demo", tgt="sw")  # doctest: +SKIP
>>> result.save("demo-sw")  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vocab.api import transfer, transfer_model
    from vocab.options import TransferOptions
    from vocab.pipeline import TransferResult
    from vocab.plan import Origin, TransferPlan
    from vocab.sampling import Sampling
    from vocab.tokens import Vocabulary

# Loaded on first use: the command line's --help must not import torch.
_MODULES = {
    "Origin": "plan",
    "Sampling": "sampling",
    "TransferOptions": "options",
    "TransferPlan": "plan",
    "TransferResult": "pipeline",
    "Vocabulary": "tokens",
    "transfer": "api",
    "transfer_model": "api",
}

__all__ = [
    "Origin",
    "Sampling",
    "TransferOptions",
    "TransferPlan",
    "TransferResult",
    "Vocabulary",
    "transfer",
    "transfer_model",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"vocab.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
