from __future__ import annotations

import pytest

from align.errors import UsageError
from vocab.languages import language

# asked, code, alpha3, script, name
_TABLE = [
    ("sw", "sw", "swa", "Latn", "Swahili"),
    ("swa", "sw", "swa", "Latn", "Swahili"),
    ("swh", "sw", "swa", "Latn", "Swahili"),
    ("swahili", "sw", "swa", "Latn", "Swahili"),
    ("Kiswahili", "sw", "swa", "Latn", "Swahili"),
    ("sw_KE", "sw", "swa", "Latn", "Swahili"),
    ("SW-tz", "sw", "swa", "Latn", "Swahili"),
    (" swh_Latn ", "sw", "swa", "Latn", "Swahili"),
    ("en", "en", "eng", "Latn", "English"),
    ("eng_Latn", "en", "eng", "Latn", "English"),
    ("ger", "de", "deu", "Latn", "German"),
    ("deu", "de", "deu", "Latn", "German"),
    ("Deutsch", "de", "deu", "Latn", "German"),
    ("zh_cn", "zh", "zho", "Hans", "Chinese"),
    ("zh_TW", "zh", "zho", "Hant", "Chinese"),
    ("cmn", "zh", "zho", "Hans", "Chinese"),
    ("yue", "yue", "yue", "Hant", "Cantonese"),
    ("pt_br", "pt", "por", "Latn", "Portuguese"),
    ("tl", "tl", "tgl", "Latn", "Tagalog"),
    ("Filipino", "tl", "tgl", "Latn", "Tagalog"),
    ("iw", "he", "heb", "Hebr", "Hebrew"),
    ("arb", "ar", "ara", "Arab", "Arabic"),
    ("arz", "arz", "arz", "Arab", "Egyptian Arabic"),
    ("Farsi", "fa", "fas", "Arab", "Persian"),
    ("sr-Latn", "sr", "srp", "Latn", "Serbian"),
    ("sr", "sr", "srp", "Cyrl", "Serbian"),
    ("si", "si", "sin", "Sinh", "Sinhala"),
    ("татарча", "tt", "tat", "Cyrl", "Tatar"),
    ("Yorùbá", "yo", "yor", "Latn", "Yoruba"),
    ("Twi", "tw", "twi", "Latn", "Twi"),
    ("isiXhosa", "xh", "xho", "Latn", "Xhosa"),
    ("Luganda", "lg", "lug", "Latn", "Ganda"),
    ("nob", "nb", "nob", "Latn", "Norwegian Bokmål"),
    # as OPUS writes them
    ("pt_BR", "pt", "por", "Latn", "Portuguese"),
    ("en_GB", "en", "eng", "Latn", "English"),
    ("en_gb", "en", "eng", "Latn", "English"),
    ("zh_HK", "zh", "zho", "Hant", "Chinese"),
    ("nb_NO", "nb", "nob", "Latn", "Norwegian Bokmål"),
    ("be_tarask", "be", "bel", "Cyrl", "Belarusian"),
    ("cbk_zam", "cbk", "cbk", None, "Chavacano"),
    ("crh_latn", "crh", "crh", "Latn", "Crimean Tatar"),
    ("bn_in", "bn", "ben", "Beng", "Bangla"),
    ("fa_AF", "fa", "fas", "Arab", "Persian"),
    ("zsm", "ms", "msa", "Latn", "Malay"),
    ("kmr", "ku", "kur", "Latn", "Kurdish"),
    ("jw", "jv", "jav", "Latn", "Javanese"),
    ("amh", "am", "amh", "Ethi", "Amharic"),
    ("cjs", "cjs", "cjs", None, "Shor"),  # its script is in no table: better unknown than that of English
]


@pytest.mark.parametrize(("asked", "code", "alpha3", "script", "name"), _TABLE)
def test_codes_and_names(asked: str, code: str, alpha3: str, script: str | None, name: str) -> None:
    found = language(asked)
    assert (found.code, found.alpha3, found.script, found.name) == (code, alpha3, script, name)


def test_answers_are_stable_under_asking_again() -> None:
    for asked, *_ in _TABLE:
        found = language(asked)
        assert language(found.code).code == found.code
        assert language(found.name).code == found.code


def test_a_member_filed_under_its_macrolanguage_says_so() -> None:
    assert language("swh").note == "swh, Swahili (individual language), is filed under sw, Swahili"
    assert "zh, Chinese" in language("cmn").note
    for plain in ("arz", "yue", "iw", "tl", "ger", "pt_br", "ak"):
        assert language(plain).note == ""


def test_a_macrolanguage_says_which_member_was_taken() -> None:
    for asked in ("sw", "swa", "swahili", "sw_KE"):
        assert language(asked).note == "a macrolanguage; swh, Swahili (individual language), is taken for it"
        assert language(asked).minor
    assert not language("swh").minor
    assert not language("de").minor
    members = {
        asked: language(asked).member for asked in ("zh", "zh_tw", "ar", "fa", "ms", "ku", "swh", "de", "ak")
    }
    assert members == {
        "zh": "cmn",
        "zh_tw": "cmn",
        "ar": "arb",
        "fa": "pes",
        "ms": "zsm",
        "ku": "kmr",
        "swh": "swh",
        "de": None,
        "ak": None,
    }


@pytest.mark.parametrize(
    ("asked", "other"),
    [("ar", "arz, Egyptian Arabic"), ("zh", "wuu, Wu Chinese"), ("ku", "ckb, Central Kurdish")],
)
def test_a_macrolanguage_with_other_written_members_names_one(asked: str, other: str) -> None:
    found = language(asked)
    assert not found.minor
    assert found.note.endswith(f"is taken for it; others have codes of their own, as {other}")
    assert language(other[:3]).code == other[:3]
    assert language(str(found.member)).note.endswith(f"is filed under {asked}, {found.name}")


def test_the_territory_is_kept_beside_the_code() -> None:
    assert [language(asked).territory for asked in ("pt_br", "zh-TW", "en_GB", "sw")] == [
        "BR",
        "TW",
        "GB",
        None,
    ]


@pytest.mark.parametrize(
    "asked", ["xx", "xyz", "qaa", "und", "mul", "", "x", "../x", "germanish", "a b c", "swx9"]
)
def test_unknown(asked: str) -> None:
    with pytest.raises(UsageError, match="unknown language") as caught:
        language(asked)
    assert repr(asked) in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "near"),
    [("swahilli", "Swahili (sw)"), ("Englihs", "English (en)"), ("sinhalla", "Sinhala (si)")],
)
def test_near_names_are_offered(asked: str, near: str) -> None:
    with pytest.raises(UsageError) as caught:
        language(asked)
    assert near in str(caught.value)
