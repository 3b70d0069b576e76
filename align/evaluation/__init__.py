"""Measures of quality against a gold standard."""

from align.evaluation.links import AlignmentError, alignment_error_rate

__all__ = ["AlignmentError", "alignment_error_rate"]
