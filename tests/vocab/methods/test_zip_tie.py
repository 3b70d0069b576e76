from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from tests.vocab.small_vocabularies import byte_level
from tests.vocab.tokenizer_families import FAMILIES, WITH_BYTES, check_pieces, family
from vocab.methods import copy, find_method
from vocab.methods.constituents import constituents
from vocab.methods.zip_tie import zip_tie
from vocab.plan import Origin


def test_characters_then_bytes() -> None:
    src = byte_level([b" ", b"a", b"b", b" b", b"ab", "é".encode(), b"\xe6", b"\x97"])
    tgt = byte_level([b"aba", b" ba", b" ab", "aéé".encode(), "日".encode(), b"ab", b"zz", b" "])
    plan = zip_tie(src, tgt)
    rows = [
        {src.surfaces[j]: round(float(v), 4) for j, v in zip(row.indices, row.data, strict=True)}
        for row in (plan.weights[[i]] for i in range(5, len(tgt)))
    ]
    assert rows == [
        {b"a": 0.6667, b"b": 0.3333},  # not "ab" and "a"
        {b" b": 0.5, b"a": 0.5},
        {b" ": 0.3333, b"a": 0.3333, b"b": 0.3333},
        {b"a": 0.3333, "é".encode(): 0.6667},
        {b"\xe6": 0.5, b"\x97": 0.5},  # of three bytes the two that are tokens
        {b"ab": 1.0},
        {},
        {b" ": 1.0},
    ]
    names = [Origin(origin).name for origin in plan.origins[5:]]
    assert names == ["COMPOSED"] * 5 + ["COPIED", "EMPTY", "COPIED"]


@pytest.mark.parametrize(("target", "source"), list(permutations(FAMILIES[::2], 2)))
def test_rows_of_every_family(target: str, source: str) -> None:
    src, tgt = family(source), family(target)
    plan, copied = zip_tie(src, tgt), copy(src, tgt)
    check_pieces(plan, copied, tgt, complete=source in WITH_BYTES)
    used = np.unique(plan.weights[copied.origins == Origin.EMPTY].indices)
    assert all(len(src.surfaces[j].strip().decode(errors="replace")) <= 1 for j in used)


def test_is_the_mean_of_the_pieces_where_the_old_tokenizer_knows_only_characters() -> None:
    src = byte_level([bytes([b]) for b in range(256)])
    tgt = family("llama")
    ordinary = [bool(surface) for surface in tgt.surfaces]
    difference = abs(zip_tie(src, tgt).weights - constituents(src, tgt).weights)
    assert difference.max() < 1e-6 < ordinary.count(True)


def test_fvt_is_the_mean_of_the_pieces() -> None:
    assert find_method("fvt").name == "constituents"
