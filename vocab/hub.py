"""From a name to files: the built-in model, local directories, short names, and repositories of the hub."""

from __future__ import annotations

import difflib
import errno
import json
import os
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import NoReturn

from align.errors import InputError, OutputError, ToolkitError, UnavailableError, UsageError
from vocab.tokenizer.loading import load_tokenizer

__all__ = [
    "ALIASES",
    "DEMO",
    "ResolvedModel",
    "hub_cache",
    "is_offline",
    "load_tokenizer",
    "resolve_model",
    "resolve_tokenizer",
]

DEMO = "demo"

ALIASES = {
    "albert": "albert/albert-base-v2",
    "bert": "google-bert/bert-base-cased",
    "bert-base-cased": "google-bert/bert-base-cased",
    "bert-base-uncased": "google-bert/bert-base-uncased",
    "distilbert": "distilbert/distilbert-base-cased",
    "distilgpt2": "distilbert/distilgpt2",
    "distilroberta": "distilbert/distilroberta-base",
    "gpt2": "openai-community/gpt2",
    "llama": "meta-llama/Llama-3.2-1B",
    "mbert": "google-bert/bert-base-multilingual-cased",
    "minilm": "sentence-transformers/all-MiniLM-L6-v2",
    "modernbert": "answerdotai/ModernBERT-base",
    "qwen": "Qwen/Qwen3-0.6B-Base",
    "roberta": "FacebookAI/roberta-base",
    "roberta-base": "FacebookAI/roberta-base",
    "roberta-large": "FacebookAI/roberta-large",
    "smollm": "HuggingFaceTB/SmolLM2-135M",
    "t5": "google-t5/t5-base",
    "t5-small": "google-t5/t5-small",
    "xlm-r": "FacebookAI/xlm-roberta-base",
    "xlm-roberta-base": "FacebookAI/xlm-roberta-base",
    "xlmr": "FacebookAI/xlm-roberta-base",
}

_INDEX = "model.safetensors.index.json"
_TOKENIZER_FILES = ["*.json", "vocab.txt", "merges.txt", "*.model", "*.jinja", "README.md", "LICENSE*"]
# Exact names: `*.safetensors` would also fetch second copies (`consolidated`, half-precision variants, onnx).
MODEL_FILES = [*_TOKENIZER_FILES, "model.safetensors", "model-*.safetensors", "[0-9]_*/model.safetensors"]
_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)
NOT_WANTED = ["onnx/*", "openvino/*", "coreml/*", "original/*", "runs/*"]


@dataclass(frozen=True)
class ResolvedModel:
    """Where a named model or tokenizer lies on this machine.

    Attributes
    ----------
    path : Path
        Directory (for a tokenizer also a single `tokenizer.json`).
    name : str
        `org/name` on the hub, the path as it was given, or `demo`.
    revision_sha : str or None
        Commit on the hub; None for what is local.
    is_local : bool
        Not from the hub.
    """

    path: Path
    name: str
    revision_sha: str | None
    is_local: bool


def resolve_model(
    name_or_path: str | PathLike[str],
    *,
    revision: str | None = None,
    cache_dir: str | PathLike[str] | None = None,
    offline: bool | None = None,
    trust_remote_code: bool = False,
) -> ResolvedModel:
    """Find a model's directory by name or path, and fetch it from the hub where that is needed.

    The order: `demo`, a directory, a short name of :data:`ALIASES`, any `org/name` of the hub. Only what is
    needed is fetched: config, tokenizer, safetensors; never a pickle. Access tokens are huggingface_hub's own
    business (`HF_TOKEN`, `hf auth login`).

    Parameters
    ----------
    name_or_path : str or path
    revision : str, optional
        Branch, tag or commit on the hub.
    cache_dir : path, optional
        The hub's cache; by default as HF_HUB_CACHE and HF_HOME say.
    offline : bool, optional
        Look into the cache only. By default as HF_HUB_OFFLINE says.
    trust_remote_code : bool
        Fetch the repository's Python files too.

    Returns
    -------
    ResolvedModel
        Its directory holds config.json and every safetensors shard.

    Raises
    ------
    InputError
        No such model; a directory or repository without config or safetensors weights.
    UnavailableError
        Not in the cache, and no network, no answer or no permission.
    UsageError
        A revision of something local.
    OutputError
        The cache cannot be written.
    """
    found = _local(name_or_path, revision=revision)
    if found is None:
        patterns = [*MODEL_FILES, "*.py"] if trust_remote_code else MODEL_FILES
        found = _from_hub(
            str(name_or_path), patterns, revision=revision, cache_dir=cache_dir, offline=offline, weights=True
        )
    _require_model_files(found.path, shown=_shown(found), is_local=found.is_local)
    return found


def resolve_tokenizer(
    name_or_path: str | PathLike[str],
    *,
    revision: str | None = None,
    cache_dir: str | PathLike[str] | None = None,
    offline: bool | None = None,
) -> ResolvedModel:
    """Find a tokenizer by name or path, as :func:`resolve_model` finds a model, but fetch no weights.

    A path may also be a single `tokenizer.json`. The result's `path` goes to
    :func:`load_tokenizer`.

    Raises
    ------
    InputError, UnavailableError, UsageError, OutputError
        As :func:`resolve_model`; what is in the directory is checked when it is loaded.
    """
    if Path(name_or_path).is_file():
        _refuse_revision(name_or_path, revision)
        return ResolvedModel(Path(name_or_path), str(name_or_path), None, True)
    found = _local(name_or_path, revision=revision)
    return found or _from_hub(
        str(name_or_path),
        _TOKENIZER_FILES,
        revision=revision,
        cache_dir=cache_dir,
        offline=offline,
        weights=False,
    )


def is_offline() -> bool:
    """Whether VOCAB_TRANSFER_OFFLINE, HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE forbids the network now."""
    # huggingface_hub reads these once, when it is imported
    names = ("VOCAB_TRANSFER_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(os.environ.get(name, "").upper() in {"1", "ON", "YES", "TRUE"} for name in names)


def hub_cache(cache_dir: str | PathLike[str] | None = None) -> Path:
    """The hub's cache directory, from the environment at the time of the call."""
    env = os.environ
    home = env.get("HF_HOME") or os.path.join(env.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    folder = (
        cache_dir or env.get("HF_HUB_CACHE") or env.get("HUGGINGFACE_HUB_CACHE") or os.path.join(home, "hub")
    )
    return Path(os.path.expandvars(folder)).expanduser()


def _local(name_or_path: str | PathLike[str], *, revision: str | None) -> ResolvedModel | None:
    name = str(name_or_path)
    if name == DEMO:
        from vocab import demo

        _refuse_revision(name, revision)
        return ResolvedModel(Path(demo.path()), DEMO, None, True)
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        _refuse_revision(name, revision)
        return ResolvedModel(path, name, None, True)
    if path.is_file():
        raise InputError("a file where a model's directory was expected", where=name)
    looks_like_path = (
        path.is_absolute()
        or name.startswith((".", "~"))
        or name.endswith(("/", ".json"))
        or name.count("/") > 1
    )
    if looks_like_path or isinstance(name_or_path, Path):
        raise InputError(
            "no such file or directory",
            where=name,
            hint="give a directory with config.json, org/name of the hub, or a short name such as roberta",
        )
    return None


def _refuse_revision(name: str | PathLike[str], revision: str | None) -> None:
    if revision is not None:
        raise UsageError(
            "a revision was given for something that is not on the hub",
            got=f"revision {revision!r} of {name}",
            hint="Leave the revision out",
        )


def _shown(found: ResolvedModel) -> str:
    return str(found.path) if found.is_local else found.name


def _from_hub(
    name: str,
    patterns: list[str],
    *,
    revision: str | None,
    cache_dir: str | PathLike[str] | None,
    offline: bool | None,
    weights: bool,
) -> ResolvedModel:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    repo = ALIASES.get(name.lower(), name)
    offline = is_offline() if offline is None else offline
    cache = hub_cache(cache_dir)
    endpoint = (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")

    def snapshot(*, cached_only: bool) -> Path:
        # endpoint and cache are passed because huggingface_hub reads the environment once, when imported
        path = snapshot_download(
            repo,
            revision=revision,
            cache_dir=cache,
            endpoint=endpoint,
            allow_patterns=patterns,
            ignore_patterns=NOT_WANTED,
            local_files_only=cached_only,
        )
        if cached_only and not _is_enough(Path(path), weights=weights):
            # newer versions of huggingface_hub refuse a part of a snapshot by themselves
            raise LocalEntryNotFoundError("only a part of it is in the cache")
        return Path(path)

    try:
        path = snapshot(cached_only=offline)
    except Exception as error:  # huggingface_hub's errors have no base of their own: _raise_ours sorts them
        partial = getattr(error, "snapshot_path", None)
        if partial is not None and _is_enough(Path(partial), weights=weights):
            path = Path(partial)
        elif _is_broken_line(error) and not offline:
            # for some of these huggingface_hub looks into the cache by itself, and for others it does not
            try:
                path = snapshot(cached_only=True)
            except Exception:  # the first error says more
                _raise_ours(error, name, repo, revision, cache, endpoint, offline)
        else:
            _raise_ours(error, name, repo, revision, cache, endpoint, offline)
    return ResolvedModel(path, repo, path.name, False)


def _is_broken_line(error: Exception) -> bool:
    from huggingface_hub.errors import HfHubHTTPError

    # the HTTP client's own base class; which client it is depends on the version of huggingface_hub
    return isinstance(error, HfHubHTTPError.__mro__[1]) and not isinstance(error, HfHubHTTPError)


def _is_enough(path: Path, *, weights: bool) -> bool:
    # Without a network huggingface_hub refuses a snapshot that lacks any matching file, be it the README;
    # one that other tools fetched may lack a file and still be a whole model.
    if not weights:
        return any(path.glob("tokenizer*"))
    try:
        _require_model_files(path, shown=str(path), is_local=False)
    except InputError:
        return False
    return True


def _raise_ours(
    error: Exception, name: str, repo: str, revision: str | None, cache: Path, endpoint: str, offline: bool
) -> NoReturn:
    """Turn what huggingface_hub and its HTTP client raise into one line that says what to do."""
    from huggingface_hub import errors

    asked = repo if name == repo else f"{repo} ({name})"
    asked = f"{asked} at revision {revision}" if revision else asked
    status = getattr(getattr(error, "response", None), "status_code", None)
    ours: ToolkitError
    if isinstance(error, errors.HFValidationError):
        ours = InputError(f"{name!r} is neither a directory nor the name of a model", hint=_near(name))
    elif isinstance(error, errors.GatedRepoError) or (
        status in (401, 403) and not isinstance(error, errors.RepositoryNotFoundError)
    ):
        ours = UnavailableError(
            f"no permission to fetch {asked}",
            got=f"status {status} from {endpoint}",
            hint=f"Ask for access at {endpoint}/{repo}, then run `hf auth login` or set HF_TOKEN; or pass a "
            f"local directory",
        )
    elif isinstance(error, errors.RepositoryNotFoundError):
        ours = InputError(
            f"no model {asked} at {endpoint}",
            hint=f"{_near(name)}. If it is private, run `hf auth login` or set HF_TOKEN",
        )
    elif isinstance(error, errors.RevisionNotFoundError):
        ours = InputError(f"{repo} has no revision {revision!r} at {endpoint}")
    elif isinstance(error, OSError) and error.errno in _CANNOT_WRITE:
        ours = OutputError(
            f"the hub's cache cannot be written: {error.strerror}",
            where=cache,
            hint="Name another place with HF_HOME or a cache directory",
        )
    elif (
        _is_broken_line(error)
        or isinstance(error, (OSError, RuntimeError))
        or type(error).__module__.startswith("huggingface_hub.")
    ):
        # nearly all of huggingface_hub's errors are OSErrors, some only Exceptions; RuntimeError comes from
        # its Rust client
        cause = error.__cause__ or error
        reason = "offline mode is on" if offline else f"{endpoint} failed: {_one_line(cause)}"
        at_revision = f" --revision {revision}" if revision else ""
        near = "" if "/" in repo else f". {_near(name)}"
        ours = UnavailableError(
            f"{asked} is not in the cache {cache} (or not all of it), and {reason}",
            hint="Pass a local directory instead: on a machine with a network run "
            f"`hf download {repo}{at_revision} --local-dir {repo.split('/')[-1]}` and copy it{near}",
        )
    else:
        raise error
    raise ours from error


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


def _near(name: str) -> str:
    known = {alias: alias for alias in ALIASES} | {repo.lower(): repo for repo in ALIASES.values()}
    near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.6)
    if near:
        return f"Perhaps {' or '.join(known[n] for n in near)} is meant"
    return f"Known short names: {', '.join([DEMO, *ALIASES])}"


def _require_model_files(path: Path, *, shown: str, is_local: bool) -> None:
    if not (path / "config.json").is_file():
        hint = None
        if is_local and shown in ALIASES:
            hint = f"For the hub's model write {ALIASES[shown]}"
        raise InputError("no config.json", where=shown, wanted="a model's directory", hint=hint)
    index = path / _INDEX
    if (path / "model.safetensors").is_file() and not index.is_file():
        return
    if not index.is_file():
        pickles = sorted(p.name for p in path.glob("*.bin"))
        raise InputError(
            "no safetensors weights",
            where=shown,
            got=", ".join(pickles) or None,
            wanted=f"model.safetensors or {_INDEX}",
            hint="Other formats are not read; where they are trusted, "
            "`AutoModel.from_pretrained(...).save_pretrained(DIR)` writes safetensors"
            + (
                ""
                if is_local
                else "; or try `--revision refs/pr/N` with a conversion among the pull requests"
            ),
        )
    try:
        shards = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError("not an index of safetensors shards", where=index) from None
    missing = sorted(name for name in shards if not (path / name).is_file())
    if missing:
        raise InputError(
            "shards of the weights are missing",
            where=shown,
            got=f"{', '.join(missing[:3])} of {len(shards)} shards",
        )
