"""New tokens by the company they keep."""

from __future__ import annotations

import numpy as np
import pytest

from align.errors import InputError, UsageError
from align.glove import Glove
from tests.vocab.tokens.test_token_links import pieces
from vocab.methods.overlap import overlap
from vocab.methods.tokalign import Similarity, _tokalign, tokalign
from vocab.plan import Origin

SHARED = [f"s{i}" for i in range(40)]
OLD = pieces(*SHARED, *(f"o{i}" for i in range(30)), "rare")
NEW = pieces(*SHARED, *(f"n{i}" for i in range(30)), "seldom")


def sides(rng: np.random.Generator, noise: float) -> tuple[Glove, Glove]:
    """New token n(i) lies at old token o(i), and the two spaces are turned against each other."""
    points = rng.standard_normal((70, 16))
    turn = np.linalg.qr(rng.standard_normal((16, 16)))[0]
    known = np.r_[False, np.ones(70, bool), False]
    made = []
    for rotation in (np.eye(16), turn):
        matrix = np.zeros((72, 16), np.float32)
        matrix[1:71] = points @ rotation + noise * rng.standard_normal((70, 16))
        made.append(Glove(matrix, known, ()))
    return made[0], made[1]


@pytest.mark.parametrize(("similarity", "least"), [("inner", 0.8), ("csls", 0.95)])
def test_planted_pairs_are_found_through_pivots(similarity: Similarity, least: float) -> None:
    old, new = sides(np.random.default_rng(0), 0.1)
    plan = _tokalign(OLD, NEW, overlap(OLD, NEW), old, new, 30, similarity, 0)
    np.testing.assert_array_equal(plan.origins[1:41], Origin.COPIED)
    np.testing.assert_array_equal(plan.origins[41:71], Origin.MAPPED)
    assert plan.origins[71] == Origin.EMPTY
    rows, cols = plan.whole_rows
    assert (cols[rows >= 41] == rows[rows >= 41]).mean() >= least
    assert plan.options["tokalign"]["pivots"] == 30


def test_rows_are_the_published_rule() -> None:
    old, new = sides(np.random.default_rng(1), 0.5)
    plan = _tokalign(OLD, NEW, overlap(OLD, NEW), old, new, 300, "inner", 0)
    described = [
        (side.matrix[1:71] / np.linalg.norm(side.matrix[1:71], axis=1)[:, None]) for side in (old, new)
    ]
    described = [rows @ rows[:40].T for rows in described]
    wanted = 1 + (described[1][40:] @ described[0].T).argmax(axis=1)
    rows, cols = plan.whole_rows
    np.testing.assert_array_equal(cols[rows >= 41], wanted)


def company(rng: np.random.Generator, n_lines: int) -> list[str]:
    """Words of ten topics; xy stands in topic 3 only."""
    lines = []
    for topic in rng.integers(0, 10, n_lines):
        line = [f"s{4 * topic + i}" for i in rng.integers(0, 4, 12)]
        if topic == 3:
            line[5] = "xy"
        line[2] = f"s{rng.integers(40)}"
        lines.append(" ".join(line))
    return lines


def test_text_gives_a_word_one_of_its_companions() -> None:
    src, tgt = pieces(*SHARED, "x", "##y"), pieces(*SHARED, "xy")
    lines = company(np.random.default_rng(0), 400)
    plan = tokalign(src, tgt, texts=lines, dim=16, similarity="csls")
    assert plan.origins[41] == Origin.MAPPED
    _, cols = plan.whole_rows
    assert src.tokens[cols[-1]] in ("x", "##y", "s12", "s13", "s14", "s15")
    assert (tokalign(src, tgt, texts=lines, dim=16, similarity="csls").weights != plan.weights).nnz == 0


def test_nothing_shared() -> None:
    with pytest.warns(UserWarning, match="no shared token"):
        plan = tokalign(pieces("a"), pieces("b"), texts=["a b a b"] * 5, dim=2)
    assert set(plan.origins.tolist()) == {Origin.SPECIAL, Origin.EMPTY}


def test_one_pivot_is_enough() -> None:
    src, tgt = pieces("s", "x"), pieces("s", "y")
    plan = tokalign(src, tgt, texts=["s x y"] * 9, dim=3)
    np.testing.assert_array_equal(plan.origins, [Origin.SPECIAL, Origin.COPIED, Origin.MAPPED])


def test_what_cannot_be_asked() -> None:
    with pytest.raises(InputError, match="no token in the text"):
        tokalign(OLD, NEW, texts=[])
    with pytest.raises(UsageError, match="pivots"):
        tokalign(OLD, NEW, texts=["s1"], n_pivots=0)
    with pytest.raises(UsageError, match="similarity"):
        tokalign(OLD, NEW, texts=["s1"], similarity="nearest")  # type: ignore[arg-type]
