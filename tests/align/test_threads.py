from __future__ import annotations

import threading

import numba
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from align.threads import workers


def blas_threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.mark.parametrize("n_threads", range(1, min(numba.config.NUMBA_NUM_THREADS, 3) + 1))
def test_workers_are_as_many_as_numba_may_use_and_blas_has_one_in_each(n_threads: int) -> None:
    before = numba.get_num_threads()
    numba.set_num_threads(n_threads)
    try:
        with threadpool_limits(2, user_api="blas"):
            together = threading.Barrier(n_threads)
            with workers() as pool:
                # nobody gets past the barrier unless all run at the same time
                tasks = [pool.submit(together.wait, 30) for _ in range(n_threads)]
                assert sorted(task.result() for task in tasks) == list(range(n_threads))
                assert pool._max_workers == n_threads
                assert pool.submit(blas_threads).result() == {1}
            assert blas_threads() == {2}
    finally:
        numba.set_num_threads(before)


def test_blas_gets_its_threads_back_after_an_error() -> None:
    with threadpool_limits(2, user_api="blas"):
        with pytest.raises(ZeroDivisionError), workers() as pool:
            pool.submit(lambda: 1 // 0).result()
        assert blas_threads() == {2}
