from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.vocab.small_vocabularies import byte_level
from tests.vocab.tokenizer_families import FAMILIES, WITH_BYTES, check_pieces, family
from vocab.methods import copy
from vocab.methods.vipi import _shares, vipi
from vocab.plan import Origin
from vocab.tokens import Vocabulary


def listed_shares(surface: bytes, known: dict[bytes, int]) -> dict[int, float]:
    """The published rule over partitions written out."""

    def partitions(rest: bytes) -> list[list[bytes]]:
        if not rest:
            return [[]]
        return [
            [rest[:n], *others]
            for n in range(1, len(rest) + 1)
            if rest[:n] in known
            for others in partitions(rest[n:])
        ]

    found = partitions(surface) if surface else []
    found = [p for p in found if len(p) == min(map(len, found))]
    reach = max((len(piece) for p in found for piece in p), default=0)
    found = [p for p in found if max(map(len, p)) == reach]
    shares: dict[int, float] = {}
    for p in found:
        for piece in p:
            shares[known[piece]] = shares.get(known[piece], 0.0) + 1 / len(p) / len(found)
    return shares


@given(
    st.text(alphabet="ab", max_size=9).map(str.encode),
    st.sets(st.text(alphabet="ab", min_size=1, max_size=4).map(str.encode), max_size=14),
)
def test_counting_equals_listing(surface: bytes, pieces: set[bytes]) -> None:
    known = {piece: i for i, piece in enumerate(sorted(pieces))}
    found, wanted = _shares(surface, known, 4), listed_shares(surface, known)
    assert found.keys() == wanted.keys()
    for token, share in wanted.items():
        assert found[token] == pytest.approx(share, abs=1e-12)


def test_shortest_then_longest_then_all_of_them() -> None:
    src = byte_level(
        [*(bytes([b]) for b in b" nyumba"), b" nyu", b" nyum", b" ny", b"um", b"umb", b"mba", b"ba"]
    )
    tgt = byte_level([b" nyumba", b"umba", b" n", b"q", b"ba"])
    plan = vipi(src, tgt)
    rows = [
        {plan.src_tokens[j]: round(float(v), 4) for j, v in zip(*parts, strict=True)}
        for parts in (
            (plan.weights[[i]].indices, plan.weights[[i]].data) for i in range(5, len(plan.tgt_tokens))
        )
    ]
    assert rows == [
        {"Ġnyum": 0.5, "ba": 0.5},  # not "Ġnyu" + "mba" nor "Ġny" + "umb" + "a"
        {"umb": 0.25, "a": 0.25, "u": 0.25, "mba": 0.25},
        {"Ġ": 0.5, "n": 0.5},
        {},
        {"ba": 1.0},
    ]
    assert [Origin(o).name for o in plan.origins[5:]] == ["COMPOSED"] * 3 + ["EMPTY", "COPIED"]
    assert plan.method == "vipi"


@pytest.mark.parametrize(("target", "source"), list(permutations(FAMILIES[::2], 2)))
def test_rows_of_every_family(target: str, source: str) -> None:
    src, tgt = family(source), family(target)
    plan = vipi(src, tgt)
    check_pieces(plan, copy(src, tgt), tgt, complete=source in WITH_BYTES)
    assert not src.special[plan.weights[~tgt.special].indices].any()


def test_takes_tokenizers_too() -> None:
    src, tgt = family("byte-level"), family("unigram")
    plan = vipi(src.tokenizer, tgt.tokenizer)
    assert plan.differing_rows(vipi(Vocabulary.of(src.tokenizer), tgt)).size == 0
