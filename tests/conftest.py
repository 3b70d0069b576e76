"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# On a busy machine any example may take long; that says nothing of the code.
settings.register_profile("busy", deadline=None)
settings.load_profile("busy")

# No test asks a server of the world; those that serve something themselves lift this.
os.environ["VOCAB_TRANSFER_OFFLINE"] = "1"

# Evaluation data and the recorded outputs of other tools lie outside the repository. On machines without
# them the tests that need them are skipped, each by name.
_SHARED = Path(os.environ.get("VOCAB_TRANSFER_SHARED", Path(__file__).parents[2] / "shared"))


def _shared(part: str) -> Path:
    path = _SHARED / part
    if not path.is_dir():
        pytest.skip(f"shared evaluation material is absent: {part} (set VOCAB_TRANSFER_SHARED)")
    return path


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the evaluation data, or a skip."""
    return _shared("data")


@pytest.fixture(scope="session")
def shared_golden() -> Path:
    """Folder of other tools' recorded outputs, or a skip."""
    return _shared("golden")
