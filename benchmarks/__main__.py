"""Run benchmarks: ``python -m benchmarks [case ...]``; results go to ``benchmarks/results``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from align.errors import ToolkitError
from benchmarks.record import write

CASES = {
    "retrieval": ("retrieval", "sentence retrieval right after a transfer, by method"),
    "retrieval-curve": ("retrieval_curve", "the same by amount of parallel text and by vocabulary size"),
    "initialisations": (
        "initialisations",
        "every method: retrieval, tokens deleted and made again, bits per byte, time and memory",
    ),
    "donors": ("donors", "the methods that take a donor's rows, on one made for the purpose"),
    "lexicon-alone": (
        "lexicon_alone",
        "retrieval without parallel text: by a lexicon and text",
    ),
    "after-training": (
        "after_training",
        "whether a better start is still better after training",
    ),
    "stages": ("stages", "time and memory of a whole run, stage by stage"),
    "wechsel": ("wechsel_speed", "ours and the installed wechsel package at real size (--peer-python)"),
    "methods-speed": (
        "methods_speed",
        "each method beside its package, then ours alone (--wechsel, --deepfocus, --clp, --mergekit)",
    ),
    "sides": ("sides", "how input rows and head rows combine pieces, and how long they should be"),
    "wordalign": ("wordalign", "alignment error rate next to fast_align and eflomal"),
    "wordalign-speed": (
        "wordalign_speed",
        "time and memory of word alignment beside fast_align (--fast-align)",
    ),
    "induction": ("induction", "induced lexicons of three language pairs next to VecMap, MUSE and RCSLS"),
    "text-induction": ("text_induction", "an English-Swahili lexicon from text, from vectors and from both"),
    "neighbors": ("neighbors_speed", "exact neighbours beside faiss and the bare matrix product"),
    "self-learning": ("self_learning_speed", "an iteration of self-learning beside VecMap's (--vecmap)"),
    "rcsls": ("rcsls_speed", "a step of RCSLS beside the dense one (--rcsls)"),
    "lexicon": ("lexicon_check", "the bundled lexicon against a public dictionary"),
    "compass-identity": ("compass_identity", "halves of one corpus as slices, beside figures of CADE"),
    "compass-speed": ("compass_speed", "words a second of word2vec beside gensim's (--gensim)"),
    "compass-shift": ("compass_shift", "change of meaning against human judgement (SemEval-2020)"),
    "compass-silver": ("compass_silver", "words that took another's place between Bibles"),
    "bare-command": ("bare_command", "vocab-transfer --src roberta --tgt sw, all sources on 127.0.0.1"),
    "clone": ("fresh_clone", "make demo and make test on a fresh clone"),
}


# the arguments of a case's `run` that are paths of installed peers, and their flags
PEERS: dict[str, dict[str, str]] = {
    "wechsel": {"peer_python": "a Python that has the package wechsel installed"},
    "methods-speed": {
        "wechsel": "a Python that has the package wechsel",
        "deepfocus": "a Python that has the package deepfocus",
        "clp": "a Python that imports CLP-Transfer's clp.py",
        "mergekit": "a Python that has mergekit's files and torch",
        "folder": "where inputs are kept between calls",
    },
    "wordalign-speed": {"fast_align": "the built program fast_align"},
    "compass-speed": {"gensim": "a Python that has gensim 4"},
    "self-learning": {"vecmap": "a checkout of VecMap"},
    "rcsls": {"peer": "fastText's alignment/align.py"},
}


def main() -> int:
    """Parse, run, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "case", nargs="*", default=[], help="; ".join(f"{k}: {v[1]}" for k, v in CASES.items())
    )
    for case, peers in PEERS.items():
        for name, text in peers.items():
            flag = f"--{case}" if name == "peer" else f"--{name.replace('_', '-')}"
            parser.add_argument(flag, dest=f"{case} {name}", metavar="PATH", help=f"{text}, for {case}")
    arguments = parser.parse_args()
    unknown = [case for case in arguments.case if case not in CASES]
    if unknown:
        parser.error(f"unknown case {unknown[0]!r}; there are {', '.join(CASES)}")
    failed = 0
    for case in arguments.case or CASES:
        run: Callable[..., dict[str, Any]] = import_module(f"benchmarks.{CASES[case][0]}").run
        try:
            result = run(**{name: getattr(arguments, f"{case} {name}") for name in PEERS.get(case, {})})
        except ToolkitError as error:
            print(f"{case}: {error.message}", file=sys.stderr)
            failed = 1
            continue
        print(json.dumps(result, indent=1, ensure_ascii=False))
        print(f"written: {write(case, result)}", file=sys.stderr)
    return failed


if __name__ == "__main__":
    sys.exit(main())
