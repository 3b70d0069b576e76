"""What a transfer is to fetch, before anything is fetched."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from align.errors import ToolkitError, UnavailableError, UsageError
from vocab.hub import ALIASES, DEMO
from vocab.progress import Progress

_HUB_TIMEOUT_S = 10.0

if TYPE_CHECKING:
    from vocab.languages import Language
    from vocab.options import TransferOptions
    from vocab.resources.description import Resource
    from vocab.resources.selection import Selection, Terms


def terms_of(options: TransferOptions) -> Terms:
    """The part of the options that decides what is fetched."""
    from vocab.fetching.cache import default_cache
    from vocab.hub import is_offline
    from vocab.resources.selection import Terms

    return Terms(
        n_pairs=options.fetch_pairs,
        max_mb=options.max_mb,
        prefer=options.prefer,
        exclude=options.exclude,
        cache=default_cache(),
        hub_cache=options.cache_dir,
        offline=options.offline or is_offline(),
    )


def survey(
    options: TransferOptions,
    src: Language,
    tgt: Language,
    *,
    may_add: bool = True,
    progress: Progress | None = None,
) -> Selection | None:
    """Find the resources that the options ask for; fetches nothing but lists.

    Parameters
    ----------
    options : TransferOptions
    src, tgt : Language
    may_add : bool
        Ask for `opus:auto` where no text is given and the source is not the demo.
    progress : Progress, optional
        Hears of this, if anything is asked for.

    Returns
    -------
    Selection or None
        None: nothing is asked for, or it cannot be had and the bundled pairs do.

    Raises
    ------
    UsageError, InputError, UnavailableError
        As :mod:`vocab.resources.selection`.
    """
    requests = [item for item in options.fetch if item != "none"]
    adds = not options.fetch and may_add and _lacks_text(options)
    if not (requests or adds or options.resources is not None):
        return None
    from vocab.resources.selection import join, select, select_folder

    terms = terms_of(options)
    (progress or Progress()).tell("find what there is for the language")
    parts = []
    if options.resources is not None:
        parts.append(select_folder(options.resources, src, tgt, terms))
    if requests:
        try:
            parts.append(select(requests, src, tgt, terms))
        except UnavailableError as error:
            if error.hint is not None:
                raise
            asked = " ".join(requests)
            raise UnavailableError(
                error.what,
                got=error.got,
                where=error.where,
                hint=f"on a machine with a network run `{_prepare(src, tgt, asked)}`, copy what is "
                "written, and here give `--resources kit` instead of --fetch",
            ) from error
    if adds:
        try:
            parts.append(select(["opus:auto"], src, tgt, terms, by_itself=True))
        except UnavailableError as error:
            do_without(error, options, src, tgt)
    return join(parts) if parts else None


def source_to_fetch(options: TransferOptions) -> Resource | None:
    """The source model, if it is not in the hub's cache; to be shown only, as the hub's client fetches it.

    Its size and licence are None and empty where the hub does not say them.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.utils import filter_repo_objects

    from vocab.hub import MODEL_FILES, NOT_WANTED, is_offline, resolve_model
    from vocab.resources.addresses import address
    from vocab.resources.description import Resource

    if options.offline or is_offline():
        return None
    asked, repo = options.revision, ALIASES.get(options.src.lower(), options.src)
    try:
        resolve_model(options.src, revision=asked, cache_dir=options.cache_dir, offline=True)
        return None
    except UnavailableError:
        pass
    except ToolkitError:
        return None  # it will be said in its place
    size, licence = None, ""
    try:
        api = HfApi(endpoint=address("hub").rstrip("/"))
        info = api.model_info(repo, revision=asked, files_metadata=True, timeout=_HUB_TIMEOUT_S)
        files = {file.rfilename: file.size for file in info.siblings or []}
        wanted = filter_repo_objects(files, allow_patterns=MODEL_FILES, ignore_patterns=NOT_WANTED)
        size = sum(files[name] or 0 for name in wanted) or None
        licence = str(getattr(info.card_data, "license", None) or "")
    except Exception:  # whatever is wrong with the model is said when it is fetched
        pass
    return Resource(
        "model", "hub", repo, asked or "", None, "", None, size, address("hub") + repo, licence, Path()
    )


def within_limit(selection: Selection) -> None:
    """Refuse to fetch more than `max_mb`.

    Raises
    ------
    UsageError
    """
    if selection.fetch_mb > selection.terms.max_mb:
        raise UsageError(
            f"{selection.fetch_mb:,.0f} MB would be fetched",
            wanted=f"at most --max-mb {selection.terms.max_mb:,.0f}",
            hint=f"Pass --yes or --max-mb {math.ceil(selection.fetch_mb)}, or choose by --fetch, --exclude",
        )


def do_without(error: UnavailableError, options: TransferOptions, src: Language, tgt: Language) -> None:
    """Warn that the bundled pairs have to do; where there are none, say what to bring.

    Raises
    ------
    UnavailableError
        Nothing is bundled, and no tokenizer is named that needs no text.
    """
    import warnings

    from vocab.resources import bundled

    from_lang = "" if src.code == "en" else f" --src-lang {src.code}"
    prepare = _prepare(src, tgt, "opus:auto")
    reason = f"{error.what} ({error.where})" if error.where is not None else error.what
    n_pairs = sum(r.n_pairs or 0 for r in bundled.find(src, tgt) if r.kind == "parallel")
    if n_pairs:
        warnings.warn(
            f"{reason}; going on with the {n_pairs:,} sentence pairs that come with the package, which is "
            f"very little: where there is a network run `{prepare}`, then here add `--resources kit`",
            stacklevel=2,
        )
        return
    if options.named_tokenizer is not None:
        warnings.warn(f"{reason}; going on without text", stacklevel=2)
        return
    what = f"there is no text in {tgt.name}: none was given, none comes with the package, and {reason}"
    if error.hint is not None:  # another machine would find no more
        raise UnavailableError(what, hint=error.hint) from error
    model, is_on_hub = options.src, not Path(options.src).exists()
    if is_on_hub:
        repo = ALIASES.get(options.src.lower(), options.src)
        model = repo.split("/")[-1]
        prepare = f"hf download {repo} --local-dir {model}` and `{prepare}"
    raise UnavailableError(
        what,
        hint=f"On a machine with a network run `{prepare}`, copy what is written, and here run "
        f"`vocab-transfer --src {'./' * is_on_hub}{model} --tgt {tgt.code}{from_lang} --resources kit`; "
        f"or pass --parallel train.{src.code} train.{tgt.code} or --corpus text.txt",
    ) from error


def _prepare(src: Language, tgt: Language, what: str) -> str:
    """The command that fills a directory where there is a network."""
    from_lang = "" if src.code == "en" else f" --src-lang {src.code}"
    return f"vocab-transfer fetch {tgt.code} {what}{from_lang} --to kit"


def _lacks_text(options: TransferOptions) -> bool:
    given = options.parallel or options.parallel_tsv or options.corpus or options.resources
    if given or options.src == DEMO or options.donor is not None:
        return False
    # a named tokenizer and a named method need no text that nobody spoke of
    return options.tokenizer is None or options.method == "auto"
