from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from align.errors import InputError
from vocab.methods.sampled import hf, mean, normal, random, script
from vocab.plan import Origin, TransferPlan
from vocab.plan.sampling import Sampling, sampled_rows
from vocab.tokens import BYTE_TO_CHAR, Vocabulary


def byte_level(words: list[str]) -> Vocabulary:
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

    spelled = ["".join(BYTE_TO_CHAR[b] for b in word.encode(errors="surrogateescape")) for word in words]
    inner = Tokenizer(models.BPE({t: i for i, t in enumerate(["<s>", *spelled])}, []))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.add_special_tokens([AddedToken("<s>")])
    return Vocabulary.of(inner)


@pytest.fixture(scope="module")
def scripts() -> tuple[Vocabulary, Vocabulary]:
    src = byte_level(
        [" the", " a", " dog", "ing", "ed", "é", " да", " нет", "ть", "का", "है", " 1", " 22", "\udce0"]
    )
    tgt = byte_level([" the", " mbwa", "ji", "Ａ", " кот", "ки", " मैं", " 42", "!", " שלום", "\udce1", " ᚠ"])
    return src, tgt


def test_script_draws_around_the_tokens_of_the_same_script(scripts: tuple[Vocabulary, Vocabulary]) -> None:
    src, tgt = scripts
    plan = script(src, tgt, seed=4)
    E = np.random.default_rng(0).standard_normal((len(src), 6)).astype(np.float32)
    E += 10 * np.arange(len(src), dtype=np.float32)[:, None]
    rows = plan.apply(E)
    np.testing.assert_array_equal(rows[0], E[0])  # <s>
    np.testing.assert_array_equal(rows[1], E[1])  # " the"
    everything = np.arange(len(src))
    around = {
        " mbwa": [1, 2, 3],
        "ji": [4, 5, 6],
        "Ａ": [4, 5, 6],
        " кот": [7, 8],
        "ки": [7, 8],  # one medial Cyrillic token is too few
        " मैं": [10, 11],  # no initial Devanagari token
        " 42": [12, 13],
        "!": [12, 13],
        " שלום": everything,
        "\udce1": everything,  # one fragment is too few
        " ᚠ": everything,
    }
    for at, (token, members) in enumerate(around.items(), start=2):
        wanted = sampled_rows(E[members], Sampling(seed=4), np.array([at]))[0]
        np.testing.assert_array_equal(rows[at], wanted.astype(np.float32), err_msg=token)
    assert [share.origin for share in plan.summary()] == ["copied", "sampled", "special"]
    bias = np.arange(len(src), dtype=np.float64)
    np.testing.assert_allclose(plan.apply(bias)[[2, 3, 11]], [2.0, 5.0, bias.mean()])


def test_without_positions_a_script_is_one_group(scripts: tuple[Vocabulary, Vocabulary]) -> None:
    src, tgt = scripts
    E = np.random.default_rng(1).standard_normal((len(src), 3))
    rows = script(src, tgt, positions=False, seed=2).apply(E)
    for at, members in ((2, [1, 2, 3, 4, 5, 6]), (6, [7, 8, 9])):
        np.testing.assert_array_equal(rows[at], sampled_rows(E[members], Sampling(seed=2), np.array([at]))[0])


def test_script_statistics() -> None:
    """Enough rows of two scripts: means and deviations are those of the script, not of all rows."""
    src = byte_level(
        [" " + "".join(chr((0x430 if i % 2 else 97) + int(d)) for d in str(i)) for i in range(400)]
    )
    rng = np.random.default_rng(3)
    tgt = byte_level([" " + "".join(chr(107 + int(d)) for d in str(i)) for i in range(3000)])
    E = rng.standard_normal((len(src), 4)) * [1, 2, 3, 4]
    latin = np.array([surface[:1] == b" " and surface[1] < 128 for surface in src.surfaces])
    E[latin] = E[latin] * 0.5 + 7
    plan = script(src, tgt)
    drawn = plan.apply(E)[plan.origins == Origin.SAMPLED]
    std = E[latin].std(axis=0)
    np.testing.assert_array_less(abs(drawn.mean(axis=0) - E[latin].mean(axis=0)), 5 * std / np.sqrt(3000))
    np.testing.assert_allclose(drawn.std(axis=0), std, rtol=0.08)


def test_groups_survive_files_and_algebra(scripts: tuple[Vocabulary, Vocabulary], tmp_path: Path) -> None:
    src, tgt = scripts
    plan = script(src, tgt, seed=1)
    E = np.random.default_rng(5).standard_normal((len(src), 4))
    wanted = plan.apply(E)
    np.testing.assert_array_equal(TransferPlan.load(plan.save(tmp_path / "plan")).apply(E), wanted)
    nothing = TransferPlan.from_entries(
        [], [], [], Origin.MIXED, src_tokens=src.tokens, tgt_tokens=tgt.tokens, method="nothing"
    )
    np.testing.assert_array_equal(nothing.then(plan).apply(E), wanted)
    np.testing.assert_array_equal(plan.then(mean(src, tgt)).apply(E), wanted)
    np.testing.assert_array_equal(plan.mix(nothing, 0.5).apply(E), wanted)
    order = np.random.default_rng(6).permutation(len(tgt))
    moved = TransferPlan.from_entries(
        np.arange(len(tgt)),
        order,
        np.ones(len(tgt)),
        Origin.COPIED,
        src_tokens=tgt.tokens,
        tgt_tokens=[tgt.tokens[i] for i in order],
        method="order",
    )
    np.testing.assert_array_equal(plan.compose(moved).apply(E), wanted[order])


def test_groups_that_cannot_be(scripts: tuple[Vocabulary, Vocabulary]) -> None:
    src, tgt = scripts
    plan = script(src, tgt)
    weights = plan.weights
    common: dict[str, Any] = {
        "weights": weights, "origins": plan.origins, "method": "x", "options": {},
        "src_tokens": src.tokens, "tgt_tokens": tgt.tokens, "sampling": plan.sampling,
    }  # fmt: skip
    with pytest.raises(InputError, match="no old row"):
        TransferPlan(**common, sample_groups=np.full(len(tgt), 77), src_groups=plan.src_groups)
    with pytest.raises(InputError, match="one group a row"):
        TransferPlan(**common, sample_groups=plan.sample_groups[1:], src_groups=plan.src_groups)
    drawn = normal(src, tgt)
    partly = replace(drawn, origins=np.where(np.arange(len(tgt)) == 4, Origin.EMPTY, drawn.origins))
    with pytest.raises(InputError, match="two different distributions"):
        partly.then(plan)


def test_hf_is_the_mean_with_a_billionth_of_the_covariance(tokenizers: Mapping[str, Any]) -> None:
    src, tgt = Vocabulary.of(tokenizers["gpt2"]), Vocabulary.of(tokenizers["t5"])
    E = np.random.default_rng(0).standard_normal((len(src), 3)) @ np.array(
        [[1, 2, 0], [0, 3, 1], [0, 0, 1.0]]
    )
    rows = hf(src, tgt, seed=3).apply(E)
    np.testing.assert_allclose((rows - E.mean(axis=0)).mean(axis=0), 0, atol=5e-5)
    np.testing.assert_allclose(np.cov(rows.T) / 1e-9, np.cov(E.T), atol=0.35 * np.diag(np.cov(E.T)).max())
    assert len(np.unique(rows, axis=0)) == len(tgt)


def test_random_knows_nothing_of_the_old_rows(tokenizers: Mapping[str, Any]) -> None:
    src, tgt = Vocabulary.of(tokenizers["gpt2"]), Vocabulary.of(tokenizers["bert"])
    E = np.random.default_rng(0).standard_normal((len(src), 50)) + 9
    plan = random(src, tgt, initializer_range=0.02, seed=1)
    rows = plan.apply(E)
    np.testing.assert_array_equal(rows, plan.apply(E * 3))
    np.testing.assert_allclose([rows.mean(), rows.std()], [0, 0.02], atol=1e-3)
    np.testing.assert_array_equal(plan.apply(E[:, 0]), 0)
    np.testing.assert_array_equal(random(src, tgt, initializer_range=0.0).apply(E), 0)
