"""Rows that know nothing of their token: the mean of the old rows, or a draw around it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import scipy.sparse as sp

from vocab.methods.copying import copy
from vocab.plan import Origin, TransferPlan
from vocab.plan.sampling import Kind, Sampling
from vocab.tokens import AnyTokenizer, Vocabulary
from vocab.tokens.scripts import script_classes


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


def hf(
    src_tokenizer: AnyTokenizer | Vocabulary, tgt_tokenizer: AnyTokenizer | Vocabulary, *, seed: int = 0
) -> TransferPlan:
    """Every row is drawn from N(mean, 1e-9 * covariance), as transformers' ``resize_token_embeddings`` does.

    Rows differ in their last digits only. The noise is not that of a run of transformers.
    """
    return _sampled(src_tokenizer, tgt_tokenizer, "hf", "multivariate", 1e-9**0.5, seed, {"seed": seed})


def random(
    src_tokenizer: AnyTokenizer | Vocabulary,
    tgt_tokenizer: AnyTokenizer | Vocabulary,
    *,
    initializer_range: float = 0.02,
    seed: int = 0,
) -> TransferPlan:
    """Every row is drawn from N(0, initializer_range**2), as for a model that was never trained."""
    options = {"initializer_range": initializer_range, "seed": seed}
    return _sampled(src_tokenizer, tgt_tokenizer, "random", "isotropic", initializer_range, seed, options)


def script(
    src_tokenizer: AnyTokenizer | Vocabulary,
    tgt_tokenizer: AnyTokenizer | Vocabulary,
    *,
    positions: bool = True,
    seed: int = 0,
) -> TransferPlan:
    """Each new row is drawn from N(mean, std**2) of the old tokens of its script; shared ones are copied.

    A token's script is that of most of its characters; fragments of characters are a script of their own.
    Where fewer than two old tokens have it in this position, those of the other position stand in, and
    all old tokens where there are none of the script.

    Parameters
    ----------
    positions : bool
        Tell tokens that begin a word from those that do not.
    seed : int
        Of the draws.

    Returns
    -------
    TransferPlan
        Rows are ``COPIED`` (equal bytes), ``SPECIAL`` or ``SAMPLED``; none is empty.

    Notes
    -----
    Downey et al. (2023), "Embedding Structure Matters", arXiv:2309.04679, section 3 (script, position and
    identity). Scripts are told by the first word of a character's Unicode name, which the standard library
    has, instead of the Unicode table of scripts; all but letters and marks are one script (``COMMON``).
    """
    src, tgt = Vocabulary.of(src_tokenizer), Vocabulary.of(tgt_tokenizer)
    copied = copy(src, tgt)
    src_classes, tgt_classes = (script_classes(side, positions=positions) for side in (src, tgt))
    sizes = Counter(entry for entry in src_classes if entry is not None)
    group_of = {entry: i for i, entry in enumerate(sorted(e for e, size in sizes.items() if size > 1))}
    groups = [
        -1 if entry is None else group_of.get(entry, group_of.get((entry[0], not entry[1]), -1))
        for entry in tgt_classes
    ]
    return TransferPlan(
        weights=copied.weights,
        origins=np.where(copied.origins == Origin.EMPTY, np.uint8(Origin.SAMPLED), copied.origins),
        method="script",
        options={"script": {"positions": positions, "seed": seed}},
        src_tokens=src.tokens,
        tgt_tokens=tgt.tokens,
        sampling=Sampling(kind="normal", seed=seed),
        sample_groups=np.array(groups, np.int32),
        src_groups=np.array([-1 if e is None else group_of.get(e, -1) for e in src_classes], np.int32),
    )


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
