"""Writing model directories: identity laws, verification, and what happens when it goes wrong."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

import vocab.model_files.output
from align.errors import InputError, OutputError, UsageError
from align.place import put_in_place, temporary_sibling
from vocab.model_files.output import check_output, write_model_directory
from vocab.plan import Origin, TransferPlan
from vocab.plan.sampling import Sampling
from vocab.tokens import Vocabulary

TEXTS = ["the old man and the moon", "habari za asubuhi rafiki", "naïve 12 poems!"]
ALL = ["roberta", "bert", "bert-base", "xlm-r", "gpt2", "llama", "llama-untied", "modernbert", "t5"]


def permutation_plan(src: Any, tgt: Any, new_ids: NDArray[np.int64]) -> TransferPlan:
    return TransferPlan.from_entries(
        new_ids,
        np.arange(len(new_ids)),
        np.ones(len(new_ids)),
        Origin.COPIED,
        src_tokens=Vocabulary.of(src).tokens,
        tgt_tokens=Vocabulary.of(tgt).tokens,
        method="permutation",
    )


def identity_plan(tokenizer: Any) -> TransferPlan:
    return permutation_plan(tokenizer, tokenizer, np.arange(len(Vocabulary.of(tokenizer))))


def write(src: Path, out: Path, plan: TransferPlan, src_tok: Any, tgt_tok: Any, **options: Any) -> Any:
    return write_model_directory(
        src, out, plan, src_tok, tgt_tok, provenance={"schema": 1}, card="# A card\n", **options
    )


def load(folder: Path, **options: Any) -> Any:
    config = json.loads((folder / "config.json").read_text())
    cls = getattr(transformers, config["architectures"][0])
    model, info = cls.from_pretrained(folder, output_loading_info=True, **options)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert not info["mismatched_keys"]
    return model.eval()


def run(model: Any, ids: list[int]) -> NDArray[np.float32]:
    inputs = {"input_ids": torch.tensor([ids])}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = torch.tensor([[model.config.decoder_start_token_id, ids[0], ids[1]]])
    with torch.inference_mode():
        return model(**inputs)[0][0].float().numpy()


@pytest.mark.parametrize("name", ALL)
def test_identity_plan_keeps_every_bit(saved_model: Callable[..., Any], tmp_path: Path, name: str) -> None:
    src, tokenizer = saved_model(name)
    written = write(src, tmp_path / "out", identity_plan(tokenizer), tokenizer, tokenizer)
    before, after = load_file(src / "model.safetensors"), load_file(tmp_path / "out" / "model.safetensors")
    assert before.keys() == after.keys()
    for key in before:
        np.testing.assert_array_equal(before[key].numpy(), after[key].numpy(), err_msg=key)
    assert written.verification.forward == "passed"
    assert len(written.tensors) >= 1


@pytest.mark.parametrize("name", ALL)
def test_permuted_ids_give_permuted_logits(
    saved_model: Callable[..., Any],
    make_renumbered: Callable[..., Any],
    specials: Mapping[str, Any],
    architectures: Mapping[str, tuple[str, str]],
    tmp_path: Path,
    name: str,
) -> None:
    src, src_tok = saved_model(name)
    n = len(Vocabulary.of(src_tok))
    new_ids = np.random.default_rng(5).permutation(n)
    tgt_tok = make_renumbered(src_tok, new_ids, specials[architectures[name][1]])
    out = tmp_path / "out"
    write(src, out, permutation_plan(src_tok, tgt_tok, new_ids), src_tok, tgt_tok)
    old, new = load(src), load(out)
    reloaded = transformers.AutoTokenizer.from_pretrained(out)
    for text in TEXTS:
        old_ids, ids = src_tok(text).input_ids, reloaded(text).input_ids
        np.testing.assert_array_equal(ids, new_ids[old_ids])
        want, got = run(old, old_ids), run(new, ids)
        if name != "bert-base":  # a base model has hidden states, which have no vocabulary axis
            got = got[:, new_ids]
        np.testing.assert_allclose(got, want, atol=2e-5, rtol=0)
    for role in ("bos", "eos", "pad", "decoder_start"):
        old_id = getattr(old.config, f"{role}_token_id", None)
        if old_id is not None:
            assert getattr(new.config, f"{role}_token_id") == new_ids[old_id]


@pytest.mark.parametrize("name", ["roberta", "xlm-r"])
@pytest.mark.parametrize("new_pad", [0, 3, 40])
def test_positions_follow_the_padding_id(
    saved_model: Callable[..., Any],
    make_renumbered: Callable[..., Any],
    specials: Mapping[str, Any],
    tmp_path: Path,
    name: str,
    new_pad: int,
) -> None:
    src, src_tok = saved_model(name)
    new_ids = np.arange(len(Vocabulary.of(src_tok)))
    new_ids[[src_tok.pad_token_id, new_pad]] = [new_pad, src_tok.pad_token_id]
    tgt_tok = make_renumbered(src_tok, new_ids, specials["roberta"])
    written = write(src, tmp_path / "out", permutation_plan(src_tok, tgt_tok, new_ids), src_tok, tgt_tok)
    assert any("padding id" in note for note in written.notes)
    old, new = load(src), load(tmp_path / "out")
    shift = new_pad - src_tok.pad_token_id
    assert new.config.max_position_embeddings == old.config.max_position_embeddings + shift
    # as long as the source allows, padded on the right, to reach both ends of the table
    for n_tokens, n_pad in ((62, 0), (50, 12)):
        ids = np.random.default_rng(n_tokens).integers(5, len(new_ids), n_tokens)
        old_ids = np.concatenate([ids, np.full(n_pad, src_tok.pad_token_id)])
        mask = torch.tensor([[1] * n_tokens + [0] * n_pad])
        with torch.inference_mode():
            want = old(torch.from_numpy(old_ids[None]), mask, output_hidden_states=True).hidden_states
            got = new(torch.from_numpy(new_ids[old_ids][None]), mask, output_hidden_states=True).hidden_states
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a[0, :n_tokens], b[0, :n_tokens], atol=2e-5, rtol=0)
    if shift:  # the shift is what makes it right: with the old table the states differ
        table = f"{old.base_model_prefix}.embeddings.position_embeddings.weight"
        assert not torch.equal(new.state_dict()[table][new_pad + 1], old.state_dict()[table][new_pad + 1])


def test_untied_head_is_not_the_embedding(saved_model: Callable[..., Any], tmp_path: Path) -> None:
    src, tokenizer = saved_model("llama-untied")
    n = len(Vocabulary.of(tokenizer))
    first, second = np.arange(n), np.roll(np.arange(n), 1)
    plan = TransferPlan.from_entries(
        np.tile(np.arange(n), 2),
        np.concatenate([first, second]),
        np.full(2 * n, 0.5),
        Origin.MIXED,
        src_tokens=Vocabulary.of(tokenizer).tokens,
        tgt_tokens=Vocabulary.of(tokenizer).tokens,
        method="halves",
    )
    write(src, tmp_path / "out", plan.with_norm("sources"), tokenizer, tokenizer)
    old, new = load_file(src / "model.safetensors"), load_file(tmp_path / "out" / "model.safetensors")
    head = old["lm_head.weight"].numpy()
    np.testing.assert_allclose(new["lm_head.weight"], (head + np.roll(head, -1, 0)[np.roll(first, 2)]) / 2)
    rows = old["model.embed_tokens.weight"].numpy()
    mean = (rows + rows[second]) / 2
    got = new["model.embed_tokens.weight"].numpy()
    norms = np.linalg.norm(rows, axis=1)
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), (norms + norms[second]) / 2, rtol=1e-5)
    cosine = (got * mean).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(mean, axis=1)
    np.testing.assert_allclose(cosine, 1, atol=1e-5)


def test_padded_source_and_padded_target(saved_model: Callable[..., Any], tmp_path: Path) -> None:
    _, tokenizer = saved_model("bert")
    n = len(Vocabulary.of(tokenizer))
    src, _ = saved_model("bert", n_rows=n + 7)
    tight = write(src, tmp_path / "tight", identity_plan(tokenizer), tokenizer, tokenizer)
    assert "the source's 7 padding rows are left out" in tight.notes
    written = write(
        src, tmp_path / "out", identity_plan(tokenizer), tokenizer, tokenizer, pad_to_multiple_of=64
    )
    old, new = load_file(src / "model.safetensors"), load_file(tmp_path / "out" / "model.safetensors")
    key, bias = "bert.embeddings.word_embeddings.weight", "cls.predictions.bias"
    assert load_file(tmp_path / "tight" / "model.safetensors")[key].shape[0] == n
    assert new[key].shape[0] == written.n_rows == -(-n // 64) * 64
    assert load(tmp_path / "out").config.vocab_size == written.n_rows
    np.testing.assert_array_equal(new[key][:n], old[key][:n])
    want = np.broadcast_to(old[key][n:].mean(0), new[key][n:].shape)
    np.testing.assert_allclose(new[key][n:], want, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(new[bias][n:], np.full(written.n_rows - n, old[bias][:n].min()))
    assert any("padding rows" in note for note in written.notes)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_kept(saved_model: Callable[..., Any], tmp_path: Path, dtype: Any) -> None:
    src, tokenizer = saved_model("gpt2", dtype=dtype)
    write(src, tmp_path / "out", identity_plan(tokenizer), tokenizer, tokenizer)
    old, new = load_file(src / "model.safetensors"), load_file(tmp_path / "out" / "model.safetensors")
    for key in old:
        assert new[key].dtype == dtype
        assert torch.equal(old[key], new[key]), key


def test_dtype_conversion_reaches_config_and_weights(saved_model: Callable[..., Any], tmp_path: Path) -> None:
    src, tokenizer = saved_model("roberta")
    write(src, tmp_path / "out", identity_plan(tokenizer), tokenizer, tokenizer, dtype="bfloat16")
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    assert {tensor.dtype for tensor in tensors.values()} == {torch.bfloat16}
    assert load(tmp_path / "out", dtype="auto").dtype == torch.bfloat16
    with pytest.raises(UsageError, match="unknown dtype"):
        write(src, tmp_path / "out2", identity_plan(tokenizer), tokenizer, tokenizer, dtype="int8")


def test_sharded_checkpoint_stays_sharded(saved_model: Callable[..., Any], tmp_path: Path) -> None:
    src, tokenizer = saved_model("llama-untied", max_shard_size="12KB")
    n = len(Vocabulary.of(tokenizer))
    assert len(list(src.glob("model-*.safetensors"))) > 2
    plan = identity_plan(tokenizer)
    written = write(src, tmp_path / "out", plan, tokenizer, tokenizer, pad_to_multiple_of=n + 5, link=True)
    assert not (tmp_path / "out" / "model.safetensors").exists()
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    total = 0
    for file in sorted(set(index["weight_map"].values())):
        tensors = load_file(tmp_path / "out" / file)
        assert {key for key, where in index["weight_map"].items() if where == file} == set(tensors)
        total += sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
        linked = (tmp_path / "out" / file).stat().st_ino == (src / file).stat().st_ino
        assert linked == (not set(tensors) & set(written.tensors))
    assert index["metadata"]["total_size"] == total
    old, new = load(src), load(tmp_path / "out")
    assert index["metadata"]["total_parameters"] == new.num_parameters()
    ids = tokenizer(TEXTS[0]).input_ids
    np.testing.assert_allclose(run(new, ids)[:, :n], run(old, ids), atol=1e-6)


def test_rows_equal_the_plan_for_another_tokenizer(
    saved_model: Callable[..., Any], tokenizers: Mapping[str, Any], tmp_path: Path
) -> None:
    src, src_tok = saved_model("roberta")
    tgt_tok = tokenizers["bert"]
    source, target = Vocabulary.of(src_tok), Vocabulary.of(tgt_tok)
    rng = np.random.default_rng(0)
    rows = np.repeat(np.arange(len(target) - 20), 3)
    plan = TransferPlan.from_entries(
        rows,
        rng.integers(0, len(source), len(rows)),
        rng.normal(size=len(rows)) + 0.1,
        Origin.MIXED,
        src_tokens=source.tokens,
        tgt_tokens=target.tokens,
        method="random",
    )
    drawn = plan.origins == Origin.EMPTY
    plan = TransferPlan(
        plan.weights,
        np.where(drawn, Origin.SAMPLED, plan.origins).astype(np.uint8),
        "random",
        {},
        plan.src_tokens,
        plan.tgt_tokens,
        sampling=Sampling("normal", seed=3),
    )
    write(src, tmp_path / "out", plan, src_tok, tgt_tok, probe_texts=TEXTS)
    old, new = load_file(src / "model.safetensors"), load_file(tmp_path / "out" / "model.safetensors")
    key = "roberta.embeddings.word_embeddings.weight"
    np.testing.assert_array_equal(new[key], plan.apply(old[key].numpy()))
    bias = new["lm_head.bias"].numpy()
    np.testing.assert_array_equal(bias, plan.apply(old["lm_head.bias"].numpy()))
    np.testing.assert_allclose(bias[drawn], old["lm_head.bias"].mean(), rtol=1e-5)
    config = load(tmp_path / "out").config
    # <s> and </s> of the config become [CLS] and [SEP]; the pad id moves from 1 to 0
    assert (config.bos_token_id, config.eos_token_id) == (tgt_tok.cls_token_id, tgt_tok.sep_token_id)
    assert config.pad_token_id == tgt_tok.pad_token_id == 0
    assert TransferPlan.load(tmp_path / "out").differing_rows(plan).size == 0


def test_the_directory_holds_what_it_should(saved_model: Callable[..., Any], tmp_path: Path) -> None:
    src, tokenizer = saved_model("bert-base")
    (src / "1_Pooling").mkdir()
    (src / "1_Pooling" / "config.json").write_text("{}")
    (src / "modules.json").write_text(
        json.dumps(
            [{"idx": 0, "path": ""}, {"idx": 1, "path": "1_Pooling"}, {"idx": 2, "path": "2_Normalize"}]
        )
    )
    for name in ("sentence_bert_config.json", "LICENSE", "vocab.txt", "tf_model.h5", "pytorch_model.bin"):
        (src / name).write_text("{}")
    out = tmp_path / "deep" / "out"
    write(src, out, identity_plan(tokenizer), tokenizer, tokenizer)
    found = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert found == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "transfer.json",
        "README.md",
        "plan/plan.json",
        "plan/plan.safetensors",
        "modules.json",
        "1_Pooling/config.json",
        "sentence_bert_config.json",
        "LICENSE",
    }
    facts = json.loads((out / "transfer.json").read_text())
    assert facts["schema"] == 1
    assert set(facts["sha256"]) == found - {"transfer.json"}
    assert facts["applied"]["verification"]["forward"] == "passed"
    assert sorted(path.name for path in out.parent.iterdir()) == ["out"]
    first = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    write(src, out, identity_plan(tokenizer), tokenizer, tokenizer, overwrite=True)
    assert first == {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    assert sorted(path.name for path in out.parent.iterdir()) == ["out"]


def test_generation_config_moves_along(
    saved_model: Callable[..., Any],
    make_renumbered: Callable[..., Any],
    specials: Mapping[str, Any],
    tmp_path: Path,
) -> None:
    src, src_tok = saved_model("llama")
    path = src / "generation_config.json"
    generation = json.loads(path.read_text()) | {"temperature": 0.7, "suppress_tokens": [0, 9]}
    path.write_text(json.dumps(generation | {"eos_token_id": [2, 1], "do_sample": True}))
    new_ids = np.random.default_rng(1).permutation(len(Vocabulary.of(src_tok)))
    tgt_tok = make_renumbered(src_tok, new_ids, specials["llama"])
    write(src, tmp_path / "out", permutation_plan(src_tok, tgt_tok, new_ids), src_tok, tgt_tok)
    new = load(tmp_path / "out").generation_config
    assert new.eos_token_id == [new_ids[2], new_ids[1]]
    assert new.bos_token_id == new_ids[1]
    assert new.suppress_tokens == [new_ids[0], new_ids[9]]
    assert new.temperature == 0.7


def test_a_taken_place_is_refused(saved_model: Callable[..., Any], tmp_path: Path) -> None:
    src, tokenizer = saved_model("gpt2")
    plan = identity_plan(tokenizer)
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.tex").write_text("x")
    with pytest.raises(OutputError, match="already exists"):
        write(src, precious, plan, tokenizer, tokenizer)
    with pytest.raises(OutputError, match="something else"):
        write(src, precious, plan, tokenizer, tokenizer, overwrite=True)
    for bad in (src, src.parent):
        with pytest.raises(OutputError, match="its own source"):
            write(src, bad, plan, tokenizer, tokenizer, overwrite=True)
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="parent directory"):
        write(src, tmp_path / "file" / "out", plan, tokenizer, tokenizer)
    assert (precious / "thesis.tex").read_text() == "x"


def test_leftovers_of_a_killed_run_are_named(tmp_path: Path) -> None:
    for name in (".out.partial-1234", ".out.replaced-1234", ".other.partial-1234"):
        (tmp_path / name).mkdir()
    with pytest.warns(UserWarning, match=r"holds \.out\.partial-1234, \.out\.replaced-1234: "):
        check_output(tmp_path / "out", overwrite=False)


def test_unwritable_parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.access", lambda path, mode: False)  # the tests may run as root
    with pytest.raises(OutputError, match="not writable"):
        check_output(tmp_path / "out", overwrite=False)


def test_disk_space_is_checked_first(
    saved_model: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    src, tokenizer = saved_model("gpt2")
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(OutputError, match="not enough disk space"):
        write(src, tmp_path / "out", identity_plan(tokenizer), tokenizer, tokenizer)
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_a_failing_disk_leaves_nothing(
    saved_model: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    src, tokenizer = saved_model("gpt2")

    def fail(*args: object, **kwargs: object) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr(TransferPlan, "save", fail)
    with pytest.raises(OutputError, match="disk is full" if number == errno.ENOSPC else "cannot write"):
        write(src, tmp_path / "out", identity_plan(tokenizer), tokenizer, tokenizer)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["src-gpt2"]


def test_interrupt_leaves_nothing(
    saved_model: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    src, tokenizer = saved_model("gpt2")

    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(vocab.model_files.output, "verify_directory", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write(src, tmp_path / "out", identity_plan(tokenizer), tokenizer, tokenizer)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["src-gpt2"]


def test_a_failed_rename_restores_the_old_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "config.json").write_text("old")
    rename = Path.rename

    def fail(self: Path, target: Path) -> Path:
        if "partial" in self.name:
            raise OSError(errno.EIO, "no")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with (
        pytest.raises(OutputError, match="cannot write"),
        temporary_sibling(out, n_bytes=0) as folder,
    ):
        put_in_place(folder, out, overwrite=True)
    assert (out / "config.json").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_verification_catches_a_wrong_tensor(
    saved_model: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    src, tokenizer = saved_model("bert")
    real = vocab.model_files.output.rewrite_checkpoint

    def corrupt(checkpoint: Any, folder: Path, *args: Any, **kwargs: Any) -> Any:
        digests = real(checkpoint, folder, *args, **kwargs)
        path = folder / "model.safetensors"
        data = bytearray(path.read_bytes())
        info = vocab.model_files.output.open_checkpoint(folder).tensors["cls.predictions.bias"]
        data[info.start : info.start + 4] = b"\x00\x00\x80\x3f"
        path.write_bytes(data)
        return digests

    monkeypatch.setattr(vocab.model_files.output, "rewrite_checkpoint", corrupt)
    with pytest.raises(OutputError, match="reads back with other values"):
        write(src, tmp_path / "out", identity_plan(tokenizer), tokenizer, tokenizer)


def test_verification_catches_a_wrong_config(
    saved_model: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    src, tokenizer = saved_model("bert")
    real = vocab.model_files.output.new_config
    monkeypatch.setattr(
        vocab.model_files.output,
        "new_config",
        lambda *args, **kwargs: real(*args, **kwargs) | {"vocab_size": 99},
    )
    with pytest.raises(OutputError, match="failed its check"):
        write(src, tmp_path / "out", identity_plan(tokenizer), tokenizer, tokenizer)


def test_plan_for_other_tokenizers_is_refused(
    saved_model: Callable[..., Any], tokenizers: Mapping[str, Any], tmp_path: Path
) -> None:
    src, tokenizer = saved_model("gpt2")
    with pytest.raises(InputError, match="another target tokenizer"):
        write(src, tmp_path / "out", identity_plan(tokenizer), tokenizer, tokenizers["bert"])


def test_nan_in_the_weights(saved_model: Callable[..., Any], tmp_path: Path) -> None:
    src, tokenizer = saved_model("gpt2")
    model = load(src)
    with torch.no_grad():
        model.transformer.wte.weight[3, 2] = float("nan")
    model.save_pretrained(src)
    with pytest.raises(InputError, match="NaN") as caught:
        write(src, tmp_path / "out", identity_plan(tokenizer), tokenizer, tokenizer)
    assert "transformer.wte.weight" in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["src-gpt2"]


def test_every_alias_of_a_tied_tensor_is_rewritten(
    saved_model: Callable[..., Any],
    make_renumbered: Callable[..., Any],
    specials: Mapping[str, Any],
    tmp_path: Path,
) -> None:
    # old T5 files hold the shared matrix under all of its names
    src, src_tok = saved_model("t5")
    tensors = load_file(src / "model.safetensors")
    aliases = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "lm_head.weight")
    save_file(
        tensors | {name: tensors["shared.weight"].clone() for name in aliases}, src / "model.safetensors"
    )
    new_ids = np.random.default_rng(2).permutation(len(Vocabulary.of(src_tok)))
    tgt_tok = make_renumbered(src_tok, new_ids, specials["t5"])
    write(src, tmp_path / "out", permutation_plan(src_tok, tgt_tok, new_ids), src_tok, tgt_tok)
    new = load_file(tmp_path / "out" / "model.safetensors")
    for name in ("shared.weight", *aliases):
        np.testing.assert_array_equal(new[name][new_ids], tensors["shared.weight"], err_msg=name)
    ids = src_tok(TEXTS[0]).input_ids
    got = run(load(tmp_path / "out"), new_ids[ids].tolist())
    np.testing.assert_allclose(got[:, new_ids], run(load(src), ids), atol=2e-5)


def test_auto_classes_open_it(saved_model: Callable[..., Any], tmp_path: Path) -> None:
    src, tokenizer = saved_model("roberta")
    out = tmp_path / "out"
    write(src, out, identity_plan(tokenizer), tokenizer, tokenizer)
    for auto in (transformers.AutoModel, transformers.AutoModelForMaskedLM):
        model = auto.from_pretrained(out)
        assert model.get_input_embeddings().weight.shape[0] == len(tokenizer)
    fill = transformers.pipeline("fill-mask", model=str(out), device="cpu")
    assert len(fill(f"the old {tokenizer.mask_token} walked")) == 5


def test_code_of_its_own_runs_only_when_asked(
    saved_model: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    src, tokenizer = saved_model("bert-base")
    (src / "modeling_own.py").write_text(
        "from transformers import BertModel\n\n\nclass OwnModel(BertModel):\n    pass\n"
    )
    config = json.loads((src / "config.json").read_text())
    config |= {"architectures": ["OwnModel"], "auto_map": {"AutoModel": "modeling_own.OwnModel"}}
    (src / "config.json").write_text(json.dumps(config))
    plan = identity_plan(tokenizer)
    with pytest.raises(InputError, match=r"OwnModel.*--trust-remote-code"):
        write(src, tmp_path / "out", plan, tokenizer, tokenizer)
    written = write(src, tmp_path / "out", plan, tokenizer, tokenizer, trust_remote_code=True)
    assert written.verification.forward == "passed"
    assert (tmp_path / "out" / "modeling_own.py").exists()
