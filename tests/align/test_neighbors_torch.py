from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from align.errors import UnavailableError, UsageError
from align.neighbors import csls, exact, retrieve, top_k, torch_backend
from align.neighbors.kernels import dot
from align.normalize import unit


def assert_same(found, expected):
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.scores, expected.scores)


def both(queries, candidates, k, *, bias=None, device="cpu"):
    """The answers of torch and of the processor, by inner product."""
    found = top_k(queries, candidates, k, metric="inner", bias=bias, backend="torch", device=device)
    return found, top_k(queries, candidates, k, metric="inner", bias=bias, backend="cpu")


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 20),
    st.integers(1, 300),
    st.integers(1, 40),
    st.integers(1, 60),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_ties_go_to_the_lower_index(n_queries, n_candidates, dim, k, with_bias, seed):
    rng = np.random.default_rng(seed)
    queries, candidates = rng.integers(-1, 2, (n_queries, dim)), rng.integers(-1, 2, (n_candidates, dim))
    bias = rng.integers(-2, 3, n_candidates).astype(np.float32) if with_bias else None
    assert_same(*both(queries, candidates, k, bias=bias))


@pytest.mark.parametrize("dim", [1, 31, 32, 33, 96, 300])
def test_scores_are_those_of_the_processor_to_the_bit(dim):
    x, y = np.random.default_rng(dim).standard_normal((2, 200, dim)).astype(np.float32)
    expected = [dot(left, right) for left, right in zip(x, y, strict=True)]
    found = torch_backend._dot(torch.from_numpy(x), torch.from_numpy(y))
    np.testing.assert_array_equal(found.numpy(), expected)


def test_arrays_that_cannot_be_written():
    rows = np.random.default_rng(5).standard_normal((40, 6)).astype(np.float32)
    rows.flags.writeable = False
    assert_same(*both(rows, rows, 3))


def test_more_near_ties_than_proposals():
    rng = np.random.default_rng(1)
    queries = unit(rng.standard_normal((4, 50)).astype(np.float32))
    near = np.repeat(queries, 2000, axis=0) + 1e-9 * rng.standard_normal((8000, 50))
    candidates = unit(
        np.vstack([near, rng.standard_normal((1000, 50))])[rng.permutation(9000)].astype(np.float32)
    )
    assert_same(*both(queries, candidates, 20))


def test_all_candidates_equal():
    found, expected = both(np.ones((3, 4)), np.ones((5000, 4)), 30)
    assert_same(found, expected)
    np.testing.assert_array_equal(found.indices[2], np.arange(30))


@pytest.mark.parametrize("entries", [1, 5000, 1 << 26])
def test_blocks_do_not_matter(monkeypatch, entries):
    monkeypatch.setattr(torch_backend, "_BLOCK_ENTRIES", entries)
    monkeypatch.setattr(torch_backend, "_GATHERED_ENTRIES", entries)
    monkeypatch.setattr(torch_backend, "_BLOCK_ROWS", 70)
    rng = np.random.default_rng(2)
    queries, candidates = rng.standard_normal((150, 30)), rng.standard_normal((900, 30))
    bias = rng.standard_normal(900)
    assert_same(*both(queries, candidates, 10, bias=bias))


def test_criteria_pass_the_device_on(monkeypatch):
    rng = np.random.default_rng(3)
    X, Y = rng.standard_normal((60, 9)), rng.standard_normal((80, 9))
    expected = csls(X, Y, 5)
    calls = []
    search = torch_backend.search
    monkeypatch.setattr(torch_backend, "search", lambda *given: calls.append(given) or search(*given))
    assert_same(csls(X, Y, 5, device="cpu"), expected)
    assert len(calls) == 3
    for method in ("nn", "csls", "isf", "invnn"):
        calls.clear()
        assert_same(retrieve(X, Y, 5, method=method, device="cpu"), retrieve(X, Y, 5, method=method))
        assert calls


def test_the_precision_of_the_process_is_put_back():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        both(np.ones((2, 3)), np.ones((5, 3)), 1)
        assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision(before)


def test_bad_input():
    rows = np.ones((2, 3))
    with pytest.raises(UsageError, match="unknown backend"):
        top_k(rows, rows, backend="gpu")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="device is given"):
        top_k(rows, rows, backend="cpu", device="cuda")
    with pytest.raises(UnavailableError, match="cannot be used"):
        top_k(rows, rows, device="no such device")
    if not torch.cuda.is_available():
        with pytest.raises(UnavailableError, match="cannot be used"):
            top_k(rows, rows, backend="torch")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu():
    rng = np.random.default_rng(4)
    queries, candidates = rng.standard_normal((3000, 300)), rng.standard_normal((20000, 300))
    assert_same(*both(queries, candidates, 10, bias=rng.standard_normal(20000), device="cuda"))
    near = np.repeat(queries[:5], 500, axis=0) + 1e-9 * rng.standard_normal((2500, 300))
    assert_same(*both(queries[:5], near, 20, device="cuda"))


def test_torch_is_not_asked_for_a_device_without_a_driver(monkeypatch):
    asked = []
    monkeypatch.setattr(exact, "_TORCH_PRODUCTS", 1)
    monkeypatch.setattr(exact.torch_backend, "cuda_is_available", lambda: bool(asked.append(1)))
    monkeypatch.setattr(exact.sys, "platform", "linux")
    monkeypatch.delitem(exact.sys.modules, "torch", raising=False)
    monkeypatch.setattr(exact, "_DRIVERS", ("/nowhere",))
    rows = np.eye(3, dtype=np.float32)
    top_k(rows, rows, 1)
    assert not asked
    monkeypatch.setattr(exact, "_DRIVERS", ("/",))
    top_k(rows, rows, 1)
    assert asked
