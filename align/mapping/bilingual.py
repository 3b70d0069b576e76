"""Two maps into one common space: what every method that aligns two spaces ends as."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from align.errors import InputError
from align.normalize import Normalizer
from align.place import check_output, put_in_place, temporary_sibling
from align.short_repr import short_repr

_FORMAT = 1
_ARRAYS, FACTS = "map.safetensors", "map.json"


@dataclass(frozen=True, eq=False)
class BilingualMap:
    """How rows of a source and of a target space reach a space where translations are close.

    Each side is normalised, then multiplied: ``normalizer(rows) @ matrix``.

    Parameters
    ----------
    src_matrix : ndarray of float64, shape (src_dim, dim)
    tgt_matrix : ndarray of float64, shape (tgt_dim, dim), optional
        Without it the common space is the (normalised) target space.
    method : str
        Name of the method that fitted it.
    n_pairs : int
        Pairs of rows of the last fit.
    src_normalizer, tgt_normalizer : Normalizer, optional
        What was done to the rows before the fit; nothing if left out.
    converged : bool
    n_iter : int
    history : tuple of float
        The objective, iteration by iteration; empty for methods in closed form.
    options : mapping
        Settings of the method, for the record: plain numbers, strings and booleans.
    """

    src_matrix: NDArray[np.float64]
    tgt_matrix: NDArray[np.float64] | None
    method: str
    n_pairs: int
    src_normalizer: Normalizer | None = None
    tgt_normalizer: Normalizer | None = None
    converged: bool = True
    n_iter: int = 1
    history: tuple[float, ...] = ()
    options: Mapping[str, object] = field(default_factory=dict)

    __repr__ = short_repr

    @property
    def dim(self) -> int:
        """Width of the common space."""
        return int(self.src_matrix.shape[1])

    def map_src(self, rows: NDArray[np.floating]) -> NDArray[np.floating]:
        """Source rows, shape (n, src_dim), in the common space, shape (n, dim), keeping their dtype.

        Raises
        ------
        InputError
            If their width is not that of the map.
        """
        return _apply(rows, self.src_normalizer, self.src_matrix)

    def map_tgt(self, rows: NDArray[np.floating]) -> NDArray[np.floating]:
        """Target rows, shape (n, tgt_dim), in the common space, shape (n, dim), keeping their dtype.

        Raises
        ------
        InputError
            If their width is not that of the map.
        """
        if self.tgt_matrix is None and rows.ndim == 2 and rows.shape[1] != self.dim:
            raise InputError("rows do not fit the map", got=rows.shape, wanted=f"(n, {self.dim})")
        return _apply(rows, self.tgt_normalizer, self.tgt_matrix)

    def normalized_by(self, src: Normalizer | None, tgt: Normalizer | None) -> BilingualMap:
        """The same matrices behind normalisers, for a map that was fitted on normalised rows."""
        return replace(self, src_normalizer=src, tgt_normalizer=tgt)

    def save(self, directory: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write ``map.safetensors`` and ``map.json`` into a new directory.

        Raises
        ------
        OutputError
            If it exists and `overwrite` is not set, holds something else, or cannot be written.
        """
        target = check_output(directory, kind="map", marks=(FACTS,), overwrite=overwrite)
        with temporary_sibling(target, n_bytes=0) as folder:
            self.write(folder)
            put_in_place(folder, target, overwrite=overwrite)

    def write(self, folder: Path) -> None:
        """Write the two files into a directory that exists."""
        from safetensors.numpy import save

        arrays = {"src_matrix": self.src_matrix}
        if self.tgt_matrix is not None:
            arrays["tgt_matrix"] = self.tgt_matrix
        facts = {
            "format": _FORMAT,
            "method": self.method,
            "n_pairs": self.n_pairs,
            "converged": self.converged,
            "n_iter": self.n_iter,
            "history": list(self.history),
            "options": dict(self.options),
        }
        for side, normalizer in (("src", self.src_normalizer), ("tgt", self.tgt_normalizer)):
            if normalizer is not None:
                facts[f"{side}_steps"] = list(normalizer.steps)
                arrays |= {f"{side}_step_{n}": a for n, a in enumerate(normalizer.arrays) if a is not None}
        packed = save({name: np.ascontiguousarray(a) for name, a in arrays.items()})
        (folder / _ARRAYS).write_bytes(packed)  # save_file would hide the file from other users
        text = json.dumps(facts, indent=1, ensure_ascii=False)
        (folder / FACTS).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> BilingualMap:
        """Read what :meth:`save` wrote.

        Raises
        ------
        InputError
            If the directory holds no map, or a damaged one.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        folder = Path(directory)
        if not (folder / FACTS).is_file():
            raise InputError("no map here", where=folder, wanted=f"a directory with {FACTS}")
        try:
            facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
            arrays = load_file(folder / _ARRAYS)
            if facts["format"] != _FORMAT:
                raise InputError("unknown format of map", where=folder, got=facts["format"], wanted=_FORMAT)
            src_normalizer, tgt_normalizer = (
                Normalizer(
                    tuple(facts[f"{side}_steps"]),
                    tuple(arrays.get(f"{side}_step_{n}") for n in range(len(facts[f"{side}_steps"]))),
                )
                if f"{side}_steps" in facts
                else None
                for side in ("src", "tgt")
            )
            return cls(
                arrays["src_matrix"],
                arrays.get("tgt_matrix"),
                facts["method"],
                facts["n_pairs"],
                src_normalizer,
                tgt_normalizer,
                converged=facts["converged"],
                n_iter=facts["n_iter"],
                history=tuple(facts["history"]),
                options=facts["options"],
            )
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise InputError("the map is damaged", where=folder, got=repr(error)) from error


def _apply(
    rows: NDArray[np.floating], normalizer: Normalizer | None, matrix: NDArray[np.float64] | None
) -> NDArray[np.floating]:
    if rows.ndim != 2 or (matrix is not None and rows.shape[1] != len(matrix)):
        wanted = "(n, dim)" if matrix is None else f"(n, {len(matrix)})"
        raise InputError("rows do not fit the map", got=rows.shape, wanted=wanted)
    if normalizer is not None:
        rows = normalizer(rows)
    if matrix is None:
        return rows
    with threadpool_limits(1, user_api="blas"):  # the same bits for any number of threads
        return rows @ matrix.astype(rows.dtype)
