"""Inducers by name: the presets of this project, or any mapping method with a retrieval criterion."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from align.errors import InputError, UsageError
from align.induction.induce import induce
from align.induction.ranked import RankedInducer
from align.induction.text import TextLexicon
from align.induction.translations import Translations
from align.lexicon import Lexicon, known_pairs
from align.mapping.bilingual import BilingualMap
from align.mapping.methods import METHODS, fit, seed_pairs
from align.neighbors.criteria import Method
from align.vectors import Vectors

PRESETS = {
    "best": "vectors, frequencies and spellings, weighed as a dictionary teaches",
    "best-vectors": "the same without spellings",
    "best-unsupervised": "the same without a dictionary: pairs that agree teach each other",
}


@dataclass(frozen=True, eq=False)
class MappedInducer:
    """Translates by the neighbours that a map gives, as :func:`align.induction.induce` does."""

    src: Vectors
    tgt: Vectors
    mapping: BilingualMap | None
    retrieval: Method = "csls"
    script: str | None = None

    @property
    def method(self) -> str:
        """Name of the mapping method."""
        return "none" if self.mapping is None else self.mapping.method

    def __call__(self, *, queries: Sequence[str], top: int) -> Translations:
        """:meth:`translate`, as :func:`align.evaluation.bli` calls it."""
        return self.translate(queries, top=top)

    def translate(
        self,
        words: Sequence[str] | None = None,
        *,
        top: int = 10,
        mutual: bool = False,
        min_score: float | None = None,
    ) -> Translations:
        """Translate source words, all of the vocabulary by default."""
        return induce(
            self.src,
            self.tgt,
            self.mapping,
            queries=words,
            retrieval=self.retrieval,
            top=top,
            script=self.script,
            mutual=mutual,
            min_score=min_score,
        )


def make_inducer(
    src: Vectors,
    tgt: Vectors,
    lexicon: Lexicon | None = None,
    *,
    method: str = "auto",
    mapping: BilingualMap | None = None,
    retrieval: Method = "csls",
    script: str | None = None,
    normalize: Sequence[str] | None = None,
    seeds: str | None = None,
    text: TextLexicon | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
    progress: Callable[[int, float], None] | None = None,
) -> RankedInducer | MappedInducer:
    """Something that translates the words of one space into those of another.

    Parameters
    ----------
    src, tgt : Vectors
    lexicon : Lexicon, optional
    method : str
        A name of :data:`PRESETS` or of :data:`align.mapping.methods.METHODS`; ``"auto"`` is ``"best"`` with a
        lexicon and ``"best-unsupervised"`` without.
    mapping : BilingualMap, optional
        A map that is there already; then neither method nor lexicon is used.
    retrieval, script
        Of a map's neighbours; the presets rank by evidence of their own.
    text : TextLexicon, optional
        Links of parallel text, as further evidence of the presets; the others do without.
    normalize, seeds, settings, seed, progress
        As in :func:`align.mapping.methods.fit`.

    Returns
    -------
    RankedInducer or MappedInducer

    Raises
    ------
    UsageError
        For an unknown method, or settings that it does not have.
    InputError
        If a dictionary is needed and there is none.
    """
    if text is not None and (mapping is not None or method not in ("auto", "best", "best-vectors")):
        raise UsageError("only the presets best and best-vectors weigh text beside vectors", got=method)
    if mapping is not None:
        return MappedInducer(src, tgt, mapping, retrieval, script)
    if method == "auto":
        unsupervised = lexicon is None and seeds is None and text is None
        method = "best-unsupervised" if unsupervised else "best"
    if method not in PRESETS:
        if method not in METHODS:
            raise UsageError("unknown method", got=method, wanted=", ".join([*PRESETS, *METHODS]))
        mapping = fit(
            src,
            tgt,
            lexicon,
            method=method,
            normalize=normalize,
            seeds=seeds,
            settings=settings,
            seed=seed,
            progress=progress,
        )
        return MappedInducer(src, tgt, mapping, retrieval, script)
    if settings or normalize is not None:
        raise UsageError(f"{method} chooses its settings itself", hint="leave --set and --normalize out")
    if method == "best-unsupervised":
        from align.induction.self_training import best_unsupervised

        return best_unsupervised(src.table(), tgt.table(), seed=seed)
    from align.induction.presets import best_from_pairs

    if seeds is not None:
        pairs = seed_pairs(src, tgt, seeds)
    elif lexicon is not None:
        pairs = known_pairs(lexicon, src, tgt)
    else:
        raise InputError(f"{method} needs a lexicon", hint="pass --lexicon FILE, or use best-unsupervised")
    return best_from_pairs(src.table(), tgt.table(), pairs, strings=method == "best", text=text, seed=seed)
