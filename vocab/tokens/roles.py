"""Special tokens by role: what a token is for, whatever it is called and whatever its id.

A role is ``bos``, ``eos``, ``cls``, ``sep``, ``pad``, ``unk``, ``mask`` as the tokenizer declares them, or
one of the chat roles below, recognised by spelling because no tokenizer declares them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

NAMED_ROLES = ("bos", "eos", "cls", "sep", "pad", "unk", "mask")

# Which source roles may stand in for a role that the source lacks, best first. A missing `mask` or `unk` has
# no stand-in: a wrong row there is worse than an average one.
STAND_INS: Mapping[str, tuple[str, ...]] = {
    "bos": ("bos", "cls"),
    "cls": ("cls", "bos"),
    "eos": ("eos", "sep"),
    "sep": ("sep", "eos"),
    "pad": ("pad",),
    "unk": ("unk",),
    "mask": ("mask",),
    "turn_start": ("turn_start",),
    "turn_end": ("turn_end", "eos"),
    "header_end": ("header_end",),
    "system": ("system", "turn_start"),
    "user": ("user", "turn_start"),
    "assistant": ("assistant", "turn_start"),
}

_CHAT_SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "turn_start": (
        "<|im_start|>",
        "<|start_header_id|>",
        "<start_of_turn>",
        "<|turn>",
        "<|START_OF_TURN_TOKEN|>",
    ),
    "turn_end": ("<|im_end|>", "<|eot_id|>", "<end_of_turn>", "<|end|>", "<turn|>", "<|END_OF_TURN_TOKEN|>"),
    "header_end": ("<|end_header_id|>", "<|im_sep|>", "<|message|>"),
    "system": ("<|system|>", "<|SYSTEM_TOKEN|>", "[SYSTEM_PROMPT]"),
    "user": ("<|user|>", "<|USER_TOKEN|>", "[INST]"),
    "assistant": ("<|assistant|>", "<|CHATBOT_TOKEN|>", "[/INST]"),
}

# Only for a bare `tokenizers.Tokenizer`, which declares no roles.
_NAMED_SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "bos": ("<s>", "<bos>", "[BOS]", "<|begin_of_text|>", "<|endoftext|>"),
    "eos": ("</s>", "<eos>", "[EOS]", "<|end_of_text|>", "<|endoftext|>"),
    "cls": ("[CLS]", "<cls>", "<s>"),
    "sep": ("[SEP]", "<sep>", "</s>"),
    "pad": ("<pad>", "[PAD]", "<|pad|>", "<|finetune_right_pad_id|>"),
    "unk": ("<unk>", "[UNK]", "<|unk|>"),
    "mask": ("<mask>", "[MASK]", "<|mask|>"),
}


def roles_by_spelling(ids: Mapping[str, int], *, named: bool) -> dict[str, int]:
    """Roles recognised from the spelling of special tokens; `named` includes bos, eos and the like."""
    tables = [_NAMED_SPELLINGS, _CHAT_SPELLINGS] if named else [_CHAT_SPELLINGS]
    roles: dict[str, int] = {}
    for table in tables:
        for role, spellings in table.items():
            for spelling in spellings:
                if spelling in ids:
                    roles.setdefault(role, ids[spelling])
    return roles


def match_special(
    token: str, roles: Iterable[str], src_roles: Mapping[str, int], src_specials: Mapping[str, int]
) -> int | None:
    """The source id for a target special token: its role, then its spelling, then a stand-in role.

    Parameters
    ----------
    token : str
        The target token.
    roles : iterable of str
        Its roles; GPT-2's ``<|endoftext|>`` has two.
    src_roles, src_specials : mapping
        The source's roles and special tokens, each to an id.
    """
    ordered = [role for role in STAND_INS if role in set(roles)]
    for role in ordered:
        if role in src_roles:
            return src_roles[role]
    if token in src_specials:
        return src_specials[token]
    for role in ordered:
        for stand_in in STAND_INS[role]:
            if stand_in in src_roles:
                return src_roles[stand_in]
    return None
