"""Objects with vocabularies or matrices print a line, not their contents."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse as sp

from align.lexicon import Lexicon
from align.short_repr import short_repr
from align.vectors import WordVectors


@dataclass(frozen=True)
class Thing:
    value: Any
    hidden: int = field(default=1, repr=False)

    __repr__ = short_repr


def test_values_are_told_by_size() -> None:
    told = {
        "<float32 2 x 3>": np.zeros((2, 3), np.float32),
        "<int64 scalar>": np.array(1),
        "<csr_array 2 x 3 with 1 entries>": sp.csr_array(([1.0], ([0], [1])), shape=(2, 3)),
        "<tuple of 1,000>": ("word",) * 1000,
        "<dict of 7>": dict.fromkeys(range(7)),
        "('a', 1.5, None)": ("a", 1.5, None),
        "('a',)": ("a",),
        "['a', <int64 2>]": ["a", np.zeros(2, np.int64)],
        "{'a': <tuple of 9>}": {"a": tuple(range(9))},
        "Thing(value=Thing(value=3))": Thing(Thing(3)),
        f"'{'x' * 119}...": "x" * 1000,
    }
    for text, value in told.items():
        assert repr(Thing(value)) == f"Thing(value={text})"


def test_what_tells_of_itself_shortly_is_not_cut() -> None:
    wide = Thing(["y" * 100] * 5)
    assert repr(Thing(wide)) == f"Thing(value={wide!r})"
    assert len(repr(wide)) > 500


def test_vocabularies_and_matrices_are_not_printed() -> None:
    words = tuple(f"w{i}" for i in range(1000))
    assert repr(WordVectors(words, np.zeros((1000, 4), np.float32))).startswith(
        "WordVectors(words=<tuple of 1,000>, matrix=<float32 1000 x 4>"
    )
    assert repr(Lexicon(tuple((word, word) for word in words))) == "Lexicon(pairs=<tuple of 1,000>)"
