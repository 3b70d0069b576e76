"""Training after a transfer, on a model of a few thousand weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertModel

from align.errors import InputError
from benchmarks import after_training
from benchmarks.after_training import Batch, Options

TINY = Options(measured=(0, 20, 60), rate=3e-3, batch_size=4, max_tokens=9, pool=3)


def _model(seed: int) -> Any:
    torch.manual_seed(seed)
    return BertModel(
        BertConfig(
            vocab_size=30,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=12,
            pad_token_id=3,
        )
    )


def _data(n_batches: int) -> list[Batch]:
    """Sentences of tokens, and the vectors that another model gives them."""
    rng = np.random.default_rng(0)
    teacher, data = _model(1).eval(), []
    for _ in range(n_batches):
        ids = torch.from_numpy(rng.integers(4, 30, (4, 7)))
        mask = torch.ones_like(ids)
        ids[0, 5:], mask[0, 5:] = 3, 0
        with torch.no_grad():
            hidden = teacher(input_ids=ids, attention_mask=mask).last_hidden_state
            pooled = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
        data.append(Batch(ids, mask, torch.nn.functional.normalize(pooled, dim=1)))
    return data


def _train(data: list[Batch]) -> tuple[list[dict[str, Any]], Any]:
    model = _model(0)
    norm = lambda one: {"norm": float(one.get_input_embeddings().weight.detach().norm())}  # noqa: E731
    points = after_training.train(model, data, measure=norm, options=TINY)
    return points, model


def test_training_lowers_the_loss_and_is_the_same_twice() -> None:
    data = _data(60)
    points, model = _train(data)
    again, twin = _train(data)
    assert [point["step"] for point in points] == [0, 20, 60]
    assert points[0]["loss"] is None
    assert points[2]["loss"] < 0.7 * points[1]["loss"]
    assert [(p["loss"], p["norm"]) for p in points] == [(p["loss"], p["norm"]) for p in again]
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), twin.state_dict()[name].numpy())


def test_the_row_that_pads_is_the_new_tokenizers() -> None:
    class Tokenizer:
        pad_token_id = 5

    class Plan:
        def apply(self, rows: np.ndarray) -> np.ndarray:
            return np.ascontiguousarray(rows[::-1])

    teacher: Any = _model(0)
    plan: Any = Plan()
    tokenizer: Any = Tokenizer()
    model: Any = after_training.student(teacher, plan, tokenizer)
    assert model.get_input_embeddings().padding_idx == 5
    old = teacher.get_input_embeddings().weight.detach().numpy().copy()
    np.testing.assert_array_equal(model.get_input_embeddings().weight.detach().numpy(), old[::-1])
    after_training.train(model, _data(2), measure=lambda _: {}, options=TINY)
    np.testing.assert_array_equal(teacher.get_input_embeddings().weight.detach().numpy(), old)


def test_batches_hold_sentences_once_and_of_similar_length() -> None:
    lengths = np.random.default_rng(0).integers(1, 13, 200)
    rows = after_training.order(lengths, 30, TINY)
    seen = np.concatenate(rows)
    assert len(rows) == 30
    assert len(set(seen.tolist())) == len(seen) == 120
    assert lengths[seen].max() <= TINY.max_tokens
    assert np.mean([np.ptp(lengths[row]) for row in rows]) < 0.7 * np.ptp(lengths[seen])
    np.testing.assert_array_equal(seen, np.concatenate(after_training.order(lengths, 30, TINY)))
    with pytest.raises(InputError, match="too few sentences"):
        after_training.order(lengths, 60, TINY)
