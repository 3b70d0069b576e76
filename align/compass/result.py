"""Slices in one space: the compass, the vectors of each slice, and the folder they are kept in."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from align.compass.change import Shift, shift
from align.compass.correspond import Moment, Neighbor, correspond, trace
from align.compass.options import CompassOptions
from align.errors import InputError, UsageError
from align.place import check_output, put_in_place, temporary_sibling
from align.short_repr import short_repr
from align.vectors import WordVectors

_FORMAT = 1
_JSON, _TENSORS = "compass.json", "compass.safetensors"


@dataclass(frozen=True, eq=False)
class Compass:
    """Vectors of every slice, comparable without a rotation.

    Attributes
    ----------
    words : tuple of str
        Words of all slices, most frequent first.
    counts : int64 array, shape (n_slices, n_words)
        Occurrences of every word in every slice.
    slices : dict of str to WordVectors
        In the order of the slices; words in the order of `words`, with their counts in the slice.
    vectors, output : float32 arrays, shape (n_words, dim), optional
        Both matrices of the compass, where there is one; `output` is what the slices were trained against.
    options : CompassOptions
    method : str
        ``cade``, or the alternative that made the vectors comparable.
    history : dict of str to tuple of float
        Mean loss of a prediction, pass by pass: ``""`` for the compass, and each slice by name.
    learned : float, optional
        By what part the compass's last loss is below that of word frequencies alone.
    converged : bool
        Whether that is enough; see :func:`align.compass.train`.
    """

    words: tuple[str, ...]
    counts: NDArray[np.int64]
    slices: dict[str, WordVectors]
    vectors: NDArray[np.float32] | None = None
    output: NDArray[np.float32] | None = None
    options: CompassOptions = CompassOptions()
    method: str = "cade"
    history: dict[str, tuple[float, ...]] = field(default_factory=dict)
    learned: float | None = None
    converged: bool = True

    __repr__ = short_repr

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the slices, in order."""
        return tuple(self.slices)

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return next(iter(self.slices.values())).dim

    def slice(self, name: str) -> WordVectors:
        """Vectors of a slice.

        Raises
        ------
        UsageError
            For a name that is none of the slices'.
        """
        try:
            return self.slices[name]
        except KeyError:
            raise UsageError("no slice of this name", got=name, wanted=", ".join(self.names)) from None

    def shift(
        self,
        from_slice: str,
        to_slice: str,
        *,
        measure: str = "cosine",
        min_count: int = 20,
        n_neighbors: int | None = None,
        weight: float = 0.5,
    ) -> Shift:
        """Change of every word between two slices; see :func:`align.compass.change.shift`."""
        return shift(
            self,
            from_slice,
            to_slice,
            measure=measure,
            min_count=min_count,
            n_neighbors=n_neighbors,
            weight=weight,
        )

    def correspond(
        self,
        word: str,
        from_slice: str,
        to_slice: str,
        *,
        top: int = 10,
        min_count: int = 5,
        retrieval: str = "nn",
    ) -> tuple[Neighbor, ...]:
        """Words of a slice that stand where a word of another stands; see
        :func:`align.compass.correspond.correspond`."""
        return correspond(self, word, from_slice, to_slice, top=top, min_count=min_count, retrieval=retrieval)

    def trace(self, word: str, *, top: int = 5, min_count: int = 5) -> tuple[Moment, ...]:
        """One word through all slices; see :func:`align.compass.correspond.trace`."""
        return trace(self, word, top=top, min_count=min_count)

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write ``compass.json`` and ``compass.safetensors`` into a new folder, whole or not at all.

        Raises
        ------
        OutputError
            If the folder exists and `overwrite` is off, or it cannot be written.
        """
        from safetensors.numpy import save_file

        row = {word: k for k, word in enumerate(self.words)}
        text = json.dumps(list(self.words), ensure_ascii=False).encode("utf-8", "surrogatepass")
        tensors: dict[str, NDArray[Any]] = {"words": np.frombuffer(text, np.uint8), "counts": self.counts}
        for name, matrix in (("vectors", self.vectors), ("output", self.output)):
            if matrix is not None:
                tensors[name] = matrix
        for k, space in enumerate(self.slices.values()):
            tensors[f"slice.{k}"] = space.matrix
            tensors[f"rows.{k}"] = np.fromiter((row[word] for word in space.words), np.int64, len(space))
        about = {
            "format": _FORMAT,
            "method": self.method,
            "slices": list(self.names),
            "learned": self.learned,
            "converged": self.converged,
            "history": self.history,
            "options": asdict(self.options),
        }
        out_dir = check_output(folder, kind="compass", marks=(_JSON,), overwrite=overwrite)
        n_bytes = sum(tensor.nbytes for tensor in tensors.values())
        with temporary_sibling(out_dir, n_bytes=n_bytes) as partial:
            save_file({k: np.ascontiguousarray(t) for k, t in tensors.items()}, partial / _TENSORS)
            (partial / _JSON).write_text(
                json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
            )
            put_in_place(partial, out_dir, overwrite=overwrite)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Compass:
        """Read what :meth:`save` wrote.

        Raises
        ------
        InputError
            If it is missing, damaged, or of a later format.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        folder = Path(folder)
        for name in (_JSON, _TENSORS):
            if not (folder / name).is_file():
                raise InputError("no compass in this folder", where=folder, wanted=name)
        try:
            about = json.loads((folder / _JSON).read_text(encoding="utf-8"))
            if about["format"] > _FORMAT:
                raise ValueError(f"format {about['format']}, this version reads up to {_FORMAT}")
            tensors = load_file(folder / _TENSORS)
            words = tuple(json.loads(tensors["words"].tobytes().decode("utf-8", "surrogatepass")))
            counts = tensors["counts"]
            if counts.shape != (len(about["slices"]), len(words)):
                raise ValueError(f"counts of shape {counts.shape}")
            slices = {}
            for k, name in enumerate(about["slices"]):
                rows = tensors[f"rows.{k}"]
                if len(rows) and not 0 <= rows.min() <= rows.max() < len(words):
                    raise ValueError(f"rows of slice {name!r}")
                of_slice = tuple(words[i] for i in rows.tolist())
                slices[name] = WordVectors(of_slice, tensors[f"slice.{k}"], counts[k, rows])
            return cls(
                words,
                counts,
                slices,
                tensors.get("vectors"),
                tensors.get("output"),
                CompassOptions(**about["options"]),
                about["method"],
                {name: tuple(losses) for name, losses in about["history"].items()},
                about["learned"],
                about["converged"],
            )
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            OSError,
            SafetensorError,
            InputError,
        ) as error:
            raise InputError("the compass is damaged", where=folder, got=error) from error
