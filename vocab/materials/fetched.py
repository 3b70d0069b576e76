"""Fetch and read what was selected: sentence pairs through the filters, text, lexicon, vectors."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from align.errors import InputError, UnavailableError
from align.wordalign.filters import Sieve
from align.wordalign.reading import read_parallel
from vocab.fetching.cache import read_record, sha256_of
from vocab.languages import Language
from vocab.materials.arrival import Arrived, arrival_sieve, receive
from vocab.materials.survey import do_without
from vocab.materials.text import ParallelText, read_lines
from vocab.options import TransferOptions
from vocab.progress import Decisions, Progress
from vocab.resources import fetch, opus
from vocab.resources.choice import Taken
from vocab.resources.description import Resource
from vocab.resources.selection import Selection


@dataclass
class Fetched:
    """What a selection came to.

    Attributes
    ----------
    pairs : list of ParallelText
        Those that passed the filters, one for each corpus.
    text, src_text : list of str
        Lines of the target and of the source language.
    lexicon, src_vectors, tgt_vectors : Path or None
    files : list of dict
        For the provenance: name, version, licence, address, SHA-256, and pairs by what became of them.
    """

    pairs: list[ParallelText] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    src_text: list[str] = field(default_factory=list)
    lexicon: Path | None = None
    src_vectors: Path | None = None
    tgt_vectors: Path | None = None
    files: list[dict[str, Any]] = field(default_factory=list)


def fetch_selected(
    selection: Selection,
    options: TransferOptions,
    src: Language,
    tgt: Language,
    *,
    decisions: Decisions,
    progress: Progress,
) -> Fetched:
    """Fetch what is not here yet, and read all of it.

    Raises
    ------
    UnavailableError, InputError, OutputError
        For what was asked for by name, and when all that `opus:auto` chose fails. One that it chose is left
        out with a warning.
    """
    terms, found = selection.terms, Fetched()
    if selection.choice is not None:
        taken, left = len(selection.choice.taken), len(selection.choice.left)
        wanted = f"{terms.n_pairs:,} wanted"
        value = f"{taken} of {taken + left} corpora, {selection.n_pairs:,} pairs announced"
        decisions.add("opus:auto", value, wanted)
    chosen = set(() if selection.choice is None else selection.choice.taken)
    sieve = arrival_sieve(src, tgt)
    failed: list[str] = []
    texts: list[tuple[Taken, Path]] = []
    for taken_one in selection.taken:
        resource = taken_one.resource
        try:
            progress.tell(f"fetch {resource.label}")
            path = fetch(
                resource,
                terms.cache,
                hub_cache=terms.hub_cache,
                progress=progress.tell_bytes,
                offline=terms.offline,
            )
            if resource.kind == "text":
                texts.append((taken_one, path))
            else:
                progress.tell(f"read {resource.label}")
                _read(found, taken_one, path, sieve, src, tgt, decisions)
        except (UnavailableError, InputError) as error:
            if taken_one not in chosen:
                raise
            failed.append(f"{resource.label} is left out: {error.message}")
    if failed and not found.pairs:
        nothing = UnavailableError(
            f"none of the {len(failed)} corpora that were chosen can be used; {failed[0]}"
        )
        if not selection.by_itself:
            raise nothing
        do_without(nothing, options, src, tgt)
        return found
    for line in failed:
        warnings.warn(line, stacklevel=2)
    _read_texts(found, texts, sieve, src, tgt, decisions)
    return found


def _read(
    found: Fetched,
    taken: Taken,
    path: Path,
    sieve: Sieve,
    src: Language,
    tgt: Language,
    decisions: Decisions,
) -> None:
    resource = taken.resource
    entry = _entry(resource, path)
    if resource.kind == "lexicon":
        found.lexicon = path
    elif resource.kind == "vectors":
        is_src = resource.tgt == src.code
        found.src_vectors = path if is_src else found.src_vectors
        found.tgt_vectors = found.tgt_vectors if is_src else path
    else:
        is_zip = path.name.endswith(".zip")
        pairs = opus.pairs(path, resource) if is_zip else read_parallel(path, format="tsv")
        _receive(found, entry, pairs, sieve, taken, decisions)
        if is_zip:
            entry["licence"] = opus.licence(path) or resource.licence
    found.files.append(entry)


def _receive(
    found: Fetched,
    entry: dict[str, Any],
    pairs: Iterable[tuple[str, str]],
    sieve: Sieve,
    taken: Taken,
    decisions: Decisions,
) -> None:
    arrived = receive(pairs, sieve, max_pairs=taken.max_pairs, n_announced=taken.resource.n_pairs)
    entry["pairs"] = {"read": arrived.n_read, "drawn": arrived.n_drawn, "kept": len(arrived)}
    entry["dropped"] = arrived.dropped
    decisions.add(taken.resource.label, _told(arrived), taken.why)
    if len(arrived):
        found.pairs.append(ParallelText(arrived.src, arrived.tgt, 0, [*range(len(arrived))]))


def _told(arrived: Arrived) -> str:
    drawn = "" if arrived.n_drawn == arrived.n_read else f", of which {arrived.n_drawn:,} were drawn"
    dropped = ", ".join(f"{n:,} {reason}" for reason, n in arrived.dropped.items())
    left_out = f"; left out: {dropped}" if dropped else ""
    return f"{len(arrived):,} of {arrived.n_read:,} sentence pairs{drawn}{left_out}"


def _read_texts(
    found: Fetched,
    texts: list[tuple[Taken, Path]],
    sieve: Sieve,
    src: Language,
    tgt: Language,
    decisions: Decisions,
) -> None:
    """Text of one language, and line-aligned files of both, which have one name but for the ending."""
    by_stem: dict[str, dict[str, tuple[Taken, Path]]] = {}
    for taken, path in texts:
        resource = taken.resource
        name = PurePath(resource.name.removesuffix(".gz"))
        stem = str(name.with_suffix("")) if name.suffix == f".{resource.tgt}" else str(path)
        by_stem.setdefault(stem, {})[resource.tgt] = taken, path
    for sides in by_stem.values():
        entries = [_entry(taken.resource, path) for taken, path in sides.values()]
        found.files += entries
        if src.code in sides and tgt.code in sides:
            files = [sides[code][1] for code in (src.code, tgt.code)]
            _receive(found, entries[-1], read_parallel(*files), sieve, sides[tgt.code][0], decisions)
        else:
            for taken, path in sides.values():
                lines = [line for line in read_lines(path) if line.strip()]
                (found.src_text if taken.resource.tgt == src.code else found.text).extend(lines)


def _entry(resource: Resource, path: Path) -> dict[str, Any]:
    record = read_record(path)
    sha256 = resource.sha256 or (sha256_of(path) if record is None else record.sha256)
    source = "" if resource.source in ("folder", "bundled") else "fetched "
    entry = {
        "kind": "bundled parallel" if resource.source == "bundled" else f"{source}{resource.kind}",
        "name": resource.name,
        "version": resource.version,
        "languages": resource.languages,
        "url": resource.url,
        "licence": resource.licence,
        "bytes": path.stat().st_size,
        "sha256": sha256,
    }
    return {key: value for key, value in entry.items() if value != ""}
