"""Token ids in config.json and generation_config.json, moved by role instead of by number."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from align.errors import InputError
from vocab.model_files.layout import VocabLayout
from vocab.tokens import Vocabulary
from vocab.tokens.roles import NAMED_ROLES

_ONE = ("_token_id", "_token_index")
_FLAT_LISTS = ("suppress_tokens", "begin_suppress_tokens")
_SEQUENCES = ("bad_words_ids", "force_words_ids", "forced_decoder_ids", "sequence_bias")


@dataclass(eq=False)
class IdMap:
    """Old token ids to new ones: special tokens by role, then by spelling; others by their bytes.

    ``notes`` collects, in words, what had no counterpart.
    """

    source: Vocabulary
    target: Vocabulary
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        by_bytes, by_role = self.source.match(self.target)
        self._new = [int(max(a, b)) for a, b in zip(by_bytes, by_role, strict=True)]

    def get(self, old: int) -> int | None:
        """The new id of an old one, ``None`` where there is none."""
        new = self._new[old] if 0 <= old < len(self._new) else -1
        return None if new < 0 else new

    def token(self, key: str, old: int) -> int | None:
        """The new value of one id under a key such as ``eos_token_id``.

        A key that names a role means that role's token where the old id is not a special token of the source
        (a default of the config class that nobody set), and for padding always.
        """
        if old < 0:  # -1 stands for "none" in many configs
            return old
        role = next((role for role in NAMED_ROLES if key == f"{role}_token_id"), None)
        special = old < len(self.source) and bool(self.source.special[old])
        by_name = role is not None and role in self.source.roles and (role == "pad" or not special)
        if by_name and role is not None and self.source.roles[role] != old:
            self.notes.append(f"{key} was {old}, but the source tokenizer's {role} token is another")
            old = self.source.roles[role]
            special = True
        if special and role is not None and self.source.roles.get(role) == old and role in self.target.roles:
            return self.target.roles[role]  # GPT-2's one token has three roles; the key says which is meant
        new = self.get(old) if special or role is None else None
        if new is None:
            self.notes.append(f"{key}: no counterpart of {self._name(old)}, left empty")
        return new

    def many(self, key: str, old: list[int]) -> list[int]:
        """New ids of a list; those without a counterpart are dropped with a note."""
        new = [(i, i if i < 0 else self.get(i)) for i in old]
        lost = [i for i, found in new if found is None]
        if lost:
            names = ", ".join(self._name(i) for i in lost[:5])
            self.notes.append(f"{key}: {len(lost)} of {len(old)} ids have no counterpart: {names}")
        return list(dict.fromkeys(found for _, found in new if found is not None))

    def sequence(self, key: str, old: list[int]) -> list[int] | None:
        """New ids of a sequence that only means something whole; ``None`` with a note where one is lost."""
        new = [found for i in old if (found := self.get(i)) is not None]
        if len(new) == len(old):
            return new
        self.notes.append(f"{key}: {' '.join(self._name(i) for i in old)} has no counterpart, dropped")
        return None

    def _name(self, old: int) -> str:
        return f"{old} ({self.source.tokens[old]!r})" if 0 <= old < len(self.source) else str(old)


def is_id_field(key: str) -> bool:
    """Whether a config field holds token ids."""
    return key.endswith((*_ONE, "_token_ids")) or key in (*_FLAT_LISTS, *_SEQUENCES)


def move_ids(key: str, value: Any, ids: IdMap) -> Any:
    """The new value of a field for which :func:`is_id_field` holds."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return ids.token(key, value)
    if not isinstance(value, list) or not value:
        return value
    if key == "forced_decoder_ids":
        moved = [[step, i if i is None else ids.get(i)] for step, i in value]
        if any(new is None and old is not None for (_, new), (_, old) in zip(moved, value, strict=True)):
            ids.notes.append(f"{key}: left empty, not every forced token has a counterpart")
            return None
        return moved
    if key == "sequence_bias":
        pairs = [(ids.sequence(key, sequence), bias) for sequence, bias in value]
        return [[sequence, bias] for sequence, bias in pairs if sequence is not None] or None
    if key == "bad_words_ids":
        sequences = [ids.sequence(key, sequence) for sequence in value]
        return [sequence for sequence in sequences if sequence is not None] or None
    if all(isinstance(i, int) for i in value):
        return ids.many(key, value) or None
    ids.notes.append(f"{key}: of an unknown form, left empty")
    return None


def new_config(folder: str | Path, layout: VocabLayout, ids: IdMap, *, n_rows: int) -> dict[str, Any]:
    """config.json with the new vocabulary: sizes, and ids by role.

    Values that the file leaves to the defaults of the config class are written out where they change.

    Raises
    ------
    InputError
        When the model needs a token that the target tokenizer lacks.
    """
    raw = json.loads((Path(folder) / "config.json").read_text(encoding="utf-8"))
    raw.pop("tokenizer_class", None)  # names the source's class; tokenizer_config.json names the new one
    sections: dict[tuple[str, ...], tuple[dict[str, Any], Any]] = {(): (raw, layout.config)}
    if layout.config_path:
        sections[layout.config_path] = (raw.setdefault(layout.config_path[0], {}), layout.text_config)
    moved: dict[tuple[str, str], Any] = {}
    for path, (section, config) in sections.items():
        for key in sorted({*config.to_dict(), *section}):
            if not is_id_field(key):
                continue
            old = section.get(key, getattr(config, key, None))
            if (key, str(old)) not in moved:  # the sections repeat each other; report once
                moved[key, str(old)] = move_ids(key, old, ids)
            new = moved[key, str(old)]
            if key in section or new != old:
                section[key] = new
        for name in layout.vocab_fields:
            if path == layout.config_path or section.get(name) == layout.vocab_size:
                section[name] = n_rows
    _check_needed(layout, sections[layout.config_path][0], ids)
    return raw


def new_generation_config(folder: str | Path, ids: IdMap) -> dict[str, Any] | None:
    """generation_config.json with new ids, or ``None`` where the source has no such file.

    Raises
    ------
    InputError
        When the file is damaged.
    """
    path = Path(folder) / "generation_config.json"
    if not path.exists():
        return None
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return {key: move_ids(key, value, ids) if is_id_field(key) else value for key, value in raw.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"a damaged generation_config.json: {error}", where=path) from error


def _check_needed(layout: VocabLayout, section: Mapping[str, Any], ids: IdMap) -> None:
    """Refuse a target tokenizer without a token that the model cannot do without."""
    needed = {"pad_token_id": "pad", "decoder_start_token_id": "decoder start"}
    if layout.model_class.can_generate():
        needed["eos_token_id"] = "eos"
    for key, role in needed.items():
        old = getattr(layout.text_config, key, None)
        old = old[0] if isinstance(old, list) and old else old
        was_real = isinstance(old, int) and 0 <= old < len(ids.source) and bool(ids.source.special[old])
        if was_real and section.get(key) is None:
            raise _lacking(role, layout, f"{key} is {old} in its config")
    if (
        "ForMaskedLM" in layout.model_class.__name__
        and "mask" in ids.source.roles
        and "mask" not in ids.target.roles
    ):
        raise _lacking("mask", layout, "it is a masked language model")
    covers_all = ids.target.kind == "byte-level" or bool(ids.target.byte_fallback.any())
    if not covers_all and "unk" not in ids.target.roles:
        raise _lacking("unk", layout, "text outside the vocabulary cannot be encoded")


def _lacking(role: str, layout: VocabLayout, why: str) -> InputError:
    return InputError(
        f"the target tokenizer has no {role} token, which {layout.model_class.__name__} needs: {why}",
        hint="add one to the target tokenizer, e.g. tokenizer.add_special_tokens(...)",
    )
