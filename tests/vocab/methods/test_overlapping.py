from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from vocab.methods.overlapping import overlapping


def compared_in_pairs(surfaces: list[bytes], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The published rule, by comparing each token with each other."""
    tokens = [i for i in np.flatnonzero(known) if surfaces[i]]
    wanted = np.zeros((len(surfaces), len(surfaces)))
    for row, surface in enumerate(surfaces):
        if known[row] or not surface:
            continue
        inside = [i for i in tokens if surfaces[i] in surface]
        for i in inside:
            wanted[row, i] = not any(surfaces[i] in surfaces[j] != surfaces[i] for j in inside)
        for i in tokens:
            if surfaces[i].startswith(surface):
                wanted[row, i] = 1
    return wanted


@pytest.mark.parametrize(
    ("token", "known", "wanted"),
    [
        (b"heria", b"he er ria h ri a", b"he er ria"),
        (b"kwazo", b"k wa zo a w", b"k wa zo"),
        (b"nisha", b"ni isha sha is n", b"ni isha"),
        (b"ham", b"hamu hamjambo kham ha am m", b"hamu hamjambo ha am"),  # not those that end with it
        (b"abcab", b"ab abc b c", b"abc"),  # ab stands alone at the end, and in abc
        (b"xyz", b"a b xyza", b"xyza"),
        (b"xyz", b"a b", b""),
        ("né".encode(), b"n \xc3 \xa9", b"n \xc3 \xa9"),
    ],
)
def test_starts_and_largest_insides(token: bytes, known: bytes, wanted: bytes) -> None:
    others = known.split()
    found = overlapping([token, *others], np.arange(len(others) + 1) > 0).toarray()
    assert {others[j - 1] for j in np.flatnonzero(found[0])} == set(wanted.split())
    np.testing.assert_array_equal(found[1:], 0)


SURFACES = st.lists(st.tuples(st.text("ab ", max_size=7).map(str.encode), st.booleans()), max_size=25)


@given(SURFACES)
def test_equals_comparing_pairs(tokens: list[tuple[bytes, bool]]) -> None:
    """Also where several tokens have the same bytes, or none."""
    surfaces, known = [surface for surface, _ in tokens], np.array([is_known for _, is_known in tokens], bool)
    np.testing.assert_array_equal(overlapping(surfaces, known).toarray(), compared_in_pairs(surfaces, known))
