"""The commands under ``compass`` that read one: ``shift``, ``trace``, ``correspond``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from align.compass_options import ShiftOptions, SliceOptions
from cli.columns import columns
from cli.flags import Debug, Json, Overwrite, Quiet
from cli.screen import Screen, print_json

if TYPE_CHECKING:
    from align.compass import Compass, SlicedText
    from align.compass.change import Shift
    from align.compass.correspond import Neighbor

_Folder = Annotated[Path, typer.Argument(help="Folder that compass wrote.")]
_From = Annotated[str | None, typer.Option("--from", help="Slice; by default the first.")]
_To = Annotated[str | None, typer.Option("--to", help="Slice; by default the last.")]
_N_SHOWN = 5


def compare_slices(the_screen: Callable[[int], Screen]) -> Callable[..., None]:
    """The command ``compass shift``."""

    def shift(
        options: ShiftOptions,
        folder: _Folder,
        from_: _From = None,
        to: _To = None,
        json_: Json = False,
        quiet: Quiet = False,
        debug: Debug = False,
    ) -> None:
        """Name the words that moved most between two slices, with their neighbours then and now.

        [bold]Examples[/bold]

        vocab-transfer compass shift compass --from 1850s --to 1950s --top 30

        vocab-transfer compass shift compass --measure overlap --control none --json

        vocab-transfer compass shift compass --slices 1850s.txt 1950s.txt --permutations 19
        """
        screen = the_screen(-1 if quiet else 0)
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
        text = read_text(options) if options.slices else None
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


def trace_word(the_screen: Callable[[int], Screen]) -> Callable[..., None]:
    """The command ``compass trace``."""

    def trace(
        folder: _Folder,
        word: Annotated[str, typer.Argument(help="A word, in the case of the text as it was read.")],
        top: Annotated[int, typer.Option(help="Neighbours of a slice.")] = _N_SHOWN,
        min_occurrences: Annotated[int, typer.Option(help="Occurrences that neighbours need.")] = 5,
        plot: Annotated[Path | None, typer.Option(help="Draw it into this .svg file.")] = None,
        overwrite: Overwrite = False,
        json_: Json = False,
        quiet: Quiet = False,
        debug: Debug = False,
    ) -> None:
        """Follow one word through all slices.

        [bold]Examples[/bold]

        vocab-transfer compass trace compass gay --plot gay.svg
        """
        screen = the_screen(-1 if quiet else 0)
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
        print("\n".join(columns(rows)))

    return trace


def find_correspondents(the_screen: Callable[[int], Screen]) -> Callable[..., None]:
    """The command ``compass correspond``."""

    def correspond(
        folder: _Folder,
        word: Annotated[str, typer.Argument(help="A word of the slice --from.")],
        from_: _From = None,
        to: _To = None,
        top: Annotated[int, typer.Option(help="Words shown.")] = 10,
        min_occurrences: Annotated[int, typer.Option(help="Occurrences that answers need.")] = 5,
        retrieval: Annotated[str, typer.Option(help="nn, or csls against hubs.")] = "nn",
        json_: Json = False,
        debug: Debug = False,
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
        rows = [("word", "score", "count"), *((n.word, f"{n.score:.3f}", f"{n.count:,}") for n in found)]
        print("\n".join(columns(rows)))

    return correspond


def read_text(options: SliceOptions) -> SlicedText:
    """The text that flags name, in slices."""
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
    for name, values in (("p", found.p_value), ("p_pooled", found.p_pooled), ("q", found.q_value)):
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
    return columns(rows)


def _listed(found: Iterable[Neighbor]) -> list[dict[str, Any]]:
    return [{"word": n.word, "score": n.score, "count": n.count} for n in found]


def _decimal(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
