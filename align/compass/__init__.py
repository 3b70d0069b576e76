"""Slices of a corpus - times, regions, topics - as word vectors in one space (CADE)."""

from align.compass.corpus import SlicedText, number_slices, read_slices
from align.compass.identity import IdentityTest, identity_test
from align.compass.options import CompassOptions, Word2VecOptions
from align.compass.result import Compass
from align.compass.training import train
from align.compass.word2vec import Fit, train_word2vec

__all__ = [
    "Compass",
    "CompassOptions",
    "Fit",
    "IdentityTest",
    "SlicedText",
    "Word2VecOptions",
    "identity_test",
    "number_slices",
    "read_slices",
    "train",
    "train_word2vec",
]
