"""Input and head rows made in different ways, and lengths of their own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

from align.errors import InputError, UsageError
from tests.cli.conftest import Material, make_material, run_command, save_source
from tests.vocab.random_plans import random_plan
from vocab import transfer
from vocab.methods import constituents
from vocab.model_files.output import write_model_directory
from vocab.model_files.surgery import head_of
from vocab.plan import Origin, TransferPlan
from vocab.tokens import Vocabulary

EMBEDDINGS, HEAD = "model.embed_tokens.weight", "lm_head.weight"


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    return make_material(tmp_path_factory.mktemp("material"))


@pytest.fixture(scope="module")
def untied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_source(tmp_path_factory.mktemp("untied"), "llama-untied")


def write(src: Path, out: Path, plan: TransferPlan, src_tok: Any, tgt_tok: Any, **options: Any) -> Any:
    return write_model_directory(
        src, out, plan, src_tok, tgt_tok, provenance={}, card="", pad_to_multiple_of=8, **options
    )


def test_the_head_has_rows_of_its_own(
    saved_model: Callable[..., Any], tokenizers: Any, make_renumbered: Any, specials: Any, tmp_path: Path
) -> None:
    src, tokenizer = saved_model("llama-untied")
    other = make_renumbered(
        tokenizer, np.roll(np.arange(len(Vocabulary.of(tokenizer))), 3), specials["llama"]
    )
    plan = constituents(tokenizer, other)
    moved = constituents(tokenizer, tokenizer)  # the identity, which is wrong for `other` and so easy to see
    head = TransferPlan(
        weights=moved.weights,
        origins=moved.origins,
        method="identity",
        options={},
        src_tokens=plan.src_tokens,
        tgt_tokens=plan.tgt_tokens,
    )
    written = write(src, tmp_path / "out", plan, tokenizer, other, head_plan=head)
    old, new = (load_file(path / "model.safetensors") for path in (src, tmp_path / "out"))
    n = plan.n_tgt
    np.testing.assert_array_equal(new[EMBEDDINGS][:n].numpy(), plan.apply(old[EMBEDDINGS].numpy()))
    np.testing.assert_array_equal(new[HEAD][:n].numpy(), old[HEAD].numpy())
    assert not written.notes or "head" not in " ".join(written.notes)
    assert TransferPlan.load(tmp_path / "out", head=True).method == "identity"
    assert TransferPlan.load(tmp_path / "out").method == "constituents"


def test_biases_follow_an_untied_head(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    from vocab.model_files.checkpoint import open_checkpoint
    from vocab.model_files.layout import VocabTensor
    from vocab.model_files.surgery import has_own_head, new_rows, vocabulary_changes

    plan, head = (random_plan(seed, origins=(Origin.COPIED, Origin.MIXED)) for seed in (1, 2))
    n = plan.n_src
    generator = torch.Generator().manual_seed(0)
    stored = {
        name: torch.randn(shape, generator=generator)
        for name, shape in {"in": (n, 3), "head": (n, 3), "bias": (n,)}.items()
    }
    roles = {"in": "input", "head": "head", "bias": "bias"}
    for tied in (False, True):
        if tied:
            stored["head"] = stored["in"].clone()
        save_file(stored, tmp_path / "model.safetensors")
        tensors = {
            name: VocabTensor(
                name, 0, role, tuple(stored[name].shape), tied_to="in" if name == "head" else None
            )  # type: ignore[arg-type]
            for name, role in roles.items()
        }
        checkpoint = open_checkpoint(tmp_path)
        assert has_own_head(checkpoint, tensors) is not tied
        changes = vocabulary_changes(checkpoint, tensors, plan, n_rows=plan.n_tgt, head_plan=head)
        for name, chosen in (
            ("in", plan),
            ("head", plan if tied else head),
            ("bias", plan if tied else head),
        ):
            want = new_rows(stored[name].numpy(), chosen, n_rows=plan.n_tgt, is_bias=name == "bias")
            np.testing.assert_array_equal(changes[name].compute(stored[name]).numpy(), want)


def test_a_head_plan_for_tied_embeddings_is_noted(saved_model: Callable[..., Any], tmp_path: Path) -> None:
    src, tokenizer = saved_model("llama")
    plan, head = constituents(tokenizer, tokenizer), constituents(tokenizer, tokenizer, weighting="last")
    written = write(src, tmp_path / "out", plan, tokenizer, tokenizer, head_plan=head)
    assert any("head's plan was not used" in note for note in written.notes)
    assert not (tmp_path / "out" / "plan-head").exists()


def test_a_head_plan_for_other_tokenizers_is_refused(
    saved_model: Callable[..., Any], tokenizers: Any, tmp_path: Path
) -> None:
    src, tokenizer = saved_model("llama-untied")
    head = constituents(tokenizer, tokenizers["bert"])
    with pytest.raises(InputError, match="another target tokenizer"):
        write(src, tmp_path / "out", constituents(tokenizer, tokenizer), tokenizer, tokenizer, head_plan=head)


def test_sides_from_end_to_end(untied: Path, material: Material, tmp_path: Path) -> None:
    result = transfer(
        untied,
        corpus=material.swahili,
        method="constituents(last)",
        head_method="0.5*constituents(first) + 0.5*constituents(decay)",
        norm="script-median",
        head_norm="source-mean",
        vocab_size=420,
    )
    result.save(tmp_path / "out")
    assert result.head_plan is not None
    old, new = (load_file(path / "model.safetensors") for path in (untied, tmp_path / "out"))
    src, tgt = Vocabulary.of(result.prepared.source.tokenizer), Vocabulary.of(result.tokenizer)
    last = constituents(src, tgt, weighting="last")
    half = constituents(src, tgt, weighting="first").mix(constituents(src, tgt, weighting="decay"), 0.5)
    mixed = np.isin(last.origins, (3, 4))
    for key, plan in ((EMBEDDINGS, last), (HEAD, half)):
        E, got = old[key].numpy(), new[key].numpy()
        rows = plan.apply(E)
        np.testing.assert_array_equal(got[~mixed], rows[~mixed])
        cosines = (got * rows).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(rows, axis=1)
        np.testing.assert_allclose(cosines[mixed], 1, rtol=1e-5)
    lengths = np.linalg.norm(old[HEAD].numpy(), axis=1)
    np.testing.assert_allclose(np.linalg.norm(new[HEAD].numpy()[mixed], axis=1), lengths.mean(), rtol=1e-5)
    told = json.loads((tmp_path / "out" / "transfer.json").read_text(encoding="utf-8"))
    assert told["norm"] == "script-median"
    assert told["head"]["norm"] == "source-mean"
    assert "constituents(weighting=first)" in told["head"]["method"]
    assert told["head"]["method_options"]["constituents(weighting=decay)"] == {"weighting": "decay"}
    assert "constituents(weighting=last)" in told["method"]
    assert "plan-head" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


def test_explain_head(untied: Path, material: Material, tmp_path: Path, capsys: Any) -> None:
    args = (
        "--src",
        untied,
        "--corpus",
        material.swahili,
        "--vocab-size",
        420,
        "--out",
        tmp_path / "out",
        "-q",
    )
    assert run_command(*args, "--method", "constituents(last)", "--head-method", "constituents(first)") == 0
    plan = TransferPlan.load(tmp_path / "out")
    row = int(np.flatnonzero(plan.origins == 4)[0])
    said = []
    for flags in ((), ("--head",)):
        capsys.readouterr()
        assert run_command("explain", tmp_path / "out", row, *flags) == 0
        said.append(capsys.readouterr().out)
    assert said[0] != said[1]
    assert all("composed" in text for text in said)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("llama", "input and head are one matrix"),
        ("llama-untied", "the head has no plan of its own: its rows are made as the input's"),
        ("bert-base", "the model has no output head"),
    ],
)
def test_explain_says_whose_row_it_is(
    saved_model: Callable[..., Any], tmp_path: Path, capsys: Any, name: str, said: str
) -> None:
    src, tokenizer = saved_model(name)
    write(src, tmp_path / "out", constituents(tokenizer, tokenizer), tokenizer, tokenizer)
    assert head_of(src) == head_of(tmp_path / "out")
    rows = []
    for flags in ((), ("--head",)):
        capsys.readouterr()
        assert run_command("explain", tmp_path / "out", "5", *flags) == 0
        rows.append(capsys.readouterr())
    assert (rows[0].out, rows[0].err) == (rows[1].out, "")
    assert rows[1].err.startswith(said)
    assert len(rows[1].err.splitlines()) == 1


def test_tied_embeddings_say_so_once(material: Material) -> None:
    result = transfer(
        material.source,
        corpus=material.swahili,
        method="constituents",
        head_method="copy",
        head_norm="sources",
        vocab_size=420,
    )
    assert result.head_plan is None
    (told,) = (decision for decision in result.decisions if "head" in decision.what)
    assert told.value == "like the input"
    assert "so --head-method and --head-norm changed nothing" in told.why


def test_a_norm_that_rescales_no_row_is_said_to(untied: Path, material: Material) -> None:
    """A copy, one old piece or a draw has its own length."""
    text = {"corpus": material.swahili, "vocab_size": 420}
    one = transfer(
        untied, **text, method="constituents", head_method="constituents(last)", head_norm="source-mean"
    )
    assert one.head_plan is not None
    E = np.random.default_rng(0).standard_normal((one.head_plan.n_src, 6)).astype(np.float32)
    kept = one.head_plan.with_norm("none")
    np.testing.assert_array_equal(one.head_plan.apply(E, side="head"), kept.apply(E, side="head"))
    other = transfer(untied, **text, method="normal", norm="sources", head_method="constituents")
    several = transfer(untied, **text, method="constituents", norm="sources", head_norm="sources")
    said = [[d.what for d in one.decisions if d.value == "changed nothing"] for one in (one, other, several)]
    assert said == [["--head-norm"], ["--norm"], []]


def test_the_needs_of_the_head_count_too(untied: Path, material: Material) -> None:
    with pytest.raises(UsageError, match=r"method omp needs a donor model"):
        transfer(untied, corpus=material.swahili, method="copy", head_method="omp", vocab_size=420)
