"""The compass: slices trained against one output matrix."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from align.compass import Compass, CompassOptions, SlicedText, number_slices, train

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
