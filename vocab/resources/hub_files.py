"""Any file of a data set on the hub: ``hf:org/name/path``."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from align.errors import InputError, UnavailableError, UsageError
from vocab.hub import hub_cache
from vocab.languages import Language
from vocab.resources.addresses import address
from vocab.resources.description import Kind, Resource
from vocab.resources.requests import Request

_VECTORS = (".bin", ".vec", ".safetensors", ".npz")


def find(
    request: Request, src: Language, tgt: Language, cache_dir: Path | None, *, offline: bool
) -> Resource:
    """One file, asked for by name; fetches nothing but its size.

    What it is, its ending says: ``.tsv`` and ``.zip`` are sentence pairs, ``.txt`` is text of the target
    language, ``.en`` and ``.sw`` are text, and together the two sides of sentence pairs, ``.bin`` or
    ``.vec`` are vectors of the language whose code is a part of the name; ``.gz`` after these is understood.

    Raises
    ------
    UsageError
        The ending says nothing.
    InputError
        No such data set, file or revision.
    UnavailableError
        No permission, no network.
    """
    org, name, path = request.name.split("/", 2)
    kind, src_code, tgt_code = _understand(path, src, tgt)
    repo = f"{org}/{name}"
    size: int | None
    kept = _kept(repo, path, request.version, cache_dir)
    if kept is not None:
        size, commit = kept.stat().st_size, kept.parts[-len(PurePosixPath(path).parts) - 1]
    elif offline:
        raise UnavailableError(
            f"{path} of {repo} is not in the hub's cache {hub_cache(cache_dir)}, and offline mode is on",
            hint=f"Where there is a network, run `hf download {repo} {path} --repo-type dataset`",
        )
    else:
        size, commit = _ask(repo, path, request.version)
    url = f"{address('hub')}datasets/{repo}/resolve/{commit}/{path}"
    return Resource(
        kind,
        "hub",
        f"{repo}/{path}",
        request.version or "main",  # the hub's cache knows it by this; the address names the commit
        src_code,
        tgt_code,
        None,
        size,
        url,
        "see the data set's card",
        kept or Path("hub") / repo / commit / path,
    )


def fetch(resource: Resource, cache_dir: Path | None) -> Path:
    """Fetch it into the hub's own cache, by huggingface_hub."""
    from huggingface_hub import hf_hub_download

    org, name, path = resource.name.split("/", 2)
    try:
        return Path(
            hf_hub_download(
                f"{org}/{name}",
                path,
                repo_type="dataset",
                revision=resource.version,
                cache_dir=hub_cache(cache_dir),
                endpoint=address("hub").rstrip("/"),
            )
        )
    except Exception as error:
        raise _ours(error, f"{org}/{name}", path) from error


def _kept(repo: str, path: str, revision: str | None, cache_dir: Path | None) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(
        repo, path, cache_dir=hub_cache(cache_dir), revision=revision, repo_type="dataset"
    )
    return Path(found) if isinstance(found, str) else None


def _ask(repo: str, path: str, revision: str | None) -> tuple[int | None, str]:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(repo, path, repo_type="dataset", revision=revision, endpoint=address("hub").rstrip("/"))
    try:
        said = get_hf_file_metadata(url)
    except Exception as error:
        raise _ours(error, repo, path) from error
    return said.size, said.commit_hash or revision or "main"


def _ours(error: Exception, repo: str, path: str) -> Exception:
    from huggingface_hub import errors

    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.GatedRepoError) or status in (401, 403):
        return UnavailableError(
            f"no permission to fetch {path} of {repo}", hint="Run `hf auth login`, or set HF_TOKEN"
        )
    missing = errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.EntryNotFoundError
    if isinstance(error, missing):
        what = "data set" if isinstance(error, errors.RepositoryNotFoundError) else "file or revision"
        return InputError(f"no such {what} on the hub", got=f"{repo}/{path}", where=address("hub"))
    why = next(iter(str(error).splitlines()), type(error).__name__)[:200]
    return UnavailableError(f"{path} of {repo} could not be had: {why}", where=address("hub"))


def _understand(path: str, src: Language, tgt: Language) -> tuple[Kind, str | None, str]:
    plain = PurePosixPath(path.removesuffix(".gz"))
    suffix, parts = plain.suffix, plain.name.replace("-", ".").replace("_", ".").split(".")
    if suffix in (".tsv", ".zip"):
        return "parallel", src.code, tgt.code
    for lang in (src, tgt):
        if suffix == f".{lang.code}":
            return "text", None, lang.code
    if suffix == ".txt":
        return "text", None, tgt.code
    if suffix in _VECTORS:
        for lang in (tgt, src):
            if lang.code in parts:
                return "vectors", None, lang.code
    raise UsageError(
        "the name does not say what is in the file",
        got=path,
        wanted=f".tsv, .zip, .txt, .{src.code}, .{tgt.code}, or vectors such as cc.{tgt.code}.300.vec.gz",
    )
