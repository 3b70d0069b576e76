from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from align.errors import UsageError
from vocab.options import TransferOptions


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"vocab_size": 0}, "--vocab-size"),
        ({"pad_to_multiple_of": -1}, "--pad-to-multiple-of"),
        ({"threads": 0}, "--threads"),
        ({"seed": -1}, "--seed"),
        ({"tokenizer": "x", "vocab_size": 10}, "exclude each other"),
        ({"src_vectors": Path("a")}, "wanted --src-vectors and --tgt-vectors"),
        ({"tgt_vectors": Path("a")}, "got --tgt-vectors"),
        ({"fetch": ("vectors:cc", "x")}, "got x, wanted opus:auto, opus:NAME"),
        ({"fetch": ("hf:org/name",)}, "got hf:org/name, wanted .*hf:ORG/NAME/PATH"),
        ({"fetch": ("opus:",)}, "got opus:, wanted"),
        ({"donor_src": "x"}, "--donor-src is the source of a donor .wanted --donor too"),
        ({"max_mb": 0}, "--max-mb"),
        ({"fetch_pairs": 0}, "--fetch-pairs"),
        (
            {"alignment": Path("a"), "parallel_tsv": (Path("b"),), "fetch": ("opus:auto",)},
            "--alignment is of --parallel alone",
        ),
    ],
)
def test_contradictions(values: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        TransferOptions(**values)


def test_written_down_without_folders_and_texts() -> None:
    options = TransferOptions(
        parallel=(["a", "b"], ["c", "d"]),
        parallel_tsv=(Path("/home/ann/pairs.tsv"),),
        corpus=(Path("/home/ann/sw.txt"), ["x"]),
        lexicon=Path("/home/ann/lexicon.tsv"),
        fetch=("vectors:cc",),
    )
    written = json.loads(json.dumps(options.as_json()))
    assert written["parallel"] == ["2 lines", "2 lines"]
    assert written["parallel_tsv"] == ["pairs.tsv"]
    assert written["corpus"] == ["sw.txt", "1 lines"]
    assert written["lexicon"] == "lexicon.tsv"
    assert written["fetch"] == ["vectors:cc"]
    assert "ann" not in json.dumps(written)
