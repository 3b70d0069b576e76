"""Parallel corpora of OPUS: which there are, by its JSON API, and the pairs of a Moses archive.

The package opustools has a client of this API and a local index of 2023. It is not used: it asks for one
spelling of a language (Swahili is spread over `sw`, `swa` and `swh`), takes any answer as it comes, and its
downloads neither resume nor verify. Facts of the API and the codes below are those of its index.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import product, zip_longest
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from align.errors import InputError, UnavailableError
from align.textfiles import iter_lines
from vocab.fetching.answers import ask
from vocab.fetching.archives import (
    ALWAYS_ALLOWED_BYTES,
    MAX_RATIO,
    check_zip,
    open_member,
    open_moses,
    zip_members,
)
from vocab.fetching.web import probe
from vocab.languages import Language
from vocab.resources.addresses import address, mirrored
from vocab.resources.corpora import licence_note
from vocab.resources.description import Kind, Resource, plain_name

# Three-letter codes under which corpora lie although the language has one of two letters.
_LONG = """
    aka amh ara aym bam bod cat chv ful hau ibo kau kik kin lin mlg nya orm pan que run sna som sot srp swa
    tir wol xho yor zul cmn fuc ike kmr kpv npi pes plt quz swh zsm
"""
_ALSO_LONG = frozenset(_LONG.split())
# Written otherwise than the code says. A territory that was asked for goes before these.
_ALSO = {
    "nb": ("no", "nb_NO"),
    "no": ("nb",),
    "pt": ("pt_br", "pt_BR"),
    "tl": ("fil",),
    "zh": ("zh_cn", "zh_CN"),
}
_TRADITIONAL = ("zh_tw", "zh_TW", "zh_HK")
_MAX_GROWTH, _SLACK_BYTES = 1.5, 1_000_000  # the list is in kB and may be of another day
_LICENCE_BYTES, _LICENCE_CHARS = 2000, 160


def codes(lang: Language) -> tuple[str, ...]:
    """Codes under which OPUS has corpora of a language, the likeliest first."""
    if lang.code == "zh" and lang.script == "Hant":
        return _TRADITIONAL
    found = [lang.code]
    if lang.territory is not None:
        found = [f"{lang.code}_{lang.territory.lower()}", f"{lang.code}_{lang.territory}", lang.code]
    found += _ALSO.get(lang.code, ())
    found += [code for code in (lang.alpha3, lang.member) if code in _ALSO_LONG]
    return tuple(dict.fromkeys(found))


def find(src: Language, tgt: Language, cache: Path, *, offline: bool) -> list[Resource]:
    """The newest version of every corpus of two languages.

    Raises
    ------
    UnavailableError
        No answer, or none that can be understood.
    """
    return _ask_for(src, tgt, {"version": "latest"}, cache, offline)


def find_version(
    name: str, version: str, src: Language, tgt: Language, cache: Path, *, offline: bool
) -> list[Resource]:
    """One version of one corpus, under whichever codes it lies."""
    return _ask_for(src, tgt, {"corpus": name, "version": version}, cache, offline)


def find_text(lang: Language, cache: Path, *, offline: bool) -> list[Resource]:
    """Text of one language: the newest version of every corpus, of which the pairs are a part.

    Raises
    ------
    UnavailableError
        As :func:`find`.
    """
    found: list[Resource] = []
    for code in codes(lang):
        query = {"source": code, "preprocessing": "mono", "version": "latest"}
        url = f"{address('opus')}?{urlencode(query)}"
        found += ask(
            url,
            cache / "opus",
            label=f"text.{code}",
            name=f"OPUS's texts of {code}",
            understand=partial(_understand_text, code=code, where=url),
            offline=offline,
        )
    return found


def _ask_for(
    src: Language, tgt: Language, asked: dict[str, str], cache: Path, offline: bool
) -> list[Resource]:
    found: dict[Resource, None] = {}
    for pair in product(codes(src), codes(tgt)):
        first, second = sorted(pair)  # as OPUS names its pairs
        query = {"source": first, "target": second, "preprocessing": "moses", **asked}
        url = f"{address('opus')}?{urlencode(query)}"
        corpora = ask(
            url,
            cache / "opus",
            label=f"corpora.{first}-{second}",
            name=f"OPUS's corpora of {first}-{second}",
            understand=partial(_understand, src=pair[0], tgt=pair[1], where=url),
            offline=offline,
        )
        found |= dict.fromkeys(corpora)
    return list(found)


def _understand(answer: Any, *, src: str, tgt: str, where: str) -> list[Resource]:
    pair = "-".join(sorted((src, tgt)))
    return [
        _resource(entry, "parallel", src, tgt, f"{pair}.zip", where)
        for entry in _entries(answer, where)
        if entry.get("preprocessing", "moses") == "moses"
    ]


def _understand_text(answer: Any, *, code: str, where: str) -> list[Resource]:
    return [
        _resource(entry, "text", None, code, f"{code}.txt.gz", where)
        for entry in _entries(answer, where)
        if entry.get("preprocessing") == "mono" and str(entry.get("url")).endswith(".txt.gz")
    ]


def _entries(answer: Any, where: str) -> list[dict[str, Any]]:
    entries = answer.get("corpora") if isinstance(answer, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise UnavailableError("OPUS answers something else than a list of corpora", where=where)
    return entries


def _resource(
    entry: dict[str, Any], kind: Kind, src: str | None, tgt: str, ending: str, where: str
) -> Resource:
    name = plain_name(entry.get("corpus"), where=where)
    version = plain_name(entry.get("version"), where=where)
    url = entry.get("url")
    if not isinstance(url, str) or urlsplit(url).scheme not in ("http", "https"):
        raise UnavailableError(f"OPUS gives no address for {name}", got=repr(url), where=where)
    size = _number(entry.get("size"))
    return Resource(
        kind,
        "opus",
        name,
        version,
        src,
        tgt,
        _number(entry.get("alignment_pairs")),
        None if size is None else size * 1000,
        mirrored(url),
        licence_note(name),
        Path("opus") / f"{name}.{version}.{ending}",
    )


def _number(value: Any) -> int | None:
    # the API writes '' where nothing was counted
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def pairs(path: Path, resource: Resource) -> Iterator[tuple[str, str]]:
    """Sentence pairs of a Moses archive, both sides read side by side from the archive.

    Raises
    ------
    InputError
        The archive is damaged or lacks a side, or its sides differ in length.
    """
    with open_moses(path, resource.src or "", resource.tgt) as (src, tgt):
        for n, (left, right) in enumerate(zip_longest(src, tgt)):
            if left is None or right is None:
                raise InputError("the sides differ in length", got=f"one ends after {n:,} lines", where=path)
            yield left.rstrip("\r\n"), right.rstrip("\r\n")


def compare_size(resource: Resource) -> None:
    """Refuse an archive that is much larger than its list says, which was agreed to.

    Raises
    ------
    UnavailableError
        It is, or the server does not answer.
    """
    found = probe(resource.url, name=resource.label)
    if found is None or found.size_bytes is None or resource.size_bytes is None:
        return
    if found.size_bytes > _MAX_GROWTH * resource.size_bytes + _SLACK_BYTES:
        raise UnavailableError(
            f"{resource.label} has {found.size_bytes / 1e6:,.1f} MB, "
            f"and {resource.size_bytes / 1e6:,.1f} were announced",
            where=resource.url,
        )


def check(path: Path, resource: Resource) -> None:
    """Refuse an archive that is damaged or lacks a side, and packed text that is damaged."""
    if resource.kind == "text":
        limit = max(ALWAYS_ALLOWED_BYTES, MAX_RATIO * path.stat().st_size)
        if sum(len(line) for line in iter_lines(path)) > limit:
            raise InputError(f"unpacks to more than {limit:,} characters", where=path)
        return
    check_zip(path)
    with open_moses(path, resource.src or "", resource.tgt):
        pass


def licence(path: Path) -> str | None:
    """The beginning of the archive's LICENSE, if it has one."""
    for member in zip_members(path):
        if Path(member.name).name.upper().startswith(("LICENSE", "LICENCE")):
            with open_member(path, member.name) as file:
                text = file.read(_LICENCE_BYTES).decode("utf-8", errors="replace")
            return " ".join(text.split())[:_LICENCE_CHARS] or None
    return None
