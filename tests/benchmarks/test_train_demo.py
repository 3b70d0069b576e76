"""The training of the demo model, on a text of a few sentences."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoModelForMaskedLM, AutoTokenizer

from align.errors import InputError, UsageError
from benchmarks import demo_text, train_demo

NOUNS = ("house", "river", "father", "garden", "horse", "letter")
TINY = train_demo.Options(
    steps=20,
    vocab_size=290,
    hidden_size=16,
    layers=1,
    heads=2,
    intermediate_size=16,
    max_length=32,
    batch_tokens=128,
)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """The folders that the training reads, with our own sentences in them."""
    rng = np.random.default_rng(0)

    def text() -> str:
        return " ".join(f"The {rng.choice(NOUNS)} was near the {rng.choice(NOUNS)}." for _ in range(3))

    novels = [f"1900\t{doc}\t{text()}" for doc in ["A", "B", "ENG18900_Doyle"] for _ in range(20)]
    verses = [f"{book}.1.{verse}\t{text()}" for book in ["GEN", "RUT"] for verse in range(10)]
    files: dict[str, list[str]] = {"corpora/eltec/eng.tsv.gz": novels}
    files |= dict.fromkeys((f"bible/eng_{name}.tsv.gz" for name in demo_text.BIBLES), verses)
    for name, lines in files.items():
        file = tmp_path / "data" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    return tmp_path


def test_writes_a_model_that_opens_and_is_the_same_twice(shared: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        record = train_demo.train(TINY, shared, tmp_path / name)
    assert record["curve"][-1]["step"] == TINY.steps
    assert record["corpus"]["held_out_words"] > 0
    a, b = (tmp_path / name / "model.safetensors" for name in ("a", "b"))
    assert a.read_bytes() == b.read_bytes()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "a")
    model = AutoModelForMaskedLM.from_pretrained(tmp_path / "a")
    assert len(tokenizer) == len(model.lm_head.bias) == model.config.vocab_size
    assert tokenizer("a <mask>.")["input_ids"][2] == tokenizer.mask_token_id


def test_a_missing_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"eng\.tsv\.gz"):
        demo_text.documents(tmp_path)


def test_too_few_steps(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--steps"):
        train_demo.train(replace(TINY, steps=1), tmp_path, tmp_path)


def test_rows_hold_whole_documents_in_order(shared: Path) -> None:
    docs = demo_text.documents(shared)
    assert set(docs) == {"A", "B", "ENG18900_Doyle"} | {
        f"{bible}.{book}" for bible in demo_text.BIBLES for book in ("GEN", "RUT")
    }
    tokenizer = demo_text.train_tokenizer(docs, 290, 32)
    rows = demo_text.pack({"A": docs["A"]}, tokenizer, 128, 0)
    pieces = [rows.ids[i:j] for i, j in zip(rows.starts[:-1], rows.starts[1:], strict=True)]
    assert " ".join(str(tokenizer.decode(piece)) for piece in pieces) == " ".join(docs["A"])
    assert rows.lengths.max() <= 126


def test_batches_hold_every_row_once(shared: Path) -> None:
    docs = demo_text.documents(shared)
    rows = demo_text.pack(docs, demo_text.train_tokenizer(docs, 290, 32), 32, 0)
    order = np.random.default_rng(1).permutation(len(rows.lengths))
    seen = []
    for batch in demo_text.batches(rows, order, 128, np.random.default_rng(2)):
        assert batch.size <= 128 or len(batch) == 1
        assert (batch[:, 0] == demo_text.BOS).all()
        seen += [tuple(row[row > demo_text.EOS]) for row in batch]
    wanted = [tuple(rows.ids[i:j]) for i, j in zip(rows.starts[:-1], rows.starts[1:], strict=True)]
    assert sorted(seen) == sorted(wanted)


def test_mask_shares() -> None:
    batch = np.full((400, 100), 7)
    batch[:, 0], batch[:, -1] = demo_text.BOS, demo_text.PAD
    corrupted, chosen = demo_text.mask(batch, 0.2, 999, np.random.default_rng(0))
    assert not chosen[:, [0, -1]].any()
    np.testing.assert_array_equal(corrupted[~chosen], batch[~chosen])
    np.testing.assert_allclose(chosen[:, 1:-1].mean(), 0.2, atol=0.01)
    kept = corrupted[chosen]
    np.testing.assert_allclose((kept == 999).mean(), 0.8, atol=0.02)
    np.testing.assert_allclose((kept == 7).mean(), 0.1, atol=0.02)


def test_first_embeddings_put_exchangeable_words_together(shared: Path) -> None:
    docs = demo_text.documents(shared)
    tokenizer = demo_text.train_tokenizer(docs, 290, 128)
    rows = demo_text.pack(docs, tokenizer, 128, 0)
    vectors = train_demo.embed_cooccurrence(rows, 290, dim=8, window=2, seed=0)
    ids = tokenizer.convert_tokens_to_ids(["Ġhouse", "Ġriver", "Ġwas"])
    unit = vectors[ids] / np.linalg.norm(vectors[ids], axis=1, keepdims=True)
    assert unit[0] @ unit[1] > unit[0] @ unit[2] + 0.2
