"""Plans on disk: ``plan.safetensors`` (arrays) and ``plan.json`` (the rest) in one folder."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from align.errors import InputError
from vocab.plan.low_rank import LowRank
from vocab.plan.sampling import Sampling
from vocab.plan.transfer_plan import TransferPlan

SCHEMA = 1
ARRAYS, FACTS = "plan.safetensors", "plan.json"
FOLDER, HEAD_FOLDER = "plan", "plan-head"  # in a model directory
_SCRIPTS = ("tgt_scripts", "src_scripts")
_FACTORS = ("rows", "left", "anchors", "right")  # in the order of LowRank's parameters


def save_plan(plan: TransferPlan, folder: str | Path) -> Path:
    """Write a plan; the same plan gives the same bytes. Returns the folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {
        "indptr": plan.weights.indptr.astype(np.int64),
        "indices": plan.weights.indices.astype(np.int32),
        "weights": plan.weights.data,
        "origins": plan.origins,
        "sample_keys": plan.sample_keys,
    }
    if (plan.sample_groups >= 0).any():  # absent where every sampled row is drawn around all old rows
        arrays |= {"sample_groups": plan.sample_groups, "src_groups": plan.src_groups}
    if plan.scripts is not None:
        arrays |= dict(zip(_SCRIPTS, plan.scripts, strict=True))
    for i, part in enumerate(plan.low_rank):
        arrays |= {f"low_rank.{i}.{name}": getattr(part, name) for name in _FACTORS}
    facts = {
        "schema": SCHEMA,
        "method": plan.method,
        "options": dict(plan.options),
        "norm": plan.norm,
        "head_norm": plan.head_norm,
        "low_rank": len(plan.low_rank),
        "sampling": None if plan.sampling is None else asdict(plan.sampling),
        "src_tokens": plan.src_tokens,
        "tgt_tokens": plan.tgt_tokens,
    }
    (folder / ARRAYS).write_bytes(save(arrays))  # save_file would hide the file from other users
    (folder / FACTS).write_text(
        json.dumps(facts, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8"
    )
    return folder


def load_plan(folder: str | Path, *, head: bool = False) -> TransferPlan:
    """Read a plan written by :func:`save_plan`, or the plan inside a finished model directory.

    With `head` it is the plan of the directory's output head, which is that of the input embeddings unless
    the head was given one of its own.

    Raises
    ------
    InputError
        When the files are missing, damaged or of another schema.
    """
    folder = Path(folder)
    if not (folder / FACTS).exists():
        for name in (HEAD_FOLDER, FOLDER) if head else (FOLDER,):
            if (folder / name / FACTS).exists():
                folder = folder / name
                break
    for name in (ARRAYS, FACTS):
        if not (folder / name).exists():
            raise InputError(
                f"no {name} here", where=folder, hint="give a directory that vocab-transfer wrote"
            )
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        arrays = load_file(folder / ARRAYS)
        if facts["schema"] != SCHEMA:
            raise InputError("another schema", got=facts["schema"], wanted=SCHEMA)
        if not isinstance(facts["method"], str) or not isinstance(facts["options"], dict):
            raise TypeError("method or options of the wrong type")
        if not all(isinstance(token, str) for token in (*facts["src_tokens"], *facts["tgt_tokens"])):
            raise TypeError("tokens that are not strings")
        shape = (len(facts["tgt_tokens"]), len(facts["src_tokens"]))
        weights = sp.csr_array((arrays["weights"], arrays["indices"], arrays["indptr"]), shape=shape)
        weights.check_format(full_check=True)
        return TransferPlan(
            weights=weights,
            origins=arrays["origins"],
            method=facts["method"],
            options=facts["options"],
            src_tokens=tuple(facts["src_tokens"]),
            tgt_tokens=tuple(facts["tgt_tokens"]),
            sampling=None if facts["sampling"] is None else Sampling(**facts["sampling"]),
            sample_keys=arrays["sample_keys"],
            norm=facts["norm"],
            head_norm=facts.get("head_norm", "none"),
            scripts=(arrays[_SCRIPTS[0]], arrays[_SCRIPTS[1]]) if _SCRIPTS[0] in arrays else None,
            low_rank=tuple(
                LowRank(*(arrays[f"low_rank.{i}.{name}"] for name in _FACTORS))
                for i in range(facts.get("low_rank", 0))
            ),
            **{name: arrays[name] for name in ("sample_groups", "src_groups") if name in arrays},
        )
    except (InputError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"the plan cannot be read: {error}", where=folder) from error
