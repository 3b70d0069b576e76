"""Embeddings of low rank: made, written, opened and checked."""
