"""Slices of a corpus - times, regions, topics - as word vectors in one space (CADE)."""

from align.compass.corpus import SlicedText, number_slices, read_slices
from align.compass.options import CompassOptions, Word2VecOptions
from align.compass.result import Compass
from align.compass.training import train
from align.compass.word2vec import Fit, train_word2vec

__all__ = [
    "Compass",
    "CompassOptions",
    "Fit",
    "SlicedText",
    "Word2VecOptions",
    "number_slices",
    "read_slices",
    "train",
    "train_word2vec",
]
