"""Read and rewrite safetensors shards without loading the model.

Tensors that change are computed one at a time; all others are copied as bytes. Memory is that of the largest
changed tensor, whatever the size of the model.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from safetensors import SafetensorError, safe_open

from align.errors import InputError

if TYPE_CHECKING:
    import torch

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"

# name in the file, name in torch, bytes; the floating ones can be converted
_FLOATS = {"F64": ("float64", 8), "F32": ("float32", 4), "F16": ("float16", 2), "BF16": ("bfloat16", 2)}
DTYPES = {torch_name: name for name, (torch_name, _) in _FLOATS.items()}
_CHUNK = 1 << 24
_FULL = (errno.ENOSPC, errno.EDQUOT)


def size_of(shape: tuple[int, ...]) -> int:
    """Number of elements."""
    size = 1
    for length in shape:
        size *= length
    return size


@dataclass(frozen=True)
class TensorInfo:
    """Where a tensor lies: ``start`` and ``stop`` are byte positions in its file."""

    file: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int

    @property
    def n_values(self) -> int:
        """Number of elements."""
        return size_of(self.shape)

    @property
    def is_float(self) -> bool:
        """Whether it is float64, float32, float16 or bfloat16."""
        return self.dtype in _FLOATS


@dataclass(frozen=True)
class Checkpoint:
    """The safetensors files of a model directory; ``index`` is the parsed index file of a sharded one."""

    folder: Path
    files: tuple[str, ...]
    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, Mapping[str, str]]
    index: Mapping[str, Any] | None

    def read(self, name: str) -> torch.Tensor:
        """One tensor, in its stored dtype."""
        with safe_open(self.folder / self.tensors[name].file, framework="pt") as file:
            return file.get_tensor(name)


@dataclass(frozen=True)
class Change:
    """A tensor's new contents: its shape, known before, and how to compute it from the old tensor."""

    shape: tuple[int, ...]
    compute: Callable[[torch.Tensor], torch.Tensor]


def open_checkpoint(folder: str | Path) -> Checkpoint:
    """Read the headers of a model directory's weights.

    ``model.safetensors`` wins over an index, as it does in transformers.

    Raises
    ------
    InputError
        When there are no safetensors weights, a shard is missing or damaged, or the index names tensors that
        are not there.
    """
    folder = Path(folder)
    index: dict[str, Any] | None = None
    if (folder / SINGLE).exists():
        files = [SINGLE]
    elif (folder / INDEX).exists():
        index = _read_index(folder / INDEX)
        files = sorted(set(index["weight_map"].values()))
    else:
        raise _no_weights(folder)
    tensors: dict[str, TensorInfo] = {}
    metadata = {}
    for file in files:
        metadata[file], found = _read_header(folder, file)
        tensors.update(found)
    if index is not None:
        for name, file in index["weight_map"].items():
            if name not in tensors or tensors[name].file != file:
                raise InputError(
                    f"the index places tensor {name!r} in {file}, where it is not", where=folder / INDEX
                )
    return Checkpoint(folder, tuple(files), tensors, metadata, index)


def _no_weights(folder: Path) -> InputError:
    pickled = sorted(path.name for path in folder.glob("pytorch_model*.bin"))
    if pickled:
        return InputError(
            "only pickled weights, which can run code when opened",
            got=pickled[0],
            wanted="safetensors",
            where=folder,
            hint="if you trust the file, load it with from_pretrained and write it with save_pretrained",
        )
    if (folder / "adapter_config.json").exists():
        return InputError(
            "an adapter, not a model", where=folder, hint="merge it into its base model and save that"
        )
    return InputError("no weights", wanted=f"{SINGLE} or {INDEX}", where=folder)


def _read_index(path: Path) -> dict[str, Any]:
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        files = set(index["weight_map"].values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"a damaged index: {error!r}", where=path) from error
    for file in files:
        if not isinstance(file, str) or Path(file).name != file:
            raise InputError("the index names a file outside its directory", got=file, where=path)
    return index


def _read_header(folder: Path, file: str) -> tuple[dict[str, str], dict[str, TensorInfo]]:
    path = folder / file
    try:
        with safe_open(path, framework="pt"):  # checks offsets and lengths against the file
            pass
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(length))
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"weights that cannot be read: {error}", where=path) from error
    metadata = header.pop("__metadata__", {})
    tensors = {}
    for name, entry in header.items():
        start, stop = (8 + length + offset for offset in entry["data_offsets"])
        tensors[name] = TensorInfo(file, entry["dtype"], tuple(entry["shape"]), start, stop)
    return metadata, tensors


def _planned(info: TensorInfo, change: Change | None, dtype: str | None) -> tuple[str, tuple[int, ...], int]:
    """Dtype, shape and bytes of a tensor after rewriting."""
    out_dtype = DTYPES[dtype] if dtype is not None and info.is_float else info.dtype
    if change is None and out_dtype == info.dtype:
        return out_dtype, info.shape, info.stop - info.start
    shape = info.shape if change is None else change.shape
    return out_dtype, shape, size_of(shape) * _FLOATS[out_dtype][1]


def rewritten_bytes(
    checkpoint: Checkpoint, changes: Mapping[str, Change], *, dtype: str | None = None
) -> int:
    """Bytes of tensor data that :func:`rewrite_checkpoint` will write."""
    return sum(_planned(info, changes.get(name), dtype)[2] for name, info in checkpoint.tensors.items())


def rewrite_checkpoint(
    checkpoint: Checkpoint,
    out_dir: str | Path,
    changes: Mapping[str, Change],
    *,
    dtype: str | None = None,
    link: bool = False,
) -> dict[str, str]:
    """Write the checkpoint with some tensors changed, in the same shards.

    Parameters
    ----------
    checkpoint : Checkpoint
    out_dir : path
        An existing directory.
    changes : mapping of str to Change
        Changed tensors by name; the result is cast to the tensor's dtype.
    dtype : {"float64", "float32", "float16", "bfloat16"}, optional
        Convert every floating tensor to this dtype.
    link : bool
        Hard-link shards in which nothing changes, where the file system can. A program that later overwrites
        such a shard in place changes the source too, so by default they are copied (without using space on
        file systems that share blocks).

    Returns
    -------
    dict
        SHA-256 of the bytes of every changed tensor.

    Raises
    ------
    InputError
        When a value overflows the new dtype.

    Notes
    -----
    Memory: the largest changed or converted tensor, twice. Time: that of copying the files.
    """
    out_dir = Path(out_dir)
    digests: dict[str, str] = {}
    total_bytes = 0
    for file in checkpoint.files:
        infos = {name: info for name, info in checkpoint.tensors.items() if info.file == file}
        plans = {name: _planned(info, changes.get(name), dtype) for name, info in infos.items()}
        total_bytes += sum(n_bytes for _, _, n_bytes in plans.values())
        same = all(name not in changes and plans[name][0] == info.dtype for name, info in infos.items())
        if same:
            copy_file(checkpoint.folder / file, out_dir / file, link=link)
        else:
            digests |= _rewrite_shard(checkpoint, file, out_dir / file, infos, plans, changes)
    if checkpoint.index is not None:
        index = dict(checkpoint.index)
        index["metadata"] = {**index.get("metadata", {}), "total_size": total_bytes}
        if "total_parameters" in index["metadata"]:
            index["metadata"]["total_parameters"] += sum(
                size_of(change.shape) - size_of(checkpoint.tensors[name].shape)
                for name, change in changes.items()
            )
        (out_dir / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return digests


def _rewrite_shard(
    checkpoint: Checkpoint,
    file: str,
    out: Path,
    infos: Mapping[str, TensorInfo],
    plans: Mapping[str, tuple[str, tuple[int, ...], int]],
    changes: Mapping[str, Change],
) -> dict[str, str]:
    # widest elements first, as the safetensors library does, so that every tensor stays aligned
    order = sorted(plans, key=lambda name: (-(plans[name][2] // max(size_of(plans[name][1]), 1)), name))
    header: dict[str, Any] = {"__metadata__": {"format": "pt", **checkpoint.metadata[file]}}
    position = 0
    for name in order:
        out_dtype, shape, n_bytes = plans[name]
        header[name] = {"dtype": out_dtype, "shape": shape, "data_offsets": [position, position + n_bytes]}
        position += n_bytes
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    digests = {}
    with (checkpoint.folder / file).open("rb") as source, out.open("xb") as target:
        target.write(len(encoded).to_bytes(8, "little") + encoded)
        for name in order:
            out_dtype, shape, _ = plans[name]
            if name not in changes and out_dtype == infos[name].dtype:
                _copy_range(source, target, infos[name].start, infos[name].stop)
                continue
            tensor = checkpoint.read(name)
            if name in changes:
                tensor = changes[name].compute(tensor)
            data = tensor_bytes(_cast(tensor, out_dtype, shape, name))
            target.write(data)
            if name in changes:
                digests[name] = hashlib.sha256(data).hexdigest()
    return digests


def _cast(tensor: torch.Tensor, dtype: str, shape: tuple[int, ...], name: str) -> torch.Tensor:
    import torch

    if tuple(tensor.shape) != shape:
        raise InputError(
            "a computed tensor of another shape", got=tuple(tensor.shape), wanted=shape, where=name
        )
    out = tensor.to(getattr(torch, _FLOATS[dtype][0]))
    if out.dtype == tensor.dtype or torch.isfinite(out).all():
        return out
    overflow = torch.isinf(out) & ~torch.isinf(tensor)
    if overflow.any():
        raise InputError(
            f"{int(overflow.sum())} values are too large for {_FLOATS[dtype][0]}",
            got=f"up to {float(tensor[overflow].abs().max()):.3g}",
            where=name,
            hint="use bfloat16 or float32",
        )
    return out


def tensor_bytes(tensor: torch.Tensor) -> memoryview:
    """The bytes of a tensor as safetensors stores them (little-endian, row by row)."""
    import torch

    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data


def _copy_range(source: BinaryIO, target: BinaryIO, start: int, stop: int) -> None:
    source.seek(start)
    while start < stop:
        chunk = source.read(min(_CHUNK, stop - start))
        if not chunk:
            raise InputError("weights that end too early", where=source.name)
        target.write(chunk)
        start += len(chunk)


def copy_file(source: Path, target: Path, *, link: bool = False) -> None:
    """Copy a file (following symbolic links), as a hard link if asked and possible."""
    source = source.resolve()
    if link:
        try:
            os.link(source, target)
            return
        except OSError:  # another device, or a file system without links
            pass
    if hasattr(os, "copy_file_range"):
        # shares blocks on btrfs and xfs; what it cannot do, the plain copy can
        try:
            with source.open("rb") as src, target.open("xb") as tgt:
                remaining = os.fstat(src.fileno()).st_size
                while remaining:
                    copied = os.copy_file_range(src.fileno(), tgt.fileno(), remaining)
                    if not copied:
                        break
                    remaining -= copied
            if not remaining:
                return
        except OSError as error:
            if target.exists() and error.errno in _FULL:
                raise
        target.unlink(missing_ok=True)
    shutil.copyfile(source, target)
