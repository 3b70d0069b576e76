"""What lexicon induction ends as: for every query its translations, best first."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from align.errors import InputError, OutputError
from align.lexicon import Lexicon
from align.short_repr import short_repr


@dataclass(frozen=True, eq=False)
class Translations:
    """Translations of the queries, best first.

    Parameters
    ----------
    src_words : sequence of str
        The queries; distinct.
    tgt_words : sequence of str
        The target vocabulary that ``indices`` count in, candidates or not.
    indices : ndarray of int64, shape (n_queries, k)
        Into ``tgt_words``; -1 where there are fewer than k translations, always behind the others.
    scores : ndarray of float32, shape (n_queries, k)
        ``-inf`` where there is no translation. What they measure is for ``retrieval`` to say: cosines for
        ``"nn"``, twice the cosine minus both densities for ``"csls"``.
    known : ndarray of bool, shape (n_queries,)
        Whether the source space has a vector for the query. A known query may still have no translation
        (a threshold, not mutual).
    method : str
        Of the map.
    retrieval : str
        The criterion, such as ``"csls"``.
    n_candidates : int
        Target words that could be chosen.
    n_other_script : int
        Target words that could not, because another script is theirs.
    whole_vocabulary : bool
        Whether the queries are all words of the source vocabulary, so that any other word is not known.

    Raises
    ------
    InputError
        For shapes that do not fit, indices outside the vocabulary or repeated queries.
    """

    src_words: tuple[str, ...]
    tgt_words: tuple[str, ...]
    indices: NDArray[np.int64]
    scores: NDArray[np.float32]
    known: NDArray[np.bool_]
    method: str
    retrieval: str
    n_candidates: int
    n_other_script: int = 0
    whole_vocabulary: bool = False

    __repr__ = short_repr

    def __post_init__(self) -> None:
        object.__setattr__(self, "src_words", tuple(self.src_words))
        object.__setattr__(self, "tgt_words", tuple(self.tgt_words))
        object.__setattr__(self, "indices", np.ascontiguousarray(self.indices, np.int64))
        object.__setattr__(self, "scores", np.ascontiguousarray(self.scores, np.float32))
        object.__setattr__(self, "known", np.ascontiguousarray(self.known, np.bool_))
        n = len(self.src_words)
        if self.indices.ndim != 2 or len(self.indices) != n or self.scores.shape != self.indices.shape:
            raise InputError(
                "queries, indices and scores differ in shape",
                got=f"{n}, {self.indices.shape}, {self.scores.shape}",
                wanted="(n_queries, k) twice",
            )
        if self.known.shape != (n,):
            raise InputError("known does not fit the queries", got=self.known.shape, wanted=(n,))
        if self.indices.size and not -1 <= self.indices.min() <= self.indices.max() < len(self.tgt_words):
            raise InputError(
                "an index lies outside the target vocabulary",
                got=f"{self.indices.min()} to {self.indices.max()}",
                wanted=f"-1 to {len(self.tgt_words) - 1}",
            )
        if len(self.rows) != n:
            raise InputError("a query occurs twice", got=f"{n - len(self.rows)} repetitions")

    def __len__(self) -> int:
        return len(self.src_words)

    @property
    def depth(self) -> int:
        """Translations of a query at most."""
        return int(self.indices.shape[1])

    @cached_property
    def rows(self) -> dict[str, int]:
        """Row of every query."""
        return {word: row for row, word in enumerate(self.src_words)}

    def of(self, word: str) -> list[tuple[str, float]]:
        """Translations of one query and their scores, best first; empty if there are none.

        Raises
        ------
        InputError
            If it is not among the queries.
        """
        row = self.rows.get(word)
        if row is None:
            raise InputError("the word is not among the queries", got=repr(word))
        return self._of_row(row)

    def lexicon(self) -> Lexicon:
        """All pairs, query after query, best first."""
        return Lexicon(
            tuple((src, tgt) for row, src in enumerate(self.src_words) for tgt, _ in self._of_row(row))
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write ``source TAB target TAB score TAB rank`` lines, UTF-8, rank 1 first.

        :func:`align.lexicon.read_lexicon` reads the pairs back.

        Raises
        ------
        InputError
            For a word with a tab or a line break, which the format cannot express.
        OutputError
            If the file cannot be written.
        """
        lines = []
        for row, src in enumerate(self.src_words):
            for rank, (tgt, score) in enumerate(self._of_row(row), start=1):
                if not set(src + tgt).isdisjoint("\t\r\n"):
                    raise InputError("a table cannot hold this pair", got=repr((src, tgt)), wanted="no tabs")
                lines.append(f"{src}\t{tgt}\t{score:.6g}\t{rank}\n")
        try:
            with open(path, "w", encoding="utf-8", newline="\n") as out:
                out.writelines(lines)
        except OSError as error:
            raise OutputError("the lexicon cannot be written", where=path, got=error.strerror) from error

    def _of_row(self, row: int) -> list[tuple[str, float]]:
        pairs = zip(self.indices[row].tolist(), self.scores[row].tolist(), strict=True)
        return [(self.tgt_words[i], score) for i, score in pairs if i >= 0]
