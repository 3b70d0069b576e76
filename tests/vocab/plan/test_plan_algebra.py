from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from align.errors import InputError
from tests.vocab.random_plans import SUMS, WHOLE, identity, names, random_plan, same_plan
from vocab.plan import Origin
from vocab.plan.sampling import Sampling

LINEAR = (*WHOLE, *SUMS)
FEW = settings(max_examples=30, deadline=None)
SEEDS = st.integers(0, 10**6)
MIDDLE = names("m", 7)


def embeddings(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, 5)).astype(np.float32)


@FEW
@given(a=SEEDS, b=SEEDS, c=SEEDS)
def test_then_is_associative_and_idempotent(a: int, b: int, c: int) -> None:
    p, q, r = random_plan(a), random_plan(b), random_plan(c)
    left, right = p.then(q).then(r), p.then(q.then(r))
    same_plan(left, right)
    assert left.method == right.method
    assert left.options == right.options
    same_plan(p.then(p), p)


@FEW
@given(a=SEEDS, b=SEEDS)
def test_then_takes_whole_rows(a: int, b: int) -> None:
    p, q = random_plan(a), random_plan(b, origins=(*LINEAR, Origin.SAMPLED))
    chain = p.then(q)
    E = embeddings(p.n_src)
    empty = p.origins == Origin.EMPTY
    np.testing.assert_array_equal(chain.origins, np.where(empty, q.origins, p.origins))
    np.testing.assert_array_equal(chain.apply(E)[empty], q.apply(E)[empty])
    rest = random_plan(1, origins=(Origin.SPECIAL,))
    np.testing.assert_array_equal(chain.apply(E)[~empty], p.then(rest).apply(E)[~empty])


@FEW
@given(a=SEEDS, b=SEEDS, alpha=st.floats(0, 1))
def test_mix_is_the_weighted_sum_of_linear_rows(a: int, b: int, alpha: float) -> None:
    p, q = random_plan(a, origins=LINEAR), random_plan(b, origins=LINEAR)
    mixed = p.mix(q, alpha)
    W, special = mixed.weights.toarray(), p.origins == Origin.SPECIAL
    wanted = alpha * p.weights.toarray() + (1 - alpha) * q.weights.toarray()
    np.testing.assert_allclose(W[~special], wanted[~special], atol=1e-6)
    np.testing.assert_array_equal(W[special], p.weights.toarray()[special])
    same_plan(p.mix(q, 1.0), p)
    same_plan(p.mix(p, alpha), p)
    none_of_p = p.mix(q, 0.0)
    kept = special | (p.weights.toarray() == q.weights.toarray()).all(axis=1)
    np.testing.assert_array_equal(none_of_p.weights.toarray()[~special], q.weights.toarray()[~special])
    np.testing.assert_array_equal(none_of_p.origins, np.where(kept, p.origins, q.origins))


def test_origin_of_a_mixed_row() -> None:
    """Rows are mixed where two different rows met; pieces of pieces stay pieces, equal copies stay copies."""
    p = random_plan(2, origins=(Origin.COMPOSED, Origin.COPIED))
    q = random_plan(3, origins=(Origin.COMPOSED, Origin.COPIED))
    both_composed = (p.origins == Origin.COMPOSED) & (q.origins == Origin.COMPOSED)
    equal = np.isin(np.arange(p.n_tgt), p.differing_rows(q), invert=True)
    wanted = np.where(both_composed, Origin.COMPOSED, np.where(equal, p.origins, Origin.MIXED))
    assert 0 < both_composed.sum() < p.n_tgt
    np.testing.assert_array_equal(p.mix(q, 0.4).origins, wanted)


@FEW
@given(a=SEEDS, b=SEEDS)
def test_mix_leaves_rows_that_only_one_plan_knows(a: int, b: int) -> None:
    p, q = random_plan(a), random_plan(b)
    mixed = p.mix(q, 0.3)
    E = embeddings(p.n_src)
    filler = random_plan(7, origins=(Origin.MAPPED,))
    rows, p_rows, q_rows = (plan.then(filler).apply(E) for plan in (mixed, p, q))
    unknown = (Origin.EMPTY, Origin.SAMPLED)
    in_p, in_q = ~np.isin(p.origins, unknown), ~np.isin(q.origins, unknown)
    np.testing.assert_array_equal(rows[in_p & ~in_q], p_rows[in_p & ~in_q])
    np.testing.assert_array_equal(rows[~in_p & in_q], q_rows[~in_p & in_q])
    neither = ~in_p & ~in_q
    np.testing.assert_array_equal(
        mixed.origins[neither], np.where(p.origins == Origin.EMPTY, q.origins, p.origins)[neither]
    )


@pytest.mark.parametrize("alpha", [-0.1, 1.1, np.nan])
def test_mix_refuses_other_shares(alpha: float) -> None:
    with pytest.raises(InputError, match="mixing weight"):
        random_plan(1).mix(random_plan(2), alpha)


@FEW
@given(a=SEEDS, b=SEEDS)
def test_compose_is_one_plan_after_the_other(a: int, b: int) -> None:
    p = random_plan(a, tgt=MIDDLE, origins=LINEAR)
    q = random_plan(b, src=MIDDLE, origins=LINEAR)
    E = embeddings(p.n_src)
    composed = p.compose(q)
    wanted = q.apply(p.apply(E))
    cancelled = composed.origins == Origin.EMPTY  # signed weights may add up to nothing
    rows = composed.then(random_plan(1, origins=(Origin.MAPPED,))).apply(E)
    np.testing.assert_allclose(rows[~cancelled], wanted[~cancelled], atol=2e-5)
    np.testing.assert_array_equal(wanted[cancelled], 0)
    q_rows, middle = q.whole_rows
    copied = q_rows[np.isin(p.origins[middle], WHOLE)]
    np.testing.assert_array_equal(rows[copied], wanted[copied])


@FEW
@given(a=SEEDS, b=SEEDS)
def test_sampled_rows_are_carried_over_whole(a: int, b: int) -> None:
    p = random_plan(a, tgt=MIDDLE, origins=(*LINEAR, Origin.SAMPLED))
    q = random_plan(b, src=MIDDLE, origins=WHOLE)
    E = embeddings(p.n_src)
    composed = p.compose(q)
    np.testing.assert_array_equal(composed.apply(E), q.apply(p.apply(E)))
    q_rows, middle = q.whole_rows
    drawn = p.origins[middle] == Origin.SAMPLED
    np.testing.assert_array_equal(composed.origins[q_rows[drawn]], Origin.SAMPLED)
    np.testing.assert_array_equal(composed.sample_keys[q_rows[drawn]], middle[drawn])
    # the composed plan goes on being one: compose again, and save its keys
    r = random_plan(b + 1, src=q.tgt_tokens, origins=WHOLE)
    np.testing.assert_array_equal(composed.compose(r).apply(E), r.apply(composed.apply(E)))


@FEW
@given(a=SEEDS)
def test_identity_is_neutral(a: int) -> None:
    p = random_plan(a, origins=(*LINEAR, Origin.SAMPLED, Origin.EMPTY))
    same_plan(p.compose(identity(p.tgt_tokens)), p)
    linear = random_plan(a, origins=(*LINEAR, Origin.EMPTY))
    same_plan(identity(p.src_tokens).compose(linear), linear)


def test_rows_made_of_empty_rows_are_empty() -> None:
    p = random_plan(3, tgt=MIDDLE, origins=(Origin.EMPTY, Origin.MIXED))
    q = random_plan(5, src=MIDDLE, tgt=names("t", 40), origins=LINEAR)
    used = abs(q.weights) @ (p.origins == Origin.EMPTY).astype(float) > 0
    partly = used & (abs(q.weights) @ (p.origins != Origin.EMPTY).astype(float) > 0)
    assert partly.any()
    composed = p.compose(q)
    np.testing.assert_array_equal(composed.origins[used], Origin.EMPTY)
    assert (composed.origins[~used] != Origin.EMPTY).any()


def test_what_cannot_be_combined() -> None:
    p = random_plan(1, origins=(Origin.SAMPLED, Origin.COPIED), tgt=MIDDLE)
    with pytest.raises(InputError, match="do not meet"):
        p.compose(random_plan(1))
    with pytest.raises(InputError, match="rows of the second plan mix or draw sampled rows"):
        p.compose(random_plan(2, src=MIDDLE, origins=SUMS))
    with pytest.raises(InputError, match="rows of the second plan mix or draw sampled rows"):
        p.compose(random_plan(2, src=MIDDLE, origins=(Origin.SAMPLED,)))
    with pytest.raises(InputError, match="rescale norms"):
        p.with_norm("sources").compose(identity(MIDDLE))
    with pytest.raises(InputError, match="different vocabularies"):
        p.then(random_plan(1))
    with pytest.raises(InputError, match="different vocabularies"):
        p.mix(random_plan(1, src=names("other", 9), tgt=MIDDLE), 0.5)
    with pytest.raises(InputError, match="two different distributions"):
        random_plan(6, origins=(Origin.EMPTY, Origin.SAMPLED)).then(
            random_plan(2, origins=(Origin.SAMPLED,), sampling=Sampling(seed=99))
        )


def test_an_unused_distribution_is_no_obstacle() -> None:
    drawn = random_plan(2, origins=(Origin.SAMPLED,), sampling=Sampling(seed=99))
    full = random_plan(6, origins=(Origin.SAMPLED, Origin.COPIED))
    assert full.then(drawn).sampling == Sampling(seed=5)
    assert random_plan(6, origins=LINEAR).then(drawn).sampling is None


def test_differing_rows() -> None:
    p = random_plan(8, origins=LINEAR)
    weights = p.weights.copy()
    weights.data[weights.indptr[3]] += 0.25
    weights.data[weights.indptr[5]] += 0.5
    changed = random_plan(8, origins=LINEAR)
    changed.weights.data[:] = weights.data
    assert p.differing_rows(changed).tolist() == [3, 5]
    assert p.differing_rows(changed, atol=0.3).tolist() == [5]
    changed.origins[7] = Origin.COMPOSED if p.origins[7] != Origin.COMPOSED else Origin.MIXED
    assert p.differing_rows(changed, atol=1).tolist() == [7]
