"""Fill a directory with resources, to take to a machine without a network."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

from align.errors import OutputError
from vocab.fetching.cache import read_record, sha256_of
from vocab.languages import Language
from vocab.progress import Progress
from vocab.resources import fetch
from vocab.resources.choice import Taken
from vocab.resources.description import Resource
from vocab.resources.folder import describe
from vocab.resources.selection import Selection


def write_kit(
    selection: Selection, to: Path, src: Language, tgt: Language, *, progress: Progress
) -> list[Taken]:
    """Fetch what was selected, copy it to a directory, and describe it there.

    The description is written last: a directory without one is not finished, and the same command goes on.

    Returns
    -------
    list of Taken
        With `file` relative to the directory.

    Raises
    ------
    UnavailableError, OutputError
        As :func:`vocab.resources.fetch`.
    """
    taken = []
    terms = selection.terms
    for entry in selection.taken:
        progress.tell(f"fetch {entry.resource.label}")
        path = fetch(
            entry.resource,
            terms.cache,
            hub_cache=terms.hub_cache,
            progress=progress.tell_bytes,
            offline=terms.offline,
        )
        record = read_record(path)
        sha256 = sha256_of(path) if record is None else record.sha256
        resource = replace(
            entry.resource, file=_place(entry.resource), sha256=sha256, size_bytes=path.stat().st_size
        )
        _copy(path, to / resource.file)
        taken.append(replace(entry, resource=resource))
    choice = None if selection.choice is None else selection.choice.as_json()
    try:
        describe(to, taken, src, tgt, choice)
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", where=to) from error
    return taken


def _place(resource: Resource) -> Path:
    if not resource.file.is_absolute():
        return resource.file
    return Path(resource.source) / resource.name  # bundled, or in the hub's cache under a name of its own


def _copy(path: Path, to: Path) -> None:
    if to.is_file() and to.stat().st_size == path.stat().st_size and sha256_of(to) == sha256_of(path):
        return
    new = to.with_name(f"{to.name}.{os.getpid()}.tmp")
    try:
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, new)
        os.replace(new, to)
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", where=to) from error
    finally:
        if new.exists():
            new.unlink()
