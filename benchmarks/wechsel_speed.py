"""WECHSEL at real size, beside the installed ``wechsel`` package: time, memory, and whether the rows agree.

RoBERTa's 50,265-token vocabulary to a 50,000-token Swahili byte-level BPE; both tools get the same fastText
models, lexicon, tokenizers and embedding matrix, each in a process of its own.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from align.errors import UnavailableError
from align.fasttext_training import train_fasttext
from align.lexicon import read_lexicon
from align.mapping import LinearMap
from align.vectors import read_vectors
from benchmarks.shared import shared
from vocab.methods.wechsel import wechsel
from vocab.plan import Origin, TransferPlan
from vocab.tokens import Vocabulary

_ROOT = Path(__file__).parents[1]
_ROLES = {
    **{f"{role}_token": "<s>" for role in ("bos", "cls")},
    **{f"{role}_token": "</s>" for role in ("eos", "sep")},
    **{f"{role}_token": f"<{role}>" for role in ("pad", "unk", "mask")},
}

COMMON = """
import json, re, resource, sys, threading, time
stages, user, peak, start = {}, {}, [0], (time.perf_counter(), 0.0)
def watch():
    while True:
        found = re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())
        peak[0] = max(peak[0], int(found.group(1)))
        time.sleep(0.02)
threading.Thread(target=watch, daemon=True).start()
def stage(name):
    global start
    now = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_utime
    stages[name], user[name] = (round(after - before, 3) for after, before in zip(now, start))
    start = now
folder = sys.argv[1]
import numpy as np
from transformers import PreTrainedTokenizerFast
"""
STAGES = ("stages_s", "stages_user_s")
LOAD = """
src, tgt = (PreTrainedTokenizerFast.from_pretrained(f"{folder}/{side}") for side in ("src", "tgt"))
E = np.load(f"{folder}/matrix.npy")
stage("tokenizers and matrix")
"""
DONE = """
print(json.dumps({"stages_s": stages, "stages_user_s": user, "peak_anonymous_mib": round(peak[0] / 1024)}))
"""

_PEER = f"""{COMMON}
import fasttext
from wechsel import WECHSEL
stage("imports"){LOAD}
models = [fasttext.load_model(f"{{folder}}/{{side}}.bin") for side in ("src", "tgt")]
stage("open vectors")
method = WECHSEL(*models, bilingual_dictionary=f"{{folder}}/lexicon.tsv")
stage("fit the map")
matrix, info = method.apply(src, tgt, E)
stage("rows")
np.save(f"{{folder}}/peer_matrix.npy", matrix)
np.save(f"{{folder}}/peer_rotation.npy", method.source_transform(np.eye(models[0].get_dimension())))
near = np.full((len(tgt), 10), -1)
for token, (tokens, weights, similarities) in info.sources.items():
    near[tgt.convert_tokens_to_ids(token)] = src.convert_tokens_to_ids(list(tokens))
np.save(f"{{folder}}/peer_neighbours.npy", near)
{DONE}
"""
_OURS = f"""{COMMON}
from align.lexicon import read_lexicon
from align.vectors import read_vectors
from benchmarks.shared import shared
from vocab.methods import normal
from vocab.methods.wechsel import wechsel
from vocab.tokens import Vocabulary
stage("imports"){LOAD}
vectors = [read_vectors(f"{{folder}}/{{side}}.bin") for side in ("src", "tgt")]
lexicon = read_lexicon(f"{{folder}}/lexicon.tsv")
stage("open vectors")
src, tgt = Vocabulary.of(src), Vocabulary.of(tgt)
plan = wechsel(src, tgt, src_vectors=vectors[0], tgt_vectors=vectors[1], lexicon=lexicon)
stage("plan")
matrix = plan.then(normal(src, tgt)).apply(E)
stage("rows")
np.save(f"{{folder}}/our_matrix.npy", matrix)
{DONE}
"""


def run(
    peer_python: str,
    *,
    dim: int = 300,
    n_buckets: int = 2_000_000,
    epochs: int = 3,
    folder: Path | None = None,
) -> dict[str, Any]:
    """Make the inputs, run both tools, compare.

    Parameters
    ----------
    peer_python : str
        A Python interpreter that has the ``wechsel`` package.
    dim, n_buckets, epochs : int
        Of the fastText models: continuous bag of words, character 5-grams, 10 negatives, as in the vectors
        published for many languages; trained on the English-Swahili training text.
    folder : Path, optional
        Where inputs are kept between calls; without it a temporary directory is used.

    Returns
    -------
    dict
        For both tools wall and CPU seconds of the whole process, seconds by stage, peak resident and peak
        anonymous memory (mapped model files are not anonymous); the ratios; the agreement of the rows.

    Raises
    ------
    UnavailableError
        The data are not on this machine, or the other interpreter cannot run the package.
    """
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="wechsel-speed-") as made:
            return run(peer_python, dim=dim, n_buckets=n_buckets, epochs=epochs, folder=Path(made))
    settings = {"dim": dim, "n_buckets": n_buckets, "epochs": epochs}
    make_inputs(folder, settings)
    first = measure(sys.executable, _OURS, folder)
    peer = measure(peer_python, _PEER, folder)
    ours = measure(sys.executable, _OURS, folder)
    models_mib = sum((folder / f"{side}.bin").stat().st_size for side in ("src", "tgt")) / 2**20
    method = [peer[key]["fit the map"] + peer[key]["rows"] for key in STAGES]
    own = [ours[key]["plan"] + ours[key]["rows"] for key in STAGES]
    return {
        "settings": settings,
        "models_mib": round(models_mib),
        "wechsel": peer,
        "ours": ours,
        "ours_first_run_wall_s": first["wall_s"],
        "speedup_whole_process": round(peer["wall_s"] / ours["wall_s"], 2),
        "speedup_user_cpu": round(peer["user_s"] / ours["user_s"], 2),
        "speedup_method": round(method[0] / own[0], 2),
        "speedup_method_user_cpu": round(method[1] / own[1], 2),
        "agreement": compare(folder),
    }


def make_inputs(folder: Path, settings: dict[str, int]) -> None:
    """Tokenizers, models, lexicon and matrix in `folder`, unless they are there with the same settings."""
    done = folder / "settings.json"
    if done.is_file() and json.loads(done.read_text()) == settings:
        return
    data = shared("data")
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    done.unlink(missing_ok=True)
    merges = gzip.decompress((data / "tokenizers/gpt2/vocab.bpe.gz").read_bytes()).decode().splitlines()[1:]
    vocab = json.loads(gzip.decompress((data / "tokenizers/roberta-base/vocab.json.gz").read_bytes()))
    src = Tokenizer(models.BPE(vocab, [(line.split(" ")[0], line.split(" ")[1]) for line in merges if line]))
    src.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    src.decoder = decoders.ByteLevel()
    packed = (data / "tokenizers/focus-sw/bpe-50k/tokenizer.json.gz").read_bytes()
    tgt = Tokenizer.from_str(gzip.decompress(packed).decode())
    for name, tokenizer in (("src", src), ("tgt", tgt)):
        PreTrainedTokenizerFast(tokenizer_object=tokenizer, **_ROLES).save_pretrained(folder / name)
    text = gzip.decompress((data / "parallel/lafand-en-swa/train.tsv.gz").read_bytes()).decode()
    pairs = [line.split("\t") for line in text.splitlines()]
    for column, name in enumerate(("src", "tgt")):
        train_fasttext(
            (pair[column] for pair in pairs),
            architecture="cbow",
            dim=settings["dim"],
            n_buckets=settings["n_buckets"],
            epochs=settings["epochs"],
            min_n=5,
            max_n=5,
            n_negatives=10,
            threads=len(os.sched_getaffinity(0)),
            save_to=folder / f"{name}.bin",
        )
    lexicon = gzip.decompress((data / "lexicons/wechsel/en-sw.tsv.gz").read_bytes())
    (folder / "lexicon.tsv").write_bytes(lexicon)
    matrix = np.random.default_rng(0).standard_normal((max(vocab.values()) + 1, 768), dtype=np.float32)
    np.save(folder / "matrix.npy", matrix)
    done.write_text(json.dumps(settings))


def measure(python: str, script: str, folder: Path, *arguments: str) -> dict[str, Any]:
    """Run a script in a process of its own; its report, seconds, and peak resident memory."""
    if shutil.which(python) is None:
        raise UnavailableError("no such interpreter", got=python)
    env = os.environ | {"PYTHONPATH": str(_ROOT) if python == sys.executable else "", "HF_HUB_OFFLINE": "1"}
    log = folder / "stderr.txt"
    start = time.perf_counter()
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [python, "-W", "ignore", "-c", script, str(folder), *arguments],
            stdout=subprocess.PIPE,
            stderr=errors,
            env=env,
        )
        output = process.stdout.read() if process.stdout else b""
        _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        tail = log.read_text(errors="replace").strip().splitlines()[-1:]
        raise UnavailableError("the measured process failed", where=python, got=" ".join(tail))
    return {
        "wall_s": round(wall, 2),
        "user_s": round(usage.ru_utime, 2),
        "system_s": round(usage.ru_stime, 2),
        "peak_rss_mib": round(usage.ru_maxrss / 1024),
        **json.loads(output.splitlines()[-1]),
    }


def compare(folder: Path) -> dict[str, Any]:
    """Agreement with the peer's rows, given its rotation, on the rows where the rules agree.

    Left out: rows without a vector, and rows into which the peer mixed special tokens or fragments of
    characters. Where the last neighbours tie, it takes any of the tied: then its own choice, weighted by
    rank as here, must give its row.
    """
    from transformers import PreTrainedTokenizerFast

    src, tgt = (
        Vocabulary.of(PreTrainedTokenizerFast.from_pretrained(folder / side)) for side in ("src", "tgt")
    )
    rotation = np.load(folder / "peer_rotation.npy")
    src_vectors, tgt_vectors = (read_vectors(folder / f"{side}.bin") for side in ("src", "tgt"))
    lexicon = read_lexicon(folder / "lexicon.tsv")

    def plan_of(neighbors: int) -> TransferPlan:
        return wechsel(
            src,
            tgt,
            src_vectors=src_vectors,
            tgt_vectors=tgt_vectors,
            lexicon=lexicon,
            mapping=lambda *_, **__: LinearMap(rotation, "given", 0, 0.0),
            neighbors=neighbors,
        )

    plan, wider = plan_of(10), plan_of(11)
    E, theirs = np.load(folder / "matrix.npy"), np.load(folder / "peer_matrix.npy")
    near = np.load(folder / "peer_neighbours.npy")
    odd = np.array([special or _is_fragment(s) for special, s in zip(src.special, src.surfaces, strict=True)])
    rows = np.flatnonzero((plan.origins == Origin.MIXED) & (near[:, 0] >= 0) & ~odd[near].any(axis=1))
    weights, last = _ranked(plan, rows), _ranked(wider, rows)
    tied = last[:, 10] >= last[:, 9] * (1 - 3e-6)
    difference = np.abs(plan.weights[rows] @ E - theirs[rows]).max(axis=1)
    for i in np.flatnonzero(tied):
        difference[i] = np.abs(weights[i] @ E[near[rows[i]]] - theirs[rows[i]]).max()
    own = np.load(folder / "our_matrix.npy")[rows]
    cosine = np.einsum("ij,ij->i", own, theirs[rows])
    cosine /= np.linalg.norm(own, axis=1) * np.linalg.norm(theirs[rows], axis=1)
    return {
        "rows_compared": len(rows),
        "rows_tied_at_the_end": int(tied.sum()),
        "max_abs_difference": float(difference.max()),
        "share_within_1e-4": float((difference <= 1e-4).mean()),
        "median_cosine_with_own_rotation": round(float(np.median(cosine)), 6),
    }


def _ranked(plan: TransferPlan, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """Weights of each row, heaviest first, padded with zeros."""
    starts = plan.weights.indptr
    out = np.zeros((len(rows), max(int(np.diff(starts).max()), 1)), np.float32)
    for i, row in enumerate(rows):
        data = np.sort(plan.weights.data[starts[row] : starts[row + 1]])[::-1]
        out[i, : len(data)] = data
    return out


def _is_fragment(surface: bytes) -> bool:
    return surface.decode("utf-8", "ignore").encode() != surface
