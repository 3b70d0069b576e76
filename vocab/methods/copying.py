"""Rows that are taken over: special tokens by role, ordinary tokens by their bytes."""

from __future__ import annotations

import numpy as np

from vocab.plan import Origin, TransferPlan
from vocab.tokens import AnyTokenizer, Vocabulary


def special(
    src_tokenizer: AnyTokenizer | Vocabulary, tgt_tokenizer: AnyTokenizer | Vocabulary
) -> TransferPlan:
    """Special tokens by role (bos/cls, eos/sep, pad, unk, mask, chat turns); every other row is empty.

    Every chain begins with this plan, so that no method has to think of special tokens.
    """
    src, tgt = Vocabulary.of(src_tokenizer), Vocabulary.of(tgt_tokenizer)
    _, same_role = tgt.match(src)
    rows = np.flatnonzero(same_role >= 0)
    return TransferPlan.from_entries(
        rows,
        same_role[rows],
        np.ones(len(rows)),
        Origin.SPECIAL,
        src_tokens=src.tokens,
        tgt_tokens=tgt.tokens,
        method="special",
    )


def copy(src_tokenizer: AnyTokenizer | Vocabulary, tgt_tokenizer: AnyTokenizer | Vocabulary) -> TransferPlan:
    """Tokens whose bytes in running text are equal, word-start included; special tokens by role.

    Returns
    -------
    TransferPlan
        Rows without a counterpart are empty.

    Notes
    -----
    O(n_src + n_tgt). Comparing bytes finds what comparing spellings misses between families (``Ġcafé`` as
    byte-level BPE spells it and ``▁café``) and never confuses two undecodable fragments.
    """
    src, tgt = Vocabulary.of(src_tokenizer), Vocabulary.of(tgt_tokenizer)
    same_bytes, same_role = tgt.match(src)
    found = np.maximum(same_bytes, same_role)
    rows = np.flatnonzero(found >= 0)
    return TransferPlan.from_entries(
        rows,
        found[rows],
        np.ones(len(rows)),
        np.where(same_role >= 0, np.uint8(Origin.SPECIAL), np.uint8(Origin.COPIED)),
        src_tokens=src.tokens,
        tgt_tokens=tgt.tokens,
        method="copy",
    )
