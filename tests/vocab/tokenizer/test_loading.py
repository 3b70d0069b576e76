from __future__ import annotations

import gzip
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer

from align.errors import InputError, UsageError
from vocab.tokenizer.loading import load_tokenizer

_TEXT = [
    "Habari za asubuhi, dunia",
    "Watu wote wamezaliwa huru",
    "Hadhi na haki zao ni sawa",
    "Its naive: 12,345",
] * 3
_SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
_PROBE = "Habari ZA Asubuhi naïve 12 中文\n <mask>"


def _bytelevel(*, normalizer: Any = None) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=_SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_TEXT, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    return tokenizer


def _directory(path: Path, tokenizer: Tokenizer | None, tokenizer_class: str | None, **config: Any) -> Path:
    path.mkdir(exist_ok=True)
    (path / "config.json").write_text(json.dumps({"model_type": "roberta"}))
    if tokenizer is not None:
        tokenizer.save(str(path / "tokenizer.json"))
    if tokenizer_class is not None:
        roles = dict(
            zip(["bos_token", "pad_token", "eos_token", "unk_token", "mask_token"], _SPECIAL, strict=True)
        )
        roles |= {"cls_token": "<s>", "sep_token": "</s>", "tokenizer_class": tokenizer_class}
        (path / "tokenizer_config.json").write_text(json.dumps(roles | config))
    return path


def test_class_and_file_agree(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    described = _bytelevel()
    loaded = load_tokenizer(_directory(tmp_path, described, "RobertaTokenizer", model_max_length=77))
    assert loaded(_PROBE)["input_ids"] == described.encode(_PROBE).ids
    assert (loaded.mask_token_id, loaded.pad_token_id, loaded.model_max_length) == (4, 1, 77)
    assert type(loaded).__name__ == "RobertaTokenizer"
    assert not caplog.records


def test_where_the_class_tokenizes_differently_the_file_wins(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    described = _bytelevel(normalizer=normalizers.Sequence([normalizers.NFD(), normalizers.Lowercase()]))
    path = _directory(tmp_path, described, "RobertaTokenizer")
    rebuilt = AutoTokenizer.from_pretrained(str(path), local_files_only=True)
    assert rebuilt(_PROBE)["input_ids"] != described.encode(_PROBE).ids  # else this test shows nothing
    with caplog.at_level(logging.WARNING, logger="vocab.tokenizer.loading"):
        loaded = load_tokenizer(path)
    assert loaded(_PROBE)["input_ids"] == described.encode(_PROBE).ids
    assert loaded.mask_token_id == 4
    assert "reading the latter" in caplog.text


def test_class_that_cannot_hold_the_model(tmp_path: Path) -> None:
    described = _bytelevel()
    path = _directory(tmp_path, described, "XLMRobertaTokenizer")
    with pytest.raises(TypeError):  # a BPE under the name of a Unigram class
        AutoTokenizer.from_pretrained(str(path), local_files_only=True)
    loaded = load_tokenizer(path)
    assert loaded(_PROBE)["input_ids"] == described.encode(_PROBE).ids
    assert (loaded.bos_token_id, loaded.unk_token_id) == (0, 3)


@pytest.mark.data
@pytest.mark.parametrize("name", ["focus-sw/bpe-50k", "focus-sw/xlmr-unigram-30k"])
def test_published_tokenizers(shared_data: Path, tmp_path: Path, name: str) -> None:
    for file in (shared_data / "tokenizers" / name).iterdir():
        data = file.read_bytes()
        (tmp_path / file.name.removesuffix(".gz")).write_bytes(
            gzip.decompress(data) if file.suffix == ".gz" else data
        )
    described = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    loaded = load_tokenizer(tmp_path)
    assert loaded(_PROBE)["input_ids"] == described.encode(_PROBE).ids
    assert len(loaded) == described.get_vocab_size()


def test_config_alone_is_refused(tmp_path: Path) -> None:
    path = _directory(tmp_path, None, "RobertaTokenizer")
    assert len(AutoTokenizer.from_pretrained(str(path), local_files_only=True)) == 5  # and says nothing
    with pytest.raises(InputError, match="no tokenizer files"):
        load_tokenizer(path)


def test_special_tokens_alone_are_refused(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(_SPECIAL)}, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    tokenizer.add_special_tokens(_SPECIAL)
    with pytest.raises(InputError, match=r"special tokens only \(got 5 tokens"):
        load_tokenizer(_directory(tmp_path, tokenizer, "RobertaTokenizer"))


def test_slow_tokenizer_is_refused(tmp_path: Path) -> None:
    path = _directory(tmp_path, None, "EsmTokenizer")
    (path / "vocab.txt").write_text("\n".join(["<cls>", "<pad>", "<eos>", "<unk>", *"ACDEFG"]))
    with pytest.raises(InputError, match=r"a slow tokenizer, written in Python \(got EsmTokenizer"):
        load_tokenizer(path)


@pytest.mark.parametrize("content", ["", "{}", "not json", '{"model": 3}'])
def test_broken_file(tmp_path: Path, content: str) -> None:
    path = _directory(tmp_path, None, "RobertaTokenizer")
    (path / "tokenizer.json").write_text(content)
    for asked in (path, path / "tokenizer.json"):
        with pytest.raises(InputError) as caught:
            load_tokenizer(asked)
        assert "\n" not in str(caught.value)


def test_code_in_the_directory_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "custom.py").write_text("raise RuntimeError('was run')")
    auto_map = {"AutoTokenizer": ["custom.Slow", "custom.Fast"]}
    described = _bytelevel()
    path = _directory(tmp_path, described, "CustomTokenizer", auto_map=auto_map)
    assert load_tokenizer(path)(_PROBE)["input_ids"] == described.encode(_PROBE).ids
    (path / "tokenizer.json").unlink()
    (path / "vocab.txt").write_text("a\nb\n")
    with pytest.raises(UsageError, match="--trust-remote-code"):
        load_tokenizer(path)


def test_single_file(tmp_path: Path) -> None:
    described = _bytelevel()
    file = tmp_path / "swahili.json"
    described.save(str(file))
    loaded = load_tokenizer(file)
    assert loaded(_PROBE)["input_ids"] == described.encode(_PROBE).ids
    roles = {name: str(token) for name, token in loaded.special_tokens_map.items()}
    assert roles == {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "sep_token": "</s>",
        "pad_token": "<pad>",
        "cls_token": "<s>",
        "mask_token": "<mask>",
    }


def test_single_file_with_its_config_beside_it(tmp_path: Path) -> None:
    path = _directory(tmp_path, _bytelevel(), "RobertaTokenizer", model_max_length=77, pad_token="</s>")
    loaded = load_tokenizer(path / "tokenizer.json")
    assert (loaded.pad_token, loaded.model_max_length) == ("</s>", 77)


def test_sentencepiece_model_alone_says_how_to_convert(tmp_path: Path) -> None:
    path = _directory(tmp_path, None, "XLMRobertaTokenizer")
    (path / "sentencepiece.bpe.model").write_bytes(b"\x00 no model")
    with pytest.raises(InputError, match=r"save_pretrained\(DIR\)` writes one"):
        load_tokenizer(path)
