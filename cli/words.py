"""``vocab-transfer words``: word alignment of parallel text."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from align.errors import UsageError
from align.options import WordsOptions
from align.threads import set_threads
from cli.flags import Debug, Json, Overwrite, Quiet
from cli.screen import Screen, print_json


def align_words(the_screen: Callable[[int], Screen]) -> Callable[..., None]:
    """The command ``words``."""

    def words(
        options: WordsOptions,
        out: Annotated[Path, typer.Option(help="File of links, i-j from 0, a line a pair; - is stdout.")],
        overwrite: Overwrite = False,
        json_: Json = False,
        quiet: Quiet = False,
        debug: Debug = False,
    ) -> None:
        """Align parallel text word by word.

        [bold]Examples[/bold]

        vocab-transfer words --parallel a.en a.sw --out links.pharaoh --table table.tsv

        vocab-transfer words --bitext en-sw.tmx --languages en sw --symmetrize grow-diag-final-and --out links

        vocab-transfer words --parallel a.en a.sw --prior lexicon.tsv --save model.safetensors --out links

        vocab-transfer words --parallel new.en new.sw --load model.safetensors --posteriors --out -
        """
        screen = the_screen(-1 if quiet else 0)
        to_stdout = str(out) == "-"
        if to_stdout and json_:
            raise UsageError("--out - and --json both want stdout", hint="give --out a file")
        set_threads(options.threads)
        from align.wordalign.run import run_words

        facts = run_words(options, sys.stdout if to_stdout else out, overwrite=overwrite, tell=screen.stage)
        goes_on = "" if facts["converged"] else " (the tolerance was not reached; --n-iter allows more)"
        shown = {"iterations" if name == "n_iter" else name: value for name, value in facts.items()}
        del shown["converged"]
        screen.facts({**shown, "iterations": f"{facts['n_iter']}{goes_on}"})
        if json_:
            print_json(facts)

    return words
