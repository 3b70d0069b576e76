"""Plans whose rows are too dense to write out."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from threadpoolctl import threadpool_limits

from align.errors import InputError
from tests.cli.conftest import save_source
from tests.vocab.conftest import build_model, train
from tests.vocab.random_plans import SUMS, WHOLE, identity, names, random_plan, same_plan
from vocab import transfer
from vocab.plan import Origin, TransferPlan
from vocab.plan.low_rank import LowRank

FEW = settings(max_examples=30, deadline=None)
SEEDS = st.integers(0, 10**6)
LINEAR = (*WHOLE, *SUMS)
MIDDLE = names("m", 7)


def with_low_rank(plan: TransferPlan, seed: int, *, rank: int = 2) -> TransferPlan:
    """Add a low-rank part to about half of the mixed and of the empty rows of a plan."""
    rng = np.random.default_rng(seed)
    may = np.isin(plan.origins, (Origin.MIXED, Origin.EMPTY)) & (rng.random(plan.n_tgt) < 0.5)
    rows, anchors = np.flatnonzero(may), rng.permutation(plan.n_src)[: rng.integers(1, plan.n_src + 1)]
    left, right = (rng.uniform(0.2, 1, (len(ids), rank)) for ids in (rows, anchors))
    origins = plan.origins.copy()
    origins[rows] = Origin.MIXED
    part = LowRank(rows, left.astype(np.float32), anchors, right.astype(np.float32))
    return replace(plan, origins=origins, low_rank=(part,))


def written_out(plan: TransferPlan) -> np.ndarray:
    """All weights, by a loop of its own."""
    weights = plan.weights.toarray().astype(np.float64)
    for part in plan.low_rank:
        for row, left in zip(part.rows, part.left, strict=True):
            for anchor, right in zip(part.anchors, part.right, strict=True):
                weights[row, anchor] += left.astype(np.float64) @ right.astype(np.float64)
    return weights


def embeddings(n: int, *, dim: int | None = 5) -> np.ndarray:
    shape = (n,) if dim is None else (n, dim)
    return np.random.default_rng(1).standard_normal(shape).astype(np.float32)


def linear(seed: int, **sizes: tuple[str, ...]) -> TransferPlan:
    return with_low_rank(random_plan(seed, origins=LINEAR, **sizes), seed + 1)  # type: ignore[arg-type]


@FEW
@given(
    seed=SEEDS, dim=st.sampled_from([None, 1, 6]), dtype=st.sampled_from(["float16", "float32", "float64"])
)
def test_apply_is_the_dense_product(seed: int, dim: int | None, dtype: str) -> None:
    plan = linear(seed)
    E: np.ndarray = embeddings(plan.n_src + 2, dim=dim).astype(dtype)
    E[plan.n_src :] = np.nan
    tolerance = {"float16": 4e-3, "float32": 3e-6, "float64": 1e-13}[dtype]
    wanted = written_out(plan) @ E[: plan.n_src].astype(np.float64)
    np.testing.assert_allclose(plan.apply(E), wanted, atol=tolerance, rtol=tolerance)
    np.testing.assert_allclose(plan.rows_of_weights(np.arange(plan.n_tgt)), written_out(plan), atol=1e-12)


def test_a_whole_row_with_a_low_rank_part_is_not_a_copy() -> None:
    plan = replace(
        identity(names("s", 3)),
        origins=np.array([Origin.COPIED, Origin.MIXED, Origin.COPIED], np.uint8),
        low_rank=(LowRank(np.array([1]), np.ones((1, 1), "f4"), np.array([0]), np.full((1, 1), 2, "f4")),),
    )
    np.testing.assert_array_equal(plan.whole_rows[0], [0, 2])
    np.testing.assert_array_equal(plan.apply(np.eye(3)), [[1, 0, 0], [2, 1, 0], [0, 0, 1]])
    assert str(plan.explain(1)) == "s1 (mixed) = 2 s0 + 1 s1"
    assert str(plan.explain(1, top=1)) == "s1 (mixed) = 2 s0"


@FEW
@given(a=SEEDS, b=SEEDS, alpha=st.floats(0, 1))
def test_mix_and_then(a: int, b: int, alpha: float) -> None:
    p, q = linear(a), linear(b)
    W_p, W_q, special = written_out(p), written_out(q), p.origins == Origin.SPECIAL
    wanted = np.where(special[:, None], W_p, alpha * W_p + (1 - alpha) * W_q)
    np.testing.assert_allclose(written_out(p.mix(q, alpha)), wanted, atol=1e-6)
    same_plan(p.mix(p, alpha), p)
    same_plan(p.mix(q, 1.0), p)
    holes = with_low_rank(random_plan(a), b)
    empty = holes.origins == Origin.EMPTY
    chain = holes.then(q)
    np.testing.assert_array_equal(written_out(chain), np.where(empty[:, None], W_q, written_out(holes)))
    np.testing.assert_array_equal(chain.origins, np.where(empty, q.origins, holes.origins))
    same_plan(holes.then(holes), holes)


@FEW
@given(a=SEEDS, b=SEEDS)
def test_compose(a: int, b: int) -> None:
    p, q = linear(a, tgt=MIDDLE), linear(b, src=MIDDLE)
    composed = p.compose(q)
    np.testing.assert_allclose(written_out(composed), written_out(q) @ written_out(p), atol=1e-5)
    same_plan(p.compose(identity(MIDDLE)), p)
    same_plan(identity(MIDDLE).compose(q), q)


def test_compose_with_rows_that_are_empty_or_sampled() -> None:
    p = random_plan(3, tgt=MIDDLE, origins=(Origin.EMPTY, Origin.MIXED))
    everything = LowRank(
        np.array([2, 5]), np.ones((2, 1), "f4"), np.arange(len(MIDDLE)), np.ones((len(MIDDLE), 1), "f4")
    )
    q = replace(
        random_plan(4, src=MIDDLE, origins=(Origin.EMPTY,)),
        low_rank=(everything,),
        origins=np.where(np.isin(np.arange(12), [2, 5]), Origin.MIXED, Origin.EMPTY).astype(np.uint8),
    )
    assert (p.compose(q).origins == Origin.EMPTY).all()
    right = np.where(p.origins == Origin.EMPTY, 0, 1).astype("f4")[:, None]
    spared = replace(q, low_rank=(replace(everything, right=right),))
    assert np.flatnonzero(p.compose(spared).origins).tolist() == [2, 5]
    drawn = random_plan(3, tgt=MIDDLE, origins=(Origin.SAMPLED, Origin.COPIED))
    with pytest.raises(InputError, match="mix or draw sampled rows"):
        drawn.compose(q)


def test_differing_rows() -> None:
    plan = with_low_rank(random_plan(4, origins=(Origin.MIXED,)), 6)
    part = plan.low_rank[0]
    # the same weights by other factors: all but rounding
    turned = replace(part, left=part.left[:, ::-1], right=part.right[:, ::-1])
    assert plan.differing_rows(replace(plan, low_rank=(turned,)), atol=1e-6).size == 0
    left = part.left.copy()
    left[1] += 0.5
    changed = replace(plan, low_rank=(replace(part, left=left),))
    assert plan.differing_rows(changed, atol=1e-6).tolist() == [part.rows[1]]
    assert plan.differing_rows(replace(plan, low_rank=()), atol=1e-6).tolist() == part.rows.tolist()


def test_norm_of_dense_rows_counts_every_anchor_alike() -> None:
    part = LowRank(np.array([0]), np.ones((1, 1), "f4"), np.array([0, 1]), np.ones((2, 1), "f4"))
    plan = TransferPlan.from_entries(
        [1], [0], [1.0], Origin.COPIED, src_tokens=names("s", 3), tgt_tokens=names("t", 2), method="m"
    )
    plan = replace(
        plan, low_rank=(part,), origins=np.array([Origin.MIXED, Origin.COPIED], np.uint8), norm="sources"
    )
    rows = plan.apply(np.array([[3.0, 0], [0, 5], [9, 9]]))
    np.testing.assert_allclose(np.linalg.norm(rows[0]), 4)
    np.testing.assert_allclose(rows[0] / rows[0, 0], [1, 5 / 3])


def test_the_same_bits_for_any_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    n, rank = 3000, 300
    part = LowRank(
        np.arange(n), rng.standard_normal((n, rank), "f4"), np.arange(n), rng.standard_normal((n, rank), "f4")
    )
    E = rng.standard_normal((n, 64), "f4")
    results = []
    for threads in (1, 2):
        monkeypatch.setattr(os, "cpu_count", partial(int, threads))
        with threadpool_limits(threads, user_api="blas"):
            results.append(np.zeros((n, 64), "f4"))
            part.add_to(results[-1], E)
    np.testing.assert_array_equal(results[0], results[1])


@FEW
@given(seed=SEEDS)
def test_saved_and_loaded(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    folder = tmp_path_factory.mktemp("plan")
    plan = with_low_rank(random_plan(seed), seed).mix(linear(seed + 5), 0.3)
    loaded = TransferPlan.load(plan.save(folder))
    same_plan(loaded, plan)
    assert len(loaded.low_rank) == len(plan.low_rank)
    files = [(folder / name).read_bytes() for name in ("plan.safetensors", "plan.json")]
    loaded.save(folder)
    assert [(folder / name).read_bytes() for name in ("plan.safetensors", "plan.json")] == files


DAMAGE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "left": lambda a: a[:-1],
    "right": lambda a: a * np.nan,
    "rows": lambda a: a[::-1],
    "anchors": lambda a: a + 1000,
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_factors(tmp_path: Path, name: str) -> None:
    linear(11).save(tmp_path)
    path = tmp_path / "plan.safetensors"
    arrays = load_file(path)
    key = f"low_rank.0.{name}"
    save_file(arrays | {key: np.ascontiguousarray(DAMAGE[name](arrays[key]))}, path)
    with pytest.raises(InputError) as error:
        TransferPlan.load(tmp_path)
    assert str(tmp_path) in str(error.value)
    save_file({other: array for other, array in arrays.items() if other != key}, path)
    with pytest.raises(InputError, match="cannot be read"):
        TransferPlan.load(tmp_path)


def test_an_anchor_given_twice_adds_up() -> None:
    """Two roles, such as bos and cls, may both be matched with one old token."""
    part = LowRank(np.array([0]), np.ones((1, 2), "f4"), np.array([3, 1, 3]), np.eye(3, 2, dtype="f4"))
    weights = np.zeros((1, 5))
    part.add_weights(weights, np.array([0]))
    np.testing.assert_array_equal(weights, [[0, 1, 0, 1, 0]])
    np.testing.assert_array_equal(part.anchors, [1, 3])


def test_ids_must_be_those_of_the_plan() -> None:
    plan, ones = random_plan(2, origins=(Origin.MIXED,)), np.ones((2, 1), "f4")
    with pytest.raises(InputError, match="do not rise"):
        LowRank(np.array([1, 0]), ones, np.array([0, 1]), ones)
    for rows, anchors, message in (([0, 12], [0, 1], "new rows"), ([0, 1], [0, 9], "old rows")):
        part = LowRank(np.array(rows), ones, np.array(anchors), ones)
        with pytest.raises(InputError, match=message):
            replace(plan, low_rank=(part,))


@pytest.mark.filterwarnings("ignore:the cosines of")
def test_clp_from_end_to_end(tmp_path: Path) -> None:
    """A model written from dense rows, and its plan read back and explained."""
    source = save_source(tmp_path / "source", "llama-untied")
    tokenizer = train("llama", 290)
    donor = build_model("llama", tokenizer, seed=4)
    donor.save_pretrained(tmp_path / "donor")
    tokenizer.save_pretrained(tmp_path / "donor")
    result = transfer(source, donor=str(tmp_path / "donor"), method="clp")
    result.save(tmp_path / "out")
    plan = TransferPlan.load(tmp_path / "out")
    assert plan.dense.sum() > 30
    assert plan.differing_rows(result.plan).size == 0
    old, new = (load_file(folder / "model.safetensors") for folder in (source, tmp_path / "out"))
    helper = donor.get_input_embeddings().weight.detach().numpy().astype(np.float64)
    helper /= np.linalg.norm(helper, axis=1, keepdims=True)
    rows, from_old = plan.whole_rows
    shared = np.isin(plan.origins[rows], (Origin.COPIED, Origin.SPECIAL))
    cosines = helper[plan.dense] @ helper[rows[shared]].T
    weights = cosines / cosines.sum(axis=1, keepdims=True)
    tolerance = 1e-5 * np.abs(weights).sum(axis=1).max()
    for key in ("model.embed_tokens.weight", "lm_head.weight"):
        want = weights @ old[key][from_old[shared]].astype(np.float64)
        np.testing.assert_allclose(new[key][plan.dense], want, rtol=1e-4, atol=tolerance)
    row = int(np.flatnonzero(plan.dense)[0])
    explained = plan.explain(row, top=3)
    assert explained.origin == "mixed"
    heaviest = np.sort(np.abs(weights[0]))[::-1][:3]
    np.testing.assert_allclose([abs(weight) for _, weight in explained.terms], heaviest, rtol=1e-4)
