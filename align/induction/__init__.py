"""Bilingual lexicon induction: translations of words from two spaces of vectors."""

from align.induction.induce import induce
from align.induction.translations import Translations

__all__ = ["Translations", "induce"]
