"""Several vocabularies on one body."""
