"""Nearest neighbours of one space in another, exactly and block by block, and the criteria built on them."""

from align.neighbors.criteria import (
    csls,
    csls_both,
    inverted_softmax,
    mean_top_k,
    mean_top_k_both,
    mutual,
    retrieve,
)
from align.neighbors.exact import Neighbors, top_k, top_k_reference
from align.neighbors.inverted import inverted_nearest
from align.neighbors.two_way import top_k_both

__all__ = [
    "Neighbors",
    "csls",
    "csls_both",
    "inverted_nearest",
    "inverted_softmax",
    "mean_top_k",
    "mean_top_k_both",
    "mutual",
    "retrieve",
    "top_k",
    "top_k_both",
    "top_k_reference",
]
