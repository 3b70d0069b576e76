"""Other ways to comparable slices, answers across them, and a word's trace and drawing."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest

from align.compass import Compass, CompassOptions, SlicedText, number_slices
from align.compass.alternatives import METHODS, rotate, train_by
from align.compass.correspond import Moment, Neighbor, correspond_all, near
from align.compass.drawing import describe, trace_svg
from align.compass.pooled import code_switched, train_pooled
from align.errors import InputError, UsageError
from align.normalize import UNIT_CENTRE_UNIT
from align.vectors import WordVectors
from tests.align.test_compass import TINY, clustered


@pytest.fixture(scope="module")
def text() -> SlicedText:
    return number_slices(
        {
            "one": clustered(900, moved=False, seed=0),
            "two": clustered(1100, moved=False, seed=1),
            "three": clustered(1000, moved=True, seed=2),
        }
    )


@pytest.fixture(scope="module")
def compass(text: SlicedText) -> Compass:
    return train_by(text, options=TINY)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_sees_the_word_move(text: SlicedText, method: str) -> None:
    made = train_by(text, method=method, options=TINY)
    assert made.method == method
    assert made.names == text.names
    assert made.converged
    for first in ("one", "two"):
        found = made.shift(first, "three")
        moved = [found.words[i] for i in found.order("none")]
        # words that any topic takes go anywhere
        assert next(word for word in moved if not word.startswith("noise")) == "shifter"
    still = made.shift("one", "two")
    at = still.words.index("shifter")
    assert still.change[at] < 0.7 * made.shift("one", "three").change[at]


def test_a_method_is_saved_with_its_name(text: SlicedText, tmp_path: object) -> None:
    made = train_by(text, method="histwords", options=TINY)
    made.save(f"{tmp_path}/c")
    again = Compass.load(f"{tmp_path}/c")
    assert (again.method, again.output) == ("histwords", None)
    np.testing.assert_array_equal(again.slice("two").matrix, made.slice("two").matrix)


@pytest.mark.parametrize("steps", [("unit",), UNIT_CENTRE_UNIT])
def test_rotation_is_recovered_from_slice_to_slice(steps: tuple[str, ...]) -> None:
    rng = np.random.default_rng(0)
    words = tuple(f"w{i}" for i in range(300))
    base = rng.normal(size=(300, 10)) + 0.3
    spaces = {}
    for k, name in enumerate("abc"):
        turn = np.linalg.qr(rng.normal(size=(10, 10)))[0]
        noisy = (base + 0.05 * rng.normal(size=base.shape)) @ turn
        rows = rng.permutation(300)[: 300 - 20 * k]  # another order, and not all words
        spaces[name] = WordVectors(
            tuple(words[i] for i in rows), noisy[rows].astype(np.float32), np.full(len(rows), 9)
        )
    turned = rotate(spaces, {"b": "a", "c": "b"}, steps)
    for name in "bc":
        shared = [word for word in words if word in spaces[name].index and word in spaces["a"].index]
        x, y = turned["a"].vectors_of(shared), turned[name].vectors_of(shared)
        np.testing.assert_allclose(np.linalg.norm(y, axis=1), 1, atol=1e-5)
        assert (x * y).sum(axis=1).min() > 0.97
        assert (spaces["a"].vectors_of(shared) * spaces[name].vectors_of(shared)).sum(axis=1).min() < 0
    with pytest.raises(InputError, match="share no word"):
        rotate({"a": spaces["a"], "z": WordVectors(("q",), np.ones((1, 10), np.float32))}, {"z": "a"})


def test_incremental_goes_on_from_the_slice_before(text: SlicedText) -> None:
    made = train_by(text, method="incremental", options=TINY)
    apart = train_by(text, method="procrustes", options=TINY)
    assert made.history["two"][0] < apart.history["two"][0] - 0.1


def test_methods_refuse(text: SlicedText) -> None:
    with pytest.raises(UsageError, match="unknown method"):
        train_by(text, method="magic")
    with pytest.raises(InputError, match="without a word"):
        train_by(text, method="procrustes", options=replace(TINY, slice_min_count=10**6))
    with pytest.warns(UserWarning, match="the slice one has not converged"):
        train_by(text, method="procrustes", options=CompassOptions(dim=4, epochs=1, learning_rate=1e-4))


def languages(n_lines: int) -> tuple[SlicedText, list[tuple[str, str]]]:
    """Two languages of ten topics of four words; `d3_1` is `e3_1`. `same` is a word of both."""
    slices = {}
    for name, letter, seed in (("first", "d", 0), ("second", "e", 1)):
        rng = np.random.default_rng(seed)
        slices[name] = [
            " ".join(f"{letter}{topic}x{rng.integers(4)}" for _ in range(7)) + " same"
            for topic in rng.integers(10, size=n_lines)
        ]
    return number_slices(slices), [(f"d{t}x{i}", f"e{t}x{i}") for t in range(10) for i in range(4)]


def test_words_are_exchanged_for_translations() -> None:
    text, pairs = languages(400)
    mixed = code_switched(text, [*pairs, ("d1x1", "e1x2"), ("none", "e1x1"), ("same", "same")], rate=0.4)
    number = {word: k for k, word in enumerate(text.words)}
    right = {number[s]: {number[t] for s2, t in [*pairs, ("d1x1", "e1x2")] if s2 == s} for s, _ in pairs}
    before, after = text.streams[0], mixed.streams[0]
    changed = before != after
    assert 0.36 < changed.sum() / np.isin(before, list(right)).sum() < 0.44
    assert all(b in right[a] for a, b in zip(before[changed], after[changed], strict=True))
    assert {int(b) for b in after[changed & (before == number["d1x1"])]} == right[number["d1x1"]]
    np.testing.assert_array_equal(mixed.counts.sum(axis=1), text.counts.sum(axis=1))
    # the other slice goes the other way
    assert mixed.counts[1, number["d1x1"]] > 0
    assert (mixed.streams[0] == code_switched(text, pairs, rate=0.4).streams[0]).mean() > 0.9
    with pytest.raises(InputError, match="no pair"):
        code_switched(text, [("x", "y")])
    with pytest.raises(UsageError, match="switch_rate"):
        code_switched(text, pairs, rate=0)


def test_slices_in_two_languages_translate_into_one_another() -> None:
    text, pairs = languages(1500)
    # half of the topics' words are not in the lexicon
    known = [pair for pair in pairs if pair[0].endswith(("0", "1"))]
    made = train_pooled(text, known, options=replace(TINY, epochs=30, slice_epochs=30))
    assert made.method == "pooled"
    unseen = [s for s, _ in pairs if (s, f"e{s[1:]}") not in known]
    answers = correspond_all(made, unseen, "first", "second", top=1)
    assert np.mean([a[0].word[1] == word[1] for word, a in zip(unseen, answers, strict=True)]) > 0.8
    apart = train_by(text, options=replace(TINY, epochs=30, slice_epochs=30))
    blind = correspond_all(apart, unseen, "first", "second", top=1)
    assert np.mean([a[0].word[1] == word[1] for word, a in zip(unseen, blind, strict=True)]) < 0.5
    with pytest.raises(UsageError, match="different words"):
        train_pooled(text, known, options=replace(TINY, init="copy"))


def test_correspond_answers_with_the_word_in_its_place(compass: Compass) -> None:
    found = compass.correspond("shifter", "one", "three", top=5)
    assert {n.word[0] for n in found} == {"a"}
    assert found == tuple(sorted(found, key=lambda n: -n.score))
    counts = dict(zip(compass.words, compass.counts[2].tolist(), strict=True))
    assert all(counts[n.word] == n.count for n in found)
    assert {n.word[0] for n in compass.correspond("shifter", "one", "three", retrieval="csls", top=3)} == {
        "a"
    }
    assert compass.correspond("shifter", "one", "three", min_count=10**9) == ()
    with pytest.raises(InputError, match="does not have this word"):
        compass.correspond("nonesuch", "one", "three")
    with pytest.raises(UsageError, match="no slice"):
        compass.correspond("shifter", "one", "four")
    with pytest.raises(UsageError, match="retrieval"):
        compass.correspond("shifter", "one", "three", retrieval="magic")
    with pytest.raises(UsageError, match="out of range"):
        compass.correspond("shifter", "one", "three", top=0)


def test_trace_of_a_word(compass: Compass) -> None:
    moments = compass.trace("shifter", top=4)
    assert [m.name for m in moments] == ["one", "two", "three"]
    assert (moments[0].to_first, moments[0].to_previous) == (None, None)
    assert moments[1].to_first == moments[1].to_previous
    vectors = [compass.slice(name).vectors_of(["shifter"])[0].astype(float) for name in compass.names]
    unit = [v / np.linalg.norm(v) for v in vectors]
    assert moments[2].to_first == pytest.approx(unit[0] @ unit[2])
    assert moments[2].to_previous == pytest.approx(unit[1] @ unit[2])
    assert [m.neighbors[0].word[0] for m in moments] == ["a", "a", "b"]
    assert all(len(m.neighbors) == 4 and "shifter" not in [n.word for n in m.neighbors] for m in moments)
    assert moments[1].neighbors == near(compass, ["shifter"], "two", top=4)[0]
    with pytest.raises(InputError, match="no slice has this word"):
        compass.trace("nonesuch")


def test_trace_over_a_slice_without_the_word() -> None:
    rows = np.eye(3, dtype=np.float32)
    counts = np.array([[9, 9, 9], [0, 9, 9], [9, 9, 9]])
    slices = {
        "a": WordVectors(("w", "x", "y"), rows, counts[0]),
        "b": WordVectors(("x", "y"), rows[1:], counts[1, 1:]),
        "c": WordVectors(("w", "x", "y"), rows[[1, 1, 2]], counts[2]),
    }
    moments = Compass(("w", "x", "y"), counts, slices).trace("w")
    assert moments[1] == Moment("b", 0, None, None, ())
    assert (moments[2].to_first, moments[2].to_previous) == (0.0, 0.0)
    drawn = trace_svg("w", moments)
    assert "b: 0 occurrences, no vector." in drawn


def test_a_word_that_is_not_there_is_told_from_one_that_is_elsewhere() -> None:
    rows = np.eye(3, dtype=np.float32)
    counts = np.array([[90, 9, 0], [0, 9, 7]])
    words = ("wander", "Xerxes", "yonder")
    slices = {
        "a": WordVectors(words[:2], rows[:2], counts[0, :2]),
        "b": WordVectors(words[1:], rows[1:], counts[1, 1:]),
    }
    made = Compass(words, counts, slices)
    said = {
        ("yonder", "a"): r"\(got 'yonder'\)\. It occurs 7 times in b\.",
        ("wonder", "a"): r"Perhaps wander is meant\.",
        ("xerxes", "a"): r"Perhaps Xerxes is meant\.",
        ("qqq", "b"): r"It is rare, or not in the text at all\.",
    }
    for (word, name), message in said.items():
        with pytest.raises(InputError, match=f"^{name}: the slice does not have this word.*{message}$"):
            made.correspond(word, name, "b")
    with pytest.raises(InputError, match="Perhaps yonder or wander is meant"):
        made.trace("wonder")


def test_the_drawing_is_a_document_whose_texts_stand_apart() -> None:
    long = [Neighbor(word, 0.5, 9) for word in ("antidisestablishmentarianism", "漢字" * 6, "<&>")]
    moments = [
        Moment(f"{year}", 1_000_000, None if k == 0 else -0.3 + k / 9, None if k == 0 else 0.5, tuple(long))
        for k, year in enumerate(range(1800, 1900, 20))
    ]
    root = ET.fromstring(trace_svg('a<b"\x07', moments))
    space = "{http://www.w3.org/2000/svg}"
    title, desc = root.find(f"{space}title"), root.find(f"{space}desc")
    assert title is not None
    assert desc is not None
    assert title.text == 'a<b"� slice by slice'
    assert desc.text == describe('a<b"�', moments)
    boxes = []
    for node in root.iter(f"{space}text"):
        size = float(node.get("font-size", "13"))
        width = sum(size if ord(c) > 0x2E80 else 0.62 * size for c in node.text or "")
        x, y = float(node.get("x", "0")), float(node.get("y", "0"))
        x -= {"middle": width / 2, "end": width}.get(node.get("text-anchor", ""), 0)
        boxes.append((x, x + width, y - 0.8 * size, y + 0.2 * size))
    assert len(boxes) >= 5 * 5
    for i, (left, right, top, bottom) in enumerate(boxes):
        assert left >= 0
        assert right <= float(root.get("width", "0"))
        assert bottom <= float(root.get("height", "0"))
        for other in boxes[:i]:
            assert right <= other[0] or other[1] <= left or bottom <= other[2] or other[3] <= top
