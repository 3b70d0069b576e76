"""Bilingual lexicon induction: translations of words from spaces of vectors, spelling and parallel text."""

from align.induction.induce import induce
from align.induction.inducers import make_inducer
from align.induction.presets import best, best_from_pairs
from align.induction.ranked import RankedInducer
from align.induction.self_training import best_unsupervised
from align.induction.text import TextLexicon, lexicon_from_text
from align.induction.translations import Translations

__all__ = [
    "RankedInducer",
    "TextLexicon",
    "Translations",
    "best",
    "best_from_pairs",
    "best_unsupervised",
    "induce",
    "lexicon_from_text",
    "make_inducer",
]
