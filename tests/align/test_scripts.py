from __future__ import annotations

import numpy as np
import pytest

from align.errors import UsageError
from align.scripts import in_script, script_of, word_script


@pytest.mark.parametrize(
    ("word", "script"),
    [
        ("house", "LATIN"),
        ("déjà", "LATIN"),
        ("de\u0301ja\u0300", "LATIN"),
        ("Ａｂ", "LATIN"),
        ("дом", "CYRILLIC"),
        ("गाँव", "DEVANAGARI"),
        ("ගස්", "SINHALA"),
        ("食べる", "CJK"),
        ("コーヒー", "CJK"),
        ("ｺｰﾋｰ", "CJK"),
        ("학교", "HANGUL"),
        ("b-дом", "CYRILLIC"),
        ("don't", "LATIN"),
        ("1ª", "COMMON"),
        ("2021", "COMMON"),
        ("...", "COMMON"),
        ("\u0301", "COMMON"),
        ("", "COMMON"),
    ],
)
def test_script_of_a_word(word, script):
    assert word_script(word) == script


def test_script_of_a_character():
    assert [script_of(c) for c in "aд1 ा"] == ["LATIN", "CYRILLIC", "COMMON", "COMMON", "DEVANAGARI"]


def test_auto_is_the_script_of_most_words():
    words = ["дом", "house", "1", "кот", "!"]
    mask, script = in_script(words)
    np.testing.assert_array_equal(mask, [True, False, True, True, True])
    assert script == "CYRILLIC"
    np.testing.assert_array_equal(in_script(words, "latin")[0], [False, True, True, False, True])
    mask, script = in_script(["1", "2"])
    assert mask.all()
    assert script == "COMMON"
    assert in_script(["カナ", "a"], "katakana")[1] == "CJK"
    with pytest.raises(UsageError, match="no word is of this script"):
        in_script(words, "SINHALA")
