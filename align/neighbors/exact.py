"""Exact nearest neighbours, block by block.

Scores are defined as float64 inner products of float32 rows, summed in one fixed order; equal scores are
ordered by the lower index. A float32 matrix product only proposes candidates: any whose product lies within
the proven rounding error of the k-th best is scored again. So the answer is the same for every BLAS and every
number of threads.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numba as nb
import numpy as np
from numpy.typing import NDArray

from align.errors import InputError, UsageError
from align.neighbors import low_precision, torch_backend
from align.neighbors.kernels import LANES, propose, settle
from align.neighbors.rounding import gamma, pack
from align.normalize import unit
from align.threads import workers

_QUERY_BLOCK, _CANDIDATE_BLOCK = 768, 1024  # the products of a block stay in the cache
_TORCH_PRODUCTS = 1 << 38
_DRIVERS = ("/dev/nvidiactl", "/proc/driver/nvidia", "/dev/dxg", "/dev/nvhost-ctrl", "/dev/kfd")

Backend = Literal["auto", "cpu", "torch"]


@dataclass(frozen=True, eq=False)
class Neighbors:
    """The k nearest candidates of every query, best first.

    Parameters
    ----------
    indices : ndarray of int64, shape (n_queries, k)
    scores : ndarray of float32, shape (n_queries, k)
        Inner products (cosines where the metric was cosine).
    """

    indices: NDArray[np.int64]
    scores: NDArray[np.float32]


def top_k(
    queries: NDArray[np.floating],
    candidates: NDArray[np.floating],
    k: int = 10,
    *,
    metric: Literal["inner", "cosine"] = "cosine",
    bias: NDArray[np.floating] | None = None,
    backend: Backend = "auto",
    device: str | None = None,
) -> Neighbors:
    """The k candidates with the largest inner product or cosine for every query, exactly.

    A score is the float64 inner product of two float32 rows plus the candidate's float32 bias.

    Parameters
    ----------
    queries : ndarray, shape (n_queries, dim)
    candidates : ndarray, shape (n_candidates, dim)
        Both are taken as float32; other types are rounded first.
    k : int
        With fewer candidates than k, all of them are returned.
    metric : {"inner", "cosine"}
        For ``"cosine"`` the rows are first divided by their lengths; rows of zeros have cosine 0 with all.
    bias : ndarray, shape (n_candidates,), optional
        Added to every score of the candidate, as float32.
    backend : {"auto", "cpu", "torch"}
        ``"auto"`` is torch where a device is named, or where the problem is large and there is a CUDA device.
        The answer is the same.
    device : str, optional
        Torch device; ``"cuda"`` by default.

    Returns
    -------
    Neighbors
        With ``min(k, n_candidates)`` columns.

    Raises
    ------
    InputError
        For widths that differ, no candidates, a bias of another length, NaN or infinity.
    UsageError
        For k < 1, an unknown metric or backend, or a device for the backend ``"cpu"``.
    UnavailableError
        For a torch device that is not there.

    Notes
    -----
    Time is that of the float32 matrix product, ``2 n_queries n_candidates dim`` operations, and about a tenth
    more, shared out to as many threads as numba is set to use. Where the processor has 8-bit dot products and
    they prove faster, they pick a shortlist first (:mod:`align.neighbors.low_precision`) and the whole takes
    a third of that time or less. Memory beyond the float32 inputs: 3 MiB of products and ``768 (4 k + 10)``
    proposals a thread; with 8 bits ``n_candidates (dim + 20)`` bytes, and 12 bytes a candidate and thread.
    """
    Q, C, B, slack = prepare(queries, candidates, k, metric, bias)
    k = min(k, len(C))
    if _use_torch(len(Q) * C.size, backend, device):
        return Neighbors(*torch_backend.search(Q, C, B, slack, k, device or "cuda"))
    indices = np.empty((len(Q), k), np.int64)
    scores = np.empty((len(Q), k), np.float32)
    n_threads = nb.get_num_threads()
    n_rows = max(1, min(_QUERY_BLOCK, -(-len(Q) // n_threads)))
    starts = iter(range(0, len(Q), n_rows))
    stop = threading.Event()
    with workers() as pool:
        packed = pack(C, pool) if low_precision.pays(Q, C) else None

        def work() -> None:
            rounded = packed and low_precision.searcher(Q, C, B, packed, indices, scores)
            plain: Callable[[slice], None] | None = None
            for start in starts:  # shared by the threads: each takes the next block
                if stop.is_set():
                    return
                rows = slice(start, start + n_rows)
                if rounded and rounded(rows):
                    continue
                rounded = None
                plain = plain or _searcher(Q, C, B, slack, n_rows, indices, scores)
                plain(rows)

        try:
            for done in [pool.submit(work) for _ in range(n_threads)]:
                done.result()
        finally:
            stop.set()
    return Neighbors(indices, scores)


def prepare(
    queries: NDArray[np.floating],
    candidates: NDArray[np.floating],
    k: int,
    metric: str,
    bias: NDArray[np.floating] | None,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Checked float32 queries, candidates and bias (empty for none), and :func:`rounding_bound`."""
    if k < 1:
        raise UsageError("k is not positive", got=k, wanted="k >= 1")
    if metric not in ("inner", "cosine"):
        raise UsageError("unknown metric", got=metric, wanted="inner or cosine")
    if queries.ndim != 2 or candidates.ndim != 2 or queries.shape[1] != candidates.shape[1]:
        raise InputError("queries and candidates differ in width", got=f"{queries.shape}, {candidates.shape}")
    if len(candidates) == 0:
        raise InputError("there are no candidates", got=candidates.shape)
    Q = np.ascontiguousarray(queries, np.float32)
    C = np.ascontiguousarray(candidates, np.float32)
    if metric == "cosine":
        Q, C = unit(Q), unit(C)
    B = checked_bias(bias, len(C))
    return Q, C, B, rounding_bound(Q, C, B)


def checked_bias(bias: NDArray[np.floating] | None, n_candidates: int) -> NDArray[np.float32]:
    """The bias in float32, finite and one for each candidate, or empty for none."""
    if bias is None:
        return np.empty(0, np.float32)
    B = np.ascontiguousarray(bias, np.float32)
    if B.shape != (n_candidates,):
        raise InputError("not one bias a candidate", got=B.shape, wanted=(n_candidates,))
    if not np.isfinite(B).all():
        raise InputError("the bias holds NaN or infinity", wanted="finite float32 numbers")
    if np.abs(B).max(initial=0) > 1e38:
        raise InputError("the bias exceeds float32", got=np.abs(B).max(), wanted="at most 1e38")
    return B


def _use_torch(n_products: int, backend: str, device: str | None) -> bool:
    if backend not in ("auto", "cpu", "torch"):
        raise UsageError("unknown backend", got=backend, wanted="auto, cpu or torch")
    if backend == "cpu" and device not in (None, "cpu"):
        raise UsageError("a device is given for the backend cpu", got=device, wanted="backend='torch'")
    if backend != "auto":
        return backend == "torch"
    # torch takes seconds to import: only for what takes longer
    if device is not None or n_products < _TORCH_PRODUCTS or not _may_have_driver():
        return device is not None
    return torch_backend.cuda_is_available()


def _may_have_driver() -> bool:
    """Whether it is worth importing torch to ask for a device: on Linux, a driver's files say so."""
    return "torch" in sys.modules or sys.platform != "linux" or any(map(os.path.exists, _DRIVERS))


def _searcher(
    Q: NDArray[np.float32],
    C: NDArray[np.float32],
    B: NDArray[np.float32],
    slack: NDArray[np.float32],
    n_rows: int,
    indices: NDArray[np.int64],
    scores: NDArray[np.float32],
) -> Callable[[slice], None]:
    """A function with buffers of its own that answers one block of queries by float32 products."""
    k, n_cols = indices.shape[1], min(_CANDIDATE_BLOCK, len(C))
    # pruned to (room + k) / 2 at most, the proposals have room for one lane more
    room = 4 * k + 2 * (_CANDIDATE_BLOCK // LANES + 1)
    products = np.empty(n_rows * n_cols, np.float32)
    ids, values = np.empty((n_rows, room), np.int64), np.empty((n_rows, room), np.float32)

    def search(rows: slice) -> None:
        block = Q[rows]
        sizes = np.zeros(len(block), np.int64)
        floors = np.full(len(block), -np.inf, np.float32)
        for first in range(0, len(C), n_cols):
            others = C[first : first + n_cols]
            P = products[: len(block) * len(others)].reshape(len(block), len(others))
            np.matmul(block, others.T, out=P)
            propose(P, first, block, C, B, k, slack[rows], sizes, floors, ids, values)
        settle(block, C, B, slack[rows], sizes, ids, values, indices[rows], scores[rows])

    return search


def rounding_bound(
    Q: NDArray[np.float32], C: NDArray[np.float32], bias: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Bound, for every query, of twice the error of a float32 inner product, plus bias, with any candidate.

    The product's own is :func:`~align.neighbors.rounding.gamma`'s. A candidate among the true best k cannot
    lie further than twice the bound below the k-th best product. Adding the bias ``b`` rounds once more, by
    at most ``u (|fl(x.y)| + |b|)``.
    """
    u, relative = 2.0**-24, gamma(Q.shape[1] + 1)
    longest = np.sqrt(np.einsum("ij,ij->i", C, C, dtype=np.float64).max())
    lengths = np.sqrt(np.einsum("ij,ij->i", Q, Q, dtype=np.float64))
    if not np.isfinite(longest) or not np.isfinite(lengths).all():
        raise InputError("vectors hold NaN or infinity", wanted="finite float32 numbers")
    if len(lengths) and longest * lengths.max() > 1e38:
        raise InputError("inner products exceed float32", got=f"up to {longest * lengths.max():.1e}")
    # products below the normal range round absolutely; the small constant covers them
    bound = 2 * relative * lengths * longest + 1e-37
    if bias is not None and len(bias):
        largest = np.abs(bias).max().astype(np.float64)
        bound += 2 * u * (largest + (1 + relative) * lengths * longest)
    return np.nextafter(bound.astype(np.float32), np.float32(np.inf))


def top_k_reference(
    queries: NDArray[np.floating],
    candidates: NDArray[np.floating],
    k: int,
    bias: NDArray[np.floating] | None = None,
) -> Neighbors:
    """What :func:`top_k` computes with inner products, in plain numpy: every score at once, then a sort."""
    scores = queries.astype(np.float64) @ candidates.astype(np.float64).T
    if bias is not None:
        scores += bias
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return Neighbors(order, np.take_along_axis(scores, order, axis=1).astype(np.float32))
