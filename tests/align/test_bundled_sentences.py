"""The bundled English-Swahili sentence pairs: well-formed, distinct, varied enough for a word aligner."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "data" / "lexicons" / "en-sw.sentences.tsv"
WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


def words(sentence: str) -> list[str]:
    return WORD.findall(sentence.lower())


@pytest.fixture(scope="module")
def text() -> str:
    return PATH.read_bytes().decode("utf-8")


@pytest.fixture(scope="module")
def pairs(text: str) -> list[tuple[str, str]]:
    pairs = []
    for number, line in enumerate(text.splitlines(), 1):
        fields = line.split("\t")
        assert len(fields) == 2, f"line {number}: {line!r}"
        pairs.append((fields[0], fields[1]))
    return pairs


def test_file_is_nfc_with_plain_lf_lines(text: str) -> None:
    assert text.endswith("\n")
    assert "\r" not in text
    assert "\ufeff" not in text
    assert text == unicodedata.normalize("NFC", text)


def test_sides_have_no_stray_space(pairs: list[tuple[str, str]]) -> None:
    assert [side for pair in pairs for side in pair if not side or side != " ".join(side.split())] == []


def test_pairs_are_many_and_distinct(pairs: list[tuple[str, str]]) -> None:
    assert len(pairs) >= 1000
    for side in zip(*pairs, strict=True):
        assert [sentence for sentence, count in Counter(side).items() if count > 1] == []
    assert [pair for pair in pairs if pair[0] == pair[1]] == []


def test_lengths_of_the_sides_agree(pairs: list[tuple[str, str]]) -> None:
    ratios = {pair: len(words(pair[1])) / len(words(pair[0])) for pair in pairs}
    assert [pair for pair, ratio in ratios.items() if not 0.3 <= ratio <= 3] == []


def test_both_sides_end_alike(pairs: list[tuple[str, str]]) -> None:
    assert [pair for pair in pairs if not (pair[0][-1] == pair[1][-1] and pair[0][-1] in ".?!")] == []


def test_vocabulary_is_varied(pairs: list[tuple[str, str]]) -> None:
    english, swahili = (
        Counter(w for sentence in side for w in words(sentence)) for side in zip(*pairs, strict=True)
    )
    assert len(english) >= 700
    assert len(swahili) >= 700
    common = [
        "water",
        "child",
        "house",
        "go",
        "eat",
        "see",
        "big",
        "good",
        "teacher",
        "market",
        "rain",
        "today",
    ]
    assert {word: english[word] for word in common if english[word] < 5} == {}


def test_few_sentences_differ_by_one_word_only(pairs: list[tuple[str, str]]) -> None:
    frames: Counter[tuple[str | None, ...]] = Counter()
    for english, _ in pairs:
        tokens = words(english)
        frames.update((*tokens[:i], None, *tokens[i + 1 :]) for i in range(len(tokens)))
    templated = sum(count for count in frames.values() if count > 1)
    assert templated <= 0.05 * len(pairs)
