"""Token ids in configs move by role."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from align.errors import InputError
from vocab.model_files.layout import find_vocabulary, model_class, read_config
from vocab.model_files.special_ids import IdMap, move_ids, new_config
from vocab.tokens import Vocabulary


def words(*tokens: str, special: Mapping[str, str], extra: tuple[str, ...] = ()) -> tuple[Any, Any]:
    """A word-level tokenizer with the given tokens in order of their ids, and its roles."""
    inner = Tokenizer(models.WordLevel({token: i for i, token in enumerate(tokens)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.add_special_tokens(list(dict.fromkeys([*special.values(), *extra])))
    return inner, special


@pytest.fixture
def ids(make_wrapped: Callable[..., Any]) -> IdMap:
    source = words(
        "<unk>", "<s>", "</s>", "<pad>", "moon", "dog", "<|im_end|>", "<old>",
        special={"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"},
        extra=("<|im_end|>", "<old>"),
    )  # fmt: skip
    target = words(
        "dog", "<unk>", "[CLS]", "[SEP]", "[PAD]", "<|im_end|>", "mbwa",
        special={"unk_token": "<unk>", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"},
        extra=("<|im_end|>",),
    )  # fmt: skip
    return IdMap(Vocabulary.of(make_wrapped(*source)), Vocabulary.of(make_wrapped(*target)))


def test_roles_spellings_and_bytes(ids: IdMap) -> None:
    assert [ids.get(i) for i in range(8)] == [1, 2, 3, 4, None, 0, 5, None]
    assert ids.get(99) is None
    assert move_ids("eos_token_id", 2, ids) == 3
    assert move_ids("decoder_start_token_id", 3, ids) == 4
    assert move_ids("eos_token_id", [2, 6, 7], ids) == [3, 5]
    assert move_ids("suppress_tokens", [4, 5], ids) == [0]
    assert move_ids("begin_suppress_tokens", [4], ids) is None
    assert move_ids("suppress_tokens", [-1], ids) == [-1]
    assert move_ids("pad_token_id", -1, ids) == -1
    assert move_ids("bos_token_id", None, ids) is None
    assert any("<old>" in note for note in ids.notes)
    assert any("begin_suppress_tokens: 1 of 1" in note for note in ids.notes)


def test_sequences_survive_whole_or_not_at_all(ids: IdMap) -> None:
    assert move_ids("bad_words_ids", [[5, 5], [4, 5]], ids) == [[0, 0]]
    assert move_ids("sequence_bias", [[[5], 2.0], [[7], 1.0]], ids) == [[[0], 2.0]]
    assert move_ids("forced_decoder_ids", [[1, 5], [2, None]], ids) == [[1, 0], [2, None]]
    assert move_ids("forced_decoder_ids", [[1, 4]], ids) is None
    assert move_ids("force_words_ids", [[[5]]], ids) is None
    assert any("unknown form" in note for note in ids.notes)


def test_ids_that_no_special_token_has(ids: IdMap) -> None:
    # a default of the config class that nobody set: the key's own role decides
    assert move_ids("eos_token_id", 50256, ids) == 3
    assert move_ids("bos_token_id", 5, ids) == 2
    # padding is what the tokenizer pads with, whatever else has that id
    assert move_ids("pad_token_id", 0, ids) == 4
    # the source has no mask token to go by
    assert move_ids("mask_token_id", 5, ids) is None
    assert move_ids("image_token_id", 5, ids) == 0
    assert any("50256" in note for note in ids.notes)


def test_one_token_with_several_roles(make_wrapped: Callable[..., Any]) -> None:
    everything = {"unk_token": "<unk>", "bos_token": "<unk>", "eos_token": "<unk>"}
    source = words("<unk>", "dog", special=everything)
    target = words(
        "dog", "<s>", "</s>", "<unk>", special={"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    )
    ids = IdMap(Vocabulary.of(make_wrapped(*source)), Vocabulary.of(make_wrapped(*target)))
    assert [move_ids(f"{role}_token_id", 0, ids) for role in ("bos", "eos", "unk")] == [1, 2, 3]


def layout_of(folder: Path) -> Any:
    config = read_config(folder)
    return find_vocabulary(model_class(config, folder), config)


def test_defaults_of_the_class_are_written_out(
    saved_model: Callable[..., Any], tokenizers: Mapping[str, Any]
) -> None:
    folder, tokenizer = saved_model("roberta")
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for key in ("bos_token_id", "eos_token_id", "pad_token_id"):
        del config[key]  # RobertaConfig fills in 0, 2 and 1
    path.write_text(json.dumps(config | {"tokenizer_class": "RobertaTokenizer", "my_note": 7}))
    ids = IdMap(Vocabulary.of(tokenizer), Vocabulary.of(tokenizers["bert"]))
    new = new_config(folder, layout_of(folder), ids, n_rows=77)
    target = tokenizers["bert"]
    assert (new["bos_token_id"], new["eos_token_id"], new["pad_token_id"]) == (
        target.cls_token_id,
        target.sep_token_id,
        target.pad_token_id,
    )
    assert (new["vocab_size"], new["my_note"]) == (77, 7)
    assert "tokenizer_class" not in new


@pytest.mark.parametrize(
    ("name", "role"), [("t5", "pad"), ("llama", "eos"), ("bert", "mask"), ("roberta", "pad"), ("bert", "unk")]
)
def test_a_needed_role_is_missing(
    saved_model: Callable[..., Any], make_wrapped: Callable[..., Any], name: str, role: str
) -> None:
    folder, tokenizer = saved_model(name)
    roles = {"bos": "<s>", "eos": "</s>", "pad": "<pad>", "unk": "<unk>", "mask": "<mask>"}
    special = {f"{key}_token": token for key, token in roles.items() if key != role}
    vocabulary = {"dog": 0} | {token: i + 1 for i, token in enumerate(special.values())}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>" if role != "unk" else "[none]"))
    inner.add_special_tokens(list(special.values()))
    ids = IdMap(Vocabulary.of(tokenizer), Vocabulary.of(make_wrapped(inner, special)))
    with pytest.raises(InputError, match=f"no (decoder start|{role}) token"):
        new_config(folder, layout_of(folder), ids, n_rows=7)


def test_byte_level_targets_need_no_unk(
    saved_model: Callable[..., Any], tokenizers: Mapping[str, Any]
) -> None:
    folder, tokenizer = saved_model("llama")
    ids = IdMap(Vocabulary.of(tokenizer), Vocabulary.of(tokenizers["gpt2"]))
    new = new_config(folder, layout_of(folder), ids, n_rows=356)
    assert new["eos_token_id"] == new["bos_token_id"] == 0
