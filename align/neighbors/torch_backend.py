"""Exact nearest neighbours on a torch device, with the same answer to the bit as on the processor.

Float32 products, in whatever order the device adds them up, propose a few more than k candidates. If the
last proposal lies below the k-th by more than twice the proven rounding error, none is missing; the few
queries for which it does not are asked again with more. Proposals are scored in float64 in the order of
:func:`align.neighbors.kernels.dot`, from products that are exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from align.errors import UnavailableError
from align.neighbors.vector_code import DOT_STEP

if TYPE_CHECKING:
    import torch

_BLOCK_ROWS, _BLOCK_ENTRIES = 4096, 1 << 26  # 256 MiB of float32 products
_GATHERED_ENTRIES = 1 << 24  # 128 MiB of float64
_EXTRA, _GROWTH = 16, 8


def cuda_is_available() -> bool:
    """Whether torch sees a CUDA device; it imports torch."""
    import torch

    return torch.cuda.is_available()


def search(
    Q: NDArray[np.float32],
    C: NDArray[np.float32],
    B: NDArray[np.float32],
    slack: NDArray[np.float32],
    k: int,
    device: str,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Indices and scores of the k best candidates, ``k <= len(C)``; arguments as for the processor.

    Memory on the device: the inputs as float32, 256 MiB of products, three times 128 MiB of gathered rows,
    and the proposals, 12 bytes for each of ``4096 (2 k + 16)``.

    Raises
    ------
    UnavailableError
        For a device that is not there or cannot compute in float64.
    """
    import torch

    try:
        where = torch.device(device)
        torch.zeros(1, dtype=torch.float64, device=where)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise UnavailableError(
            "this torch device cannot be used",
            got=device,
            wanted="one with float64",
            hint="device='cpu' always can",
        ) from error
    indices, scores = np.empty((len(Q), k), np.int64), np.empty((len(Q), k), np.float32)
    with torch.no_grad(), _full_float32():
        queries, candidates, bias, margins = (_tensor(part).to(where) for part in (Q, C, B, slack))
        todo, width = torch.arange(len(Q), device=where), min(2 * k + _EXTRA, len(C))
        while len(todo):
            left = []
            for rows in todo.split(_BLOCK_ROWS):
                values, ids = _propose(queries[rows], candidates, bias, width)
                # strictly below: whatever was left out is no larger than the last proposal
                missing = values[:, -1] >= values[:, k - 1] - margins[rows]
                if width == len(C):
                    missing[:] = False
                left.append(rows[missing])
                rows, ids = rows[~missing], ids[~missing]
                exact, ids = _settle(queries[rows], candidates, bias, ids, k)
                places = rows.cpu().numpy()
                indices[places] = ids.cpu().numpy()
                scores[places] = exact.float().cpu().numpy()
            todo, width = torch.cat(left), min(_GROWTH * width, len(C))
    return indices, scores


def _tensor(part: NDArray[np.float32]) -> torch.Tensor:
    import torch

    # torch warns of arrays that cannot be written, such as memory-mapped ones
    return torch.from_numpy(part if part.flags.writeable else part.copy())


@contextmanager
def _full_float32() -> Iterator[None]:
    """No shortened factors (TF32, bfloat16) in float32 products; the setting of the process is put back."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _propose(
    Q: torch.Tensor, C: torch.Tensor, B: torch.Tensor, width: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The `width` largest float32 scores of each query, falling, and whose they are."""
    import torch

    n_cols = max(width, _BLOCK_ENTRIES // max(1, len(Q)))
    values, ids = Q.new_empty((len(Q), 0)), torch.empty((len(Q), 0), dtype=torch.int64, device=Q.device)
    for first in range(0, len(C), n_cols):
        products = Q @ C[first : first + n_cols].T
        if len(B):
            products += B[first : first + n_cols]
        best, places = products.topk(min(width, products.shape[1]), dim=1)
        values, order = torch.cat([values, best], dim=1).topk(
            min(width, values.shape[1] + best.shape[1]), dim=1
        )
        ids = torch.cat([ids, places + first], dim=1).gather(1, order)
    return values, ids


def _settle(
    Q: torch.Tensor, C: torch.Tensor, B: torch.Tensor, ids: torch.Tensor, k: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The k best of the proposals by float64 score, equal ones by the lower index."""
    import torch

    ids = ids.sort(dim=1).values
    n_rows = max(1, _GATHERED_ENTRIES // max(1, ids.shape[1] * C.shape[1]))
    parts = []
    for query, chosen in zip(Q.split(n_rows), ids.split(n_rows), strict=True):
        exact = _dot(query[:, None, :], C[chosen])
        if len(B):
            exact += B[chosen].double()
        parts.append(exact)
    exact, order = torch.cat(parts).sort(dim=1, descending=True, stable=True)
    return exact[:, :k], ids.gather(1, order)[:, :k]


def _dot(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Float64 inner products over the last dimension, added up exactly as on the processor."""
    products = x.double() * y.double()
    whole = products.shape[-1] - products.shape[-1] % DOT_STEP
    sums = products.new_zeros((*products.shape[:-1], DOT_STEP))
    for begin in range(0, whole, DOT_STEP):
        sums += products[..., begin : begin + DOT_STEP]
    p0, p1, p2, p3 = sums.split(DOT_STEP // 4, dim=-1)
    total = (p0 + p2) + (p1 + p3)
    while total.shape[-1] > 1:
        lower, upper = total.split(total.shape[-1] // 2, dim=-1)
        total = lower + upper
    total = total[..., 0]
    for i in range(whole, products.shape[-1]):
        total = total + products[..., i]
    return total
