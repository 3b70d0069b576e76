"""Languages by code or by name: what a person types, and the one code that resources are filed under."""

from __future__ import annotations

import difflib
import functools
import unicodedata
from dataclasses import dataclass

import langcodes
from langcodes.data_dicts import LIKELY_SUBTAGS, MACROLANGUAGES, NORMALIZED_MACROLANGUAGES
from language_data.names import load_trie, normalize_name
from language_data.util import data_filename

from align.errors import UsageError

# Unicode files Tagalog under Filipino, which has no two-letter code; corpora and vectors say `tl`.
_FILED_AS = {"fil": ("tl", "Tagalog", "tgl")}
# Codes of ISO 639 that name no single language.
_NO_LANGUAGE = {"und", "mul", "mis", "zxx", "art"}
# Macrolanguages and the member that Unicode takes for each: sw -> swh. Akan is both Twi and Fanti.
_MEMBERS = {
    macro: member for member, macro in NORMALIZED_MACROLANGUAGES.items() if len(member) == 3 and macro != "ak"
}


@dataclass(frozen=True)
class Language:
    """One language.

    Attributes
    ----------
    code : str
        ISO 639-1 where there is one (`sw`), else ISO 639-3 (`arz`).
    name : str
        English name.
    alpha3 : str
        ISO 639-3 code, or the ISO 639-2/T one of a macrolanguage (`swa`).
    script : str or None
        ISO 15924 code of the script it was asked for in, else of the one it is mostly written in; None where
        neither is known.
    note : str
        Why `code` is not what was asked for (a member filed under its macrolanguage), or which member of a
        macrolanguage was taken; else empty.
    member : str or None
        ISO 639-3 code of the language that a macrolanguage's code stands for (`swh` for `sw`).
    territory : str or None
        The territory it was asked for in (`BR` of `pt_br`).
    minor : bool
        Whether `note` is what everybody means by the code: the one member of a macrolanguage for which
        Unicode counts writers.
    """

    code: str
    name: str
    alpha3: str
    script: str | None
    note: str = ""
    member: str | None = None
    territory: str | None = None
    minor: bool = False


def language(code_or_name: str) -> Language:
    """Find a language by code (`sw`, `swa`, `swh`, `sw_KE`, `swh_Latn`) or name (`Swahili`, `Kiswahili`).

    Codes go first. A member that is the standard form of its macrolanguage (`swh`, `cmn`, `arb`, `pes`) is
    filed under the macrolanguage's two-letter code, as corpora and vectors are, and `note` says so; other
    members (`arz`, `yue`) keep their own code. Territories are dropped, but decide the script (`zh_TW`).

    Parameters
    ----------
    code_or_name : str
        Case, `_` or `-`, and accents do not matter.

    Returns
    -------
    Language

    Raises
    ------
    UsageError
        No such code or name; names that look alike are given.
    """
    asked = code_or_name.strip()
    tag = _by_code(asked) or _by_name(asked)
    if tag is None or tag.language is None or tag.language in _NO_LANGUAGE:
        near = _near_names(asked)
        raise UsageError(
            f"unknown language {asked!r}",
            wanted="a code such as `sw` or `swa`, or an English name",
            hint=f"Perhaps {' or '.join(near)} is meant"
            if near
            else "codes are listed at https://iso639-3.sil.org",
        )

    own_code, own_name = tag.language, _name(tag.language)
    code, name, alpha3 = own_code, own_name, tag.to_alpha3()
    macro = tag.prefer_macrolanguage().language
    if len(own_code) == 3 and macro is not None and len(macro) == 2:
        code, name = macro, _name(macro)
        alpha3 = langcodes.Language.get(macro).to_alpha3()
    elif own_code in _FILED_AS:
        code, name, alpha3 = _FILED_AS[own_code]
    note, member = "", _MEMBERS.get(code)
    minor = False
    if member is not None and code == own_code:
        note = f"a macrolanguage; {member}, {_name(member)}, is taken for it"
        other = _other_member(code, member)
        minor = other is None
        if other is not None:
            note += f"; others have codes of their own, as {other}, {_name(other)}"
    # `tl` itself arrives here as `fil`: nothing to explain to somebody who gets the code that was typed
    if code != own_code and asked.casefold() not in (code, alpha3, name.casefold()):
        note = f"{own_code}, {own_name}, is filed under {code}, {name}"
    script = tag.script
    for known in (own_code, macro):
        # an unlisted language would be given the script of English
        if script is None and known in LIKELY_SUBTAGS:
            script = tag.update_dict({"language": known}).maximize().script
    return Language(code, name, alpha3, script, note, member, tag.territory, minor)


def _other_member(macro: str, member: str) -> str | None:
    """The member of a macrolanguage that most people write beside the one taken; None: none counted."""
    others = [code for code, whole in MACROLANGUAGES.items() if whole == macro and code != member]
    written = {code: langcodes.Language.make(language=code).writing_population() for code in others}
    most = max(others, key=lambda code: written[code], default="")
    return most if written.get(most) else None


def _name(code: str) -> str:
    return langcodes.Language.make(language=code).display_name()


def _by_code(text: str) -> langcodes.Language | None:
    try:
        tag = langcodes.Language.get(text.replace("_", "-").casefold())
        tag.to_alpha3()  # refuses what has the shape of a code and is none
        # display names are absent for reserved and private codes, which the validity table admits
        return tag if tag.is_valid() and not _name(str(tag.language)).startswith("Unknown") else None
    except (LookupError, ValueError):
        return None


def _by_name(text: str) -> langcodes.Language | None:
    unaccented = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    for candidate in (text, unaccented):
        for names_in in ("en", "und"):
            # the library by itself also takes whatever begins like a known name
            if normalize_name(candidate) in _names(names_in):
                return langcodes.Language.find_name("language", candidate, names_in)
    return None


@functools.cache
def _names(names_in: str):  # type: ignore[no-untyped-def]  # a marisa_trie.BytesTrie, which has no types
    return load_trie(data_filename(f"trie/{names_in}/name_to_language.marisa"))


def _near_names(text: str) -> list[str]:
    if len(text) < 4:
        return []  # everything looks like a code with a typing error
    near = difflib.get_close_matches(normalize_name(text), _names("en").keys(), n=3, cutoff=0.75)
    found = []
    for name in near:
        tag = _by_name(name)
        if tag is not None:
            found.append(f"{name.title()} ({tag.language})")
    return list(dict.fromkeys(found))
