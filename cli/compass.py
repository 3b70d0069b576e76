"""``vocab-transfer compass``: slices of a corpus in one space, and what changed between them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from align.compass_options import IdentityOptions, ShiftOptions, TrainOptions, VectorOptions
from align.errors import UsageError
from cli.compass_views import (
    compare_slices,
    find_correspondents,
    read_text,
    trace_word,
)
from cli.flags import Debug, Json, Overwrite, Quiet, with_flags
from cli.screen import Screen, print_json

if TYPE_CHECKING:
    from align.compass import CompassOptions

_MANY = ("--slices", "--names")


class _ManyGroup(TyperGroup):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, repeat_flags(args, _MANY))


class _ManyCommand(TyperCommand):
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, repeat_flags(args, _MANY))


def repeat_flags(args: Iterable[str], flags: Sequence[str]) -> list[str]:
    """``--slices a b`` as ``--slices a --slices b``, which is all that the parser reads."""
    given: list[str] = []
    flag = None
    pending = False  # a flag without a value so far
    for arg in args:
        if arg.startswith("-") and arg != "-":
            given += [flag] if flag and pending else []
            flag = arg if arg in flags else None
            pending = flag is not None
            given += [] if flag else [arg]
        else:
            given += [flag, arg] if flag else [arg]
            pending = False
    return [*given, flag] if flag and pending else given


def compass_commands(the_screen: Callable[[int], Screen]) -> typer.Typer:
    """The command ``compass`` and those under it."""
    app = typer.Typer(cls=_ManyGroup)

    def compass(
        context: typer.Context,
        options: TrainOptions,
        out: Annotated[Path | None, typer.Option(help="Folder of the result.")] = None,
        overwrite: Overwrite = False,
        json_: Json = False,
        quiet: Quiet = False,
        debug: Debug = False,
    ) -> None:
        """Train word vectors of slices of a corpus - times, regions, topics - that can be compared.

        [bold]Examples[/bold]

        vocab-transfer compass --slices 1850s.txt 1900s.txt 1950s.txt --out compass

        vocab-transfer compass --slices speeches.tsv --bin 20 --out compass

        vocab-transfer compass shift compass --from 1850s --to 1950s --top 30

        vocab-transfer compass trace compass gay --plot gay.svg
        """
        if context.invoked_subcommand is not None:
            if options != TrainOptions():
                raise UsageError(f"flags go behind {context.invoked_subcommand}")
            return
        if options == TrainOptions() and out is None:
            print(context.get_help())
            raise typer.Exit(2)
        screen = the_screen(-1 if quiet else 0)
        if out is None:
            raise UsageError("nowhere to write to", wanted="--out FOLDER")
        if not options.slices:
            raise UsageError("nothing to train on", wanted="--slices FILE FILE ...")
        started = time.perf_counter()
        from align.compass.alternatives import train_by
        from align.compass.pooled import train_pooled
        from align.lexicon import read_lexicon
        from align.place import check_output

        place = check_output(out, kind="compass", marks=("compass.json",), overwrite=overwrite)
        lexicon = None if options.lexicon is None else read_lexicon(options.lexicon)
        screen.stage("reading")
        text = read_text(options)
        screen.stage(f"training on {text.n_tokens:,} words in {len(text.names)} slices")
        settings = _settings(options)
        if lexicon is not None:
            made = train_pooled(text, lexicon, options=settings, switch_rate=options.switch_rate)
        else:
            made = train_by(text, method=options.method, options=settings)
        made.save(place, overwrite=overwrite)
        facts = {
            "method": made.method,
            "slices": {
                name: f"{int(row.sum()):,} words" for name, row in zip(made.names, made.counts, strict=True)
            },
            "words": len(made.words),
            "tokens": text.n_tokens,
            "loss_below_frequencies": made.learned,
            "converged": made.converged,
            "seconds": round(time.perf_counter() - started, 2),
            "out": str(place),
        }
        shown = "; ".join(f"{name}, {n}" for name, n in facts["slices"].items())  # type: ignore[attr-defined]
        screen.facts({**facts, "slices": shown})
        if json_:
            counts = {name: int(row.sum()) for name, row in zip(made.names, made.counts, strict=True)}
            print_json({**facts, "slices": counts})

    app.callback(invoke_without_command=True)(with_flags(TrainOptions, compass))
    app.command(cls=_ManyCommand)(with_flags(ShiftOptions, compare_slices(the_screen)))
    app.command()(trace_word(the_screen))
    app.command()(find_correspondents(the_screen))
    app.command()(with_flags(IdentityOptions, _identity(the_screen)))
    return app


def _identity(the_screen: Callable[[int], Screen]) -> Callable[..., None]:
    def identity(
        options: IdentityOptions,
        file: Annotated[Path, typer.Argument(help="Text, a sentence or paragraph a line.")],
        json_: Json = False,
        quiet: Quiet = False,
        debug: Debug = False,
    ) -> None:
        """Compare two random halves of one text: what moves there moves for want of text or training.

        [bold]Examples[/bold]

        vocab-transfer compass identity 1850s.txt
        """
        screen = the_screen(-1 if quiet else 0)
        from align.compass import identity_test, number_slices
        from align.textfiles import read_lines

        started = time.perf_counter()
        screen.stage("reading")
        lines = read_lines(file)
        text = number_slices(
            {"a": lines[::2], "b": lines[1::2]},
            tokenize=options.tokenize,
            lower=not options.keep_case,
            min_count=options.min_count,
            max_words=options.max_words,
        )
        screen.stage(f"training on {text.n_tokens:,} words")
        test = identity_test(text, options=_settings(options), seed=options.seed)
        facts = {
            "words": len(test.words),
            "tokens": text.n_tokens,
            "nearest_to_itself": test.accuracy(),
            f"of_the_first_{options.first}": test.accuracy(options.first),
            "mean_cosine": test.mean_cosine(),
            "converged": test.compass.converged,
            "seconds": round(time.perf_counter() - started, 2),
        }
        screen.facts(facts)
        if json_:
            print_json(facts)

    return identity


def _settings(options: VectorOptions) -> CompassOptions:
    from align.compass import CompassOptions

    return CompassOptions(**{item.name: getattr(options, item.name) for item in fields(VectorOptions)})
