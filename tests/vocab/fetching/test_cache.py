from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from align.errors import UnavailableError
from tests.vocab.fake_hub import FakeHub, serving
from vocab.fetching.cache import default_cache, keep, list_cache, locked, prune, read_record, to_prune, verify
from vocab.fetching.download import download


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    with serving(monkeypatch, tmp_path / "cache") as hub:
        for name in ("/a.zip", "/b.bin"):
            hub.files[name] = os.urandom(1000)
        yield hub


@pytest.fixture
def cache(server: FakeHub) -> Path:
    """Two fetched files, one interrupted, one put there by hand."""
    root = default_cache()
    download(server.url + "/a.zip", root / "opus" / "a.zip")
    download(server.url + "/b.bin", root / "fasttext" / "b.bin")
    server.files["/c"] = os.urandom(1000)
    server.cuts["/c"] = [400, 0, 0, 0]
    with pytest.raises(UnavailableError):
        download(server.url + "/c", root / "opus" / "c", retry_wait_s=0)
    (root / "opus" / "mine").write_bytes(b"mine")
    return root


def test_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("VOCAB_TRANSFER_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == tmp_path / ".cache" / "vocab-transfer"
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert default_cache() == Path("/xdg/vocab-transfer")
    monkeypatch.setenv("VOCAB_TRANSFER_CACHE", "~/mine")
    assert default_cache() == tmp_path / "mine"


def test_list(cache: Path) -> None:
    entries = {entry.path.name: entry for entry in list_cache()}
    assert list(entries) == ["b.bin", "a.zip", "c.part", "mine"]
    assert [entry.kind for entry in entries.values()] == ["fasttext", "opus", "opus", "opus"]
    assert [entry.size_bytes for entry in entries.values()] == [1000, 1000, 400, 4]
    assert [entry.is_part for entry in entries.values()] == [False, False, True, False]
    assert entries["b.bin"].fetched_at
    assert entries["b.bin"].verified_at == entries["b.bin"].fetched_at
    assert entries["mine"].fetched_at is None
    assert list_cache(cache / "nowhere") == []


def test_verify_finds_what_a_look_does_not(server: FakeHub, cache: Path) -> None:
    path = cache / "fasttext" / "b.bin"
    found = path.stat()
    path.write_bytes(bytes(1000))
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    n_requests = len(server.requests)
    assert download(server.url + "/b.bin", path) == path  # a look at size and time says nothing
    assert len(server.requests) == n_requests
    results = {entry.path.name: good for entry, good in verify()}
    assert results == {"b.bin": False, "a.zip": True, "mine": None}
    assert {entry.path.name: entry.verified_at is None for entry in list_cache()}["b.bin"]
    assert download(server.url + "/b.bin", path).read_bytes() == server.files["/b.bin"]  # fetched again
    assert {entry.path.name: good for entry, good in verify()}["b.bin"] is True


def test_prune(server: FakeHub, cache: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("x", "x.part", "x.tmp"):
        (outside / name).write_bytes(b"not ours")
        (cache / name).write_bytes(b"not ours")
    (cache / "folder").symlink_to(outside)
    (cache / "link").symlink_to(outside / "x")
    assert to_prune(older_than_days=1) == []
    assert [entry.path.name for entry in to_prune(parts_only=True)] == ["c.part"]
    assert [entry.path.name for entry in prune(to_prune(parts_only=True))] == ["c.part"]
    with locked(cache / "opus" / "a.zip"):
        assert [entry.path.name for entry in prune(to_prune())] == ["b.bin"]
    assert [entry.path.name for entry in prune(to_prune(older_than_days=-1))] == ["a.zip"]
    assert read_record(cache / "opus" / "a.zip") is None
    left = sorted(p.name for p in cache.rglob("*") if p.is_file() and not p.name.endswith(".lock"))
    assert left == ["link", "mine", "x", "x.part", "x.tmp"]
    assert sorted(p.name for p in outside.iterdir()) == ["x", "x.part", "x.tmp"]
    server.requests.clear()
    assert download(server.url + "/c", cache / "opus" / "c").read_bytes() == server.files["/c"]
    assert server.gets()[0].range is None


def test_keep(cache: Path) -> None:
    path = cache / "opus" / "answer.json"
    for content in (b"{}", b"{1}"):
        keep(path, content, url="http://127.0.0.1/api")
        assert path.read_bytes() == content
        record = read_record(path)
        assert record is not None
        assert (record.url, record.size_bytes) == ("http://127.0.0.1/api", len(content))
    assert {entry.path.name: good for entry, good in verify()}["answer.json"] is True
    assert not list(path.parent.glob("*.tmp"))


def test_a_cache_of_others_is_only_read(
    cache: Path, server: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    path = cache / "fasttext" / "b.bin"
    os.utime(path, ns=(0, 0))
    monkeypatch.setattr("vocab.fetching.cache.write_json", refuse)
    n_requests = len(server.requests)
    assert download(server.url + "/b.bin", path) == path
    assert len(server.requests) == n_requests
