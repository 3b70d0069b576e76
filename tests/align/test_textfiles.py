"""The one reader of lines: compressed or not, with the place of every error."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

from align.errors import InputError, UnavailableError
from align.textfiles import iter_lines, read_lines

LINES = [f"line {n} \u2028 é\x0c" for n in range(40_000)]
TEXT = "".join(f"{line}\n" for line in LINES).encode()


def _zstd(data: bytes) -> bytes:
    return pytest.importorskip("zstandard").ZstdCompressor().compress(data)


COMPRESS: dict[str, Callable[[bytes], bytes]] = {"none": bytes, "gzip": gzip.compress, "zstd": _zstd}


@pytest.mark.parametrize("kind", COMPRESS)
def test_lines_of_every_kind(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "text"  # known by content
    path.write_bytes(COMPRESS[kind](TEXT))
    assert list(iter_lines(path)) == LINES


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_several_members_are_one_file(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "text"
    parts = [TEXT[:5], b"", TEXT[5:1000], TEXT[1000:]]
    path.write_bytes(b"".join(map(COMPRESS[kind], parts)))
    assert read_lines(path) == LINES


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
@pytest.mark.parametrize("keep", [0.3, 0.999])
def test_cut_off(tmp_path: Path, kind: str, keep: float) -> None:
    path = tmp_path / "text"
    data = COMPRESS[kind](TEXT)
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(InputError, match=r"text:\d+: the compressed file is damaged or cut off"):
        read_lines(path)


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_damaged(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "text"
    data = bytearray(COMPRESS[kind](TEXT))
    data[len(data) // 2 : len(data) // 2 + 200] = bytes(200)
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        read_lines(path)


def test_zstd_without_the_package(tmp_path: Path) -> None:
    path = tmp_path / "text.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd rest")
    with (
        mock.patch.dict(sys.modules, {"zstandard": None}),
        pytest.raises(UnavailableError, match=r"pip install 'vocab-transfer\[zstd\]'"),
    ):
        read_lines(path)


def test_directory_and_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a directory"):
        read_lines(tmp_path)
    with pytest.raises(InputError, match="no such file"):
        read_lines(tmp_path / "none")


def test_missing_file_names_what_may_be_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("train.en", "train.sw", "dev.en", "notes"):
        Path(name).write_text("x")
    (tmp_path / "trian").mkdir()
    said = {
        "trian.en": "perhaps train.en",
        "x.sw": "Perhaps train.sw is meant.",
        "qqq": f"Nothing in {tmp_path} has a name like it.",
        "gone/dev.en": "There is no directory gone either.",
    }
    for name, hint in said.items():
        with pytest.raises(InputError, match=f"^{name}: no such file") as raised:
            read_lines(name)
        assert hint.casefold() in raised.value.message.casefold()
        assert "got nothing" not in raised.value.message


def test_endless_line(tmp_path: Path) -> None:
    path = tmp_path / "text.gz"
    path.write_bytes(gzip.compress(b"ok\n" + bytes(70_000_000), compresslevel=1))
    with pytest.raises(InputError, match=r"text\.gz:2: a line of more than 64 MiB"):
        read_lines(path)
