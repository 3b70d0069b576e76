"""How many threads the kernels use."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


def set_threads(threads: int | None) -> None:
    """Let numba's kernels and BLAS use this many threads from here on, all cores at most for numba.

    None leaves them as they are.
    """
    if threads is None:
        return
    import numba
    from threadpoolctl import threadpool_limits

    numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]
    threadpool_limits(limits=threads)


@contextmanager
def workers() -> Iterator[ThreadPoolExecutor]:
    """As many threads as numba's kernels may use; BLAS has one in each.

    Threads of BLAS would wait for one another at every product, and spin for a while after it on the cores
    that other work needs; and bits would depend on how many there are.
    """
    import numba
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(numba.get_num_threads()) as pool:
        yield pool
