"""Word alignment of parallel text: sentences as id arrays in, expected link counts and links out."""

from align.wordalign.aligner import Aligner, align, train
from align.wordalign.alignment import Alignment
from align.wordalign.bitext import Bitext
from align.wordalign.classes import WordClasses
from align.wordalign.filters import PairFilter
from align.wordalign.links import Links, read_links
from align.wordalign.options import FAST_ALIGN, AlignOptions
from align.wordalign.posteriors import PairPosteriors
from align.wordalign.prior import Prior
from align.wordalign.reading import NumberedText, number_words, read_bitext, read_parallel
from align.wordalign.symmetrize import soft_links, symmetrize

__all__ = [
    "FAST_ALIGN",
    "AlignOptions",
    "Aligner",
    "Alignment",
    "Bitext",
    "Links",
    "NumberedText",
    "PairFilter",
    "PairPosteriors",
    "Prior",
    "WordClasses",
    "align",
    "number_words",
    "read_bitext",
    "read_links",
    "read_parallel",
    "soft_links",
    "symmetrize",
    "train",
]
