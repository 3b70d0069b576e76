"""Word alignment of parallel text: sentences as id arrays in, expected link counts and links out."""

from align.wordalign.aligner import Aligner, align, train
from align.wordalign.alignment import Alignment
from align.wordalign.bitext import Bitext
from align.wordalign.classes import WordClasses
from align.wordalign.links import Links
from align.wordalign.options import FAST_ALIGN, AlignOptions
from align.wordalign.posteriors import PairPosteriors
from align.wordalign.prior import Prior

__all__ = [
    "FAST_ALIGN",
    "AlignOptions",
    "Aligner",
    "Alignment",
    "Bitext",
    "Links",
    "PairPosteriors",
    "Prior",
    "WordClasses",
    "align",
    "train",
]
