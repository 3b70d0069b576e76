"""Combining methods by name."""

from __future__ import annotations

import pytest

from align.errors import UsageError
from tests.vocab.random_plans import random_plan
from vocab.methods import METHODS, choose_method
from vocab.methods.expression import evaluate, parse_expression
from vocab.methods.recipes import _RECIPES
from vocab.plan import Origin, TransferPlan


@pytest.mark.parametrize(
    "text",
    [
        "copy",
        "trans-tokenization > constituents",
        "0.7*wechsel + 0.3*copy",
        "0.5*copy + 0.5*ofa > focus > mean",
    ],
)
def test_printing_and_reading_agree(text: str) -> None:
    assert str(parse_expression(text)) == text
    assert parse_expression(text) == parse_expression(text.replace(" ", ""))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("nonsense", "unknown method"),
        ("wechsl", "did you mean wechsel"),
        ("0.7*copy + 0.7*mean", "do not sum to 1"),
        ("0.7*copy + mean", "weight for every method"),
        ("copy >", "not a method"),
        ("", "not a method"),
    ],
)
def test_bad_expressions_say_what_is_wrong(text: str, part: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_expression(text)
    assert part.lower() in caught.value.message.lower()


def test_needs_and_fallbacks_follow_the_methods() -> None:
    expression = parse_expression("0.5*trans-tokenization + 0.5*wechsel > constituents")
    assert expression.needs == ("parallel", "vectors", "lexicon")
    assert [method.name for method in expression.fallbacks] == ["mean"]
    assert [method.name for method in parse_expression("wechsel").fallbacks] == [
        "copy",
        "constituents",
        "mean",
    ]


def test_evaluation_mixes_then_falls_back() -> None:
    made = {name: random_plan(seed) for seed, name in enumerate(("copy", "wechsel", "ofa", "mean"))}
    tokens = made["copy"].src_tokens, made["copy"].tgt_tokens
    empty = TransferPlan.from_entries(
        [], [], [], Origin.COPIED, src_tokens=tokens[0], tgt_tokens=tokens[1], method="none"
    )
    text = "0.5*copy + 0.3*wechsel + 0.2*ofa > mean"
    found = evaluate(parse_expression(text), lambda method: made[method.name], empty)
    wanted = made["copy"].mix(made["wechsel"], 0.625).mix(made["ofa"], 0.8).then(made["mean"])
    assert found.differing_rows(wanted, atol=1e-6).size == 0


def test_every_method_has_a_recipe_and_known_fallbacks() -> None:
    assert set(_RECIPES) == set(METHODS)
    assert {name for method in METHODS.values() for name in method.fallbacks} <= set(METHODS)


def test_auto_prefers_parallel_text_then_vectors_with_a_lexicon() -> None:
    assert choose_method({"parallel", "vectors", "lexicon"})[0].name == "trans-tokenization"
    assert choose_method({"vectors", "lexicon"})[0].name == "wechsel"
    assert choose_method({"vectors"})[0].name == "constituents"
    assert choose_method({"lexicon", "text"})[0].name == "constituents"
