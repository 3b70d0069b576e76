"""TokAlign: each new token takes over the old token that stands among the same tokens.

Li, Zhang and Zong (2025), "TokAlign: Efficient vocabulary adaptation via token alignment", ACL,
arXiv:2506.03523, section 3.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from align.errors import InputError, UsageError
from align.glove import Glove, train_glove
from align.neighbors import csls, top_k
from align.normalize import unit
from vocab.methods.overlap import Overlap, overlap
from vocab.plan import Origin, TransferPlan
from vocab.tokens import AnyTokenizer, Vocabulary

Similarity = Literal["inner", "csls"]


def tokalign(
    src_tokenizer: AnyTokenizer | Vocabulary,
    tgt_tokenizer: AnyTokenizer | Vocabulary,
    *,
    texts: Iterable[str],
    n_pivots: int = 300,
    similarity: Similarity = "inner",
    dim: int = 300,
    window: int = 15,
    epochs: int = 15,
    min_count: int = 5,
    seed: int = 0,
) -> TransferPlan:
    """Copy the tokens that both have; each other one takes over one old row, the likest in its company.

    Both tokenizers read the same text and GloVe gives the tokens of each vectors. A token is then described
    by its cosines to pivots, tokens that both have, and takes the old token with the likest description.

    Parameters
    ----------
    src_tokenizer, tgt_tokenizer : tokenizer or Vocabulary
    texts : iterable of str
        Lines; the more languages of the model among them, the more old tokens are known.
    n_pivots : int
        Drawn among the shared tokens with vectors on both sides; all of them if they are fewer.
    similarity : {"inner", "csls"}
        Of descriptions. The published inner product favours old tokens with a large cosine to every pivot:
        in 30,782 sentences 456 of them took 10,449 new tokens, one of them 2,254. ``"csls"`` subtracts the
        mean vector of each side first and scales by how near its neighbours a description is. Then 1,627 took
        them, and of 1,000 shared tokens left out of the pivots 58 found themselves instead of 2; but the
        retrieval benchmark's development set did not gain.
    dim, window, epochs, min_count
        Of GloVe; the defaults of all numbers are the published ones.
    seed : int
        Of GloVe and of the draw.

    Returns
    -------
    TransferPlan
        ``COPIED``, ``SPECIAL`` and ``MAPPED`` rows. Tokens rarer than `min_count` are empty.

    Raises
    ------
    UsageError
        For an unknown similarity, or numbers that are not positive.
    InputError
        If the text has no token.

    Warns
    -----
    UserWarning
        If there is no pivot: then nothing is mapped.

    Notes
    -----
    Time mostly GloVe's, see :func:`align.glove.train_glove`; then ``2 n_tgt n_src n_pivots`` operations, in
    blocks. The same bits for any number of threads.

    The authors' code differs in that tokens are the same where their strings are, special tokens may serve as
    pivots and be mapped to (all but ``<unk>``), a token without a vector takes a random row, and the product
    of all descriptions is held at once.
    """
    if n_pivots < 1:
        raise UsageError("tokalign needs pivots", got=n_pivots, wanted="1 or more")
    if similarity not in get_args(Similarity):
        raise UsageError("unknown similarity", got=similarity, wanted=" or ".join(get_args(Similarity)))
    src, tgt = Vocabulary.of(src_tokenizer), Vocabulary.of(tgt_tokenizer)
    lines = list(texts)
    taken = overlap(src, tgt)
    sides: list[Glove] = []
    for vocabulary in (src, tgt):
        ids = vocabulary.encode(lines)
        if not any(ids):
            raise InputError("tokalign found no token in the text", hint="pass --corpus FILE")
        sides.append(
            train_glove(
                ids, len(vocabulary), dim=dim, window=window, epochs=epochs, min_count=min_count, seed=seed
            )
        )
    return _tokalign(src, tgt, taken, sides[0], sides[1], n_pivots, similarity, seed)


def _tokalign(
    src: Vocabulary,
    tgt: Vocabulary,
    taken: Overlap,
    old: Glove,
    new: Glove,
    n_pivots: int,
    similarity: Similarity,
    seed: int,
) -> TransferPlan:
    shared = np.flatnonzero(taken.ordinary & new.known)
    shared = shared[old.known[taken.found[shared]]]
    candidates = np.flatnonzero(old.known & ~src.special)
    wanted = np.flatnonzero(taken.new & new.known & ~tgt.special)
    if not len(shared):
        warnings.warn("tokalign found no shared token with vectors: no new token is mapped", stacklevel=3)
        wanted = wanted[:0]
    pivots = np.sort(np.random.default_rng(seed).permutation(shared)[:n_pivots])
    mapped = np.zeros(0, np.int64)
    if len(wanted):
        centre = similarity == "csls"
        queries = _described(new, wanted, pivots, centre=centre)
        rivals = _described(old, candidates, taken.found[pivots], centre=centre)
        if similarity == "csls":
            found = csls(queries, rivals, 1)
        else:
            found = top_k(queries, rivals, 1, metric="inner")
        mapped = candidates[found.indices[:, 0]]
    copies = np.flatnonzero(~taken.new)
    rows = np.concatenate([copies, wanted])
    return TransferPlan.from_entries(
        rows,
        np.concatenate([taken.found[copies], mapped]),
        np.ones(len(rows)),
        np.where(taken.new, np.uint8(Origin.MAPPED), taken.origins),
        src_tokens=src.tokens,
        tgt_tokens=tgt.tokens,
        method="tokalign",
        options={"pivots": len(pivots), "similarity": similarity, "dim": new.matrix.shape[1]},
    )


def _described(
    glove: Glove, rows: NDArray[np.int64], pivots: NDArray[np.int64], *, centre: bool
) -> NDArray[np.float32]:
    """Cosines of rows to pivots."""
    matrix = glove.matrix
    if centre:
        matrix = matrix - matrix[glove.known].mean(axis=0)
    with threadpool_limits(1, user_api="blas"):  # a product's last bit may depend on the number of threads
        return unit(matrix[rows]) @ unit(matrix[pivots]).T
