"""An aligner in one safetensors file.

Arrays are tensors; the words of a side are the bytes of all words (UTF-8, end to end) and where each begins,
so that no character is special; the rest is JSON in the metadata, under ``aligner``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from align.errors import InputError, OutputError
from align.vectors import existing_file
from align.wordalign.aligner import Aligner
from align.wordalign.classes import WordClasses
from align.wordalign.options import AlignOptions, check_options

VERSION = 1
_ARRAYS = (
    "indptr", "tgt", "probabilities", "null_tgt", "null_src", "jumps", "totals_src", "totals_tgt",
    "totals_null", "frequency_src", "frequency_tgt",
)  # fmt: skip


def save(aligner: Aligner, path: str | os.PathLike[str]) -> None:
    """Write an aligner. An existing file is replaced once the new one is complete.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    arrays: dict[str, NDArray[Any]] = {name: getattr(aligner, name) for name in _ARRAYS}
    arrays["counts.indptr"] = aligner.counts.indptr.astype(np.int64)
    arrays["counts.indices"] = aligner.counts.indices.astype(np.int32)
    arrays["counts.data"] = aligner.counts.data
    for side, words in (("src", aligner.src_words), ("tgt", aligner.tgt_words)):
        if words is not None:
            arrays[f"{side}_words.bytes"], arrays[f"{side}_words.offsets"] = _packed(words)
    if aligner.classes is not None:
        for side in ("src", "tgt"):
            for k, of in enumerate(getattr(aligner.classes, side)):
                arrays[f"classes.{side}.{k}"] = of
            arrays[f"classes.{side}_forms"] = getattr(aligner.classes, f"{side}_forms")
    about = {
        "version": VERSION,
        "model": aligner.model,
        "options": asdict(aligner.options),
        "history": aligner.history,
        "n_iter": aligner.n_iter,
        "converged": aligner.converged,
        "n_class_maps": None if aligner.classes is None else len(aligner.classes.src),
        "classes_by_form": aligner.classes_by_form,
    }
    path = Path(path)
    data = to_bytes(
        {name: np.ascontiguousarray(a) for name, a in arrays.items()}, {"aligner": json.dumps(about)}
    )
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError("the aligner cannot be written", where=path, got=error) from error


def load(path: str | os.PathLike[str]) -> Aligner:
    """Read an aligner.

    Raises
    ------
    InputError
        If the file is missing, damaged, no aligner, or of a newer version.
    """
    path = existing_file(path)
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get("aligner")
            arrays = {name: file.get_tensor(name) for name in file.keys()} if text else {}  # noqa: SIM118
    except SafetensorError as error:
        raise InputError("the file is damaged or no safetensors file", where=path, got=error) from error
    if not text:
        raise InputError("the file holds no word aligner", where=path)
    try:
        about = json.loads(text)
        if about["version"] != VERSION:
            raise InputError(
                "an aligner of another version", where=path, got=about["version"], wanted=VERSION
            )
        aligner = _built(about, arrays)
    except (KeyError, ValueError, TypeError, IndexError, UnicodeDecodeError) as error:
        raise InputError("the file is no complete word aligner", where=path, got=repr(error)) from error
    _check(aligner, path)
    return aligner


def _built(about: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Aligner:
    shape = (len(arrays["null_src"]), len(arrays["null_tgt"]))
    classes = None
    if about["n_class_maps"] is not None:
        classes = WordClasses(
            tuple(arrays[f"classes.src.{k}"] for k in range(about["n_class_maps"])),
            tuple(arrays[f"classes.tgt.{k}"] for k in range(about["n_class_maps"])),
            arrays["classes.src_forms"],
            arrays["classes.tgt_forms"],
        )
    names = {item.name for item in fields(AlignOptions)}
    options = AlignOptions(**{key: value for key, value in about["options"].items() if key in names})
    return Aligner(
        model=about["model"],
        options=options,
        history=tuple((float(a), float(b)) for a, b in about["history"]),
        n_iter=int(about["n_iter"]),
        converged=bool(about["converged"]),
        counts=sp.csr_array(
            (arrays["counts.data"], arrays["counts.indices"], arrays["counts.indptr"]), shape=shape
        ),
        src_words=_unpacked(arrays, "src_words"),
        tgt_words=_unpacked(arrays, "tgt_words"),
        classes=classes,
        classes_by_form=bool(about["classes_by_form"]),
        **{name: arrays[name] for name in _ARRAYS},
    )


def _check(aligner: Aligner, path: Path) -> None:
    # the kernels do not check bounds, and a file may come from anywhere
    n_src, n_tgt, n_rows = len(aligner.null_src), len(aligner.null_tgt), len(aligner.tgt)
    check_options(aligner.model, aligner.options)
    width = aligner.jumps.shape[1] if aligner.jumps.shape[:1] == (2,) and aligner.jumps.ndim == 2 else -1
    dtypes = {"indptr": "int64", "tgt": "int32", "probabilities": "float32", "null_tgt": "float32"}
    good = (
        aligner.indptr.shape == (n_src + 1,)
        and aligner.indptr[0] == 0
        and aligner.indptr[-1] == n_rows
        and bool((np.diff(aligner.indptr) >= 0).all())
        and aligner.probabilities.shape == (n_rows, 2)
        and n_rows > 0
        and 0 <= aligner.tgt.min() <= aligner.tgt.max() < n_tgt
        and aligner.totals_src.shape == aligner.frequency_src.shape == (n_src,)
        and aligner.totals_tgt.shape == aligner.frequency_tgt.shape == (n_tgt,)
        and aligner.totals_null.shape == (2,)
        and (
            width % 2 == 1 if aligner.model.startswith("hmm") else width == 2 * (aligner.model == "diagonal")
        )
        and all(str(getattr(aligner, name).dtype) == dtype for name, dtype in dtypes.items())
        and (aligner.src_words is None or len(aligner.src_words) == n_src)
        and (aligner.tgt_words is None or len(aligner.tgt_words) == n_tgt)
        and (aligner.classes is None or all(len(of) == n_src for of in aligner.classes.src))
        and (aligner.classes is None or all(len(of) == n_tgt for of in aligner.classes.tgt))
        and (
            aligner.counts.nnz == 0
            or 0 <= aligner.counts.indices.min() <= aligner.counts.indices.max() < n_tgt
        )
    )
    if not good:
        raise InputError("the parts of the word aligner do not fit each other", where=path)


def _packed(words: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    encoded = [word.encode("utf-8", "surrogatepass") for word in words]
    offsets = np.concatenate(([0], np.cumsum([len(word) for word in encoded]))).astype(np.int64)
    return np.frombuffer(b"".join(encoded), dtype=np.uint8), offsets


def _unpacked(arrays: dict[str, NDArray[Any]], name: str) -> tuple[str, ...] | None:
    if f"{name}.bytes" not in arrays:
        return None
    data, offsets = arrays[f"{name}.bytes"].tobytes(), arrays[f"{name}.offsets"].tolist()
    return tuple(data[a:b].decode("utf-8", "surrogatepass") for a, b in pairwise(offsets))
