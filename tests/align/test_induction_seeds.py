from __future__ import annotations

import numpy as np
import pytest

from align.errors import InputError, UsageError
from align.induction.seeds import cldr_names, cognates, identical_words, numerals


def test_identical_words_keep_the_order_of_the_source() -> None:
    found = identical_words(["radio", "house", "a", "taxi"], ["taxi", "a", "radio", "nyumba"])
    assert found.pairs == (("radio", "radio"), ("a", "a"), ("taxi", "taxi"))
    assert len(identical_words(["radio", "a"], ["a", "radio"], min_length=2)) == 1


def test_numerals_pair_by_value_in_any_digits() -> None:
    found = numerals(["12", "007", "a1", "3"], ["١٢", "7", "a1", "१२", "12", "²"])
    assert found.pairs == (("12", "١٢"), ("12", "१२"), ("12", "12"))


def test_cognates_are_found_among_noise() -> None:
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    src = list(dict.fromkeys("".join(rng.choice(letters, 9)) for _ in range(300)))
    tgt = [word[:6] + "".join(rng.choice(letters, 1)) + word[7:] for word in src[:100]]  # one letter changed
    tgt += ["".join(rng.choice(letters, 9)) for _ in range(200)]
    order = rng.permutation(len(tgt))
    found = cognates(src, [tgt[i] for i in order])
    assert set(found.pairs) == set(zip(src[:100], tgt[:100], strict=True))
    assert cognates(src, [word.upper() for word in tgt]).pairs == ()
    assert cognates(["abc"], ["abc"]).pairs == ()  # too short
    with pytest.raises(UsageError, match="min_likeness"):
        cognates(src, tgt, min_likeness=2)


def test_cldr_names_of_two_languages() -> None:
    pytest.importorskip("babel")
    found = set(cldr_names("en", "sw").pairs)
    assert {("Kenya", "Kenya"), ("kenya", "kenya"), ("Monday", "Jumatatu"), ("Swahili", "Kiswahili")} <= found
    assert not any(" " in word for pair in found for word in pair)
    with pytest.raises(InputError, match="no such language"):
        cldr_names("en", "xx")
