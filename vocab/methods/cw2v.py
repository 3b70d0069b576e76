"""Constrained Word2Vec: new tokens as convex mixtures of old ones that predict their neighbours in text.

Mundra et al. (2024), "An empirical comparison of vocabulary expansion and initialization approaches for
language models", CoNLL, arXiv:2407.05841.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any, Literal, get_args

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from align.convex_skipgram import fit_convex_skipgram
from align.cooccurrence import cooccurrence, flat_lines
from align.errors import InputError, UsageError
from vocab.methods.overlap import overlap
from vocab.plan import Origin, TransferPlan
from vocab.tokens import AnyTokenizer, Vocabulary

Anchors = Literal["shared", "all"]


def cw2v(
    src_tokenizer: AnyTokenizer | Vocabulary,
    tgt_tokenizer: AnyTokenizer | Vocabulary,
    *,
    src_matrix: NDArray[Any],
    texts: Iterable[str],
    anchors: Anchors = "shared",
    window: int = 5,
    n_negatives: int = 5,
    rank: int = 64,
    epochs: int = 20,
    learning_rate: float = 0.05,
    standardize: bool = True,
    top: int = 32,
    seed: int = 0,
) -> TransferPlan:
    """Copy the tokens that both have; mix each other one so that it predicts its neighbours, by skip-gram.

    A new row is ``softmax(a B) @ anchors``, a convex combination, where *a* is the token's own and *B* is
    shared. Old rows stay as they are and serve as neighbours too.

    Parameters
    ----------
    src_tokenizer, tgt_tokenizer : tokenizer or Vocabulary
    src_matrix : ndarray, shape (>= n_src, dim)
        Old input embeddings, whose inner products the text is to agree with.
    texts : iterable of str
        Lines in the target language.
    anchors : {"shared", "all"}
        Mix the copied tokens only (as published for RoBERTa), or all old tokens (as for Llama 2), which costs
        as many times more as there are more of them.
    window, n_negatives : int
        Neighbours on each side and negatives a neighbour, as published.
    rank : int
        Of the weights before the softmax (published: 1,024).
    epochs, learning_rate
        Steps of Adam over the whole text (published: 5 passes of thousands of steps at 0.0003).
    standardize : bool
        See :func:`align.convex_skipgram.fit_convex_skipgram`; false for raw inner products, as published.
    top : int
        Old tokens kept in a row, the heaviest, with weights that sum to 1.
    seed : int
        Of the negatives.

    Returns
    -------
    TransferPlan
        ``COPIED``, ``SPECIAL`` and ``MIXED`` rows; tokens that the text does not have are empty. The options
        tell the loss before and after, and the mean weight that the kept old tokens had of all (``kept``).

    Raises
    ------
    UsageError
        For an unknown choice of anchors or numbers that are not positive.
    InputError
        If the text has no token, or the matrix has too few rows or numbers that are not finite.

    Warns
    -----
    UserWarning
        If no token of the text is shared: then nothing is mixed.

    Notes
    -----
    Time and memory: :func:`align.convex_skipgram.fit_convex_skipgram`. The same bits for any number of
    threads.

    The authors' code makes the weights of all new tokens over all old ones at every step (4 GB and as much
    again for gradients at 31,000 by 32,000). Here a step is one pass over the text in blocks, with exact
    gradients for all neighbours instead of sampled pairs. It also starts both factors at random, which leaves
    each new token at some few old ones, puts the sum of a pair's negatives in one logistic function, and
    leaves out most places of frequent tokens (here they count by the root of their frequency). Its text is
    code-mixed: words exchanged for their translations; here it is the target text alone. An untied head has
    weights of its own there, and those of the input here.
    """
    if anchors not in get_args(Anchors):
        raise UsageError("unknown anchors", got=anchors, wanted=" or ".join(get_args(Anchors)))
    src, tgt = Vocabulary.of(src_tokenizer), Vocabulary.of(tgt_tokenizer)
    if src_matrix.ndim != 2 or len(src_matrix) < len(src):
        raise InputError(
            "the old matrix has fewer rows than the source vocabulary",
            got=src_matrix.shape,
            wanted=f"({len(src)} or more, dim)",
        )
    ids, offsets = flat_lines(tgt.encode(list(texts)))
    if not len(ids):
        raise InputError("cw2v found no token in the text", hint="pass --corpus FILE")
    taken = overlap(src, tgt)
    seen = np.bincount(ids, minlength=len(tgt)) > 0
    mixed = np.unique(taken.found[taken.ordinary]) if anchors == "shared" else np.flatnonzero(~src.special)
    if not (taken.ordinary & seen).any():
        warnings.warn("cw2v found no shared token in the text: no new token can be mixed", stacklevel=2)
        mixed = mixed[:0]
    number = np.full(len(src), -1)
    number[mixed] = np.arange(len(mixed))
    anchor_of = np.where(taken.ordinary, number[taken.found], -1)
    # special tokens, and those whose rows are taken over without being anchors, are no neighbours
    is_neighbour = (taken.new & ~tgt.special) | (anchor_of >= 0)
    kept = is_neighbour[ids]
    offsets = np.concatenate(([0], np.cumsum(kept)))[offsets]
    fit = fit_convex_skipgram(
        cooccurrence(ids[kept], offsets, len(tgt), window=window, decay=False),
        np.bincount(ids[kept], minlength=len(tgt)).astype(np.float64),
        src_matrix[mixed],
        anchor_of,
        rank=rank,
        n_negatives=n_negatives,
        epochs=epochs,
        learning_rate=learning_rate,
        standardize=standardize,
        top=top,
        seed=seed,
    )
    found = sp.coo_array(fit.weights)
    copies = np.flatnonzero(~taken.new)
    return TransferPlan.from_entries(
        np.concatenate([copies, found.row]),
        np.concatenate([taken.found[copies], mixed[found.col]]),
        np.concatenate([np.ones(len(copies)), found.data]),
        np.where(taken.new, np.uint8(Origin.MIXED), taken.origins),
        src_tokens=src.tokens,
        tgt_tokens=tgt.tokens,
        method="cw2v",
        options={
            "anchors": anchors,
            "n_anchors": len(mixed),
            "rank": rank,
            "epochs": epochs,
            "top": top,
            "kept": round(fit.mass_kept, 4),
            "loss": [round(loss, 4) for loss in (*fit.history[:1], *fit.history[-1:])],
            "converged": fit.converged,
        },
    )
