"""Rows that know nothing of their token: the mean of the old rows, or a draw around it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import scipy.sparse as sp

from vocab.plan import Origin, TransferPlan
from vocab.sampling import Kind, Sampling
from vocab.tokens import AnyTokenizer, Vocabulary


def mean(
    src_tokenizer: AnyTokenizer | Vocabulary,
    tgt_tokenizer: AnyTokenizer | Vocabulary,
    *,
    noise: float = 0.0,
    seed: int = 0,
) -> TransferPlan:
    """Every row is the mean of the old rows.

    Parameters
    ----------
    noise : float
        Standard deviations of independent noise, so that rows do not start identical.
    """
    return _sampled(
        src_tokenizer, tgt_tokenizer, "mean", "normal", noise, seed, {"noise": noise, "seed": seed}
    )


def normal(
    src_tokenizer: AnyTokenizer | Vocabulary,
    tgt_tokenizer: AnyTokenizer | Vocabulary,
    *,
    scale: float = 1.0,
    seed: int = 0,
) -> TransferPlan:
    """Every row is drawn from N(mean, (scale * std)**2) with independent dimensions."""
    return _sampled(
        src_tokenizer, tgt_tokenizer, "normal", "normal", scale, seed, {"scale": scale, "seed": seed}
    )


def multivariate(
    src_tokenizer: AnyTokenizer | Vocabulary,
    tgt_tokenizer: AnyTokenizer | Vocabulary,
    *,
    scale: float = 1.0,
    seed: int = 0,
) -> TransferPlan:
    """Every row is drawn from N(mean, scale**2 * covariance) of the old rows (Hewitt 2021)."""
    options = {"scale": scale, "seed": seed}
    return _sampled(src_tokenizer, tgt_tokenizer, "multivariate", "multivariate", scale, seed, options)


def _sampled(
    src_tokenizer: AnyTokenizer | Vocabulary,
    tgt_tokenizer: AnyTokenizer | Vocabulary,
    method: str,
    kind: Kind,
    scale: float,
    seed: int,
    options: Mapping[str, float],
) -> TransferPlan:
    src, tgt = Vocabulary.of(src_tokenizer), Vocabulary.of(tgt_tokenizer)
    return TransferPlan(
        weights=sp.csr_array((len(tgt), len(src)), dtype=np.float32),
        origins=np.full(len(tgt), Origin.SAMPLED, dtype=np.uint8),
        method=method,
        options={method: dict(options)},
        src_tokens=src.tokens,
        tgt_tokens=tgt.tokens,
        sampling=Sampling(kind=kind, scale=scale, seed=seed),
    )
