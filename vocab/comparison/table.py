"""A comparison as a table: aligned text, tab-separated values, Markdown, or JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from vocab.comparison.results import ORDERS, Comparison, MethodResult
from vocab.plan.rows import OriginShare

Layout = Literal["text", "tsv", "md"]

_GROUPS = (("copied", "special"), ("mapped", "mixed", "composed"), ("sampled",))


@dataclass(frozen=True)
class _Column:
    """A figure: its name in files, its heading for people ("": not there), how it is read and shown."""

    name: str
    heading: str
    read: Callable[[MethodResult], float | str | None]
    digits: int = 3


def _share(group: int, of: Callable[[OriginShare], float | None]) -> Callable[[MethodResult], float | None]:
    def read(result: MethodResult) -> float | None:
        if not result.origins or any(of(share) is None for share in result.origins):
            return None
        return sum(of(share) or 0.0 for share in result.origins if share.origin in _GROUPS[group])

    return read


def _of_retrieval(figure: str) -> Callable[[MethodResult], float | None]:
    return lambda result: None if result.retrieval is None else getattr(result.retrieval, figure)


def _of_recreated(side: str, figure: str) -> Callable[[MethodResult], float | None]:
    def read(result: MethodResult) -> float | None:
        closeness = None if result.recreated is None else getattr(result.recreated, side)
        return None if closeness is None else float(getattr(closeness, figure))

    return read


def _shares(of: Callable[[OriginShare], float | None]) -> Callable[[MethodResult], str | None]:
    """Percentages of the three groups."""
    reads = [_share(group, of) for group in range(len(_GROUPS))]

    def read(result: MethodResult) -> str | None:
        shares = [one(result) for one in reads]
        return None if None in shares else "/".join(f"{100 * (share or 0):.0f}" for share in shares)

    return read


_COLUMNS = (
    _Column("method", "method", lambda result: result.method),
    _Column("", "rows %", _shares(lambda share: share.row_share)),
    _Column("", "text %", _shares(lambda share: share.text_share)),
    _Column("rows_taken_over", "", _share(0, lambda share: share.row_share)),
    _Column("rows_made", "", _share(1, lambda share: share.row_share)),
    _Column("rows_drawn", "", _share(2, lambda share: share.row_share)),
    _Column("text_taken_over", "", _share(0, lambda share: share.text_share)),
    _Column("text_made", "", _share(1, lambda share: share.text_share)),
    _Column("text_drawn", "", _share(2, lambda share: share.text_share)),
    _Column("recreated_cosine", "recreated cos", _of_recreated("input", "cosine")),
    _Column("recreated_centred", "centred", _of_recreated("input", "centred")),
    _Column("recreated_p_at_1", "P@1", _of_recreated("input", "p_at_1")),
    _Column("head_recreated_cosine", "head cos", _of_recreated("head", "cosine")),
    _Column("head_recreated_centred", "centred", _of_recreated("head", "centred")),
    _Column("head_recreated_p_at_1", "P@1", _of_recreated("head", "p_at_1")),
    _Column("tgt_to_src", "tgt>src", _of_retrieval("tgt_to_src")),
    _Column("src_to_tgt", "src>tgt", _of_retrieval("src_to_tgt")),
    _Column("mrr", "MRR", _of_retrieval("mrr")),
    _Column(
        "bits_per_byte",
        "bits/byte",
        lambda result: None if result.bits_per_byte is None else result.bits_per_byte.bits_per_byte,
    ),
    _Column("time_s", "s", lambda result: result.time_s, 1),
    _Column("peak_mib", "MiB", lambda result: result.peak_mib, 0),
    _Column("note", "note", lambda result: " ".join(result.note.split()) or None),
)


def formatted(results: Sequence[MethodResult], layout: Layout = "text") -> str:
    """A table of results, without the columns that no result has a figure for.

    In files (``tsv``) shares and seconds have all their digits.
    """
    rows = [[column.read(result) for column in _COLUMNS] for result in results]
    shown = [
        i
        for i, column in enumerate(_COLUMNS)
        if (column.name if layout == "tsv" else column.heading) and any(row[i] is not None for row in rows)
    ]
    columns = [_COLUMNS[i] for i in shown]
    if layout == "tsv":
        lines = [[column.name for column in columns]]
        lines += [["" if row[i] is None else str(row[i]) for i in shown] for row in rows]
        return "".join("\t".join(line) + "\n" for line in lines)
    cells = [[column.heading for column in columns]]
    cells += [[_cell(column, row[i]) for i, column in zip(shown, columns, strict=True)] for row in rows]
    if layout == "md":
        cells.insert(1, ["---", *["---:" for _ in columns[1:]]])
        return "".join(
            "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in cells
        )
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    left = [column.name in ("method", "note") for column in columns]
    lines = [
        [
            cell.ljust(width) if is_left else cell.rjust(width)
            for cell, width, is_left in zip(line, widths, left, strict=True)
        ]
        for line in cells
    ]
    return "".join("  ".join(line).rstrip() + "\n" for line in lines)


def _cell(column: _Column, value: float | str | None) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{value:.{column.digits}f}"


def explained(comparison: Comparison) -> list[str]:
    """What a reader of the table must know, a line each."""
    facts = comparison.facts
    lines = [
        f"{facts['source']} ({facts['src_vocabulary']:,} tokens) to {facts['target']} "
        f"({facts['tgt_vocabulary']:,} tokens); measured on {facts['evaluation']}, before any training",
        f"ordered by {comparison.ordered_by}, {ORDERS[comparison.ordered_by]}",
        "rows and text: taken over from equal tokens / made of old rows / drawn, in percent",
    ]
    if "deleted_tokens" in facts:
        mean_row = facts["deleted_mean_row"].input
        lines.append(
            f"recreated: {facts['deleted_tokens']:,} tokens deleted from the source and made again; cosine "
            f"to the true rows (the mean of all rows has {mean_row.cosine:.3f}), the same without what all "
            f"rows share (centred; {mean_row.centred:.3f}), and how often the true row is the nearest (P@1)"
        )
    lines += [f"{what} not measured: {why}" for what, why in facts.get("not_measured", {}).items()]
    if "bits per byte" not in facts.get("not_measured", {}):
        lines.append(
            f"bits per byte of {facts['scored_bytes']:,} bytes; before training they rank methods poorly: "
            "rows that make a model say all tokens equally often score well and train badly"
        )
    vectors_s = facts["seconds"].get("train word vectors")
    shared = (
        "" if vectors_s is None else f"; {vectors_s:.0f} s of training word vectors, once for all, not in it"
    )
    lines.append(
        "s and MiB: to make the plan and apply it, and what memory that took beyond what the process held "
        f"(peak resident set){shared}"
    )
    names: dict[str, list[str]] = {}
    for method, why in comparison.left_out:
        names.setdefault(why, []).append(method)
    lines += [f"left out: {', '.join(methods)}: {why}" for why, methods in names.items()]
    return lines


def one_line(result: MethodResult) -> str:
    """A result as soon as there is one: its most telling figures."""
    if result.failed:
        return f"{result.method}: {result.note}"
    said = []
    if result.retrieval is not None:
        said.append(f"MRR {result.retrieval.mrr:.3f}")
    if result.recreated is not None:
        said.append(f"recreated {result.recreated.input.centred:.3f} (centred)")
    if result.bits_per_byte is not None:
        said.append(f"{result.bits_per_byte.bits_per_byte:.3f} bits/byte")
    if result.time_s is not None:
        said.append(f"{result.time_s:.1f} s")
    return f"{result.method}: {', '.join(said) or 'nothing to measure'}"


def as_json(comparison: Comparison) -> dict[str, Any]:
    """The comparison for JSON: every figure with all its digits."""
    return {
        "ordered_by": comparison.ordered_by,
        "facts": {
            name: asdict(value) if name == "deleted_mean_row" else value
            for name, value in comparison.facts.items()
        },
        "results": [{**asdict(result), "time_s": result.time_s} for result in comparison.results],
        "left_out": [{"method": method, "why": why} for method, why in comparison.left_out],
        "decisions": [str(decision) for decision in comparison.decisions],
    }
