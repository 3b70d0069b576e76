"""Which two tokens a BPE tokenizer joins to make each of its tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def merge_parts(model: Mapping[str, Any]) -> Callable[[str], tuple[str, ...]]:
    """The two parts of a token's last merge, as the tokenizer makes it from its own characters.

    Many tokens have one merge. Models that come from SentencePiece list every way to cut a token in two, so
    that only applying the merges shows which is taken.

    Parameters
    ----------
    model : mapping
        The ``model`` section of a tokenizer.json of type BPE.

    Returns
    -------
    callable
        From a token to its parts; none for characters, and for tokens that no merge makes.

    Notes
    -----
    One pass over the merges, then O(length**2) for each token that has several.
    """
    ranks: dict[tuple[str, str], int] = {}
    first: dict[str, tuple[str, str]] = {}
    several: set[str] = set()
    for left, right in model["merges"]:
        token = left + right
        ranks.setdefault((left, right), len(ranks))
        if token in first:
            several.add(token)
        else:
            first[token] = (left, right)

    def parts(token: str) -> tuple[str, ...]:
        if token not in several:
            return first.get(token, ())
        return last_merge(token, ranks) or first[token]

    return parts


def last_merge(token: str, ranks: Mapping[tuple[str, str], int]) -> tuple[str, str] | None:
    """Apply merges to a token's characters, lowest rank first; the pair that makes it whole, if one does."""
    symbols = list(token)
    while len(symbols) > 1:
        rank, at = min(
            (ranks.get((symbols[i], symbols[i + 1]), len(ranks)), i) for i in range(len(symbols) - 1)
        )
        if rank == len(ranks):
            return None
        if len(symbols) == 2:
            return symbols[0], symbols[1]
        symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]
    return None
