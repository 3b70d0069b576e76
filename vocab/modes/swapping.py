"""Another model's tokenizer, exactly: what a draft model for speculative decoding needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from align.errors import OutputError
from vocab.tokenizer.loading import load_tokenizer
from vocab.tokens import Vocabulary
from vocab.tokens.roles import NAMED_ROLES, STAND_INS

_TEXTS = ("Habari za asubuhi, dunia!", "It's 12,345.67 € — naïve.", "中文 हिन्दी 😀", " two  spaces\n\ta tab ")


def compared_roles(source: Vocabulary, target: Vocabulary) -> str:
    """Which special tokens both tokenizers have, by role, and which only the new one."""
    both = [role for role in STAND_INS if role in source.roles and role in target.roles]
    new = [role for role in STAND_INS if role in target.roles and role not in source.roles]
    told = f"{', '.join(both) or 'none'} in both"
    return f"{told}; {', '.join(new)} only in the new tokenizer" if new else told


def model_rows(path: Path, n_tokens: int) -> int | None:
    """Rows of the model whose tokenizer lies at `path`, by its config.json.

    Servers compare the two models' ``vocab_size``, which counts padding. None where there is no such file, or
    it has no room for the tokens.
    """
    config = path / "config.json"
    if not config.is_file():
        return None
    try:
        read = json.loads(config.read_text(encoding="utf-8"))
        size = read.get("vocab_size") or (read.get("text_config") or {}).get("vocab_size")
    except (ValueError, AttributeError):
        return None
    return size if isinstance(size, int) and size >= n_tokens else None


def confirm_swap(folder: Path, path: Path, *, n_rows: int, trust_remote_code: bool = False) -> str:
    """Compare the tokenizer in a finished model directory, not yet in its place, with the one wanted.

    Returns
    -------
    str
        What is equal, in words.

    Raises
    ------
    OutputError
        For anything in which the two differ: vocabulary, special tokens, chat template, ids of a text.
    """
    ours, theirs = (load_tokenizer(place, trust_remote_code=trust_remote_code) for place in (folder, path))

    def facts(tokenizer: Any) -> dict[str, Any]:
        return {
            "vocabulary": tokenizer.get_vocab(),
            "special tokens": {role: getattr(tokenizer, f"{role}_token_id", None) for role in NAMED_ROLES},
            "chat template": tokenizer.chat_template,
            "ids of a text": [tokenizer(text).input_ids for text in _TEXTS],
        }

    wanted = facts(theirs)
    different = [name for name, value in facts(ours).items() if value != wanted[name]]
    if different:
        raise OutputError(
            "the swapped tokenizer is not the one that was asked for",
            got=f"another {' and another '.join(different)}",
            where=path,
            hint="nothing was written",
        )
    n_tokens = len(wanted["vocabulary"])
    rows = model_rows(path, n_tokens)
    size = "" if rows is None else f", {n_rows:,} rows where its model has {rows:,}"
    return f"{n_tokens:,} tokens, special tokens and chat template as in {path.name}{size}"
