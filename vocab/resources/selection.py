"""From requests to the resources that are used: named ones, `opus:auto`, a directory, what is bundled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from align.errors import UnavailableError, UsageError
from vocab.languages import Language
from vocab.resources import fasttext, folder, hub_files, opus
from vocab.resources.choice import MB, Choice, Taken, choose, expected_pairs
from vocab.resources.description import Resource
from vocab.resources.requests import AUTO, Request, parse

NAMED = "named"
_OWN_TEXT = (
    "Pass text of your own with --parallel or --corpus, or a file of the hub with --fetch hf:ORG/NAME/PATH"
)


@dataclass(frozen=True)
class Terms:
    """What decides a selection, beside the requests.

    Attributes
    ----------
    n_pairs : int
        Sentence pairs that `opus:auto` wants.
    max_mb : float
        Most that it may fetch.
    prefer, exclude : sequence of str
        Corpora; see :func:`vocab.resources.choice.choose`.
    cache : Path
    hub_cache : Path or None
    offline : bool
    """

    n_pairs: int
    max_mb: float
    prefer: Sequence[str]
    exclude: Sequence[str]
    cache: Path
    hub_cache: Path | None
    offline: bool


@dataclass(frozen=True)
class Selection:
    """The resources of one run.

    Attributes
    ----------
    taken : tuple of Taken
    choice : Choice or None
        How `opus:auto` chose.
    terms : Terms
    by_itself : bool
        Nobody asked for `opus:auto`, so that it may be done without.
    """

    taken: tuple[Taken, ...]
    choice: Choice | None
    terms: Terms = field(repr=False)
    by_itself: bool = False

    @property
    def to_fetch(self) -> list[Resource]:
        """Those that are not on this machine yet."""
        return [t.resource for t in self.taken if not t.resource.path(self.terms.cache).is_file()]

    @property
    def fetch_mb(self) -> float:
        """MB still to fetch, as far as sizes were announced."""
        return sum(resource.size_bytes or 0 for resource in self.to_fetch) / MB

    @property
    def n_pairs(self) -> int:
        """Sentence pairs, as announced."""
        parallel = [t for t in self.taken if t.resource.kind == "parallel"]
        return sum(expected_pairs(t.resource) if t.max_pairs is None else t.max_pairs for t in parallel)


def select(
    requests: Sequence[str], src: Language, tgt: Language, terms: Terms, *, by_itself: bool = False
) -> Selection:
    """Find what is asked for, and let `opus:auto` choose the rest; fetches nothing.

    Raises
    ------
    UsageError
        For a request that cannot be read, a corpus that OPUS does not have, or a mirror that is no address.
    UnavailableError
        A source that cannot be asked; `opus:auto` found nothing.
    """
    asked = [parse(item) for item in dict.fromkeys(requests)]
    corpora: list[Resource] = []
    if any(request.source == "opus" and request.version is None for request in asked):
        corpora = opus.find(src, tgt, terms.cache, offline=terms.offline)
    named: dict[Resource, None] = {}
    for request in asked:
        if f"{request.source}:{request.name}" != AUTO:
            named |= dict.fromkeys(_named(request, corpora, src, tgt, terms))
    taken = [Taken(resource, None, NAMED) for resource in named]
    if not any(f"{request.source}:{request.name}" == AUTO for request in asked):
        return Selection(tuple(taken), None, terms)
    rest = [resource for resource in corpora if resource not in named]
    if terms.offline:
        rest = [resource for resource in rest if resource.path(terms.cache).is_file()]
    choice = choose(
        rest,
        n_pairs=terms.n_pairs,
        max_mb=terms.max_mb,
        prefer=terms.prefer,
        exclude=terms.exclude,
        n_have=sum(expected_pairs(r) for r in named if r.kind == "parallel"),
        mb_have=sum(r.size_bytes or 0 for r in named) / MB,
    )
    if not taken and not choice.taken:
        pair = f"{src.name}-{tgt.name}"
        if terms.offline and corpora:
            what = f"offline mode is on, and none of OPUS's {len(corpora)} corpora of {pair} is in the cache"
        elif choice.left:
            what = f"--exclude leaves none of OPUS's {len(corpora)} corpora of {pair}"
        else:
            what = f"OPUS has no corpora of {pair}"
        raise UnavailableError(what, hint=None if terms.offline else _OWN_TEXT)
    return Selection((*taken, *choice.taken), choice, terms, by_itself)


def select_folder(path: Path, src: Language, tgt: Language, terms: Terms) -> Selection:
    """All that a directory holds for the two languages.

    Raises
    ------
    InputError
        No such directory, or its description does not fit it.
    UnavailableError
        It holds nothing for these languages.
    """
    found = folder.find(path, src, tgt)
    if not found:
        raise UnavailableError(
            f"{path} holds nothing for {src.code}-{tgt.code}",
            hint=f"Names say what is in a file: NAME.{src.code} and NAME.{tgt.code}, "
            f"{src.code}-{tgt.code}.tsv; `vocab-transfer fetch {tgt.code} opus:auto --to DIR` makes one",
        )
    return Selection(tuple(found), None, terms)


def join(parts: Sequence[Selection]) -> Selection:
    """One selection of several, of which one at most is chosen by itself."""
    choices = [part.choice for part in parts if part.choice is not None]
    return Selection(
        tuple(taken for part in parts for taken in part.taken),
        choices[0] if choices else None,
        parts[0].terms,
        any(part.by_itself for part in parts),
    )


def _named(
    request: Request, corpora: list[Resource], src: Language, tgt: Language, terms: Terms
) -> list[Resource]:
    if request.source == "vectors":
        suffix = ".vec.gz" if request.name.endswith(".vec") else ".bin"
        return [fasttext.find(lang, terms.cache, suffix=suffix, offline=terms.offline) for lang in (src, tgt)]
    if request.source == "hf":
        return [hub_files.find(request, src, tgt, terms.hub_cache, offline=terms.offline)]
    if request.source == "none":
        return []
    if request.source == "text":
        corpora = opus.find_text(tgt, terms.cache, offline=terms.offline)
    if request.version is not None:
        known = opus.find_version(request.name, request.version, src, tgt, terms.cache, offline=terms.offline)
    else:
        known = [r for r in corpora if r.name.casefold() == request.name.casefold()]
    if not known:
        there = ", ".join(sorted({r.name for r in corpora})) or "none"
        version = f" {request.version}" if request.version else ""
        languages = tgt.code if request.source == "text" else f"{src.code}-{tgt.code}"
        raise UsageError(
            f"OPUS has no corpus {request.name}{version} of {languages}",
            wanted=None if request.version else there,
            hint=f"`vocab-transfer resources {tgt.code}` names what there is",
        )
    return known
