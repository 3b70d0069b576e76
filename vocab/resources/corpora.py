"""What is known of the corpora of OPUS: how clean they are, and under which licence they come."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from vocab.resources.description import SEE_ARCHIVE


@dataclass(frozen=True)
class Group:
    """Corpora of one kind.

    Attributes
    ----------
    name, what : str
    corpora : tuple of str
        Patterns of names, in the order in which they are taken.
    share : float
        Most pairs that the group may give together, as a share of those wanted. So it is weighed down.
    """

    name: str
    what: str
    corpora: tuple[str, ...]
    share: float = 1.0


GROUPS = (
    Group(
        "translated",
        "general text that people translated",
        (
            "GlobalVoices",
            "TED2020",
            "NeuLab-TedTalks",
            "TedTalks",
            "TED2013",
            "Tatoeba",
            "tico-19",
            "News-Commentary",
            "WMT-News",
            "SETIMES",
            "ALT",
            "pmindia",
            "wikimedia",
            "Books",
            "QED",
            "Europarl",
        ),
    ),
    Group("other", "corpora that are in no other group: official, medical, mixed", ("*",)),
    Group("subtitles", "subtitles", ("OpenSubtitles*", "MontenegrinSubs")),
    Group(
        "software",
        "messages of programs",
        ("GNOME", "KDE4", "KDEdoc", "Ubuntu", "Mozilla-I10n", "OpenOffice", "PHP", "ada83", "sardware"),
        0.1,
    ),
    Group(
        "mined",
        "pairs that machines found in crawled text",
        (
            "GoURMET",
            "ParaCrawl",
            "JParaCrawl",
            "MaCoCu",
            "HPLT",
            "WikiMatrix",
            "Samanantar",
            "NLLB",
            "CCAligned",
            "CCMatrix",
            "MultiParaCrawl",
            "MultiMaCoCu",
            "MultiHPLT",
            "MultiCCAligned",
            "hrenWaC",
            "XLEnt",
            "LinguaTools-WikiTitles",
            "WikiTitles",
        ),
        0.5,
    ),
    Group("religious", "holy texts", ("bible-uedin", "*Bible*", "Tanzil", "*Quran*", "JW300*"), 0.1),
)
"""In the order in which `auto` takes them."""

# What the publishers say, as far as it is known here; the archive's own LICENSE is read when it has arrived.
_LICENCES = {
    "bible-uedin": "CC0 1.0",
    "CCAligned": "none stated; text of Common Crawl",
    "CCMatrix": "none stated; text of Common Crawl",
    "GlobalVoices": "CC BY 3.0",
    "ParaCrawl": "CC0 (packaging); text of the web",
    "QED": "research only",
    "Tanzil": "non-commercial",
    "Tatoeba": "CC BY 2.0 FR",
    "TED2020": "CC BY-NC-ND 4.0",
    "tico-19": "CC0 1.0",
    "WikiMatrix": "CC BY-SA",
    "wikimedia": "CC BY-SA",
}


def group_of(corpus: str) -> tuple[int, int]:
    """Rank of a corpus's group in :data:`GROUPS`, and of the corpus within it."""
    other = 0
    for rank, group in enumerate(GROUPS):
        if group.corpora == ("*",):
            other = rank
            continue
        for place, pattern in enumerate(group.corpora):
            if fnmatchcase(corpus, pattern):
                return rank, place
    return other, 0


def licence_note(corpus: str) -> str:
    """What is known of a corpus's licence before its archive has arrived."""
    return _LICENCES.get(corpus, SEE_ARCHIVE)
