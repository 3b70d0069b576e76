"""Slices of a corpus - times, regions, topics - as word vectors in one space (CADE), and how words differ."""

from align.compass.alternatives import train_by
from align.compass.change import Shift, shift
from align.compass.corpus import SlicedText, number_slices, read_slices
from align.compass.correspond import correspond, trace
from align.compass.identity import IdentityTest, identity_test
from align.compass.options import CompassOptions, Word2VecOptions
from align.compass.pooled import train_pooled
from align.compass.resampling import bootstrap_shift, permutation_test
from align.compass.result import Compass
from align.compass.training import train
from align.compass.word2vec import Fit, train_word2vec

__all__ = [
    "Compass",
    "CompassOptions",
    "Fit",
    "IdentityTest",
    "Shift",
    "SlicedText",
    "Word2VecOptions",
    "bootstrap_shift",
    "correspond",
    "identity_test",
    "number_slices",
    "permutation_test",
    "read_slices",
    "shift",
    "trace",
    "train",
    "train_by",
    "train_pooled",
    "train_word2vec",
]
