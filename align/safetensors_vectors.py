"""Word vectors in one safetensors file, memory-mapped.

Written are the tensors ``matrix`` (float32, n x dim), ``words`` (uint8: a JSON list of strings in UTF-8) and,
where there are, ``counts`` (int64). The header is read here because the library does not map, and its numpy
side knows no bfloat16.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from align.array_vectors import mapped_rows, words_beside
from align.errors import InputError
from align.vector_intake import Intake, VectorSize
from align.vectors import WordVectors

_BATCH = 1 << 15
_MAX_HEADER_BYTES = 100_000_000  # safetensors' own bound
_FLOATS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_WIDTHS = {"U8": 1, "I64": 8, "I32": 4, "F64": 8, "F32": 4, "F16": 2, "BF16": 2}
_Matrix = tuple[NDArray[np.float32], NDArray[np.int64] | None]


def _tensors(path: Path) -> tuple[dict[str, Any], dict[str, str], int]:
    """Entries of a safetensors header, its metadata, and where the data begin; all checked."""
    n_file = path.stat().st_size
    try:
        with path.open("rb") as file:
            n_header = int.from_bytes(file.read(8), "little")
            if not 2 <= n_header <= min(_MAX_HEADER_BYTES, n_file - 8):
                raise ValueError(f"a header of {n_header} bytes in a file of {n_file}")
            header = json.loads(file.read(n_header))
        metadata = header.pop("__metadata__", None) or {}
        start = 8 + n_header
        for name, entry in header.items():
            (begin, end), shape = entry["data_offsets"], entry["shape"]
            if any(type(n) is not int or n < 0 for n in (begin, end, *shape)) or end < begin:
                raise ValueError(f"tensor {name!r} of shape {shape} at {begin}:{end}")
            if start + end > n_file:
                raise ValueError(f"cut off at byte {n_file}: tensor {name!r} ends at {start + end}")
            width = _WIDTHS.get(entry["dtype"])
            if width is not None and math.prod(shape) * width != end - begin:
                raise ValueError(f"tensor {name!r} of shape {shape} in {end - begin} bytes")
        if not isinstance(metadata, dict):
            raise ValueError("metadata are no table")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError("the file is damaged or no safetensors file", where=path, got=error) from error
    return header, metadata, start


def _matrix_entry(path: Path, header: dict[str, Any]) -> dict[str, Any]:
    tables = {name: e for name, e in header.items() if len(e["shape"]) == 2 and e["dtype"] in _FLOATS}
    name = "matrix" if "matrix" in tables else next(iter(tables), "")
    if not name or (name != "matrix" and len(tables) > 1) or 0 in tables[name]["shape"]:
        raise InputError(
            "no tensor is the matrix of the words",
            where=path,
            got={name: f"{e['dtype']} {e['shape']}" for name, e in header.items()},
            wanted="a 2-d float tensor `matrix`, or one 2-d float tensor",
        )
    return tables[name]


def safetensors_size(path: Path) -> VectorSize:
    """Rows and width of a safetensors file; float32 stays on disk."""
    entry = _matrix_entry(path, _tensors(path)[0])
    n_rows, dim = entry["shape"]
    return VectorSize(n_rows, dim, mapped=entry["dtype"] == "F32")


def read_safetensors(path: Path, intake: Intake) -> _Matrix:
    """Map tensor ``matrix`` (n, dim), or the only 2-d one: float32, or float16, bfloat16, float64, converted.

    The words are a uint8 tensor ``words`` or the metadata entry ``words``, each a JSON list or one word a
    line, or else lines of the ``.words`` file of the same stem; an int64 tensor ``counts`` is optional.

    Raises
    ------
    InputError
        For a file that is damaged, or whose tensors do not fit.
    """
    header, metadata, start = _tensors(path)
    entry = _matrix_entry(path, header)
    matrix = _map(path, entry, _FLOATS[entry["dtype"]], start)
    if "words" in header and header["words"]["dtype"] == "U8":
        words = _map(path, header["words"], "u1", start).tobytes()
        batches = _batches(_listed(words, path))
    elif "words" in metadata:
        batches = _batches(_listed(str(metadata["words"]).encode("utf-8", "surrogatepass"), path))
    else:
        batches = words_beside(path)
    table, rows = mapped_rows(matrix, batches, intake, bfloat16=entry["dtype"] == "BF16")
    counts = None
    if header.get("counts", {}).get("dtype") == "I64":
        counts = _map(path, header["counts"], "<i8", start)
        if counts.shape != (len(matrix),):
            raise InputError("counts do not fit the words", where=path, got=counts.shape, wanted=len(matrix))
        counts = np.asarray(counts)[rows]
    return table, counts


def _map(path: Path, entry: dict[str, Any], dtype: str, start: int) -> NDArray[Any]:
    if math.prod(entry["shape"]) == 0:
        return np.empty(entry["shape"], dtype)
    return np.memmap(path, dtype, "c", start + entry["data_offsets"][0], tuple(entry["shape"]))


def _listed(text: bytes, path: Path) -> Sequence[str | bytes]:
    """Words from a JSON list of strings, else one a line."""
    if text.lstrip()[:1] == b"[":
        try:
            words = json.loads(text)
        except ValueError:
            words = None
        if isinstance(words, list) and all(isinstance(word, str) for word in words):
            return words
    if not text:
        raise InputError("the tensor `words` is empty", where=path)
    return text.removesuffix(b"\n").split(b"\n")


def _batches(words: Sequence[str | bytes]) -> Iterator[Sequence[str | bytes]]:
    return (words[i : i + _BATCH] for i in range(0, len(words), _BATCH))


def write_safetensors(vectors: WordVectors, path: Path) -> None:
    """Write the layout above. Memory is twice that of the matrix, for the library gathers the file first."""
    from safetensors.numpy import save

    words = json.dumps(list(vectors.words), ensure_ascii=False).encode()
    tensors: dict[str, NDArray[Any]] = {"matrix": vectors.matrix, "words": np.frombuffer(words, np.uint8)}
    if vectors.counts is not None:
        tensors["counts"] = vectors.counts
    path.write_bytes(save(tensors))
