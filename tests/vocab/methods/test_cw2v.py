"""New tokens as mixtures that predict their neighbours."""

from __future__ import annotations

import numpy as np
import pytest

from align.errors import InputError, UsageError
from tests.vocab.tokens.test_token_links import pieces
from vocab.methods.cw2v import cw2v
from vocab.plan import Origin, TransferPlan

N_OLD, N_NEW, DIM = 40, 8, 10
SHARED = [f"s{i}" for i in range(N_OLD)]
OLD = pieces(*SHARED, *(f"o{i}" for i in range(10)))
NEW = pieces(*SHARED, *(f"n{i}" for i in range(N_NEW)), "unseen")


def planted(n_lines: int = 3000) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Old rows; lines about one direction each, where n(i) stands for either of two old tokens; which two."""
    rng = np.random.default_rng(0)
    topics = rng.standard_normal((12, DIM))
    rows = rng.standard_normal((len(OLD), DIM))
    rows[1 : N_OLD + 1] = topics[rng.integers(0, 12, N_OLD)] + 0.3 * rng.standard_normal((N_OLD, DIM))
    parents = rng.permuted(np.tile(np.arange(N_OLD), (N_NEW, 1)), axis=1)[:, :2]
    names = np.array([*SHARED, *(f"n{i}" for i in range(N_NEW))])
    lines = []
    for topic in topics[rng.integers(0, 12, n_lines)]:
        odds = np.exp(1.2 * rows[1 : N_OLD + 1] @ topic / np.linalg.norm(topic))
        line = rng.choice(N_OLD, 10, p=odds / odds.sum())
        for new, pair in enumerate(parents):
            line[np.isin(line, pair) & (rng.random(10) < 0.4)] = N_OLD + new
        noise = rng.random(10) < 0.1
        line[noise] = rng.integers(0, N_OLD, noise.sum())
        lines.append(" ".join(names[line]))
    return rows + 0.05 * rng.standard_normal(rows.shape), lines, parents


ROWS, LINES, PARENTS = planted()


def likeness(plan: TransferPlan) -> np.ndarray:
    """Cosines of new rows with the mixtures planted, around the mean of the shared rows."""
    shared = ROWS[1 : N_OLD + 1]
    new = plan.weights[N_OLD + 1 : N_OLD + 1 + N_NEW] @ ROWS - shared.mean(axis=0)
    wanted = shared[PARENTS].mean(axis=1) - shared.mean(axis=0)
    lengths = np.linalg.norm(new, axis=1)[:, None] * np.linalg.norm(wanted, axis=1)
    return (new @ wanted.T) / lengths


def test_planted_mixtures_beat_chance() -> None:
    plan = cw2v(OLD, NEW, src_matrix=ROWS, texts=LINES, epochs=50)
    np.testing.assert_array_equal(plan.origins[1 : N_OLD + 1], Origin.COPIED)
    np.testing.assert_array_equal(plan.origins[N_OLD + 1 : -1], Origin.MIXED)
    assert plan.origins[-1] == Origin.EMPTY
    assert plan.weights.data.min() > 0
    np.testing.assert_allclose(plan.weights.sum(axis=1)[:-1], 1, atol=1e-6)
    found = likeness(plan)
    own, others = np.diag(found), found[~np.eye(N_NEW, dtype=bool)]
    assert own.mean() > 0.6
    assert own.mean() > others.mean() + 0.5
    told = plan.options["cw2v"]
    assert told["loss"][1] < told["loss"][0]
    assert 0 < told["kept"] <= 1


def test_only_shared_tokens_are_mixed_unless_asked() -> None:
    for anchors, n in (("shared", N_OLD), ("all", len(OLD) - 1)):
        plan = cw2v(OLD, NEW, src_matrix=ROWS, texts=LINES[:200], epochs=2, anchors=anchors, top=60)
        assert plan.options["cw2v"]["n_anchors"] == n
        assert len(np.unique(plan.weights[N_OLD + 1 :].indices)) == n


def test_the_same_plan_every_time() -> None:
    once, again = (cw2v(OLD, NEW, src_matrix=ROWS, texts=LINES[:200], epochs=3, seed=4) for _ in range(2))
    np.testing.assert_array_equal(once.weights.data, again.weights.data)
    other = cw2v(OLD, NEW, src_matrix=ROWS, texts=LINES[:200], epochs=3, seed=5)
    assert (once.weights != other.weights).nnz


def test_nothing_shared() -> None:
    with pytest.warns(UserWarning, match="no shared token in the text"):
        plan = cw2v(pieces("a"), pieces("b", "c"), src_matrix=np.ones((2, 3)), texts=["b c b"])
    assert set(plan.origins.tolist()) == {Origin.SPECIAL, Origin.EMPTY}


def test_one_shared_token_and_padding() -> None:
    matrix = np.vstack([np.ones((3, 3)), np.full((2, 3), np.nan)]).astype(np.float16)
    plan = cw2v(pieces("a", "z"), pieces("a", "c"), src_matrix=matrix, texts=["a c a", "c"])
    np.testing.assert_array_equal(plan.weights.toarray()[2], [0, 1, 0])


def test_what_cannot_be_asked() -> None:
    for texts in ([], ["", " "]):
        with pytest.raises(InputError, match="no token in the text"):
            cw2v(OLD, NEW, src_matrix=ROWS, texts=texts)
    with pytest.raises(InputError, match="fewer rows"):
        cw2v(OLD, NEW, src_matrix=ROWS[:5], texts=LINES)
    with pytest.raises(UsageError, match="anchors"):
        cw2v(OLD, NEW, src_matrix=ROWS, texts=LINES, anchors="some")  # type: ignore[arg-type]
