from __future__ import annotations

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from align.cooccurrence import cooccurrence, flat_lines
from align.errors import UsageError

LINES = st.lists(st.lists(st.integers(0, 6), max_size=9), max_size=5)


def reference(lines: list[list[int]], n_types: int, window: int, decay: bool) -> np.ndarray:
    counts = np.zeros((n_types, n_types))
    for line in lines:
        for i, one in enumerate(line):
            for j, other in enumerate(line):
                if 0 < abs(i - j) <= window:
                    counts[one, other] += 1 / abs(i - j) if decay else 1
    return counts


@settings(max_examples=60, deadline=None)
@given(LINES, st.integers(1, 10), st.booleans())
def test_counts_are_those_of_a_loop(lines: list[list[int]], window: int, decay: bool) -> None:
    counts = cooccurrence(*flat_lines(lines), 8, window=window, decay=decay)
    np.testing.assert_allclose(counts.toarray(), reference(lines, 8, window, decay), rtol=1e-6)
    assert counts.has_sorted_indices
    assert (counts.data > 0).all()


def test_threads_do_not_change_a_bit() -> None:
    ids = np.random.default_rng(0).zipf(1.3, 5000) % 400
    offsets = np.arange(0, 5001, 50)
    many = cooccurrence(ids, offsets, 400)
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        one = cooccurrence(ids, offsets, 400)
    finally:
        numba.set_num_threads(threads)
    np.testing.assert_array_equal(many.indptr, one.indptr)
    np.testing.assert_array_equal(many.data, one.data)


def test_a_window_of_nothing() -> None:
    with pytest.raises(UsageError, match="window"):
        cooccurrence(*flat_lines([[0, 1]]), 2, window=0)
