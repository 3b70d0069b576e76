"""Checks of a written directory that the other tests do not reach."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from tokenizers import normalizers

import vocab.model_files.verify
from align.errors import OutputError
from vocab.model_files.layout import find_vocabulary, model_class, read_config
from vocab.model_files.output import write_model_directory
from vocab.model_files.verify import check_tokenizer, verify_directory
from vocab.plan import Origin, TransferPlan
from vocab.tokens import Vocabulary


def identity_plan(tokenizer: Any) -> TransferPlan:
    tokens = Vocabulary.of(tokenizer).tokens
    n = np.arange(len(tokens))
    return TransferPlan.from_entries(
        n, n, np.ones(len(n)), Origin.COPIED, src_tokens=tokens, tgt_tokens=tokens, method="identity"
    )


def check(folder: Path, tokenizer: Any, n_rows: int) -> Any:
    config = read_config(folder)
    layout = find_vocabulary(model_class(config, folder), config)
    return verify_directory(folder, tokenizer, layout, {}, n_rows=n_rows)


def test_a_model_too_large_for_memory_is_not_loaded(
    saved_model: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    src, tokenizer = saved_model("gpt2")
    monkeypatch.setattr(vocab.model_files.verify, "available_bytes", lambda: 1000)
    written = write_model_directory(
        src, tmp_path / "out", identity_plan(tokenizer), tokenizer, tokenizer, provenance={}, card=""
    )
    assert "not run: it needs about" in written.verification.forward
    assert written.verification.n_tensors == 1


def test_a_class_that_the_architecture_insists_on_is_named(
    tokenizers: Mapping[str, Any], tmp_path: Path
) -> None:
    transformers.Qwen2Config().save_pretrained(tmp_path)
    tokenizer = tokenizers["bert"]
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(OutputError, match="as Qwen2Tokenizer, which changes its vocabulary"):
        check_tokenizer(tmp_path, tokenizer, ["Maji ni uhai."], trust_remote_code=False)


def test_a_class_that_rebuilds_its_tokenizer_is_replaced(
    saved_model: Callable[..., Any], tokenizers: Mapping[str, Any], tmp_path: Path
) -> None:
    src, _ = saved_model("roberta")
    inner = tokenizers["roberta"].backend_tokenizer
    spec = json.loads(inner.to_str())
    merges = [tuple(merge) for merge in spec["model"]["merges"]]
    tokenizer = transformers.RobertaTokenizer(vocab=spec["model"]["vocab"], merges=merges)
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    out = tmp_path / "out"
    write_model_directory(
        src, out, identity_plan(tokenizer), tokenizers["roberta"], tokenizer, provenance={}, card=""
    )
    config = json.loads((out / "tokenizer_config.json").read_text())
    assert config["tokenizer_class"] == "PreTrainedTokenizerFast"
    reloaded = transformers.AutoTokenizer.from_pretrained(out)
    assert reloaded("THE MOON").input_ids == tokenizer("the moon").input_ids


def test_another_tokenizer_or_none(saved_model: Callable[..., Any], tokenizers: Mapping[str, Any]) -> None:
    folder, tokenizer = saved_model("gpt2")
    n_rows = len(tokenizer)
    assert check(folder, tokenizer, n_rows).forward == "passed"
    with pytest.raises(OutputError, match="another vocabulary"):
        check(folder, tokenizers["bert"], n_rows)
    with pytest.raises(OutputError, match="beyond the embedding rows"):
        check(folder, tokenizer, n_rows - 1)
    with pytest.raises(OutputError, match="logits of another size"):
        check(folder, tokenizer, n_rows + 1)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink()
    with pytest.raises(OutputError, match="AutoTokenizer"):
        check(folder, tokenizer, n_rows)


def test_a_lost_vocabulary_tensor(saved_model: Callable[..., Any]) -> None:
    from safetensors.torch import load_file, save_file

    folder, tokenizer = saved_model("llama-untied")
    tensors = load_file(folder / "model.safetensors")
    # under a name that the class does not read: the file has it, the loaded model draws it at random
    tensors["old.embed_tokens.weight"] = tensors.pop("model.embed_tokens.weight")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(OutputError, match="were not loaded"):
        check(folder, tokenizer, len(tokenizer))
