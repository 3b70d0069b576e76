"""Linear maps between embedding spaces, one file a family."""

from align.mapping.bilingual import BilingualMap
from align.mapping.linear import LinearMap
from align.mapping.procrustes import procrustes

__all__ = ["BilingualMap", "LinearMap", "procrustes"]
