"""Symmetrisation: against the rules written out over sets, and against recorded outputs of atools."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from align.errors import InputError, UsageError
from align.wordalign import Links, PairPosteriors
from align.wordalign.symmetrize import METHODS, soft_links, symmetrize

Pairs = set[tuple[int, int]]
link_sets = st.sets(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=14)


def _by_sets(fwd: Pairs, bwd: Pairs, method: str) -> Pairs:
    union = sorted(fwd | bwd)
    if method == "union":
        return set(union)
    found = fwd & bwd
    if method == "intersect":
        return found

    def free(link: tuple[int, int]) -> list[bool]:
        return [all(link[side] != other[side] for other in found) for side in (0, 1)]

    before = -1
    while len(found) != before:
        before = len(found)
        for i, j in union:
            near = {(i + di, j + dj) for di in (-1, 0, 1) for dj in (-1, 0, 1)}
            if (i, j) not in found and any(free((i, j))) and near & found:
                found.add((i, j))
    if method != "grow-diag":
        for side in (fwd, bwd):
            for link in sorted(side):
                if (all if method.endswith("and") else any)(free(link)):
                    found.add(link)
    return found


def _links(sets: list[Pairs], rng: np.random.Generator) -> Links:
    rows = np.array([(n, i, j) for n, pairs in enumerate(sets) for i, j in pairs]).reshape(-1, 3).astype(int)
    return Links.from_pairs(*rows.T, rng.random(len(rows)), n_pairs=len(sets))


@settings(deadline=None, max_examples=80)
@given(st.lists(st.tuples(link_sets, link_sets), max_size=4), st.sampled_from(METHODS))
def test_equals_the_rules_over_sets(pairs: list[tuple[Pairs, Pairs]], method: str) -> None:
    rng = np.random.default_rng(0)
    fwd, bwd = (_links([pair[side] for pair in pairs], rng) for side in (0, 1))
    got = symmetrize(fwd, bwd, method=method)
    assert got.n_pairs == len(pairs)
    for n, (f, b) in enumerate(pairs):
        links = got.pair(n)
        assert links == sorted(_by_sets(f, b, method))
        at = slice(got.offsets[n], got.offsets[n + 1])
        given_ = [
            dict(
                zip(
                    side.pair(n),
                    side.weights[side.offsets[n] : side.offsets[n + 1]].astype(float),
                    strict=True,
                )
            )
            for side in (fwd, bwd)
        ]
        wanted = [np.mean([side[link] for side in given_ if link in side]) for link in links]
        np.testing.assert_allclose(got.weights[at], wanted, rtol=1e-6)


@pytest.mark.data
@pytest.mark.parametrize("method", METHODS)
def test_equals_atools(shared_golden: Path, method: str) -> None:
    def recorded(name: str) -> list[str]:
        path = shared_golden / "wordalign" / f"lafand2000.{name}.links.gz"
        return gzip.decompress(path.read_bytes()).decode().splitlines()

    fwd, bwd = Links.from_pharaoh(recorded("fwd")), Links.from_pharaoh(recorded("rev"))
    got = symmetrize(fwd, bwd, method=method)
    assert [set(line.split()) for line in got.pharaoh()] == [set(line.split()) for line in recorded(method)]


def test_soft_links() -> None:
    rng = np.random.default_rng(1)
    text = [
        PairPosteriors(
            rng.random((3, 4), dtype=np.float32), rng.random((3, 4), dtype=np.float32), (0.0, 0.0)
        ),
        PairPosteriors(np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32), (np.nan, np.nan)),
    ]
    for combination, value in (
        ("mean", (text[0].src_to_tgt + text[0].tgt_to_src) / 2),
        ("product", text[0].src_to_tgt * text[0].tgt_to_src),
        ("min", np.minimum(text[0].src_to_tgt, text[0].tgt_to_src)),
    ):
        got = soft_links(text, combination=combination, threshold=0.3)
        assert got.pair(0) == [(int(i), int(j)) for i, j in np.argwhere(value > 0.3)]
        assert got.pair(1) == []
        np.testing.assert_allclose(got.weights, value[value > 0.3], rtol=1e-6)


def test_refusals() -> None:
    links = Links.from_pharaoh(["0-0", ""])
    with pytest.raises(UsageError, match="unknown symmetrisation"):
        symmetrize(links, links, method="grow")
    with pytest.raises(InputError, match="two texts"):
        symmetrize(links, Links.from_pharaoh(["0-0"]))
    with pytest.raises(UsageError, match="unknown combination"):
        soft_links([], combination="max")
