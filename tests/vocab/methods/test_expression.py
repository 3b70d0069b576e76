"""Combining methods by name."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from align.errors import UsageError
from tests.vocab.random_plans import random_plan
from vocab import methods
from vocab.methods import METHODS, choose_method
from vocab.methods.call import options_of, parse_call
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
        "constituents(weighting=last)",
        "0.5*constituents(weighting=first) + 0.5*wechsel(mapping=rcsls, neighbors=5) > mean(noise=0.1)",
        "focus(fuzzy) > script(positions=false)",
        "trans-tokenization(smooth) > ofa",
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
        ("0.0*focus + 1*copy", "of weight 0 adds nothing (got 0.0*focus"),
        ("0*copy", "leave it out"),
        ("0.7*copy + mean", "weight for every method"),
        ("copy >", "not a method"),
        ("auto > mean", "auto is a choice of --method alone"),
        ("", "not a method"),
        ("constituents(middle)", "does not know what 'middle' is"),
        ("constituents(middle)", "mean|length|first|last"),
        ("constituents(weighting=middle)", "cannot take this weighting (got middle"),
        ("wechsel(neighbours=3)", "no option 'neighbours'"),
        ("wechsel(neighbors=three)", "wanted INTEGER"),
        ("wechsel(temperature=nan)", "wanted NUMBER"),
        ("wechsel(temperature=)", "got nothing"),
        ("wechsel(mapping=wechsel)", "procrustes|least-squares"),
        ("ramen(mapping=cca)", "procrustes|least-squares"),
        ("focus(fuzzy=perhaps)", "true|false"),
        ("focus(fuzzy, fuzzy=false)", "fuzzy twice"),
        ("copy(3)", "no options"),
        ("constituents(last", "not a method"),
        ("mean(seed=3)", "no option 'seed'"),
    ],
)
def test_bad_expressions_say_what_is_wrong(text: str, part: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_expression(text)
    assert part.lower() in caught.value.message.lower()


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("constituents(last)", "constituents(weighting=last)"),
        ("focus( temperature = 0.50 ,fuzzy=TRUE)", "focus(fuzzy, temperature=0.5)"),
        ("wechsel(ridge)", "wechsel(mapping=ridge)"),
        ("script(positions)", "script(positions)"),
        (
            "common-interpolation(least_squares, cosine)",
            "common-interpolation(metric=cosine, weighting=least_squares)",
        ),
        ("copy()", "copy"),
    ],
)
def test_options_may_be_written_shorter(short: str, long: str) -> None:
    assert str(parse_expression(short)) == long


def test_options_are_keywords_of_the_function() -> None:
    """Every method's options can be given to its function, and each of them is read back as it was."""
    texts = {int: "7", float: "0.25", bool: "false", str: "text"}
    n_options = 0
    for method in METHODS.values():
        for name, kinds in options_of(method).items():
            assert name in inspect.signature(getattr(methods, method.name.replace("-", "_"))).parameters
            for kind in kinds:
                value = texts.get(kind, kind)
                call = parse_call(method, f"{name}={value}")
                assert parse_call(method, str(call)[len(method.name) + 1 : -1]) == call
                n_options += 1
    assert n_options > 20


def test_mappings_are_called_with_pairs_and_weights() -> None:
    rng = np.random.default_rng(0)
    X, Q = rng.standard_normal((40, 5)), np.linalg.qr(rng.standard_normal((5, 5)))[0]
    Y = X @ Q + 0.01 * rng.standard_normal((40, 5))
    pairs, weights = np.stack([np.arange(40)] * 2, axis=1), np.ones(40)
    for name in options_of(METHODS["ramen"])["mapping"]:
        mapping = parse_call(METHODS["wechsel"], f"mapping={name}").keywords()["mapping"]
        fitted = mapping(X, Y, pairs=pairs, weights=weights)
        mapped = fitted(X)
        cosines = (mapped * Y).sum(1) / np.linalg.norm(mapped, axis=1) / np.linalg.norm(Y, axis=1)
        assert cosines.mean() > 0.97, name


def test_seeds_and_maps_of_both_sides_reach_wechsel_by_name() -> None:
    def keywords(text: str) -> dict[str, object]:
        (term,) = parse_expression(text).chain[0].terms
        return term[1].keywords()

    assert keywords("wechsel(mapping=rcsls, seeds=identical)") == {"mapping": "rcsls", "seeds": "identical"}
    assert keywords("wechsel(vecmap-unsupervised)") == {"mapping": "vecmap-unsupervised"}
    assert callable(keywords("wechsel(mapping=rcsls)")["mapping"])
    assert keywords("wechsel(max_n_word_vectors=9)") == {"max_n_word_vectors": 9}


def test_needs_and_fallbacks_follow_the_methods() -> None:
    expression = parse_expression("0.5*trans-tokenization + 0.5*wechsel > constituents")
    assert expression.needs == ("parallel", "vectors", "lexicon")
    assert [method.name for method in expression.fallbacks] == ["mean"]
    for text in ("wechsel(seeds=identical)", "wechsel(vecmap-unsupervised)", "wechsel(vecmap-identical)"):
        assert parse_expression(text).needs == ("vectors",)
    for text in ("wechsel(vecmap)", "ofa(vecmap-unsupervised)"):  # ofa maps by a lexicon or not at all
        assert parse_expression(text).needs == ("vectors", "lexicon")
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
    found = evaluate(parse_expression(text), lambda call: made[call.method.name], empty)
    wanted = made["copy"].mix(made["wechsel"], 0.625).mix(made["ofa"], 0.8).then(made["mean"])
    assert found.differing_rows(wanted, atol=1e-6).size == 0


def test_every_method_has_a_recipe_and_known_fallbacks() -> None:
    assert set(_RECIPES) == set(METHODS)
    assert all(len(inspect.signature(recipe).parameters) == 2 for recipe in _RECIPES.values())
    assert {name for method in METHODS.values() for name in method.fallbacks} <= set(METHODS)


def test_auto_prefers_parallel_text_then_vectors_with_a_lexicon() -> None:
    assert choose_method({"parallel", "vectors", "lexicon"})[0] == "trans-tokenization(smooth)"
    assert choose_method({"vectors", "lexicon"})[0] == "trans-tokenization > ofa"
    assert choose_method({"vectors"})[0] == "constituents"
    assert choose_method({"lexicon", "text"})[0] == "trans-tokenization"
    assert {str(parse_expression(choose_method(given)[0])) for given in ({"lexicon"}, {"donor"}, set())} == {
        "trans-tokenization",
        "omp",
        "constituents",
    }
