from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from align.errors import InputError
from tests.vocab.random_plans import SUMS, WHOLE, identity, names, random_plan
from tests.vocab.small_vocabularies import byte_level
from vocab.plan import Origin, TransferPlan
from vocab.plan.norms import script_numbers
from vocab.plan.sampling import Sampling, sampled_rows

LINEAR = (*WHOLE, *SUMS)
FEW = settings(max_examples=30, deadline=None)
FILLED = (*LINEAR, Origin.SAMPLED)


def bits(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).view(f"u{array.itemsize}")


@FEW
@given(
    seed=st.integers(0, 10**6),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
    n_padding=st.integers(0, 3),
    dim=st.sampled_from([None, 1, 7]),
)
def test_apply_is_the_dense_product(seed: int, dtype: type, n_padding: int, dim: int | None) -> None:
    plan = random_plan(seed, origins=LINEAR)
    shape = (plan.n_src + n_padding,) if dim is None else (plan.n_src + n_padding, dim)
    E = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    E[plan.n_src :] = np.nan  # padding is not read
    before = E.copy()
    rows = plan.apply(E)
    assert rows.dtype == dtype
    W = plan.weights.toarray().astype(np.float64)
    tolerance = {np.float16: 2e-3, np.float32: 1e-6, np.float64: 1e-14}[dtype]
    np.testing.assert_allclose(rows, W @ E[: plan.n_src].astype(np.float64), atol=tolerance, rtol=tolerance)
    np.testing.assert_array_equal(E, before)
    copied = np.flatnonzero(np.isin(plan.origins, WHOLE))
    np.testing.assert_array_equal(bits(rows[copied]), bits(E[W[copied].argmax(axis=1)]))


@pytest.mark.parametrize("norm", ["none", "sources"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_copies_keep_signs_of_zero_and_tiny_values(norm: str, dtype: type) -> None:
    tiny = np.finfo(dtype).smallest_subnormal
    E = np.array([[-0.0, 0.0, tiny], [1 / 3, -tiny, -0.0], [6e4, 1, 1]], dtype)
    plan = identity(names("s", 3)).with_norm(norm)
    np.testing.assert_array_equal(bits(plan.apply(E)), bits(E))
    np.testing.assert_array_equal(bits(plan.apply(E[:, 0])), bits(E[:, 0]))


def test_apply_refuses_what_it_cannot_do() -> None:
    plan = random_plan(1, origins=LINEAR)
    E = np.ones((plan.n_src, 2), np.float32)
    with pytest.raises(InputError, match="fewer rows"):
        plan.apply(E[:-1])
    with pytest.raises(InputError, match="not of floats"):
        plan.apply(E.astype(np.int32))
    for value in (np.nan, np.inf):
        with pytest.raises(InputError, match="NaN or infinite"):
            plan.apply(np.where(np.arange(plan.n_src)[:, None] == 4, value, E).astype(np.float32))
    doubled = TransferPlan(
        weights=sp.csr_array(np.array([[1, 0], [2, 0]], np.float32)),
        origins=np.array([Origin.COPIED, Origin.MIXED], np.uint8),
        method="doubled",
        options={},
        src_tokens=names("s", 2),
        tgt_tokens=names("t", 2),
    )
    with pytest.raises(InputError, match="new row of 't1' is too large for float16"):
        doubled.apply(np.full((2, 3), 4e4, np.float16))
    holes = random_plan(1, origins=(Origin.EMPTY, Origin.COPIED))
    n_empty = int((holes.origins == Origin.EMPTY).sum())
    first = holes.tgt_tokens[int(holes.origins.argmin())]
    with pytest.raises(InputError, match=f"{n_empty} rows of the plan are empty, the first is '{first}'"):
        holes.apply(E)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tgt_tokens": ("a",)}, "does not fit its tokens"),
        ({"origins": np.array([1], np.uint8)}, "one origin and one key"),
        ({"sample_keys": np.array([1])}, "one origin and one key"),
        ({"weights": np.array([[np.nan, 0], [0, 1]])}, "not finite"),
        ({"weights": np.array([[0, 0], [0, 1]])}, "contradicts .*copied with 0 weights"),
        ({"origins": np.array([0, 1], np.uint8)}, "contradicts .*empty with 1 weights.*row 0|row 0.*empty"),
        ({"origins": np.array([1, 77], np.uint8)}, "unknown origin .got 77"),
        ({"weights": np.zeros((2, 2)), "origins": np.array([5, 5], np.uint8)}, "no distribution"),
        ({"norm": "unit"}, "unknown norm policy"),
        ({"head_norm": "unit"}, "unknown norm policy"),
        ({"norm": "script-median"}, "needs scripts"),
        ({"scripts": (np.zeros(2, np.int32), np.zeros(3, np.int32))}, "one script a token"),
    ],
)
def test_a_plan_must_be_consistent(change: dict, message: str) -> None:
    import scipy.sparse as sp

    parts = {
        "weights": np.eye(2),
        "origins": np.array([1, 1], np.uint8),
        "method": "m",
        "options": {},
        "src_tokens": ("a", "b"),
        "tgt_tokens": ("c", "d"),
    }
    parts |= change
    parts["weights"] = sp.csr_array(parts["weights"])
    with pytest.raises(InputError, match=message):
        TransferPlan(**parts)


def test_entries_add_up_and_rows_without_weight_are_empty() -> None:
    plan = TransferPlan.from_entries(
        [0, 0, 1, 1, 3],
        [1, 1, 0, 0, 2],
        [0.5, 0.5, 1.0, -1.0, 2.0],
        Origin.COMPOSED,
        src_tokens=names("s", 3),
        tgt_tokens=names("t", 4),
        method="m",
    )
    np.testing.assert_array_equal(plan.weights.toarray(), [[0, 1, 0], [0, 0, 0], [0, 0, 0], [0, 0, 2]])
    assert plan.origins.tolist() == [Origin.COMPOSED, Origin.EMPTY, Origin.EMPTY, Origin.COMPOSED]
    # 0.5 + 0.5 of one old row is that row
    np.testing.assert_array_equal(plan.whole_rows, [[0], [1]])


def test_sampled_rows_do_not_depend_on_the_other_rows() -> None:
    E = np.random.default_rng(0).standard_normal((9, 33)).astype(np.float32)
    for kind in ("normal", "multivariate"):
        sampling = Sampling(kind=kind, seed=8)
        all_rows = random_plan(0, origins=(Origin.SAMPLED,), sampling=sampling).apply(E)
        some = random_plan(3, origins=(Origin.SAMPLED, Origin.COPIED, Origin.MIXED), sampling=sampling)
        drawn = some.origins == Origin.SAMPLED
        assert 0 < drawn.sum() < some.n_tgt
        np.testing.assert_array_equal(some.apply(E)[drawn], all_rows[drawn])


def test_a_bias_gets_its_mean_where_rows_are_sampled() -> None:
    plan = random_plan(3, origins=(Origin.SAMPLED, Origin.COPIED))
    bias = np.arange(9, dtype=np.float32) ** 2
    np.testing.assert_array_equal(plan.apply(bias)[plan.origins == Origin.SAMPLED], bias.mean())


@FEW
@given(seed=st.integers(0, 10**6))
def test_norm_of_mixed_input_rows_is_the_weighted_mean_norm(seed: int) -> None:
    plan = random_plan(seed, origins=FILLED)
    E = np.random.default_rng(seed).standard_normal((plan.n_src, 6)) * np.arange(1, plan.n_src + 1)[:, None]
    plain, rescaled = plan.apply(E), plan.with_norm("sources").apply(E)
    mixed = np.isin(plan.origins, SUMS)
    W = abs(plan.weights.toarray()[mixed].astype(np.float64))
    wanted = W @ np.linalg.norm(E, axis=1) / W.sum(axis=1)
    np.testing.assert_allclose(np.linalg.norm(rescaled[mixed], axis=1), wanted, rtol=1e-5)
    cosines = (plain * rescaled).sum(1) / np.linalg.norm(plain, axis=1) / np.linalg.norm(rescaled, axis=1)
    np.testing.assert_allclose(cosines, 1, rtol=1e-6)
    np.testing.assert_array_equal(rescaled[~mixed], plain[~mixed])
    np.testing.assert_array_equal(plan.with_norm("sources").apply(E, side="head"), plain)
    np.testing.assert_array_equal(plan.with_norm("sources").apply(E[:, 0]), plan.apply(E[:, 0]))


@FEW
@given(seed=st.integers(0, 10**6))
def test_norms_of_the_old_matrix(seed: int) -> None:
    rng = np.random.default_rng(seed)
    plan = random_plan(seed, origins=FILLED)
    E = rng.standard_normal((plan.n_src, 6)) * np.arange(1, plan.n_src + 1)[:, None]
    lengths = np.linalg.norm(E, axis=1)
    old = np.array([0, 0, 1, 1, 1, -1, 0, 1, -1], np.int32)
    new = rng.integers(-1, 2, plan.n_tgt).astype(np.int32)
    mixed = np.isin(plan.origins, SUMS)
    medians = {-1: np.median(lengths), 0: np.median(lengths[old == 0]), 1: np.median(lengths[old == 1])}
    for norm, wanted in (
        ("source-mean", np.full(plan.n_tgt, lengths.mean())),
        ("script-median", np.array([medians[int(script)] for script in new])),
    ):
        rows = plan.with_norm(norm, scripts=(new, old)).apply(E)  # type: ignore[arg-type]
        np.testing.assert_allclose(np.linalg.norm(rows[mixed], axis=1), wanted[mixed], rtol=1e-6)
        np.testing.assert_array_equal(rows[~mixed], plan.apply(E)[~mixed])


def test_each_side_has_its_norm() -> None:
    plan = random_plan(4, origins=LINEAR)
    E = np.random.default_rng(1).standard_normal((plan.n_src, 5))
    both = plan.with_norm("sources", "source-mean")
    np.testing.assert_array_equal(both.apply(E), plan.with_norm("sources").apply(E))
    np.testing.assert_array_equal(both.apply(E, side="head"), plan.with_norm("source-mean").apply(E))
    assert not np.array_equal(both.apply(E), both.apply(E, side="head"))


def test_scripts_of_tokens() -> None:
    src = byte_level([b" news", b"old", "привет".encode(), "мир".encode(), b"12", b"\xd0", "愛".encode()])
    tgt = byte_level([b" habari", " да".encode(), b"\xd1", "愛".encode(), b"?!"])
    new, old = script_numbers(src, tgt)
    latin, cyrillic = old[5], old[7]
    np.testing.assert_array_equal(old[5:], [latin, latin, cyrillic, cyrillic, -1, -1, -1])
    np.testing.assert_array_equal(new[5:], [latin, cyrillic, -1, -1, -1])
    assert (old[:5] == -1).all()
    assert -1 < latin != cyrillic > -1


def test_opposite_rows_stay_zero_under_the_norm_policy() -> None:
    plan = TransferPlan.from_entries(
        [0, 0], [0, 1], [0.5, 0.5], Origin.MIXED, src_tokens=("a", "b"), tgt_tokens=("c",), method="m"
    )
    E = np.array([[1, 2], [-1, -2]], np.float32)
    np.testing.assert_array_equal(plan.with_norm("sources").apply(E), [[0, 0]])


@pytest.fixture
def spoken() -> TransferPlan:
    return TransferPlan.from_entries(
        [0, 0, 0, 1, 2],
        [0, 1, 2, 1, 2],
        [0.2, 0.7, -0.1, 1.0, 1.0],
        np.array([Origin.MIXED, Origin.COPIED, Origin.SPECIAL, Origin.EMPTY, Origin.EMPTY], np.uint8),
        src_tokens=("old", "news", "un"),
        tgt_tokens=("Ġhabari", "##ri", "<s>", "ĠcafÃ©", "▁café"),
        method="m",
    )


def test_explain(spoken: TransferPlan) -> None:
    explanation = spoken.explain("habari")
    assert (explanation.token_id, explanation.origin) == (0, "mixed")
    assert [token for token, _ in explanation.terms] == ["news", "old", "un"]
    np.testing.assert_allclose([weight for _, weight in explanation.terms], [0.7, 0.2, -0.1], rtol=1e-6)
    assert str(explanation) == "Ġhabari (mixed) = 0.7 news + 0.2 old - 0.1 un"
    assert str(spoken.explain(0, top=1)) == "Ġhabari (mixed) = 0.7 news"
    assert str(spoken.explain(3)) == "ĠcafÃ© (empty)"


@pytest.mark.parametrize(
    ("token", "row"),
    [
        ("Ġhabari", 0),
        ("habari", 0),
        ("ri", 1),
        ("<s>", 2),
        ("café", 3),
        ("ĠcafÃ©", 3),
        ("▁café", 4),
        (4, 4),
        (np.int64(1), 1),
    ],
)
def test_row_id(spoken: TransferPlan, token: str | int, row: int) -> None:
    assert spoken.row_id(token) == row


@pytest.mark.parametrize("token", [-1, 5, "hab", "", "\udcff"])
def test_row_id_of_no_token(spoken: TransferPlan, token: str | int) -> None:
    with pytest.raises(InputError, match=r"no such token id|has no token"):
        spoken.row_id(token)


def test_summary(spoken: TransferPlan) -> None:
    shares = {share.origin: share for share in spoken.summary()}
    assert {origin: share.n_rows for origin, share in shares.items()} == {
        "empty": 2,
        "copied": 1,
        "mixed": 1,
        "special": 1,
    }
    assert shares["empty"].row_share == 0.4
    assert shares["empty"].text_share is None
    weighted = {share.origin: share.text_share for share in spoken.summary(np.array([6, 3, 0, 1, 0]))}
    assert weighted == {"empty": 0.1, "copied": 0.3, "mixed": 0.6, "special": 0.0}
    # counts need not reach the last token, nor be more than zero
    assert {s.origin: s.text_share for s in spoken.summary(np.array([1, 1]))}["mixed"] == 0.5
    assert all(share.text_share == 0 for share in spoken.summary(np.zeros(5, int)))


def test_sampled_part_equals_the_sampler() -> None:
    plan = random_plan(5, origins=(Origin.SAMPLED, Origin.MIXED))
    E = np.random.default_rng(1).standard_normal((9, 4)).astype(np.float32)
    drawn = np.flatnonzero(plan.origins == Origin.SAMPLED)
    assert plan.sampling is not None
    np.testing.assert_array_equal(
        plan.apply(E)[drawn], sampled_rows(E, plan.sampling, drawn).astype(np.float32)
    )


def test_row_id_prefers_the_word_to_its_continuation() -> None:
    tokens = ("kazi", "Ġkazi", "##ri", "ni")
    plan = TransferPlan.from_entries(
        [0, 1, 2, 3],
        [0, 0, 0, 0],
        [1.0] * 4,
        Origin.MAPPED,
        src_tokens=("work",),
        tgt_tokens=tokens,
        method="m",
    )
    assert [plan.row_id(token) for token in ("kazi", "Ġkazi", "ri", "ni")] == [1, 1, 2, 3]


def test_a_plan_prints_what_it_is_and_not_its_vocabularies() -> None:
    rows = np.arange(500)
    plan = TransferPlan.from_entries(
        rows,
        rows,
        np.ones(500),
        Origin.COPIED,
        src_tokens=[f"old{i}" for i in range(1000)],
        tgt_tokens=[f"new{i}" for i in range(600)],
        method="copy",
    )
    assert repr(plan) == "<TransferPlan 'copy': 600 x 1,000, 500 weights; rows: 100 empty, 500 copied>"
