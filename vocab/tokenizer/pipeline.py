"""What a new tokenizer takes over from the old one: pipeline, special tokens, ids, settings.

A tokenizer.json is a pipeline around a model. The pipeline (normaliser, pre-tokenizer, decoder, template)
stays the source's; only the model's vocabulary is new, and every mention of an id is moved along.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from align.errors import InputError, UsageError
from vocab.tokens import backend, kind_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

Algorithm = Literal["byte-bpe", "bpe", "wordpiece", "unigram"]
ALGORITHMS: tuple[Algorithm, ...] = ("byte-bpe", "bpe", "wordpiece", "unigram")

# Rows that were reserved and never trained; kept only where a role, template or chat template names them.
_RESERVED = re.compile(r"unused|reserved|placeholder|dummy|\[control_\d+\]|<SPECIAL_\d+>", re.IGNORECASE)
_METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
_PLAIN_PIPELINES: Mapping[str, Mapping[str, Any]] = {
    "byte-bpe": {"normalizer": None, "pre_tokenizer": _BYTE_LEVEL, "decoder": _BYTE_LEVEL},
    "bpe": {
        "normalizer": None,
        "pre_tokenizer": _METASPACE,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
    },
    "wordpiece": {
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": False,
            "lowercase": False,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
    },
    "unigram": {"normalizer": {"type": "NFKC"}, "pre_tokenizer": _METASPACE, "decoder": _METASPACE},
}


def source_spec(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    """The tokenizer.json of a tokenizer, without truncation and padding, which belong to a call."""
    spec = json.loads(backend(tokenizer).to_str())
    return spec | {"truncation": None, "padding": None}


def algorithm_of(spec: Mapping[str, Any]) -> Algorithm:
    """The training algorithm behind a tokenizer.json.

    Raises
    ------
    InputError
        For a model that is trained in no known way (word-level vocabularies).
    """
    found = _algorithm(spec)
    if found is None:
        raise InputError(
            "no trainer for the source tokenizer's model",
            got=spec["model"]["type"],
            wanted="BPE, WordPiece or Unigram",
            hint="name the algorithm, or pass a finished target tokenizer",
        )
    return found


def editable_spec(tokenizer: PreTrainedTokenizerFast) -> tuple[dict[str, Any], Algorithm]:
    """The tokenizer.json of a tokenizer whose tokens can be added and taken away, and its algorithm.

    Raises
    ------
    InputError
        For other models than BPE, WordPiece and Unigram, and for BPE whose tokens carry a prefix.
    """
    spec = source_spec(tokenizer)
    algorithm = algorithm_of(spec)
    prefix = spec["model"].get("continuing_subword_prefix")
    if prefix and algorithm != "wordpiece":
        raise InputError("BPE with a prefix inside words cannot be edited", got=prefix)
    return spec, algorithm


def _algorithm(spec: Mapping[str, Any]) -> Algorithm | None:
    model = spec["model"]
    name = model.get("type") or ("Unigram" if isinstance(model.get("vocab"), list) else "WordPiece")
    if name == "BPE":
        return "byte-bpe" if kind_of(spec) == "byte-level" else "bpe"
    if name == "WordPiece":
        return "wordpiece"
    return "unigram" if name == "Unigram" else None


def with_algorithm(spec: Mapping[str, Any], algorithm: Algorithm, unk: str | None) -> dict[str, Any]:
    """The tokenizer.json set for an algorithm, with a plain pipeline if it is not the source's.

    The model section still holds the old vocabulary; `unk` is the unknown token for another algorithm.

    Raises
    ------
    UsageError
        For an unknown algorithm.
    """
    if algorithm not in ALGORITHMS:
        raise UsageError("unknown tokenizer algorithm", got=algorithm, wanted=" or ".join(ALGORITHMS))
    if algorithm == _algorithm(spec):
        return dict(spec)
    models: Mapping[str, Mapping[str, Any]] = {
        "byte-bpe": {"type": "BPE", "byte_fallback": False},
        "bpe": {"type": "BPE", "byte_fallback": True, "fuse_unk": True, "unk_token": unk},
        "wordpiece": {
            "type": "WordPiece",
            "unk_token": unk,
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
        },
        "unigram": {"type": "Unigram", "byte_fallback": False, "unk_token": unk},
    }
    model = dict(models[algorithm]) | {"vocab": spec["model"]["vocab"]}
    return dict(spec) | dict(_PLAIN_PIPELINES[algorithm]) | {"model": model}


def unknown_token(spec: Mapping[str, Any]) -> str | None:
    """The token that the model gives for what it cannot spell."""
    model = spec["model"]
    if isinstance(model.get("unk_token"), str):
        return model["unk_token"]
    if isinstance(model.get("unk_id"), int):
        return model["vocab"][model["unk_id"]][0]
    return None


def kept_tokens(
    tokenizer: PreTrainedTokenizerFast, spec: Mapping[str, Any]
) -> tuple[dict[str, int], list[str]]:
    """Special and added tokens to keep, with their source ids, and those to leave behind.

    Left behind are reserved, unused and placeholder tokens that no role, template or chat template names.

    Raises
    ------
    InputError
        If the algorithm needs an unknown token, or a masked model a padding token, and the source has none.
    """
    named = {token for token in tokenizer.special_tokens_map.values() if isinstance(token, str)}
    template = json.dumps(spec.get("post_processor"), ensure_ascii=False)
    chat = json.dumps(tokenizer.chat_template or "", ensure_ascii=False)
    kept: dict[str, int] = {}
    dropped = []
    for entry in spec["added_tokens"]:
        token = entry["content"]
        quoted = json.dumps(token, ensure_ascii=False)
        if _RESERVED.search(token) and not (token in named or quoted in template or quoted[1:-1] in chat):
            dropped.append(token)
        else:
            kept[token] = entry["id"]
    ids = backend(tokenizer).get_vocab(with_added_tokens=True)
    unk = unknown_token(spec) or tokenizer.unk_token
    algorithm = algorithm_of(spec)
    if unk in ids:
        kept[unk] = ids[unk]
    elif algorithm in ("wordpiece", "unigram") and not spec["model"].get("byte_fallback"):
        raise InputError(
            "the source tokenizer has no unknown token, which its algorithm needs",
            got=unk,
            wanted="an unk_token in the vocabulary",
            hint="set one, or train byte-bpe",
        )
    if tokenizer.pad_token is None and (tokenizer.mask_token is not None or tokenizer.cls_token is not None):
        raise InputError(
            "the source tokenizer has no padding token, which a model with a mask or cls token needs",
            hint="set pad_token on the source tokenizer",
        )
    if spec["model"].get("byte_fallback"):
        kept |= {token: ids[token] for token in byte_tokens() if token in ids}
    return kept, dropped


def byte_tokens() -> list[str]:
    """SentencePiece's spelling of the 256 bytes."""
    return [f"<0x{byte:02X}>" for byte in range(256)]


def place(kept: Mapping[str, int], ordinary: Sequence[str]) -> dict[str, int]:
    """Ids without gaps: kept tokens on their old ids where these exist, the other kept ones at the end."""
    size = len(kept) + len(ordinary)
    low = {i: token for token, i in kept.items() if i < size}
    high = sorted((token for token, i in kept.items() if i >= size), key=lambda token: kept[token])
    free = [i for i in range(size) if i not in low]
    placed = low | dict(zip(free, [*ordinary, *high], strict=True))
    return {placed[i]: i for i in range(size)}


def build(
    tokenizer: PreTrainedTokenizerFast,
    spec: Mapping[str, Any],
    model: Mapping[str, Any],
    ids: Mapping[str, int],
) -> PreTrainedTokenizerFast:
    """A finished tokenizer: the source's pipeline and settings around a new model.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerFast
        The source, for its roles and settings.
    spec : mapping
        Its tokenizer.json, from :func:`with_algorithm`.
    model : mapping
        The new ``model`` section.
    ids : mapping of str to int
        All tokens of the new model.
    """
    from tokenizers import AddedToken, Tokenizer
    from transformers import PreTrainedTokenizerFast

    added = [
        entry | {"id": ids[entry["content"]]} for entry in spec["added_tokens"] if entry["content"] in ids
    ]
    added.sort(key=lambda entry: entry["id"])
    whole = dict(spec) | {"added_tokens": added, "model": model}
    whole["post_processor"] = _moved(spec.get("post_processor"), ids)
    fields = ("single_word", "lstrip", "rstrip", "normalized")
    flags = {
        entry["content"]: AddedToken(entry["content"], special=True, **{name: entry[name] for name in fields})
        for entry in added
    }
    roles = {
        role: flags.get(token, token)
        for role, token in tokenizer.special_tokens_map.items()
        if isinstance(token, str)
    }
    extra = [
        flags.get(str(token), str(token)) for token in tokenizer.extra_special_tokens if str(token) in ids
    ]
    settings: dict[str, Any] = {
        name: tokenizer.init_kwargs[name]
        for name in ("add_prefix_space", "do_lower_case")
        if tokenizer.init_kwargs.get(name) is not None
    }
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(whole, ensure_ascii=False)),
        model_max_length=tokenizer.model_max_length,
        padding_side=tokenizer.padding_side,
        truncation_side=tokenizer.truncation_side,
        clean_up_tokenization_spaces=tokenizer.clean_up_tokenization_spaces,
        split_special_tokens=tokenizer.split_special_tokens,
        model_input_names=list(tokenizer.model_input_names),
        chat_template=tokenizer.chat_template,
        extra_special_tokens=extra,
        **roles,
        **settings,
    )


def _moved(processor: Mapping[str, Any] | None, ids: Mapping[str, int]) -> Mapping[str, Any] | None:
    """A post-processor with the new ids of the tokens that it names."""
    if processor is None:
        return None
    moved = dict(processor)
    if "processors" in moved:
        moved["processors"] = [_moved(part, ids) for part in moved["processors"]]
    for end in ("sep", "cls"):
        if end in moved:
            moved[end] = [moved[end][0], ids[moved[end][0]]]
    if isinstance(moved.get("special_tokens"), dict):
        moved["special_tokens"] = {
            name: entry | {"ids": [ids[token] for token in entry["tokens"]]}
            for name, entry in moved["special_tokens"].items()
        }
    return moved


def scratch(spec: Mapping[str, Any], *extra: Mapping[str, Any]) -> Tokenizer:
    """A tokenizer without vocabulary: the pipeline of `spec`, then the `extra` pre-tokenizers."""
    from tokenizers import Tokenizer

    steps: Iterable[Any] = [step for step in (spec.get("pre_tokenizer"), *extra) if step is not None]
    pre_tokenizer = {"type": "Sequence", "pretokenizers": list(steps)}
    whole = dict(spec) | {
        "added_tokens": [],
        "post_processor": None,
        "pre_tokenizer": pre_tokenizer,
        "model": {"type": "BPE", "vocab": {}, "merges": []},
    }
    return Tokenizer.from_str(json.dumps(whole, ensure_ascii=False))


def bare(spec: Mapping[str, Any], model: Mapping[str, Any]) -> Tokenizer:
    """A tokenizer that is `model` alone: no added tokens, nothing before it and nothing after."""
    from tokenizers import Tokenizer

    empty = dict.fromkeys(("normalizer", "pre_tokenizer", "post_processor", "decoder"))
    whole = dict(spec) | empty | {"added_tokens": [], "model": model}
    return Tokenizer.from_str(json.dumps(whole, ensure_ascii=False))
