"""Executors: the same task on this thread, on several processes, or on a Dask cluster.

What runs on one keeps to rules that make all of them agree to the bit: functions of a module, positional
arguments, blocks that the caller cuts without regard to the executor, results taken in the order of blocks.
"""

from __future__ import annotations

import multiprocessing
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

import numba

from align.errors import UnavailableError, UsageError


class SerialExecutor(Executor):
    """Runs every task at once, in the thread that submits it."""

    def submit(self, fn: Callable[..., Any], /, *args: Any) -> Future[Any]:  # type: ignore[override]
        """Run ``fn(*args)``; the future that comes back is done."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def executor(spec: str | int | None) -> Iterator[Executor]:
    """The executor that ``spec`` names, shut down at the end of the block.

    Parameters
    ----------
    spec : str, int or None
        None or ``"serial"``: this thread. An int or ``"processes:4"``: so many processes, each with one
        thread for the kernels. ``"tcp://host:port"``: the workers of a Dask scheduler, on which the package
        must be installed, and which see the files of this machine under the same names.

    Raises
    ------
    UsageError
        For any other spec.
    UnavailableError
        Dask is not installed, or no scheduler answers.
    """
    if spec is None or spec == "serial":
        yield SerialExecutor()
    elif isinstance(spec, str) and spec.startswith("tcp://"):
        with _dask(spec) as client:
            # a cancelled or repeated task must not be looked up by its arguments
            yield client.get_executor(pure=False)
    else:
        # spawned, since a fork of a process with running threads may hang
        with ProcessPoolExecutor(
            _n_processes(spec),
            mp_context=multiprocessing.get_context("spawn"),
            initializer=numba.set_num_threads,
            initargs=(1,),
        ) as pool:
            yield pool


def in_order(
    pool: Executor, function: Callable[..., Any], tasks: Iterable[tuple[Any, ...]], *, ahead: int = 16
) -> Iterator[Any]:
    """Results of ``function(*task)`` in the order of ``tasks``, with at most ``ahead`` of them under way.

    Raises
    ------
    UnavailableError
        A process of the pool died. (A Dask scheduler gives the task of a dead worker to another one.)
    """
    waiting: deque[Future[Any]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(function, *task))
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenExecutor as error:
        raise UnavailableError(
            "a worker process died", hint="it may have run out of memory; use fewer processes"
        ) from error
    finally:
        for future in waiting:
            future.cancel()


def _n_processes(spec: str | int) -> int:
    match = re.fullmatch(r"(?:processes:)?(\d+)", str(spec))
    if match is None or int(match[1]) < 1 or isinstance(spec, bool):
        raise UsageError(
            "unknown executor", got=spec, wanted="serial, processes:N (N from 1) or tcp://host:port"
        )
    return int(match[1])


def _dask(address: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise UnavailableError(
            "a Dask scheduler needs the package distributed",
            hint="run: pip install 'vocab-transfer[cluster]'",
        ) from error
    try:
        return Client(address, timeout=10, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise UnavailableError("no Dask scheduler answers", where=address, got=error) from error
