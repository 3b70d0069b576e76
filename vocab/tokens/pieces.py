"""The pieces of a token: how another tokenizer's model segments its bytes.

Segmenting the token's *spelling* is the usual mistake (``Ã¤`` for ``ä``); so is letting the pipeline add a
word-start mark to a continuation, or strip one. Here the surface's own leading space decides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vocab.tokens.vocabulary import BYTE_TO_CHAR, WORD_START, Vocabulary, components

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# `surrogateescape` turns undecodable bytes 0x80-0xFF into U+DC80-U+DCFF
_ESCAPED = re.compile("([\udc80-\udcff]+)")


def segment(vocabulary: Vocabulary, surfaces: Sequence[bytes]) -> list[list[int]]:
    """Ids of the pieces of each surface, unknown ones left out.

    Parameters
    ----------
    vocabulary : Vocabulary
        The tokenizer that segments.
    surfaces : sequence of bytes
        See :class:`vocab.tokens.Vocabulary`.

    Returns
    -------
    list of list of int
        Empty where the vocabulary can say nothing: an empty surface, only unknown characters, or a fragment
        of a character in a vocabulary without bytes.

    Notes
    -----
    One pass of the tokenizers library over all surfaces: about a second for 50,000.
    """
    by_kind: Mapping[str, Callable[[Vocabulary, Sequence[bytes]], list[list[str]]]] = {
        "byte-level": _byte_level,
        "sentencepiece": _sentencepiece,
        "wordpiece": _wordpiece,
        "words": _words,
    }
    spelled = by_kind[vocabulary.kind](vocabulary, surfaces)
    ids = {token: i for i, token in enumerate(vocabulary.tokens)}
    unknown = vocabulary.roles.get("unk")
    keep = {token: i for token, i in ids.items() if i != unknown and not vocabulary.special[i]}
    return [[keep[token] for token in tokens if token in keep] for tokens in spelled]


def _stripped(vocabulary: Vocabulary, changes: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer without special tokens and post-processing, with some parts replaced."""
    from tokenizers import Tokenizer

    spec = json.loads(vocabulary.tokenizer.to_str())
    ordinary = [entry for entry in spec.get("added_tokens") or [] if not entry["special"]]
    known = spec["model"]["vocab"]
    known = set(known) if isinstance(known, dict) else {entry[0] for entry in known}
    spec["added_tokens"] = [entry for entry in ordinary if entry["content"] in known]
    spec |= {"post_processor": None, "truncation": None, "padding": None, "decoder": None, **changes}
    return Tokenizer.from_str(json.dumps(spec))


def _sequence(steps: Sequence[Mapping[str, Any]], name: str, key: str) -> Mapping[str, Any] | None:
    return {"type": name, key: list(steps)} if steps else None


def _encode(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[str]]:
    return [encoding.tokens for encoding in tokenizer.encode_batch(list(texts), add_special_tokens=False)]


def _byte_level(vocabulary: Vocabulary, surfaces: Sequence[bytes]) -> list[list[str]]:
    spec = json.loads(vocabulary.tokenizer.to_str())
    steps = [dict(step) for step in components(spec["pre_tokenizer"])]
    for step in steps:
        if step["type"] == "ByteLevel":
            step["add_prefix_space"] = False
    plain = _stripped(vocabulary, {"pre_tokenizer": _sequence(steps, "Sequence", "pretokenizers")})
    whole, broken = _split_decodable(surfaces)
    spelled: list[list[str]] = [[] for _ in surfaces]
    for i, tokens in zip(whole, _encode(plain, [surfaces[i].decode() for i in whole]), strict=True):
        spelled[i] = tokens
    model = vocabulary.tokenizer.model
    for i in broken:  # merges still apply to fragments, but no pre-tokenizer can read them
        spelled[i] = [token.value for token in model.tokenize("".join(BYTE_TO_CHAR[b] for b in surfaces[i]))]
    return spelled


def _split_decodable(surfaces: Sequence[bytes]) -> tuple[list[int], list[int]]:
    whole, broken = [], []
    for i, surface in enumerate(surfaces):
        try:
            surface.decode()
            whole.append(i)
        except UnicodeDecodeError:
            broken.append(i)
    return whole, broken


def _sentencepiece(vocabulary: Vocabulary, surfaces: Sequence[bytes]) -> list[list[str]]:
    spec = json.loads(vocabulary.tokenizer.to_str())
    # the steps that add, strip or merge white space would undo the surface's own leading space
    steps = [
        step
        for step in components(spec["normalizer"])
        if step["type"] not in ("Prepend", "Strip") and not (step["type"] == "Replace" and _about_space(step))
    ]
    # spaces become marks after normalisation, because XLM-R's turns U+2581 back into a space
    marks = {"type": "Metaspace", "replacement": WORD_START, "prepend_scheme": "never", "split": False}
    plain = _stripped(
        vocabulary, {"normalizer": _sequence(steps, "Sequence", "normalizers"), "pre_tokenizer": marks}
    )
    parts: list[tuple[int, str]] = []
    for i, surface in enumerate(surfaces):
        text = surface.decode(errors="surrogateescape")
        parts += [(i, part) for part in _ESCAPED.split(text) if part]
    readable = [part for _, part in parts if not _ESCAPED.match(part)]
    encoded = iter(_encode(plain, readable))
    spelled: list[list[str]] = [[] for _ in surfaces]
    for i, part in parts:
        if _ESCAPED.match(part):
            spelled[i] += [f"<0x{byte:02X}>" for byte in part.encode(errors="surrogateescape")]
        else:
            spelled[i] += next(encoded)
    return spelled


def _about_space(step: Mapping[str, Any]) -> bool:
    pattern = step["pattern"].get("String") or step["pattern"].get("Regex") or ""
    return " " in pattern or WORD_START in pattern or "\\s" in pattern


def _wordpiece(vocabulary: Vocabulary, surfaces: Sequence[bytes]) -> list[list[str]]:
    spec = json.loads(vocabulary.tokenizer.to_str())["model"]
    prefix, longest = spec["continuing_subword_prefix"], spec.get("max_input_chars_per_word") or 100
    known = set(spec["vocab"])
    isolated = {vocabulary.tokens[i] for i in vocabulary.isolated.nonzero()[0]}
    inner = vocabulary.tokenizer
    spelled = []
    for surface in surfaces:
        text = surface.decode(errors="ignore")
        starts_word = text.startswith(" ")
        if inner.normalizer is not None:
            text = inner.normalizer.normalize_str(text)
        words = [text.strip()]
        if inner.pre_tokenizer is not None:
            words = [word for word, _ in inner.pre_tokenizer.pre_tokenize_str(text)]
        tokens: list[str] = []
        for n, word in enumerate(words):
            found = None
            if n == 0 and not starts_word and word not in isolated:
                found = _longest_match(word, known, prefix, longest, first=prefix)
            tokens += found or _longest_match(word, known, prefix, longest, first="") or []
        spelled.append(tokens)
    return spelled


def _longest_match(word: str, known: set[str], prefix: str, longest: int, *, first: str) -> list[str] | None:
    """Greedy longest match first; None where a part is unknown, as WordPiece has it."""
    if not word or len(word) > longest:
        return None
    tokens, start = [], 0
    while start < len(word):
        mark = first if start == 0 else prefix
        for stop in range(len(word), start, -1):
            if mark + word[start:stop] in known:
                tokens.append(mark + word[start:stop])
                start = stop
                break
        else:
            return None
    return tokens


def _words(vocabulary: Vocabulary, surfaces: Sequence[bytes]) -> list[list[str]]:
    return _encode(_stripped(vocabulary, {}), [surface.decode(errors="ignore") for surface in surfaces])
