"""A directory with a map and both spaces behind it."""

from __future__ import annotations

import os
from pathlib import Path

from align.mapping.bilingual import FACTS, BilingualMap
from align.options import VectorFormat
from align.place import check_output, put_in_place, temporary_sibling
from align.vectors import Vectors, WordVectors, write_vectors

_BYTES_PER_NUMBER = {"npz": 4, "safetensors": 4, "bin": 4, "vec": 12, "none": 0}


def check_place(out: str | os.PathLike[str], *, overwrite: bool) -> Path:
    """The absolute path of a map's directory that may be written; call it before any long work.

    Raises
    ------
    OutputError
        As :func:`align.place.check_output`.
    """
    return check_output(out, kind="map", marks=(FACTS,), overwrite=overwrite)


def save_aligned(
    mapping: BilingualMap,
    src: Vectors,
    tgt: Vectors,
    out: str | os.PathLike[str],
    *,
    vectors: VectorFormat = "npz",
    overwrite: bool = False,
) -> Path:
    """Write the map, and both spaces mapped as ``src`` and ``tgt`` vectors, whole or not at all.

    Parameters
    ----------
    vectors : {"npz", "safetensors", "bin", "vec", "none"}
        Arrays ``words``, ``matrix`` and ``counts`` (smaller, read at once), the same as tensors
        (memory-mapped), word2vec's binary format or text for other tools, or nothing.

    Raises
    ------
    OutputError
        If the directory exists and `overwrite` is not set, holds something else, or cannot be written.
    """
    out = check_place(out, overwrite=overwrite)
    tables = {"src": (src.table(), mapping.map_src), "tgt": (tgt.table(), mapping.map_tgt)}
    n_numbers = sum(len(table) * mapping.dim for table, _ in tables.values())
    with temporary_sibling(out, n_bytes=n_numbers * _BYTES_PER_NUMBER[vectors]) as folder:
        mapping.write(folder)
        for name, (table, apply) in tables.items() if vectors != "none" else ():
            mapped = WordVectors(table.words, apply(table.matrix), table.counts)
            write_vectors(mapped, folder / f"{name}.{vectors}")
        put_in_place(folder, out, overwrite=overwrite)
    return out
