from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Material, make_material
from vocab import transfer
from vocab.model_files.card import markdown_table, measured, model_card, provenance
from vocab.pipeline import TransferResult


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return make_material(tmp_path_factory.mktemp("material"))


@pytest.fixture(scope="module")
def result(material: Material) -> TransferResult:
    return transfer(material.source, corpus=[material.swahili], method="constituents", vocab_size=420)


def test_table() -> None:
    assert markdown_table(("a", "b"), [("1", "2")]) == ["| a | b |", "| --- | --- |", "| 1 | 2 |"]


def test_card_tells_what_was_done(result: TransferResult) -> None:
    card = model_card(result, name="tiny-sw")
    front, body = card.removeprefix("---\n").split("\n---\n")
    assert front.splitlines() == [
        "language: sw",
        "library_name: transformers",
        "tags:",
        "- vocabulary-transfer",
    ]
    assert body.startswith("\n# tiny-sw\n\n`tiny` with a new Swahili vocabulary of 420 tokens. Only")
    assert "Method `constituents`: each new row is the mean of its pieces" in body
    assert "continued pretraining" in body
    for share in result.origins:
        assert f"| {share.origin} | {share.n_rows:,} |" in body
    for label, report in measured(result):
        assert f"| {label} | {report.tokens_per_word:.2f} |" in body
    assert all(f"- {example}" in body for example in result.examples)


def test_provenance_holds_no_folder(result: TransferResult, material: Material) -> None:
    told = provenance(result)
    assert told["options"]["src"] == told["source"]["name"] == "tiny"
    assert told["options"]["corpus"] == ["train.sw"]
    assert told["inputs"][0]["bytes"] == material.swahili.stat().st_size
    assert str(Path(material.source).parent) not in repr(told)
