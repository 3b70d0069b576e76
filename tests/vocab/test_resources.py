from __future__ import annotations

import errno
import gzip
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from align.errors import OutputError, UnavailableError, UsageError
from tests.vocab.fake_hub import FakeHub
from vocab import resources
from vocab.resources import fasttext_vectors, fetch, fetch_fasttext_vectors

_MODEL = (793712314).to_bytes(4, "little") + os.urandom(200_000)
_PATH = "/vectors/cc.sw.300.bin.gz"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    for name in (
        "HF_HUB_OFFLINE",
        "TRANSFORMERS_OFFLINE",
        "http_proxy",
        "HTTP_PROXY",
        "all_proxy",
        "ALL_PROXY",
    ):
        monkeypatch.delenv(name, raising=False)
    with FakeHub() as hub:
        hub.files[_PATH] = gzip.compress(_MODEL)
        monkeypatch.setenv("VOCAB_TRANSFER_FASTTEXT_URL", hub.url + "/vectors/")
        monkeypatch.setenv("VOCAB_TRANSFER_CACHE", str(tmp_path / "cache"))
        yield hub


def _left(path: Path) -> list[str]:
    return sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else []


def test_look_up_fetches_nothing(server: FakeHub, tmp_path: Path) -> None:
    found = fasttext_vectors("sw")
    assert found.path == tmp_path / "cache" / "fasttext" / "cc.sw.300.bin"
    assert found.size_bytes == len(server.files[_PATH])
    assert not found.is_cached
    assert found.notice.startswith("cc.sw.300.bin: 0.00 GB, larger unpacked, from http://127.0.0.1")
    assert [r.method for r in server.requests] == ["HEAD"]
    assert not (tmp_path / "cache").exists()


def test_fetched_once(server: FakeHub, tmp_path: Path) -> None:
    notices: list[str] = []
    steps: list[tuple[str, int, int]] = []
    path = fetch_fasttext_vectors("sw", notice=notices.append, progress=lambda *step: steps.append(step))
    assert path.read_bytes() == _MODEL
    assert _left(path) == ["cc.sw.300.bin"]
    assert len(notices) == 1
    n_all = len(server.files[_PATH])
    assert [s for s in steps if s[0] == "fetch"][-1] == ("fetch", n_all, n_all)
    assert [s for s in steps if s[0] == "unpack"][-1] == ("unpack", n_all, n_all)

    n_requests = len(server.requests)
    assert fetch_fasttext_vectors("sw", offline=True) == path
    assert fetch_fasttext_vectors("sw", notice=notices.append) == path
    assert len(server.requests) == n_requests
    assert notices[-1] == f"cc.sw.300.bin is at {path}"


def test_directory_and_address_as_arguments(server: FakeHub, tmp_path: Path) -> None:
    server.files["/other/cc.no.300.bin.gz"] = server.files[_PATH]
    path = fetch_fasttext_vectors("nb", tmp_path / "mine", base_url=server.url + "/other")
    assert path == tmp_path / "mine" / "fasttext" / "cc.no.300.bin"


def test_goes_on_after_a_cut_by_itself(server: FakeHub) -> None:
    server.cuts[_PATH] = [80_000, 50_000]
    path = fetch(fasttext_vectors("sw"), retry_wait_s=0)
    assert path.read_bytes() == _MODEL
    assert [r.range for r in server.gets()] == [None, "bytes=80000-", "bytes=130000-"]


def test_goes_on_in_a_later_run(server: FakeHub) -> None:
    n_all = len(server.files[_PATH])
    server.cuts[_PATH] = [n_all // 2, 0, 0, 0]
    found = fasttext_vectors("sw")
    with pytest.raises(UnavailableError, match=f"{n_all // 2:,} bytes are kept") as caught:
        fetch(found, retry_wait_s=0)
    assert found.url in str(caught.value)
    assert not found.path.exists()
    server.requests.clear()
    assert fetch(found, retry_wait_s=0).read_bytes() == _MODEL
    assert [r.range for r in server.gets()] == [f"bytes={n_all // 2}-"]
    assert _left(found.path) == ["cc.sw.300.bin"]


@pytest.mark.parametrize("with_etag", [True, False])
def test_a_changed_file_is_not_patched_together(server: FakeHub, with_etag: bool) -> None:
    server.with_etag = with_etag
    server.cuts[_PATH] = [80_000, 0, 0, 0]
    if not with_etag:
        server.cuts[_PATH] = [80_000] * 4  # without a tag every try begins anew, and gets no further
    with pytest.raises(UnavailableError):
        fetch(fasttext_vectors("sw"), retry_wait_s=0)
    other = _MODEL[:4] + os.urandom(200_000)
    server.files[_PATH] = gzip.compress(other)
    assert fetch(fasttext_vectors("sw"), retry_wait_s=0).read_bytes() == other


def test_more_on_disk_than_the_server_has(server: FakeHub) -> None:
    found = fasttext_vectors("sw")
    part = found.path.with_name(found.path.name + ".gz.part")
    part.parent.mkdir(parents=True)
    part.write_bytes(bytes(len(server.files[_PATH]) + 10))
    server.cuts[_PATH] = [0] * 4
    with pytest.raises(UnavailableError):  # leaves the tag of the true file behind
        fetch(found, retry_wait_s=0)
    server.requests.clear()
    part.write_bytes(bytes(len(server.files[_PATH]) + 10))
    assert fetch(found, retry_wait_s=0).read_bytes() == _MODEL
    n_part = len(server.files[_PATH]) + 10
    assert [r.range for r in server.gets()] == [f"bytes={n_part}-", None]  # status 416, then from the start


def test_wrong_length(server: FakeHub) -> None:
    server.announce_more[_PATH] = 7
    found = fasttext_vectors("sw")
    n_all = len(server.files[_PATH])
    with pytest.raises(UnavailableError, match=f"has {n_all:,} bytes, and {n_all + 7:,} were announced"):
        fetch(found)
    assert _left(found.path) == []


@pytest.mark.parametrize("damage", ["cut", "flipped", "html", "other"])
def test_damaged_on_the_server(server: FakeHub, damage: str) -> None:
    whole = bytearray(server.files[_PATH])
    if damage == "cut":
        del whole[-30:]
    elif damage == "flipped":
        whole[-6] ^= 0xFF
    elif damage == "html":
        whole = bytearray(b"<html>please log in</html>")
    else:
        whole = bytearray(gzip.compress(b"not a model"))
    server.files[_PATH] = bytes(whole)
    found = fasttext_vectors("sw")
    with pytest.raises(UnavailableError, match="arrived damaged"):
        fetch(found)
    assert _left(found.path) == []
    server.files[_PATH] = gzip.compress(_MODEL)
    assert fetch(fasttext_vectors("sw")).read_bytes() == _MODEL


def test_busy_server_is_asked_again(server: FakeHub) -> None:
    found = fasttext_vectors("sw")
    server.statuses[_PATH] = [503, 429, 500]
    assert fetch(found, retry_wait_s=0).read_bytes() == _MODEL
    assert len(server.gets()) == 4


@pytest.mark.parametrize(("statuses", "n_gets"), [([503] * 9, 4), ([403] * 9, 1)])
def test_gives_up(server: FakeHub, statuses: list[int], n_gets: int) -> None:
    found = fasttext_vectors("sw")
    server.statuses[_PATH] = statuses
    with pytest.raises(UnavailableError, match=f"could not be fetched: status {statuses[0]}") as caught:
        fetch(found, retry_wait_s=0)
    assert f"unpack it to {found.path}" in str(caught.value)
    assert len(server.gets()) == n_gets


def test_no_such_vectors(server: FakeHub) -> None:
    with pytest.raises(UnavailableError, match="no fastText vectors are published for 'xqq'"):
        fetch_fasttext_vectors("xqq")


def test_no_network(server: FakeHub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "cache" / "fasttext" / "cc.sw.300.bin"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UnavailableError, match="offline mode is on") as caught:
        fetch_fasttext_vectors("sw")
    assert server.requests == []
    assert f"fetch {server.url}{_PATH} and unpack it to {path}" in str(caught.value)

    monkeypatch.delenv("HF_HUB_OFFLINE")
    with socket.socket() as nobody:  # bound and not listening: refuses
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.raises(
            UnavailableError, match=r"cc\.sw\.300\.bin is not at .* does not answer: .*refused"
        ):
            fetch_fasttext_vectors("sw", base_url=url)


def test_not_an_address(server: FakeHub) -> None:
    with pytest.raises(UsageError, match=r"not an address \(got vectors"):
        fasttext_vectors("sw", base_url="vectors")


def test_cache_not_writable(server: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        fetch_fasttext_vectors("sw", tmp_path / "file")


def test_disk_full(server: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    found = fasttext_vectors("sw")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(resources.os, "replace", full)
        with pytest.raises(OutputError, match="No space left on device"):
            fetch(found)
    server.requests.clear()
    assert fetch(found).read_bytes() == _MODEL
    assert server.gets() == []  # all of it had arrived
