from __future__ import annotations

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests.vocab.tokenizer_families import family
from vocab.tokens import Vocabulary
from vocab.tokens.roles import NAMED_ROLES, STAND_INS, match_special, roles_by_spelling


def tokenizer_of(specials: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE({"a": 0}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens([AddedToken(special) for special in specials])
    return tokenizer


def vocabulary_of(specials: list[str], **roles: str) -> Vocabulary:
    """Special tokens from id 1; with roles, as transformers declares them."""
    tokenizer = tokenizer_of(specials)
    if roles:
        return Vocabulary.of(PreTrainedTokenizerFast(tokenizer_object=tokenizer, **roles))
    return Vocabulary.of(tokenizer)


def matched(tgt: Vocabulary, src: Vocabulary) -> dict[str, str]:
    """Target special token to the source's, where there is one."""
    same_bytes, same_role = tgt.match(src)
    assert (same_bytes[tgt.special] == -1).all()
    return {tgt.tokens[i]: src.tokens[same_role[i]] for i in np.flatnonzero(same_role >= 0)}


GPT2 = dict.fromkeys(("bos_token", "eos_token", "unk_token"), "<|endoftext|>")


def test_one_token_of_several_roles() -> None:
    gpt2 = vocabulary_of(["<|endoftext|>"], **GPT2)
    assert gpt2.roles == {"bos": 1, "eos": 1, "unk": 1}
    target = vocabulary_of(
        ["<s>", "</s>", "<unk>", "<pad>"],
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
    )
    end = "<|endoftext|>"
    assert matched(target, gpt2) == {"<s>": end, "</s>": end, "<unk>": end}
    assert matched(gpt2, target) == {end: "<s>"}  # its first role


def test_declared_roles_go_before_spellings() -> None:
    odd = vocabulary_of(["<s>", "<go>"], bos_token="<go>", eos_token="<s>")
    assert odd.roles == {"bos": 2, "eos": 1}
    plain = vocabulary_of(["<s>", "</s>"])
    assert plain.roles == {"bos": 1, "eos": 2, "cls": 1, "sep": 2}
    assert matched(odd, plain) == {"<go>": "<s>", "<s>": "</s>"}


def test_bert_and_roberta() -> None:
    assert matched(family("wordpiece, cased"), family("byte-level")) == {
        "[CLS]": "<s>",
        "[SEP]": "</s>",
        "[PAD]": "<pad>",
        "[UNK]": "<unk>",
        "[MASK]": "<mask>",
    }
    assert matched(family("byte-level"), family("wordpiece, uncased")) == {
        "<s>": "[CLS]",
        "</s>": "[SEP]",
        "<pad>": "[PAD]",
        "<unk>": "[UNK]",
        "<mask>": "[MASK]",
    }


def test_chat_tokens() -> None:
    chatml = vocabulary_of(["<|endoftext|>", "<|im_start|>", "<|im_end|>"], eos_token="<|im_end|>")
    llama3 = vocabulary_of(
        ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
        bos_token="<|begin_of_text|>",
        eos_token="<|eot_id|>",
    )
    assert matched(llama3, chatml) == {"<|start_header_id|>": "<|im_start|>", "<|eot_id|>": "<|im_end|>"}
    assert matched(chatml, llama3) == {"<|im_start|>": "<|start_header_id|>", "<|im_end|>": "<|eot_id|>"}
    # a model without chat tokens ends a turn as it ends a text
    base = vocabulary_of(["<s>", "</s>"], bos_token="<s>", eos_token="</s>")
    turns = vocabulary_of(["<eos>", "<|end|>", "<|user|>"], eos_token="<eos>")
    assert matched(turns, base) == {"<eos>": "</s>", "<|end|>": "</s>"}
    assert matched(turns, chatml)["<|user|>"] == "<|im_start|>"


def test_equal_spelling_without_a_role() -> None:
    assert matched(
        vocabulary_of(["<extra_id_0>", "<new>"], pad_token="<new>"),
        vocabulary_of(["<extra_id_1>", "<extra_id_0>"]),
    ) == {"<extra_id_0>": "<extra_id_0>"}


def test_the_model_says_what_is_unknown() -> None:
    wordpiece = Vocabulary.of(Tokenizer(models.WordPiece({"[UNK]": 0, "a": 1}, unk_token="[UNK]")))
    unigram = Vocabulary.of(Tokenizer(models.Unigram([("a", -1.0), ("??", -2.0)], 1)))
    assert (wordpiece.roles["unk"], unigram.roles["unk"]) == (0, 1)
    assert (wordpiece.special.tolist(), unigram.special.tolist()) == ([True, False], [False, True])


@pytest.mark.parametrize("role", ["mask", "unk", "pad"])
def test_no_stand_in_for_mask_unk_and_pad(role: str) -> None:
    others = {name: i for i, name in enumerate(NAMED_ROLES) if name != role}
    assert match_special("<x>", [role], others, {"<y>": 9}) is None
    assert match_special("<x>", [role], others | {role: 8}, {"<x>": 9}) == 8
    assert match_special("<x>", [role], others, {"<x>": 9}) == 9


def test_stand_ins_are_roles() -> None:
    assert {role for stand_ins in STAND_INS.values() for role in stand_ins} == set(STAND_INS)
    assert set(NAMED_ROLES) <= set(STAND_INS)
    assert roles_by_spelling({"[INST]": 3, "<s>": 0}, named=False) == {"user": 3}
