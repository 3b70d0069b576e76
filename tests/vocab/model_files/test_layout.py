"""Where the vocabulary is, for every architecture."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers as tr
from safetensors.torch import load_file, save_file

from align.errors import InputError
from vocab import transfer
from vocab.model_files.checkpoint import open_checkpoint
from vocab.model_files.layout import find_vocabulary, match_checkpoint, model_class, read_config

WANTED: Mapping[str, Mapping[str, str]] = {
    "roberta": {
        "roberta.embeddings.word_embeddings.weight": "input",
        "lm_head.decoder.weight": "head",
        "lm_head.decoder.bias": "bias",
        "lm_head.bias": "bias",
    },
    "bert": {
        "bert.embeddings.word_embeddings.weight": "input",
        "cls.predictions.decoder.weight": "head",
        "cls.predictions.decoder.bias": "bias",
        "cls.predictions.bias": "bias",
    },
    "bert-base": {"embeddings.word_embeddings.weight": "input"},
    "gpt2": {"transformer.wte.weight": "input", "lm_head.weight": "head"},
    "llama": {"model.embed_tokens.weight": "input", "lm_head.weight": "head"},
    "llama-untied": {"model.embed_tokens.weight": "input", "lm_head.weight": "head"},
    "modernbert": {
        "model.embeddings.tok_embeddings.weight": "input",
        "decoder.weight": "head",
        "decoder.bias": "bias",
    },
    "t5": {
        "shared.weight": "input",
        "encoder.embed_tokens.weight": "input",
        "decoder.embed_tokens.weight": "input",
        "lm_head.weight": "head",
    },
}

_SIDE = {"layers": 1, "attention_heads": 1, "ffn_dim": 8}


def layout_of(folder: Path) -> Any:
    config = read_config(folder)
    return find_vocabulary(model_class(config, folder), config)


@pytest.mark.parametrize("name", [*WANTED, "xlm-r"])
def test_tensors_of_each_architecture(saved_model: Callable[..., Any], name: str) -> None:
    folder, _ = saved_model(name)
    layout = layout_of(folder)
    assert {tensor.name: tensor.role for tensor in layout.tensors} == WANTED[
        "roberta" if name == "xlm-r" else name
    ]
    assert all(tensor.axis == 0 for tensor in layout.tensors)
    tied = {tensor.name for tensor in layout.tensors if tensor.tied_to}
    assert ("lm_head.weight" in tied) == (name in ("gpt2", "llama", "t5"))
    stored = open_checkpoint(folder).tensors
    assert set(match_checkpoint(layout, open_checkpoint(folder))) == {
        tensor.name for tensor in layout.tensors if tensor.name in stored
    }


def test_equal_numbers_are_no_vocabulary() -> None:
    config = tr.BertConfig(
        vocab_size=64,
        hidden_size=64,
        intermediate_size=64,
        max_position_embeddings=64,
        type_vocab_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    layout = find_vocabulary(tr.BertForMaskedLM, config)
    assert {tensor.name: tensor.axis for tensor in layout.tensors} == dict.fromkeys(WANTED["bert"], 0)
    assert config.vocab_size == 64


def test_nested_text_config_and_bias_with_two_axes() -> None:
    text = tr.LlamaConfig(
        vocab_size=40, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    vision = tr.CLIPVisionConfig(
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=8,
        image_size=8,
        patch_size=4,
    )
    config = tr.LlavaConfig(text_config=text, vision_config=vision, image_token_index=39)
    layout = find_vocabulary(tr.LlavaForConditionalGeneration, config)
    assert layout.config_path == ("text_config",)
    assert {tensor.role for tensor in layout.tensors} == {"input", "head"}

    small = {"d_model": 8, "encoder_layers": 1, "decoder_layers": 1}
    heads = {"encoder_attention_heads": 1, "decoder_attention_heads": 1, "pad_token_id": 1}
    bart = tr.BartConfig(vocab_size=40, encoder_ffn_dim=8, decoder_ffn_dim=8, **small, **heads)
    bias = [t for t in find_vocabulary(tr.BartForConditionalGeneration, bart).tensors if t.role == "bias"]
    assert [(tensor.name, tensor.axis, tensor.shape) for tensor in bias] == [
        ("final_logits_bias", 1, (1, 40))
    ]


def test_position_tables_that_count_from_padding() -> None:
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    roberta = find_vocabulary(tr.RobertaModel, tr.RobertaConfig(vocab_size=20, pad_token_id=1, **small))
    assert [(t.tensor, t.pad_id, t.follows_config) for t in roberta.positions] == [
        ("embeddings.position_embeddings.weight", 1, True)
    ]
    mpnet = find_vocabulary(tr.MPNetModel, tr.MPNetConfig(vocab_size=20, **small))
    assert [(t.tensor, t.pad_id, t.follows_config) for t in mpnet.positions] == [
        ("embeddings.position_embeddings.weight", 1, False)
    ]
    sides = {f"{side}_{key}": n for side in ("encoder", "decoder") for key, n in _SIDE.items()}
    sinusoidal = tr.M2M100Config(vocab_size=20, d_model=8, **sides)
    tables = find_vocabulary(tr.M2M100ForConditionalGeneration, sinusoidal).positions
    assert [(table.tensor, table.follows_config) for table in tables] == [(None, True), (None, True)]
    bert = find_vocabulary(tr.BertModel, tr.BertConfig(vocab_size=20, **small))
    assert bert.positions == ()


@pytest.mark.parametrize(
    ("name", "rename"),
    [
        ("gpt2", lambda key: key.removeprefix("transformer.")),  # as the first GPT-2 files
        ("bert-base", lambda key: f"bert.{key}"),
        ("llama-untied", lambda key: f"language_model.{key}"),  # an older composite model
    ],
)
def test_other_spellings_of_names(
    saved_model: Callable[..., Any], name: str, rename: Callable[[str], str]
) -> None:
    folder, _ = saved_model(name)
    path = folder / "model.safetensors"
    found = match_checkpoint(layout_of(folder), open_checkpoint(folder))
    save_file({rename(key): tensor for key, tensor in load_file(path).items()}, path)
    renamed = match_checkpoint(layout_of(folder), open_checkpoint(folder))
    assert {key: tensor.name for key, tensor in renamed.items()} == {
        rename(key): tensor.name for key, tensor in found.items()
    }


def test_head_that_the_named_architecture_does_not_use(saved_model: Callable[..., Any]) -> None:
    folder, _ = saved_model("bert")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architectures": ["BertModel"]}))
    found = match_checkpoint(layout_of(folder), open_checkpoint(folder))
    assert {key: tensor.role for key, tensor in found.items()} == {
        "bert.embeddings.word_embeddings.weight": "input",
        "cls.predictions.bias": "bias",
    }


def test_an_untied_head_with_a_name_of_its_own_on_disk(tmp_path: Path, tokenizers: Mapping[str, Any]) -> None:
    """transformers calls GPT-NeoX's head ``lm_head`` and writes ``embed_out``."""
    tokenizer = tokenizers["gpt2"]
    config = tr.GPTNeoXConfig(
        vocab_size=len(tokenizer) + 8,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        tie_word_embeddings=False,
        eos_token_id=tokenizer.eos_token_id,
    )
    tr.GPTNeoXForCausalLM(config).save_pretrained(tmp_path / "source")
    tokenizer.save_pretrained(tmp_path / "source")
    config, checkpoint = read_config(tmp_path / "source"), open_checkpoint(tmp_path / "source")
    layout = find_vocabulary(tr.GPTNeoXForCausalLM, config)
    found = {key: tensor.role for key, tensor in match_checkpoint(layout, checkpoint).items()}
    assert found == {"gpt_neox.embed_in.weight": "input", "embed_out.weight": "head"}

    result = transfer(tmp_path / "source", mode="trim", corpus=[["the old man walked to the river"]])
    result.save(tmp_path / "trimmed")
    old, new = (
        tr.GPTNeoXForCausalLM.from_pretrained(tmp_path / name).lm_head.weight
        for name in ("source", "trimmed")
    )
    rows, kept = result.plan.whole_rows
    assert len(rows) == len(new) < len(tokenizer)
    torch.testing.assert_close(new[rows], old[kept], rtol=0, atol=0)


def test_unknown_tensor_as_long_as_the_vocabulary_is_reported(saved_model: Callable[..., Any]) -> None:
    folder, tokenizer = saved_model("gpt2")
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {"value_head": torch.zeros(len(tokenizer))}, folder / "model.safetensors")
    with pytest.warns(UserWarning, match="copied unchanged: value_head"):
        match_checkpoint(layout_of(folder), open_checkpoint(folder))


def test_rows_that_disagree_with_the_config(saved_model: Callable[..., Any]) -> None:
    folder, tokenizer = saved_model("roberta")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": len(tokenizer) + 3}))
    with pytest.raises(InputError, match=r"disagree about the vocabulary .* config\.vocab_size"):
        match_checkpoint(layout_of(folder), open_checkpoint(folder))


def test_quantised_or_missing_embeddings(saved_model: Callable[..., Any]) -> None:
    folder, _ = saved_model("bert-base")
    key, path = "embeddings.word_embeddings.weight", folder / "model.safetensors"
    tensors = load_file(path)
    save_file(tensors | {key: tensors[key].to(torch.int8)}, path)
    with pytest.raises(InputError, match="quantised"):
        match_checkpoint(layout_of(folder), open_checkpoint(folder))
    del tensors[key]
    save_file(tensors, path)
    with pytest.raises(InputError, match="no input embeddings"):
        match_checkpoint(layout_of(folder), open_checkpoint(folder))


def test_configs_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config\.json is missing"):
        read_config(tmp_path)
    path = tmp_path / "config.json"
    path.write_text("{")
    with pytest.raises(InputError, match="damaged"):
        read_config(tmp_path)
    path.write_text('{"model_type": "no-such-model"}')
    with pytest.raises(InputError, match="transformers cannot read"):
        read_config(tmp_path)
    path.write_text('{"model_type": "bert", "architectures": ["BertForTimeTravel"]}')
    with pytest.raises(InputError, match="BertForTimeTravel"):
        model_class(read_config(tmp_path), tmp_path)
    path.write_text('{"model_type": "bert"}')
    assert model_class(read_config(tmp_path), tmp_path) is tr.BertModel
    with pytest.raises(InputError, match="without a vocabulary size"):
        find_vocabulary(tr.ViTModel, tr.ViTConfig())
