"""``vocab-transfer heads``: several vocabularies on one body."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from align.errors import UsageError
from cli.columns import columns
from cli.flags import Debug, Json, Overwrite, Quiet
from cli.screen import Screen, print_json

_Dir = Annotated[Path, typer.Argument(metavar="DIR", help="A model directory.")]
_Trust = Annotated[bool, typer.Option("--trust-remote-code", help="Run code that comes with the model.")]


def heads_commands(the_screen: Callable[[int], Screen]) -> typer.Typer:
    """The commands ``heads add``, ``heads list`` and ``heads use``."""
    app = typer.Typer(help="Keep several vocabularies in one model directory.", no_args_is_help=True)

    @app.command()
    def add(
        folder: Annotated[
            str, typer.Argument(metavar="DIR", help="A model directory; or demo, org/name, with --out.")
        ],
        source: Annotated[
            Path, typer.Option("--from", metavar="DIR", help="The model whose vocabulary is added.")
        ],
        name: Annotated[str, typer.Option(help="What it is called.")],
        out: Annotated[
            Path | None, typer.Option(help="Write a copy with it there; by default it is added in place.")
        ] = None,
        default_name: Annotated[
            str | None, typer.Option(help="What the vocabulary of DIR itself is called from now on.")
        ] = None,
        overwrite: Overwrite = False,
        trust_remote_code: _Trust = False,
        json_: Json = False,
        quiet: Quiet = False,
        debug: Debug = False,
    ) -> None:
        """Add the vocabulary of a model to another model with the same body.

        DIR stays an ordinary model directory; the new vocabulary lies in DIR/heads/NAME.

        [bold]Examples[/bold]

        vocab-transfer heads add my-model --from my-model-sw --name sw --default-name en

        vocab-transfer heads add roberta --from roberta-sw --name sw --out roberta-both
        """
        screen = the_screen(-1 if quiet else 0)
        from vocab.heads.adding import add_head

        screen.stage("comparing the bodies")
        head = add_head(
            _model(folder, out, trust_remote_code=trust_remote_code),
            source,
            name,
            out=out,
            default_name=default_name,
            overwrite=overwrite,
            trust_remote_code=trust_remote_code,
        )
        facts = {
            "name": head.name,
            "tokens": head.n_tokens,
            "rows": head.n_rows,
            "bytes": head.n_bytes,
            "path": str(head.folder),
        }
        screen.facts(facts)
        if json_:
            print_json(facts)

    @app.command("list")
    def list_all(
        folder: _Dir, trust_remote_code: _Trust = False, json_: Json = False, debug: Debug = False
    ) -> None:
        """Name the vocabularies of a model directory; its own comes first."""
        from vocab.heads.adding import list_heads

        heads = list_heads(folder, trust_remote_code=trust_remote_code)
        if json_:
            print_json(
                {
                    "heads": [
                        {
                            "name": head.name,
                            "tokens": head.n_tokens,
                            "rows": head.n_rows,
                            "bytes": head.n_bytes,
                            "default": head.is_default,
                            "from": head.source,
                        }
                        for head in heads
                    ]
                }
            )
            return
        table = [("name", "tokens", "rows", "MB", "from")]
        for head in heads:
            origin = "(default)" if head.is_default else str(head.source)
            table.append(
                (head.name, f"{head.n_tokens:,}", f"{head.n_rows:,}", f"{head.n_bytes / 1e6:,.1f}", origin)
            )
        print("\n".join(columns(table, numbers=(1, 2, 3))))

    @app.command()
    def use(
        folder: _Dir,
        name: Annotated[str, typer.Argument(help="A name that `heads list` shows.")],
        out: Annotated[
            Path | None, typer.Option(help="Directory of the finished model; by default DIR-NAME.")
        ] = None,
        overwrite: Overwrite = False,
        trust_remote_code: _Trust = False,
        json_: Json = False,
        quiet: Quiet = False,
        debug: Debug = False,
    ) -> None:
        """Write one vocabulary with the body as an ordinary model directory.

        [bold]Examples[/bold]

        vocab-transfer heads use roberta-both sw --out roberta-sw
        """
        screen = the_screen(-1 if quiet else 0)
        from vocab.heads.using import use_head

        place = out or Path(f"{folder.resolve().name}-{name}")
        screen.stage("writing and verifying the model")
        written = use_head(folder, name, place, overwrite=overwrite, trust_remote_code=trust_remote_code)
        facts = {
            "rows": written.n_rows,
            "forward_pass": written.verification.forward,
            "written_and_verified": str(written.path),
        }
        screen.facts(facts)
        if json_:
            print_json({"name": name, "out": str(written.path), "rows": written.n_rows})

    return app


def _model(name: str, out: Path | None, *, trust_remote_code: bool) -> Path:
    """The directory that is named, or that of a model in the cache, which is only ever copied."""
    from vocab.hub import DEMO, resolve_model

    if Path(name).is_dir():
        return Path(name)
    found = resolve_model(name, offline=True, trust_remote_code=trust_remote_code)
    if out is None and (found.name == DEMO or not found.is_local):
        raise UsageError(
            "a model that is not in a directory of yours is not changed", got=name, wanted="--out"
        )
    return found.path
