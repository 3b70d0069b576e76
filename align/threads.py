"""How many threads the kernels use."""

from __future__ import annotations


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
