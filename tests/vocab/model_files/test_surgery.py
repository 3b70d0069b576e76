"""New rows, padding rows and position tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers as tr
from safetensors.torch import save_file

from align.errors import InputError, UsageError
from vocab.model_files.checkpoint import Checkpoint, open_checkpoint
from vocab.model_files.layout import VocabLayout, VocabTensor, find_vocabulary
from vocab.model_files.surgery import new_rows, position_changes, target_rows, vocabulary_changes
from vocab.plan import Origin, TransferPlan


@pytest.fixture
def plan() -> TransferPlan:
    """Three new rows of four old ones: a copy, a mean, a copy."""
    return TransferPlan.from_entries(
        [0, 1, 1, 2],
        [3, 0, 1, 2],
        [1.0, 0.5, 0.5, 1.0],
        np.array([Origin.COPIED, Origin.MIXED, Origin.COPIED], np.uint8),
        src_tokens=list("abcd"),
        tgt_tokens=list("xyz"),
        method="test",
    )


def test_target_rows(plan: TransferPlan) -> None:
    assert target_rows(plan) == 3
    assert target_rows(plan, pad_to_multiple_of=8) == 8
    assert target_rows(plan, pad_to_multiple_of=3) == 3
    with pytest.raises(UsageError, match="too small"):
        target_rows(plan, pad_to_multiple_of=0)


def test_padding_rows(plan: TransferPlan) -> None:
    old = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    want = np.stack([old[3], (old[0] + old[1]) / 2, old[2]])
    np.testing.assert_array_equal(new_rows(old, plan, n_rows=3), want)
    padded = new_rows(old, plan, n_rows=5)
    np.testing.assert_array_equal(padded[:3], want)
    np.testing.assert_allclose(padded[3:], np.tile(old[4:].mean(0), (2, 1)), rtol=1e-6)
    without = new_rows(old[:4], plan, n_rows=5)
    np.testing.assert_allclose(without[3:], np.tile(old[:4].mean(0), (2, 1)), rtol=1e-6)
    bias = new_rows(old[:, 0], plan, n_rows=5, is_bias=True)
    np.testing.assert_array_equal(bias, [*want[:, 0], want[:, 0].min(), want[:, 0].min()])


@pytest.mark.parametrize(("axis", "shape", "role"), [(1, (3, 4), "head"), (1, (1, 4), "bias")])
def test_vocabulary_on_the_second_axis(
    plan: TransferPlan, tmp_path: Path, axis: int, shape: tuple[int, int], role: str
) -> None:
    old = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(torch.bfloat16)
    save_file({"w": old}, tmp_path / "model.safetensors")
    tensors = {"w": VocabTensor("w", axis, role, shape)}  # type: ignore[arg-type]
    change = vocabulary_changes(open_checkpoint(tmp_path), tensors, plan, n_rows=4)["w"]
    new = change.compute(old)
    assert tuple(new.shape) == change.shape == (shape[0], 4)
    want = new_rows(old.float().numpy().T, plan, n_rows=4).T
    if role == "bias":
        want = new_rows(old.float().numpy()[0], plan, n_rows=4, is_bias=True)[None]
    np.testing.assert_allclose(new, want, rtol=1e-6)


def test_more_tokens_than_rows(plan: TransferPlan, tmp_path: Path) -> None:
    save_file({"w": torch.zeros(3, 2)}, tmp_path / "model.safetensors")
    tensors = {"w": VocabTensor("w", 0, "input", (3, 2))}
    with pytest.raises(InputError, match="more tokens than the model has rows"):
        vocabulary_changes(open_checkpoint(tmp_path), tensors, plan, n_rows=3)


def test_declared_ties_that_the_weights_contradict(plan: TransferPlan, tmp_path: Path) -> None:
    # T5 1.1: the class ties, the files hold a head of its own, and loading keeps them apart
    embeddings, head = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(2))
    tensors = {
        "shared": VocabTensor("shared", 0, "input", (4, 3)),
        "lm_head": VocabTensor("lm_head", 0, "head", (4, 3), tied_to="shared"),
    }
    rescaled = plan.with_norm("sources")
    for stored, side in ((head, "head"), (embeddings, "input")):
        save_file({"shared": embeddings, "lm_head": stored.clone()}, tmp_path / "model.safetensors")
        changes = vocabulary_changes(open_checkpoint(tmp_path), tensors, rescaled, n_rows=3)
        got = changes["lm_head"].compute(stored)
        np.testing.assert_array_equal(got, rescaled.apply(stored.numpy(), side=side))  # type: ignore[arg-type]
    other = rescaled.apply(embeddings.numpy(), side="head")
    assert not np.array_equal(got, other)  # so the two sides do differ here


SMALL = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}


def saved(model: tr.PreTrainedModel, folder: Path) -> tuple[Checkpoint, VocabLayout]:
    model.save_pretrained(folder)
    return open_checkpoint(folder), find_vocabulary(type(model), model.config)


def test_position_shift_only_where_needed(tmp_path: Path) -> None:
    config = tr.RobertaConfig(vocab_size=20, max_position_embeddings=12, **SMALL)
    checkpoint, layout = saved(tr.RobertaModel(config), tmp_path)
    assert position_changes(checkpoint, layout, 1) == ({}, {})
    changes, fields = position_changes(checkpoint, layout, 4)
    assert fields == {"max_position_embeddings": 15}
    ((key, change),) = changes.items()
    old = checkpoint.read(key)
    new = change.compute(old)
    assert tuple(new.shape) == change.shape == (15, 8)
    assert torch.equal(new[4:], old[1:])
    with pytest.raises(InputError, match=r"counts positions from its padding id.*the id 1"):
        position_changes(checkpoint, layout, 5000)
    with pytest.raises(InputError, match="no padding token"):
        position_changes(checkpoint, layout, None)


def test_padding_id_in_the_code_cannot_move(tmp_path: Path) -> None:
    config = tr.MPNetConfig(vocab_size=20, max_position_embeddings=12, **SMALL)
    checkpoint, layout = saved(tr.MPNetModel(config), tmp_path)
    assert position_changes(checkpoint, layout, 1) == ({}, {})
    with pytest.raises(InputError, match="counts positions from its padding id"):
        position_changes(checkpoint, layout, 0)
