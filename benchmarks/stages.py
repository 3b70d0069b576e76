"""Parallel text to finished model directory: time by stage and peak memory of the whole process."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.record import run_process
from benchmarks.retrieval import VOCAB_SIZE, parallel_text, source_model


def run(repeats: int = 3) -> dict[str, Any]:
    """Run the command line `repeats` times on lafand train (30,782 pairs) with all-MiniLM-L6-v2.

    The first run may compile numba kernels; each row says what it took.
    """
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        files: list[Path] = []
        for name, lines in zip(("train.en", "train.sw"), parallel_text("train"), strict=True):
            files.append(Path(temporary) / name)
            files[-1].write_text("\n".join(lines) + "\n", encoding="utf-8")
        for number in range(repeats):
            folder = Path(temporary) / f"out-{number}"
            command: list[str | Path] = [
                Path(sys.executable).with_name("vocab-transfer"),
                "--src",
                source_model(),
                "--tgt",
                "sw",
            ]
            command += ["--parallel", *files, "--out", folder, "--json", "-q"]
            cost = run_process([*command, "--vocab-size", str(VOCAB_SIZE)])
            report = json.loads(cost.stdout)
            rows.append(
                {
                    "wall_s": cost.wall_s,
                    "cpu_s": round(cost.user_s + cost.system_s, 2),
                    "peak_rss_mib": cost.peak_rss_mib,
                    "stages_s": report["seconds"],
                }
            )
    return {"pairs": 30_782, "vocabulary": VOCAB_SIZE, "runs": rows}
