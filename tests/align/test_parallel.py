"""Executors from a spec, and the E-step on them: the same bytes, whoever computes, whoever dies."""

from __future__ import annotations

import operator
import os
import subprocess
import sys
import time
from concurrent.futures import Executor

import numpy as np
import pytest

from align.errors import InputError, UnavailableError, UsageError
from align.parallel import executor, in_order
from align.wordalign import Bitext, expectation, shards
from align.wordalign.expectation import AGREE, INDEPENDENT, MEAN, Parameters, expect
from align.wordalign.hmm import first_jumps
from align.wordalign.pairs import build_pairs
from align.wordalign.shards import share_text


def some_text(seed=0, n_pairs=120, n_types=40):
    rng = np.random.default_rng(seed)
    src, tgt = ([rng.integers(n_types, size=n).tolist() for n in rng.integers(1, 15, n_pairs)] for _ in "st")
    bitext = Bitext.from_ids(src, tgt, n_src_types=n_types, n_tgt_types=n_types)
    pairs = build_pairs(bitext, max_len=12)
    return bitext, pairs, parameters_of(bitext, pairs, rng)


def parameters_of(bitext, pairs, rng):
    return Parameters(
        (rng.random((pairs.n_rows, 2)) ** 6).astype(np.float32),
        rng.random(bitext.n_tgt_types).astype(np.float32),
        rng.random(bitext.n_src_types).astype(np.float32),
        0.05,
        np.tile(first_jumps(15), (2, 1)),
    )


def assert_same_bytes(a, b):
    for name in ("counts", "null_tgt", "null_src", "jumps", "log_likelihood"):
        assert getattr(a, name).tobytes() == getattr(b, name).tobytes(), name
    for x, y in zip(a.links, b.links, strict=True):
        assert x.dtype == y.dtype
        assert x.tobytes() == y.tobytes()


@pytest.mark.parametrize(("mode", "threshold"), [(INDEPENDENT, np.inf), (AGREE, np.inf), (MEAN, 0.3)])
def test_chunks_on_an_executor_give_the_same_bytes(monkeypatch, mode, threshold):
    monkeypatch.setattr(expectation, "_CHUNK_CELLS", 700)
    bitext, pairs, parameters = some_text()
    assert len(expectation.chunk_bounds(pairs)) > 5
    plain = expect(bitext, pairs, parameters, mode=mode, threshold=threshold)
    assert plain.counts.max() > 0.1
    assert (len(plain.links[0]) > 0) == (mode == MEAN)
    with executor("serial") as pool, share_text(bitext, pairs, pool) as text:
        assert_same_bytes(text.expect(parameters, mode=mode, threshold=threshold), plain)
        folder = text.folder
        assert folder.exists()
    assert not folder.exists()


def test_workers_that_do_not_see_the_folder_say_so():
    bitext, pairs, parameters = some_text()
    with executor(None) as pool, share_text(bitext, pairs, pool) as text:
        shards._shared.cache_clear()
        (text.folder / "src_ids.npy").unlink()
        with pytest.raises(InputError, match="does not see the shared text"):
            text.expect(parameters, mode=AGREE)


def test_results_come_in_order_and_errors_come_through():
    with executor(None) as pool:
        assert list(in_order(pool, operator.mul, [(k, k) for k in range(40)], ahead=3)) == [
            k * k for k in range(40)
        ]
        with pytest.raises(ZeroDivisionError):
            list(in_order(pool, operator.floordiv, [(1, 1), (1, 0)]))


@pytest.mark.parametrize("spec", ["threads", "processes:0", "processes:", "0", "http://a", True])
def test_unknown_executor(spec):
    with pytest.raises(UsageError, match="unknown executor"), executor(spec):
        pass


def test_missing_dask_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    missing = pytest.raises(UnavailableError, match=r"pip install 'vocab-transfer\[cluster\]'")
    with missing, executor("tcp://127.0.0.1:1"):
        pass


@pytest.mark.slow
def test_processes_give_the_same_bytes(monkeypatch):
    monkeypatch.setattr(expectation, "_CHUNK_CELLS", 700)
    bitext, pairs, parameters = some_text(1)
    plain = expect(bitext, pairs, parameters, mode=AGREE)
    with executor("processes:2") as pool, share_text(bitext, pairs, pool) as text:
        assert_same_bytes(text.expect(parameters, mode=AGREE), plain)


@pytest.mark.slow
def test_a_dead_process_is_told():
    with executor(1) as pool, pytest.raises(UnavailableError, match="worker process died"):
        list(in_order(pool, os._exit, [(1,)]))


class _KillsHalfWay(Executor):
    """Passes tasks on, and kills a worker process before one of them."""

    def __init__(self, pool, process, when):
        self.pool, self.process, self.left = pool, process, when

    def submit(self, fn, /, *args):
        self.left -= 1
        if self.left == 0:
            self.process.kill()
            self.process.wait()
        return self.pool.submit(fn, *args)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_dask_gives_the_same_bytes_though_a_worker_is_killed(monkeypatch, tmp_path):
    pytest.importorskip("distributed")
    monkeypatch.setattr(expectation, "_CHUNK_CELLS", 200)
    bitext, pairs, parameters = some_text(2, n_pairs=300)
    n_chunks = len(expectation.chunk_bounds(pairs))
    assert n_chunks > 40
    plain = expect(bitext, pairs, parameters, mode=AGREE)
    place = tmp_path / "scheduler.json"
    python = [sys.executable, "-m"]
    local = ["--host", "127.0.0.1", "--no-dashboard"]
    started = [
        subprocess.Popen(
            [*python, "distributed.cli.dask_scheduler", *local, "--port", "0", "--scheduler-file", place],
            cwd=tmp_path,
        )
    ]
    try:
        deadline = time.monotonic() + 120
        while not place.exists() and time.monotonic() < deadline:
            time.sleep(0.2)
        worker = [*python, "distributed.cli.dask_worker", *local, "--no-nanny", "--nthreads", "1"]
        started += [subprocess.Popen([*worker, "--scheduler-file", place], cwd=tmp_path) for _ in range(2)]
        from distributed import Client

        with Client(scheduler_file=str(place), set_as_default=False) as client:
            client.wait_for_workers(2, timeout=120)
            address = client.scheduler.address
            with executor(address) as pool:
                killing = _KillsHalfWay(pool, started[1], n_chunks // 2)
                with share_text(bitext, pairs, killing) as text:
                    found = text.expect(parameters, mode=AGREE)
            assert killing.left < 0
            assert len(client.scheduler_info()["workers"]) == 1
        assert_same_bytes(found, plain)
    finally:
        for process in started:
            process.kill()
            process.wait()
