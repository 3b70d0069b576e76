"""What a finished model needs at least is known before the work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vocab import TransferOptions
from vocab.estimate import least_bytes
from vocab.pipeline import execute, prepare

RUSSIAN = ["добрый день, мой старый друг", "старый дом и добрый день", "мой дом, мой друг"] * 2


@pytest.mark.parametrize(("name", "dtype"), [("bert", "keep"), ("llama-untied", "float16"), ("t5", "keep")])
def test_it_is_what_remains_without_the_vocabulary(
    saved_model: Callable[..., tuple[Path, Any]], tmp_path: Path, name: str, dtype: Any
) -> None:
    source = saved_model(name)[0]
    options = TransferOptions(src=str(source), tgt="ru", method="mean", corpus=(RUSSIAN,), dtype=dtype)
    prepared = prepare(options)
    least = least_bytes(prepared)
    written = execute(prepared).save(tmp_path / "out")
    whole = (written.path / "model.safetensors").stat().st_size
    assert 0.2 * whole < least < whole
