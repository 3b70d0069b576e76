"""Links: written and read, with weights, as other aligners write them, checked against the text."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from align.errors import InputError
from align.wordalign import Links
from align.wordalign.links import read_links

A3 = """\
# Sentence pair (1) source length 3 target length 4 alignment score : 0.01
the white house now
NULL ({ 4 }) das ({ 1 }) weisse ({ 2 }) haus ({ 2 3 })
# Sentence pair (2) source length 1 target length 1 alignment score : 0.1
yes
NULL ({ }) ja ({ 1 })
"""

positions = st.integers(0, 300)
texts = st.lists(
    st.dictionaries(st.tuples(positions, positions), st.floats(0.001, 1), max_size=9), max_size=6
)


def _links(text: list[dict[tuple[int, int], float]]) -> Links:
    rows = [(n, i, j, w) for n, links in enumerate(text) for (i, j), w in links.items()]
    n, i, j, w = np.array(rows).reshape(-1, 4).T
    return Links.from_pairs(n.astype(int), i.astype(int), j.astype(int), w, n_pairs=len(text))


@given(texts)
def test_written_and_read(text: list[dict[tuple[int, int], float]]) -> None:
    links = _links(text)
    for probabilities in (False, True):
        again = Links.from_pharaoh(links.pharaoh(probabilities=probabilities))
        for name in ("offsets", "src", "tgt"):
            np.testing.assert_array_equal(getattr(again, name), getattr(links, name))
        wanted = links.weights if probabilities else np.ones_like(links.weights)
        np.testing.assert_allclose(again.weights, wanted, rtol=5.1e-4)


def test_what_others_write() -> None:
    links = Links.from_pharaoh(["1-0 0-0 0-0 ||| -3.25", "", "\t0-1:0.5  2p3:1e-2 "])
    assert [links.pair(n) for n in range(3)] == [[(0, 0), (1, 0)], [], [(0, 1), (2, 3)]]
    np.testing.assert_allclose(links.weights, [1, 1, 0.5, 0.01], rtol=1e-6)
    assert Links.from_pharaoh(["1-1 2-1"], one_based=True).pair(0) == [(0, 0), (1, 0)]
    assert Links.from_pharaoh([]).n_pairs == 0


@pytest.mark.parametrize(
    "item", ["1", "a-b", "-1-2", "1-2:x", "1-2:", "1-2:nan", "0-0-0", "１-2", "9" * 12 + "-0"]
)
def test_what_is_no_link(item: str) -> None:
    with pytest.raises(InputError, match=r"f\.links:2: not a link"):
        Links.from_pharaoh(["0-0", f"1-1 {item}"], where="f.links")


@pytest.mark.parametrize(("line", "one_based"), [("0-1", True), ("1048576-0", False)])
def test_positions_out_of_range(line: str, one_based: bool) -> None:
    with pytest.raises(InputError, match=r"line 2: a position that no sentence has"):
        Links.from_pharaoh(["1-1", line], one_based=one_based)


def test_files(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"0-0 1-2\n\n"))
    assert read_links(tmp_path / "a.gz").pharaoh() == ["0-0 1-2", ""]
    (tmp_path / "A3.final").write_text(A3, encoding="utf-8")
    assert read_links(tmp_path / "A3.final").pharaoh() == ["0-0 1-1 2-1 2-2", "0-0"]
    (tmp_path / "cut").write_text(A3[:-10].rsplit("\n", 1)[0], encoding="utf-8")
    with pytest.raises(InputError, match=r"cut:5: an A3 file that is cut off"):
        read_links(tmp_path / "cut")
    (tmp_path / "odd").write_text(A3.replace("NULL ({ }) ja ({ 1 })", "ja"), encoding="utf-8")
    with pytest.raises(InputError, match=r"odd:6: not an A3 file"):
        read_links(tmp_path / "odd")


def test_links_inside_the_sentences() -> None:
    links = Links.from_pharaoh(["0-0", "1-2"])
    links.check(np.array([1, 2]), np.array([1, 3]))
    with pytest.raises(InputError, match=r"a\.links:2: a link to a word that is not there"):
        links.check(np.array([1, 2]), np.array([1, 2]), where="a.links")
    with pytest.raises(InputError, match=r"links of another text \(got 2 lines, wanted 1\)"):
        links.check(np.array([1]), np.array([1]))


def test_some_of_the_pairs() -> None:
    links = Links.from_pharaoh(["0-0", "1-2:0.5 3-3", "", "2-2"])
    some = links.rows(np.array([1, 3]))
    assert some.pharaoh() == ["1-2 3-3", "2-2"]
    assert some.spread(np.array([0, 3]), 5).pharaoh(probabilities=True) == [
        "1-2:0.5 3-3:1",
        "",
        "",
        "2-2:1",
        "",
    ]


def test_links_in_any_order_become_the_same():
    rng = np.random.default_rng(5)
    rows = np.stack(np.unravel_index(np.sort(rng.choice(6 * 7 * 8, 90, replace=False)), (6, 7, 8)))
    weights = rng.random(90)
    for n in range(20):  # in order, then with two neighbours swapped, then shuffled
        order = np.arange(90)
        if n >= 10:
            order = rng.permutation(90)
        elif n:
            order[[n * 9 - 1, n * 9]] = order[[n * 9, n * 9 - 1]]
        links = Links.from_pairs(*rows[:, order], weights[order], n_pairs=6)
        np.testing.assert_array_equal(links.offsets, np.searchsorted(rows[0], np.arange(7)))
        np.testing.assert_array_equal(links.src, rows[1])
        np.testing.assert_array_equal(links.tgt, rows[2])
        np.testing.assert_array_equal(links.weights, weights.astype(np.float32))
