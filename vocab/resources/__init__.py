"""What exists for a language, and how it is fetched: OPUS, fastText vectors, hub files, what is bundled.

A source is a module of this package with ``find``, which fetches nothing, and with what reads and checks
files of its own kind. :func:`fetch` is one for all.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from align.errors import InputError, UnavailableError

if TYPE_CHECKING:
    from vocab.fetching.cache import Progress
    from vocab.languages import Language
    from vocab.resources.description import Resource

__all__ = ["Resource", "fasttext_vectors", "fetch", "fetch_fasttext_vectors", "find"]


def __getattr__(name: str) -> type:
    if name == "Resource":  # the options are read before anything that this needs
        from vocab.resources.description import Resource

        return Resource
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def find(
    src_lang: str | Language,
    tgt_lang: str | Language,
    *,
    cache: str | PathLike[str] | None = None,
    offline: bool | None = None,
) -> list[Resource]:
    """Name what can be had for two languages; fetches nothing but lists.

    Parameters
    ----------
    src_lang, tgt_lang : str or Language
        Codes or names.
    cache : path, optional
        By default :func:`vocab.fetching.cache.default_cache`.
    offline : bool, optional
        By default as :func:`vocab.hub.is_offline` says.

    Returns
    -------
    list of Resource
        Parallel corpora, text of the target language, vectors, lexicon.

    Raises
    ------
    UsageError
        Unknown language.

    Warns
    -----
    UserWarning
        For each source that cannot be asked.
    """
    from vocab.fetching.cache import default_cache
    from vocab.hub import is_offline
    from vocab.resources import bundled, fasttext, opus

    src, tgt = _language(src_lang), _language(tgt_lang)
    folder = Path(cache or default_cache()).expanduser()
    is_off = is_offline() if offline is None else offline
    asked: list[Callable[[], Sequence[Resource | None]]] = [
        lambda: bundled.find(src, tgt),
        lambda: opus.find(src, tgt, folder, offline=is_off),
        lambda: opus.find_text(tgt, folder, offline=is_off),
        lambda: [fasttext.look_up(src, folder, offline=is_off)],
        lambda: [fasttext.look_up(tgt, folder, offline=is_off)],
    ]
    found: list[Resource] = []
    for ask in asked:
        try:
            found += [resource for resource in ask() if resource is not None]
        except UnavailableError as error:
            warnings.warn(error.message, stacklevel=2)
    return found


def fetch(
    resource: Resource,
    cache: str | PathLike[str] | None = None,
    *,
    hub_cache: str | PathLike[str] | None = None,
    progress: Progress | None = None,
    notice: Callable[[str], None] | None = None,
    offline: bool | None = None,
) -> Path:
    """Fetch a resource, unless it is there and good.

    Parameters
    ----------
    resource : Resource
    cache : path, optional
        By default :func:`vocab.fetching.cache.default_cache`.
    hub_cache : path, optional
        Where the hub's own files go; by default as HF_HUB_CACHE and HF_HOME say.
    progress, notice : callable, optional
        See :func:`vocab.fetching.download.download`.
    offline : bool, optional
        Use what is there, and ask nobody.

    Returns
    -------
    Path
        Its file, checked.

    Raises
    ------
    UnavailableError, OutputError
        As :func:`vocab.fetching.download.download`.
    InputError
        A file of a written directory is not what was written.
    """
    from vocab.fetching.cache import default_cache, sha256_of
    from vocab.fetching.download import download
    from vocab.hub import is_offline
    from vocab.resources import fasttext, hub_files, opus

    path = resource.path(Path(cache or default_cache()).expanduser())
    if path.is_absolute() and resource.file.is_absolute():
        if resource.sha256 is not None and sha256_of(path) != resource.sha256:
            raise InputError(f"{resource.label} is not what was written: its SHA-256 differs", where=path)
        return path
    if resource.source == "hub":
        return hub_files.fetch(resource, None if hub_cache is None else Path(hub_cache))
    if resource.source == "fasttext":
        return download(
            resource.url,
            path,
            name=resource.name,
            gunzip=not resource.name.endswith(".gz"),
            check=fasttext.check,
            size_bytes=resource.size_bytes,
            progress=progress,
            notice=notice,
            offline=offline,
        )
    is_off = is_offline() if offline is None else offline
    if not (is_off or path.is_file()):
        opus.compare_size(resource)
    return download(
        resource.url,
        path,
        name=resource.label,
        check=lambda new: opus.check(new, resource),
        progress=progress,
        notice=notice,
        offline=offline,
    )


def fasttext_vectors(
    language: str, cache: str | PathLike[str] | None = None, *, offline: bool | None = None
) -> Resource:
    """Look up the fastText vectors (Common Crawl and Wikipedia, 300 dimensions) of a language; fetch nothing.

    Raises
    ------
    UnavailableError
        Not in the cache, and none published for the language, or no network.
    """
    from vocab.fetching.cache import default_cache
    from vocab.hub import is_offline
    from vocab.resources import fasttext

    folder = Path(cache or default_cache()).expanduser()
    return fasttext.find(_language(language), folder, offline=is_offline() if offline is None else offline)


def fetch_fasttext_vectors(
    language: str,
    cache: str | PathLike[str] | None = None,
    *,
    offline: bool | None = None,
    progress: Progress | None = None,
) -> Path:
    """Look up and fetch the vectors of a language; see :func:`fasttext_vectors` and :func:`fetch`."""
    found = fasttext_vectors(language, cache, offline=offline)
    return fetch(found, cache, progress=progress, offline=offline)


def _language(asked: str | Language) -> Language:
    from vocab.languages import language

    return language(asked) if isinstance(asked, str) else asked
