"""``make demo`` and ``make test`` on a fresh clone: their time."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.record import run_process
from benchmarks.shared import SHARED


def run() -> dict[str, Any]:
    """Clone this checkout's HEAD into a new folder and run the README's two commands there."""
    repository = Path(__file__).parents[1]
    with tempfile.TemporaryDirectory() as temporary:
        clone = Path(temporary) / "vocab-transfer"
        subprocess.run(["git", "clone", "-q", str(repository), str(clone)], check=True)
        if SHARED.is_dir():
            (Path(temporary) / "shared").symlink_to(SHARED)
        rows = {}
        for target in ("demo", "test"):
            cost = run_process(["make", "-C", clone, target])
            rows[f"make {target}"] = {"wall_s": cost.wall_s, "exit_code": cost.exit_code}
    return {"runs": rows, "note": "the first command also creates the environment and installs into it"}
