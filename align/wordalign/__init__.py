"""Word alignment of parallel text: sentences as id arrays in, expected link counts and links out."""

from align.wordalign.aligner import Alignment, AlignOptions, align
from align.wordalign.bitext import Bitext
from align.wordalign.classes import WordClasses
from align.wordalign.links import Links

__all__ = ["AlignOptions", "Alignment", "Bitext", "Links", "WordClasses", "align"]
