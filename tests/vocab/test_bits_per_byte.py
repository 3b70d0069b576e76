from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch

import vocab.evaluation
from align.errors import InputError, UsageError
from vocab.evaluation import bits_per_byte

TEXTS = ["the old man and the moon", "habari za asubuhi rafiki yangu, karibu nyumbani!", "", "naïve"]
N_BYTES = sum(len(text.encode()) for text in TEXTS)


def said(model: Any, ids: list[int], at: int, token: int) -> float:
    """Nats of one token at one place, from a pass of its own."""
    with torch.inference_mode():
        return -float(torch.log_softmax(model(torch.tensor([ids])).logits[0, at].double(), dim=0)[token])


@pytest.mark.parametrize("name", ["gpt2", "llama", "llama-untied"])
def test_a_causal_model_says_one_token_after_another(
    make_model: Callable[..., Any],
    tokenizers: Mapping[str, Any],
    architectures: Mapping[str, tuple[str, str]],
    name: str,
) -> None:
    tokenizer = tokenizers[architectures[name][1]]
    model = make_model(name, tokenizer)
    nats, n_tokens = 0.0, 0
    for text in TEXTS:
        ids = [tokenizer.bos_token_id, *tokenizer(text, add_special_tokens=False).input_ids]
        nats += sum(said(model, ids[:i], i - 1, ids[i]) for i in range(1, len(ids)))
        n_tokens += len(ids) - 1
    found = bits_per_byte(model, tokenizer, TEXTS)
    assert found.bits_per_byte == pytest.approx(nats / math.log(2) / N_BYTES, rel=1e-5)
    assert (found.kind, found.n_bytes, found.n_tokens, found.n_unknown) == ("causal", N_BYTES, n_tokens, 0)


@pytest.mark.parametrize("name", ["roberta", "bert", "modernbert"])
def test_a_masked_model_says_each_token_from_the_others(
    make_model: Callable[..., Any],
    tokenizers: Mapping[str, Any],
    architectures: Mapping[str, tuple[str, str]],
    name: str,
) -> None:
    """Of at most 7 tokens each is masked alone, so that nothing is left to chance."""
    tokenizer = tokenizers[architectures[name][1]]
    model = make_model(name, tokenizer)
    short = [" ".join(text.split()[:2]) for text in TEXTS]
    whole = [tokenizer(text).input_ids for text in short if text]
    cut = [ids for ids in whole if len(ids) <= 9]
    texts = [text for text, ids in zip(filter(None, short), whole, strict=True) if len(ids) <= 9]
    assert len(cut) >= 1
    nats = 0.0
    for ids in cut:
        for i in range(1, len(ids) - 1):
            hidden = [*ids[:i], tokenizer.mask_token_id, *ids[i + 1 :]]
            nats += said(model, hidden, i, ids[i])
    found = bits_per_byte(model, tokenizer, texts)
    assert found.kind == "masked"
    assert found.n_tokens == sum(len(ids) - 2 for ids in cut)
    assert found.bits_per_byte == pytest.approx(nats / math.log(2) / found.n_bytes, rel=1e-5)


@pytest.mark.parametrize("name", ["roberta", "llama"])
def test_batches_and_cuts(
    make_model: Callable[..., Any],
    tokenizers: Mapping[str, Any],
    architectures: Mapping[str, tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    tokenizer = tokenizers[architectures[name][1]]
    model = make_model(name, tokenizer)
    texts = [f"{text} {i}" * (i + 1) for i, text in enumerate(TEXTS[:3])]
    found = bits_per_byte(model, tokenizer, texts)
    monkeypatch.setattr(vocab.evaluation, "_MAX_LOGITS", 1)
    assert bits_per_byte(model, tokenizer, texts).bits_per_byte == pytest.approx(
        found.bits_per_byte, rel=1e-5
    )
    monkeypatch.undo()
    cut = bits_per_byte(model, tokenizer, texts, max_length=8)
    assert cut.n_tokens == found.n_tokens
    assert cut.bits_per_byte != pytest.approx(found.bits_per_byte, rel=1e-5)
    again = bits_per_byte(model, tokenizer, texts, seed=1)
    assert (again == found) == (name == "llama")
    assert bits_per_byte(model, tokenizer, texts, seed=1) == again
    # all tokens equally likely: what is said costs the logarithm of their number
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    even = bits_per_byte(model, tokenizer, texts)
    n_rows = model.get_input_embeddings().weight.shape[0]
    assert even.bits_per_byte == pytest.approx(math.log2(n_rows) * even.n_tokens / even.n_bytes, rel=1e-6)


def test_unknown_tokens_are_counted(make_model: Callable[..., Any], tokenizers: Mapping[str, Any]) -> None:
    model = make_model("bert", tokenizers["bert"])
    assert bits_per_byte(model, tokenizers["bert"], ["愛 the 愛"]).n_unknown == 2


def test_what_cannot_be_scored(make_model: Callable[..., Any], tokenizers: Mapping[str, Any]) -> None:
    for name, family in (("bert-base", "bert"), ("t5", "t5")):
        with pytest.raises(InputError, match="another kind of model"):
            bits_per_byte(make_model(name, tokenizers[family]), tokenizers[family], ["a"])
    bert = make_model("bert", tokenizers["bert"])
    with pytest.raises(InputError, match="no text"):
        bits_per_byte(bert, tokenizers["bert"], ["", ""])
    with pytest.raises(InputError, match="no mask token"):
        bits_per_byte(bert, tokenizers["llama"], ["a"])
    with pytest.raises(UsageError, match="no room"):
        bits_per_byte(bert, tokenizers["bert"], ["a"], max_length=2)


def test_a_high_padding_id_takes_no_positions_from_bert(
    make_model: Callable[..., Any],
    tokenizers: Mapping[str, Any],
    architectures: Mapping[str, tuple[str, str]],
) -> None:
    tokenizer = tokenizers[architectures["bert"][1]]
    model = make_model("bert", tokenizer)
    before = bits_per_byte(model, tokenizer, TEXTS)
    model.config.pad_token_id = model.config.max_position_embeddings - 1
    assert bits_per_byte(model, tokenizer, TEXTS) == before
