"""The library's two entries, from material to a saved model."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import vocab
import vocab.methods
from align.errors import InputError, UnavailableError, UsageError
from align.wordalign import Links
from tests.cli.conftest import Material, make_material, save_source
from tests.vocab.conftest import build_model, train
from vocab import TransferOptions, transfer, transfer_model
from vocab.methods import METHODS, choose_method
from vocab.pipeline import TransferResult, prepare
from vocab.plan import Origin, TransferPlan
from vocab.progress import Progress
from vocab.source_model import loaded_source
from vocab.tokens import Vocabulary
from vocab.tokens.links import token_counts


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return make_material(tmp_path_factory.mktemp("material"))


@pytest.fixture(scope="module")
def lines(material: Material) -> tuple[list[str], list[str]]:
    english, swahili = (
        path.read_text(encoding="utf-8").splitlines() for path in (material.english, material.swahili)
    )
    return english, swahili


@pytest.fixture(scope="module")
def from_names(material: Material) -> TransferResult:
    parallel = (material.english, material.swahili)
    return transfer(
        material.source, tgt="swahili", parallel=parallel, lexicon=material.lexicon, vocab_size=420
    )


def _same(first: TransferPlan, second: TransferPlan) -> None:
    np.testing.assert_array_equal(first.weights.toarray(), second.weights.toarray())
    np.testing.assert_array_equal(first.origins, second.origins)
    assert first.tgt_tokens == second.tgt_tokens
    assert (first.method, first.norm) == (second.method, second.norm)


def test_a_result_says_how_it_came_about(from_names: TransferResult) -> None:
    assert from_names.plan.n_tgt == len(from_names.tokenizer) == 420
    assert sum(share.n_rows for share in from_names.origins) == 420
    assert sum(share.text_share or 0.0 for share in from_names.origins) == pytest.approx(1.0)
    assert not (from_names.plan.origins == Origin.EMPTY).any()
    assert {decision.what for decision in from_names.decisions} >= {"method", "tokenizer"}
    assert {"train the tokenizer", "align the parallel text"} <= set(from_names.seconds)
    assert from_names.before is not None
    assert from_names.after is not None
    assert from_names.after.tokens_per_word < from_names.before.tokens_per_word
    assert all(example.terms for example in from_names.examples)


def test_loaded_objects_give_the_same_plan(material: Material, from_names: TransferResult) -> None:
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    model = AutoModelForMaskedLM.from_pretrained(material.source)
    tokenizer = AutoTokenizer.from_pretrained(material.source)
    options = TransferOptions(
        parallel=(material.english, material.swahili), lexicon=material.lexicon, vocab_size=420
    )
    _same(transfer_model(model, tokenizer, options).plan, from_names.plan)


def test_sentences_do_as_well_as_files(
    material: Material, lines: tuple[list[str], list[str]], from_names: TransferResult
) -> None:
    result = transfer(material.source, parallel=lines, lexicon=material.lexicon, vocab_size=420)
    _same(result.plan, from_names.plan)


def test_sentence_pairs_with_an_empty_side_are_dropped_aloud(
    material: Material, lines: tuple[list[str], list[str]], from_names: TransferResult
) -> None:
    pairs = [*lines[0], "left alone", " "], [*lines[1], "", "peke yake"]
    with pytest.warns(UserWarning, match="dropped 2 of 202 pairs"):
        result = transfer(material.source, parallel=pairs, lexicon=material.lexicon, vocab_size=420)
    _same(result.plan, from_names.plan)


def test_sentences_of_unequal_number(material: Material) -> None:
    with pytest.raises(InputError, match="got 2 and 1 sentences"):
        transfer(material.source, parallel=(["a", "b"], ["c"]))


def test_one_corpus_may_stand_without_a_list(material: Material) -> None:
    by_list = transfer(material.source, corpus=[material.swahili], method="constituents", vocab_size=420)
    by_name = transfer(material.source, corpus=str(material.swahili), method="constituents", vocab_size=420)
    _same(by_list.plan, by_name.plan)


@pytest.fixture(scope="module")
def twice(material: Material, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two model directories from the same inputs and seed, made in two processes with 1 and 2 threads."""
    folder = tmp_path_factory.mktemp("twice")
    code = (
        "import sys; from vocab import transfer\n"
        "source, en, sw, lexicon, out, n = sys.argv[1:]\n"
        "result = transfer(source, parallel=(en, sw), lexicon=lexicon, vocab_size=420, threads=int(n))\n"
        "result.save(out)\n"
    )
    made = []
    for threads in (1, 2):
        made.append(folder / f"threads-{threads}" / "model")
        files = [material.source, material.english, material.swahili, material.lexicon, made[-1]]
        root = Path(vocab.__file__).parents[1]
        subprocess.run([sys.executable, "-c", code, *map(str, files), str(threads)], check=True, cwd=root)
    return made[0], made[1]


def test_same_inputs_same_bytes(twice: tuple[Path, Path]) -> None:
    first, second = twice
    names = {path.relative_to(first) for path in first.rglob("*") if path.is_file()}
    assert names == {path.relative_to(second) for path in second.rglob("*") if path.is_file()}
    for name in names - {Path("transfer.json")}:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    told = [json.loads((folder / "transfer.json").read_text(encoding="utf-8")) for folder in twice]
    for provenance in told:
        del provenance["utc"], provenance["seconds"], provenance["options"]["threads"]
    assert told[0] == told[1]


def test_provenance_and_card(twice: tuple[Path, Path], material: Material) -> None:
    folder = twice[0]
    told = json.loads((folder / "transfer.json").read_text(encoding="utf-8"))
    assert told["schema"] == 1
    assert told["source"] == {"name": "tiny", "revision": None}
    assert told["options"]["src"] == "tiny"
    assert [entry["kind"] for entry in told["inputs"]] == ["parallel", "parallel", "lexicon"]
    assert all(len(entry["sha256"]) == 64 for entry in told["inputs"])
    assert sum(entry["rows"] for entry in told["origins"]) == told["tokenizer"]["size"] == 420
    assert set(told["tokenizer"]["on_the_text"]) == {"before", "after"}
    assert told["applied"]["verification"]["forward"] == "passed"
    text = (folder / "transfer.json").read_text("utf-8") + (folder / "README.md").read_text("utf-8")
    assert str(material.source.parent) not in text  # the user's folders are nobody's business


def test_seed_decides_what_is_drawn(material: Material) -> None:
    def drawn(seed: int) -> np.ndarray:
        result = transfer(
            material.source, corpus=material.swahili, method="normal", vocab_size=420, seed=seed
        )
        old = np.random.default_rng(0).standard_normal((result.plan.n_src, 4)).astype(np.float32)
        return result.plan.apply(old)

    np.testing.assert_array_equal(drawn(1), drawn(1))
    assert not np.array_equal(drawn(1), drawn(2))


@pytest.fixture
def word_vectors(tmp_path: Path, material: Material) -> tuple[Path, Path]:
    """Planted vectors: the lexicon's words have one vector in both languages, turned and noisy in one."""
    rng = np.random.default_rng(0)
    entries = [line.split("\t")[:2] for line in material.lexicon.read_text("utf-8").splitlines()]
    entries = [entry for entry in entries if not any(" " in word for word in entry)]
    src = rng.standard_normal((len(entries), 20))
    turn = np.linalg.qr(rng.standard_normal((20, 20)))[0]
    tgt = src @ turn + 0.05 * rng.standard_normal(src.shape)
    paths = (tmp_path / "en.vec", tmp_path / "sw.vec")
    for path, side, rows in zip(paths, (0, 1), (src, tgt), strict=True):
        words = {entry[side]: row for entry, row in zip(entries, rows, strict=True)}
        body = [f"{word} {' '.join(f'{x:.5f}' for x in row)}" for word, row in words.items()]
        path.write_text("\n".join([f"{len(words)} 20", *body]) + "\n", encoding="utf-8")
    return paths


def test_vectors_complete_what_a_lexicon_has(material: Material, word_vectors: tuple[Path, Path]) -> None:
    src_vectors, tgt_vectors = word_vectors
    result = transfer(
        material.source,
        corpus=[material.swahili],
        src_vectors=src_vectors,
        tgt_vectors=tgt_vectors,
        lexicon=material.lexicon,
        vocab_size=420,
    )
    assert str(result.prepared.method) == "trans-tokenization > ofa"
    assert "ofa" in result.plan.method
    assert (result.plan.origins == Origin.MIXED).sum() > 100
    assert "a lexicon, and word vectors" in next(d.why for d in result.decisions if d.what == "method")


def test_auto_with_text_and_a_lexicon(material: Material) -> None:
    given = TransferOptions(
        src=str(material.source), corpus=(material.swahili,), lexicon=material.lexicon, vocab_size=420
    )
    assert str(prepare(given).method) == "trans-tokenization"
    # vectors can be trained where there is text of both languages
    both = replace(given, src_corpus=(material.english,))
    assert str(prepare(both).method) == "trans-tokenization > ofa"
    # in three lines no word occurs often enough
    few = replace(both, corpus=(material.swahili.read_text(encoding="utf-8").splitlines()[:3],))
    prepared = prepare(few)
    assert str(prepared.method) == "trans-tokenization"
    assert ("vectors", "none") in [(d.what, d.value) for d in prepared.decisions.made]


def test_vectors_of_two_widths(material: Material, word_vectors: tuple[Path, Path], tmp_path: Path) -> None:
    """An orthogonal map may be rectangular."""
    narrow = tmp_path / "narrow.vec"
    rows = word_vectors[1].read_text("utf-8").splitlines()[1:]
    body = [" ".join(row.split(" ")[:11]) for row in rows]
    narrow.write_text("\n".join([f"{len(rows)} 10", *body]) + "\n", encoding="utf-8")
    result = transfer(
        material.source,
        corpus=[material.swahili],
        src_vectors=word_vectors[0],
        tgt_vectors=narrow,
        lexicon=material.lexicon,
        vocab_size=420,
    )
    assert (result.plan.origins == Origin.MIXED).sum() > 100


def test_given_tokenizer_needs_no_text(material: Material, tmp_path: Path) -> None:
    train("roberta", size=250).save_pretrained(tmp_path / "own")
    result = transfer(material.source, tgt="tt", tokenizer=str(tmp_path / "own"), fetch=["none"])
    assert str(result.prepared.method) == "constituents"
    assert result.before is None
    assert result.after is None
    written = result.save(tmp_path / "model")
    card = (written.path / "README.md").read_text(encoding="utf-8")
    assert "language: tt" in card
    assert "on the target text" not in card
    told = json.loads((written.path / "transfer.json").read_text(encoding="utf-8"))
    assert told["options"]["tokenizer"] == "own"
    assert told["tokenizer"]["on_the_text"] == {}


def test_auto_takes_the_best_that_the_material_allows() -> None:
    assert choose_method({"parallel", "vectors", "lexicon"})[0] == "trans-tokenization(smooth)"
    assert choose_method({"vectors", "lexicon", "donor"})[0] == "trans-tokenization > ofa"
    assert choose_method({"donor", "lexicon"})[0] == "omp"
    assert choose_method({"lexicon"})[0] == "trans-tokenization"
    assert choose_method(set())[0] == "constituents"


def test_methods_work_alone_and_more_than_once(tokenizers: Mapping[str, Any]) -> None:
    src, tgt = tokenizers["roberta"], tokenizers["bert"]
    for name in ("copy", "constituents", "mean", "normal", "multivariate", "special"):
        for _ in range(2):
            plan = getattr(vocab.methods, name)(src, tgt)
            assert (plan.n_src, plan.n_tgt) == (len(Vocabulary.of(src)), len(Vocabulary.of(tgt)))
    for name in METHODS:
        assert callable(getattr(vocab.methods, name.removesuffix("-plus").replace("-", "_")))


@pytest.mark.parametrize("architecture", ["bert", "xlm-r", "gpt2", "llama-untied", "modernbert", "t5"])
def test_every_architecture(
    architecture: str, material: Material, tmp_path: Path, lines: tuple[list[str], list[str]]
) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    source = save_source(tmp_path / "source", architecture)
    result = transfer(source, parallel=lines, lexicon=material.lexicon)
    written = result.save(tmp_path / "model")
    assert written.verification.forward == "passed"
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    model = AutoModel.from_pretrained(tmp_path / "model")
    weight = model.get_input_embeddings().weight
    assert weight.shape[0] == len(tokenizer) == result.plan.n_tgt
    assert torch.isfinite(weight).all()
    assert tokenizer("Habari za asubuhi").input_ids == result.tokenizer("Habari za asubuhi").input_ids


def test_progress_hears_the_stages(material: Material) -> None:
    heard: list[str] = []
    transfer(
        material.source,
        corpus=[material.swahili],
        method="mean",
        vocab_size=420,
        progress=Progress(tell=heard.append),
    )
    assert heard == [
        "find the source model",
        "read the material",
        "train the tokenizer",
        "measure the tokenizers",
        "mean",
    ]


def test_bad_names_are_told_before_anything_is_read() -> None:
    with pytest.raises(UsageError, match="unknown method"):
        transfer("./not-there", method="mystery")
    with pytest.raises(UsageError, match="unknown language"):
        transfer("./not-there", tgt="qx")


@pytest.mark.slow
def test_the_demo(tmp_path: Path) -> None:
    """What `make demo` runs: the embedded model, the bundled sentences and lexicon."""
    result = transfer("demo", tgt="sw")
    assert str(result.prepared.method) == "trans-tokenization(smooth)"
    assert {entry["kind"] for entry in result.prepared.materials.files} == {
        "bundled parallel",
        "bundled lexicon",
    }
    top = {name: result.plan.explain(name, top=3).terms for name in ("Ġmaji", "Ġkazi", "Ġmpya")}
    assert "Ġwater" in dict(top["Ġmaji"])
    assert "Ġwork" in dict(top["Ġkazi"])
    assert "Ġnew" in dict(top["Ġmpya"])
    assert result.save(tmp_path / "demo-sw").verification.forward == "passed"


def test_a_model_in_memory_needs_no_directory(tmp_path: Path, material: Material) -> None:
    tokenizer = train("bert")
    model = build_model("bert", tokenizer)
    options = TransferOptions(corpus=(material.swahili,), method="constituents")
    written = transfer_model(model, tokenizer, options).save(tmp_path / "model")
    told = json.loads((written.path / "transfer.json").read_text(encoding="utf-8"))
    assert told["source"]["name"] == "BertForMaskedLM"
    assert told["options"]["src"] == "BertForMaskedLM"


def test_the_copy_of_a_model_in_memory_goes_with_it() -> None:
    tokenizer = train("bert")
    source = loaded_source(build_model("bert", tokenizer), tokenizer)
    folder = source.path
    assert (folder / "config.json").is_file()
    del source
    gc.collect()
    assert not folder.exists()


def test_the_device_is_decided_and_said(material: Material, lines: tuple[list[str], list[str]]) -> None:
    import torch

    options = TransferOptions(src=str(material.source), parallel=lines, vocab_size=420)
    prepared = prepare(options)
    wanted = "cuda" if torch.cuda.is_available() else "cpu"
    assert prepared.device == wanted
    assert [decision.value for decision in prepared.decisions.made if decision.what == "device"] == [wanted]
    if wanted == "cpu":
        with pytest.raises(UnavailableError, match="no GPU"):
            prepare(replace(options, device="cuda"))


def _links_by_words(material: Material, tokenize: str) -> list[str]:
    """Pharaoh lines of the material's sentence pairs."""
    from align.wordalign import align
    from align.wordalign.reading import number_words, read_parallel

    text = number_words(read_parallel(material.english, material.swahili), tokenize=tokenize)
    return align(text.bitext).links.pharaoh()


@pytest.mark.parametrize("tokenize", ["whitespace", "words"])
def test_links_from_a_file(material: Material, tmp_path: Path, tokenize: str) -> None:
    path = tmp_path / "links.pharaoh"
    links = _links_by_words(material, tokenize)
    path.write_text("\n".join(links) + "\n", encoding="utf-8")
    given = {"parallel": (material.english, material.swahili), "vocab_size": 420}
    result = transfer(material.source, alignment=path, **given)
    decision = next(d for d in result.decisions if d.what == "words of the links")
    assert decision.value == tokenize
    src, tgt = result.prepared.source.vocabulary, Vocabulary.of(result.tokenizer)
    lines = [name.read_text(encoding="utf-8").splitlines() for name in (material.english, material.swahili)]
    counts = token_counts(Links.from_pharaoh(links), *lines, src, tgt, tokenize=tokenize)
    rows = result.plan.origins == Origin.MIXED
    assert rows.sum() > 50
    made = vocab.methods.trans_tokenization(src, tgt, counts=counts, smooth=True)
    np.testing.assert_array_equal(made.weights.toarray()[rows], result.plan.weights.toarray()[rows])
    assert result.plan.differing_rows(transfer(material.source, **given).plan, atol=1e-3).size > 50
    # pairs with an empty side fall out of the text, and their lines out of the links
    gaps = [tmp_path / "gaps.en", tmp_path / "gaps.sw"]
    for file, first, rest in zip(gaps, ("lost", ""), lines, strict=True):
        file.write_text("\n".join([first, *rest]) + "\n", encoding="utf-8")
    path.write_text("\n".join(["0-7", *links]) + "\n", encoding="utf-8")
    with pytest.warns(UserWarning, match="with an empty side"):
        again = transfer(material.source, alignment=path, parallel=tuple(gaps), vocab_size=420)
    _same(again.plan, result.plan)


def test_links_that_do_not_fit(material: Material, tmp_path: Path) -> None:
    path = tmp_path / "links.pharaoh"
    links = _links_by_words(material, "words")
    parallel = (material.english, material.swahili)
    for lines, what in (
        (links[1:], "links of another text"),
        (["99-0", *links[1:]], "word that is not there"),
        ([""] * len(links), "no link in any line .*or leave --alignment out"),
    ):
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        with pytest.raises(InputError, match=what):
            prepare(TransferOptions(src=str(material.source), parallel=parallel, alignment=path))
    with pytest.raises(UsageError, match="--alignment is of sentence pairs"):
        TransferOptions(alignment=path)


def test_trans_tokenization_from_a_lexicon_alone(material: Material) -> None:
    result, smoothed = (
        transfer(
            material.source,
            method=method,
            corpus=material.swahili,
            lexicon=material.lexicon,
            vocab_size=420,
        )
        for method in ("trans-tokenization", "trans-tokenization(smooth)")
    )
    assert [str(one) for one in result.decisions if one.what == "aligned"] == [
        "aligned: 200 lexicon entries (there is no parallel text)"
    ]
    target = Vocabulary.of(result.tokenizer)
    entries = [" " + line.split("\t")[1] for line in material.lexicon.read_text("utf-8").splitlines()]
    said = {i for ids in target.encode(entries) for i in ids}
    mixed = set(np.flatnonzero(result.plan.origins == Origin.MIXED).tolist())
    assert len(said) > 50
    assert mixed <= said
    assert len(mixed) > 0.9 * len(said)
    assert mixed == set(np.flatnonzero(smoothed.plan.origins == Origin.MIXED).tolist())
    assert smoothed.plan.differing_rows(result.plan).size > 20


def test_recycle_reads_the_donor_and_its_source(material: Material, tmp_path: Path) -> None:
    """With the source as its own small model, the donor's rows come back."""
    donor = tmp_path / "donor"
    transfer(material.source, corpus=[material.swahili], method="zip-tie", vocab_size=420).save(donor)
    names = {"donor": str(donor), "donor_src": str(material.source)}
    result = transfer(material.source, corpus=[material.swahili], method="recycle", **names)
    result.save(tmp_path / "model")
    old, new = (
        next(v for k, v in load_file(folder / "model.safetensors").items() if "word_embeddings" in k)
        for folder in (donor, tmp_path / "model")
    )
    assert np.count_nonzero(result.plan.dense) > 300
    np.testing.assert_allclose(new, old, atol=1e-4)
    files = [entry["kind"] for entry in result.prepared.materials.files]
    assert {"donor", "donor source"} <= set(files)
    with pytest.raises(UsageError, match=r"needs the donor's own source .*Pass --donor-src MODEL"):
        transfer(material.source, corpus=[material.swahili], method="recycle", donor=str(donor))
