"""copy, special, constituents, mean, normal, multivariate."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from tests.vocab.tokenizer_families import FAMILIES, family, joined, listed
from vocab import methods
from vocab.plan import Origin, TransferPlan
from vocab.tokens import Vocabulary

PAIRS = list(permutations(FAMILIES[::2], 2))


@pytest.mark.parametrize(("target", "source"), PAIRS)
def test_copies_are_what_match_says(target: str, source: str) -> None:
    tgt, src = family(target), family(source)
    same_bytes, same_role = tgt.match(src)
    plan = methods.copy(src, tgt)
    wanted = np.where(same_role >= 0, Origin.SPECIAL, np.where(same_bytes >= 0, Origin.COPIED, Origin.EMPTY))
    np.testing.assert_array_equal(plan.origins, wanted)
    rows, cols = plan.whole_rows
    np.testing.assert_array_equal(cols, np.maximum(same_bytes, same_role)[rows])
    assert len(rows) == (wanted != Origin.EMPTY).sum() > 5
    assert (plan.src_tokens, plan.tgt_tokens) == (src.tokens, tgt.tokens)

    only = methods.special(src, tgt)
    np.testing.assert_array_equal(only.origins, np.where(same_role >= 0, Origin.SPECIAL, Origin.EMPTY))
    assert only.then(plan).differing_rows(plan).size == 0


@pytest.mark.parametrize(("target", "source"), PAIRS)
def test_constituents_are_the_mean_of_the_pieces(target: str, source: str) -> None:
    tgt, src = family(target), family(source)
    plan, copied = methods.constituents(src, tgt), methods.copy(src, tgt)
    known = copied.origins != Origin.EMPTY
    assert np.isin(plan.origins[~known], (Origin.COMPOSED, Origin.EMPTY)).all()
    np.testing.assert_array_equal(plan.origins[known], copied.origins[known])
    np.testing.assert_array_equal(plan.weights.toarray()[known], copied.weights.toarray()[known])
    E = np.random.default_rng(0).standard_normal((len(src), 3))
    rows = plan.then(methods.mean(src, tgt)).apply(E)
    for i in np.flatnonzero(plan.origins == Origin.COMPOSED):
        pieces = src.pieces([tgt.surfaces[i]])[0]
        np.testing.assert_allclose(rows[i], E[pieces].mean(axis=0), atol=1e-6)
    for i in np.flatnonzero(plan.origins == Origin.EMPTY):
        assert tgt.special[i] or not src.pieces([tgt.surfaces[i]])[0]
        np.testing.assert_allclose(rows[i], E.mean(axis=0), atol=1e-12)


def test_constituents_count_repeated_pieces() -> None:
    unigram = Tokenizer(models.Unigram([("▁ha", -1.0), ("ha", -1.0), ("ba", -1.0), ("<unk>", -9.0)], 3))
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()
    source, target = Vocabulary.of(unigram), listed([b"hahaba", b"haha", b"ba", b" haba", b"xyz"])
    plan = methods.constituents(source, target)
    np.testing.assert_allclose(
        plan.weights.toarray(),
        [[0, 2 / 3, 1 / 3, 0], [0, 1, 0, 0], [0, 0, 1, 0], [1 / 2, 0, 1 / 2, 0], [0] * 4],
        rtol=1e-6,
    )
    assert [Origin(origin).name for origin in plan.origins] == [
        "COMPOSED",
        "COMPOSED",
        "COPIED",
        "COMPOSED",
        "EMPTY",
    ]


@pytest.mark.parametrize("name", ["mean", "normal", "multivariate"])
def test_sampled_methods_fill_every_row(name: str) -> None:
    src, tgt = family("byte-level"), family("wordpiece, cased")
    method: Callable[..., TransferPlan] = getattr(methods, name)
    plan = method(src, tgt, seed=3)
    assert (plan.origins == Origin.SAMPLED).all()
    E = (np.random.default_rng(0).standard_normal((len(src), 12)) * np.arange(1, 13)).astype(np.float32)
    rows = plan.apply(E)
    assert rows.shape == (len(tgt), 12)
    if name == "mean":
        np.testing.assert_array_equal(
            rows, np.tile(E.mean(axis=0, dtype=np.float64).astype("f4"), (len(tgt), 1))
        )
        rows = method(src, tgt, noise=0.5, seed=3).apply(E)
        assert plan.options == {"mean": {"noise": 0.0, "seed": 3}}
    else:
        assert plan.options == {name: {"scale": 1.0, "seed": 3}}
    spread = {"mean": 0.5}.get(name, 1.0)
    np.testing.assert_allclose(rows.std(axis=0), spread * E.std(axis=0), rtol=0.2)
    assert len(np.unique(rows, axis=0)) == len(tgt)
    different = method(src, tgt, seed=4, **({"noise": 0.5} if name == "mean" else {})).apply(E)
    assert not (different == rows).any()


def test_methods_take_tokenizers_as_well() -> None:
    src, tgt = family("byte-level"), family("unigram")
    for name in ("copy", "special", "constituents", "mean"):
        method: Callable[..., TransferPlan] = getattr(methods, name)
        plan = method(src.tokenizer, tgt.tokenizer)
        assert plan.differing_rows(method(Vocabulary.of(src.tokenizer), tgt)).size == 0


def test_same_tokenizer_is_copied_whole() -> None:
    for name in FAMILIES:
        vocabulary = family(name)
        plan = methods.copy(vocabulary, vocabulary)
        assert (plan.origins != Origin.EMPTY).all()
        rows, cols = plan.whole_rows
        moved = rows[rows != cols]  # duplicates of another token's bytes, such as the two marks of a comma
        assert all(
            joined(vocabulary, [i]) == joined(vocabulary, [j])
            for i, j in zip(moved, cols[moved], strict=True)
        )
        if "wordpiece" not in name:
            assert len(moved) == 0
