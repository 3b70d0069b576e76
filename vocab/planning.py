"""From prepared material to the plans of a model: one, or one for the input and one for the head."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from vocab.materials.gathering import input_matrix
from vocab.methods import special
from vocab.methods.call import Call
from vocab.methods.expression import Expression, evaluate
from vocab.methods.recipes import Kitchen
from vocab.options import TransferOptions
from vocab.plan import Origin, TransferPlan
from vocab.plan.norms import Norm, script_numbers
from vocab.tokens import Vocabulary

if TYPE_CHECKING:
    from vocab.pipeline import Prepared


def make_plans(
    prepared: Prepared, target: Vocabulary, kept: TransferPlan | None = None
) -> tuple[TransferPlan, TransferPlan | None]:
    """The plan of the input rows, and that of the head's rows where it is to be another.

    Rows that `kept` fills are taken from it.

    Notes
    -----
    By default the head's rows are made as the input's, and keep their length. Measured before any training,
    in bits per byte (benchmarks/results/sides.json): a small causal model of 2,000 tokens that is given
    8,000, with input rows of last, mean and first pieces, 2.24, 2.33 and 2.44 beside head rows of mean
    pieces; with head rows of last and first pieces 2.60 and 2.65, with longer head rows 2.45 to 2.53 beside
    input rows of mean pieces. A masked one of 8,000 tokens that is given 20,000 prefers means on both sides:
    1.52, with longer head rows 1.53 to 1.55. Training may change the order.
    """
    source, options = prepared.source.vocabulary, prepared.options
    kitchen = Kitchen(
        source,
        target,
        prepared.materials,
        options.seed,
        prepared.decisions,
        prepared.progress,
        partial(input_matrix, prepared.source.path),
    )
    norm = _norm(options, prepared.method)
    scripts = script_numbers(source, target) if "script-median" in (norm, options.head_norm) else None
    plan, *others = (
        make_plan(kitchen, expression, kept).with_norm(norm, options.head_norm, scripts=scripts)
        for expression in (prepared.method, prepared.head_method)
        if expression is not None
    )
    return plan, others[0] if others else None


def make_plan(kitchen: Kitchen, expression: Expression, kept: TransferPlan | None = None) -> TransferPlan:
    """Rows that are kept, or special tokens by role; then the expression, then the fallbacks it needs."""
    if kept is not None and not (kept.origins == Origin.EMPTY).any():
        return kept
    first = special(kitchen.source, kitchen.target) if kept is None else kept
    plan = evaluate(expression, kitchen.plan, first)
    for method in expression.fallbacks:
        if (plan.origins == Origin.EMPTY).any():
            plan = plan.then(kitchen.plan(Call(method), is_fallback=True))
    return plan


def _norm(options: TransferOptions, method: Expression) -> Norm:
    if options.norm != "auto":
        return options.norm
    # it gained on the development set of the retrieval benchmark; the others stay as published
    return "sources" if method.methods[0].name == "trans-tokenization" else "none"
