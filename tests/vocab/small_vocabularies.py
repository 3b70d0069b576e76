"""Vocabularies with given tokens, and spaces that give them vectors."""

from __future__ import annotations

import numpy as np

from align.vectors import WordVectors
from vocab.tokens import Vocabulary

SPECIALS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def byte_level(surfaces: list[bytes]) -> Vocabulary:
    """A byte-level vocabulary with these tokens after five specials."""
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

    from vocab.tokens import BYTE_TO_CHAR

    spelled = ["".join(BYTE_TO_CHAR[b] for b in surface) for surface in surfaces]
    vocab = {token: i for i, token in enumerate([*SPECIALS, *spelled])}
    tokenizer = Tokenizer(models.BPE(vocab, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens([AddedToken(s) for s in SPECIALS])
    return Vocabulary.of(tokenizer)


def open_space(words, matrix) -> WordVectors:
    """A table that says it has vectors for any string, so that tokens are looked up as they are."""
    nothing = WordVectors((), np.zeros((0, matrix.shape[1])))
    return WordVectors(tuple(words), matrix, subword=nothing)
