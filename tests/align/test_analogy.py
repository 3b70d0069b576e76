from __future__ import annotations

from itertools import permutations

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from align.errors import InputError, UsageError
from align.evaluation import Analogy, analogy, read_analogies, solve_analogies
from align.normalize import unit
from align.vectors import WordVectors, read_vectors


def reference(rows, a, b, c, method, exclude):
    """Scores of every word in float64, as the papers write them."""
    V = unit(rows.astype(np.float64))
    if method == "add":
        scores = V @ (V[b] - V[a] + V[c])
    else:
        to_a, to_b, to_c = ((1 + V @ V[i]) / 2 for i in (a, b, c))
        scores = to_b * to_c / (to_a + 0.001)
    if exclude:
        scores[[a, b, c]] = -np.inf
    return scores


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from(["add", "mul"]),
    st.booleans(),
    st.integers(4, 90),
    st.integers(1, 25),
)
def test_answers_are_the_best_of_the_plain_formulas(seed, method, exclude, n, n_questions):
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((n, 6)).astype(np.float32)
    asked = rng.integers(0, n, (n_questions, 4))
    questions = [Analogy(*(f"w{i}" for i in q[:3]), (f"w{q[3]}",)) for q in asked]
    found = solve_analogies(
        questions, WordVectors([f"w{i}" for i in range(n)], rows), method=method, exclude_inputs=exclude
    )
    for (a, b, c, d), answer, hit in zip(asked, found.answers, found.hits, strict=True):
        scores = reference(rows, a, b, c, method, exclude)
        assert scores[int(answer[1:])] >= scores.max() - 1e-5
        assert hit == (answer == f"w{d}")
    assert found.accuracy == np.mean(found.hits)


def test_blocks_and_threads_do_not_matter(monkeypatch):
    rng = np.random.default_rng(1)
    space = WordVectors([f"w{i}" for i in range(500)], np.repeat(rng.standard_normal((250, 8)), 2, axis=0))
    questions = [Analogy(*(f"w{i}" for i in q), ("w0",)) for q in rng.integers(0, 500, (60, 3))]
    first = solve_analogies(questions, space, method="mul")
    assert solve_analogies(questions, space).answers != first.answers
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        assert solve_analogies(questions, space, method="mul").answers == first.answers
    finally:
        numba.set_num_threads(threads)
    monkeypatch.setattr(analogy, "_CANDIDATE_BLOCK", 30)
    np.testing.assert_array_equal(solve_analogies(questions, space, method="mul").hits, first.hits)


def planted(noise=0.3, seed=2):
    """Twenty pairs (b0, d0) ... that differ by one offset, with noise, among other words."""
    rng = np.random.default_rng(seed)
    base, offset = rng.standard_normal((20, 30)), 1.5 * rng.standard_normal(30)
    rows = np.concatenate(
        [base, base + offset + noise * rng.standard_normal(base.shape), rng.standard_normal((50, 30))]
    )
    words = [*(f"b{i}" for i in range(20)), *(f"d{i}" for i in range(20)), *(f"x{i}" for i in range(50))]
    questions = [Analogy(f"b{i}", f"d{i}", f"b{j}", (f"d{j}",), "s") for i, j in permutations(range(20), 2)]
    return questions, WordVectors(words, rows)


@pytest.mark.parametrize("method", ["add", "mul"])
def test_a_planted_offset_is_found_and_inputs_stand_in_its_way(method):
    questions, space = planted()
    found = solve_analogies(questions, space, method=method)
    assert found.accuracy > 0.95
    assert solve_analogies(questions, space, method=method, exclude_inputs=False).accuracy < found.accuracy
    wrong = [Analogy(q.b, q.a, q.c, q.answers) for q in questions]  # the offset the other way round
    assert solve_analogies(wrong, space, method=method).accuracy < 0.3


def test_unknown_words_sections_and_casing():
    questions, space = planted()
    asked = [
        *questions[:3],
        Analogy("b0", "d0", "absent", ("d1",), "t"),
        Analogy("b0", "d0", "b1", ("absent",), "t"),
        Analogy("B0", "D0", "b1", ("absent", "d1"), "u"),
    ]
    dropped = solve_analogies(asked, space)
    np.testing.assert_array_equal(dropped.known, [True] * 3 + [False] * 3)
    assert (dropped.accuracy, dropped.coverage) == (1.0, 0.5)
    assert dropped.by_section == {"s": 1.0, "t": 0.0, "u": 0.0}
    assert dropped.answers[3:] == (None,) * 3
    wrong = solve_analogies(asked, space, oov="wrong", lower=True)
    assert wrong.accuracy == pytest.approx(4 / 6)
    assert wrong.by_section == {"s": 1.0, "t": 0.0, "u": 1.0}
    limited = solve_analogies(questions, space, limit=30)
    assert limited.n_candidates == 30
    assert limited.coverage == pytest.approx(10 * 9 / (20 * 19))


def test_files(tmp_path):
    google = tmp_path / "google.txt"
    google.write_text(": capitals of states\nAthens Greece Oslo Norway\n: plural\ncat cats dog dogs\n")
    assert read_analogies(google) == [
        Analogy("Athens", "Greece", "Oslo", ("Norway",), "capitals of states"),
        Analogy("cat", "cats", "dog", ("dogs",), "plural"),
    ]
    folder = tmp_path / "bats" / "1_inflection"
    folder.mkdir(parents=True)
    (folder / "plural.txt").write_text("cat\tcats\nmouse\tmice/mouses\n")
    (tmp_path / "bats" / "msr.txt").write_text("good better bad worse\n")
    assert read_analogies(tmp_path / "bats") == [
        Analogy("cat", "cats", "mouse", ("mice", "mouses"), "plural"),
        Analogy("mouse", "mice", "cat", ("cats",), "plural"),
        Analogy("good", "better", "bad", ("worse",), "msr"),
    ]
    (tmp_path / "bad.txt").write_text("a b c d\na b c\n")
    with pytest.raises(InputError, match=r"bad\.txt:2: not an analogy"):
        read_analogies(tmp_path / "bad.txt")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no analogies here"):
        read_analogies(tmp_path / "empty")


def test_bad_input():
    questions, space = planted()
    with pytest.raises(UsageError, match="unknown rule"):
        solve_analogies(questions, space, method="cos")
    with pytest.raises(InputError, match="no questions"):
        solve_analogies([], space)


@pytest.mark.data
def test_the_google_questions(shared_data):
    questions = read_analogies(shared_data / "analogy" / "google" / "questions-words.txt.gz")
    assert len(questions) == 19_544
    assert len({q.section for q in questions}) == 14
    en = read_vectors(shared_data / "vectors" / "novels" / "en.npz", limit=10_000)
    some = [q for q in questions if q.section in ("family", "gram8-plural")]
    found = solve_analogies(some, en, lower=True)
    assert 0.5 < found.by_section["gram8-plural"] < 0.8
    for place in np.flatnonzero(found.known)[::300]:
        q = some[place]
        a, b, c = en.indices_of([q.a.lower(), q.b.lower(), q.c.lower()])
        assert found.answers[place] == en.words[int(reference(en.matrix, a, b, c, "add", True).argmax())]
