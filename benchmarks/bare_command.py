"""`vocab-transfer --src roberta --tgt sw` and nothing else, from empty caches to a finished directory.

The hub, OPUS and its archives are on 127.0.0.1: the demo's small RoBERTa as FacebookAI/roberta-base, and
lafand's English-Swahili text (which is GlobalVoices) as the corpus GlobalVoices. So what is measured is the
tool, not a network.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from align.errors import OutputError
from benchmarks.local_sources import LocalSources, serving
from benchmarks.record import run_process
from benchmarks.retrieval import parallel_text
from vocab import demo

REPO = "FacebookAI/roberta-base"


def run() -> dict[str, Any]:
    """Run the command three times: with empty caches, with full ones, and offline without a server."""
    english, swahili = parallel_text("train")
    sources = LocalSources(REPO, "0" * 40, Path(demo.path()))
    sources.add_corpus("GlobalVoices", "v2018q4", list(zip(english, swahili, strict=True)))
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with serving(sources):
            env = os.environ | sources.environment(folder)
            for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "VOCAB_TRANSFER_OFFLINE"):
                env.pop(name, None)
            rows.append(_row("empty caches", folder, env, sources))
            rows.append(_row("full caches", folder, env, sources))
        rows.append(_row("full caches, no server, --offline", folder, env, sources, "--offline"))
    return {"command": "vocab-transfer --src roberta --tgt sw", "pairs_served": len(english), "runs": rows}


def _row(label: str, folder: Path, env: dict[str, str], sources: LocalSources, *flags: str) -> dict[str, Any]:
    before = len(sources.requests)
    out = folder / "roberta-sw"
    # --out, --json and -q are for the measurement; the caches decide the rest
    command: list[str | Path] = [
        Path(sys.executable).with_name("vocab-transfer"),
        "--src",
        "roberta",
        "--tgt",
        "sw",
    ]
    command += ["--out", out, "--overwrite", "--json", "-q", *flags]
    cost = run_process(command, env=env)
    if cost.exit_code != 0:
        raise OutputError("the command failed", got=f"exit code {cost.exit_code}", where=label)
    told = json.loads(cost.stdout)
    corpus = next(entry for entry in told["inputs"] if entry["kind"] == "fetched parallel")
    return {
        "run": label,
        "requests": len(sources.requests) - before,
        "pairs_kept": corpus["pairs"]["kept"],
        "dropped": corpus["dropped"],
        "tokens": told["tokenizer"]["size"],
        "tokens_per_word": told["tokenizer"]["on_the_text"]["after"]["tokens_per_word"],
        "wall_s": cost.wall_s,
        "cpu_s": round(cost.user_s + cost.system_s, 2),
        "peak_rss_mib": cost.peak_rss_mib,
        "stages_s": told["seconds"],
    }
