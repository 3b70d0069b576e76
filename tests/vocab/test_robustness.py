"""Every method of the table: the same bytes every time, and a plan or one clear line whatever it is given."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import get_args

import numba
import numpy as np
import pytest
from threadpoolctl import threadpool_limits
from tokenizers import AddedToken, Tokenizer

from align.errors import InputError, ToolkitError
from align.lexicon import Lexicon
from align.vectors import WordVectors
from tests.vocab.small_vocabularies import byte_level
from tests.vocab.tokenizer_families import SENTENCES, family
from vocab.materials.gathering import Materials
from vocab.materials.text import parallel_lines
from vocab.methods import METHODS, mean, special
from vocab.methods.constituents import Weighting
from vocab.methods.expression import parse_expression
from vocab.methods.recipes import Kitchen
from vocab.plan import Origin, TransferPlan
from vocab.plan.files import ARRAYS, FACTS
from vocab.progress import Decisions, Progress
from vocab.tokens import Vocabulary

WORDS = sorted({word for sentence in SENTENCES for word in sentence.split()})
TRAINED = ("focus", "tokalign")  # a second each: by default with too little material only
OTHERS = ["дом", "река", "вода", "утро", "друг"]
DIM = 8
CALLS = [
    *METHODS,
    *(f"constituents({name})" for name in get_args(Weighting)[1:]),
    "recycle(nearest)",
    "clp(top=5)",
]


def materials(source: Vocabulary, target: Vocabulary, src_text: list[str], text: list[str]) -> Materials:
    """Everything that any method needs, made of these texts; matrices have more rows than tokens."""
    rng = np.random.default_rng(0)
    words = [sorted({word for line in lines for word in line.split()}) for lines in (src_text, text)]
    spaces = [WordVectors(tuple(w), rng.standard_normal((len(w), 6)).astype(np.float32)) for w in words]
    n_pairs = min(len(words[0]), len(words[1]), 20)
    return Materials(
        parallel=parallel_lines(src_text, text, where="test"),
        text=text,
        src_text=src_text,
        lexicon=Lexicon(tuple(zip(words[0][:n_pairs], words[1][:n_pairs], strict=True))),
        src_vectors=spaces[0],
        tgt_vectors=spaces[1],
        donor=rng.standard_normal((len(target) + 7, DIM)).astype(np.float32),
        donor_src=rng.standard_normal((len(source) + 3, DIM)).astype(np.float32),
    )


def _ordinary() -> Kitchen:
    return _kitchen(family("byte-level"), family("llama"), SENTENCES, SENTENCES[::-1])


def _no_text() -> Kitchen:
    return _kitchen(family("byte-level"), family("unigram, byte fallback"), [], [])


def _no_overlap(*shared: bytes) -> Kitchen:
    source = byte_level([*shared, *(b" " + word.encode() for word in WORDS)])
    target = byte_level([*shared, *(b" " + word.encode() for word in OTHERS)])
    # specials match by role, so these two take them away
    bare = [replace(side, roles={}, special=np.zeros(len(side), bool)) for side in (source, target)]
    return _kitchen(*bare, WORDS[:5], OTHERS)


def _added_tokens() -> Kitchen:
    sides = []
    for name, first in (("byte-level", 0), ("wordpiece, cased", 100)):
        tokenizer = Tokenizer.from_str(family(name).tokenizer.to_str())
        tokenizer.add_tokens([f"added{i}" for i in range(first, first + 150)])
        tokenizer.add_special_tokens([AddedToken(f"<extra{i}>") for i in range(first, first + 150)])
        sides.append(Vocabulary.of(tokenizer))
    return _kitchen(*sides, SENTENCES, SENTENCES[::-1])


def _same() -> Kitchen:
    return _kitchen(family("wordpiece, uncased"), family("wordpiece, uncased"), SENTENCES, SENTENCES)


SETTINGS: dict[str, Callable[[], Kitchen]] = {
    "ordinary": _ordinary,
    "empty text": _no_text,
    "no overlap": _no_overlap,
    "one-token overlap": lambda: _no_overlap(b" habari"),
    "300 added tokens": _added_tokens,
    "same tokenizer": _same,
}


def _kitchen(source: Vocabulary, target: Vocabulary, src_text: list[str], text: list[str]) -> Kitchen:
    given = materials(source, target, src_text, text)
    matrix = np.random.default_rng(2).standard_normal((len(source) + 5, DIM)).astype(np.float32)
    return Kitchen(source, target, given, 0, Decisions(), Progress(), lambda: matrix)


@cache
def kitchen(setting: str) -> Kitchen:
    return SETTINGS[setting]()


def run(method: str, setting: str) -> TransferPlan | ToolkitError:
    """The plan, or why there is none; nothing but the toolkit's own warnings may be heard."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        try:
            call = parse_expression(method).chain[0].terms[0][1]
            made: TransferPlan | ToolkitError = kitchen(setting).plan(call)
        except ToolkitError as error:
            made = error
    assert {entry.category for entry in heard} <= {UserWarning}, [str(entry.message) for entry in heard]
    return made


@pytest.mark.parametrize(
    ("method", "setting"),
    [
        pytest.param(call, setting, marks=[pytest.mark.slow] if call in TRAINED and i not in (1, 2) else [])
        for call in CALLS
        for i, setting in enumerate(SETTINGS)
    ],
)
def test_a_plan_or_one_clear_line(method: str, setting: str) -> None:
    made = run(method, setting)
    if isinstance(made, ToolkitError):
        nothing_to_go_by = setting in ("empty text", "no overlap", "one-token overlap")
        assert nothing_to_go_by or "no merges" in made.what, made
        assert made.what
        assert "\n" not in str(made)
        return
    source, target = kitchen(setting).source, kitchen(setting).target
    assert (made.n_src, made.n_tgt) == (len(source), len(target))
    if setting in ("ordinary", "same tokenizer"):
        assert (made.origins != Origin.EMPTY).mean() > 0.1
    # padded, half precision, head and bias; what is left empty falls back as in a run
    plan = special(source, target).then(made)
    if (plan.origins == Origin.EMPTY).any():
        with_mean = mean(source, target, noise=0.1)
        plan = plan.then(with_mean if made.sampling is None else replace(with_mean, sampling=made.sampling))
    E = np.random.default_rng(1).standard_normal((len(source) + 11, DIM)).astype(np.float32)
    E[len(source) :] = np.nan  # padding is not read
    for dtype in (np.float32, np.float16):
        for side in ("input", "head"):
            try:
                rows = plan.apply(E.astype(dtype), side=side)
            except InputError as error:  # cosines that cancel make rows of any length
                if method == "clp" and "too large for float16" in error.what:
                    continue
                raise
            assert rows.shape == (len(target), DIM)
            assert rows.dtype == dtype
            assert np.isfinite(rows).all()
    assert np.isfinite(plan.apply(E[:, 0])).all()


@pytest.mark.parametrize("method", CALLS)
def test_the_same_bytes_for_any_number_of_threads(method: str, tmp_path: Path) -> None:
    written = []
    most = numba.get_num_threads()
    for n, threads in enumerate((1, most)):
        numba.set_num_threads(threads)
        try:
            with threadpool_limits(threads):
                made = run(method, "ordinary")
        finally:
            numba.set_num_threads(most)
        assert isinstance(made, TransferPlan), made
        folder = made.save(tmp_path / str(n))
        written.append([(folder / name).read_bytes() for name in (ARRAYS, FACTS)])
    assert written[0] == written[1]


SCRIPT = """
import json, sys, time
from pathlib import Path
import numpy as np
from tests.vocab.small_vocabularies import byte_level
from vocab import methods
from vocab.methods import METHODS

letters = "abcdefghijklmnopqrstuvwxyz"
def word(i):
    return b" " + bytes(letters.encode()[i // 26**k % 26] for k in range(5))
def gib(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 2**20

n = int(sys.argv[1])
alphabet = [letter.encode() for letter in letters]
source = byte_level([*alphabet, *(word(i) for i in range(n // 4))])
target = byte_level([*alphabet, *(word(i + n // 8) for i in range(n))])
rng = np.random.default_rng(0)
donor, donor_src = (rng.standard_normal((len(side), 8), np.float32) for side in (target, source))
alone = {name: {} for name, method in METHODS.items() if not method.needs}
given = alone | {
    "recycle": {"donor_matrix": donor, "donor_src_matrix": donor_src},
    "clp": {"helper_matrix": donor},
}
for name, keywords in given.items():
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    before, start = gib("VmRSS"), time.perf_counter()
    plan = getattr(methods, name.replace("-", "_"))(source, target, **keywords)
    plan = methods.special(source, target).then(plan)
    if (plan.origins == 0).any():
        plan = plan.then(methods.mean(source, target))
    rows = plan.apply(donor_src)
    finite = rows.shape == (len(target), 8) and bool(np.isfinite(rows).all())
    time_s, added_gib = time.perf_counter() - start, gib("VmHWM") - before
    print(json.dumps({"method": name, "finite": finite, "time_s": time_s, "added_gib": added_gib}))
    del plan, rows
"""


@pytest.mark.slow
def test_a_million_tokens() -> None:
    """250,000 old tokens, a million new ones, an eighth of them shared: each method that needs no text."""
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("peaks of memory are read from /proc")
    command = [sys.executable, "-W", "ignore", "-c", SCRIPT, "1000000"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    print(done.stdout)
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(told) > 10
    for entry in told:
        assert entry["finite"], entry
        assert entry["added_gib"] < 3, entry
