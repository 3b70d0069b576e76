from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from align.errors import InputError
from tests.vocab.random_plans import names, random_plan, same_plan
from vocab.plan import TransferPlan
from vocab.plan.norms import Norm
from vocab.plan.sampling import Sampling

FILES = ("plan.safetensors", "plan.json")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    norm=st.sampled_from(["none", "sources", "source-mean", "script-median"]),
    head_norm=st.sampled_from(["none", "script-median"]),
    sampling=st.builds(
        Sampling, st.sampled_from(["normal", "multivariate"]), st.floats(0, 9), st.integers(0)
    ),
)
def test_round_trip(tmp_path: Path, seed: int, norm: Norm, head_norm: Norm, sampling: Sampling) -> None:
    plan = random_plan(seed, tgt=("Ġa", '"', "\\", "é", "", *names("t", 6)), sampling=sampling)
    scripts = np.arange(11, dtype=np.int32), np.arange(9, dtype=np.int32)
    plan = plan.with_norm(norm, head_norm, scripts=scripts if "script-median" in (norm, head_norm) else None)
    loaded = TransferPlan.load(plan.save(tmp_path / "plan"))
    same_plan(loaded, plan)
    assert (loaded.method, loaded.options) == (plan.method, plan.options)
    again = [(plan.save(tmp_path / "plan") / name).read_bytes() for name in FILES]
    assert [(loaded.save(tmp_path / "other") / name).read_bytes() for name in FILES] == again
    # a finished model directory holds its plan in a folder, and that of its head in another if it has one
    same_plan(TransferPlan.load(tmp_path), plan)
    shutil.rmtree(tmp_path / "plan-head", ignore_errors=True)
    same_plan(TransferPlan.load(tmp_path, head=True), plan)
    other = random_plan(seed + 1)
    other.save(tmp_path / "plan-head")
    same_plan(TransferPlan.load(tmp_path, head=True), other)
    same_plan(TransferPlan.load(tmp_path), plan)


CHAIN = """
import sys
from tests.vocab.random_plans import random_plan
from vocab.plan import Origin
drawn = random_plan(1, origins=(Origin.SAMPLED,))
p = random_plan(11).then(random_plan(12)).mix(random_plan(13), 0.3).then(drawn)
p.save(sys.argv[1])
import numpy as np
E = np.random.default_rng(0).standard_normal((9, 33)).astype(np.float32)
sys.stdout.buffer.write(p.apply(E).tobytes())
"""


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    seen = set()
    for hash_seed, threads in (("1", "1"), ("2", "2")):
        environment = os.environ | {
            "PYTHONHASHSEED": hash_seed,
            "PYTHONPATH": str(Path(__file__).parents[3]),
            "OPENBLAS_NUM_THREADS": threads,
            "OMP_NUM_THREADS": threads,
        }
        folder = tmp_path / hash_seed
        run = subprocess.run(
            [sys.executable, "-c", CHAIN, str(folder)], capture_output=True, check=True, env=environment
        )
        assert len(run.stdout) == 12 * 33 * 4
        digest = hashlib.sha256(run.stdout)
        for name in FILES:
            digest.update((folder / name).read_bytes())
        seen.add(digest.hexdigest())
    assert len(seen) == 1


def facts(**change: object) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        path = folder / "plan.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))

    return damage


def arrays(**change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], object]:
    def damage(folder: Path) -> None:
        path = folder / "plan.safetensors"
        old = load_file(path)
        save_file(old | {name: np.ascontiguousarray(f(old[name])) for name, f in change.items()}, path)

    return damage


def cut(name: str, n_bytes: int) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:n_bytes])


DAMAGE: dict[str, Callable[[Path], object]] = {
    "no json": lambda folder: (folder / "plan.json").unlink(),
    "no arrays": lambda folder: (folder / "plan.safetensors").unlink(),
    "not UTF-8": lambda folder: (folder / "plan.json").write_bytes(b"\xff\xfe"),
    "a list": lambda folder: (folder / "plan.json").write_text("[]"),
    "no facts": lambda folder: (folder / "plan.json").write_text("{}"),
    "half the json": cut("plan.json", 40),
    "empty json": cut("plan.json", 0),
    "empty arrays": cut("plan.safetensors", 0),
    "cut in the length": cut("plan.safetensors", 5),
    "cut in the header": cut("plan.safetensors", 100),
    "cut at the end": cut("plan.safetensors", -8),
    "schema": facts(schema=99),
    "sampling's parts": facts(sampling={"kind": "normal", "width": 3}),
    "sampling's kind": facts(sampling={"kind": "uniform"}),
    "sampling's type": facts(sampling=[1]),
    "norm": facts(norm="unit"),
    "norm of the head": facts(head_norm=3),
    "norm without its scripts": facts(norm="script-median"),
    "number of low-rank parts": facts(low_rank=2),
    "options": facts(options=3),
    "method": facts(method=None),
    "too few old tokens": facts(src_tokens=["a"]),
    "no new tokens": facts(tgt_tokens=None),
    "too few new tokens": facts(tgt_tokens=["a"]),
    "numbers for tokens": facts(tgt_tokens=[1] * 12),
    "columns past the end": arrays(indices=lambda a: a + 1000),
    "columns below 0": arrays(indices=lambda a: -a - 1),
    "short indptr": arrays(indptr=lambda a: a[:-1]),
    "descending indptr": arrays(indptr=lambda a: a[::-1]),
    "short weights": arrays(weights=lambda a: a[:-1]),
    "NaN": arrays(weights=lambda a: a * np.nan),
    "short origins": arrays(origins=lambda a: a[:-1]),
    "unknown origins": arrays(origins=lambda a: a + 50),
    "empty origins": arrays(origins=lambda a: a * 0),
    "short keys": arrays(sample_keys=lambda a: a[:-1]),
    "keys below 0": arrays(sample_keys=lambda a: a - 100),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damaged_files(tmp_path: Path, damage: Callable[[Path], object]) -> None:
    random_plan(3).save(tmp_path)
    damage(tmp_path)
    with pytest.raises(InputError) as error:
        TransferPlan.load(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_no_plan_here(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Give a directory that vocab-transfer wrote"):
        TransferPlan.load(tmp_path / "nothing")
