"""Measures of quality against a gold standard."""

from align.evaluation.bli import PROTOCOLS, BliResult, ProtocolRules, bli, by_frequency
from align.evaluation.bootstrap import Interval, PairedDifference, bootstrap_interval, paired_difference
from align.evaluation.links import AlignmentError, alignment_error_rate

__all__ = [
    "PROTOCOLS",
    "AlignmentError",
    "BliResult",
    "Interval",
    "PairedDifference",
    "ProtocolRules",
    "alignment_error_rate",
    "bli",
    "bootstrap_interval",
    "by_frequency",
    "paired_difference",
]
