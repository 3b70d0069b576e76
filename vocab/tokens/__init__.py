"""Tokens: one canonical form of them across tokenizers, what they are for, and where they stand in text."""

from vocab.tokens.vocabulary import (
    BYTE_TO_CHAR,
    CHAR_TO_BYTE,
    WORD_START,
    AnyTokenizer,
    Vocabulary,
    backend,
    components,
    kind_of,
    spelled_bytes,
)

__all__ = [
    "BYTE_TO_CHAR",
    "CHAR_TO_BYTE",
    "WORD_START",
    "AnyTokenizer",
    "Vocabulary",
    "backend",
    "components",
    "kind_of",
    "spelled_bytes",
]
