"""A lexicon inducer that weighs evidence: a map, a ranker and what both were learned from."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from align.errors import InputError, UsageError
from align.induction.correspondences import Correspondences
from align.induction.evidence import Witness
from align.induction.ranking import Ranker
from align.induction.spaces import AnchoredMap, Spaces
from align.induction.text_evidence import TextEvidence
from align.induction.translations import Translations
from align.mapping.bilingual import BilingualMap
from align.place import check_output, put_in_place, temporary_sibling
from align.vectors import WordVectors

_FORMAT = 1
_MAP, _ARRAYS, _FACTS = "map", "ranker.safetensors", "ranker.json"
_BLOCK_QUERIES = 3000


@dataclass(frozen=True, eq=False)
class RankedInducer:
    """Translates by weighing evidence on a shortlist for every query.

    Parameters
    ----------
    spaces : Spaces
    anchored : AnchoredMap
    ranker : Ranker
        ``print(inducer.ranker)`` lists the evidence and its weights.
    correspondences : Correspondences, optional
        Learned letter correspondences; None where spellings are not used.
    method : str
        Name of the preset.
    frequencies : bool
        Whether frequency ranks are used.
    cross_validated : mapping of str to float
        P@1 on source words of the dictionary that were held out, by evidence: ``"csls"`` (the map alone),
        ``"vectors"`` and, if spellings were tried, ``"spellings"``.
    """

    spaces: Spaces
    anchored: AnchoredMap
    ranker: Ranker
    correspondences: Correspondences | None
    method: str
    frequencies: bool
    cross_validated: Mapping[str, float] = field(default_factory=dict)

    @property
    def mapping(self) -> BilingualMap:
        """The map into the common space."""
        return self.anchored.mapping

    @cached_property
    def _witness(self) -> Witness:
        return Witness(self.spaces, self.anchored, self.correspondences, self.frequencies)

    def __call__(self, *, queries: Sequence[str], top: int) -> Translations:
        """:meth:`translate`, as :func:`align.evaluation.bli` calls it."""
        return self.translate(queries, top=top)

    def translate(self, words: Sequence[str] | None = None, *, top: int = 10) -> Translations:
        """Translate source words, all of the vocabulary by default.

        Parameters
        ----------
        words : sequence of str, optional
            Repetitions are dropped; words outside the source vocabulary are not known.
        top : int
            Translations of a query; at most the 75 to 125 candidates of a shortlist.

        Returns
        -------
        Translations
            Scores compare within a query: differences are log-odds.

        Raises
        ------
        UsageError
            If `top` is not positive.
        """
        if top < 1:
            raise UsageError("top is not positive", got=top, wanted="1 or more")
        names = tuple(dict.fromkeys(self.spaces.src.words if words is None else words))
        rows = self.spaces.src.indices_of(names)
        known = rows >= 0
        asked = rows[known]
        found: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
        for start in range(0, len(asked), _BLOCK_QUERIES):
            candidates = self._witness.candidates(asked[start : start + _BLOCK_QUERIES])
            scores = np.where(candidates.valid, self.ranker.scores(candidates.values), -np.inf)
            order = np.argsort(-scores, axis=1, kind="stable")[:, :top]
            best = np.take_along_axis(scores, order, axis=1).astype(np.float32)
            columns = np.take_along_axis(candidates.columns, order, axis=1)
            found.append((np.where(np.isfinite(best), columns, -1), best))
        width = found[0][0].shape[1] if found else 1
        indices = np.full((len(names), width), -1, np.int64)
        values = np.full((len(names), width), -np.inf, np.float32)
        if found:
            indices[known] = np.concatenate([columns for columns, _ in found])
            values[known] = np.concatenate([best for _, best in found])
        return Translations(
            names,
            self.spaces.tgt.words,
            indices,
            values,
            known,
            method=self.method,
            retrieval="ranked",
            n_candidates=len(self.spaces.tgt),
        )

    def save(self, directory: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the map, the ranker and the pairs into a new directory; the vectors stay where they are.

        Raises
        ------
        OutputError
            If it exists and `overwrite` is not set, holds something else, or cannot be written.
        """
        from safetensors.numpy import save_file

        target = check_output(directory, kind="inducer", marks=(_FACTS,), overwrite=overwrite)
        arrays = {
            "means": self.ranker.means,
            "scales": self.ranker.scales,
            "weights": self.ranker.weights,
            "pairs": self.anchored.pairs,
            "pair_weights": self.anchored.weights,
            "anchors": self.anchored.anchors,
            "anchor_weights": self.anchored.anchor_weights,
        }
        facts: dict[str, object] = {
            "format": _FORMAT,
            "method": self.method,
            "frequencies": self.frequencies,
            "cross_validated": dict(self.cross_validated),
            "vocabularies": _digest(self.spaces),
            "evidence": dict(self.ranker.table()),
            "names": list(self.ranker.names),
            "n_queries": self.ranker.n_queries,
            "loss": self.ranker.loss,
            "converged": self.ranker.converged,
            "n_iter": self.ranker.n_iter,
        }
        if self.spaces.text is not None:
            arrays |= self.spaces.text.arrays()
        if self.correspondences is not None:
            arrays["correspondences"] = self.correspondences.probabilities
            facts["correspondences"] = {
                "src_groups": list(self.correspondences.src_groups),
                "tgt_groups": list(self.correspondences.tgt_groups),
                "share": self.correspondences.share,
                "history": list(self.correspondences.history),
            }
        with temporary_sibling(target, n_bytes=sum(a.nbytes for a in arrays.values())) as folder:
            (folder / _MAP).mkdir()
            self.mapping.write(folder / _MAP)
            save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, folder / _ARRAYS)
            text = json.dumps(facts, indent=1, ensure_ascii=False)
            (folder / _FACTS).write_text(text + "\n", encoding="utf-8")
            put_in_place(folder, target, overwrite=overwrite)

    @classmethod
    def load(cls, directory: str | os.PathLike[str], src: WordVectors, tgt: WordVectors) -> RankedInducer:
        """Read what :meth:`save` wrote, for the vectors it was made with.

        Raises
        ------
        InputError
            If the directory holds no inducer or a damaged one, or the vocabularies are others.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        folder = Path(directory)
        if not (folder / _FACTS).is_file():
            raise InputError("no inducer here", where=folder, wanted=f"a directory with {_FACTS}")
        spaces = Spaces.of(src, tgt)
        try:
            facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
            arrays = load_file(folder / _ARRAYS)
            if facts["format"] != _FORMAT:
                raise InputError("unknown format", where=folder, got=facts["format"], wanted=_FORMAT)
            if facts["vocabularies"] != _digest(spaces):
                raise InputError("these are not the vectors it was made with", where=folder)
            text = TextEvidence.of_arrays(arrays, (len(src), len(tgt)))
            ranker = Ranker(
                tuple(facts["names"]),
                arrays["means"],
                arrays["scales"],
                arrays["weights"],
                facts["n_queries"],
                facts["loss"],
                facts["converged"],
                facts["n_iter"],
            )
            anchored = AnchoredMap(
                BilingualMap.load(folder / _MAP),
                arrays["pairs"],
                arrays["pair_weights"],
                arrays["anchors"],
                arrays["anchor_weights"],
            )
            correspondences = None
            if "correspondences" in facts:
                told = facts["correspondences"]
                correspondences = Correspondences(
                    tuple(told["src_groups"]),
                    tuple(told["tgt_groups"]),
                    arrays["correspondences"],
                    told["share"],
                    tuple(told["history"]),
                )
            return cls(
                replace(spaces, text=text),
                anchored,
                ranker,
                correspondences,
                facts["method"],
                facts["frequencies"],
                facts["cross_validated"],
            )
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise InputError("the inducer is damaged", where=folder, got=repr(error)) from error


def _digest(spaces: Spaces) -> str:
    """Tells the two vocabularies and vectors from others."""
    told = hashlib.sha256()
    for side in (spaces.src, spaces.tgt):
        told.update("\n".join(side.words).encode("utf-8", "surrogatepass"))
        told.update(side.matrix.data)
    return told.hexdigest()
