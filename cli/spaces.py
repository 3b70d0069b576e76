"""``vocab-transfer align`` and ``induce``: maps between spaces of word vectors, and lexicons from them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from align.options import InduceOptions, MapOptions
from align.threads import set_threads
from cli.flags import Debug, Json, Overwrite, Quiet
from cli.screen import Screen, print_json

if TYPE_CHECKING:
    from align.vectors import Vectors


def align_spaces(the_screen: Callable[[int], Screen]) -> Callable[..., None]:
    """The command ``align``."""

    def align(
        options: MapOptions,
        out: Annotated[Path, typer.Option(help="Directory of the map and the mapped vectors.")],
        overwrite: Overwrite = False,
        json_: Json = False,
        quiet: Quiet = False,
        debug: Debug = False,
    ) -> None:
        """Align two spaces of word vectors.

        [bold]Examples[/bold]

        vocab-transfer align --src-vectors en.vec --tgt-vectors es.vec --lexicon train.tsv --out map

        vocab-transfer align --src-vectors en.vec --tgt-vectors es.vec --method vecmap-unsupervised --out map
        """
        screen = the_screen(-1 if quiet else 0)
        from align.lexicon import in_case_of, read_lexicon
        from align.mapping.methods import fit, parse_settings, parse_steps
        from align.mapping.output import check_place, save_aligned
        from align.vectors import check_words

        place = check_place(out, overwrite=overwrite)
        started = time.perf_counter()
        set_threads(options.threads)
        src = _read(screen, options.src_vectors, options.src_limit, options.lower)
        tgt = _read(screen, options.tgt_vectors, options.tgt_limit, options.lower)
        for space in (src, tgt) if options.vectors != "none" else ():
            check_words(space, f".{options.vectors}")
        lexicon = None
        if options.lexicon is not None:
            lexicon = in_case_of(read_lexicon(options.lexicon), src, tgt)
        mapping = fit(
            src,
            tgt,
            lexicon,
            method=options.method,
            normalize=parse_steps(options.normalize),
            seeds=options.seeds,
            settings=parse_settings(options.set),
            seed=options.seed,
            progress=screen.iterations("aligning"),
        )
        written = save_aligned(mapping, src, tgt, place, vectors=options.vectors, overwrite=overwrite)
        facts = {
            "method": mapping.method,
            "n_pairs": mapping.n_pairs,
            "dim": mapping.dim,
            "converged": mapping.converged,
            "n_iter": mapping.n_iter,
            "objective": mapping.history[-1] if mapping.history else None,
            "seconds": round(time.perf_counter() - started, 2),
            "out": str(written),
        }
        screen.facts(facts)
        if json_:
            print_json(facts)

    return align


def induce_lexicon(the_screen: Callable[[int], Screen]) -> Callable[..., None]:
    """The command ``induce``."""

    def induce(
        options: InduceOptions,
        out: Annotated[
            Path | None, typer.Option(help="Lexicon to write, source<TAB>target<TAB>score.")
        ] = None,
        overwrite: Overwrite = False,
        json_: Json = False,
        quiet: Quiet = False,
        debug: Debug = False,
    ) -> None:
        """Find translations of words in two spaces of vectors, in parallel text, or in both.

        [bold]Examples[/bold]

        vocab-transfer induce --src-vectors en.vec --tgt-vectors es.vec --lexicon train.tsv --out new.tsv

        vocab-transfer induce --src-vectors en.vec --tgt-vectors es.vec --method vecmap --test test.tsv --json

        vocab-transfer induce --parallel a.en a.sw --out lexicon.tsv
        """
        screen = the_screen(-1 if quiet else 0)
        from align.induction.run import run_induction

        set_threads(options.threads)
        found = run_induction(
            options,
            out,
            overwrite=overwrite,
            tell=screen.stage,
            progress=screen.iterations("learning"),
        )
        screen.facts(found)
        if json_:
            print_json(found)

    return induce


def _read(screen: Screen, path: Path, limit: int, lower: bool) -> Vectors:
    from align.vectors import read_vectors

    screen.stage(f"reading {path.name}")
    return read_vectors(path, limit=limit, lower=lower)
