"""Tokenizers from files: the one that the files describe, or an error; never an approximation of it."""

from __future__ import annotations

import json
import logging
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from align.errors import InputError, UsageError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

_log = logging.getLogger(__name__)

# Any one of these holds a vocabulary. transformers makes a tokenizer of five tokens out of a directory
# that has none of them.
_VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "*.model", "tekken.json", "*.tiktoken")

# What a tokenizer.json alone does not say: which special token plays which part. Spellings in use.
_ROLES = {
    "bos_token": ("<s>", "<|begin_of_text|>", "<|endoftext|>", "<bos>"),
    "eos_token": ("</s>", "<|end_of_text|>", "<|endoftext|>", "<eos>"),
    "unk_token": ("<unk>", "[UNK]"),
    "sep_token": ("[SEP]", "</s>"),
    "pad_token": ("<pad>", "[PAD]", "<|pad|>"),
    "cls_token": ("[CLS]", "<s>"),
    "mask_token": ("<mask>", "[MASK]"),
}

# Where rebuilt tokenizers have been seen to differ from their files: case, accents, white space at every
# place, digits, scripts, a special token inside the text.
_PROBES = (
    "Habari za  asubuhi, Dunia! It's NAÏVE: 12,345.67 €\n\tx",
    " leading and trailing ",
    "中文字 שלום привет हिन्दी 😀 e\u0301 ﬁ",
    "a<unk>b",
)


def load_tokenizer(path: str | PathLike[str], *, trust_remote_code: bool = False) -> PreTrainedTokenizerFast:
    """Load a fast tokenizer from a directory or from a single tokenizer.json, without touching the network.

    transformers builds some tokenizers anew from the defaults of the class that the files name, and so can
    come out with another one than tokenizer.json describes, or fail. Where the two tokenize differently,
    tokenizer.json wins, and a log record says so.

    Parameters
    ----------
    path : path
        From :func:`vocab.hub.resolve_model` or :func:`vocab.hub.resolve_tokenizer`.
    trust_remote_code : bool
        Run Python code that lies in the directory.

    Returns
    -------
    transformers.PreTrainedTokenizerFast

    Raises
    ------
    InputError
        No vocabulary file, none that can be read, a slow tokenizer, one with special tokens only.
    UsageError
        It needs code of its own and `trust_remote_code` is off.
    """
    path = Path(path)
    if path.is_file():
        return _from_file(path)
    if not any(any(path.glob(pattern)) for pattern in _VOCABULARIES):
        raise InputError("no tokenizer files", where=path, wanted="tokenizer.json")

    file = path / "tokenizer.json"
    loaded, problem = _auto(path, trust_remote_code=trust_remote_code)
    if file.is_file() and (loaded is None or not _agrees(loaded, file)):
        _log.warning(
            "%s: its declared class does not give what tokenizer.json describes; reading the latter", path
        )
        loaded = _plain(path)
    if loaded is None:
        if not trust_remote_code and _brings_code(path):
            raise UsageError(
                "the tokenizer needs Python code that comes with it",
                where=path,
                hint="Allow it: --trust-remote-code",
            ) from problem
        hint = None
        if any(path.glob("*.model")):
            hint = (
                "Where the packages sentencepiece and protobuf are installed, "
                "`AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)` writes one"
            )
        raise InputError(
            f"the tokenizer cannot be loaded: {_one_line(problem)}",
            where=path,
            wanted="tokenizer.json",
            hint=hint,
        ) from problem
    if not getattr(loaded, "is_fast", False):
        raise InputError(
            "a slow tokenizer, written in Python",
            where=path,
            got=type(loaded).__name__,
            wanted="one of the tokenizers library (tokenizer.json)",
        )
    return _checked(loaded, path)


def _auto(path: Path, *, trust_remote_code: bool) -> tuple[PreTrainedTokenizerFast | None, Exception | None]:
    from transformers import AutoTokenizer

    try:
        loaded: Any = AutoTokenizer.from_pretrained(
            str(path), local_files_only=True, trust_remote_code=trust_remote_code
        )
        return loaded, None
    except Exception as error:  # everything from TypeError to the Rust side's own: the files decide
        return None, error


def _plain(path: Path) -> PreTrainedTokenizerFast:
    from transformers import PreTrainedTokenizerFast

    try:
        return PreTrainedTokenizerFast.from_pretrained(str(path), local_files_only=True)
    except Exception as error:
        raise InputError(f"the tokenizer cannot be loaded: {_one_line(error)}", where=path) from error


def _brings_code(path: Path) -> bool:
    try:
        return "auto_map" in json.loads((path / "tokenizer_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False


def _read(file: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(file))
    except Exception as error:  # the Rust side raises Exception itself
        raise InputError(
            f"not a tokenizer: {_one_line(error)}", where=file, wanted="a tokenizer.json"
        ) from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _agrees(loaded: PreTrainedTokenizerFast, file: Path) -> bool:
    if not loaded.is_fast:
        return False
    described = _read(file)
    vocabulary = loaded.get_vocab()
    if any(vocabulary.get(token) != i for token, i in described.get_vocab().items()):
        return False
    try:
        return all(
            loaded(probe, add_special_tokens=False)["input_ids"]
            == described.encode(probe, add_special_tokens=False).ids
            for probe in _PROBES
        )
    except Exception as error:  # the Rust side raises Exception itself
        raise InputError(
            f"the tokenizer fails on text outside its vocabulary: {_one_line(error)}",
            where=file,
            hint="It has no unk token; add one, or use a tokenizer with byte fallback",
        ) from error


def _from_file(file: Path) -> PreTrainedTokenizerFast:
    from transformers import PreTrainedTokenizerFast

    if file.name == "tokenizer.json" and (file.parent / "tokenizer_config.json").is_file():
        _read(file)
        return _checked(_plain(file.parent), file)
    tokenizer = _read(file)
    special = {token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special}
    roles: dict[str, Any] = {}
    for role, spellings in _ROLES.items():
        found = next((spelling for spelling in spellings if spelling in special), None)
        if found is not None:
            roles[role] = found
    unk = json.loads(tokenizer.to_str())["model"].get("unk_token")
    if unk is not None:
        roles["unk_token"] = unk
    return _checked(PreTrainedTokenizerFast(tokenizer_object=tokenizer, **roles), file)


def _checked(tokenizer: PreTrainedTokenizerFast, where: Path) -> PreTrainedTokenizerFast:
    if len(tokenizer) <= len(set(tokenizer.all_special_ids)):
        raise InputError(
            "the tokenizer has special tokens only",
            where=where,
            got=f"{len(tokenizer)} tokens",
            wanted="a vocabulary",
        )
    return tokenizer


def _one_line(error: Exception | None) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
