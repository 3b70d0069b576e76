"""Nearest neighbours of one space in another, exactly and block by block, and the criteria built on them."""

from align.neighbors.criteria import (
    csls,
    inverted_softmax,
    mean_top_k,
    mutual,
    retrieve,
)
from align.neighbors.exact import Neighbors, rounding_bound, top_k, top_k_reference
from align.neighbors.inverted import inverted_nearest
from align.neighbors.kernels import dot

_dot, _rounding_bound = dot, rounding_bound  # the names that vocab.methods.sparsemax imports

__all__ = [
    "Neighbors",
    "csls",
    "inverted_nearest",
    "inverted_softmax",
    "mean_top_k",
    "mutual",
    "retrieve",
    "top_k",
    "top_k_reference",
]
