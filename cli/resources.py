"""``vocab-transfer resources`` and ``fetch``: what there is for a language, and a directory of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from align.errors import UnavailableError
from cli.columns import columns
from cli.flags import Debug, DryRun, Json, Quiet, Yes
from cli.screen import Screen, print_json
from vocab.options import TransferOptions

if TYPE_CHECKING:
    from vocab.resources.description import Resource
    from vocab.resources.selection import Selection

# the options of a transfer that the two commands have, too
LIST = ("src_lang", "offline")
FETCH = (*LIST, "fetch_pairs", "prefer", "exclude", "max_mb", "cache_dir")


def list_resources(the_screen: Callable[[int], Screen]) -> Callable[..., None]:
    """The command ``resources``."""

    def resources(
        options: TransferOptions,
        language: Annotated[str, typer.Argument(help="Target language: code or name.")],
        json_: Json = False,
        debug: Debug = False,
    ) -> None:
        """Name what there is for a language: parallel corpora, vectors, what comes with the package.

        [bold]Examples[/bold]

        vocab-transfer resources sw

        vocab-transfer resources pt_br --src-lang es --json
        """
        from vocab.fetching.cache import default_cache
        from vocab.languages import language as find_language
        from vocab.resources import find
        from vocab.resources.choice import in_order

        src, tgt = find_language(options.src_lang), find_language(language)
        screen = the_screen(0)
        if tgt.note:
            screen.decisions().add("language", f"{tgt.name} ({tgt.code})", tgt.note, minor=tgt.minor)
        found = find(src, tgt, offline=options.offline or None)
        corpora = in_order([r for r in found if r.source == "opus" and r.kind == "parallel"])
        ordered = [*corpora, *(r for r in found if r not in corpora)]
        if not ordered:
            raise UnavailableError(f"nothing was found for {src.name}-{tgt.name}")
        if json_:
            print_json([as_json(r, default_cache()) for r in ordered])
        else:
            print("\n".join(table([_row(r, default_cache(), None) for r in ordered])))

    return resources


def fetch_resources(the_screen: Callable[[int], Screen]) -> Callable[..., None]:
    """The command ``fetch``."""

    def fetch(
        options: TransferOptions,
        language: Annotated[str, typer.Argument(help="Target language: code or name.")],
        what: Annotated[
            list[str],
            typer.Argument(
                help="As for --fetch: opus:auto, opus:NAME, text:NAME, vectors:cc.vec, hf:ORG/NAME/PATH..."
            ),
        ],
        to: Annotated[Path, typer.Option(help="Directory to fill, for --resources of a transfer.")],
        yes: Yes = False,
        dry_run: DryRun = False,
        json_: Json = False,
        quiet: Quiet = False,
        debug: Debug = False,
    ) -> None:
        """Fetch resources into a directory, to take to a machine without a network.

        [bold]Examples[/bold]

        vocab-transfer fetch sw opus:auto --to kit

        vocab-transfer fetch sw opus:GlobalVoices opus:Tatoeba vectors:cc.vec --max-mb 3000 --to kit
        """
        from vocab.languages import language as find_language
        from vocab.materials.survey import terms_of
        from vocab.resources.kit import write_kit
        from vocab.resources.selection import select

        screen = the_screen(-1 if quiet else 0)
        src, tgt = find_language(options.src_lang), find_language(language)
        options = replace(options, tgt=language, fetch=tuple(what))
        terms = terms_of(options)
        try:
            selection = select(what, src, tgt, terms)
        except UnavailableError as error:
            if not terms.offline or error.hint is not None:
                raise
            hint = "Where there is a network run the same command, and copy the directory that it fills"
            raise UnavailableError(error.what, got=error.got, where=error.where, hint=hint) from error
        if dry_run:
            show(screen, selection)
            if json_:
                print_json(selection_json(selection))
            return
        ask_first(screen, selection, yes=yes)
        progress = screen.progress()
        with progress.stage("fetch"):
            taken = write_kit(selection, to, src, tgt, progress=progress)
        screen.stop()
        n_bytes = sum(t.resource.path(to).stat().st_size for t in taken)
        screen.facts({"written": f"{to} ({len(taken)} files, {n_bytes / 1e6:,.1f} MB)"})
        screen.facts({"next": f"vocab-transfer --src MODEL --tgt {tgt.code} --resources {to}"})
        if json_:
            print_json({"to": str(to), "files": [str(t.resource.file) for t in taken]})

    return fetch


def ask_first(
    screen: Screen,
    selection: Selection,
    *,
    yes: bool,
    model: Resource | None = None,
    own: Sequence[Path] = (),
) -> None:
    """Show what is to be fetched; when it is more than the limit, ask on a terminal and refuse elsewhere."""
    import sys

    from vocab.materials.survey import within_limit

    show(screen, selection, model=model, own=own)
    if yes or selection.terms.offline or selection.fetch_mb <= selection.terms.max_mb:
        return
    if not (sys.stdin.isatty() and screen.console.is_terminal):
        within_limit(selection)
    screen.stop()
    typer.confirm(f"Fetch {selection.fetch_mb:,.0f} MB?", abort=True, err=True)


def own_files(options: TransferOptions) -> list[Path]:
    """Files of text and pairs that were given, which go with what is fetched."""
    given = [*(options.parallel or ()), *options.parallel_tsv, *options.corpus, *options.src_corpus]
    return [Path(one) for one in given if isinstance(one, (str, Path))]


def show(
    screen: Screen, selection: Selection, *, model: Resource | None = None, own: Sequence[Path] = ()
) -> None:
    """The table of what would be used and the total to fetch; `model` is the source model if not here."""
    screen.stop()
    if screen.level < 0:
        return
    cache = selection.terms.cache
    quotas = {t.resource: t.max_pairs for t in selection.taken}
    rows = [_row(r, cache, quotas[r]) for r in quotas]
    rows += [_own_row(path) for path in own]
    screen.lines(table([*rows, _row(model, cache, None)] if model is not None else rows))
    to_fetch = selection.to_fetch
    if selection.choice is not None:
        left = len(selection.choice.left)
        more = f"; {left} more corpora are left: `vocab-transfer resources` names them" if left else ""
        screen.note(f"opus:auto: {selection.choice.rule}{more}")
    if to_fetch:
        unknown = sum(r.size_bytes is None for r in to_fetch)
        also = f", and {unknown} of unknown size" if unknown else ""
        size = _mb(round(selection.fetch_mb * 1e6))
        and_model = "" if model is None else "; and the model, which --max-mb does not count"
        screen.facts({"to fetch": f"{len(to_fetch)} files, {size} MB{also}, to {cache}{and_model}"})
    elif model is not None:
        screen.facts({"to fetch": "the model"})
    else:
        screen.facts({"to fetch": "nothing; all of it is on this machine"})


def selection_json(selection: Selection) -> dict[str, Any]:
    """The same as JSON."""
    return {
        "resources": [as_json(t.resource, selection.terms.cache) for t in selection.taken],
        "fetch_mb": round(selection.fetch_mb, 3),
        "choice": None if selection.choice is None else selection.choice.as_json(),
    }


def as_json(resource: Resource, cache: Path) -> dict[str, Any]:
    """A resource as JSON."""
    from dataclasses import asdict

    told = asdict(resource)
    del told["file"]
    return told | {"languages": resource.languages, "cached": resource.path(cache).is_file()}


def table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Lines of a table of resources, with a header."""
    return columns([_HEADER, *rows], numbers=_NUMBERS)


_HEADER = ("name", "kind", "languages", "pairs", "MB", "licence", "from")
_NUMBERS = (3, 4)


def _row(resource: Resource, cache: Path, max_pairs: int | None) -> tuple[str, ...]:
    from urllib.parse import urlsplit

    where = "this package" if resource.source == "bundled" else urlsplit(resource.url).netloc
    if resource.path(cache).is_file() and resource.source != "bundled":
        where = "this machine"
    pairs = "" if resource.n_pairs is None else f"{resource.n_pairs:,}"
    if max_pairs is not None:
        pairs = f"{max_pairs:,} of {pairs or '?'}"
    return (
        resource.label,
        resource.kind,
        resource.languages,
        pairs,
        "?" if resource.size_bytes is None else _mb(resource.size_bytes),
        resource.licence,
        where,
    )


def _own_row(path: Path) -> tuple[str, ...]:
    size = _mb(path.stat().st_size) if path.is_file() else "?"
    return path.name, "given", "", "", size, "", "this machine"


def _mb(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:,.1f}" if n_bytes >= 1e5 else "<0.1"
