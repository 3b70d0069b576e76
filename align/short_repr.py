"""What a data class with long contents says of itself: shapes and numbers instead of the contents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

_MAX_ITEMS = 6
_MAX_CHARS = 120


def short_repr(self: Any) -> str:
    """``Name(field=value, ...)`` on one line; for a class body: ``__repr__ = short_repr``.

    Arrays are told by dtype and shape, long sequences and mappings by their length.
    """
    told = ", ".join(f"{one.name}={_told(getattr(self, one.name))}" for one in fields(self) if one.repr)
    return f"{type(self).__name__}({told})"


def _told(value: Any) -> str:
    import numpy as np  # not for --help, which reads the options

    if isinstance(value, np.ndarray):
        return f"<{value.dtype} {_by(value.shape)}>"
    if hasattr(value, "nnz"):
        return f"<{type(value).__name__} {_by(value.shape)} with {value.nnz:,} entries>"
    if isinstance(value, (Mapping, list, tuple)):
        if len(value) > _MAX_ITEMS:
            return f"<{type(value).__name__} of {len(value):,}>"
        if isinstance(value, Mapping):
            return "{" + ", ".join(f"{_told(key)}: {_told(one)}" for key, one in value.items()) + "}"
        ends = "[]" if isinstance(value, list) else "()"
        comma = "," if len(value) == 1 and isinstance(value, tuple) else ""
        return f"{ends[0]}{', '.join(map(_told, value))}{comma}{ends[1]}"
    text = repr(value)
    # what tells of itself in this way is as long as it has to be
    long = len(text) > _MAX_CHARS and getattr(type(value), "__repr__", None) is not short_repr
    return f"{text[:_MAX_CHARS]}..." if long else text


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) if shape else "scalar"
