"""A word's way through the slices as a drawing (SVG)."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from html import escape

from align.compass.correspond import Moment

_LEFT, _TOP, _HEIGHT, _LINE, _PAD = 64, 64, 220, 18, 18
_LINES = (
    ("to_first", "cosine to the first", "#1b5e9b", ""),
    ("to_previous", "to the one before", "#b4451f", "6 4"),
)


def trace_svg(word: str, moments: Sequence[Moment]) -> str:
    """Draw the cosines of a trace over its slices, with counts and neighbours below.

    Parameters
    ----------
    word : str
    moments : sequence of Moment
        From :func:`align.compass.correspond.trace`.

    Returns
    -------
    str
        An SVG document, with a title and a description in words for those who do not see it.
    """
    columns = [
        [m.name, f"{m.count:,}", *(near.word for near in m.neighbors)]
        if m.neighbors
        else [m.name, f"{m.count:,}", "–"]
        for m in moments
    ]
    widths = [max(map(_width, column)) + _PAD for column in columns]
    legend = sum(_width(label) + 60 for _, label, _, _ in _LINES)
    plot = max(sum(widths), legend, 1.25 * _width(f"“{word}” slice by slice"))
    widths = [width * plot / sum(widths) for width in widths]
    middles = [_LEFT + sum(widths[:k]) + widths[k] / 2 for k in range(len(widths))]
    rows = max(map(len, columns))
    width, base = _LEFT + plot + 24, _TOP + _HEIGHT
    values = [v for m in moments for v in (m.to_first, m.to_previous) if v is not None]
    low = min([0.0, *values])

    def at(value: float) -> float:
        return base - (value - low) / (1 - low) * _HEIGHT

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="title desc" '
        f'viewBox="0 0 {width:.0f} {base + (rows + 1) * _LINE + 8:.0f}" '
        f'width="{width:.0f}" height="{base + (rows + 1) * _LINE + 8:.0f}" '
        'font-family="system-ui, sans-serif" font-size="13">',
        f'<title id="title">{_text(word)} slice by slice</title>',
        f'<desc id="desc">{_text(describe(word, moments))}</desc>',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="24" font-size="16" font-weight="600">“{_text(word)}” slice by slice</text>',
    ]
    x = float(_LEFT)
    for _, label, colour, dash in _LINES:
        parts.append(
            f'<path d="M{x:.0f} 43h28" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>'
            f'<text x="{x + 34:.0f}" y="47">{label}</text>'
        )
        x += _width(label) + 60
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0, *([low] if low < 0 else [])):
        if tick == 0 and -0.12 < low < 0:
            continue  # its label would stand on that of the least
        y = at(tick)
        parts.append(
            f'<path d="M{_LEFT} {y:.1f}h{plot:.0f}" stroke="#dddddd"/>'
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#555555">{tick:.2f}</text>'
        )
    for name, _, colour, dash in _LINES:
        points = [
            (x, at(value))
            for x, m in zip(middles, moments, strict=True)
            if (value := getattr(m, name)) is not None
        ]
        path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        if path:
            parts.append(
                f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2" '
                f'stroke-dasharray="{dash}"/>'
            )
        parts.extend(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in points)
    for x, column in zip(middles, columns, strict=True):
        for n, cell in enumerate(column):
            style = ' font-weight="600"' if n == 0 else ' fill="#555555"' if n == 1 else ""
            y = base + (n + 1) * _LINE + 4
            parts.append(f'<text x="{x:.1f}" y="{y}" text-anchor="middle"{style}>{_text(cell)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def describe(word: str, moments: Sequence[Moment]) -> str:
    """The same in words, a sentence a slice."""
    told = []
    for m in moments:
        if not m.neighbors:
            told.append(f"{m.name}: {m.count:,} occurrences, no vector.")
            continue
        cosine = "" if m.to_first is None else f", cosine {m.to_first:.2f} to the first"
        before = "" if m.to_previous is None else f", {m.to_previous:.2f} to the one before"
        near = ", ".join(n.word for n in m.neighbors)
        told.append(f"{m.name}: {m.count:,} occurrences{cosine}{before}, near {near}.")
    return f"The word {word} in {len(moments)} slices. " + " ".join(told)


def _width(text: str) -> float:
    """Pixels that a text at 13 px takes at most, about."""
    return sum(14.0 if unicodedata.east_asian_width(c) in "WF" else 8.5 for c in text)


def _text(text: str) -> str:
    """Safe in a document: escaped, without characters that XML forbids."""
    return escape("".join(c if c.isprintable() and not "\ud800" <= c <= "\udfff" else "�" for c in text))
