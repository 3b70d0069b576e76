"""``vocab-transfer compare``: many initialisation methods on one setting."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from align.errors import UsageError
from cli.flags import Debug, Json, Overwrite, Quiet, Verbose, Yes
from cli.resources import ask_first, own_files
from cli.screen import Screen, print_json
from vocab.options import TransferOptions

if TYPE_CHECKING:
    from vocab.comparison.results import MethodResult
    from vocab.comparison.table import Layout
    from vocab.resources.selection import Selection

_LAYOUTS: dict[str, Layout] = {".tsv": "tsv", ".md": "md"}
# what one transfer decides for itself, and what is only of a written model
WITHOUT = ("method", "head_method", "min_count", "scripts", "dtype", "pad_to_multiple_of")


def compare_methods(the_screen: Callable[[int], Screen]) -> Callable[..., None]:
    """The command ``compare``."""

    def compare(
        options: TransferOptions,
        methods: Annotated[
            list[str],
            typer.Option(
                help="all, auto, or expressions as for --method, divided by commas; repeatable.",
                show_default="all",
            ),
        ] = [],  # noqa: B006  # typer wants a list
        eval_: Annotated[
            list[Path],
            typer.Option(
                "--eval",
                help="What to measure on: source<TAB>target lines, text in the target language, or (given "
                "twice) two line-aligned files, source first. By default a tenth of the material.",
                readable=False,
            ),
        ] = [],  # noqa: B006
        control: Annotated[
            bool,
            typer.Option("--control", help="Also measure constituents shuffled among the new tokens."),
        ] = False,
        deleted: Annotated[
            float,
            typer.Option(help="Share of the source's tokens that are deleted and made again; 0 for none."),
        ] = 0.1,
        out: Annotated[Path | None, typer.Option(help="Also write the table here, as .tsv or .md.")] = None,
        overwrite: Overwrite = False,
        json_: Json = False,
        yes: Yes = False,
        verbose: Verbose = 0,
        quiet: Quiet = False,
        debug: Debug = False,
    ) -> None:
        """Compare initialisation methods on one setting, before any training.

        For each method: rows by origin, tokens deleted from the source and made again, retrieval of
        sentences, bits per byte, time and memory. No model is written.

        [bold]Examples[/bold]

        vocab-transfer compare --src demo --tgt sw

        vocab-transfer compare --src ./my-model --tgt sw --parallel train.en train.sw --eval dev.tsv --control

        vocab-transfer compare --tgt sw --methods "focus, 0.7*trans-tokenization + 0.3*focus" --out table.md
        """
        screen = the_screen(-1 if quiet else verbose)
        layout: Layout | None = None
        if out is not None:
            from align.place import check_file

            if out.suffix not in _LAYOUTS:
                raise UsageError("--out", got=out.name, wanted=" or ".join(f"*{end}" for end in _LAYOUTS))
            layout = _LAYOUTS[out.suffix]
            check_file(out, overwrite=overwrite)
        from vocab.comparison.comparing import compare as run
        from vocab.comparison.held_out import read_evaluation
        from vocab.comparison.table import as_json, explained, formatted, one_line

        def agree(selection: Selection) -> None:
            from vocab.materials.survey import source_to_fetch

            model = source_to_fetch(options)
            ask_first(screen, selection, yes=yes, model=model, own=own_files(options))

        finished: list[MethodResult] = []

        def tell(result: MethodResult) -> None:
            finished.append(result)
            if not screen.console.is_terminal:  # where no spinner says that it goes on
                screen.note(one_line(result))

        screen.note(f"source {options.src}, target {options.tgt}")
        try:
            comparison = run(
                options,
                methods=[name for text in methods or ["all"] for name in divided(text)],
                evaluation=read_evaluation(eval_) if eval_ else None,
                control=control,
                deleted_share=deleted,
                agree=agree,
                decisions=screen.decisions(),
                progress=screen.progress(),
                tell=tell,
            )
        except KeyboardInterrupt:
            screen.stop()
            if finished and not json_:
                sys.stdout.write(formatted(finished))
            raise
        screen.stop()
        if json_:
            print_json(as_json(comparison))
        else:
            sys.stdout.write(formatted(comparison.results))
        screen.lines(explained(comparison))
        if out is not None and layout is not None:
            from align.place import new_file

            with new_file(out, overwrite=overwrite) as partial:
                partial.write_text(formatted(comparison.results, layout), encoding="utf-8")

    return compare


def divided(text: str) -> list[str]:
    """Expressions between commas; those in brackets divide options."""
    parts, depth = [""], 0
    for char in text:
        depth += (char == "(") - (char == ")")
        if char == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts if part.strip()]
