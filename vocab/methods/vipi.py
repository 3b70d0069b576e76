"""VIPI: rows averaged over the shortest ways to spell a token with old ones."""

from __future__ import annotations

import numpy as np

from vocab.plan import Origin, TransferPlan
from vocab.tokens import AnyTokenizer, Vocabulary


def vipi(src_tokenizer: AnyTokenizer | Vocabulary, tgt_tokenizer: AnyTokenizer | Vocabulary) -> TransferPlan:
    """Each new row is a mean over the shortest partitions into old tokens; equal bytes are copied.

    Of all ways to cut a token into tokens of the old vocabulary those of fewest pieces count, and of these
    the ones whose longest piece is longest. Every such partition weighs the same, and so does every piece in
    it. How the old tokenizer itself would cut the token does not matter, which is what sets this apart from
    :func:`vocab.methods.constituents`.

    Parameters
    ----------
    src_tokenizer, tgt_tokenizer : tokenizer or Vocabulary

    Returns
    -------
    TransferPlan
        ``COPIED``, ``SPECIAL`` and ``COMPOSED`` rows; tokens that the old vocabulary cannot spell are left
        ``EMPTY`` for a fallback (drawn from a normal distribution, as published).

    Notes
    -----
    Mosin, Samenko, Tikhonov, Kozlovskii and Yamshchikov (2021), "Fine-tuning transformers: Vocabulary
    transfer", arXiv:2112.14569: vocabulary initialisation with partial inheritance. Lengths are in bytes
    here, and tokens are compared by bytes with the space before a word.

    Partitions are counted forwards and backwards, never listed. Time: a lookup for each substring of each new
    token, two seconds for 50,000 tokens.
    """
    src, tgt = Vocabulary.of(src_tokenizer), Vocabulary.of(tgt_tokenizer)
    same_bytes, same_role = tgt.match(src)
    found = np.maximum(same_bytes, same_role)
    known = {surface: token for (surface, is_byte), token in src.index.items() if is_byte}
    known |= {surface: token for (surface, is_byte), token in src.index.items() if not is_byte}
    longest = max(map(len, known), default=0)
    rows: list[int] = []
    cols: list[int] = []
    values: list[float] = []
    for row, surface in enumerate(tgt.surfaces):
        shares = {int(found[row]): 1.0} if found[row] >= 0 else _shares(surface, known, longest)
        rows += [row] * len(shares)
        cols += shares.keys()
        values += shares.values()
    origins = np.full(len(tgt), Origin.COMPOSED, dtype=np.uint8)
    origins[same_bytes >= 0] = Origin.COPIED
    origins[same_role >= 0] = Origin.SPECIAL
    return TransferPlan.from_entries(
        rows, cols, values, origins, src_tokens=src.tokens, tgt_tokens=tgt.tokens, method="vipi"
    )


def _shares(surface: bytes, known: dict[bytes, int], longest: int) -> dict[int, float]:
    """Weights of old tokens over the shortest partitions with the longest piece; empty if there are none."""
    size = len(surface)
    edges = [
        (start, stop, token)
        for start in range(size)
        for stop in range(start + 1, min(start + longest, size) + 1)
        if (token := known.get(surface[start:stop])) is not None
    ]
    unreachable = size + 1
    before, after = [unreachable] * (size + 1), [unreachable] * (size + 1)
    before[0] = after[size] = 0
    for start, stop, _ in edges:
        before[stop] = min(before[stop], before[start] + 1)
    for start, stop, _ in reversed(edges):
        after[start] = min(after[start], after[stop] + 1)
    n_pieces = before[size]
    if not 0 < n_pieces < unreachable:
        return {}
    edges = [edge for edge in edges if before[edge[0]] + 1 + after[edge[1]] == n_pieces]
    reach = max(stop - start for start, stop, _ in edges)
    # of the text up to a place, and from it on: all shortest partitions, those without a piece of the longest
    heads, tails = [(0, 0)] * (size + 1), [(0, 0)] * (size + 1)
    heads[0] = tails[size] = (1, 1)
    for start, stop, _ in edges:
        heads[stop] = _added(heads[stop], heads[start], stop - start < reach)
    for start, stop, _ in reversed(edges):
        tails[start] = _added(tails[start], tails[stop], stop - start < reach)
    total = n_pieces * (heads[size][0] - heads[size][1])
    shares: dict[int, float] = {}
    for start, stop, token in edges:
        count = heads[start][0] * tails[stop][0]
        if stop - start < reach:
            count -= heads[start][1] * tails[stop][1]
        if count:
            shares[token] = shares.get(token, 0.0) + count / total
    return shares


def _added(counts: tuple[int, int], more: tuple[int, int], is_shorter: bool) -> tuple[int, int]:
    return counts[0] + more[0], counts[1] + (more[1] if is_shorter else 0)
