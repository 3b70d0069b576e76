"""Embedding spaces and parallel text: alignment, induction, evaluation. No language model here."""

from align._version import __version__

__all__ = ["__version__"]
