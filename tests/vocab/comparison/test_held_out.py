"""What is held out is gone from the material."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from align.errors import InputError, UsageError
from align.wordalign import Links
from vocab.comparison.held_out import Evaluation, hold_out, read_evaluation, warn_of_overlap
from vocab.materials.gathering import Materials
from vocab.materials.text import ParallelText


def material(n: int = 50, links: Links | None = None) -> Materials:
    src, tgt = [f"english {i}" for i in range(n)], [f"kiswahili {i % 45}" for i in range(n)]
    pairs = ParallelText(src, tgt, 0, list(range(n)))
    return Materials(
        pairs, [*tgt, "kiswahili 3", "peke yake"], [*src, "alone"], None, None, None, links=links
    )


def test_held_out_pairs_are_nowhere_in_the_material() -> None:
    whole = material()
    left, evaluation = hold_out(whole, seed=1)
    assert len(evaluation.tgt) == 5
    assert evaluation.src is not None
    number = dict(zip(whole.parallel.src, whole.parallel.tgt, strict=True))
    assert [number[s] for s in evaluation.src] == list(evaluation.tgt)
    assert not set(evaluation.tgt) & set(left.text)  # also where a sentence stands twice
    assert not set(evaluation.src) & set(left.src_text)
    assert left.text[: len(left.parallel)] == left.parallel.tgt
    assert "peke yake" in left.text
    assert "alone" in left.src_text
    assert hold_out(whole, seed=1)[1] == evaluation
    assert hold_out(whole, seed=2)[1] != evaluation


def test_links_stay_with_their_pairs() -> None:
    n = 50
    # pair n is linked n % 7 to 0
    at = np.arange(n, dtype=np.int32)
    links = Links(np.arange(n + 1), at % 7, np.zeros(n, np.int32), np.ones(n, np.float32))
    left, _ = hold_out(material(n, links), seed=0)
    assert left.links is not None
    assert [left.links.pair(i) for i in range(len(left.parallel))] == [
        [(int(line.split()[1]) % 7, 0)] for line in left.parallel.src
    ]


def test_text_alone_is_held_out_too() -> None:
    lines = [f"mstari {i}" for i in range(40)]
    left, evaluation = hold_out(Materials(None, lines, [], None, None, None), seed=0)
    assert evaluation.src is None
    assert sorted([*left.text, *evaluation.tgt]) == sorted(lines)


def test_too_little_to_divide() -> None:
    with pytest.raises(InputError, match="--eval"):
        hold_out(Materials(None, ["moja", "mbili"], [], None, None, None), seed=0)


def test_evaluation_files(tmp_path: Path) -> None:
    tsv, text, other = tmp_path / "dev.tsv", tmp_path / "dev.sw", tmp_path / "dev.en"
    tsv.write_text("one\tmoja\ntwo\tmbili\n", encoding="utf-8")
    text.write_text("moja\nmbili\n", encoding="utf-8")
    other.write_text("one\ntwo\n", encoding="utf-8")
    pairs, lines, files = read_evaluation([tsv]), read_evaluation([text]), read_evaluation([other, text])
    assert (pairs.src, pairs.tgt) == (["one", "two"], ["moja", "mbili"]) == (files.src, files.tgt)
    assert (lines.src, lines.tgt) == (None, ["moja", "mbili"])
    with pytest.raises(UsageError, match="3 files"):
        read_evaluation([tsv, tsv, tsv])
    with pytest.raises(InputError):
        read_evaluation([tmp_path / "absent.tsv"])
    with pytest.raises(InputError, match="counterpart"):
        Evaluation(["moja"], ["one", "two"])


def test_a_sample_is_even_and_keeps_pairs() -> None:
    whole = Evaluation([f"t{i}" for i in range(100)], [f"s{i}" for i in range(100)], "all")
    part = whole.sample(10)
    assert [s[1:] for s in part.src or ()] == [t[1:] for t in part.tgt]
    assert (part.tgt[0], part.tgt[-1], len(part.tgt)) == ("t0", "t99", 10)
    assert np.ptp(np.diff([int(t[1:]) for t in part.tgt])) <= 1
    assert whole.sample(100) is whole


def test_evaluation_text_that_is_in_the_material_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="1 of 2 evaluation lines"):
        warn_of_overlap(material(), Evaluation(["kiswahili 3", "mpya"]))
