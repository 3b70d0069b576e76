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
    from vocab.comparison.comparing import compare
    from vocab.comparison.held_out import Evaluation
    from vocab.comparison.results import Comparison
    from vocab.factorized.model import fold_factorized, load_factorized
    from vocab.heads.adding import Head, add_head, list_heads
    from vocab.heads.two_vocabularies import LoadedModel, load
    from vocab.heads.using import use_head
    from vocab.options import TransferOptions
    from vocab.pipeline import TransferResult
    from vocab.plan import Origin, TransferPlan
    from vocab.plan.sampling import Sampling
    from vocab.tokens import Vocabulary

# Loaded on first use: the command line's --help must not import torch.
_MODULES = {
    "Comparison": "comparison.results",
    "Evaluation": "comparison.held_out",
    "Head": "heads.adding",
    "LoadedModel": "heads.two_vocabularies",
    "Origin": "plan",
    "Sampling": "plan.sampling",
    "TransferOptions": "options",
    "TransferPlan": "plan",
    "TransferResult": "pipeline",
    "Vocabulary": "tokens",
    "add_head": "heads.adding",
    "fold_factorized": "factorized.model",
    "list_heads": "heads.adding",
    "load": "heads.two_vocabularies",
    "load_factorized": "factorized.model",
    "compare": "comparison.comparing",
    "transfer": "api",
    "transfer_model": "api",
    "use_head": "heads.using",
}

__all__ = [
    "Comparison",
    "Evaluation",
    "Head",
    "LoadedModel",
    "Origin",
    "Sampling",
    "TransferOptions",
    "TransferPlan",
    "TransferResult",
    "Vocabulary",
    "add_head",
    "compare",
    "fold_factorized",
    "list_heads",
    "load",
    "load_factorized",
    "transfer",
    "transfer_model",
    "use_head",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"vocab.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
