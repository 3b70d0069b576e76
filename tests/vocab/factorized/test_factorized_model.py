"""Models with embeddings of low rank: folded, kept as factors, opened, trained, folded back, refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file

from align.errors import InputError, UsageError
from vocab.factorized.factors import factorize
from vocab.factorized.model import (
    FactorizedEmbedding,
    FactorizedHead,
    fold_factorized,
    load_factorized,
)
from vocab.factorized.output import check_rank
from vocab.heads.adding import add_head
from vocab.model_files.output import write_model_directory
from vocab.options import TransferOptions
from vocab.plan import Origin, TransferPlan
from vocab.plan.sampling import Sampling
from vocab.tokens import Vocabulary

K = 5
NAMES = [
    "roberta",
    *(
        pytest.param(one, marks=pytest.mark.slow)
        for one in ("t5", "bert", "gpt2", "llama", "llama-untied", "modernbert")
    ),
]
Saved = Callable[..., tuple[Path, Any]]


def make_plan(tokenizer: Any) -> TransferPlan:
    """Sums with a norm policy, copies, and drawn rows."""
    tokens = Vocabulary.of(tokenizer).tokens
    n = len(tokens)
    rng = np.random.default_rng(4)
    cols = rng.integers(0, n, (2, n))
    weights = rng.uniform(0.2, 1, (2, n))
    origins = np.where(np.arange(n) < n - 20, np.uint8(Origin.MIXED), np.uint8(Origin.SAMPLED))
    kept = np.flatnonzero(origins == Origin.MIXED)
    plan = TransferPlan.from_entries(
        np.concatenate([kept, kept]),
        cols[:, kept].ravel(),
        weights[:, kept].ravel(),
        origins,
        src_tokens=tokens,
        tgt_tokens=tokens,
        method="noise",
    )
    drawn = replace(plan, origins=origins, sampling=Sampling("normal", seed=3))
    return drawn.with_norm("sources")


def write(src: Path, out: Path, tokenizer: Any, **options: Any) -> Any:
    return write_model_directory(
        src,
        out,
        make_plan(tokenizer),
        tokenizer,
        tokenizer,
        provenance={"schema": 1},
        card="# A card\n",
        **options,
    )


def run(model: Any, ids: torch.Tensor) -> torch.Tensor:
    inputs = {"input_ids": ids}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids[:, :2]
    return model(**inputs).logits


@pytest.mark.parametrize("name", NAMES)
def test_kept_factors_are_the_folded_model(saved_model: Saved, tmp_path: Path, name: str) -> None:
    src, tokenizer = saved_model(name)
    folded = write(src, tmp_path / "folded", tokenizer, rank=K)
    kept = write(src, tmp_path / "kept", tokenizer, rank=K, keep_factorized=True)
    assert folded.verification.forward == kept.verification.forward == "passed"
    assert any(f"is of rank {K} and keeps" in note for note in kept.notes)
    cls = getattr(transformers, json.loads((src / "config.json").read_text())["architectures"][0])
    want, got = cls.from_pretrained(tmp_path / "folded").eval(), load_factorized(tmp_path / "kept")
    E = want.get_input_embeddings().weight.detach()
    assert torch.linalg.matrix_rank(E) == K
    embedding = got.get_input_embeddings()
    assert isinstance(embedding, FactorizedEmbedding)
    assert embedding.coordinates.weight.shape == (len(tokenizer), K)
    torch.testing.assert_close(embedding.weight, E, rtol=1e-5, atol=1e-5)
    head = got.get_output_embeddings()
    assert isinstance(head, FactorizedHead) == (name != "llama-untied")
    if name != "llama-untied":
        assert head.coordinates.weight is embedding.coordinates.weight
    ids = torch.tensor([tokenizer("the old man").input_ids])
    with torch.inference_mode():
        torch.testing.assert_close(run(got, ids), run(want, ids), rtol=1e-4, atol=1e-4)
    reloaded = transformers.AutoTokenizer.from_pretrained(tmp_path / "kept")
    assert reloaded("the old man").input_ids == ids[0].tolist()
    # it learns, and what it has learned survives being folded and saved
    run(got, ids).square().mean().backward()
    assert embedding.primitives.weight.grad.abs().sum() > 0
    with torch.no_grad():
        embedding.coordinates.weight += 0.01
        learned = run(got, ids)
    with pytest.raises(UsageError, match=r"vocab\.fold_factorized"):
        got.save_pretrained(tmp_path / "never")
    ordinary = fold_factorized(got)
    assert type(ordinary) is cls
    ordinary.save_pretrained(tmp_path / "ordinary")
    again, info = cls.from_pretrained(tmp_path / "ordinary", output_loading_info=True)
    assert not info["missing_keys"]
    with torch.inference_mode():
        torch.testing.assert_close(run(again.eval(), ids), learned, rtol=1e-4, atol=1e-4)
    with pytest.raises(UsageError, match="nothing to fold"):
        fold_factorized(again)


def test_rows_are_the_plan_on_the_best_approximation(saved_model: Saved, tmp_path: Path) -> None:
    src, tokenizer = saved_model("bert")
    key = "bert.embeddings.word_embeddings.weight"
    E = load_file(src / "model.safetensors")[key].numpy()
    write(src, tmp_path / "out", tokenizer, rank=K)
    got = load_file(tmp_path / "out/model.safetensors")[key].numpy()
    plan = make_plan(tokenizer)
    mixed = plan.origins == Origin.MIXED
    want = plan.apply(factorize(E, K).fold())
    np.testing.assert_allclose(got[mixed], want[mixed], atol=1e-5)
    drawn = got[~mixed]
    directions = factorize(E, K).directions()
    np.testing.assert_allclose(drawn @ directions.T @ directions, drawn, atol=1e-5)
    assert np.ptp(drawn, axis=0).min() > 0
    other = load_file(src / "model.safetensors")
    full = load_file(tmp_path / "out/model.safetensors")
    same = [name for name in full if full[name].shape[0] != len(tokenizer)]
    assert same
    assert all(torch.equal(full[name], other[name]) for name in same)


def test_full_rank_changes_nothing_but_rounding(saved_model: Saved, tmp_path: Path) -> None:
    src, tokenizer = saved_model("bert")
    write(src, tmp_path / "plain", tokenizer)
    write(src, tmp_path / "full", tokenizer, rank=16)
    want, got = (load_file(tmp_path / one / "model.safetensors") for one in ("plain", "full"))
    mixed = make_plan(tokenizer).origins == Origin.MIXED
    for key in want:
        rows = mixed if want[key].shape[0] == len(mixed) else slice(None)
        np.testing.assert_allclose(got[key][rows], want[key][rows], atol=1e-5, err_msg=key)


def test_no_loader_takes_it_for_a_model(saved_model: Saved, tmp_path: Path) -> None:
    src, tokenizer = saved_model("bert", dtype=torch.bfloat16)
    kept = tmp_path / "kept"
    write(src, kept, tokenizer, rank=K, keep_factorized=True)
    assert load_factorized(kept).get_input_embeddings().coordinates.weight.dtype == torch.bfloat16
    for auto in (transformers.AutoModel, transformers.AutoModelForMaskedLM, transformers.AutoConfig):
        with pytest.raises(ValueError, match=r"vocab\.load_factorized"):
            auto.from_pretrained(kept)
    config = transformers.AutoConfig.from_pretrained(src)
    cls = transformers.BertForMaskedLM
    for options in ({}, {"config": config}):
        with pytest.raises(OSError, match=r"model\.safetensors"):
            cls.from_pretrained(kept, **options)
    with pytest.raises(RuntimeError, match="ignore_mismatched_sizes"):
        cls.from_pretrained(kept, config=config, subfolder="factorized")
    with pytest.raises(InputError, match=r"vocab\.load_factorized"):
        add_head(src, kept, "sw")


def test_what_is_refused(saved_model: Saved, tmp_path: Path) -> None:
    src, tokenizer = saved_model("bert")
    for options, match in (
        ({"rank": 0}, "--rank"),
        ({"keep_factorized": True}, "keeps the factors of --rank"),
        ({"rank": 3, "mode": "trim"}, "does not go with --mode trim"),
    ):
        with pytest.raises(UsageError, match=match):
            TransferOptions(**options)
    with pytest.raises(UsageError, match="got 17, wanted 1 to 16"):
        check_rank(src, 17, keep=False)
    with pytest.raises(InputError, match="ordinary model, without factors"):
        load_factorized(src)
    with pytest.raises(InputError, match="no factorised model"):
        load_factorized(tmp_path / "nothing")
    kept = tmp_path / "kept"
    write(src, kept, tokenizer, rank=K, keep_factorized=True)
    primitives = kept / "factorized/primitives.safetensors"
    primitives.write_bytes(primitives.read_bytes()[:-8])
    with pytest.raises(InputError, match=r"primitives\.safetensors: weights that cannot be read"):
        load_factorized(kept)
    gemma = transformers.Gemma3TextConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, head_dim=8,
        num_key_value_heads=1, intermediate_size=8,
    )  # fmt: skip
    transformers.Gemma3ForCausalLM(gemma).save_pretrained(tmp_path / "gemma")
    check_rank(tmp_path / "gemma", 4, keep=False)
    with pytest.raises(InputError, match=r"more than a table.*Gemma3TextScaledWordEmbedding"):
        check_rank(tmp_path / "gemma", 4, keep=True)
