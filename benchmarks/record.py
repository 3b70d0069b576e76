"""What every result carries: machine, versions, threads, commit; and where it is written."""

from __future__ import annotations

import json
import os
import platform
import resource
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

RESULTS_DIR = Path(__file__).parent / "results"
PACKAGES = ("numpy", "scipy", "torch", "numba", "faiss-cpu", "transformers", "tokenizers", "fasttext-wheel")


def machine() -> dict[str, Any]:
    """Processor, cores, memory, system, versions, thread settings and the commit that runs."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in PACKAGES},
        "threads": {k: os.environ.get(k, "default") for k in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")},
        "load_average": round(os.getloadavg()[0], 2),
        "commit": commit(),
        "utc": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def commit() -> str:
    """The checkout's commit, with ``+`` where tracked files differ from it."""
    here = Path(__file__).parent

    def git(*args: str) -> str:
        return subprocess.run(["git", "-C", str(here), *args], capture_output=True, text=True).stdout.strip()

    revision = git("rev-parse", "--short=12", "HEAD") or "unknown"
    dirty = git("status", "--porcelain", "--untracked-files=no", "--", "*.py")
    return revision + ("+" if dirty else "")


def peak_rss_mib() -> float:
    """The largest resident set this process has had so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@dataclass
class Stages:
    """Wall seconds and peak memory, stage by stage."""

    rows: list[dict[str, Any]] = field(default_factory=list)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start, cpu = time.perf_counter(), time.process_time()
        yield
        self.rows.append(
            {
                "stage": name,
                "wall_s": round(time.perf_counter() - start, 2),
                "cpu_s": round(time.process_time() - cpu, 2),
                "peak_rss_mib": round(peak_rss_mib()),
            }
        )


@dataclass(frozen=True)
class ProcessCost:
    """What a finished child process took."""

    wall_s: float
    user_s: float
    system_s: float
    peak_rss_mib: float
    exit_code: int
    stdout: str


def run_process(command: Sequence[str | Path], *, env: Mapping[str, str] | None = None) -> ProcessCost:
    """Run a command to its end and read its cost off the operating system; its stderr passes through."""
    start = time.perf_counter()
    child = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True, env=env)
    stdout = ""
    if child.stdout is not None:
        with child.stdout:
            stdout = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    return ProcessCost(
        round(time.perf_counter() - start, 2),
        round(usage.ru_utime, 2),
        round(usage.ru_stime, 2),
        round(usage.ru_maxrss / 1024),
        child.returncode,
        stdout,
    )


def write(case: str, result: dict[str, Any]) -> Path:
    """Write ``results/<case>.json`` with the machine's description and return its path."""
    RESULTS_DIR.mkdir(exist_ok=True)
    path = RESULTS_DIR / f"{case}.json"
    path.write_text(json.dumps({"case": case, "machine": machine(), **result}, indent=1) + "\n")
    return path
