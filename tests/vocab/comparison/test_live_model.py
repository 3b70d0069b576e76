"""Rows exchanged in memory give the model that is written to disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vocab.comparison.live_model import LiveModel
from vocab.evaluation import bits_per_byte, sentence_vectors
from vocab.methods import constituents, mean
from vocab.model_files.output import write_model_directory
from vocab.source_model import Source
from vocab.tokens import Vocabulary

TEXTS = ["habari za asubuhi", "karibu nyumbani kwetu rafiki", "the moon did not answer", "watoto wanacheza"]


@pytest.mark.parametrize("name", ["roberta", "bert", "gpt2", "llama", "llama-untied"])
def test_rows_in_memory_are_those_on_disk(
    saved_model: Callable[..., tuple[Path, Any]],
    tokenizers: Mapping[str, Any],
    make_renumbered: Callable[..., Any],
    specials: Mapping[str, Mapping[str, str]],
    architectures: Mapping[str, tuple[str, str]],
    tmp_path: Path,
    name: str,
) -> None:
    import transformers

    folder, tokenizer = saved_model(name)
    family = architectures[name][1]
    # other ids: a padding id that moves takes the position table along
    order = np.roll(np.arange(len(tokenizer)), -3)
    other = make_renumbered(tokenizer, order, specials[family])
    source = Source(folder, name, None, tokenizer, Vocabulary.of(tokenizer))
    live = LiveModel.for_target(source, other)
    plain = mean(tokenizer, other)
    plan = constituents(tokenizer, other)
    head_plan = plan.mix(plain, 0.5) if name == "llama-untied" else None
    live.put(plain)  # an earlier method leaves nothing behind
    live.put(plan, head_plan)
    written = write_model_directory(
        folder, tmp_path / "out", plan, tokenizer, other, head_plan=head_plan, provenance={}, card=""
    )
    model = getattr(transformers, architectures[name][0]).from_pretrained(written.path).eval()
    state = live.model.state_dict()
    for key, value in model.state_dict().items():
        assert torch.equal(state[key], value), key
    assert live.score(TEXTS) == bits_per_byte(model, other, TEXTS)
    if live.tokenizer.pad_token_id is not None:
        expected = sentence_vectors(model.base_model, live.tokenizer, TEXTS)
        np.testing.assert_allclose(live.embed(TEXTS), expected, atol=1e-6)


def test_the_source_is_as_it_was(saved_model: Callable[..., tuple[Path, Any]]) -> None:
    folder, tokenizer = saved_model("roberta")
    before = json.loads(tokenizer.backend_tokenizer.to_str())
    live = LiveModel.of_source(Source(folder, "roberta", None, tokenizer, Vocabulary.of(tokenizer)))
    live.embed(["a much longer sentence than the model can read at once " * 20, *TEXTS])
    live.score(TEXTS)
    # padding and truncation are state, and the source's tokenizer reads text for others
    assert json.loads(tokenizer.backend_tokenizer.to_str()) == before
