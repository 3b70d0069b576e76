"""What a comparison is measured on: sentence pairs or text that no method has seen."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from align.errors import InputError, UsageError
from align.short_repr import short_repr
from vocab.materials.gathering import Materials
from vocab.materials.text import ParallelText, read_lines, read_parallel, read_parallel_tsv

_SHARE = 0.1
_MAX_HELD_OUT = 500


@dataclass(frozen=True)
class Evaluation:
    """Text in the target language, and its translation where there is one.

    Parameters
    ----------
    tgt : sequence of str
    src : sequence of str or None
        As many sentences.
    where : str
        What it is, in words; by default how many sentences.
    """

    tgt: Sequence[str]
    src: Sequence[str] | None = None
    where: str = ""

    __repr__ = short_repr

    def __post_init__(self) -> None:
        if not self.where:
            what = "lines" if self.src is None else "pairs"
            object.__setattr__(self, "where", f"{len(self.tgt):,} {what}")
        if self.src is not None and len(self.src) != len(self.tgt):
            raise InputError(
                "evaluation sentences without a counterpart", got=f"{len(self.src)} and {len(self.tgt)}"
            )

    def sample(self, n: int) -> Evaluation:
        """An even sample of at most `n` sentences."""
        if len(self.tgt) <= n:
            return self
        rows = np.linspace(0, len(self.tgt) - 1, n).round().astype(int).tolist()
        src = None if self.src is None else [self.src[i] for i in rows]
        return Evaluation([self.tgt[i] for i in rows], src, f"{n:,} of {len(self.tgt):,}: {self.where}")


def read_evaluation(paths: Sequence[str | Path]) -> Evaluation:
    """One file of ``source<TAB>target`` lines or of text alone, or two line-aligned files.

    Raises
    ------
    UsageError
        For more files.
    InputError
        For files that cannot be read or do not fit each other.
    """
    if len(paths) == 2:
        pairs = read_parallel(*paths)
        where = f"{Path(paths[0]).name} and {Path(paths[1]).name}"
    elif len(paths) == 1:
        where = Path(paths[0]).name
        lines = [line for line in read_lines(paths[0]) if line.strip()]
        if not any("\t" in line for line in lines):
            return Evaluation(lines, None, f"{len(lines):,} lines of {where}")
        pairs = read_parallel_tsv(paths[0])
    else:
        raise UsageError("--eval", got=f"{len(paths)} files", wanted="one, or one of each language")
    return Evaluation(pairs.tgt, pairs.src, f"{len(pairs):,} pairs of {where}")


def hold_out(materials: Materials, *, seed: int) -> tuple[Materials, Evaluation]:
    """Set a tenth of the sentence pairs (or of the text) aside, 500 at most, and take it out of the material.

    Pairs and lines whose target sentence is among those held out go as well.

    Raises
    ------
    InputError
        For material that is too little to be divided.
    """
    pairs = materials.parallel
    lines = pairs.tgt if pairs is not None else materials.text
    n = min(int(len(lines) * _SHARE), _MAX_HELD_OUT)
    if n == 0:
        raise InputError(
            "there is too little material to hold some out",
            got=f"{len(lines)} {'lines' if pairs is None else 'pairs'}",
            hint="pass --eval FILE",
        )
    rows = np.sort(np.random.default_rng(seed).choice(len(lines), n, replace=False)).tolist()
    held = {lines[i] for i in rows}
    if pairs is None:
        left = [line for line in lines if line not in held]
        evaluation = Evaluation([lines[i] for i in rows], None, f"{n:,} lines held out of the text")
        return replace(materials, text=left), evaluation
    kept = [i for i, line in enumerate(pairs.tgt) if line not in held]
    gone = {pairs.src[i] for i in rows}
    numbers = pairs.numbers or list(range(len(pairs)))
    left_pairs = ParallelText(
        [pairs.src[i] for i in kept],
        [pairs.tgt[i] for i in kept],
        pairs.n_dropped + len(pairs) - len(kept),
        [numbers[i] for i in kept],
    )
    others = [line for line in materials.text[len(pairs) :] if line not in held]
    src_others = [line for line in materials.src_text[len(pairs) :] if line not in gone]
    links = None if materials.links is None else materials.links.rows(np.array(kept))
    evaluation = Evaluation(
        [pairs.tgt[i] for i in rows], [pairs.src[i] for i in rows], f"{n:,} pairs held out of the material"
    )
    left_over = replace(
        materials,
        parallel=left_pairs,
        text=[*left_pairs.tgt, *others],
        src_text=[*left_pairs.src, *src_others],
        links=links,
    )
    return left_over, evaluation


def warn_of_overlap(materials: Materials, evaluation: Evaluation) -> None:
    """Warn if evaluation sentences are in the material."""
    known = set(materials.text)
    n = sum(line.strip() in known for line in evaluation.tgt)
    if n:
        warnings.warn(
            f"{n:,} of {len(evaluation.tgt):,} evaluation lines are in the material: figures on them flatter",
            stacklevel=3,
        )
