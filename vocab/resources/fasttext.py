"""fastText's word vectors of 157 languages (Common Crawl and Wikipedia, 300 dimensions)."""

from __future__ import annotations

import gzip
from pathlib import Path

from align.errors import InputError, UnavailableError
from vocab.fetching.web import probe
from vocab.languages import Language
from vocab.resources.addresses import address
from vocab.resources.description import Resource

# fastText trained one model of both written forms of Norwegian under `no`, and one of Nynorsk.
_CODES = {"nb": "no"}
_MAGIC = (793712314).to_bytes(4, "little")
_LICENCE = "CC BY-SA 3.0"


def name_of(language: str, suffix: str) -> str:
    """``cc.sw.300.bin``, or ``cc.sw.300.vec.gz``, which is read as it is."""
    return f"cc.{_CODES.get(language, language)}.300{suffix}"


def look_up(lang: Language, cache: Path, *, suffix: str = ".bin", offline: bool) -> Resource | None:
    """The vectors of a language, or None: not published; offline, and not in the cache. Fetches nothing.

    Parameters
    ----------
    lang : Language
    cache : Path
    suffix : {".bin", ".vec.gz"}
        The model, with vectors for parts of words, unpacked in the cache; or the table of words, which stays
        packed.
    offline : bool

    Raises
    ------
    UnavailableError
        The server does not answer.
    """
    name = name_of(lang.code, suffix)
    url = address("fasttext") + name.removesuffix(".gz") + ".gz"
    file = Path("fasttext") / name
    size = None
    if not (cache / file).is_file():
        announced = None if offline else probe(url, name=name)
        if announced is None:
            return None
        size = announced.size_bytes
    return Resource("vectors", "fasttext", name, "", None, lang.code, None, size, url, _LICENCE, file)


def find(lang: Language, cache: Path, *, suffix: str = ".bin", offline: bool) -> Resource:
    """The same, where it has to be.

    Raises
    ------
    UnavailableError
        None are published for the language; not in the cache, and no network.
    """
    found = look_up(lang, cache, suffix=suffix, offline=offline)
    if found is not None:
        return found
    name = name_of(lang.code, suffix)
    if not offline:
        raise UnavailableError(
            f"no fastText vectors are published for {lang.code!r}",
            where=address("fasttext"),
            hint="Pass vectors of your own, or text to train them on",
        )
    path = cache / "fasttext" / name
    put = f"fetch {address('fasttext')}{name.removesuffix('.gz')}.gz"
    put += "" if suffix.endswith(".gz") else " and unpack it"
    raise UnavailableError(
        f"{name} is not at {path}, and offline mode is on",
        hint=f"Where there is a network, {put} to {path}; or pass vectors of your own",
    )


def check(path: Path) -> None:
    """Refuse what is no fastText model or table of vectors, such as a page that asks to log in."""
    if path.name.endswith(".gz") or ".vec" in path.name:
        with path.open("rb") as packed, gzip.open(packed) as file:
            try:
                start = file.readline(100).split()
            except OSError as error:
                raise InputError(f"no gzip: {error}", where=path) from None
        if len(start) != 2 or not all(part.isdigit() for part in start):
            raise InputError("not a table of vectors", where=path)
        return
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise InputError("not a fastText model", where=path)
