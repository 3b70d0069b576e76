"""``vocab-transfer compass``: slices of a corpus in one space, and what changed between them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from align.compass_options import IdentityOptions, ShiftOptions, SliceOptions, TrainOptions, VectorOptions
from align.errors import UsageError
from cli.flags import with_flags
from cli.screen import Screen, print_json

if TYPE_CHECKING:
    from align.compass import Compass, CompassOptions, SlicedText
    from align.compass.change import Shift
    from align.compass.correspond import Neighbor

_Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the output.")]
_Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
_Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Say nothing but errors.")]
_Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
_Folder = Annotated[Path, typer.Argument(help="Folder that compass wrote.")]
_From = Annotated[str | None, typer.Option("--from", help="Slice; by default the first.")]
_To = Annotated[str | None, typer.Option("--to", help="Slice; by default the last.")]
_MANY = ("--slices", "--names")
_N_SHOWN = 5


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


def compass_commands(the_screen: Callable[[], Screen]) -> typer.Typer:
    """The command ``compass`` and those under it."""
    app = typer.Typer(cls=_ManyGroup)

    def compass(
        context: typer.Context,
        options: TrainOptions,
        out: Annotated[Path | None, typer.Option(help="Folder of the result.")] = None,
        overwrite: _Overwrite = False,
        json_: _Json = False,
        quiet: _Quiet = False,
        debug: _Debug = False,
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
        screen = the_screen()
        screen.level = -1 if quiet else 0
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
        text = _read(options)
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
    app.command(cls=_ManyCommand)(with_flags(ShiftOptions, _shift(the_screen)))
    app.command()(_trace(the_screen))
    app.command()(_correspond(the_screen))
    app.command()(with_flags(IdentityOptions, _identity(the_screen)))
    return app


def _shift(the_screen: Callable[[], Screen]) -> Callable[..., None]:
    def shift(
        options: ShiftOptions,
        folder: _Folder,
        from_: _From = None,
        to: _To = None,
        json_: _Json = False,
        quiet: _Quiet = False,
        debug: _Debug = False,
    ) -> None:
        """Name the words that moved most between two slices, with their neighbours then and now.

        [bold]Examples[/bold]

        vocab-transfer compass shift compass --from 1850s --to 1950s --top 30

        vocab-transfer compass shift compass --measure overlap --control none --json

        vocab-transfer compass shift compass --slices 1850s.txt 1950s.txt --permutations 19
        """
        screen = the_screen()
        screen.level = -1 if quiet else 0
        from align.compass.correspond import near
        from align.compass.resampling import bootstrap_shift, permutation_test

        compass, first, last = _slices_of(folder, from_, to)
        screen.stage("comparing")
        found = compass.shift(
            first,
            last,
            measure=options.measure,
            min_count=options.min_occurrences,
            n_neighbors=options.neighbors,
        )
        text = _read(options) if options.slices else None
        if text is not None and options.permutations:
            found = permutation_test(
                found,
                compass,
                text,
                n_permutations=options.permutations,
                seed=options.seed,
                progress=screen.iterations("permutations"),
            )
        if text is not None and options.bootstrap:
            found = bootstrap_shift(
                found,
                compass,
                text,
                n_resamples=options.bootstrap,
                seed=options.seed,
                progress=screen.iterations("bootstrap"),
            )
        screen.stop()
        rows = found.order(options.control)[: options.top].tolist()
        moved = [_moved(found, row) for row in rows]
        words = [found.words[row] for row in rows]
        for key, name in (("then", first), ("now", last)):
            places = near(compass, words, name, top=_N_SHOWN, min_count=found.min_count)
            for told, of_word in zip(moved, places, strict=True):
                told[key] = [n.word for n in of_word]
        if json_:
            print_json(
                {
                    "from": first,
                    "to": last,
                    "measure": found.measure,
                    "control": options.control,
                    "min_occurrences": found.min_count,
                    "n_words": len(found.words),
                    "moved": moved,
                    "not_said": {
                        "too_few": len(found.too_few),
                        "only_from": list(found.only_from),
                        "only_to": list(found.only_to),
                    },
                }
            )
            return
        print("\n".join(_table(moved, first, last)))
        screen.note(
            f"{len(found.words):,} words compared; nothing is said of {len(found.too_few):,} words with "
            f"fewer than {found.min_count} occurrences in one of the two"
        )
        for name, only in ((first, found.only_from), (last, found.only_to)):
            if only:
                more = f" and {len(only) - 10:,} more" if len(only) > 10 else ""
                screen.note(f"only in {name}: {', '.join(only[:10])}{more}")
        if not compass.converged:
            screen.warning("these vectors had not converged: what moved is mostly noise")

    return shift


def _trace(the_screen: Callable[[], Screen]) -> Callable[..., None]:
    def trace(
        folder: _Folder,
        word: Annotated[str, typer.Argument(help="A word, in the case of the text as it was read.")],
        top: Annotated[int, typer.Option(help="Neighbours of a slice.")] = _N_SHOWN,
        min_occurrences: Annotated[int, typer.Option(help="Occurrences that neighbours need.")] = 5,
        plot: Annotated[Path | None, typer.Option(help="Draw it into this .svg file.")] = None,
        overwrite: _Overwrite = False,
        json_: _Json = False,
        quiet: _Quiet = False,
        debug: _Debug = False,
    ) -> None:
        """Follow one word through all slices.

        [bold]Examples[/bold]

        vocab-transfer compass trace compass gay --plot gay.svg
        """
        screen = the_screen()
        screen.level = -1 if quiet else 0
        from align.compass import Compass
        from align.compass.drawing import trace_svg
        from align.place import check_file, new_file

        if plot is not None:
            check_file(plot, overwrite=overwrite)
        moments = Compass.load(folder).trace(word, top=top, min_count=min_occurrences)
        if plot is not None:
            with new_file(plot, overwrite=overwrite) as partial:
                partial.write_text(trace_svg(word, moments), encoding="utf-8")
            screen.note(f"drawn: {plot}")
        if json_:
            told = [
                {
                    "slice": m.name,
                    "count": m.count,
                    "to_first": m.to_first,
                    "to_previous": m.to_previous,
                    "neighbors": _listed(m.neighbors),
                }
                for m in moments
            ]
            print_json({"word": word, "slices": told})
            return
        rows = [("slice", "count", "to first", "to previous", "neighbours")]
        rows += [
            (
                m.name,
                f"{m.count:,}",
                _decimal(m.to_first),
                _decimal(m.to_previous),
                ", ".join(n.word for n in m.neighbors) or "-",
            )
            for m in moments
        ]
        print("\n".join(_columns(rows)))

    return trace


def _correspond(the_screen: Callable[[], Screen]) -> Callable[..., None]:
    def correspond(
        folder: _Folder,
        word: Annotated[str, typer.Argument(help="A word of the slice --from.")],
        from_: _From = None,
        to: _To = None,
        top: Annotated[int, typer.Option(help="Words shown.")] = 10,
        min_occurrences: Annotated[int, typer.Option(help="Occurrences that answers need.")] = 5,
        retrieval: Annotated[str, typer.Option(help="nn, or csls against hubs.")] = "nn",
        json_: _Json = False,
        debug: _Debug = False,
    ) -> None:
        """Name the words of one slice that stand where a word of another stood.

        [bold]Examples[/bold]

        vocab-transfer compass correspond compass asses --from kjv --to modern
        """
        compass, first, last = _slices_of(folder, from_, to)
        found = compass.correspond(word, first, last, top=top, min_count=min_occurrences, retrieval=retrieval)
        if json_:
            print_json({"word": word, "from": first, "to": last, "words": _listed(found)})
            return
        print(
            "\n".join(
                _columns(
                    [("word", "score", "count")] + [(n.word, f"{n.score:.3f}", f"{n.count:,}") for n in found]
                )
            )
        )

    return correspond


def _identity(the_screen: Callable[[], Screen]) -> Callable[..., None]:
    def identity(
        options: IdentityOptions,
        file: Annotated[Path, typer.Argument(help="Text, a sentence or paragraph a line.")],
        json_: _Json = False,
        quiet: _Quiet = False,
        debug: _Debug = False,
    ) -> None:
        """Compare two random halves of one text: what moves there moves for want of text or training.

        [bold]Examples[/bold]

        vocab-transfer compass identity 1850s.txt
        """
        screen = the_screen()
        screen.level = -1 if quiet else 0
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


def _read(options: SliceOptions) -> SlicedText:
    from align.compass import read_slices

    return read_slices(
        *options.slices,
        names=list(options.names) or None,
        bin_years=options.bin,
        tokenize=options.tokenize,
        lower=not options.keep_case,
        min_count=options.min_count,
        max_words=options.max_words,
    )


def _settings(options: VectorOptions) -> CompassOptions:
    from align.compass import CompassOptions

    return CompassOptions(**{item.name: getattr(options, item.name) for item in fields(VectorOptions)})


def _slices_of(folder: Path, first: str | None, last: str | None) -> tuple[Compass, str, str]:
    from align.compass import Compass

    compass = Compass.load(folder)
    return compass, first or compass.names[0], last or compass.names[-1]


def _moved(found: Shift, row: int) -> dict[str, Any]:
    told: dict[str, Any] = {
        "word": found.words[row],
        "change": float(found.change[row]),
        "residual": float(found.residual[row]),
        "rank": float(found.rank[row]),
        "counts": found.counts[row].tolist(),
    }
    for name, values in (("p", found.p_value), ("q", found.q_value)):
        if values is not None:
            told[name] = float(values[row])
    if found.low is not None and found.high is not None:
        told["interval"] = [float(found.low[row]), float(found.high[row])]
    return told


def _table(moved: list[dict[str, Any]], first: str, last: str) -> list[str]:
    extra = [name for name in ("p", "q", "interval") if moved and name in moved[0]]
    rows = [("word", "change", "residual", *extra, first, last, "then", "now")]
    for told in moved:
        cells = [
            f"{told[name]:.3f}" if name != "interval" else "{:.3f}..{:.3f}".format(*told[name])
            for name in extra
        ]
        counts = [f"{n:,}" for n in told["counts"]]
        near = [", ".join(told[name]) for name in ("then", "now")]
        rows.append(
            (told["word"], f"{told['change']:.3f}", f"{told['residual']:+.3f}", *cells, *counts, *near)
        )
    return _columns(rows)


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]


def _listed(found: Iterable[Neighbor]) -> list[dict[str, Any]]:
    return [{"word": n.word, "score": n.score, "count": n.count} for n in found]


def _decimal(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
