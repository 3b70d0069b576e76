"""Tiny models and tokenizers, built on the spot."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

SENTENCES = [
    "the old man walked to the river and the water was cold",
    "habari za asubuhi, karibu nyumbani kwetu rafiki yangu",
    "a dog barked at the moon; the moon did not answer!",
    "watoto wanacheza mpira uwanjani kila siku jioni",
    "she reads 12 books a year, and he writes naïve poems",
] * 4

SPECIALS: Mapping[str, Mapping[str, str]] = {
    "roberta": {
        "bos_token": "<s>",
        "pad_token": "<pad>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
        "cls_token": "<s>",
        "sep_token": "</s>",
    },
    "bert": {
        "pad_token": "[PAD]",
        "unk_token": "[UNK]",
        "cls_token": "[CLS]",
        "sep_token": "[SEP]",
        "mask_token": "[MASK]",
    },
    "gpt2": {"bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"},
    "llama": {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"},
    "t5": {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"},
}


def wrap(inner: Any, specials: Mapping[str, str]) -> Any:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=inner, **specials)


def _template(inner: Any, first: str | None, last: str | None) -> None:
    from tokenizers.processors import TemplateProcessing

    parts = [part for part in (first, "$A", last) if part]
    specials = [(part, inner.token_to_id(part)) for part in (first, last) if part]
    inner.post_processor = TemplateProcessing(single=" ".join(parts), special_tokens=specials)


def train(family: str, size: int = 200) -> Any:
    """A tokenizer of the family's algorithm on a few sentences."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    specials = SPECIALS[family]
    words = list(dict.fromkeys(specials.values()))
    if family == "bert":
        inner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        inner.normalizer = normalizers.BertNormalizer()
        inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        inner.decoder = decoders.WordPiece()
        trainer: Any = trainers.WordPieceTrainer(vocab_size=size, special_tokens=words, show_progress=False)
    elif family == "t5":
        inner = Tokenizer(models.Unigram())
        inner.pre_tokenizer = pre_tokenizers.Metaspace()
        inner.decoder = decoders.Metaspace()
        trainer = trainers.UnigramTrainer(
            vocab_size=size, special_tokens=words, unk_token="<unk>", show_progress=False
        )
    else:
        inner = Tokenizer(models.BPE())
        inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        inner.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=size + 156,
            special_tokens=words,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
    inner.train_from_iterator(SENTENCES, trainer)
    if family in ("roberta", "bert"):
        _template(inner, specials["cls_token"], specials["sep_token"])
    elif family == "t5":
        _template(inner, None, "</s>")
    elif family == "llama":
        _template(inner, "<s>", None)
    return wrap(inner, specials)


def renumber(tokenizer: Any, new_ids: NDArray[np.int64], specials: Mapping[str, str]) -> Any:
    """The same tokenizer with token ``i`` at id ``new_ids[i]``."""
    from tokenizers import Tokenizer

    spec = json.loads(tokenizer.backend_tokenizer.to_str())
    model = spec["model"]
    if model["type"] == "Unigram":
        old = model["vocab"]
        model["vocab"] = [old[i] for i in np.argsort(new_ids)]
        model["unk_id"] = int(new_ids[model["unk_id"]])
    else:
        model["vocab"] = {token: int(new_ids[i]) for token, i in model["vocab"].items()}
    for entry in spec["added_tokens"]:
        entry["id"] = int(new_ids[entry["id"]])
    spec["added_tokens"].sort(key=lambda entry: entry["id"])
    for entry in (spec.get("post_processor") or {}).get("special_tokens", {}).values():
        entry["ids"] = [int(new_ids[i]) for i in entry["ids"]]
    return wrap(Tokenizer.from_str(json.dumps(spec)), specials)


_TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 64,
}


def _config(name: str, tokenizer: Any, n_rows: int) -> Any:
    import transformers as tr

    ids = {
        f"{role}_token_id": getattr(tokenizer, f"{role}_token_id")
        for role in ("bos", "eos", "pad")
        if getattr(tokenizer, f"{role}_token_id") is not None
    }
    if name in ("bert", "bert-base"):
        return tr.BertConfig(vocab_size=n_rows, **_TINY, **ids)
    if name == "roberta":
        return tr.RobertaConfig(vocab_size=n_rows, **_TINY, **ids)
    if name == "xlm-r":
        return tr.XLMRobertaConfig(vocab_size=n_rows, **_TINY, **ids)
    if name == "gpt2":
        return tr.GPT2Config(vocab_size=n_rows, n_embd=16, n_layer=2, n_head=2, n_positions=64, **ids)
    if name in ("llama", "llama-untied"):
        tied = name == "llama"
        return tr.LlamaConfig(
            vocab_size=n_rows, num_key_value_heads=1, tie_word_embeddings=tied, **_TINY, **ids
        )
    if name == "modernbert":
        return tr.ModernBertConfig(
            vocab_size=n_rows,
            cls_token_id=tokenizer.cls_token_id,
            sep_token_id=tokenizer.sep_token_id,
            **_TINY,
            **ids,
        )
    return tr.T5Config(
        vocab_size=n_rows,
        d_model=16,
        d_kv=8,
        d_ff=24,
        num_layers=2,
        num_heads=2,
        decoder_start_token_id=tokenizer.pad_token_id,
        **ids,
    )


ARCHITECTURES: Mapping[str, tuple[str, str]] = {
    "roberta": ("RobertaForMaskedLM", "roberta"),
    "bert": ("BertForMaskedLM", "bert"),
    "bert-base": ("BertModel", "bert"),
    "xlm-r": ("XLMRobertaForMaskedLM", "roberta"),
    "gpt2": ("GPT2LMHeadModel", "gpt2"),
    "llama": ("LlamaForCausalLM", "llama"),
    "llama-untied": ("LlamaForCausalLM", "llama"),
    "modernbert": ("ModernBertForMaskedLM", "roberta"),
    "t5": ("T5ForConditionalGeneration", "t5"),
}


def build_model(name: str, tokenizer: Any, *, n_rows: int | None = None, seed: int = 0) -> Any:
    """A tiny model with noise in every parameter: zero biases would hide a row in the wrong place."""
    import torch
    import transformers as tr

    cls = getattr(tr, ARCHITECTURES[name][0])
    size = max(tokenizer.get_vocab().values()) + 1
    model = cls(_config(name, tokenizer, n_rows or size)).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


@pytest.fixture(scope="session")
def tokenizers() -> Mapping[str, Any]:
    """One trained tokenizer of each family."""
    return {family: train(family) for family in SPECIALS}


@pytest.fixture(scope="session")
def specials() -> Mapping[str, Mapping[str, str]]:
    """Special tokens of each family, as PreTrainedTokenizerFast takes them."""
    return SPECIALS


@pytest.fixture(scope="session")
def make_renumbered() -> Callable[..., Any]:
    """``make_renumbered(tokenizer, new_ids, specials)``: the same tokenizer with other ids."""
    return renumber


@pytest.fixture(scope="session")
def make_wrapped() -> Callable[..., Any]:
    """``make_wrapped(tokenizers.Tokenizer, specials)``: the transformers object."""
    return wrap


@pytest.fixture(scope="session")
def make_model() -> Callable[..., Any]:
    """``make_model(architecture, tokenizer, n_rows=None, seed=0)``: a tiny model full of noise."""
    return build_model


@pytest.fixture(scope="session")
def architectures() -> Mapping[str, tuple[str, str]]:
    """Name of a tiny architecture to its model class and its tokenizer's family."""
    return ARCHITECTURES


@pytest.fixture
def saved_model(tmp_path: Path, tokenizers: Mapping[str, Any]) -> Callable[..., tuple[Path, Any]]:
    """``saved_model(architecture, **save options)``: a saved model directory and its tokenizer."""

    def save(name: str, *, n_rows: int | None = None, dtype: Any = None, **options: Any) -> tuple[Path, Any]:
        tokenizer = tokenizers[ARCHITECTURES[name][1]]
        folder = tmp_path / f"src-{name}"
        model = build_model(name, tokenizer, n_rows=n_rows)
        model.to(dtype) if dtype is not None else model
        model.save_pretrained(folder, **options)
        tokenizer.save_pretrained(folder)
        return folder, tokenizer

    return save
