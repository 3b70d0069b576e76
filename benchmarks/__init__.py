"""Measurements of the toolkit next to real peers: ``python -m benchmarks [case]``."""
