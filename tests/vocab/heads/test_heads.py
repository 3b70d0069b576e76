"""Several vocabularies on one body: round trips, mixed reading and writing, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from align.errors import InputError, OutputError, ToolkitError, UsageError
from tests.vocab.conftest import ARCHITECTURES, SPECIALS, renumber, train
from vocab.heads.adding import add_head, list_heads
from vocab.heads.two_vocabularies import load
from vocab.heads.using import use_head
from vocab.model_files.output import write_model_directory
from vocab.plan import Origin, TransferPlan
from vocab.tokens import Vocabulary

ALL = ["roberta", "bert", "gpt2", "llama", "llama-untied", "t5", "modernbert"]


def mostly_slow(names: Sequence[str], *quick: str) -> list[Any]:
    """All of them, those that are not quick in the long run only."""
    return [pytest.param(one, marks=() if one in quick else pytest.mark.slow) for one in names]


Saved = Callable[..., tuple[Path, Any]]


@pytest.fixture(scope="session")
def other_tokenizers() -> Mapping[str, Any]:
    """Smaller tokenizers with their ids shuffled: no id means the same on both sides."""
    found = {}
    for family in SPECIALS:
        plain = train(family, 110)
        new_ids = np.random.default_rng(3).permutation(len(plain.get_vocab()))
        found[family] = renumber(plain, new_ids, SPECIALS[family])
    return found


def mixed_plan(src: Any, tgt: Any) -> TransferPlan:
    rng = np.random.default_rng(11)
    n_src, n_tgt = len(Vocabulary.of(src)), len(Vocabulary.of(tgt))
    return TransferPlan.from_entries(
        np.repeat(np.arange(n_tgt), 2),
        rng.integers(0, n_src, 2 * n_tgt),
        rng.normal(size=2 * n_tgt),
        Origin.MIXED,
        src_tokens=Vocabulary.of(src).tokens,
        tgt_tokens=Vocabulary.of(tgt).tokens,
        method="noise",
    )


@pytest.fixture
def pair(saved_model: Saved, other_tokenizers: Mapping[str, Any], tmp_path: Path) -> Callable[..., Any]:
    """``pair(architecture, **save options)``: a model directory and one with another vocabulary."""

    def make(name: str, **options: Any) -> tuple[Path, Path]:
        src, tokenizer = saved_model(name, **options)
        tgt = other_tokenizers[ARCHITECTURES[name][1]]
        out = tmp_path / f"{name}-sw"
        write_model_directory(
            src, out, mixed_plan(tokenizer, tgt), tokenizer, tgt, provenance={"schema": 1}, card="# Swahili\n"
        )
        return src, out

    return make


def state(folder: Path) -> dict[str, torch.Tensor]:
    found = {}
    for path in folder.glob("*.safetensors"):
        found |= load_file(path)
    return found


def ordinary(folder: Path) -> Any:
    config = json.loads((folder / "config.json").read_text())
    return getattr(transformers, config["architectures"][0]).from_pretrained(folder).eval()


def ids_of(folder: Path, text: str = "karibu rafiki") -> torch.Tensor:
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return torch.tensor([tokenizer(text).input_ids])


def logits(model: Any, ids: torch.Tensor, decoder_ids: torch.Tensor | None = None) -> torch.Tensor:
    inputs = {"input_ids": ids}
    if model.config.is_encoder_decoder:
        assert decoder_ids is not None
        inputs["decoder_input_ids"] = decoder_ids
    with torch.inference_mode():
        return model(**inputs).logits


@pytest.mark.parametrize("name", mostly_slow(ALL, "roberta", "t5"))
def test_add_list_use_gives_every_bit_back(pair: Callable[..., Any], tmp_path: Path, name: str) -> None:
    src, sw = pair(name)
    before = state(src)
    add_head(src, sw, "sw", default_name="en")
    heads = list_heads(src)
    assert [(head.name, head.is_default) for head in heads] == [("en", True), ("sw", False)]
    assert heads[1].n_tokens == len(transformers.AutoTokenizer.from_pretrained(sw))
    assert heads[1].source == sw.name
    assert {path.name for path in src.glob("*.safetensors")} == {"model.safetensors"}
    for use, origin in (("sw", sw), ("en", src)):
        out = tmp_path / f"out-{use}"
        written = use_head(src, use, out)
        assert written.verification.forward == "passed"
        want, got = state(origin), state(out)
        assert want.keys() == got.keys()
        for key in want:
            assert want[key].dtype == got[key].dtype
            assert torch.equal(want[key], got[key]), key
        assert json.loads((out / "config.json").read_text()) == json.loads(
            (origin / "config.json").read_text()
        )
        assert (out / "tokenizer.json").read_bytes() == (origin / "tokenizer.json").read_bytes()
        assert torch.equal(ids_of(out), ids_of(origin))
        assert not (out / "heads").exists()
    assert TransferPlan.load(tmp_path / "out-sw").method == "noise"
    after = state(src)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("name", mostly_slow(ALL, "llama"))
def test_one_vocabulary_is_the_ordinary_model(pair: Callable[..., Any], name: str) -> None:
    src, sw = pair(name)
    add_head(src, sw, "sw")
    for head, folder in (("sw", sw), ("default", src)):
        loaded, want = load(src, input=head, output=head), ordinary(folder)
        ids = ids_of(folder)
        got = logits(loaded.model, ids, ids[:, :2])
        torch.testing.assert_close(got, logits(want, ids, ids[:, :2]), rtol=0, atol=0)
        assert loaded.model.config.tie_word_embeddings == want.config.tie_word_embeddings
        assert loaded.output_offset == 0
        assert loaded.input_tokenizer("karibu rafiki").input_ids == ids[0].tolist()


def by_hand(reads: Any, writes: Any, ids: torch.Tensor, decoder_ids: torch.Tensor) -> torch.Tensor:
    """Logits of `writes` at the states that `reads` has of the ids, by hooks on two ordinary models."""
    caught: dict[str, torch.Tensor] = {}
    is_both = reads.config.is_encoder_decoder
    if is_both:
        with torch.inference_mode():
            states = reads.get_encoder()(input_ids=ids)
            return writes(encoder_outputs=states, decoder_input_ids=decoder_ids).logits
    hook = reads.get_output_embeddings().register_forward_pre_hook(
        lambda module, inputs: caught.update(state=inputs[0])
    )
    with torch.inference_mode():
        reads(input_ids=ids)
        hook.remove()
        return writes.get_output_embeddings()(caught["state"])


@pytest.mark.parametrize("name", mostly_slow(ALL, "gpt2", "t5"))
@pytest.mark.parametrize("direction", [("sw", "en"), pytest.param(("en", "sw"), marks=pytest.mark.slow)])
def test_reading_one_and_writing_the_other(
    pair: Callable[..., Any], name: str, direction: tuple[str, str]
) -> None:
    src, sw = pair(name)
    add_head(src, sw, "sw", default_name="en")
    places = {"en": src, "sw": sw}
    reads, writes = (places[one] for one in direction)
    loaded = load(src, input=direction[0], output=direction[1])
    ids, decoder_ids = ids_of(reads), ids_of(writes, "moon")[:, :2]
    a, b = ordinary(reads), ordinary(writes)
    want = by_hand(a, b, ids, decoder_ids)
    got = logits(loaded.model, ids, decoder_ids)
    assert got.shape == want.shape
    torch.testing.assert_close(got, want, rtol=0, atol=1e-6)
    config = loaded.model.config
    assert config.vocab_size == want.shape[-1] == b.config.vocab_size
    assert config.eos_token_id == b.config.eos_token_id
    side = b if config.is_encoder_decoder else a
    assert config.pad_token_id == side.config.pad_token_id
    assert loaded.output_tokenizer("moon").input_ids == ids_of(writes, "moon")[0].tolist()
    loaded.model.tie_weights()
    torch.testing.assert_close(logits(loaded.model, ids, decoder_ids), got, rtol=0, atol=0)
    with pytest.raises(UsageError, match="cannot be saved"):
        loaded.model.save_pretrained(src.parent / "never")
    labels = torch.zeros_like(ids if not config.is_encoder_decoder else decoder_ids)
    assert torch.isfinite(loaded.model(input_ids=ids, labels=labels).loss)


@pytest.mark.parametrize("name", mostly_slow(["gpt2", "llama", "llama-untied", "t5"], "gpt2", "t5"))
@pytest.mark.parametrize("beams", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_generation_reads_what_it_writes(pair: Callable[..., Any], name: str, beams: int) -> None:
    src, sw = pair(name)
    add_head(src, sw, "sw", default_name="en")
    loaded = load(src, input="sw", output="en")
    model, ids = loaded.model, ids_of(sw)
    settings: dict[str, Any] = {"max_new_tokens": 6, "min_new_tokens": 6, "do_sample": False}
    out = model.generate(ids, num_beams=beams, **settings)
    a, b = ordinary(sw), ordinary(src)
    n_start = 1 if model.config.is_encoder_decoder else ids.shape[1]
    assert out.shape[1] == n_start + 6
    if beams > 1:
        return
    # greedily and without a cache, on two ordinary models
    if model.config.is_encoder_decoder:
        assert out[0, 0] == b.config.decoder_start_token_id
    else:
        assert torch.equal(out[:, :n_start], ids)
    read_in = a.get_input_embeddings()(ids)
    written: list[int] = []
    for _ in range(6):
        if model.config.is_encoder_decoder:
            start = torch.tensor([[b.config.decoder_start_token_id, *written]])
            scores = by_hand(a, b, ids, start)[0, -1]
        else:
            tail = b.get_input_embeddings()(torch.tensor([written], dtype=torch.long))
            with torch.inference_mode():
                state = a(
                    inputs_embeds=torch.cat([read_in, tail], dim=1), output_hidden_states=True
                ).hidden_states[-1]
                scores = b.get_output_embeddings()(state)[0, -1]
        scores = scores.clone()
        scores[b.generation_config.eos_token_id] = -torch.inf
        written.append(int(scores.argmax()))
    assert out[0, n_start:].tolist() == written


@pytest.mark.slow
@pytest.mark.parametrize("name", ["roberta", "xlm-r"])
def test_positions_that_moved_go_with_the_vocabulary(pair: Callable[..., Any], name: str) -> None:
    src, sw = pair(name)
    pads = [ordinary(folder).config.pad_token_id for folder in (src, sw)]
    assert pads[0] != pads[1]
    add_head(src, sw, "sw")
    tables = [key for key in load_file(src / "heads/sw/vocabulary.safetensors") if "position" in key]
    assert tables == ["roberta.embeddings.position_embeddings.weight"]  # XLM-R has that prefix too


def test_shards_padding_and_sentence_transformers(pair: Callable[..., Any], tmp_path: Path) -> None:
    src, _ = pair("bert-base", max_shard_size="8KB", n_rows=224)
    assert not (src / "model.safetensors").exists()
    sw = tmp_path / "bert-base-sw"
    for folder in (src, sw):
        (folder / "modules.json").write_text('[{"path": ""}, {"path": "1_Dense"}]')
        (folder / "1_Dense").mkdir()
        save_file({"linear.weight": torch.ones(2, 2)}, folder / "1_Dense/model.safetensors")
    add_head(src, sw, "sw")
    use_head(src, "sw", tmp_path / "out")
    assert (tmp_path / "out/1_Dense/model.safetensors").is_file()
    want, got = state(sw), state(tmp_path / "out")
    assert want.keys() == got.keys()
    assert all(torch.equal(want[key], got[key]) for key in want)
    save_file({"linear.weight": torch.zeros(2, 2)}, sw / "1_Dense/model.safetensors")
    with pytest.raises(InputError, match=r"1_Dense/model\.safetensors differs"):
        add_head(src, sw, "sw2")
    with pytest.raises(InputError, match="without an output head"):
        load(src, input="sw", output="default")


def test_a_copy_leaves_the_source_alone(pair: Callable[..., Any], tmp_path: Path) -> None:
    src, sw = pair("bert")
    before = sorted(path.relative_to(src) for path in src.rglob("*"))
    add_head(src, sw, "sw", out=tmp_path / "both")
    assert before == sorted(path.relative_to(src) for path in src.rglob("*"))
    add_head(tmp_path / "both", sw, "third")
    assert [head.name for head in list_heads(tmp_path / "both")] == ["default", "sw", "third"]
    assert torch.equal(ids_of(tmp_path / "both/heads/sw"), ids_of(sw))
    with pytest.raises(OSError, match=r"model.safetensors"):
        transformers.BertForMaskedLM.from_pretrained(tmp_path / "both/heads/sw")
    with pytest.raises(OutputError, match="already exists"):
        add_head(src, sw, "sw", out=tmp_path / "both")


def change(folder: Path, key: str) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors[key] = tensors[key].clone()
    tensors[key].view(-1)[-1] += 1
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def test_what_is_refused(pair: Callable[..., Any], saved_model: Saved, tmp_path: Path) -> None:
    src, sw = pair("bert")
    key = "bert.encoder.layer.1.output.dense.weight"
    gpt2, _ = saved_model("gpt2")
    for wrong, kind, match in (
        (gpt2, InputError, "GPT2LMHeadModel is not BertForMaskedLM"),
        (src, UsageError, "has this vocabulary already"),
        (tmp_path / "nothing", InputError, "config.json is missing"),
    ):
        with pytest.raises(kind, match=match):
            add_head(src, wrong, "sw")
    for name, match in (("../sw", "not a name"), ("default", "two vocabularies of one name"), ("", "not a")):
        with pytest.raises(UsageError, match=match):
            add_head(src, sw, name)
    assert not (src / "heads").exists()
    add_head(src, sw, "sw")
    with pytest.raises(OutputError, match="a vocabulary of this name"):
        add_head(src, sw, "sw")
    add_head(src, sw, "sw", overwrite=True)
    for call in (lambda: use_head(src, "xx", tmp_path / "o"), lambda: load(src, input="xx")):
        with pytest.raises(UsageError, match=r"no vocabulary of this name.*got xx, wanted default, sw"):
            call()
    (tmp_path / "o").mkdir()
    (tmp_path / "o" / "mine").touch()
    with pytest.raises(OutputError, match="already exists"):
        use_head(src, "sw", tmp_path / "o")
    change(sw, key)
    with pytest.raises(InputError, match=f"another body.*tensor {key} differs"):
        add_head(src, sw, "sw2")
    config = json.loads((sw / "config.json").read_text())
    (sw / "config.json").write_text(json.dumps(config | {"layer_norm_eps": 0.1}))
    with pytest.raises(InputError, match="config field layer_norm_eps differs"):
        add_head(src, sw, "sw2")
    change(src, key)
    with pytest.raises(InputError, match=f"no longer the one to which 'sw' was added: {key}"):
        use_head(src, "sw", tmp_path / "p")
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("file", "how"),
    [
        ("vocabulary.safetensors", "cut"),
        pytest.param("head.json", "cut", marks=pytest.mark.slow),
        pytest.param("tokenizer.json", "gone", marks=pytest.mark.slow),
        pytest.param("vocabulary.safetensors", "gone", marks=pytest.mark.slow),
        pytest.param("config.json", "cut", marks=pytest.mark.slow),
        pytest.param("head.json", "gone", marks=pytest.mark.slow),
    ],
)
def test_damage_is_found(pair: Callable[..., Any], tmp_path: Path, file: str, how: str) -> None:
    src, sw = pair("bert")
    add_head(src, sw, "sw")
    path = src / "heads/sw" / file
    path.write_bytes(path.read_bytes()[:-20]) if how == "cut" else path.unlink()
    for call in (lambda: use_head(src, "sw", tmp_path / "o"), lambda: load(src, input="sw")):
        with pytest.raises(ToolkitError) as caught:
            call()
        assert "\n" not in caught.value.message
        assert file in caught.value.message or "no vocabulary of this name" in caught.value.message
    assert not (tmp_path / "o").exists()
    add_head(src, sw, "sw", overwrite=True)
    use_head(src, "sw", tmp_path / "o")


def test_an_interrupt_leaves_nothing(
    pair: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    src, sw = pair("bert")
    add_head(src, sw, "sw")

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vocab.heads.using.verify_directory", interrupted)
    monkeypatch.setattr("vocab.heads.adding.file_digests", interrupted)
    with pytest.raises(KeyboardInterrupt):
        use_head(src, "sw", tmp_path / "o")
    for name in ("sw", "third"):
        with pytest.raises(KeyboardInterrupt):
            add_head(src, sw, name, overwrite=True)
    monkeypatch.undo()
    assert sorted(path.name for path in (src / "heads").iterdir()) == ["heads.json", "sw"]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    use_head(src, "sw", tmp_path / "o")
