"""Methods at real size, each beside the package it comes from: time, peak memory, their ratios.

RoBERTa's 50,265 tokens to 50,000 Swahili ones, width 768, everything in a process of its own. What a peer
would need hours for is timed on a stated sample of the new tokens. Then ours alone at 128,000 by 256,000.
"""

from __future__ import annotations

import gzip
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from align.errors import UnavailableError
from align.fasttext_training import train_fasttext
from benchmarks.shared import read_columns, shared
from benchmarks.wechsel_speed import COMMON, DONE, LOAD, STAGES, make_inputs, measure
from benchmarks.wechsel_speed import run as run_wechsel
from vocab.methods.focus import token_lines
from vocab.tokens import Vocabulary

_SAMPLES = {"deepfocus": (500, 40_000), "clp": (200, 1500), "mergekit": (512, 2048)}
_SHARED, _SRC, _TGT = 20_000, 128_000, 256_000

_LARGE_K = 16  # of omp: with 64 it is ten minutes and the same memory but for the plan

_COUNT = """
new, facts = int(sys.argv[2]), {}
"""
_REPORT = DONE.replace("print(json.dumps({", "print(json.dumps({**facts, ")

_PEERS = {
    "deepfocus": f"""{COMMON}{_COUNT}
import itertools, torch
import deepfocus.focus as module
stage("imports"){LOAD}
every = module.get_overlapping_tokens
def few(*args, **kwargs):
    shared, others = every(*args, **kwargs)
    stage("vectors and overlap")
    facts.update(n_shared=len(shared), n_new=len(others))
    return shared, dict(itertools.islice(others.items(), new))
module.get_overlapping_tokens = few
module.FOCUS(tgt, src, torch.from_numpy(E), fasttext_model_path=f"{{folder}}/tokens.bin", verbosity="silent")
stage("rows")
{_REPORT}
""",
    "clp": f"""{COMMON}{_COUNT}
import types, logging
sys.modules["fire"] = types.ModuleType("fire")
import clp, torch
logging.disable()
stage("imports"){LOAD}
H = np.load(f"{{folder}}/helper.npy")
have = set(src.get_vocab())
missing = [t for t in tgt.get_vocab() if t not in have]
facts.update(n_shared=len(tgt) - len(missing), n_new=len(missing))
left_out = set(missing[new:])
class Holder:
    def __init__(self, tokenizer, matrix, drop=()):
        kept = [(t, i) for t, i in tokenizer.get_vocab().items() if t not in drop]
        kept.sort(key=lambda pair: pair[1])
        self.vocab = {{t: n for n, (t, _) in enumerate(kept)}}
        self.weight = torch.from_numpy(matrix[[i for _, i in kept]])
    def get_vocab(self): return self.vocab
    def __len__(self): return len(self.vocab)
    def get_input_embeddings(self): return self
    def resize_token_embeddings(self, size): pass
    def save_pretrained(self, path): pass
holders = {{"source": Holder(src, E), "helper": Holder(tgt, H, left_out)}}
class Load:
    from_pretrained = staticmethod(holders.__getitem__)
clp.AutoModelForCausalLM = clp.AutoTokenizer = Load
stage("open")
clp.apply_clp("source", "helper", f"{{folder}}/nowhere")
stage("rows")
{_REPORT}
""",
    "mergekit": f"""{COMMON}{_COUNT}
import importlib.util, types, torch
# the package's own __init__ loads the whole of it; this function needs torch alone
parts = types.ModuleType("parts")
place = importlib.util.find_spec("mergekit").submodule_search_locations[0]
parts.__path__ = [place + "/tokensurgeon"]
sys.modules["parts"] = parts
from parts.omp import batch_omp
stage("imports")
H, shared, others = (np.load(f"{{folder}}/{{name}}.npy") for name in ("helper", "shared", "new"))
facts.update(n_shared=len(shared), n_new=len(others))
points = torch.from_numpy(H[shared])
batch_omp(torch.from_numpy(H[others[:64]]), points, 2)
stage("open")
for begin in range(0, new, 512):
    batch_omp(torch.from_numpy(H[others[begin : min(begin + 512, new)]]), points, 64)
stage("rows")
{_REPORT}
""",
}

_OPEN_OURS = f"""
from vocab import methods
from vocab.tokens import Vocabulary
from align.vectors import read_vectors
import benchmarks.shared
stage("imports"){LOAD}
src, tgt = Vocabulary.of(src), Vocabulary.of(tgt)
"""
_OURS = {
    "deepfocus": (
        'vectors = read_vectors(f"{folder}/tokens.bin")\nstage("open")',
        "plan = methods.focus(src, tgt, vectors=vectors)",
    ),
    "clp": (
        'H = np.load(f"{folder}/helper.npy")\nstage("open")',
        "plan = methods.clp(src, tgt, helper_matrix=H)",
    ),
    "mergekit": (
        'H = np.load(f"{folder}/helper.npy")\n'
        "from vocab.methods.pursuit.coding import pursue\n"
        'pursue(H[:64], H[64:192], k=4)\nstage("open")',  # compiles
        "plan = methods.omp(src, tgt, donor_matrix=H, k=64)",
    ),
}
_NAMES = {"deepfocus": "focus", "clp": "clp", "mergekit": "omp"}

_LARGE = f"""{COMMON}
from tokenizers import Tokenizer, models
from align.vectors import WordVectors
from vocab import methods
from vocab.tokens import Vocabulary
import benchmarks.shared
stage("imports")
n_src, n_tgt, n_shared, method = *map(int, sys.argv[2:5]), sys.argv[5]
shared = [f"w{{i}}" for i in range(n_shared)]
def vocabulary(letter, n):
    tokens = ["?", *shared, *(f"{{letter}}{{i}}" for i in range(n - n_shared - 1))]
    return Vocabulary.of(Tokenizer(models.WordLevel({{t: i for i, t in enumerate(tokens)}}, "?")))
src, tgt = vocabulary("s", n_src), vocabulary("t", n_tgt)
def rows(n, dim, seed):
    return np.random.default_rng(seed).standard_normal((n, dim), dtype=np.float32)
def space(side, dim, seed):
    return WordVectors(side.tokens, rows(len(side), dim, seed), subword=WordVectors((), np.zeros((0, dim))))
stage("make the input")
if method in ("clp", "omp"):
    H = rows(n_tgt, 768, 1)
    function = methods.clp if method == "clp" else methods.omp
    more = {{"helper_matrix": H}} if method == "clp" else {{"donor_matrix": H, "k": {_LARGE_K}}}
    plan = function(src, tgt, **more)
elif method == "focus":
    plan = methods.focus(src, tgt, vectors=space(tgt, 100, 1))
else:
    spaces = {{"src_vectors": space(src, 300, 1), "tgt_vectors": space(tgt, 300, 2)}}
    more = {{}} if method == "ofa" else {{"mapping": None}}
    plan = getattr(methods, method)(src, tgt, **spaces, **more)
stage("plan")
facts = {{"weights": plan.weights.nnz}}
{_REPORT}
"""


def run(
    wechsel: str | None = None,
    deepfocus: str | None = None,
    clp: str | None = None,
    mergekit: str | None = None,
    folder: str | Path | None = None,
    *,
    settings: dict[str, int] | None = None,
    samples: dict[str, tuple[int, int]] | None = None,
    large: tuple[int, int, int] = (_SRC, _TGT, _SHARED),
) -> dict[str, Any]:
    """Make the inputs, run ours and each peer that is given.

    Parameters
    ----------
    wechsel, deepfocus, clp, mergekit : str, optional
        Python interpreters that have wechsel 0.0.4, deepfocus 1.0.1, ``clp.py`` of CLP-Transfer with
        scikit-learn, and mergekit 0.1.5 with torch.
    folder : str or Path, optional
        Where inputs are kept between calls (minutes to make); without it a temporary directory is used.
    settings : dict, optional
        Of WECHSEL's fastText models, as of :func:`benchmarks.wechsel_speed.run`.
    samples : dict, optional
        Two numbers of new tokens that a peer is timed on: the second less the first is its time a token.
    large : tuple of int
        Source, target and shared tokens of the runs of ours alone.

    Returns
    -------
    dict
        For each method what both took, and the ratios. ``whole`` compares seconds of the method without
        imports, the peer's extended from its sample to all new tokens; ``per_token`` its time a new token;
        both by the clock and in the user seconds of all threads.
    """
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="methods-speed-") as made:
            return run(
                wechsel, deepfocus, clp, mergekit,
                folder=Path(made), settings=settings, samples=samples, large=large,
            )  # fmt: skip
    folder = Path(folder)
    settings = settings or {"dim": 300, "n_buckets": 2_000_000, "epochs": 3}
    samples = samples or _SAMPLES
    make_inputs(folder, settings)
    _more_inputs(folder)
    found: dict[str, Any] = {"settings": settings, "peer_samples": samples}
    if wechsel is not None:
        found["wechsel"] = _or_reason(run_wechsel, wechsel, **settings, folder=folder)
    for name, python in (("deepfocus", deepfocus), ("clp", clp), ("mergekit", mergekit)):
        found[_NAMES[name]] = _pair(name, python, folder, samples[name])
    alone = {}
    for method in ("wechsel", "focus", "ofa", "clp", "omp"):
        alone[method] = _or_reason(measure, sys.executable, _LARGE, folder, *map(str, large), method)
    found["alone"] = {"src": large[0], "tgt": large[1], "shared": large[2], "omp_k": _LARGE_K, **alone}
    return found


def _pair(name: str, python: str | None, folder: Path, sample: tuple[int, int]) -> dict[str, Any]:
    opening, call = _OURS[name]
    script = (
        f"{COMMON}{_OPEN_OURS}{opening}\n{call}\nstage('plan')\n"
        f"plan = plan.then(methods.normal(src, tgt))\nmatrix = plan.apply(E)\nstage('rows')\n{DONE}"
    )
    if name != "mergekit":  # minutes
        measure(sys.executable, script, folder)  # compiles
    ours = measure(sys.executable, script, folder)
    result: dict[str, Any] = {"ours": ours}
    if python is None:
        return result
    try:
        first, second = (measure(python, _PEERS[name], folder, str(n)) for n in sample)
    except UnavailableError as error:
        return {**result, "peer": f"{error.message}: {error.got}"}
    n_new = second["n_new"]
    result["peer"] = second
    for key, unit in zip(STAGES, ("", "_user_cpu"), strict=True):
        times = [side[key]["rows"] for side in (first, second)]
        a_token = (times[1] - times[0]) / (sample[1] - sample[0])
        fixed = max(times[0] - a_token * sample[0], 0.0) if name != "mergekit" else 0.0
        whole = fixed + a_token * n_new
        own = ours[key]["plan"] + ours[key]["rows"]
        result |= {
            f"peer_ms_a_token{unit}": round(1000 * a_token, 4),
            f"peer_all_tokens_s{unit}": round(whole, 1),
            f"ours_ms_a_token{unit}": round(1000 * own / n_new, 4),
            f"speedup_whole{unit}": round(whole / own, 2),
            f"speedup_per_token{unit}": round(a_token * n_new / own, 2),
        }
    return {**result, "dense_similarities_mib": round(8 * n_new * second["n_shared"] / 2**20)}


def _or_reason(function: Callable[..., dict[str, Any]], *args: Any, **kwargs: Any) -> dict[str, Any]:
    """What a part of the benchmark returns, or why it did not: the other parts took minutes."""
    try:
        return function(*args, **kwargs)
    except UnavailableError as error:
        return {"failed": f"{error.message}: {error.got}"}


def _swahili() -> Iterator[str]:
    """Lines of the Swahili texts and of the parallel text's Swahili side."""
    for path in sorted(shared("data/swahili").glob("*.txt.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            yield from file
    for row in read_columns("data/parallel/lafand-en-swa/train.tsv.gz"):
        yield row[1]


def _more_inputs(folder: Path) -> None:
    """Vectors of the target's tokens, a helper's matrix, and the ids of shared and new tokens."""
    from transformers import PreTrainedTokenizerFast

    from vocab.methods.overlap import overlap

    src, tgt = (
        Vocabulary.of(PreTrainedTokenizerFast.from_pretrained(folder / side)) for side in ("src", "tgt")
    )
    if not (folder / "tokens.bin").is_file():
        # as published: see vocab.methods.focus.train_token_vectors
        train_fasttext(
            token_lines(tgt, _swahili()),
            dim=100,
            epochs=3,
            architecture="cbow",
            min_count=10,
            n_negatives=10,
            split_punctuation=False,
            threads=len(os.sched_getaffinity(0)),
            save_to=folder / "tokens.bin",
        )
    taken = overlap(src, tgt)
    np.save(folder / "shared.npy", np.flatnonzero(~taken.new))
    np.save(folder / "new.npy", np.flatnonzero(taken.new))
    if not (folder / "helper.npy").is_file():
        rng = np.random.default_rng(1)
        np.save(
            folder / "helper.npy", rng.standard_normal((len(tgt), 768), dtype=np.float32) + np.float32(0.2)
        )
