from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import stat
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from align.errors import InputError, OutputError
from vocab.fetching import archives
from vocab.fetching.archives import Member, check_zip, gunzip, open_member, open_moses, zip_members

_ENGLISH = "Hello.\nA line\u2028that is one.\nThird\rline.\n"
_SWAHILI = "Habari.\nMstari mmoja.\nWa tatu.\n"


@pytest.fixture
def moses(tmp_path: Path) -> Path:
    path = tmp_path / "en-sw.txt.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README", "Corpus")
        archive.writestr("Tatoeba.en-sw.en", _ENGLISH)
        archive.writestr("Tatoeba.en-sw.sw", _SWAHILI.encode() + b"\xff\n")
    return path


def test_moses(moses: Path) -> None:
    check_zip(moses)
    assert [member.name for member in zip_members(moses)] == [
        "README",
        "Tatoeba.en-sw.en",
        "Tatoeba.en-sw.sw",
    ]
    assert zip_members(moses)[0] == Member("README", 6)
    with open_member(moses, "README") as file:
        assert file.read() == b"Corpus"
    with open_moses(moses, "en", "sw") as (english, swahili):
        pairs = list(zip(english, swahili, strict=False))
        assert pairs[1] == ("A line\u2028that is one.\n", "Mstari mmoja.\n")
        assert len(pairs) == 3
        assert list(swahili) == ["\ufffd\n"]
    assert sorted(moses.parent.iterdir()) == [moses]  # nothing was unpacked
    with pytest.raises(InputError, match="not one file of language 'de'"), open_moses(moses, "en", "de"):
        pass
    with pytest.raises(InputError, match="no such file in this zip"), open_member(moses, "LICENSE"):
        pass


def test_the_readers_own_errors_are_not_the_archives(moses: Path) -> None:
    def read() -> None:
        with open_member(moses, "README"):
            raise OSError("mine")

    with pytest.raises(OSError, match="mine"):
        read()


def _with_name(name: str) -> Callable[[zipfile.ZipFile], None]:
    return lambda archive: archive.writestr(zipfile.ZipInfo(name), "x")


def _with_link(archive: zipfile.ZipFile) -> None:
    info = zipfile.ZipInfo("a.en")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive.writestr(info, "/etc/passwd")


def _that_claims_much(archive: zipfile.ZipFile) -> None:
    archive.writestr("a.en", "x" * 1000)
    archive.infolist()[0].file_size = 100 << 30


def _of_many_claims(archive: zipfile.ZipFile) -> None:
    for i in range(200):
        archive.writestr(f"{i}.en", "x")
        archive.infolist()[i].file_size = 1 << 20


def _encrypted(archive: zipfile.ZipFile) -> None:
    archive.writestr("a.en", "x")
    archive.infolist()[0].flag_bits |= 1


_OUTSIDE = "a member that would lie outside of its folder"


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (_with_name("../../x"), _OUTSIDE),
        (_with_name("good/../../x"), _OUTSIDE),
        (_with_name("..\\x"), _OUTSIDE),
        (_with_name("/etc/x"), _OUTSIDE),
        (_with_name("\\x"), _OUTSIDE),
        (_with_name("C:/x"), _OUTSIDE),
        (_with_link, "a member that is a link"),
        (_that_claims_much, r"unpacks to too much \(got 107,374,182,400 bytes"),
        (_of_many_claims, r"unpacks to too much \(got 209,715,200 bytes"),
        (_encrypted, "an encrypted member"),
    ],
)
def test_refused(tmp_path: Path, fill: Callable[[zipfile.ZipFile], None], message: str) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        fill(archive)
    for read in (check_zip, zip_members):
        with pytest.raises(InputError, match=message) as caught:
            read(path)
        assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["x.zip"]


@pytest.mark.parametrize("claimed", [None, 10])
def test_a_zip_that_unpacks_to_much(tmp_path: Path, claimed: int | None) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("a.en", "w") as file:
            for _ in range(66):
                file.write(bytes(1 << 20))
        if claimed is not None:
            archive.infolist()[0].file_size = claimed
    wanted = "unpacks to too much" if claimed is None else "a damaged zip"
    tracemalloc.start()
    with pytest.raises(InputError, match=wanted):
        check_zip(path)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()
    if claimed is None:
        check_zip(path, max_bytes=1 << 30)  # a caller that knows better


_TEXT = "".join(f"{i * i * i} {i * 7919 % 104729}\n" for i in range(100))


@settings(max_examples=100, deadline=None)
@given(st.booleans(), st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_no_damage_goes_unnoticed(
    tmp_path_factory: pytest.TempPathFactory, is_cut: bool, where: float, bits: int
) -> None:
    path = tmp_path_factory.mktemp("zip") / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in (("a.en", _TEXT), ("a.sw", _TEXT[::-1])):
            archive.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)
    whole = bytearray(path.read_bytes())
    place = int(where * len(whole))
    if is_cut:
        del whole[place:]
    else:
        whole[place] ^= bits
    path.write_bytes(bytes(whole))
    with contextlib.suppress(InputError):  # or it was harmless, as in a time
        check_zip(path)
        with open_moses(path, "en", "sw") as (english, swahili):
            assert (english.read(), swahili.read()) == (_TEXT, _TEXT[::-1])


@pytest.mark.parametrize("content", [b"", b"PK", b"<html></html>", struct.pack("<I", 0x06054B50) + bytes(18)])
def test_no_zip(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(content)
    if content.startswith(b"PK\x05\x06"):
        assert zip_members(path) == []
        return
    with pytest.raises(InputError, match="a damaged zip"):
        check_zip(path)


@pytest.mark.parametrize("n_parts", [1, 3])
def test_gunzip(tmp_path: Path, n_parts: int) -> None:
    texts = [os.urandom(100_000) for _ in range(n_parts)]
    packed = tmp_path / "x.gz"
    packed.write_bytes(b"".join(map(gzip.compress, texts)))
    gunzip(packed, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == b"".join(texts)
    assert packed.exists()


def test_gunzip_stops_a_bomb_early(tmp_path: Path) -> None:
    packed = tmp_path / "x.gz"
    packed.write_bytes(gzip.compress(bytes(100 << 20)))
    with pytest.raises(InputError, match="unpacks to more than 1,000,000 bytes"):
        gunzip(packed, tmp_path / "x", max_bytes=1_000_000)
    assert (tmp_path / "x").stat().st_size <= 1_000_000


@pytest.mark.parametrize("n_free", [130_000, 50_000])
def test_gunzip_with_little_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_free: int) -> None:
    packed = tmp_path / "x.gz"
    packed.write_bytes(
        gzip.compress(os.urandom(100_000) + bytes(50_000))[:-8] + bytes(4) + struct.pack("<I", 150_000)
    )
    monkeypatch.setattr(archives, "_PIECE", 30_000)
    usage = shutil._ntuple_diskusage(10**6, 10**6 - n_free, n_free)  # type: ignore[attr-defined]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    if n_free == 50_000:
        with pytest.raises(OutputError, match="no room to unpack"):
            gunzip(packed, tmp_path / "x")
        assert packed.stat().st_size > 100_000
        return
    with pytest.raises(InputError, match="a damaged gzip file: CRC check failed"):
        gunzip(packed, tmp_path / "x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x", "x.gz"]  # no pieces are left


@pytest.mark.parametrize("n_unpacked", [1000, (1 << 32) - 1])
def test_size_of_what_is_packed(tmp_path: Path, n_unpacked: int) -> None:
    packed = tmp_path / "x.gz"
    packed.write_bytes(b"\x1f\x8b" + bytes(6) + struct.pack("<I", n_unpacked))
    assert archives._unpacked_size(packed) == n_unpacked
    with packed.open("r+b") as file:  # 4.5 GB that became 7.2 GB, without taking that room
        file.truncate(4_500_000_000)
        file.seek(-4, os.SEEK_END)
        file.write(struct.pack("<I", 7_200_000_000 % (1 << 32)))
    assert archives._unpacked_size(packed) == 7_200_000_000
