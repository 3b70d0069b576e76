"""What a person sees: progress and tables on stderr. Data goes to stdout, elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID
    from rich.status import Status

    from vocab.pipeline import Prepared, TransferResult
    from vocab.progress import Decision, Decisions, Progress


class Screen:
    """stderr at one of four levels: -1 quiet, 0 normal, 1 with stage times, 2 with warnings in full."""

    def __init__(self, level: int) -> None:
        self.level = level
        self.console = Console(stderr=True, highlight=False)
        self._status: Status | None = None
        self._bar: tuple[Bar, TaskID, str] | None = None
        self._part = ""

    def decisions(self) -> Decisions:
        """Decisions that are printed as they are made."""
        from vocab.progress import Decisions

        return Decisions(tell=self._decision)

    def progress(self) -> Progress:
        """Stages shown as a spinner on a terminal, as lines elsewhere."""
        from vocab.progress import Progress

        return Progress(tell=self._stage, tell_bytes=self._bytes)

    def _decision(self, decision: Decision) -> None:
        if self.level >= (1 if decision.minor else 0):
            why = f" [dim]({escape(decision.why)})[/dim]" if decision.why else ""
            self.console.print(
                f"[bold]{escape(decision.what)}[/bold]: {escape(decision.value)}{why}", soft_wrap=True
            )

    def _stage(self, name: str) -> None:
        self._part = ""
        if self.level < 0:
            return
        if not self.console.is_terminal:
            if self.level > 0:
                self.console.print(f"… {name}")
            return
        if self._status is None:
            self.stop()
            self._status = self.console.status(name)
            self._status.start()
        self._status.update(name)

    def _bytes(self, step: str, done: int, total: int) -> None:
        """A bar with rate and time left, on a terminal."""
        is_part = step.startswith("fetch ") and 0 < done != total
        self._part = f"{done:,} bytes of {step.removeprefix('fetch ')}" if is_part else ""
        if self.level < 0 or not self.console.is_terminal:
            return
        if self._bar is None or self._bar[2] != step:
            self.stop()
            bar = _byte_bar(self.console)
            # what was there already counts as done, and not for the rate
            self._bar = bar, bar.add_task(escape(step), completed=done, total=total or None), step
            bar.start()
        bar, task, _ = self._bar
        bar.update(task, completed=done, total=total or None)
        if done == total:
            self.stop()

    def stage(self, name: str) -> None:
        """What is being done now."""
        self._stage(name)

    def iterations(self, what: str) -> Callable[[int, float], None] | None:
        """Show iterations and their objective; None where nobody would see them."""
        if self.level < 0 or not self.console.is_terminal:
            return None
        return lambda iteration, objective: self._stage(f"{what}: iteration {iteration}, {objective:.4f}")

    def facts(self, facts: dict[str, Any]) -> None:
        """Results by name, one a line."""
        self.stop()
        if self.level < 0:
            return
        for name, value in facts.items():
            if value is None:
                continue
            shown = f"{value:.4f}" if isinstance(value, float) and name != "seconds" else str(value)
            label = escape(name.replace("_", " "))
            self.console.print(f"[bold]{label}[/bold]: {escape(shown)}", soft_wrap=True)

    def note(self, line: str) -> None:
        """A sentence that explains."""
        self.stop()
        if self.level >= 0:
            self.console.print(f"[dim]{escape(line)}[/dim]", soft_wrap=True)

    def lines(self, lines: Iterable[str]) -> None:
        """Text as it is, after an empty line."""
        self.stop()
        if self.level >= 0:
            self.console.print("", *map(escape, lines), sep="\n", soft_wrap=True)

    def stop(self) -> None:
        """Take the spinner or the bar away."""
        if self._bar is not None:
            self._bar[0].stop()
            self._bar = None
        if self._status is not None:
            self._status.stop()
            self._status = None

    def interrupted(self, line: str) -> None:
        """One line for Ctrl-C: `line`, or that a download was cut and what is kept of it."""
        kept = f"interrupted; {self._part} are kept, the same command continues there"
        self.error(kept if self._part else line)

    def error(self, line: str) -> None:
        """One line for an error, printed at every level."""
        self.stop()
        self.console.print(f"[red]error[/red]: {escape(line)}", soft_wrap=True)

    def warning(self, line: str) -> None:
        """One line for a warning."""
        if self.level >= 0:
            self.console.print(f"[yellow]warning[/yellow]: {escape(line)}", soft_wrap=True)

    def result(self, result: TransferResult, written: Any) -> None:
        """The tables at the end of a transfer, and what to do next."""
        self.stop()
        if self.level < 0:
            return
        rows = Table("rows", "number", "share of rows", "share of the text", box=None)
        for share in result.origins:
            text = "" if share.text_share is None else f"{share.text_share:.1%}"
            rows.add_row(share.origin, f"{share.n_rows:,}", f"{share.row_share:.1%}", text)
        self.console.print("", rows)
        from vocab.model_files.card import measured

        fertility = Table("tokenizer", "size", "tokens per word", "bytes per token", "unknown", box=None)
        for label, report in measured(result):
            fertility.add_row(
                label,
                f"{report.vocab_size:,}",
                f"{report.tokens_per_word:.2f}",
                f"{report.bytes_per_token:.2f}",
                f"{report.unknown_rate:.2%}",
            )
        if fertility.row_count:
            self.console.print("", fertility)
        if result.after is not None and result.after.unreachable:
            self.warning(f"{len(result.after.unreachable)} tokens of the vocabulary can never be produced")
        if result.examples:
            examples = Table("new token", "made of", box=None)
            for example in result.examples:
                terms = ", ".join(f"{weight:.2f} {token}" for token, weight in example.terms)
                examples.add_row(escape(example.token), escape(terms))
            self.console.print("", examples)
        if result.origins:
            self.note(legend(result))
        for note in written.notes:
            self.console.print(f"[dim]{escape(note)}[/dim]")
        if self.level > 0:
            self.times(result.seconds)
        path = str(written.path)
        self.console.print(
            f"\n[green]written and verified[/green]: {escape(path)}\n"
            f"{_advice(result)}why a row is what it is: vocab-transfer explain {escape(path)} TOKEN",
            soft_wrap=True,
        )

    def times(self, seconds: Any) -> None:
        """Wall seconds by stage."""
        table = Table("stage", "seconds", box=None)
        for stage, value in seconds.items():
            table.add_row(stage, f"{value:.1f}")
        self.console.print("", table)

    def prepared(self, prepared: Prepared, estimate: dict[str, Any]) -> None:
        """What a run would do."""
        self.stop()
        if self.level < 0:
            return
        table = Table("dry run", "", box=None)
        table.add_row("source", escape(f"{prepared.source.name} ({prepared.source.path})"))
        options = prepared.options
        if not (options.corpus or options.scripts) or options.mode != "trim":  # else no language is meant
            table.add_row("target", f"{prepared.tgt_lang.name} ({prepared.tgt_lang.code})")
        table.add_row("mode", options.mode)
        if options.mode != "trim":  # every row of it is a copy
            first = "the old rows" if options.mode == "extend" else "special"
            for key, method in (("method", prepared.method), ("head method", prepared.head_method)):
                if method is not None:
                    chain = (first, str(method), *(fallback.name for fallback in method.fallbacks))
                    table.add_row(key, escape(" > ".join(chain)))
        for key, value in estimate.items():
            label, unit = _ESTIMATES.get(key, (key.replace("_", " "), ""))
            shown = f"{value:,}" if isinstance(value, int) else str(value)
            table.add_row(escape(label), f"{'about ' * key.startswith('about')}{shown}{unit}")
        self.console.print(table)
        self.console.print("[dim]nothing was written[/dim]")


# how figures of an estimate are called, and their unit
_ESTIMATES = {
    "output_mb": ("size on disk", " MB"),
    "about_seconds": ("time", " s"),
    "about_memory_mb": ("memory", " MB"),
}
_ORIGINS = {
    "copied": "the row of the same old token",
    "mapped": "one other old row",
    "mixed": "a sum of old rows of like meaning",
    "composed": "a sum of the rows of its old pieces, or of tokens that overlap it",
    "sampled": "drawn",
    "special": "by its role",
}


def legend(result: TransferResult) -> str:
    """What the words and marks of the tables mean that are in them."""
    told = [f"{one.origin}: {_ORIGINS[one.origin]}" for one in result.origins if one.origin in _ORIGINS]
    tokens = [example.token for example in result.examples]
    marks = [mark for mark in ("Ġ", "▁") if any(token.startswith(mark) for token in tokens)]
    told += [f"{mark}: a space before" for mark in marks]
    told += ["##: within a word"] * any(token.startswith("##") for token in tokens)
    return "; ".join(told)


def _byte_bar(console: Console) -> Bar:
    from rich import progress as p

    columns = (p.TextColumn("{task.description}"), p.BarColumn(), p.DownloadColumn())
    return p.Progress(
        *columns, p.TransferSpeedColumn(), p.TimeRemainingColumn(), console=console, transient=True
    )


def _advice(result: TransferResult) -> str:
    if result.prepared.options.mode == "trim":  # nothing in it is new
        return ""
    return f"next: continue pretraining it on {result.prepared.tgt_lang.name} text;\n      "


def print_json(value: Any) -> None:
    """One JSON object on stdout."""
    import json

    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=1) + "\n")
