"""Linear maps between embedding spaces, one file a family."""

from align.mapping.bilingual import BilingualMap
from align.mapping.bridge import Bridge, bridge
from align.mapping.cca import cca
from align.mapping.least_squares import LeastSquaresMap, least_squares
from align.mapping.linear import LinearMap
from align.mapping.meta_embedding import MetaEmbedding, meta_embedding
from align.mapping.moments import PairMoments, cross_moment, pair_moments
from align.mapping.multilingual import MultilingualMap, generalized_procrustes
from align.mapping.procrustes import procrustes
from align.mapping.whitened import WhitenedMaps, whitened, whitened_maps

__all__ = [
    "BilingualMap",
    "Bridge",
    "LeastSquaresMap",
    "LinearMap",
    "MetaEmbedding",
    "MultilingualMap",
    "PairMoments",
    "WhitenedMaps",
    "bridge",
    "cca",
    "cross_moment",
    "generalized_procrustes",
    "least_squares",
    "meta_embedding",
    "pair_moments",
    "procrustes",
    "whitened",
    "whitened_maps",
]
