"""Files of vectors of every kind: written, read, mapped, capped, cut off."""

from __future__ import annotations

import gzip
import json
import os
import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from align import memory
from align.errors import InputError, OutputError, UsageError
from align.fasttext_training import train_fasttext
from align.fasttext_vectors import open_fasttext
from align.vectors import WordVectors, estimate_bytes, read_vectors, write_vectors

SUFFIXES = (".npz", ".safetensors", ".npy", ".bin", ".vec")
WORDS = ("the", "nyumba", "日本語", "ça", "😀", "Nyumba")
MATRIX = np.random.default_rng(3).standard_normal((len(WORDS), 5)).astype(np.float32)
COUNTS = np.array([90, 40, 20, 7, 3, 1])
VECTORS = WordVectors(WORDS, MATRIX, COUNTS)


def bfloat16(matrix: np.ndarray) -> np.ndarray:
    return (matrix.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)


def raw_safetensors(path: Path, dtype: str, data: np.ndarray, metadata: dict[str, str] | None = None) -> Path:
    body = data.tobytes()
    header: dict = {"m": {"dtype": dtype, "shape": list(data.shape), "data_offsets": [0, len(body)]}}
    if metadata:
        header["__metadata__"] = metadata
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_written_is_read_again(tmp_path, suffix):
    path = tmp_path / f"v{suffix}"
    write_vectors(VECTORS, path)
    again = read_vectors(path)
    assert again.words == WORDS
    np.testing.assert_array_equal(again.matrix, MATRIX)
    if suffix in (".npz", ".safetensors"):
        np.testing.assert_array_equal(again.counts, COUNTS)
    else:
        assert again.counts is None
    capped = read_vectors(path, limit=2)
    assert capped.words == WORDS[:2]
    np.testing.assert_array_equal(capped.matrix, MATRIX[:2])
    with pytest.raises(OutputError, match="already exists"):
        write_vectors(VECTORS, path)
    write_vectors(again.table(3), path, overwrite=True)  # a mapped file replaces itself
    np.testing.assert_array_equal(again.matrix, MATRIX)
    assert read_vectors(path).words == WORDS[:3]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_lower_keeps_the_first_spelling(tmp_path, suffix):
    words = ("The", "the", "Mtu", "MTU", "b", "mtu")
    matrix = np.arange(1, 13, dtype=np.float32).reshape(6, 2)
    write_vectors(WordVectors(words, matrix, np.arange(6, 0, -1)), tmp_path / f"v{suffix}")
    assert read_vectors(tmp_path / f"v{suffix}").words == words
    with pytest.warns(UserWarning, match="3 of 6 rows differ in case only; the first is kept"):
        vectors = read_vectors(tmp_path / f"v{suffix}", lower=True)
    assert vectors.words == ("the", "mtu", "b")
    np.testing.assert_array_equal(vectors.matrix, matrix[[0, 2, 4]])
    if vectors.counts is not None:
        np.testing.assert_array_equal(vectors.counts, [6, 4, 2])
    with pytest.warns(UserWarning, match="1 of 3 rows differ in case only"):
        assert read_vectors(tmp_path / f"v{suffix}", lower=True, limit=2).words == ("the", "mtu")


words_of_any_script = st.lists(
    st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=6),
    min_size=1,
    max_size=8,
    unique=True,
)


@pytest.mark.parametrize("suffix", SUFFIXES)
@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=words_of_any_script)
def test_any_word_comes_back_or_is_refused(tmp_path, suffix, words):
    matrix = np.ones((len(words), 2), np.float32)
    try:
        write_vectors(WordVectors(tuple(words), matrix), tmp_path / f"v{suffix}", overwrite=True)
    except InputError:
        assert suffix == ".npz" or any(set(word) & set(" \t\r\n") for word in words)
        return
    assert read_vectors(tmp_path / f"v{suffix}").words == tuple(words)


def test_words_that_no_file_holds(tmp_path):
    for suffix in SUFFIXES:
        with pytest.raises(InputError, match="cannot hold this word"):
            write_vectors(WordVectors(("\ud800",), MATRIX[:1]), tmp_path / f"v{suffix}")
    with pytest.raises(UsageError, match="unknown kind"):
        write_vectors(VECTORS, tmp_path / "v.pdf")
    assert list(tmp_path.iterdir()) == []
    write_vectors(VECTORS, tmp_path / "v.vec")
    with pytest.raises(UsageError, match="limit"):
        read_vectors(tmp_path / "v.vec", limit=0)


# cut off, changed and lengthened files: a table or an InputError, nothing else


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("whole")
    for suffix in SUFFIXES:
        write_vectors(VECTORS, folder / f"v{suffix}")
    train_fasttext(
        ["habari ya leo na kesho"] * 9, dim=3, epochs=1, min_count=1, n_buckets=7, save_to=folder / "f.bin"
    )
    (folder / "v.vec.gz").write_bytes(gzip.compress((folder / "v.vec").read_bytes(), mtime=0))
    np.savez_compressed(folder / "z.npz", words=np.array(WORDS), matrix=MATRIX)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def read_damaged(folder: Path, name: str, data: bytes, limit: int | None):
    path = folder / name
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            estimate_bytes(path, limit)
            vectors = read_vectors(path, limit=limit)
            return vectors.table(), vectors.vectors_of(["habari", "the"])
        except InputError:
            return None


NAMES = ("v.npz", "z.npz", "v.safetensors", "v.npy", "v.words", "v.bin", "v.vec", "v.vec.gz", "f.bin")


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_truncated_files(tmp_path, files, name, data):
    whole = files[name]
    cut = data.draw(st.integers(0, len(whole) - 1))
    limit = data.draw(st.sampled_from([None, 2]))
    (tmp_path / "v.words").write_bytes(files["v.words"])
    if name == "v.words":
        (tmp_path / name).write_bytes(whole[:cut])
        name, damaged = "v.npy", files["v.npy"]
    else:
        damaged = whole[:cut]
    read = read_damaged(tmp_path, name, damaged, limit)
    if name == "v.npy" and damaged is files["v.npy"]:
        assert (read is None) or limit == 2 or cut >= len(whole) - len(WORDS[-1])
    elif name != "v.vec":  # whose last number may be shortened without a trace
        ends_well = name == "v.bin" and (limit == 2 or cut == len(whole) - 1)  # only a line break is gone
        ends_well |= name == "v.vec.gz" and limit == 2
        assert read is None or ends_well


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_changed_bytes(tmp_path, files, name, data):
    changed = bytearray(files[name])
    (tmp_path / "v.words").write_bytes(files["v.words"])
    n_head = min(len(changed), 220)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.one_of(st.integers(0, n_head - 1), st.integers(0, len(changed) - 1)))
        changed[at] = data.draw(st.integers(0, 255))
    if name == "v.words":
        (tmp_path / name).write_bytes(changed)
        name, changed = "v.npy", bytearray(files["v.npy"])
    read_damaged(tmp_path, name, bytes(changed), data.draw(st.sampled_from([None, 2])))


# safetensors


@pytest.mark.parametrize("dtype", ["F16", "F32", "F64", "BF16"])
@pytest.mark.parametrize("words", ["metadata", "metadata lines", "file"])
def test_safetensors_of_every_precision(tmp_path, dtype, words):
    kinds = {"F16": np.float16, "F32": np.float32, "F64": np.float64}
    stored = bfloat16(MATRIX) if dtype == "BF16" else MATRIX.astype(kinds[dtype])
    text = json.dumps(WORDS) if words == "metadata" else "\n".join(WORDS)
    path = tmp_path / "v.safetensors"
    raw_safetensors(path, dtype, stored, {"words": text} if words != "file" else None)
    if words == "file":
        (tmp_path / "v.words").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    expected = (
        (stored.astype(np.uint32) << 16).view(np.float32) if dtype == "BF16" else stored.astype(np.float32)
    )
    for limit in (None, 3):
        vectors = read_vectors(path, limit=limit)
        assert vectors.words == WORDS[:limit]
        np.testing.assert_array_equal(vectors.matrix, expected[:limit])


def test_safetensors_that_hold_something_else(tmp_path):
    words = np.frombuffer(json.dumps(WORDS).encode(), np.uint8)
    two = {"a": MATRIX, "b": MATRIX, "words": words}
    ok = {
        "a": MATRIX,
        "words": np.frombuffer("\n".join(WORDS).encode(), np.uint8),
        "v": np.ones(3, np.float32),
    }
    save_file(ok, tmp_path / "ok.safetensors")
    assert read_vectors(tmp_path / "ok.safetensors").words == WORDS
    cases = {
        "no tensor is the matrix": two,
        "no tensor": {"matrix": np.ones(3, np.float32), "words": words},
        "differ in number": {"matrix": MATRIX[:4], "words": words},
        "no such file": {"matrix": MATRIX},
        "counts do not fit": {"matrix": MATRIX, "words": words, "counts": COUNTS[:2]},
        "NaN": {"matrix": np.full_like(MATRIX, np.nan), "words": words},
    }
    for message, tensors in cases.items():
        save_file(tensors, tmp_path / "v.safetensors")
        with pytest.raises(InputError, match=message):
            read_vectors(tmp_path / "v.safetensors")


def test_a_mapped_matrix_is_not_written_through(tmp_path):
    for name in ("v.safetensors", "v.npy"):
        write_vectors(VECTORS, tmp_path / name)
        matrix = read_vectors(tmp_path / name).matrix
        assert isinstance(matrix.base, np.memmap)
        matrix[:] = 0
        np.testing.assert_array_equal(read_vectors(tmp_path / name).matrix, MATRIX)


# limits and memory


def test_a_cap_reads_no_further(tmp_path):
    """Behind the cap there is nothing that could be read: the rest of the file is a hole of another size."""
    rows = np.ones((10, 4), np.float32)
    words = tuple(f"w{i}" for i in range(10))
    for name in ("v.bin", "v.vec"):
        path = tmp_path / name
        write_vectors(WordVectors(words, rows), path)
        body = path.read_bytes().replace(b"10 4\n", b"500000 4\n", 1)
        path.write_bytes(body)
        os.truncate(path, 500_000 * 40)
        assert read_vectors(path, limit=10).words == words
    with pytest.raises(InputError, match=r"v\.bin:byte \d+: the file is damaged or cut off"):
        read_vectors(tmp_path / "v.bin")


def test_estimates(tmp_path):
    n, dim = 3000, 20
    rng = np.random.default_rng(0)
    vectors = WordVectors(tuple(f"word{i}" for i in range(n)), rng.standard_normal((n, dim)))
    matrix_bytes = n * dim * 4
    for suffix in SUFFIXES:
        write_vectors(vectors, tmp_path / f"v{suffix}")
        per_word = (
            estimate_bytes(tmp_path / f"v{suffix}") - estimate_bytes(tmp_path / f"v{suffix}", 1000)
        ) / 2000
        mapped = suffix in (".npy", ".safetensors")
        assert per_word == 200 + (0 if mapped else 4 * dim)
    bare = tmp_path / "bare.txt"
    bare.write_bytes((tmp_path / "v.vec").read_bytes().split(b"\n", 1)[1])
    assert abs(estimate_bytes(bare) / (matrix_bytes + 200 * n) - 1) < 0.02


def test_a_table_beyond_the_memory_is_refused_first(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 2000)
    for suffix in (".npz", ".bin", ".vec"):
        path = tmp_path / f"v{suffix}"
        write_vectors(WordVectors(tuple("abcdefghij"), np.ones((10, 9))), path)
        with pytest.raises(InputError, match=r"wanted 0\.00 GiB.*limit") as caught:
            read_vectors(path)
        assert caught.value.where == path
        assert len(read_vectors(path, limit=5).words) == 5


def test_available_memory_is_plausible():
    available = memory.available_bytes()
    assert available is not None
    assert 0 < available <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


# archives and models


def test_npz_of_other_makers(tmp_path):
    np.savez(tmp_path / "f.npz", words=np.array(WORDS), matrix=np.asfortranarray(MATRIX))
    np.testing.assert_array_equal(read_vectors(tmp_path / "f.npz", limit=4).matrix, MATRIX[:4])
    np.savez_compressed(tmp_path / "b.npz", words=np.array([w.encode() for w in WORDS]), matrix=MATRIX)
    assert read_vectors(tmp_path / "b.npz").words == WORDS
    np.savez(tmp_path / "x.npz", words=np.array([b"a", b"\xff", b"c"]), matrix=MATRIX[:3])
    with pytest.warns(UserWarning, match=r"1 of 3 words are not UTF-8, first .*x\.npz:row 1"):
        vectors = read_vectors(tmp_path / "x.npz")
    np.testing.assert_array_equal(vectors.matrix, MATRIX[[0, 2]])
    with pytest.raises(InputError, match="not UTF-8"):
        read_vectors(tmp_path / "x.npz", strict=True)
    with zipfile.ZipFile(tmp_path / "e.npz", "w") as archive:
        archive.writestr("words.npy", b"")
        archive.writestr("matrix.npy", b"")
    with pytest.raises(InputError, match=r"not a readable \.npz"):
        read_vectors(tmp_path / "e.npz")


def fasttext_file(path: Path, words: list[bytes], dim: int, n_rows: int) -> Path:
    """A model of version 12 whose matrix is a hole in the file."""
    arguments = [dim, 5, 5, 1, 5, 1, 2, 2, n_rows - len(words), 3, 6, 100]
    header = struct.pack("<14i d 3i 2q", 793712314, 12, *arguments, 1e-4, len(words), len(words), 0, 100, -1)
    entries = b"".join(word + b"\0" + struct.pack("<qb", 9, 0) for word in words)
    with path.open("wb") as out:
        out.write(header + entries + b"\0" + struct.pack("<2q", n_rows, dim))
        at = out.tell()
        out.truncate(at + 4 * n_rows * dim + 17)
        out.seek(at)
        out.write(np.arange(1, dim + 1, dtype="<f4").tobytes())
        out.seek(at + 4 * n_rows * dim)
        out.write(b"\0" + struct.pack("<2q", 0, dim))
    return path


def test_a_model_of_seven_gigabytes_costs_what_is_touched(tmp_path):
    path = fasttext_file(tmp_path / "cc.bin", [b"habari", b"Habari", b"\xff\xfe"], 300, 6_000_000)
    assert path.stat().st_size > 7e9
    if path.stat().st_blocks * 512 > 1e8:
        pytest.skip("the file system keeps no holes")
    before = Path("/proc/self/statm").read_text().split()[1] if Path("/proc/self/statm").exists() else "0"
    model = open_fasttext(path)
    row = model.vectors_of(["habari"])[0]
    n_rows = 1 + sum(len("<habari>") - n + 1 for n in range(3, 7))
    np.testing.assert_allclose(row, np.arange(1, 301) / n_rows, rtol=1e-6)
    after = Path("/proc/self/statm").read_text().split()[1] if Path("/proc/self/statm").exists() else "0"
    assert (int(after) - int(before)) * os.sysconf("SC_PAGE_SIZE") < 2e8
    assert estimate_bytes(path) == 3 * 200
    with pytest.warns(UserWarning, match="1 of 3 words are not UTF-8.*1 of 3 rows differ in case"):
        table = read_vectors(path, lower=True)
    assert table.words == ("habari",)
    np.testing.assert_array_equal(table.matrix[0], row)
    assert table.has_subwords
