"""One canonical form of a token across byte-level BPE, SentencePiece and WordPiece.

The form is the token's *surface*: the exact bytes it contributes to running text, where a word-initial token
begins with a space. ``Ġhabari`` (byte-level BPE), ``▁habari`` (SentencePiece) and ``habari`` (WordPiece) all
have the surface ``b" habari"``; ``##ri`` has ``b"ri"``. Nothing is decoded on the way, so a fragment of a
character stays the bytes it is instead of becoming U+FFFD, and runs of white space stay apart.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from align.errors import InputError
from align.short_repr import short_repr
from vocab.tokens.roles import NAMED_ROLES, match_special, roles_by_spelling

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    AnyTokenizer = PreTrainedTokenizerFast | Tokenizer
else:
    AnyTokenizer = Any

Kind = Literal["byte-level", "sentencepiece", "wordpiece", "words"]

WORD_START = "▁"
_BYTE_FALLBACK = re.compile(r"<0x([0-9A-Fa-f]{2})>\Z")


def _byte_alphabet() -> dict[int, str]:
    """GPT-2's spelling of bytes: printable Latin-1 stands for itself, the rest for U+0100 onwards."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [b for b in range(256) if b not in set(printable)]
    return {b: chr(b) for b in printable} | {b: chr(0x100 + i) for i, b in enumerate(others)}


BYTE_TO_CHAR = _byte_alphabet()
CHAR_TO_BYTE = {char: byte for byte, char in BYTE_TO_CHAR.items()}


def backend(tokenizer: AnyTokenizer) -> Tokenizer:
    """The ``tokenizers.Tokenizer`` behind either kind of object.

    Raises
    ------
    InputError
        For a slow (pure Python) tokenizer, whose pipeline cannot be read.
    """
    from tokenizers import Tokenizer

    if isinstance(tokenizer, Tokenizer):
        return tokenizer
    inner = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(inner, Tokenizer):
        raise InputError(
            "a tokenizer without a fast backend",
            got=type(tokenizer).__name__,
            wanted="a tokenizer.json",
            hint="convert it with AutoTokenizer.from_pretrained(...).save_pretrained(...)",
        )
    return inner


def components(part: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """A normaliser, pre-tokenizer or decoder of tokenizer.json as a flat list of steps."""
    if part is None:
        return []
    for key in ("pretokenizers", "normalizers", "decoders"):
        if key in part:
            return [step for inner in part[key] for step in components(inner)]
    return [part]


def kind_of(spec: Mapping[str, Any]) -> Kind:
    """Which family a tokenizer.json belongs to.

    Raises
    ------
    InputError
        For end-of-word suffixes (``</w>``), whose tokens say where a word ends and not where it starts.
    """
    model = spec["model"]
    if model.get("end_of_word_suffix"):
        raise InputError(
            "tokenizers with an end-of-word suffix are not supported", got=model["end_of_word_suffix"]
        )
    steps = [*components(spec.get("pre_tokenizer")), *components(spec.get("decoder"))]
    if any(step["type"] == "ByteLevel" for step in steps):
        return "byte-level"
    if model.get("continuing_subword_prefix"):
        return "wordpiece"
    marks = [*steps, *components(spec.get("normalizer"))]
    if model.get("byte_fallback") or any(
        step["type"] == "Metaspace" or WORD_START in json.dumps(step, ensure_ascii=False) for step in marks
    ):
        return "sentencepiece"
    return "words"


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The canonical view of a tokenizer's vocabulary.

    Parameters
    ----------
    kind : str
        ``byte-level``, ``sentencepiece``, ``wordpiece`` or ``words``.
    tokens : tuple of str
        Token strings by id; ids that no token has hold ``""``.
    surfaces : tuple of bytes
        The bytes of each token in running text, ``b""`` for special tokens and unused ids.
    special : ndarray of bool
        Special tokens.
    byte_fallback : ndarray of bool
        SentencePiece ``<0xNN>`` tokens.
    isolated : ndarray of bool
        Tokens that the pre-tokenizer cuts off on both sides (WordPiece punctuation and CJK): the vocabulary
        has one token for both "preceded by a space" and "not".
    roles : mapping
        Role to id; see :mod:`vocab.tokens.roles`.
    """

    kind: Kind
    tokens: tuple[str, ...]
    surfaces: tuple[bytes, ...]
    special: NDArray[np.bool_]
    byte_fallback: NDArray[np.bool_]
    isolated: NDArray[np.bool_]
    roles: Mapping[str, int]
    tokenizer: Tokenizer

    __repr__ = short_repr

    @classmethod
    def of(cls, tokenizer: AnyTokenizer | Vocabulary) -> Vocabulary:
        """Read a tokenizer, about 0.3 s for 50,000 tokens; a Vocabulary is returned as it is."""
        if isinstance(tokenizer, Vocabulary):
            return tokenizer
        inner = backend(tokenizer)
        spec = json.loads(inner.to_str())
        if spec.get("padding") or spec.get("truncation"):
            # settings of the last call, saved with the tokenizer; they would pad and cut every text
            inner = type(inner).from_str(json.dumps(spec | {"padding": None, "truncation": None}))
        kind = kind_of(spec)
        ids = inner.get_vocab(with_added_tokens=True)
        size = max(ids.values(), default=-1) + 1
        tokens = [""] * size
        for token, token_id in ids.items():
            tokens[token_id] = token
        added = {entry["content"]: bool(entry["special"]) for entry in spec.get("added_tokens") or []}
        special_ids = {ids[token] for token, is_special in added.items() if is_special and token in ids}
        roles = _roles(tokenizer, ids, {tokens[i]: i for i in special_ids}, spec["model"])
        special_ids |= {roles[role] for role in NAMED_ROLES if role in roles}

        special = np.zeros(size, dtype=bool)
        special[sorted(special_ids)] = True
        fallback = np.zeros(size, dtype=bool)
        isolated = np.zeros(size, dtype=bool)
        surfaces = [b""] * size
        prefix = spec["model"].get("continuing_subword_prefix") or "##"
        for i, token in enumerate(tokens):
            if special[i] or not token:
                continue
            match = _BYTE_FALLBACK.match(token) if spec["model"].get("byte_fallback") else None
            if match:
                fallback[i] = True
                surfaces[i] = bytes([int(match.group(1), 16)])
            elif kind == "byte-level" and token not in added:
                surfaces[i] = spelled_bytes(token)
            elif kind == "sentencepiece":
                surfaces[i] = token.replace(WORD_START, " ").encode()
            elif kind == "wordpiece" and token not in added:
                isolated[i] = _is_isolated(inner, token)
                if token.startswith(prefix) and len(token) > len(prefix):
                    surfaces[i] = token[len(prefix) :].encode()
                else:
                    surfaces[i] = token.encode() if isolated[i] else b" " + token.encode()
            else:
                surfaces[i] = token.encode()
        return cls(kind, tuple(tokens), tuple(surfaces), special, fallback, isolated, roles, inner)

    def __len__(self) -> int:
        """Number of ids, the largest id + 1 (not the number of tokens, nor the model's rows)."""
        return len(self.tokens)

    @cached_property
    def index(self) -> dict[tuple[bytes, bool], int]:
        """(surface, is byte fallback) to the lowest id that has it.

        Isolated tokens go first: the pre-tokenizer makes WordPiece's ``##.`` unreachable beside ``.``.
        """
        index: dict[tuple[bytes, bool], int] = {}
        for i in np.flatnonzero(self.isolated).tolist():
            index.setdefault((self.surfaces[i], False), i)
        for i, surface in enumerate(self.surfaces):
            if surface:
                index.setdefault((surface, bool(self.byte_fallback[i])), i)
        for i in np.flatnonzero(self.isolated).tolist():
            index.setdefault((b" " + self.surfaces[i], False), i)
        return index

    @cached_property
    def ids(self) -> dict[str, int]:
        """Token strings to ids."""
        return {token: i for i, token in enumerate(self.tokens) if token}

    @cached_property
    def specials(self) -> dict[str, int]:
        """Special tokens to ids."""
        return {self.tokens[i]: int(i) for i in np.flatnonzero(self.special)}

    def find(self, surface: bytes, *, byte_fallback: bool = False, isolated: bool = False) -> int | None:
        """The id with these bytes: the same kind of token first, then the other (``A`` and ``<0x41>``)."""
        found = self.index.get((surface, byte_fallback))
        if found is None:
            found = self.index.get((surface, not byte_fallback))
        if found is None and isolated:
            found = self.index.get((b" " + surface, False))
        return found

    def match(self, source: Vocabulary) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """For every id of this vocabulary the source id of the same bytes, and of the same role; -1 for none.

        Returns
        -------
        same_bytes, same_role : ndarray of int64, shape (len(self),)
            Ordinary tokens have an entry in the first, special tokens in the second.
        """
        same_bytes = np.full(len(self), -1, dtype=np.int64)
        same_role = np.full(len(self), -1, dtype=np.int64)
        roles_of: dict[int, list[str]] = {}
        for role, token_id in self.roles.items():
            roles_of.setdefault(token_id, []).append(role)
        for i, surface in enumerate(self.surfaces):
            found: int | None = None
            if self.special[i]:
                found = match_special(self.tokens[i], roles_of.get(i, ()), source.roles, source.specials)
                same_role[i] = -1 if found is None else found
            elif surface:
                # the same spelling first: `##!` and `!` have the same bytes, and each must find itself
                same = source.ids.get(self.tokens[i])
                if same is not None and source.surfaces[same] == surface:
                    same_bytes[i] = same
                    continue
                found = source.find(
                    surface, byte_fallback=bool(self.byte_fallback[i]), isolated=bool(self.isolated[i])
                )
                same_bytes[i] = -1 if found is None else found
        return same_bytes, same_role

    def pieces(self, surfaces: Sequence[bytes]) -> list[list[int]]:
        """Segment surfaces with this tokenizer's model; see :func:`vocab.tokens.pieces.segment`."""
        from vocab.tokens.pieces import segment

        return segment(self, surfaces)

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of texts without special tokens; the library's threads do the work."""
        encodings = self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]


def spelled_bytes(token: str) -> bytes:
    """Bytes of a byte-level spelling (``Ġna`` is ``b" na"``); other strings are taken literally."""
    try:
        return bytes(CHAR_TO_BYTE[char] for char in token)
    except KeyError:
        return token.encode()


def _is_isolated(tokenizer: Tokenizer, token: str) -> bool:
    if len(token) != 1 or (token.isalpha() and token.isascii()) or token.isdigit():
        return False
    text = f"a{token}a"
    if tokenizer.normalizer is not None:
        text = tokenizer.normalizer.normalize_str(text)
    if tokenizer.pre_tokenizer is None:
        return False
    return len(tokenizer.pre_tokenizer.pre_tokenize_str(text)) == 3


def _roles(
    tokenizer: AnyTokenizer, ids: Mapping[str, int], specials: Mapping[str, int], model: Mapping[str, Any]
) -> dict[str, int]:
    roles: dict[str, int] = {}
    declared = False
    for role in NAMED_ROLES:
        token = getattr(tokenizer, f"{role}_token", None)
        if isinstance(token, str):
            declared = True
            if token in ids:
                roles[role] = ids[token]
    roles |= {
        role: token_id
        for role, token_id in roles_by_spelling(specials, named=not declared).items()
        if role not in roles
    }
    # the model's own unknown token counts even where nothing declares it
    unk = model.get("unk_token")
    if "unk" not in roles and isinstance(unk, str) and unk in ids:
        roles["unk"] = ids[unk]
    if "unk" not in roles and isinstance(model.get("unk_id"), int):
        roles["unk"] = model["unk_id"]
    return roles
