"""Tokens deleted from a real vocabulary and made again; what is measured on them."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from align.errors import InputError
from tests.vocab.conftest import SENTENCES
from vocab.comparison.leave_out import LeaveOut
from vocab.materials.gathering import Materials
from vocab.methods import constituents
from vocab.methods.expression import parse_expression
from vocab.modes.trimming import delete_tokens
from vocab.options import TransferOptions
from vocab.tokens import Vocabulary


@pytest.mark.parametrize("family", ["roberta", "bert", "t5", "llama"])
def test_deleted_tokens_are_gone_and_the_rest_is_as_before(
    tokenizers: Mapping[str, Any], family: str
) -> None:
    whole = Vocabulary.of(tokenizers[family])
    reduced, kept = delete_tokens(tokenizers[family], share=0.1, rng=np.random.default_rng(3))
    deleted = np.setdiff1d(np.flatnonzero([bool(token) for token in whole.tokens]), kept)
    assert len(deleted) == round(0.1 * sum(map(bool, whole.surfaces)))
    assert not whole.special[deleted].any()
    view = Vocabulary.of(reduced)
    assert view.tokens == tuple(whole.tokens[i] for i in kept)
    assert not set(view.tokens) & {whole.tokens[i] for i in deleted}
    # text without deleted tokens is cut as before, text with them is cut into others
    gone = set(deleted.tolist())
    for line in SENTENCES[:5]:
        for word in line.split():
            (before,), (after,) = whole.encode([word]), view.encode([word])
            if not gone & set(before):
                assert kept[after].tolist() == before
            else:
                assert kept[after].tolist() != before


def test_the_deleted_tokens_follow_the_generator(tokenizers: Mapping[str, Any]) -> None:
    def kept(seed: int) -> list[int]:
        return delete_tokens(tokenizers["bert"], share=0.1, rng=np.random.default_rng(seed))[1].tolist()

    assert kept(1) == kept(1)
    assert kept(1) != kept(2)


def test_nothing_to_delete_is_said(tokenizers: Mapping[str, Any]) -> None:
    with pytest.raises(InputError, match="no token of the vocabulary can be deleted"):
        delete_tokens(tokenizers["bert"], share=0.0, rng=np.random.default_rng(0))


def planted(saved_model: Any, noise: float) -> LeaveOut:
    """A leave-out over a matrix whose deleted rows are the mean of their pieces, up to noise."""
    folder, tokenizer = saved_model("llama-untied")
    prepared: Any = SimpleNamespace(
        source=SimpleNamespace(path=folder, tokenizer=tokenizer, vocabulary=Vocabulary.of(tokenizer)),
        options=TransferOptions(),
        materials=Materials(None, [], [], None, None, None),
    )
    leave_out = LeaveOut.of(prepared, share=0.15)
    rng = np.random.default_rng(5)
    plan = constituents(leave_out.kitchen.source, leave_out.kitchen.target)
    for side, matrix in leave_out.matrices.items():
        base = rng.normal(size=(len(matrix), 48)).astype(np.float32) + 1.0
        rows = plan.apply(base[leave_out.kept])
        rows += noise * rng.normal(size=rows.shape).astype(np.float32)
        base[leave_out.deleted] = rows[leave_out.deleted]
        leave_out.matrices[side] = base
    return leave_out


def test_the_order_of_methods_on_a_planted_matrix(saved_model: Any) -> None:
    leave_out = planted(saved_model, 0.1)
    found = {name: leave_out.recreate(parse_expression(name)) for name in ("constituents", "mean", "random")}
    mean_row = leave_out.mean_row()
    for side in ("input", "head"):
        good, mean, noise = (getattr(found[name], side) for name in ("constituents", "mean", "random"))
        assert good.p_at_1 > 0.9 > 0.2 > mean.p_at_1
        assert good.centred > 0.9
        assert abs(mean.centred) < 0.2
        assert abs(noise.centred) < 0.2
        assert good.cosine > mean.cosine > noise.cosine  # rows have much in common
        assert abs(getattr(mean_row, side).cosine - mean.cosine) < 0.05
        assert getattr(mean_row, side).p_at_1 == 0.0  # equal rows do not score


def test_noise_lowers_the_figures(saved_model: Any, tmp_path: Any) -> None:
    call = parse_expression("constituents")
    little, much = (planted(saved_model, noise).recreate(call).input for noise in (0.1, 1.5))
    assert little.centred > much.centred + 0.2
    assert little.cosine > much.cosine


def test_rows_that_are_right_have_cosine_1(saved_model: Any) -> None:
    leave_out = planted(saved_model, 0.0)
    found = leave_out.recreate(parse_expression("constituents"))
    np.testing.assert_allclose([found.input.cosine, found.input.centred], 1.0, atol=1e-6)


def test_methods_that_lack_material_of_the_source_say_so(saved_model: Any) -> None:
    leave_out = planted(saved_model, 0.0)
    assert leave_out.lacks(parse_expression("constituents")) is None
    assert "text" in str(leave_out.lacks(parse_expression("focus")))
    assert "donor" in str(leave_out.lacks(parse_expression("omp")))
