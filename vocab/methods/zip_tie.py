"""Zip-tie initialisation: new rows from the finest pieces that the old vocabulary has."""

from __future__ import annotations

import numpy as np

from vocab.plan import Origin, TransferPlan
from vocab.tokens import AnyTokenizer, Vocabulary


def zip_tie(
    src_tokenizer: AnyTokenizer | Vocabulary, tgt_tokenizer: AnyTokenizer | Vocabulary
) -> TransferPlan:
    """Each new row is the mean of the old rows of its characters and bytes; equal bytes are copied.

    A character that is an old token stands for itself, another one for its bytes as far as these are tokens.
    The space before a word belongs to its first character where the old vocabulary has the two together.

    Parameters
    ----------
    src_tokenizer, tgt_tokenizer : tokenizer or Vocabulary

    Returns
    -------
    TransferPlan
        ``COPIED``, ``SPECIAL`` and ``COMPOSED`` rows; tokens of which no character and no byte is an old
        token are left ``EMPTY`` for a fallback.

    Notes
    -----
    Chen and Li (2024), "Bailong: Bilingual transfer learning based on QLoRA and zip-tie embedding",
    arXiv:2404.00862, rebuilt from its abstract and from a published summary, which says that new Traditional
    Chinese tokens of a tied Llama 2 start from "their byte-level counterparts" in the old vocabulary. What
    these do not say is assumed here: the mean is unweighted; rows of tokens that both vocabularies have are
    kept; the head's rows are tied to the input's, that is, made with the same weights; and a character
    that is a token counts as one, which for Llama 2 is how its own tokenizer falls back to bytes. Word
    pieces longer than a character are not used: see :func:`vocab.methods.constituents` for these.

    Half a second for 50,000 tokens.
    """
    src, tgt = Vocabulary.of(src_tokenizer), Vocabulary.of(tgt_tokenizer)
    same_bytes, same_role = tgt.match(src)
    found = np.maximum(same_bytes, same_role)
    rows: list[int] = []
    cols: list[int] = []
    values: list[float] = []
    for row, surface in enumerate(tgt.surfaces):
        units = [int(found[row])] if found[row] >= 0 else _units(src, surface)
        rows += [row] * len(units)
        cols += units
        values += [1 / len(units)] * len(units) if units else []
    origins = np.full(len(tgt), Origin.COMPOSED, dtype=np.uint8)
    origins[same_bytes >= 0] = Origin.COPIED
    origins[same_role >= 0] = Origin.SPECIAL
    return TransferPlan.from_entries(
        rows, cols, values, origins, src_tokens=src.tokens, tgt_tokens=tgt.tokens, method="zip-tie"
    )


def _units(src: Vocabulary, surface: bytes) -> list[int]:
    text = surface.decode("utf-8", "surrogateescape")
    chars = [char.encode("utf-8", "surrogateescape") for char in text]
    units: list[int] = []
    if len(chars) > 1 and chars[0] == b" ":
        first = src.find(b" " + chars[1])
        if first is not None:
            units, chars = [first], chars[2:]
    for char in chars:
        whole = src.find(char)
        spelled = [src.find(char[i : i + 1]) for i in range(len(char))] if whole is None else [whole]
        units += [unit for unit in spelled if unit is not None]
    return units
