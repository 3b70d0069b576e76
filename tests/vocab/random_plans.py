"""Plans with rows of every origin, drawn at random."""

from __future__ import annotations

import numpy as np

from vocab.plan import Origin, TransferPlan
from vocab.plan.sampling import Sampling

WHOLE = (Origin.COPIED, Origin.MAPPED, Origin.SPECIAL)
SUMS = (Origin.MIXED, Origin.COMPOSED)


def names(prefix: str, n: int) -> tuple[str, ...]:
    return tuple(f"{prefix}{i}" for i in range(n))


def random_plan(
    seed: int,
    *,
    src: tuple[str, ...] = names("s", 9),
    tgt: tuple[str, ...] = names("t", 12),
    origins: tuple[Origin, ...] = tuple(Origin),
    sampling: Sampling = Sampling(seed=5),  # noqa: B008 - frozen
) -> TransferPlan:
    """Every origin of `origins` is drawn; sums have one to four signed weights."""
    rng = np.random.default_rng(seed)
    kinds = rng.choice(np.array(origins, np.uint8), size=len(tgt))
    rows: list[int] = []
    cols: list[int] = []
    values: list[float] = []
    for i, kind in enumerate(kinds):
        n = 1 if kind in WHOLE else int(rng.integers(1, min(4, len(src)) + 1)) if kind in SUMS else 0
        rows += [i] * n
        cols += rng.choice(len(src), size=n, replace=False).tolist()
        values += [1.0] if kind in WHOLE else (rng.uniform(0.1, 1, n) * rng.choice([1, 1, -1], n)).tolist()
    plan = TransferPlan.from_entries(
        rows, cols, values, kinds, src_tokens=src, tgt_tokens=tgt, method=f"random{seed}"
    )
    drawn = kinds == Origin.SAMPLED
    return TransferPlan(
        weights=plan.weights,
        origins=np.where(drawn, kinds, plan.origins),
        method=plan.method,
        options=plan.options,
        src_tokens=src,
        tgt_tokens=tgt,
        sampling=sampling if drawn.any() else None,
    )


def identity(tokens: tuple[str, ...]) -> TransferPlan:
    n = len(tokens)
    return TransferPlan.from_entries(
        range(n),
        range(n),
        np.ones(n),
        Origin.COPIED,
        src_tokens=tokens,
        tgt_tokens=tokens,
        method="identity",
    )


def same_plan(a: TransferPlan, b: TransferPlan) -> None:
    """Assert that two plans make the same rows to the bit, whatever they call their method."""
    np.testing.assert_array_equal(a.origins, b.origins)
    np.testing.assert_array_equal(a.weights.indptr, b.weights.indptr)
    np.testing.assert_array_equal(a.weights.indices, b.weights.indices)
    np.testing.assert_array_equal(a.weights.data, b.weights.data)
    assert len(a.low_rank) == len(b.low_rank)
    for ours, theirs in zip(a.low_rank, b.low_rank, strict=True):
        assert ours.same_as(theirs)
    drawn = a.origins == Origin.SAMPLED
    np.testing.assert_array_equal(a.sample_keys[drawn], b.sample_keys[drawn])
    if drawn.any():
        assert a.sampling == b.sampling
    assert (a.src_tokens, a.tgt_tokens, a.norm) == (b.src_tokens, b.tgt_tokens, b.norm)
    assert a.head_norm == b.head_norm
    assert (a.scripts is None) == (b.scripts is None)
    for ours, theirs in zip(a.scripts or (), b.scripts or (), strict=True):
        np.testing.assert_array_equal(ours, theirs)
