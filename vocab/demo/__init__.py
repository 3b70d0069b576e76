"""The embedded source model: a small English masked language model, read only as files."""

from __future__ import annotations

from pathlib import Path


def path() -> Path:
    """Directory of the model, as ``AutoTokenizer`` and ``AutoModelForMaskedLM`` open it."""
    return Path(__file__).parent
