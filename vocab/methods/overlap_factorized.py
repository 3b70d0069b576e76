"""Lexical overlap and a draw in a factorised space."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from align.errors import UsageError
from vocab.methods.copying import copy
from vocab.plan import Origin, TransferPlan
from vocab.plan.sampling import Sampling
from vocab.tokens import AnyTokenizer, Vocabulary


def overlap_factorized(
    src_tokenizer: AnyTokenizer | Vocabulary,
    tgt_tokenizer: AnyTokenizer | Vocabulary,
    *,
    rank: int = 100,
    seed: int = 0,
) -> TransferPlan:
    """Copy the tokens that both have; draw each other row in a factorisation ``E = mean + F G`` of rank k.

    A new row is ``mean + f G`` with `f` drawn with the mean and the covariance of the old rows' coordinates
    ``F``. So it differs from the mean along the `rank` directions alone in which old rows differ most.

    Parameters
    ----------
    src_tokenizer, tgt_tokenizer : tokenizer or Vocabulary
    rank : int
        Width of F, 100 as published; of a narrower matrix, its own.
    seed : int
        Of the draws.

    Returns
    -------
    TransferPlan
        Rows are ``COPIED`` (equal bytes), ``SPECIAL`` or ``SAMPLED``; none is empty.

    Raises
    ------
    UsageError
        For a rank below 1.

    Notes
    -----
    Pfeiffer, Vulic, Gurevych and Ruder (2021), "UNKs everywhere: Adapting multilingual language models to new
    scripts", arXiv:2012.15562: the single factorisation with initialisation by lexical overlap. There G
    stays frozen while the new F is trained. Here the plan only starts the rows, so three things differ: the
    factorisation is that of principal components (of least error, by eigenvectors) instead of a
    semi-non-negative one; rows that are copied are copied whole instead of as ``f G``; and `f` has the
    spread of F, where a draw of another spread would have to be trained away first.

    The plan is made as fast as a copy; applying it costs ``n_src * dim**2 + dim**3`` operations.
    """
    if rank < 1:
        raise UsageError("the rank must be positive", got=rank)
    plan = copy(src_tokenizer, tgt_tokenizer)
    return replace(
        plan,
        origins=np.where(plan.origins == Origin.EMPTY, np.uint8(Origin.SAMPLED), plan.origins),
        method="overlap-factorized",
        options={"overlap-factorized": {"rank": rank, "seed": seed}},
        sampling=Sampling(kind="multivariate", rank=rank, seed=seed),
    )
