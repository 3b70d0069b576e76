from __future__ import annotations

from importlib import import_module

import numba
import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from align.errors import InputError, UsageError
from align.normalize import unit
from tests.vocab.small_vocabularies import byte_level
from vocab.methods import mean
from vocab.methods.clp import clp, clp_factors
from vocab.methods.sparsemax import sparsemax_reference
from vocab.plan import Origin, TransferPlan
from vocab.tokens import Vocabulary

module = import_module("vocab.methods.clp")  # the package's attribute of that name is the function
N_NEW, N_SHARED = 20, 30


@pytest.fixture
def case():
    """Two vocabularies and a helper whose rows are alike enough for no sum to cancel."""
    rng = np.random.default_rng(0)
    shared = [f" s{i}".encode() for i in range(N_SHARED)]
    src = byte_level([*shared, b" old"])
    tgt = byte_level([*(f" n{i}".encode() for i in range(N_NEW)), *shared, b" unseen"])
    helper = (1.0 + rng.standard_normal((len(tgt) + 3, 12))).astype(np.float32)
    helper[len(tgt) - 1] = 0
    return src, tgt, helper


def weights(plan: TransferPlan) -> np.ndarray:
    """All weights written out, those of the low-rank part too."""
    return plan.rows_of_weights(np.arange(plan.n_tgt))


def cosines(helper: np.ndarray) -> np.ndarray:
    """New tokens by shared ones, in the order of the source: the specials, then the others."""
    rows = unit(helper.astype(np.float64))
    return rows[5 : 5 + N_NEW] @ rows[[*range(5), *range(5 + N_NEW, 5 + N_NEW + N_SHARED)]].T


def test_rows_equal_the_published_rule(case):
    src, tgt, helper = case
    plan = clp(src, tgt, helper_matrix=helper)
    assert list(plan.origins[:5]) == [Origin.SPECIAL] * 5
    assert (plan.origins[5 : 5 + N_NEW] == Origin.MIXED).all()
    assert (plan.origins[5 + N_NEW : -1] == Origin.COPIED).all()
    assert plan.origins[-1] == Origin.EMPTY  # a row of zeros is no vector
    C = cosines(helper)
    assert (C < 0).any()
    W = weights(plan)[5 : 5 + N_NEW]
    np.testing.assert_allclose(W[:, :-1], C / C.sum(axis=1, keepdims=True), atol=1e-6)
    np.testing.assert_allclose(W.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(W[:, -1], 0)


def test_factors_give_the_rows_of_the_plan(case):
    src, tgt, helper = case
    E = np.random.default_rng(1).standard_normal((len(src) + 2, 7))
    plan, factors = clp(src, tgt, helper_matrix=helper), clp_factors(src, tgt, helper_matrix=helper)
    np.testing.assert_array_equal(factors.rows, np.arange(5, 5 + N_NEW))
    np.testing.assert_allclose(factors.sums, cosines(helper).sum(axis=1))
    np.testing.assert_allclose(factors.apply(E), (weights(plan) @ E[: len(src)])[factors.rows], atol=1e-5)
    filled = plan.then(mean(src, tgt)).apply(E)
    np.testing.assert_allclose(filled[factors.rows], factors.apply(E), atol=1e-5)
    assert factors.apply(E.astype(np.float16)).dtype == np.float16


def test_top_keeps_the_nearest_and_all_of_them_are_the_published_rule(case):
    src, tgt, helper = case
    W = clp(src, tgt, helper_matrix=helper, top=4).weights.toarray()[5 : 5 + N_NEW, :-1]
    C = cosines(helper)
    kept = np.sort(C, axis=1)[:, [-4]] <= C
    np.testing.assert_allclose(W, np.where(kept, C, 0) / np.where(kept, C, 0).sum(axis=1)[:, None], atol=1e-6)
    every = clp(src, tgt, helper_matrix=helper, top=1000)
    np.testing.assert_allclose(
        every.weights.toarray(), weights(clp(src, tgt, helper_matrix=helper)), atol=1e-6
    )


def test_plus_is_the_sparsemax(case):
    src, tgt, helper = case
    plan = clp(src, tgt, helper_matrix=helper, plus=True)
    W = plan.weights.toarray()[5 : 5 + N_NEW]
    np.testing.assert_allclose(W[:, :-1], sparsemax_reference(cosines(helper)), atol=1e-6)
    np.testing.assert_allclose(W.sum(axis=1), 1, atol=1e-6)
    assert plan.method == "clp-plus"


def test_sums_that_cancel_are_one_warning(case):
    src, tgt, helper = case
    helper[5] = -helper[len(tgt) - N_SHARED :].mean(axis=0)
    with pytest.warns(UserWarning, match="of 1 of 20 new tokens nearly cancel") as caught:
        plan = clp(src, tgt, helper_matrix=helper)
    assert len(caught) == 1
    assert plan.origins[5] == Origin.MIXED
    assert clp(src, tgt, helper_matrix=helper, plus=True).origins[5] == Origin.MIXED


def test_sums_of_exactly_zero_are_empty():
    src, tgt = byte_level([b"a", b"b"]), byte_level([b"a", b"b", b"c", b"d"])
    helper = np.zeros((9, 2))
    helper[5:] = [[1, 0], [-1, 0], [3, 4], [0, 1]]
    plan = clp(src, tgt, helper_matrix=helper)
    assert list(plan.origins[5:]) == [Origin.COPIED, Origin.COPIED, Origin.EMPTY, Origin.EMPTY]
    assert clp(src, tgt, helper_matrix=helper, top=2).origins[7] == Origin.EMPTY
    np.testing.assert_array_equal(clp(src, tgt, helper_matrix=helper, top=1).weights.toarray()[7, 5:], [1, 0])
    factors = clp_factors(src, tgt, helper_matrix=helper)
    assert factors.apply(np.ones((7, 3))).shape == (0, 3)


@pytest.mark.parametrize(("plus", "top"), [(False, None), (True, None), (False, 5)])
def test_one_shared_token_and_none(case, plus, top):
    _, tgt, helper = case
    helper = np.abs(helper)
    helper[:5] = 0  # the specials are not in it
    one = clp(byte_level([b" s3"]), tgt, helper_matrix=helper, plus=plus, top=top)
    np.testing.assert_allclose(weights(one)[5 : 5 + N_NEW, 5], 1, rtol=1e-6)
    with pytest.warns(UserWarning, match="no shared token"):
        none = clp(byte_level([b"other"]), tgt, helper_matrix=helper, plus=plus, top=top)
    assert (none.origins[5:] == Origin.EMPTY).all()
    nothing = clp(byte_level([b" s3"]), byte_level([b" s3"]), helper_matrix=helper, plus=plus, top=top)
    assert list(nothing.origins[5:]) == [Origin.COPIED]


def test_bad_input(case):
    src, tgt, helper = case
    with pytest.raises(InputError, match="fewer rows than the target vocabulary"):
        clp(src, tgt, helper_matrix=helper[:10])
    with pytest.raises(InputError, match="NaN or infinite"):
        clp(src, tgt, helper_matrix=np.where(helper > 1, np.nan, helper))
    with pytest.raises(UsageError, match="not with plus"):
        clp(src, tgt, helper_matrix=helper, plus=True, top=3)
    with pytest.raises(UsageError, match="1 or more"):
        clp(src, tgt, helper_matrix=helper, top=0)


@pytest.fixture
def recorded(shared_golden):
    from tokenizers import Tokenizer

    inputs = shared_golden / "vocab" / "inputs"
    src, tgt = (
        Vocabulary.of(Tokenizer.from_file(str(inputs / name / "tokenizer.json")))
        for name in ("source_bpe", "target_bpe")
    )
    arrays = np.load(shared_golden / "vocab" / "clp-transfer" / "target_bpe.every2.npz")
    return (
        src,
        tgt,
        np.load(inputs / "source_matrix.npy"),
        np.load(inputs / "helper_matrix_target_bpe.npy"),
        arrays,
    )


@pytest.mark.data
@pytest.mark.filterwarnings("ignore:the cosines of")
def test_rows_equal_the_recorded_ones(recorded):
    """Parity with clp-transfer@d42c1d4 on every row, by the plan and by its factors.

    Its cosines are float32: a sum of 798 of them is off by about 1e-6, so rows are off by that over the sum.
    """
    src, tgt, E, helper, arrays = recorded
    plan, factors = clp(src, tgt, helper_matrix=helper), clp_factors(src, tgt, helper_matrix=helper)
    by_plan = plan.apply(E)
    by_factors = by_plan.copy()
    by_factors[factors.rows] = factors.apply(E)
    ids, expected = arrays["row_ids"], arrays["rows"]
    sums = np.abs(np.nan_to_num(arrays["denominator"][ids], nan=1.0))
    size = np.maximum(np.abs(expected).max(axis=1), 1)
    for rows in (by_plan, by_factors):
        error = np.abs(rows[ids] - expected).max(axis=1)
        assert (error[sums >= 1] / size[sums >= 1] < 1e-5).all()
        assert (error * np.minimum(sums, 1) / size < 1e-5).all()
    copied = arrays["copied_from"] >= 0
    np.testing.assert_array_equal(np.isin(plan.origins, (Origin.COPIED, Origin.SPECIAL)), copied)
    np.testing.assert_array_equal(plan.weights[copied].indices, arrays["copied_from"][copied])
    np.testing.assert_allclose(factors.sums, arrays["denominator"][factors.rows], atol=1e-4)


@pytest.mark.data
@pytest.mark.filterwarnings("ignore:the cosines of")
@pytest.mark.parametrize(("plus", "top"), [(False, None), (True, None), (False, 20)])
def test_the_same_bits_for_any_number_of_threads(recorded, plus, top):
    src, tgt, E, helper, _ = recorded
    first = clp(src, tgt, helper_matrix=helper, plus=plus, top=top).then(mean(src, tgt)).apply(E)
    threads = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            second = clp(src, tgt, helper_matrix=helper, plus=plus, top=top).then(mean(src, tgt)).apply(E)
    finally:
        numba.set_num_threads(threads)
    np.testing.assert_array_equal(first, second)


def test_a_half_precision_helper_is_enough(case):
    src, tgt, helper = case
    half, exact = (
        clp(src, tgt, helper_matrix=helper.astype(kind), plus=True) for kind in (np.float16, np.float32)
    )
    np.testing.assert_allclose(half.weights.toarray(), exact.weights.toarray(), atol=2e-3)
