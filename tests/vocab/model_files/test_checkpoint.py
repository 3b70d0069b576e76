"""Safetensors files read and rewritten without the model."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import vocab.model_files.checkpoint
from align.errors import InputError
from vocab.model_files.checkpoint import Change, open_checkpoint, rewrite_checkpoint, rewritten_bytes


def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "a.weight": torch.randn(5, 3, generator=generator),
        "b.weight": torch.randn(7, 2, generator=generator).to(torch.bfloat16),
        "c.half": torch.randn(3, generator=generator).to(torch.float16),
        "ids": torch.arange(4),
        "mask": torch.tensor([True, False, True]),
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0, 3),
    }


@pytest.fixture
def single(tmp_path: Path) -> Path:
    folder = tmp_path / "src"
    folder.mkdir()
    save_file(tensors(), folder / "model.safetensors", {"format": "pt", "made_by": "a test"})
    return folder


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    folder = tmp_path / "src"
    folder.mkdir()
    all_tensors = tensors()
    weight_map = {}
    for i, names in enumerate((["a.weight", "ids"], ["b.weight", "mask"], ["c.half", "scalar", "empty"])):
        file = f"model-0000{i + 1}-of-00003.safetensors"
        save_file({name: all_tensors[name] for name in names}, folder / file, {"format": "pt"})
        weight_map |= dict.fromkeys(names, file)
    index = {"metadata": {"total_size": 1, "total_parameters": 100}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def double(tensor: torch.Tensor) -> torch.Tensor:
    return torch.cat([tensor, tensor]) * 2


def test_one_changed_tensor_leaves_the_others(single: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    checkpoint = open_checkpoint(single)
    changes = {"b.weight": Change((14, 2), double)}
    digests = rewrite_checkpoint(checkpoint, out, changes)
    old, new = tensors(), load_file(out / "model.safetensors")
    assert new.keys() == old.keys()
    for name, tensor in old.items():
        want = double(tensor) if name == "b.weight" else tensor
        assert new[name].dtype == tensor.dtype
        assert torch.equal(new[name], want), name
    assert set(digests) == {"b.weight"}
    with safe_open(out / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt", "made_by": "a test"}
    data = sum(tensor.numel() * tensor.element_size() for tensor in new.values())
    assert rewritten_bytes(checkpoint, changes) == data
    # nothing but the header comes on top
    assert 0 < (out / "model.safetensors").stat().st_size - data < 1000


def test_tensors_are_aligned_to_their_elements(single: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    rewrite_checkpoint(open_checkpoint(single), out, {}, dtype="float16")
    widths = {"F16": 2, "I64": 8, "BOOL": 1}
    for info in open_checkpoint(out).tensors.values():
        if info.n_values:
            assert info.start % widths[info.dtype] == 0


def test_shards_keep_their_tensors(sharded: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    checkpoint = open_checkpoint(sharded)
    rewrite_checkpoint(checkpoint, out, {"a.weight": Change((10, 3), double)})
    index = json.loads((out / "model.safetensors.index.json").read_text())
    before = json.loads((sharded / "model.safetensors.index.json").read_text())
    assert index["weight_map"] == before["weight_map"]
    new = {name: t for file in checkpoint.files for name, t in load_file(out / file).items()}
    assert index["metadata"] == {
        "total_size": sum(t.numel() * t.element_size() for t in new.values()),
        "total_parameters": 115,
    }
    assert torch.equal(new["a.weight"], double(tensors()["a.weight"]))
    for file in checkpoint.files[1:]:
        assert (out / file).read_bytes() == (sharded / file).read_bytes()
        assert (out / file).stat().st_ino != (sharded / file).stat().st_ino


def test_links_and_their_fallback(sharded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    checkpoint = open_checkpoint(sharded)
    rewrite_checkpoint(checkpoint, first, {}, link=True)
    file = checkpoint.files[1]
    assert (first / file).stat().st_ino == (sharded / file).stat().st_ino

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(os, "copy_file_range", refuse, raising=False)
    rewrite_checkpoint(checkpoint, second, {}, link=True)
    assert (second / file).read_bytes() == (sharded / file).read_bytes()
    assert (second / file).stat().st_nlink == 1


def test_symbolic_links_are_followed(single: Path, tmp_path: Path) -> None:
    snapshot, out = tmp_path / "snapshot", tmp_path / "out"
    snapshot.mkdir()
    out.mkdir()
    (snapshot / "model.safetensors").symlink_to(single / "model.safetensors")
    rewrite_checkpoint(open_checkpoint(snapshot), out, {}, link=True)
    assert not (out / "model.safetensors").is_symlink()
    assert (out / "model.safetensors").read_bytes() == (single / "model.safetensors").read_bytes()


def test_dtype_conversion(single: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    checkpoint = open_checkpoint(single)
    rewrite_checkpoint(checkpoint, out, {"a.weight": Change((10, 3), double)}, dtype="bfloat16")
    new = load_file(out / "model.safetensors")
    for name, tensor in tensors().items():
        want = double(tensor) if name == "a.weight" else tensor
        want = want.to(torch.bfloat16) if tensor.is_floating_point() else want
        assert torch.equal(new[name], want), name
        assert new[name].dtype == want.dtype
    assert rewritten_bytes(checkpoint, {}, dtype="bfloat16") == sum(
        t.numel() * (2 if t.is_floating_point() else t.element_size()) for t in tensors().values()
    )


def test_overflow_is_an_error_and_infinity_is_not(tmp_path: Path) -> None:
    save_file({"w": torch.tensor([1.0, float("inf"), 1e6])}, tmp_path / "model.safetensors")
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(InputError, match=r"w: 1 values are too large for float16 .*1e\+06.* bfloat16"):
        rewrite_checkpoint(open_checkpoint(tmp_path), out, {}, dtype="float16")
    os.remove(out / "model.safetensors")
    rewrite_checkpoint(open_checkpoint(tmp_path), out, {}, dtype="bfloat16")
    np.testing.assert_array_equal(
        torch.isinf(load_file(out / "model.safetensors")["w"]), [False, True, False]
    )


def test_a_wrong_shape_is_caught(single: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(InputError, match="another shape"):
        rewrite_checkpoint(open_checkpoint(single), out, {"a.weight": Change((9, 3), double)})


def test_single_file_wins_over_an_index(sharded: Path) -> None:
    save_file({"only": torch.ones(2)}, sharded / "model.safetensors")
    assert set(open_checkpoint(sharded).tensors) == {"only"}


def test_weights_that_cannot_be_read(sharded: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="no weights"):
        open_checkpoint(empty)
    (empty / "adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match="an adapter"):
        open_checkpoint(empty)
    (empty / "pytorch_model.bin").write_bytes(b"\x80")
    with pytest.raises(InputError, match=r"only pickled weights.*save_pretrained"):
        open_checkpoint(empty)
    (empty / "model.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{}")
    with pytest.raises(InputError, match="cannot be read"):
        open_checkpoint(empty)

    path = sharded / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    for broken, message in (
        ({**index, "weight_map": {**index["weight_map"], "a.weight": "../x.safetensors"}}, "outside"),
        (
            {**index, "weight_map": {**index["weight_map"], "ghost": "model-00001-of-00003.safetensors"}},
            "ghost",
        ),
        ({"metadata": {}}, "damaged index"),
    ):
        path.write_text(json.dumps(broken))
        with pytest.raises(InputError, match=message):
            open_checkpoint(sharded)
    path.write_text(json.dumps(index))
    (sharded / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(InputError, match="00002"):
        open_checkpoint(sharded)


def test_large_tensors_are_copied_in_pieces(
    single: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.setattr(vocab.model_files.checkpoint, "_CHUNK", 7)
    rewrite_checkpoint(open_checkpoint(single), out, {"scalar": Change((), lambda old: old + 1)})
    new = load_file(out / "model.safetensors")
    assert torch.equal(new["a.weight"], tensors()["a.weight"])
    assert new["scalar"] == 3.5
