"""Extend, trim and swap from end to end: rows, ids, hidden states."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from align.errors import OutputError, UsageError
from tests.vocab import conftest
from tests.vocab.conftest import ARCHITECTURES, build_model, train
from vocab import TransferOptions, transfer
from vocab.modes.choosing import kept_rows
from vocab.modes.swapping import compared_roles, confirm_swap, model_rows
from vocab.plan import Origin
from vocab.tokenizer.loading import load_tokenizer
from vocab.tokens import Vocabulary

RUSSIAN = ["добрый день, мой старый друг", "старый дом и добрый день", "мой дом, мой друг"] * 2
SEEN = ["the old man walked to the river", "a dog barked at the moon"]


def state(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def config(folder: Path) -> dict[str, Any]:
    read = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return {key: value for key, value in read.items() if key not in ("transformers_version", "dtype")}


def by_row(tensor: torch.Tensor, n_rows: int) -> torch.Tensor | None:
    """The tensor with the vocabulary first, or None if it has none."""
    axes = [axis for axis, size in enumerate(tensor.shape) if size == n_rows]
    return tensor.movedim(axes[0], 0) if axes else None


@pytest.mark.parametrize("name", ["bert", "roberta", "gpt2", "llama-untied", "t5"])
def test_extend_and_trim_back(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # a byte-level token that ends within a character is of no script
    monkeypatch.setattr(conftest, "SENTENCES", [line.replace("ï", "i") for line in conftest.SENTENCES])
    source, tokenizer = tmp_path / "source", train(ARCHITECTURES[name][1])
    build_model(name, tokenizer).save_pretrained(source)
    tokenizer.save_pretrained(source)
    n_old = len(tokenizer)
    extended = transfer(source, "ru", mode="extend", method="mean", corpus=[RUSSIAN])
    written = extended.save(tmp_path / "extended")
    assert written.n_rows > n_old
    assert (extended.plan.origins[n_old:] == Origin.SAMPLED).all()
    before, after = state(source), state(written.path)
    n_tensors = 0
    for key, tensor in before.items():
        rows = by_row(tensor, n_old)
        if rows is None:
            torch.testing.assert_close(after[key], tensor, rtol=0, atol=0)
        else:
            n_tensors += 1
            torch.testing.assert_close(by_row(after[key], written.n_rows)[:n_old], rows, rtol=0, atol=0)
    assert n_tensors

    back = transfer(written.path, "en", mode="trim", scripts=["Latin"]).save(tmp_path / "back")
    assert back.n_rows == n_old
    for key, tensor in before.items():
        torch.testing.assert_close(state(back.path)[key], tensor, rtol=0, atol=0)
    assert config(back.path) == config(written.path) | {"vocab_size": n_old}
    again = load_tokenizer(back.path)
    assert json.loads(again.backend_tokenizer.to_str()) == json.loads(tokenizer.backend_tokenizer.to_str())
    assert again.special_tokens_map == tokenizer.special_tokens_map


@pytest.mark.parametrize("name", ["bert", "roberta", "gpt2", "llama-untied", "t5"])
def test_a_trimmed_model_computes_the_same(
    name: str, tmp_path: Path, saved_model: Callable[..., tuple[Path, Any]]
) -> None:
    source, tokenizer = saved_model(name)
    result = transfer(source, mode="trim", corpus=[SEEN])
    folder = result.save(tmp_path / "trimmed").path
    assert set(result.plan.origins) <= {Origin.COPIED, Origin.SPECIAL}
    rows, kept = result.plan.whole_rows
    np.testing.assert_array_equal(rows, np.arange(len(result.tokenizer)))
    assert len(kept) < len(tokenizer)
    import transformers

    cls = getattr(transformers, ARCHITECTURES[name][0])
    models = [cls.from_pretrained(place).eval() for place in (source, folder)]
    for text in SEEN:
        ids = [torch.tensor([side(text).input_ids]) for side in (tokenizer, result.tokenizer)]
        np.testing.assert_array_equal(kept[ids[1].numpy()], ids[0].numpy())
        outputs = []
        for model, sequence in zip(models, ids, strict=True):
            inputs = {"decoder_input_ids": sequence} if model.config.is_encoder_decoder else {}
            with torch.no_grad():
                outputs.append(model(sequence, output_hidden_states=True, **inputs))
        key = "decoder_hidden_states" if name == "t5" else "hidden_states"
        for old, new in zip(*(output[key] for output in outputs), strict=True):
            torch.testing.assert_close(new, old, rtol=0, atol=0)
        torch.testing.assert_close(outputs[1].logits, outputs[0].logits[..., kept], rtol=1e-6, atol=1e-5)


def test_ids_in_the_configs_follow_a_token_that_moves(tmp_path: Path) -> None:
    tokenizer = train("llama")
    tokenizer.add_tokens([f"<extra-{i}>" for i in range(300)], special_tokens=True)
    tokenizer.eos_token, tokenizer.pad_token = "<extra-299>", "<extra-5>"
    model = build_model("llama-untied", tokenizer, n_rows=704)  # rows of padding past 656 tokens
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(tmp_path / "source")
    tokenizer.save_pretrained(tmp_path / "source")

    extended = transfer(
        tmp_path / "source", "ru", mode="extend", method="mean", corpus=[RUSSIAN], add_tokens=9
    )
    n_old = len(tokenizer)
    assert extended.plan.n_tgt == n_old + 9
    assert extended.tokenizer.eos_token_id == tokenizer.eos_token_id
    trimmed = transfer(tmp_path / "source", mode="trim", corpus=[SEEN])
    for result in (extended, trimmed):
        folder = result.save(tmp_path / result.prepared.options.mode).path
        eos, pad = result.tokenizer.eos_token_id, result.tokenizer.pad_token_id
        assert (config(folder)["eos_token_id"], config(folder)["pad_token_id"]) == (eos, pad)
        generation = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))
        assert generation["eos_token_id"] == eos
        old, new = (state(place)["lm_head.weight"] for place in (tmp_path / "source", folder))
        assert len(new) == result.plan.n_tgt
        torch.testing.assert_close(new[eos], old[tokenizer.eos_token_id], rtol=0, atol=0)
    assert trimmed.tokenizer.eos_token_id < tokenizer.eos_token_id


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_model_swapped_to_its_own_tokenizer_is_itself(
    dtype: torch.dtype, tmp_path: Path, saved_model: Callable[..., tuple[Path, Any]]
) -> None:
    source, tokenizer = saved_model("gpt2", n_rows=400, dtype=dtype)
    result = transfer(source, mode="swap", tokenizer=str(source))
    written = result.save(tmp_path / "same")
    assert written.n_rows == 400  # padded as the tokenizer's model is
    n_tokens = len(tokenizer)
    for key, tensor in state(source).items():
        same = state(written.path)[key]
        if tensor.shape[0] == 400:
            torch.testing.assert_close(same[:n_tokens], tensor[:n_tokens], rtol=0, atol=0)
        else:
            torch.testing.assert_close(same, tensor, rtol=0, atol=0)
    told = {decision.what: decision.value for decision in result.decisions}
    assert told["special tokens"] == "bos, eos, unk in both"
    assert told["swapped"].startswith(f"{n_tokens:,} tokens, special tokens and chat template as in src-gpt2")
    assert told["swapped"].endswith("400 rows where its model has 400")
    assert result.prepared.tgt_lang.code == "en"


def test_a_draft_speaks_the_tokenizer_of_its_donor(
    tmp_path: Path, saved_model: Callable[..., tuple[Path, Any]]
) -> None:
    source, _ = saved_model("gpt2")
    theirs = train("llama", size=260)
    donor = tmp_path / "donor"
    build_model("llama", theirs, n_rows=448).save_pretrained(donor)
    theirs.save_pretrained(donor)
    result = transfer(source, mode="swap", donor=str(donor))
    told = {decision.what: decision.value for decision in result.decisions}
    assert told["method"] == "omp"
    written = result.save(tmp_path / "draft")
    assert written.n_rows == 448
    assert load_tokenizer(written.path).get_vocab() == theirs.get_vocab()
    assert config(written.path)["vocab_size"] == 448
    copied = result.plan.origins == Origin.COPIED
    assert copied.sum() > 256


def test_a_swap_that_did_not_happen_is_noticed(
    tmp_path: Path, saved_model: Callable[..., tuple[Path, Any]]
) -> None:
    source, tokenizer = saved_model("gpt2")
    tokenizer.chat_template = "{{ messages }}"
    tokenizer.save_pretrained(tmp_path / "other")
    tokenizer.chat_template = None
    with pytest.raises(OutputError, match="got another chat template"):
        confirm_swap(source, tmp_path / "other", n_rows=1)
    result = transfer(source, mode="swap", tokenizer=str(tmp_path / "other"), method="mean")
    result.tokenizer.chat_template = None
    before = sorted(tmp_path.iterdir())
    with pytest.raises(OutputError, match=r"/other: .*\(got another chat template\)\. Nothing was written"):
        result.save(tmp_path / "swapped")
    assert sorted(tmp_path.iterdir()) == before
    assert model_rows(tmp_path / "other", 1) is None
    assert model_rows(source, 10**6) is None
    source_roles, target_roles = Vocabulary.of(train("llama")), Vocabulary.of(train("bert"))
    assert (
        compared_roles(source_roles, target_roles)
        == "unk in both; cls, sep, pad, mask only in the new tokenizer"
    )


def test_kept_rows_leave_new_ones_empty() -> None:
    source = Vocabulary.of(train("gpt2"))
    plan = kept_rows(source, source, np.where(np.arange(len(source)) < 9, np.arange(len(source)), -1))
    assert plan.origins[:10].tolist() == [Origin.SPECIAL, *[Origin.COPIED] * 8, Origin.EMPTY]
    assert plan.weights.nnz == 9


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (
            {"mode": "trim", "method": "mean"},
            "--method does not go with --mode trim: every row of it is a copy",
        ),
        (
            {"mode": "trim", "lexicon": Path("a")},
            "--lexicon does not go with --mode trim: it reads --corpus alone",
        ),
        ({"mode": "trim", "fetch": ("opus:auto",)}, "--fetch does not go with --mode trim"),
        ({"mode": "trim", "fetch": ("none", "opus:auto")}, "--fetch does not go with --mode trim"),
        ({"mode": "extend", "tokenizer": "x"}, "--tokenizer does not go with --mode extend"),
        ({"mode": "extend", "donor": "x"}, "--donor does not go with --mode extend"),
        ({"add_tokens": 5}, "--add-tokens does not go with --mode replace: only extend adds tokens"),
        ({"min_count": 2}, "--min-count does not go with --mode replace"),
        ({"mode": "swap"}, "--mode swap needs a tokenizer"),
        ({"mode": "swap", "tokenizer": "x", "vocab_size": 7}, "exclude each other"),
        ({"mode": "extend", "add_tokens": 5, "vocab_size": 7}, "exclude each other"),
        ({"mode": "extend", "add_tokens": 0}, "--add-tokens"),
        ({"mode": "trim", "corpus": (["a"],), "scripts": ("Latin",)}, "exclude each other"),
        ({"mode": "trim", "min_count": 0}, "--min-count"),
    ],
)
def test_contradictions(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        TransferOptions(**values)


def test_a_trimming_that_would_leave_nothing_out_says_what_to_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # a byte-level token that ends within a character is of no script
    monkeypatch.setattr(conftest, "SENTENCES", [line.replace("ï", "i") for line in conftest.SENTENCES])
    source, tokenizer = tmp_path / "source", train("gpt2")
    build_model("gpt2", tokenizer).save_pretrained(source)
    tokenizer.save_pretrained(source)
    with pytest.raises(UsageError, match=r"which tokens to leave out .* Give --corpus .*--scripts"):
        transfer(source, "en", mode="trim")
    fewer = transfer(source, "en", mode="trim", vocab_size=len(tokenizer) - 5)
    assert len(fewer.tokenizer) == len(tokenizer) - 5
    assert "keep: Latn (the script of English, as neither" in "\n".join(map(str, fewer.decisions))
    assert len(transfer(source, "en", mode="trim", scripts=["Latin"]).tokenizer) == len(tokenizer)


def test_total_size_of_an_extended_vocabulary(saved_model: Callable[..., tuple[Path, Any]]) -> None:
    source, tokenizer = saved_model("bert")
    n_old = len(tokenizer)
    result = transfer(source, "ru", mode="extend", method="mean", corpus=[RUSSIAN], vocab_size=n_old + 10)
    assert len(result.tokenizer) == n_old + 10
    with pytest.raises(UsageError, match="leaves no room for new tokens"):
        transfer(source, "ru", mode="extend", method="mean", corpus=[RUSSIAN], vocab_size=n_old)
