"""Parallel text as integer arrays: two ragged lists of tokens in CSR form."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from align.errors import InputError
from align.short_repr import short_repr


@dataclass(frozen=True, eq=False)
class Bitext:
    """Sentence pairs as token ids.

    Pair ``n`` is ``src_ids[src_offsets[n]:src_offsets[n + 1]]`` and the same slice of the target side. Pairs
    keep their number whatever happens to them: a pair with an empty side stays, takes no part in training
    and has no links, which one warning says for all of them.

    Parameters
    ----------
    src_ids, tgt_ids : int32 array, shape (n_tokens,)
        Ids from 0 to ``n_src_types - 1`` and ``n_tgt_types - 1``, all sentences end to end.
    src_offsets, tgt_offsets : int64 array, shape (n_pairs + 1,)
        Where each sentence begins; the last entry is the number of tokens.
    n_src_types, n_tgt_types : int
        Sizes of the two vocabularies; ids that never occur are allowed.

    Raises
    ------
    InputError
        If the sides differ in length, offsets do not describe the ids, or an id is out of range.
    """

    src_ids: NDArray[np.int32]
    src_offsets: NDArray[np.int64]
    tgt_ids: NDArray[np.int32]
    tgt_offsets: NDArray[np.int64]
    n_src_types: int
    n_tgt_types: int

    __repr__ = short_repr

    def __post_init__(self) -> None:
        for side, n_types in (("src", self.n_src_types), ("tgt", self.n_tgt_types)):
            ids = np.ascontiguousarray(getattr(self, f"{side}_ids"), dtype=np.int32)
            offsets = np.ascontiguousarray(getattr(self, f"{side}_offsets"), dtype=np.int64)
            object.__setattr__(self, f"{side}_ids", ids)
            object.__setattr__(self, f"{side}_offsets", offsets)
            if (
                len(offsets) == 0
                or offsets[0] != 0
                or offsets[-1] != len(ids)
                or (np.diff(offsets) < 0).any()
            ):
                raise InputError("sentence offsets do not describe the ids", where=f"{side}_offsets")
            if len(ids) and (ids.min() < 0 or ids.max() >= n_types):
                raise InputError(
                    "token id out of range",
                    got=f"{ids.min()} to {ids.max()}",
                    wanted=f"0 to {n_types - 1}",
                    where=f"{side}_ids",
                )
        if len(self.src_offsets) != len(self.tgt_offsets):
            raise InputError(
                "parallel text of unequal length",
                got=f"{len(self.src_offsets) - 1} and {len(self.tgt_offsets) - 1} sentences",
                wanted="one target sentence for each source sentence",
            )
        n_empty = int(np.sum((np.diff(self.src_offsets) == 0) | (np.diff(self.tgt_offsets) == 0)))
        if n_empty:
            warnings.warn(
                f"{n_empty} of {self.n_pairs} sentence pairs have an empty side; they get no links",
                stacklevel=3,
            )

    @property
    def n_pairs(self) -> int:
        """Number of sentence pairs, empty ones included."""
        return len(self.src_offsets) - 1

    @classmethod
    def from_ids(
        cls,
        src: Iterable[Sequence[int]],
        tgt: Iterable[Sequence[int]],
        *,
        n_src_types: int | None = None,
        n_tgt_types: int | None = None,
    ) -> Bitext:
        """Build from lists of token ids, such as two tokenizers give.

        Parameters
        ----------
        src, tgt : iterable of sequences of int
            One sequence a sentence, line by line.
        n_src_types, n_tgt_types : int, optional
            Vocabulary sizes; the largest id plus one if left out.
        """
        src_ids, src_offsets = _flatten(src)
        tgt_ids, tgt_offsets = _flatten(tgt)
        if n_src_types is None:
            n_src_types = int(src_ids.max(initial=-1)) + 1
        if n_tgt_types is None:
            n_tgt_types = int(tgt_ids.max(initial=-1)) + 1
        return cls(src_ids, src_offsets, tgt_ids, tgt_offsets, n_src_types, n_tgt_types)

    @classmethod
    def from_words(
        cls, src: Iterable[Sequence[str]], tgt: Iterable[Sequence[str]]
    ) -> tuple[Bitext, tuple[str, ...], tuple[str, ...]]:
        """Build from lists of words; ids are given in order of first occurrence.

        Returns
        -------
        bitext : Bitext
        src_words, tgt_words : tuple of str
            The word of each id.
        """
        src_vocabulary: dict[str, int] = {}
        tgt_vocabulary: dict[str, int] = {}
        bitext = cls.from_ids(
            ([src_vocabulary.setdefault(w, len(src_vocabulary)) for w in sentence] for sentence in src),
            ([tgt_vocabulary.setdefault(w, len(tgt_vocabulary)) for w in sentence] for sentence in tgt),
        )
        return bitext, tuple(src_vocabulary), tuple(tgt_vocabulary)


def _flatten(sentences: Iterable[Sequence[int]]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    rows = list(sentences)
    offsets = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(row) for row in rows], out=offsets[1:])
    ids = np.fromiter(chain.from_iterable(rows), dtype=np.int64, count=int(offsets[-1]))
    if len(ids) and ids.max() > np.iinfo(np.int32).max:
        raise InputError("token id does not fit 32 bits", got=int(ids.max()))
    return ids.astype(np.int32), offsets
