"""Measures of quality against a gold standard, and of spaces without one."""

from align.evaluation.analogy import Analogy, AnalogyResult, read_analogies, solve_analogies
from align.evaluation.bli import PROTOCOLS, BliResult, ProtocolRules, bli, by_frequency
from align.evaluation.bootstrap import Interval, PairedDifference, bootstrap_interval, paired_difference
from align.evaluation.isomorphism import (
    Hubness,
    SpectralDistance,
    eigenvector_similarity,
    hubness,
    relational_similarity,
)
from align.evaluation.links import AlignmentError, alignment_error_rate
from align.evaluation.similarity import SimilarityResult, read_similarity, word_similarity

__all__ = [
    "PROTOCOLS",
    "AlignmentError",
    "Analogy",
    "AnalogyResult",
    "BliResult",
    "Hubness",
    "Interval",
    "PairedDifference",
    "ProtocolRules",
    "SimilarityResult",
    "SpectralDistance",
    "alignment_error_rate",
    "bli",
    "bootstrap_interval",
    "by_frequency",
    "eigenvector_similarity",
    "hubness",
    "paired_difference",
    "read_analogies",
    "read_similarity",
    "relational_similarity",
    "solve_analogies",
    "word_similarity",
]
