"""The embedded demo model, as it is shipped."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from vocab import demo

# whole, none of these is in the training text
SENTENCES = [
    "The teacher walked slowly to the old house at the end of the village.",
    "My brother gave me a cup of water because I was very tired.",
    "They had no money, so they stayed at home and waited for the morning.",
    "She looked at her mother and said that she was sorry.",
    "In the evening the men came back from the fields with their tools.",
]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(demo.path())


@pytest.fixture(scope="module")
def model() -> Any:
    return AutoModelForMaskedLM.from_pretrained(demo.path(), dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def training() -> dict[str, Any]:
    return json.loads((demo.path() / "training.json").read_text())


def ranks(model: Any, tokenizer: Any, sentence: str) -> list[str]:
    """Tokens for the one ``<mask>`` of a sentence, likeliest first."""
    batch = tokenizer(sentence, return_tensors="pt")
    with torch.no_grad():
        logits = model(**batch).logits[0][batch["input_ids"][0] == tokenizer.mask_token_id]
    return tokenizer.convert_ids_to_tokens(logits[0].argsort(descending=True).tolist())


def test_opens_without_a_word(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    AutoTokenizer.from_pretrained(demo.path())
    _, info = AutoModelForMaskedLM.from_pretrained(demo.path(), output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert not caplog.records
    # the progress bar is the only thing that may be written
    written = "".join(capfd.readouterr())
    assert not re.search("warn|newly initialized|LOAD REPORT", written, re.IGNORECASE), written


def test_directory_is_small_and_self_contained() -> None:
    files = [file for file in demo.path().rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    assert sum(file.stat().st_size for file in files) <= 6 * 2**20
    names = {file.name for file in files}
    assert names >= {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "README.md",
    }
    assert not any(file.suffix in {".bin", ".pt", ".pkl"} for file in files)


def test_weights_are_half_precision_and_tied() -> None:
    model = AutoModelForMaskedLM.from_pretrained(demo.path(), dtype="auto")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float16}
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight


def test_vocabulary_is_the_rows(tokenizer: Any, model: Any) -> None:
    n = len(tokenizer)
    assert n == model.config.vocab_size == len(model.get_input_embeddings().weight) == len(model.lm_head.bias)
    assert sorted(tokenizer.get_vocab().values()) == list(range(n))
    specials = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    assert tokenizer.convert_tokens_to_ids(specials) == [0, 1, 2, 3, n - 1]
    assert (model.config.bos_token_id, model.config.pad_token_id, model.config.eos_token_id) == (0, 1, 2)


def test_bias_is_trained(tokenizer: Any, model: Any) -> None:
    bias = model.lm_head.bias.detach().numpy()
    assert bias.std() > 0.3
    common = tokenizer.convert_tokens_to_ids(["Ġthe", "Ġand", "Ġof", ","])
    assert bias[common].min() > np.median(bias)


@pytest.mark.parametrize(
    "text",
    [
        "He opened the door.",
        "\"No,\" she said -- 'never!'",
        "Größe, habari ya asubuhi",
        "日本 🙂",
        "  two  spaces\n",
    ],
)
def test_text_survives_the_tokenizer(tokenizer: Any, text: str) -> None:
    ids = tokenizer(text)["input_ids"]
    assert (ids[0], ids[-1]) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False) == text


def test_first_word_takes_no_space(tokenizer: Any) -> None:
    assert tokenizer.tokenize("house") != tokenizer.tokenize(" house") == ["Ġhouse"]


def test_longest_input_runs(tokenizer: Any, model: Any) -> None:
    batch = tokenizer("word " * 500, truncation=True, return_tensors="pt")
    assert batch["input_ids"].shape == (1, tokenizer.model_max_length)
    with torch.no_grad():
        assert torch.isfinite(model(**batch).logits).all()


def test_loss_is_far_below_chance(tokenizer: Any, model: Any) -> None:
    losses = []
    for sentence in SENTENCES:
        ids = tokenizer(sentence, return_tensors="pt")["input_ids"][0]
        places = torch.arange(1, len(ids) - 1)
        batch = ids.repeat(len(places), 1)
        batch[torch.arange(len(places)), places] = tokenizer.mask_token_id
        with torch.no_grad():
            logits = model(input_ids=batch).logits[torch.arange(len(places)), places]
        losses.append(torch.nn.functional.cross_entropy(logits, ids[places]).item())
    assert np.mean(losses) < 0.5 * math.log(len(tokenizer))


@pytest.mark.parametrize(
    ("sentence", "plausible"),
    [
        ("He opened the <mask> and went in.", {"Ġdoor"}),
        ("The <mask> is shining in the sky.", {"Ġsun", "Ġmoon"}),
        ("They <mask> bread and drank water.", {"Ġate"}),
        ("He has three <mask>.", {"Ġyears", "Ġchildren"}),
    ],
)
def test_fills_an_easy_mask(model: Any, tokenizer: Any, sentence: str, plausible: set[str]) -> None:
    assert plausible <= set(ranks(model, tokenizer, sentence)[:20])


@pytest.mark.parametrize(
    ("word", "near", "far"),
    [
        ("Ġmother", "Ġfather", "Ġstreet"),
        ("Ġseven", "Ġeight", "Ġanger"),
        ("Ġcame", "Ġwent", "Ġgreen"),
        ("Ġhis", "Ġher", "Ġtable"),
    ],
)
def test_embeddings_mean_something(tokenizer: Any, model: Any, word: str, near: str, far: str) -> None:
    rows = model.get_input_embeddings().weight.detach()[tokenizer.convert_tokens_to_ids([word, near, far])]
    similarity = torch.nn.functional.cosine_similarity(rows[:1], rows[1:])
    assert similarity[0] > similarity[1] + 0.3


def test_record_of_the_training(tokenizer: Any, training: dict[str, Any]) -> None:
    curve = training["curve"]
    assert [point["step"] for point in curve] == sorted(point["step"] for point in curve)
    assert curve[-1]["step"] == training["options"]["steps"]
    assert training["final"]["validation_loss"] < curve[0]["validation_loss"] - 3
    assert training["options"]["vocab_size"] == len(tokenizer)
    assert training["final"]["uniform_loss"] == pytest.approx(math.log(len(tokenizer)), abs=1e-3)
