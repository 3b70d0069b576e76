"""``vocab-transfer cache``: what was fetched, whether it is still that, and taking it away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.markup import escape

from align.errors import InputError, UsageError
from cli.columns import columns
from cli.flags import Debug, Json
from cli.screen import Screen, print_json


def cache_commands(the_screen: Callable[[int], Screen]) -> typer.Typer:
    """The commands ``cache list``, ``cache verify`` and ``cache prune``."""
    app = typer.Typer(help="Look after the files that were fetched.", no_args_is_help=True)

    @app.command("list")
    def list_files(json_: Json = False, debug: Debug = False) -> None:
        """Name the files in the cache."""
        from vocab.fetching.cache import default_cache, list_cache

        entries = list_cache()
        if json_:
            print_json({"cache": str(default_cache()), "files": [_fields(entry) for entry in entries]})
            return
        rows = [("name", "kind", "MB", "fetched", "verified"), *map(_shown, entries)]
        print("\n".join(columns(rows, numbers=(2,))))
        n_all = sum(entry.size_bytes for entry in entries)
        place = escape(str(default_cache()))
        the_screen(0).console.print(f"{len(entries)} files, {n_all / 1e6:,.1f} MB in {place}", soft_wrap=True)

    @app.command()
    def verify(json_: Json = False, debug: Debug = False) -> None:
        """Read every file whole and compare its SHA-256 with the recorded one; exit code 3 if one differs."""
        from vocab.fetching.cache import default_cache
        from vocab.fetching.cache import verify as verify_cache

        screen = the_screen(0)
        results = []
        for entry, good in verify_cache(progress=screen.progress().tell_bytes):
            results.append((entry, good))
            screen.stop()
            if good is False:
                screen.warning(f"{entry.path} is not what was fetched")
        bad = [entry.path.name for entry, good in results if good is False]
        if json_:
            files = [{**_fields(entry), "good": good} for entry, good in results]
            print_json({"cache": str(default_cache()), "files": files})
        if bad:
            raise InputError(
                f"{len(bad)} of {len(results)} files are damaged: {', '.join(bad)}",
                where=default_cache(),
                hint="The next run that needs one fetches it again",
            )
        n_unknown = sum(good is None for _, good in results)
        said = f"{len(results) - n_unknown} files are what was fetched"
        if n_unknown:
            said += f"; {n_unknown} were put there by hand, and there is nothing to compare them with"
        screen.console.print(said, soft_wrap=True)

    @app.command("prune")
    def prune_files(
        older_than: Annotated[
            float | None, typer.Option(metavar="DAYS", help="Only what was fetched longer ago.")
        ] = None,
        parts: Annotated[bool, typer.Option("--parts", help="Only interrupted downloads.")] = False,
        everything: Annotated[bool, typer.Option("--all", help="Everything that was fetched.")] = False,
        yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
        json_: Json = False,
        debug: Debug = False,
    ) -> None:
        """Delete fetched files. What was put into the cache by hand stays.

        [bold]Examples[/bold]

        vocab-transfer cache prune --parts

        vocab-transfer cache prune --older-than 90 --yes
        """
        import sys

        from vocab.fetching.cache import prune, to_prune

        if (older_than is not None or parts) == everything:
            raise UsageError(
                "what to delete is not clear",
                wanted="either --all, or --older-than DAYS and/or --parts",
            )
        entries = to_prune(older_than_days=older_than, parts_only=parts)
        console = the_screen(0).console
        n_bytes = sum(entry.size_bytes for entry in entries)
        if entries and not yes:
            for entry in entries:
                console.print(escape(str(entry.path)), soft_wrap=True)
            if not sys.stdin.isatty():
                raise UsageError("nobody is there to ask", hint="Add --yes to delete them")
            question = f"delete {len(entries)} files, {n_bytes / 1e6:,.1f} MB?"
            if not typer.confirm(question, err=True):
                raise typer.Exit(0)
        gone = prune(entries)
        if json_:
            print_json({"deleted": [_fields(entry) for entry in gone]})
        said = f"{len(gone)} files deleted, {sum(entry.size_bytes for entry in gone) / 1e6:,.1f} MB"
        if len(gone) < len(entries):
            said += f"; {len(entries) - len(gone)} are in use and were left"
        console.print(said)

    return app


def _day(time_utc: str | None) -> str:
    return (time_utc or "")[:10]


def _shown(entry: Any) -> tuple[str, ...]:
    fetched = "(interrupted)" if entry.is_part else _day(entry.fetched_at) or "(by hand)"
    size = f"{entry.size_bytes / 1e6:,.1f}"
    return entry.path.name, entry.kind, size, fetched, _day(entry.verified_at)


def _fields(entry: Any) -> dict[str, Any]:
    return {
        "name": entry.path.name,
        "path": str(entry.path),
        "kind": entry.kind,
        "size_bytes": entry.size_bytes,
        "fetched_at": entry.fetched_at,
        "verified_at": entry.verified_at,
        "url": entry.url,
        "is_part": entry.is_part,
    }
