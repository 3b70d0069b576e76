"""Links of parallel text as evidence on the words of two vocabularies."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from align.induction.text import TextLexicon
from align.vectors import WordVectors


@dataclass(frozen=True, eq=False)
class TextEvidence:
    """What parallel text says of pairs of words.

    Parameters
    ----------
    counts, src_to_tgt, tgt_to_src : csr_array of float32, shape (n_src, n_tgt)
        Expected links and both shares, over the vocabularies of the vectors; with the same pattern.
    """

    counts: sp.csr_array
    src_to_tgt: sp.csr_array
    tgt_to_src: sp.csr_array

    @classmethod
    def of(cls, lexicon: TextLexicon, src: WordVectors, tgt: WordVectors) -> TextEvidence:
        """The part of a lexicon whose words have vectors.

        Warns
        -----
        UserWarning
            Once, if that is less than half of it: text and vectors may be written differently.
        """
        rows = src.indices_of(lexicon.src_words)[lexicon.src]
        columns = tgt.indices_of(lexicon.tgt_words)[lexicon.tgt]
        known = (rows >= 0) & (columns >= 0)
        if known.mean() < 0.5:
            warnings.warn(
                f"{int((~known).sum())} of {len(known)} pairs of words of the text have no vectors",
                stacklevel=2,
            )
        shape = (len(src), len(tgt))

        def table(values: NDArray[np.float64]) -> sp.csr_array:
            made = sp.csr_array(
                (values[known].astype(np.float32), (rows[known], columns[known])), shape=shape
            )
            made.sort_indices()
            return made

        return cls(table(lexicon.counts), table(lexicon.src_to_tgt), table(lexicon.tgt_to_src))

    def nearest(self, rows: NDArray[np.int64], k: int) -> NDArray[np.int64]:
        """The k target words with most links for each source row; -1 behind them, shape (n, k)."""
        out = np.full((len(rows), k), -1, np.int64)
        indptr, indices, links = self.counts.indptr, self.counts.indices, self.counts.data
        for n, row in enumerate(rows.tolist()):
            part = slice(indptr[row], indptr[row + 1])
            best = np.argsort(-links[part], kind="stable")[:k]
            out[n, : len(best)] = indices[part][best]
        return out

    def values(self, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> dict[str, NDArray]:
        """Evidence on word pairs, by name."""
        counts, forward, backward = (
            np.asarray(m[rows, columns]).ravel() for m in (self.counts, self.src_to_tgt, self.tgt_to_src)
        )
        links = np.asarray(self.counts.sum(axis=1)).ravel()
        return {
            "text: links": np.log1p(counts),
            "text: linked": counts > 0,
            "text: share of the source word": forward,
            "text: share of the target word": backward,
            # a word that the text links elsewhere is told from one that it does not have
            "text: links of the source word elsewhere": np.log1p(links[rows] - counts),
        }

    def arrays(self) -> dict[str, NDArray]:
        """What :meth:`of_arrays` needs."""
        return {
            "text_indptr": self.counts.indptr.astype(np.int64),
            "text_indices": self.counts.indices.astype(np.int64),
            "text_counts": self.counts.data,
            "text_src_to_tgt": self.src_to_tgt.data,
            "text_tgt_to_src": self.tgt_to_src.data,
        }

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray], shape: tuple[int, int]) -> TextEvidence | None:
        """The evidence in :meth:`arrays`, None if there is none."""
        if "text_indptr" not in arrays:
            return None
        pattern = arrays["text_indices"], arrays["text_indptr"]
        names = ("text_counts", "text_src_to_tgt", "text_tgt_to_src")
        return cls(*(sp.csr_array((arrays[name], *pattern), shape=shape) for name in names))
