"""Analogies: a is to b as c is to which word? 3CosAdd and 3CosMul over a whole vocabulary."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numba as nb
import numpy as np
from numpy.typing import NDArray

from align.errors import InputError, UsageError
from align.normalize import unit
from align.short_repr import short_repr
from align.textfiles import read_lines
from align.threads import workers
from align.vectors import Vectors

_CANDIDATE_BLOCK = 2048  # cosines of a thousand words of questions with a block: 8 MiB
_EPSILON = 0.001  # of Levy and Goldberg


@dataclass(frozen=True)
class Analogy:
    """``a`` is to ``b`` as ``c`` is to any of ``answers``."""

    a: str
    b: str
    c: str
    answers: tuple[str, ...]
    section: str = ""


@dataclass(frozen=True, eq=False)
class AnalogyResult:
    """What was answered to every question.

    Attributes
    ----------
    sections : tuple of str
        Of every question.
    known : ndarray of bool, shape (n,)
        Whether its three words and an answer are in the vocabulary.
    hits : ndarray of bool, shape (n,)
    answers : tuple of (str or None)
        The best word; None for unknown questions.
    oov : {"drop", "wrong"}
    method : str
    exclude_inputs : bool
    n_candidates : int
    """

    sections: tuple[str, ...]
    known: NDArray[np.bool_]
    hits: NDArray[np.bool_]
    answers: tuple[str | None, ...]
    oov: str
    method: str
    exclude_inputs: bool
    n_candidates: int

    __repr__ = short_repr

    @property
    def accuracy(self) -> float:
        """Share of hits among all questions that count; 0 without any."""
        return self._share(np.ones_like(self.known))

    @property
    def coverage(self) -> float:
        """Share of the known questions."""
        return float(self.known.mean()) if len(self.known) else 0.0

    @property
    def by_section(self) -> dict[str, float]:
        """Accuracy of every section, in order of appearance; 0 where no question counts."""
        names = np.array(self.sections, dtype=object)
        return {name: self._share(names == name) for name in dict.fromkeys(self.sections)}

    def _share(self, mask: NDArray[np.bool_]) -> float:
        counted = mask & self.known if self.oov == "drop" else mask
        return float(self.hits[counted].mean()) if counted.any() else 0.0


def read_analogies(path: str | os.PathLike[str]) -> list[Analogy]:
    """Read questions, in one of two forms.

    Parameters
    ----------
    path : path
        UTF-8 text, gzipped if the name ends in ``.gz``. Lines of four words (Google's with ``: section``
        lines, MSR's without), the last one the answer; or lines of a word and its partners with slashes
        between (BATS), where every two lines make a question each way. A folder is read file by file (also
        those in folders of it), each a section.

    Raises
    ------
    InputError
        For a missing or empty file, and with file and line for a line of another form.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(p for p in path.rglob("*.txt*") if p.is_file())
        if not files:
            raise InputError("no analogies here", where=path, wanted="files .txt")
        return [question for file in files for question in read_analogies(file)]
    questions: list[Analogy] = []
    partners: list[tuple[str, tuple[str, ...]]] = []
    section = path.name.removesuffix(".gz").removesuffix(".txt")
    for number, line in enumerate(read_lines(path), start=1):
        cells = line.split()
        if not cells:
            continue
        if cells[0] == ":" and len(cells) > 1:
            section = " ".join(cells[1:])
        elif len(cells) == 4 and not partners:
            questions.append(Analogy(cells[0], cells[1], cells[2], (cells[3],), section))
        elif len(cells) == 2 and not questions:
            partners.append((cells[0], tuple(word for word in cells[1].split("/") if word)))
        else:
            raise InputError(
                "not an analogy",
                where=f"{path}:{number}",
                got=repr(line[:60]),
                wanted="four words a line, or two (word and partners) in all lines",
            )
    return questions or [
        Analogy(a, bs[0], c, answers, section)
        for i, (a, bs) in enumerate(partners)
        for j, (c, answers) in enumerate(partners)
        if i != j
    ]


def solve_analogies(
    questions: Sequence[Analogy],
    vectors: Vectors,
    *,
    method: Literal["add", "mul"] = "add",
    exclude_inputs: bool = True,
    oov: Literal["drop", "wrong"] = "drop",
    lower: bool = False,
    limit: int | None = None,
) -> AnalogyResult:
    """Answer every question with the word that scores best among the whole vocabulary.

    ``"add"``: cos(d, b) - cos(d, a) + cos(d, c); ``"mul"``: cos(d, b) cos(d, c) / (cos(d, a) + 0.001) with
    cosines moved to [0, 1]. The lower index wins a tie.

    Parameters
    ----------
    questions : sequence of Analogy
    vectors : Vectors
    method : {"add", "mul"}
    exclude_inputs : bool
        The three words of the question cannot be the answer, the rule of the published figures; without it
        the answer is mostly one of them.
    oov : {"drop", "wrong"}
        Questions with a word, or all answers, outside the vocabulary are left out or count as wrong.
    lower : bool
        Lower-case the questions.
    limit : int, optional
        Vocabulary: the first words.

    Raises
    ------
    UsageError
        For an unknown method or rule.
    InputError
        For no questions.

    Notes
    -----
    Time: cosines of the distinct words of all questions with the vocabulary, float32 on one BLAS thread, and
    three reads of them a question and word. Memory beyond the vectors: 8 KiB a distinct word.

    References
    ----------
    Mikolov et al. (2013), "Linguistic regularities in continuous space word representations"; Levy and
    Goldberg (2014), "Linguistic regularities in sparse and explicit word representations", equations 1-4.
    """
    if method not in ("add", "mul") or oov not in ("drop", "wrong"):
        raise UsageError("unknown rule", got=f"{method}, {oov}", wanted="add or mul, drop or wrong")
    if not questions:
        raise InputError("there are no questions")
    table = vectors.table(limit)

    def rows(words: Sequence[str]) -> NDArray[np.int64]:
        return table.indices_of([w.lower() if lower else w for w in words])

    inputs = rows([word for q in questions for word in (q.a, q.b, q.c)]).reshape(-1, 3)
    answers = [set(rows(q.answers).tolist()) - {-1} for q in questions]
    known = (inputs >= 0).all(axis=1) & np.array([bool(a) for a in answers])
    best = np.full(len(questions), -1, np.int64)
    if known.any():
        distinct, slots = np.unique(inputs[known], return_inverse=True)
        best[known] = _solve(
            table.matrix, distinct, slots.reshape(-1, 3).astype(np.int64), method == "mul", exclude_inputs
        )
    hits = np.array([int(b) in a for b, a in zip(best, answers, strict=True)])
    return AnalogyResult(
        tuple(q.section for q in questions),
        known,
        hits & known,
        tuple(table.words[b] if b >= 0 else None for b in best),
        oov,
        method,
        exclude_inputs,
        len(table),
    )


def _solve(
    matrix: NDArray[np.float32],
    distinct: NDArray[np.int64],
    slots: NDArray[np.int64],
    multiply: bool,
    exclude: bool,
) -> NDArray[np.int64]:
    """Best row for every question; the words of the questions are ``distinct[slots]``."""
    words = unit(matrix[distinct])
    best = np.full(len(slots), -1, np.int64)
    scores = np.full(len(slots), -np.inf, np.float32)
    n_threads = nb.get_num_threads()
    size = -(-len(slots) // n_threads)
    parts = [slice(start, start + size) for start in range(0, len(slots), size)]
    with workers() as pool:
        for start in range(0, len(matrix), _CANDIDATE_BLOCK):
            cosines = words @ unit(matrix[start : start + _CANDIDATE_BLOCK]).T
            if multiply:
                cosines = (cosines + np.float32(1)) / np.float32(2)
            work = [
                pool.submit(
                    _improve, cosines, distinct, slots[p], start, multiply, exclude, best[p], scores[p]
                )
                for p in parts
            ]
            for done in work:
                done.result()
    return best


@nb.njit(cache=True, nogil=True)
def _improve(
    cosines: NDArray[np.float32],
    distinct: NDArray[np.int64],
    slots: NDArray[np.int64],
    start: int,
    multiply: bool,
    exclude: bool,
    best: NDArray[np.int64],
    scores: NDArray[np.float32],
) -> None:
    """Let a block of candidates, rows from `start` on, compete with the best so far."""
    for q in range(len(slots)):
        to_a, to_b, to_c = cosines[slots[q, 0]], cosines[slots[q, 1]], cosines[slots[q, 2]]
        a, b, c = distinct[slots[q, 0]] - start, distinct[slots[q, 1]] - start, distinct[slots[q, 2]] - start
        for d in range(cosines.shape[1]):
            if multiply:
                score = to_b[d] * to_c[d] / (to_a[d] + np.float32(_EPSILON))
            else:
                score = to_b[d] - to_a[d] + to_c[d]
            if score > scores[q] and not (exclude and d in (a, b, c)):
                scores[q] = score
                best[q] = start + d
