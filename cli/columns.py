"""Tables as plain lines, the same on a terminal and in a file."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich.cells import cell_len


def columns(rows: Sequence[Sequence[str]], *, numbers: Collection[int] = ()) -> list[str]:
    """Lines with the cells of `rows` below each other; no cell is folded.

    Parameters
    ----------
    rows : sequence of sequences of str
        The header among them; all of one length.
    numbers : collection of int
        Columns that are set to the right.
    """
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = []
        for i, (cell, width) in enumerate(zip(row, widths, strict=True)):
            room = " " * (width - cell_len(cell))
            cells.append(room + cell if i in numbers else cell + room)
        lines.append("  ".join(cells).rstrip())
    return lines
