"""Measures of change, what frequency explains of it, and tests of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from align.compass import Compass, SlicedText, number_slices, train
from align.compass.change import Shift, frequency_rank, frequency_residual, pooled_p
from align.compass.measures import MEASURES, neighbors_within, similarity
from align.compass.resampling import (
    bootstrap_shift,
    false_discovery,
    on_words_of,
    passages,
    permutation_test,
)
from align.errors import InputError, UsageError
from tests.align.test_compass import TINY, clustered

FAST = replace(TINY, epochs=8, slice_epochs=8)


@pytest.fixture(scope="module")
def text() -> SlicedText:
    return number_slices(
        {"then": clustered(1200, moved=False, seed=0), "now": clustered(1200, moved=True, seed=1)}
    )


@pytest.fixture(scope="module")
def compass(text: SlicedText) -> Compass:
    return train(text, options=FAST)


def spaces(n: int = 60, dim: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, dim)).astype(np.float32)
    return x, (x + 0.3 * rng.normal(size=x.shape)).astype(np.float32)


def by_hand(x: np.ndarray, y: np.ndarray, i: int, measure: str, k: int) -> float:
    """The definitions, word by word."""
    X, Y = (z / np.linalg.norm(z, axis=1, keepdims=True) for z in (x.astype(float), y.astype(float)))
    near = [[j for j in np.argsort(-(Z @ Z[i])) if j != i][:k] for Z in (X, Y)]
    if measure == "overlap":
        return len(set(near[0]) & set(near[1])) / k
    union = sorted(set(near[0]) | set(near[1]))
    a, b = X[union] @ X[i], Y[union] @ Y[i]
    local = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    return {"cosine": X[i] @ Y[i], "lncs2": local, "moving-lncs2": 0.75 * local + 0.25 * X[i] @ Y[i]}[measure]


@pytest.mark.parametrize("measure", MEASURES)
def test_measures_are_what_they_are_defined_to_be(measure: str) -> None:
    x, y = spaces()
    rows = np.array([3, 0, 59])
    found = similarity(x, y, rows, measure=measure, n_neighbors=7, weight=0.25)
    np.testing.assert_allclose(found, [by_hand(x, y, i, measure, 7) for i in rows], atol=1e-5)
    np.testing.assert_allclose(similarity(x, x, measure=measure), 1, atol=1e-6)


@pytest.mark.parametrize(("measure", "free"), [("cosine", False), ("lncs2", True), ("overlap", True)])
def test_local_measures_need_no_common_space(measure: str, free: bool) -> None:
    x, y = spaces()
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))[0].astype(np.float32)
    before, after = (similarity(x, z, measure=measure, n_neighbors=5) for z in (y, y @ turn))
    assert (np.abs(before - after).max() < 1e-5) == free


def test_neighbours_leave_the_word_out_even_among_twins() -> None:
    x = np.ones((6, 3), np.float32)
    found = neighbors_within(x, np.arange(6), 2)
    assert found.shape == (6, 2)
    assert not (found == np.arange(6)[:, None]).any()
    assert neighbors_within(x, np.arange(6), 9).shape == (6, 5)


def test_measures_refuse() -> None:
    x, y = spaces()
    with pytest.raises(UsageError, match="unknown measure"):
        similarity(x, y, measure="euclid")
    with pytest.raises(UsageError, match="weight"):
        similarity(x, y, measure="moving-lncs2", weight=2)
    with pytest.raises(InputError, match="pair up"):
        similarity(x, y[1:])
    with pytest.raises(InputError, match="neighbours"):
        similarity(x[:1], y[:1], measure="overlap")


def test_frequency_leaves_no_trace_in_the_residual() -> None:
    rng = np.random.default_rng(0)
    counts = rng.integers(20, 5000, size=(500, 2))
    drift = 1 / np.log(counts.min(axis=1))
    change = drift + 0.01 * rng.normal(size=500)
    change[7] += 0.2
    residual = frequency_residual(change, counts)
    logs = np.log(counts)
    for column in (logs[:, 0], logs[:, 1], logs[:, 0] ** 2):
        assert abs(np.corrcoef(column, residual)[0, 1]) < 1e-6
    assert int(residual.argmax()) == 7
    assert int(change.argmax()) != 7 or change[7] - drift.max() < 0.2


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 100))
def test_rank_among_words_as_frequent(n: int, n_alike: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    change, counts = rng.normal(size=n), rng.integers(1, 9, size=(n, 2))
    rank = frequency_rank(change, counts, n_alike=n_alike)
    order = sorted(range(n), key=lambda i: (counts[i].min(), i))
    size = min(n, n_alike + 1)
    for place, i in enumerate(order):
        start = min(max(place - size // 2, 0), n - size)
        window = change[order[start : start + size]]
        assert rank[i] == pytest.approx((window >= change[i]).mean())
    assert (rank > 0).all()
    assert (rank <= 1).all()


def test_pooled_p_values_are_even_where_nothing_changed() -> None:
    rng = np.random.default_rng(0)
    n, n_permutations = 3000, 9
    level, counts = rng.normal(size=n), rng.integers(20, 5000, size=(n, 2))
    spread = 1 / np.sqrt(counts.min(axis=1))
    null = level + spread * rng.normal(size=(n_permutations, n))
    change = level + spread * rng.normal(size=n)
    change[:5] += 8 * spread[:5]
    null[3, 10] = np.nan
    p = pooled_p(change, null, counts, n_alike=200)
    assert p[:5].max() < 0.002
    assert p.min() >= 1 / (1 + n_permutations * 201)
    # 0.05 and 0.5 of the rest, within three standard errors
    for share in (0.05, 0.5):
        assert abs((p[5:] <= share).mean() - share) < 3 * np.sqrt(share * (1 - share) / n) + 0.005


@pytest.mark.parametrize("measure", MEASURES)
def test_the_word_that_changed_sides_comes_first(compass: Compass, measure: str) -> None:
    found = compass.shift("then", "now", measure=measure, n_neighbors=10)
    assert found.words[found.order("residual")[0]] == "shifter"
    assert found.words[found.order("none")[0]] == "shifter"
    assert found.rank[found.words.index("shifter")] == found.rank.min()
    assert "shifter" in [found.words[i] for i in found.order("rank")[:3]]


def test_what_cannot_be_said() -> None:
    lines = clustered(300, moved=False, seed=0)
    text = number_slices({"a": [*lines, "rare old .", *["old ."] * 30], "b": [*lines, "rare ."] * 5})
    found = train(text, options=FAST).shift("a", "b", min_count=20)
    assert found.only_from == ("old",)
    assert found.only_to == ()
    assert "rare" in found.too_few
    assert not {"rare", "old", "."} & set(found.words)


def test_shift_refuses(compass: Compass) -> None:
    with pytest.raises(UsageError, match="no slice"):
        compass.shift("then", "later")
    with pytest.raises(UsageError, match="compared with another"):
        compass.shift("now", "now")
    with pytest.raises(InputError, match="no word to compare"):
        compass.shift("then", "now", min_count=10**6)
    with pytest.raises(UsageError, match="control"):
        compass.shift("then", "now").order("luck")


def test_permutation_finds_the_word_and_not_many_others(compass: Compass, text: SlicedText) -> None:
    tested = permutation_test(compass.shift("then", "now"), compass, text, n_permutations=9, seed=3)
    assert tested.p_value is not None
    assert tested.q_value is not None
    p = dict(zip(tested.words, tested.p_value, strict=True))
    assert p.pop("shifter") == pytest.approx(0.1)
    # all others are drawn from one distribution: p is uniform on 0.1, 0.2 ... 1
    assert np.mean([value <= 0.2 for value in p.values()]) < 0.45
    assert np.mean(list(p.values())) > 0.35
    assert tested.p_pooled is not None
    q = dict(zip(tested.words, tested.q_value, strict=True))
    n = len(tested.words)
    assert q.pop("shifter") == pytest.approx(n / (1 + 9 * n))  # as low as it can be
    assert min(q.values()) > 1.2 * n / (1 + 9 * n)
    # noise words differ by chance alone: pooled p-values are spread evenly
    assert 0.35 < tested.p_pooled.mean() < 0.65


def test_bootstrap_holds_the_moved_and_the_unmoved_apart(compass: Compass, text: SlicedText) -> None:
    found = bootstrap_shift(compass.shift("then", "now"), compass, text, n_resamples=6, level=0.8)
    assert found.low is not None
    assert found.high is not None
    assert (found.low <= found.high).all()
    at = found.words.index("shifter")
    assert found.low[at] > np.median(np.delete(found.high, at))


@pytest.mark.parametrize("method", ["procrustes", "histwords-centred"])
def test_other_methods_are_trained_again_in_their_own_way(text: SlicedText, method: str) -> None:
    from align.compass.alternatives import train_by

    made = train_by(text, method=method, options=TINY)
    tested = permutation_test(made.shift("then", "now"), made, text, n_permutations=3)
    assert tested.p_value is not None
    assert tested.p_value[tested.words.index("shifter")] == pytest.approx(0.25)


def test_resampling_wants_the_same_text(compass: Compass, text: SlicedText) -> None:
    found = compass.shift("then", "now")
    other = number_slices(
        {"then": clustered(50, moved=False, seed=9), "now": clustered(50, moved=True, seed=8)}
    )
    with pytest.raises(InputError, match="not the text"):
        permutation_test(found, compass, other)
    with pytest.raises(InputError, match="no slice of this name"):
        on_words_of(compass, replace(text, names=("x", "y")))
    with pytest.raises(UsageError, match="no resamples"):
        permutation_test(found, compass, text, n_permutations=0)
    with pytest.raises(UsageError, match="level"):
        bootstrap_shift(found, compass, text, level=1)
    with pytest.raises(UsageError, match="trained again"):
        permutation_test(found, replace(compass, output=None), text, n_permutations=1)
    again = on_words_of(compass, text, names=("now", "then"))
    np.testing.assert_array_equal(again.counts, text.counts[::-1])


def test_passages_are_whole_lines() -> None:
    stream = np.array([1, 2, -1, 3, -1, 4, 5, -1], np.int32)
    parts = passages(stream, block=2)
    assert [part.tolist() for part in parts] == [[1, 2, -1, 3, -1], [4, 5, -1]]
    assert len(passages(stream)) == 3
    with pytest.raises(UsageError, match="block"):
        passages(stream, block=0)


def test_false_discovery_rate() -> None:
    p = np.array([0.01, 0.5, 0.02, 0.03])
    # Benjamini and Hochberg by hand: p * n / rank, made monotone from the top
    np.testing.assert_allclose(false_discovery(p), [0.04, 0.5, 0.04, 0.04])


def test_order_is_of_the_shift_itself() -> None:
    values = np.array([0.1, 0.3, 0.2])
    found = Shift(
        "a", "b", "cosine", ("x", "y", "z"), values, np.full((3, 2), 30), -values, values, 20, (), (), ()
    )
    assert found.order("none").tolist() == [1, 2, 0]
    assert found.order("residual").tolist() == [0, 2, 1]
    assert found.order("rank").tolist() == [0, 2, 1]
