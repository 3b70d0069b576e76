"""The compass: slices trained against one output matrix."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from align.compass import Compass, CompassOptions, SlicedText, identity_test, number_slices, train
from align.compass.identity import halves
from align.compass.options import epochs_for
from align.errors import InputError, UsageError

TINY = CompassOptions(dim=16, epochs=20, slice_epochs=20, n_negatives=5, learning_rate=0.05)


def clustered(n_lines: int, *, moved: bool, seed: int) -> list[str]:
    """Sentences of two topics, with noise; `shifter` belongs to the first topic, or the second if moved."""
    rng = np.random.default_rng(seed)
    lines = []
    for _ in range(n_lines):
        topic = int(rng.integers(2))
        words = [f"{'ab'[topic]}{int(rng.integers(20))}" for _ in range(8)]
        words[int(rng.integers(8))] = f"noise{int(rng.integers(20))}"
        if rng.random() < 0.3 and topic == int(moved):
            words[int(rng.integers(8))] = "shifter"
        lines.append(" ".join(words))
    return lines


@pytest.fixture(scope="module")
def text() -> SlicedText:
    return number_slices(
        {"then": clustered(1500, moved=False, seed=0), "now": clustered(1500, moved=True, seed=1)}
    )


@pytest.fixture(scope="module")
def compass(text: SlicedText) -> Compass:
    return train(text, options=TINY)


def test_the_word_that_changed_sides_moved_most(compass: Compass) -> None:
    then, now = compass.slice("then"), compass.slice("now")
    shared = [word for word in compass.words if word in then.index and word in now.index]
    x, y = then.vectors_of(shared), now.vectors_of(shared)
    cosine = (x * y).sum(axis=1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
    at = shared.index("shifter")
    assert cosine[at] < np.delete(cosine, at).min() - 0.1


def test_same_seed_same_bytes(text: SlicedText, compass: Compass) -> None:
    again = train(text, options=TINY)
    for name in compass.names:
        np.testing.assert_array_equal(again.slice(name).matrix, compass.slice(name).matrix)


def test_save_and_load(compass: Compass, tmp_path: Path) -> None:
    compass.save(tmp_path / "c")
    again = Compass.load(tmp_path / "c")
    assert (again.words, again.names, again.options) == (compass.words, compass.names, compass.options)
    assert again.history == compass.history
    np.testing.assert_array_equal(again.output, compass.output)
    np.testing.assert_array_equal(again.counts, compass.counts)
    for name in compass.names:
        assert again.slice(name).words == compass.slice(name).words
        np.testing.assert_array_equal(again.slice(name).matrix, compass.slice(name).matrix)
        np.testing.assert_array_equal(again.slice(name).counts, compass.slice(name).counts)


def test_a_damaged_compass_is_refused(compass: Compass, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no compass in this folder"):
        Compass.load(tmp_path)
    compass.save(tmp_path / "c")
    about = json.loads((tmp_path / "c" / "compass.json").read_text())
    for change in ({"format": 99}, {"slices": ["then"]}, {"options": {"dim": 3, "colour": 1}}):
        (tmp_path / "c" / "compass.json").write_text(json.dumps(about | change))
        with pytest.raises(InputError, match="the compass is damaged"):
            Compass.load(tmp_path / "c")
    (tmp_path / "c" / "compass.json").write_text(json.dumps(about))
    whole = (tmp_path / "c" / "compass.safetensors").read_bytes()
    (tmp_path / "c" / "compass.safetensors").write_bytes(whole[:-100])
    with pytest.raises(InputError, match="the compass is damaged"):
        Compass.load(tmp_path / "c")


def test_slices_begin_where_init_says(text: SlicedText) -> None:
    still = replace(TINY, slice_epochs=1, slice_learning_rate=1e-9, min_learning_rate=1e-9)
    fresh, both, copy = (train(text, options=replace(still, init=k)) for k in ("hidden", "both", "copy"))
    for name in text.names:
        np.testing.assert_allclose(copy.slice(name).matrix, copy.vectors, atol=1e-6)
        assert copy.slice(name).words == text.words
        own = both.slice(name)
        begun = both.vectors[[text.words.index(word) for word in own.words]]
        np.testing.assert_allclose(own.matrix, begun, atol=1e-6)
        assert np.abs(fresh.slice(name).matrix).max() <= 0.5 / TINY.dim + 1e-6


def test_words_of_a_slice() -> None:
    lines = {"x": ["a b"] * 20 + ["a c", "d e"] * 3, "y": ["a d", "c e"] * 20 + ["b a"]}
    text = number_slices(lines, min_count=5)
    options = CompassOptions(dim=8, epochs=30)
    first = train(text, options=options)
    assert set(first.slice("x").words) == {"a", "b", "c", "d", "e"}
    strict = train(text, options=replace(options, slice_min_count=4))
    assert set(strict.slice("x").words) == {"a", "b"}
    assert dict(zip(strict.slice("y").words, strict.slice("y").counts, strict=True)) == {
        "a": 21,
        "d": 20,
        "c": 20,
        "e": 20,
    }
    with pytest.raises(InputError, match="x: a slice without a word"):
        train(text, options=replace(options, slice_min_count=1000))
    with pytest.raises(UsageError, match="no slice of this name"):
        first.slice("z")


def test_a_compass_that_learned_nothing_says_so(text: SlicedText) -> None:
    with pytest.warns(UserWarning, match="the compass has not converged: after 1 passes"):
        compass = train(text, options=replace(TINY, epochs=1, learning_rate=0.001))
    assert not compass.converged


def test_halves_divide_the_sentences(text: SlicedText) -> None:
    divided = halves(text, seed=3)
    np.testing.assert_array_equal(divided.counts.sum(axis=0), text.counts.sum(axis=0))
    sizes = [int((stream < 0).sum()) for stream in divided.streams]
    assert abs(sizes[0] - sizes[1]) <= len(text.names)
    assert not np.array_equal(halves(text, seed=4).counts, divided.counts)


def test_identity_tells_training_from_none(text: SlicedText) -> None:
    good = identity_test(text, options=TINY)
    assert good.mean_cosine() > 0.8
    with pytest.warns(UserWarning, match="has not converged"):
        poor = identity_test(text, options=replace(TINY, epochs=1, slice_epochs=1, learning_rate=0.001))
    assert poor.accuracy() < good.accuracy()
    assert 0 <= good.accuracy(10) <= 1


def test_small_texts_are_read_more_often() -> None:
    assert [epochs_for(n, 20_000_000) for n in (10, 160_000, 1_000_000, 10**9)] == [200, 125, 20, 5]
