"""What a transfer may not change: one tokenizer, renumbered ids, text of tokens that were there before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from safetensors.torch import load_file

from tests.cli.conftest import save_source
from tests.vocab.conftest import train
from vocab import transfer
from vocab.materials.gathering import Materials
from vocab.methods import METHODS, clp, constituents, find_method, mean
from vocab.methods.call import Call, options_of, parse_call
from vocab.methods.recipes import Kitchen
from vocab.model_files.output import write_model_directory
from vocab.plan import Origin, TransferPlan
from vocab.plan.norms import script_numbers
from vocab.progress import Decisions, Progress
from vocab.tokens import Vocabulary

# what draws every row does not copy
DRAWING = [find_method(name) for name in ("mean", "hf", "random", "normal", "multivariate")]
WEIGHTINGS = [word for word in options_of(METHODS["constituents"])["weighting"] if word != "mean"]
CALLS = [
    *(
        Call(method)
        for method in METHODS.values()
        if set(method.needs) <= {"donor"} and method not in DRAWING
    ),
    *(parse_call(METHODS["constituents"], word) for word in WEIGHTINGS),
]
FAMILIES = ("roberta", "bert", "t5")


@pytest.mark.parametrize(
    ("call", "family"),
    [
        pytest.param(call, family, id=f"{call}-{family}")
        for call in CALLS
        for family in FAMILIES
        if "merge" not in str(call) or family == "roberta"  # the others have no merges
    ],
)
def test_the_same_tokenizer_gives_the_same_rows(
    tokenizers: Mapping[str, Any], call: Call, family: str
) -> None:
    vocabulary = Vocabulary.of(tokenizers[family])
    rng = np.random.default_rng(0)
    donor = (1 + rng.standard_normal((len(vocabulary), 6))).astype(np.float32)
    materials = Materials(None, (), (), None, None, None, donor=donor)
    kitchen = Kitchen(vocabulary, vocabulary, materials, 0, Decisions(), Progress())
    plan = kitchen.plan(call)
    assert np.isin(plan.origins, (Origin.COPIED, Origin.SPECIAL)).all()
    E = rng.standard_normal((len(vocabulary), 4)).astype(np.float32)
    np.testing.assert_array_equal(plan.apply(E), E)


@pytest.mark.parametrize("norm", ["sources", "script-median"])
@pytest.mark.parametrize("name", ["llama-untied", "roberta"])
def test_the_same_tokenizer_gives_the_same_model(tmp_path: Path, name: str, norm: Any) -> None:
    """With a plan and a norm for each side, where there are two."""
    source = save_source(tmp_path / "source", name)
    result = transfer(
        source,
        tokenizer=str(source),
        method="0.5*constituents(last) + 0.5*constituents(first)",
        head_method="constituents(merge) > script",
        norm=norm,
        head_norm="source-mean",
    )
    result.save(tmp_path / "out")
    before, after = (load_file(folder / "model.safetensors") for folder in (source, tmp_path / "out"))
    assert before.keys() == after.keys()
    for key in before:
        np.testing.assert_array_equal(before[key].numpy(), after[key].numpy(), err_msg=key)


def written(src: Path, out: Path, src_tok: Any, tgt_tok: Any, helper: NDArray[np.float32]) -> TransferPlan:
    """A model with dense input rows, other head rows, and norms of both; the plan of its input."""
    first = clp(src_tok, tgt_tok, helper_matrix=helper).then(constituents(src_tok, tgt_tok))
    second = constituents(src_tok, tgt_tok, weighting="first")
    scripts = script_numbers(Vocabulary.of(src_tok), Vocabulary.of(tgt_tok))
    rest = mean(src_tok, tgt_tok)
    plan, head = (
        part.then(rest).with_norm("script-median", "source-mean", scripts=scripts) for part in (first, second)
    )
    write_model_directory(src, out, plan, src_tok, tgt_tok, head_plan=head, provenance={}, card="")
    return plan


def hidden_and_logits(folder: Path, ids: list[int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    config = transformers.AutoConfig.from_pretrained(folder)
    model = getattr(transformers, config.architectures[0]).from_pretrained(folder).eval()
    with torch.inference_mode():
        output = model(input_ids=torch.tensor([ids]), output_hidden_states=True)
    return torch.stack(output.hidden_states).numpy(), output.logits[0].numpy()


@pytest.fixture(params=["llama-untied", "roberta", "gpt2"])
def case(
    request: pytest.FixtureRequest,
    saved_model: Callable[..., Any],
    architectures: Mapping[str, tuple[str, str]],
    specials: Mapping[str, Any],
) -> tuple[Path, Any, Any, NDArray[np.float32], Mapping[str, str]]:
    """A model, its tokenizer, a larger one, and a helper's rows for that."""
    src, src_tok = saved_model(request.param)
    family = architectures[request.param][1]
    tgt_tok = train(family, 290)
    n = len(Vocabulary.of(tgt_tok))
    assert n > len(Vocabulary.of(src_tok)) + 40
    helper = np.random.default_rng(3).uniform(-0.2, 1, (n, 8)).astype(np.float32)
    return src, src_tok, tgt_tok, helper, specials[family]


def test_renumbered_ids_give_renumbered_logits(
    case: Any, make_renumbered: Callable[..., Any], tmp_path: Path
) -> None:
    src, src_tok, tgt_tok, helper, specials = case
    new_ids = np.random.default_rng(5).permutation(len(helper))
    renumbered = make_renumbered(tgt_tok, new_ids, specials)
    moved = np.empty_like(helper)
    moved[new_ids] = helper
    plan = written(src, tmp_path / "one", src_tok, tgt_tok, helper)
    written(src, tmp_path / "two", src_tok, renumbered, moved)
    assert plan.dense.sum() > 30
    for text in ("the old man walked to the moon", "watoto wanacheza naïve"):
        ids, others = tgt_tok(text).input_ids, renumbered(text).input_ids
        np.testing.assert_array_equal(others, new_ids[ids])
        states, logits = hidden_and_logits(tmp_path / "one", ids)
        other_states, other_logits = hidden_and_logits(tmp_path / "two", others)
        np.testing.assert_allclose(other_states, states, atol=2e-5, rtol=1e-5)
        np.testing.assert_allclose(other_logits[:, new_ids], logits, atol=2e-4, rtol=1e-5)


def test_text_of_copied_tokens_is_read_as_before(case: Any, tmp_path: Path) -> None:
    src, src_tok, tgt_tok, helper, _ = case
    plan = written(src, tmp_path / "out", src_tok, tgt_tok, helper)
    rows, old = plan.whole_rows
    pick = np.random.default_rng(2).choice(len(rows), 20)
    states, logits = hidden_and_logits(src, old[pick].tolist())
    new_states, new_logits = hidden_and_logits(tmp_path / "out", rows[pick].tolist())
    np.testing.assert_array_equal(new_states, states)
    copied = np.isin(plan.origins[rows], (Origin.COPIED, Origin.SPECIAL))
    np.testing.assert_allclose(new_logits[:, rows[copied]], logits[:, old[copied]], atol=1e-5, rtol=1e-5)
