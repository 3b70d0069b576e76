"""Where the evaluation material lies: ``$VOCAB_TRANSFER_SHARED``, or ``shared/`` beside the repository."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

from align.errors import UnavailableError

SHARED = Path(os.environ.get("VOCAB_TRANSFER_SHARED", Path(__file__).parents[2] / "shared"))


def shared(part: str) -> Path:
    """A file or folder of the evaluation material.

    Raises
    ------
    UnavailableError
        When it is not on this machine.
    """
    path = SHARED / part
    if not path.exists():
        raise UnavailableError(
            "evaluation material is not on this machine",
            where=part,
            hint="set VOCAB_TRANSFER_SHARED to its folder",
        )
    return path


def read_columns(part: str) -> list[list[str]]:
    """Rows of a tab-separated file of the evaluation material, gzipped or not."""
    path = shared(part)
    open_text = gzip.open if path.suffix == ".gz" else open
    with open_text(path, "rt", encoding="utf-8") as file:
        return [line.rstrip("\n").split("\t") for line in file]
